"""The flag for the size of the network's input, of the commands that use or look at one."""

import argparse

from centerkp.settings.values import read_canvas


def add_size_argument(parser: argparse._ActionsContainer, default: int | None = None, use: str = "") -> None:
    """Adds `--image-size`, as (width, height); the default is a square of this side, and `use` says what it is for."""
    known = default or "the model's own"
    text = f"side of the network's input{use}, or its width and height, as 320x192 (default: {known})"
    square = default and (default, default)
    parser.add_argument("--image-size", type=_read_size, default=square, metavar="PIXELS", help=text)


def _read_size(text: str) -> tuple[int, int]:
    """The flag's value; what is none is said as by the settings of a training."""
    try:
        return read_canvas(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("image_size: ")) from None
