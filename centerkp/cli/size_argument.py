"""The flag for the size of the network's input, of the commands that use or look at one."""

import argparse

from centerkp.settings.values import name_canvas, read_canvas


def add_size_argument(parser: argparse._ActionsContainer, default: int | None = None, use: str = "") -> None:
    """Adds `--image-size`: a number, or (width, height); `use` says what it is for."""
    known = default or "the model's own"
    text = f"side of the network's input{use}, or its width and height, as 320x192 (default: {known})"
    parser.add_argument("--image-size", type=_read_size, default=default, metavar="PIXELS", help=text)


def _read_size(text: str) -> int | tuple[int, int]:
    """The flag's value; what is none is said as by the settings of a training."""
    try:
        size = read_canvas(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("image_size: ")) from None
    side = name_canvas(*size)
    return side if isinstance(side, int) else size
