"""`centerkp tune`."""

import argparse
from dataclasses import replace

from centerkp.cli.train import add_settings
from centerkp.settings.values import read_time
from centerkp.trials.ranges import DEFAULT, read_ranges

HELP = "search for settings to train with, by training with many"
HEAD = """Search for settings to train with. Takes all options of train, and:

  --search NAME=LOW..HIGH   a setting to search, or NAME=A,B,C; several times
  --trials N                how many trainings
  --budget 8h               when to begin no further one

The same command again goes on with a search that was interrupted."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `centerkp tune`."""
    parser.usage, parser.description = "centerkp tune --coco JSON --epochs N [options]", HEAD
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--search",
        action="append",
        metavar="RANGE",
        help=f"as rotation=0..45, or batch_size=4,8; numbers that differ tenfold by factors (default: {' '.join(DEFAULT)})",
    )
    parser.add_argument("--trials", type=int, default=20, metavar="N", help="trainings in all (default: 20)")
    parser.add_argument("--budget", metavar="TIME", help="as 8h: no trial begins that would not end by then (default: none)")
    add_settings(parser)


def run(options: argparse.Namespace) -> None:
    """The command `centerkp tune`: searches for settings."""
    from centerkp.cli.train import read_settings
    from centerkp.trials.search import search_settings

    settings = read_settings(options)
    settings = replace(settings, run=settings.run or f"runs/{settings.data_name}-tune")
    search_settings(
        settings,
        read_ranges(options.search or DEFAULT, settings),
        trials=options.trials,
        seconds=read_time(options.budget, "budget") if options.budget else None,
        started=options.started,
    )
