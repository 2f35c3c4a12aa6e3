"""`centerkp demo`."""

import argparse
from pathlib import Path

HELP = "draw a dataset, train on it, evaluate and predict"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", default="data/demo", metavar="DIR", help="where the dataset is drawn (default: data/demo)")
    parser.add_argument("--run", default=None, metavar="DIR", help="run folder (default: runs/demo, numbered)")
    parser.add_argument("--epochs", type=int, default=30, help="times to go through the images (default: 30)")


def run(options: argparse.Namespace) -> None:
    from centerkp.demo import run

    run(Path(options.data), options.run, options.epochs)
