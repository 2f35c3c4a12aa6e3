"""Settings that are written as one text -> the names and numbers that they stand for."""

import re
from typing import Any

from centerkp.heads import MAX_MARGIN
from centerkp.results import MAX_COUNT


def read_flip_pairs(text: str | None) -> list[tuple[str, str]] | None:
    """The setting `"a:b,c:d"` as pairs of names; "none" as no pairs at all; None stays None."""
    if text is None:
        return None
    if text.strip().lower() in ("none", ""):
        return []
    pairs: list[Any] = [tuple(name.strip() for name in pair.split(":")) for pair in text.split(",")]
    if any(len(pair) != 2 or not all(pair) for pair in pairs):
        raise ValueError(f"flip_pairs: found '{text}', expected names as left_ear:right_ear,l_paw:r_paw.")
    return pairs


def read_keypoint_map(text: str | None) -> dict[str, str]:
    """The setting `"snout=nose,paw=left_wrist"` as a mapping; None as an empty one."""
    pairs: list[Any] = [tuple(name.strip() for name in pair.split("=")) for pair in (text or "").split(",") if pair.strip()]
    if any(len(pair) != 2 or not all(pair) for pair in pairs):
        raise ValueError(f"map_keypoint: found '{text}', expected names as snout=nose,paw=left_wrist.")
    return dict(pairs)


def read_sigmas(text: str | None) -> float | dict[str, float] | None:
    """The value of the setting `"0.05"` as a number, `"nose=0.03,tail=0.1"` as a mapping; None stays None."""
    if text is None or "=" in text:
        return read_numbers(text, "oks_sigmas") or None
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"oks_sigmas: found '{text}', expected one number or name=0.05,other=0.1.") from None


def read_numbers(text: str | None, setting: str) -> dict[str, float]:
    """A setting such as `"nose=0.03,tail=0.1"` as a mapping of numbers; None as an empty one."""
    try:
        return {name.strip(): float(value) for name, value in (part.split("=") for part in (text or "").split(",") if part)}
    except ValueError:
        raise ValueError(f"{setting}: found '{text}', expected names with numbers, as name=0.05,other=0.1.") from None


def read_box_margins(text: str | None) -> tuple[float | None, ...]:
    """The setting `"0.1,none"` as a margin or None for each class in the schema's order; "none" alone, and None, as ()."""
    if text is None or text.strip().lower() == "none":
        return ()
    try:
        margins = tuple(None if part.strip().lower() == "none" else float(part) for part in text.split(","))
    except ValueError:
        margins = (-1.0,)
    if not all(margin is None or 0 <= margin <= MAX_MARGIN for margin in margins):
        raise ValueError(
            f"box_margins: found '{text}', expected a share from 0 to {MAX_MARGIN}, or none, for each class, as 0.1,none."
        )
    return margins


def read_canvas(value: int | str | None) -> tuple[int, int]:
    """The setting `320` or `"320x192"` as (width, height) in pixels."""
    found = re.fullmatch(r"(\d{1,6})(?:x(\d{1,6}))?", str(value).strip().lower())
    width, height = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not width or not height:
        raise ValueError(f"image_size: found '{value}', expected a side or WIDTHxHEIGHT in pixels, as 320 or 320x192.")
    return width, height


def read_time(text: str, setting: str = "time") -> float:
    """A setting such as `"1h30m"` as seconds, also `"90s"` or `"1.5h"`."""
    number = r"(\d{1,6}(?:\.\d{1,6})?)"
    found = re.fullmatch(rf"(?:{number}h)?(?:{number}m)?(?:{number}s)?", text.strip().lower())
    hours, minutes, seconds = (float(part or 0) for part in found.groups()) if found else (0.0, 0.0, 0.0)
    total = 3600 * hours + 60 * minutes + seconds
    if not 0 < total <= MAX_COUNT:
        raise ValueError(
            f"{setting}: found '{text}', expected hours, minutes and seconds as 90s, 30m, 2h or 1h30m, up to "
            f"{MAX_COUNT // 3600}h."
        )
    return total
