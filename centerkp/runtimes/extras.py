"""Packages that only some formats and loggers need."""

from importlib import import_module
from typing import Any


def import_extra(package: str, extra: str) -> Any:
    """Imports a package that only one export format or logger needs; FileNotFoundError with the remedy where it is missing.

    Args:
        extra: the optional dependencies of centerkp that contain it, such as "onnx".

    Raises:
        FileNotFoundError: it is not installed; names the command that installs it.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package.split(".")[0]:
            raise
        raise FileNotFoundError(
            f"{package}: found no such package, expected it for what was asked; run: pip install 'centerkp[{extra}]'."
        ) from None
