"""Encoded images that are no files of their own: packed into other files, or bytes that a program holds."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class PackedImage(Protocol):
    """An encoded image that has no file of its own; its `str()` is what messages call it, its names are as those of a path."""

    @property
    def name(self) -> str:
        """The image's name with its ending, as of an image file's path."""

    @property
    def stem(self) -> str:
        """The image's name without folders and ending, as of an image file's path."""

    def read_bytes(self) -> bytes:
        """The encoded image, read from inside the other file."""
        ...
