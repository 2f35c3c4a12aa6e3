"""Arguments of the commands that look at large pictures tile by tile."""

from typing import Any


def add_tile_arguments(parser: Any) -> None:
    """Adds `--tile` and `--overlap` to a command, or to a group of its arguments."""
    parser.add_argument(
        "--tile",
        type=int,
        metavar="PIXELS",
        help="cut pictures much larger than the network's input (aerial, microscope, factory) into tiles of this side, each "
        "of which the network sees at its input size (default: whole pictures, made smaller)",
    )
    parser.add_argument(
        "--overlap",
        type=float,
        metavar="SHARE",
        help="share of a tile's side that neighbours have in common, at least the size of the objects (default: 0.2)",
    )
