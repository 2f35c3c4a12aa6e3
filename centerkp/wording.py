"""How the package speaks: counted nouns, durations, quoted values, and what somebody may have meant."""

import difflib
import re
import reprlib
from collections.abc import Iterable, Sequence

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 200
quote = _short.repr  # a value as somebody wrote it, cut where it is long
ROWS, FEW = 40, 10  # a table of more rows than that is cut to these on a terminal


# Control characters but line ends and tabs, what turns the direction of writing, and half characters.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Any wording for a terminal: what could steer it, or is no letter at all, is written as Python writes it."""
    return _UNPRINTABLE.sub(lambda match: ascii(match[0])[1:-1], text)


def suggest(name: str, known: Iterable[str]) -> str:
    """What somebody may have meant: ", did you mean 'x'?" for a near miss, else the empty string."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f", did you mean '{near[0]}'?" if near else ""


def count_of(number: int, noun: str) -> str:
    """A counted noun in words: "1 image", "2 images", "2 categories", "2 classes"."""
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + ("es" if noun.endswith("s") else "s")
    return f"{number} {noun if number == 1 else plural}"


def name_canvas(width: int, height: int) -> int | str:
    """How a canvas is written, as the setting `image_size` has it: `320`, or `"320x192"`."""
    return width if width == height else f"{width}x{height}"


def format_duration(seconds: float) -> str:
    """How long something takes, in words: 45 -> "45 s", 340 -> "6 minutes", 9000 -> "2.5 hours"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def cut_table(values: Sequence[float | None], about: str, where: str) -> tuple[list[int], str]:
    """Which rows of a long table to show on a terminal, and the words on the others.

    Args:
        values: of each row what it is judged by, None for one that has nothing to say.
        about: what is left, as "keypoints, those with the lowest PCK"; where: what shows all.

    Returns:
        All rows and "", or of more than `ROWS` the `FEW` with the lowest values, and a line.
    """
    if len(values) <= ROWS:
        return list(range(len(values))), ""
    known = [(value, row) for row, value in enumerate(values) if value is not None]
    known.sort()
    others = [f"{value:.3g}" if value < 1000 else f"{value:.0f}" for value, _ in known[FEW:]]
    line = f"{min(FEW, len(known))} of {len(values)} {about}"
    line += f"; {len(others)} others from {others[0]} to {others[-1]}" if others else ""
    line += f"; {len(values) - len(known)} without any" if len(known) < len(values) else ""
    return [row for _, row in known[:FEW]], f"{line}; {where}"
