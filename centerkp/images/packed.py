"""Encoded images that are no files of their own: packed into other files, or bytes that a program holds."""

import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol, runtime_checkable

from centerkp.images.kinds import START, FileKind, judge_start

MAX_BYTES = 1 << 30  # of one image; an archive of a few kB can claim more
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError)


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


@dataclass(frozen=True, eq=False)
class ImageBytes:
    """An encoded image that a program holds in its memory, such as an upload; `label` is what messages call it."""

    label: str
    data: bytes

    def __str__(self) -> str:
        return self.label

    @property
    def name(self) -> str:
        """The image's name, as of a path."""
        return PurePosixPath(self.label).name

    @property
    def stem(self) -> str:
        """The image's name without its ending, as of a path."""
        return PurePosixPath(self.label).stem

    def read_bytes(self) -> bytes:
        """The encoded image."""
        return self.data


@dataclass(frozen=True, eq=False)
class ZippedImage:
    """An encoded image in a zip archive, which stays open; read and unpacked when its pixels are needed."""

    archive: zipfile.ZipFile
    member: zipfile.ZipInfo

    def __str__(self) -> str:
        return f"{self.archive.filename}/{self.member.filename}"

    @property
    def name(self) -> str:
        """The image's name in the archive, without folders, as of a path."""
        return PurePosixPath(self.member.filename).name

    @property
    def stem(self) -> str:
        """The image's name without folders and ending, as of a path."""
        return PurePosixPath(self.member.filename).stem

    def read_bytes(self) -> bytes:
        """The encoded image, unpacked.

        Raises:
            ValueError: it is damaged, too large, or packed in a way that cannot be read, as with a password.
        """
        try:
            if self.member.file_size > MAX_BYTES:
                raise RuntimeError(f"{self.member.file_size} bytes")
            return self.archive.read(self.member)
        except _ZIP_ERRORS as error:
            raise ValueError(
                f"{self}: found an image that cannot be unpacked ({error}), expected one without a password, of at most "
                f"{MAX_BYTES >> 20} MiB; unpack the archive with another program."
            ) from None


def open_zip(path: Path) -> Iterator[tuple[ZippedImage, FileKind]]:
    """What a zip archive holds, in the order of names, each with its kind by its content, packed as an image would be.

    Raises:
        ValueError: the archive is damaged.
    """
    try:
        archive = zipfile.ZipFile(path)
    except _ZIP_ERRORS as error:
        raise ValueError(f"{path}: found a damaged zip archive ({error}), expected a whole one; copy it again.") from None
    for member in sorted(archive.infolist(), key=lambda one: one.filename):
        if member.is_dir() or PurePosixPath(member.filename).parts[0] == "__MACOSX":
            continue
        try:
            with archive.open(member) as file:
                start = file.read(START)
        except _ZIP_ERRORS:
            start = b""  # its name decides, and reading it says why it cannot be
        yield ZippedImage(archive, member), judge_start(start, member.filename)
