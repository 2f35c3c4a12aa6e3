"""Letters for pictures: a font that has them, a size that suits, a place where they can be read."""

import contextlib
import importlib.util
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

INK = (235, 235, 235)  # on dark ground
SYSTEM_FONTS = ("NotoSansCJK-Regular.ttc", "msyh.ttc", "PingFang.ttc", "Arial Unicode.ttf")


def font_size(width: int, height: int) -> int:
    """Size in pixels of the letters that suit a picture of this size."""
    return max(round(0.03 * (width * height) ** 0.5), 11)


def find_plate_place(
    plate_w: int, plate_h: int, box: Sequence[float] | np.ndarray, size: tuple[int, int], taken: Iterable[Sequence[float]]
) -> tuple[int, int]:
    """Where a label's letters are to stand: the plate's upper left corner above its box, below, inside, or at the right."""
    free = find_free_place(plate_w, plate_h, box, size, taken)
    return free if free is not None else _list_places(plate_w, plate_h, box, size)[0]


def find_free_place(
    plate_w: int, plate_h: int, box: Sequence[float] | np.ndarray, size: tuple[int, int], taken: Iterable[Sequence[float]]
) -> tuple[int, int] | None:
    """Where a label's letters at a box cover nothing that is taken; None if there is no such place."""
    left, top, right, bottom = np.reshape(list(taken), (-1, 4)).T
    for x, y in _list_places(plate_w, plate_h, box, size):
        if not ((x < right) & (x + plate_w > left) & (y < bottom) & (y + plate_h > top)).any():
            return x, y
    return None


def _list_places(plate_w: int, plate_h: int, box: Sequence[float] | np.ndarray, size: tuple[int, int]) -> list[tuple[int, int]]:
    """Where a label's letters could stand, the best places first, all within the picture."""
    x0, y0, x1, y1 = (round(float(v)) for v in box)
    places = [(x0, y0 - plate_h), (x0, y1), (x0, y0), (x1 - plate_w, y0 - plate_h), (x1 - plate_w, y1), (x1 - plate_w, y0)]
    places += [(x1, y0), (x0 - plate_w, y0)]
    return [(min(max(x, 0), size[0] - plate_w), min(max(y, 0), size[1] - plate_h)) for x, y in places]


def draw_title(
    text: str, width: int, height: int, ground: Sequence[int], ink: Sequence[int] = INK, *, centered: bool = True
) -> np.ndarray:
    """A title for a picture: one line of text on a strip, by default light and in the middle, (height, width, 3) uint8."""
    image = Image.new("RGB", (width, height), tuple(ground))
    text, font = fit_text(text, width, round(0.6 * height))
    at, anchor = (width / 2, "mm") if centered else (0, "lm")
    ImageDraw.Draw(image).text((at, height / 2), text, fill=tuple(ink), font=font, anchor=anchor)
    return np.asarray(image)


@lru_cache(maxsize=128)
def draw_plate(text: str, width: int, size: int, color: tuple[int, int, int]) -> np.ndarray | None:
    """The letters of a label on a plate of its own colour, (h, w, 3) uint8 not to be written to; None if nothing fits.

    Kept, since letters cost more than everything else that is drawn, and the labels of a video repeat.
    """
    pad, height = max(size // 4, 2), round(1.35 * size)
    text, font = fit_text(text, width - 2 * pad, size)
    if not text:
        return None
    plate = Image.new("RGB", (int(np.ceil(font.getlength(text))) + 2 * pad, height), color)
    ink = (0, 0, 0) if np.dot(color, (0.299, 0.587, 0.114)) > 110 else (255, 255, 255)
    ImageDraw.Draw(plate).text((pad, height / 2), text, fill=ink, font=font, anchor="lm")
    return np.asarray(plate)


def fit_text(text: str, width: int, size: int) -> tuple[str, ImageFont.FreeTypeFont]:
    """The text to letter a picture with, cut to `width` pixels ("" when nothing fits), and a font that has its letters."""
    text = " ".join(text.split())[:200]
    known = (font for font in _read_fonts(size) if all(_has_glyph(font, letter) for letter in set(text)))
    font = next(known, None)
    if font is None:
        text, font = text.encode("ascii", "backslashreplace").decode(), _read_fonts(size)[0]
    whole = text
    while text and font.getlength(text) > width:
        whole = whole[:-1]
        text = whole and whole + "…"
    return text, font


@lru_cache
def _read_fonts(size: int) -> tuple[ImageFont.FreeTypeFont, ...]:
    """The fonts to letter pictures with: Pillow's for plain English, Matplotlib's for most alphabets, the system's."""
    fonts: list[Any] = [ImageFont.load_default(size)]
    matplotlib = importlib.util.find_spec("matplotlib")
    dejavu = [str(Path(matplotlib.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf")] if matplotlib else []
    for name in (*dejavu, *SYSTEM_FONTS):
        with contextlib.suppress(OSError):
            fonts.append(ImageFont.truetype(name, size))
    return tuple(fonts)


@lru_cache(maxsize=8192)
def _has_glyph(font: ImageFont.FreeTypeFont, letter: str) -> bool:
    """Whether a font has a letter: what it lacks it draws as it draws U+FFFF, which no font has."""
    return bytes(font.getmask(letter)) != bytes(font.getmask("\uffff"))
