"""What is odd about a picture once it is decoded, though its file is whole: said with the remedy, since nobody would see it."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from centerkp.wording import count_of

LEAST_SPAN = 25  # of 255 gray values between a picture's darkest and lightest parts
MASK_SHARE = 0.5  # of a transparency mask that is fully clear or opaque, even with soft edges


@dataclass(frozen=True)
class Oddity:
    """One kind of odd picture: what it is, and the remedy, which is empty where the reader has mended it."""

    text: str
    remedy: str = ""


NARROW = Oddity(
    "more than 8 bits a number, of which less than a tenth of the range is used, so that nearly one gray value arrives",
    "spread the range that they use with --stretch",
)
OUTSIDE = Oddity(
    "more than 8 bits a number, all outside of the range that is stretched, so that one gray value arrives",
    "give a range that holds them, as --stretch 7500,7560; a model needs pictures of the range it was trained on",
)
FOURTH_CHANNEL = Oddity(
    "a fourth channel that is no transparency mask, laid over white as if it were one",
    "if it is infrared or the like, save the pictures with three channels, in Pillow with convert('RGB')",
)
PROFILE = Oddity("a colour profile other than sRGB, converted to sRGB")
Notice = Callable[[Oddity], None]


def look_for_narrow_range(image: np.ndarray, is_stretched: bool, notice: Notice) -> None:
    """Gives notice when a decoded picture (H, W, 3) uint8 of more than 8 bits is nearly one gray value, and so odd."""
    image = _thin_out(image)
    low, high = np.percentile(image, (0.5, 99.5))
    if is_stretched and np.ptp(image) < 3:
        notice(OUTSIDE)
    elif not is_stretched and high - low < LEAST_SPAN:
        notice(NARROW)


def look_at_transparency(pixels: np.ndarray, image: np.ndarray, notice: Notice) -> None:
    """Gives notice when a fourth channel is none, or leaves nothing of a picture to be seen, which is odd.

    Args:
        pixels: (H, W, 4) uint8 as the file holds them.
        image: (H, W, 3) uint8, laid over white.
    """
    pixels, image = _thin_out(pixels), _thin_out(image)
    masked = ((pixels[..., 3] < 5) | (pixels[..., 3] > 250)).mean()
    vanished = np.ptp(image) < LEAST_SPAN <= np.ptp(pixels[..., :3])
    if masked < MASK_SHARE or vanished:
        notice(FOURTH_CHANNEL)


def _thin_out(pixels: np.ndarray) -> np.ndarray:
    """A few hundred rows and columns of an odd picture, which are enough to judge it by."""
    height, width = pixels.shape[:2]
    return pixels[:: max(height // 256, 1), :: max(width // 256, 1)]


def describe_oddities(found: Iterable[tuple[str, Iterable[Oddity]]]) -> list[str]:
    """A sentence for each kind of odd picture among (name, oddities), with its count and remedy."""
    names = defaultdict(list)
    for name, oddities in found:
        for oddity in oddities:
            names[oddity].append(name)
    return [
        f"{count_of(len(some), 'image')}: {oddity.text}, such as {some[0]}{f'; {oddity.remedy}' if oddity.remedy else ''}"
        for oddity, some in names.items()
    ]
