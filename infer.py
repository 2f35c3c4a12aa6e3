"""Finds objects and keypoints in images: `python infer.py --weights runs/NAME/best.keras PATH...`. See `--help`."""

import sys

from centerkp.cli import main

if __name__ == "__main__":
    sys.exit(main(["infer", *sys.argv[1:]]))
