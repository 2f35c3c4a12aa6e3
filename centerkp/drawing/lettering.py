"""Letters for pictures: a font that has them, a size that suits, a place where they can be read."""

import contextlib
import importlib.util
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SYSTEM_FONTS = ("NotoSansCJK-Regular.ttc", "msyh.ttc", "PingFang.ttc", "Arial Unicode.ttf")


def font_size(width: int, height: int) -> int:
    """Size in pixels of the letters that suit a picture of this size."""
    return max(round(0.03 * (width * height) ** 0.5), 11)


def find_plate_place(
    plate_w: int, plate_h: int, box: Sequence[float] | np.ndarray, size: tuple[int, int], taken: Iterable[Sequence[float]]
) -> tuple[int, int]:
    """Where a label's letters are to stand: the plate's upper left corner above its box, below, inside, or at the right."""
    x0, y0, x1, y1 = (round(float(v)) for v in box)
    spots = [(x0, y0 - plate_h), (x0, y1), (x0, y0), (x1 - plate_w, y0 - plate_h), (x1 - plate_w, y1), (x1 - plate_w, y0)]
    spots = [(min(max(x, 0), size[0] - plate_w), min(max(y, 0), size[1] - plate_h)) for x, y in spots]
    for x, y in spots:
        if all(x >= right or x + plate_w <= left or y >= bottom or y + plate_h <= top for left, top, right, bottom in taken):
            return x, y
    return spots[0]


def draw_title(text: str, width: int, height: int, ground: tuple[int, int, int]) -> np.ndarray:
    """A title for a picture: one line of light text in the middle of a dark strip, (height, width, 3) uint8."""
    image = Image.new("RGB", (width, height), ground)
    text, font = fit_text(text, width, round(0.6 * height))
    ImageDraw.Draw(image).text((width / 2, height / 2), text, fill=(235, 235, 235), font=font, anchor="mm")
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
