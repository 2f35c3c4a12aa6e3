"""Decoded images in memory that all processes of a machine see: each is decoded by one of them and kept once."""

import mmap
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from centerkp.images.sensors import Levels
from centerkp.labels.records import Record

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAME = "centerkp"
_TOKEN = 16  # bytes by which a file is known to be the one that was meant


class SharedImages:
    """A piece of memory with a place for each image; it belongs to no file, and is free again when its last process has ended.

    Behind a token and a byte for each image, which is 1 when the image is there, the pixels of one stand after those of
    another, as many images as fit into the bound.

    Args:
        records: of the images, the same in all processes.
        bound: bytes of pixels that it keeps at most.
        file: descriptor of the memory.
    """

    def __init__(self, records: Sequence[Record], bound: int, file: int) -> None:
        self._rows = {(record.path, record.levels): row for row, record in enumerate(records)}
        self._sizes = [(record.height, record.width, 3) for record in records]
        sizes = np.array([0, *(3 * record.width * record.height for record in records)], np.int64)
        self._places = _TOKEN + len(records) + np.cumsum(sizes)
        self.bound = min(bound, int(sizes.sum()))
        end = _TOKEN + len(records) + self.bound
        os.truncate(file, max(os.fstat(file).st_size, end))
        self._memory = mmap.mmap(file, end)
        self._is_there = np.frombuffer(self._memory, np.uint8, len(records), _TOKEN)

    @classmethod
    def open(cls, records: Sequence[Record], bound: int, gather: Callable[[Any], list[Any]]) -> Self | None:
        """The memory of the first process of this machine, for all of them; None where the system has no such memory.

        Args:
            bound: bytes of pixels for all processes of the machine; that of the first one holds.
            gather: gives every process the values of all; all have to come here.
        """
        if not hasattr(os, "memfd_create") or not _BOOT.exists():
            gather(None)
            return None
        own, token = os.memfd_create(_NAME), secrets.token_bytes(_TOKEN)
        os.write(own, token)
        machine = _BOOT.read_text()
        offers = [one for one in gather((machine, os.getpid(), own, token, bound)) if one and one[0] == machine]
        for _, process, file, known, most in offers:
            found = _reopen(f"/proc/{process}/fd/{file}", known)
            if found is not None:
                images = cls(records, most, found)
                break
        gather(None)  # by then all have opened it
        for file in (own, found):
            os.close(file)
        return images

    def find(self, path: Any, levels: Levels | None) -> np.ndarray | None:
        """The pixels of an image, not to be written into; None where nobody has kept it."""
        row = self._rows.get((path, levels))
        if row is None or not self._is_there[row]:
            return None
        image = self._view(row)
        image.flags.writeable = False
        return image

    def keep(self, path: Any, levels: Levels | None, image: np.ndarray) -> bool:
        """Keeps the pixels of an image, where it has a place; whether it has now."""
        row = self._rows.get((path, levels))
        if row is None or image.shape != self._sizes[row] or self._places[row + 1] > len(self._memory):
            return False
        self._view(row)[:] = image
        self._is_there[row] = 1
        return True

    def _view(self, row: int) -> np.ndarray:
        """The place of an image."""
        size = self._sizes[row]
        return np.frombuffer(self._memory, np.uint8, int(np.prod(size)), int(self._places[row])).reshape(size)


def _reopen(link: str, known: bytes) -> int | None:
    """A descriptor of the memory that another process has; None where the link leads elsewhere, as in another container."""
    try:
        if not os.readlink(link).startswith(f"/memfd:{_NAME}"):
            return None
        file = os.open(link, os.O_RDWR)
    except OSError:  # of another user
        return None
    if os.pread(file, _TOKEN, 0) == known:
        return file
    os.close(file)
    return None
