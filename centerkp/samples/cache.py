"""Decoded images kept in memory for the samples of later epochs, as many as fit into a bound."""

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import Any

import numpy as np

from centerkp.images.packed import PackedImage
from centerkp.images.reading import read_image
from centerkp.images.sensors import Levels
from centerkp.labels.records import Record
from centerkp.samples.memory import find_free_memory
from centerkp.samples.shared import SharedImages
from centerkp.wording import count_of

SHARE = 0.5  # of the free memory
UNKNOWN = 2 * 10**9  # bytes that are taken for free where nobody tells


def find_bound() -> int:
    """Bytes of pixels that are kept by default: half of the memory that is free."""
    return int(SHARE * max(min(find_free_memory().values(), default=UNKNOWN), 0))


class ImageCache:
    """Reads images in the place of `read_image`, and keeps those that it reads while `is_active`, until the bound is reached.

    Those that came first stay: every epoch shows each image about once, so that none is worth more than another. Samples are
    the same with and without it. It may be called from several threads.

    Args:
        bound: bytes of pixels that it keeps at most; by default half of the memory that is free.
        is_active: False to read only, and measure for how long; may be set later.
        shared: keeps them in place of this process, for all of its machine.
    """

    def __init__(self, bound: int | None = None, is_active: bool = True, shared: SharedImages | None = None) -> None:
        self.bound = shared.bound if shared else find_bound() if bound is None else bound
        self.shared = shared
        self.is_active = is_active
        self.size, self.reads, self.seconds = 0, 0, 0.0  # bytes kept; images read from their files, and how long that took
        self._kept: dict[Any, np.ndarray] = {}
        self._lock = Lock()

    def __call__(self, path: Path | PackedImage, levels: Levels | None = None) -> np.ndarray:
        """The image as `read_image` gives it; not to be written into."""
        kept = self.shared.find(path, levels) if self.shared else self._kept.get((path, levels))
        if kept is not None:
            return kept
        started = perf_counter()
        image = read_image(path, levels)
        took = perf_counter() - started
        image.flags.writeable = False
        is_kept = bool(self.shared) and self.is_active and self.shared.keep(path, levels, image)
        with self._lock:
            self.reads, self.seconds = self.reads + 1, self.seconds + took
            if self.shared:
                self.size += image.nbytes * is_kept
            elif self.is_active and (path, levels) not in self._kept and self.size + image.nbytes <= self.bound:
                self._kept[path, levels] = image
                self.size += image.nbytes
        return image

    def describe(self, records: Sequence[Record]) -> str:
        """How many of the images stay in memory decoded, and what they take there, in words."""
        whole = sum(3 * record.width * record.height for record in records)
        if whole <= self.bound:
            return f"{count_of(len(records), 'decoded image')} in memory, {whole / 1e9:.2g} GB"
        return f"decoded images in memory up to {self.bound / 1e9:.2g} GB, about {self.bound / whole:.0%} of {len(records)}"
