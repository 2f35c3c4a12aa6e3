"""Pictures of sensors with more than 8 bits a number: which of their numbers are black and white, and how to measure that."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image

from centerkp.wording import quote

_TAILS = (0.1, 99.9)  # percentiles of a picture's numbers: single hot pixels do not count
_SAMPLES = 512  # rows and columns of a picture that are looked at, about
_BITS_TAG, _MEANING_TAG = 258, 262
_WHITE_IS_ZERO = 0  # as the meaning of a TIFF's numbers


@dataclass(frozen=True)
class Levels:
    """The numbers of a sensor that become black and white in 8 bits; those between are spread evenly."""

    black: float
    white: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.black) and math.isfinite(self.white) and self.black < self.white):
            raise ValueError(f"stretch: found {self}, expected two numbers, the smaller one first, as 7500,7560.")

    def __str__(self) -> str:
        return f"{self.black:.7g},{self.white:.7g}"

    @classmethod
    def parse(cls, text: str) -> "Levels":
        """A sensor's levels from text such as "7500,7560"; ValueError else."""
        try:
            black, white = (float(part) for part in text.split(","))
        except ValueError:
            raise ValueError(
                f"stretch: found '{text}', expected two numbers as 7500,7560, or none of it for those of the pictures."
            ) from None
        return cls(black, white)

    @classmethod
    def from_config(cls, config: Any) -> "Levels | None":
        """A sensor's levels from the list [black, white] in a model file of anybody's making; None for None.

        Raises:
            ValueError: it is no such list.
        """
        if config is None:
            return None
        if not isinstance(config, list) or len(config) != 2 or not all(type(value) in (int, float) for value in config):
            raise ValueError(f"levels: found {quote(config)}, expected two numbers")
        return cls(*config)

    def get_config(self) -> list[float]:
        """The list [black, white] of a sensor's levels, as JSON can hold it."""
        return [self.black, self.white]

    def spread(self, values: np.ndarray) -> np.ndarray:
        """A sensor's numbers (H, W) or (H, W, 3) as (H, W, 3) uint8; what lies outside becomes black or white."""
        scaled = (values.astype(np.float32) - self.black) * np.float32(255 / (self.white - self.black))
        image = np.round(np.clip(np.nan_to_num(scaled), 0, 255)).astype(np.uint8)
        return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)


def is_deep(header: Image.Image, data: bytes) -> bool:
    """Whether an image file that Pillow has opened has more than 8 bits a number, as those of sensors have."""
    if header.format == "PNG":
        return data[24:25] == b"\x10"
    if header.format == "TIFF":
        return max(getattr(header, "tag_v2", {}).get(_BITS_TAG, (8,))) > 8
    return header.mode[0] in "IF"


def read_band(header: Image.Image) -> np.ndarray:
    """The numbers (H, W) of a picture of one band of more than 8 bits; more is brighter, also where a file has 0 for white."""
    header.load()
    values, tags = np.asarray(header), getattr(header, "tag_v2", {})
    is_negative = header.format == "TIFF" and values.dtype.kind == "u" and tags.get(_MEANING_TAG) == _WHITE_IS_ZERO
    return np.uint16((1 << max(tags.get(_BITS_TAG, (16,)))) - 1) - values if is_negative else values


def read_values(header: Image.Image, data: bytes) -> np.ndarray:
    """The numbers of a sensor's picture as its file holds them, (H, W) or (H, W, 3); a fourth channel is left out.

    Raises:
        ValueError: they cannot be decoded.
    """
    if header.mode[0] in "IF":
        return read_band(header)
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if values is None:  # Pillow opens colours of 16 bits, but gives 8 of them
        raise ValueError("its numbers of more than 8 bits cannot be decoded")
    return values[..., 2::-1] if values.ndim == 3 else values


def join_levels(ranges: Iterable[Levels | None]) -> Levels:
    """The levels of a whole dataset from those that its sensors' pictures use; None stands for other pictures.

    Raises:
        ValueError: there is no picture of a sensor.
    """
    known = [levels for levels in ranges if levels is not None]
    if not known:
        raise ValueError("stretch: found no picture with more than 8 bits a number, which alone it is for; leave it out.")
    joined = Levels(min(levels.black for levels in known), max(levels.white for levels in known))
    return Levels.parse(str(joined))  # as settings and messages say it, so that all mean the same


def measure_range(values: np.ndarray) -> Levels:
    """The range of numbers that a sensor's picture uses, but for a thousandth at each end."""
    steps: Sequence[int] = [max(side // _SAMPLES, 1) for side in values.shape[:2]]
    some = values[:: steps[0], :: steps[1]].astype(np.float64)
    low, high = np.percentile(some[np.isfinite(some)], _TAILS) if np.isfinite(some).any() else (0.0, 1.0)
    return Levels(float(low), float(high if high > low else low + 1))
