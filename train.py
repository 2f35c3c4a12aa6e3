"""Trains a keypoint detector: `python train.py --coco ann.json`. All options: `python train.py --help`."""

import sys

from centerkp.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
