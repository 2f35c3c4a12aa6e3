"""`--runtime`, as the commands that run a model share it."""

import argparse
from pathlib import Path

from rich.console import Console

ONLY_KERAS = ("device", "precision", "tta", "stacks", "backbone")


def add_runtime_argument(parser: argparse._ArgumentGroup) -> None:
    """Adds `--runtime` to a command's arguments."""
    parser.add_argument(
        "--runtime",
        choices=("auto", "keras", "openvino", "onnx"),
        default="auto",
        help="what computes a .keras file. On a processor the fastest that is installed, with a model for it that is made "
        "once, compared with Keras, and kept in runtimes/ beside the file (default: auto); keras for the file itself, which "
        "--device, --precision, --tta and --stacks take by themselves",
    )


def choose_for_use(options: argparse.Namespace, weights: str | Path, pictures: int | None, console: Console) -> str | Path:
    """What a command is to load: the model, or an artefact made from it; `pictures` as `choose_runtime` takes it.

    Raises:
        ValueError: a runtime together with what only Keras can do.
    """
    from centerkp.export.kept import choose_runtime

    found = [f"--{name}" for name in ONLY_KERAS if getattr(options, name, None) is not None]
    if found and options.runtime not in ("auto", "keras"):
        raise ValueError(
            f"--runtime: found {options.runtime} together with {found[0]}, expected one of them: only Keras can do that; "
            "leave one out."
        )
    return choose_runtime(
        weights,
        "keras" if found else options.runtime,
        pictures=pictures,
        image_size=getattr(options, "image_size", None),
        max_objects=getattr(options, "max_objects", None),
        console=console,
    )
