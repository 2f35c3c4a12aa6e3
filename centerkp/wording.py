"""How the package speaks: counted nouns, quoted values, and what somebody may have meant."""

import difflib
import reprlib
from collections.abc import Iterable

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 200
show = _short.repr


def suggest(name: str, known: Iterable[str]) -> str:
    """ ", did you mean 'x'?" for a near miss, else the empty string."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f", did you mean '{near[0]}'?" if near else ""


def count_of(number: int, noun: str) -> str:
    """Writes "1 image", "2 images", "2 categories", "2 classes"."""
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + ("es" if noun.endswith("s") else "s")
    return f"{number} {noun if number == 1 else plural}"
