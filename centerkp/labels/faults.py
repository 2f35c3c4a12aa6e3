"""Collects what is wrong with label files and what was mended in passing: kinds, with counts, rows, places and words."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from centerkp.wording import count_of

SHOWN = 10  # examples of each kind of fault
Rows = Sequence[int] | np.ndarray  # places in one of a file's lists


@dataclass(frozen=True, eq=False)
class Remark:
    """One kind of fault or of note: what it is, how often it occurs, and where.

    Args:
        text: what it is, without the count.
        noun, count: of what and how many, which need not be the number of `rows`; a note without a noun counts nothing.
        rows: places in the file's list of `noun`s, in order; empty where a note is about something else.
        places: the first ten of them by name.
        remedy: what to do about a fault; empty in a note.
        examples: the end of a note's sentence, such as ": a.jpg, b.jpg".
    """

    text: str
    noun: str = ""
    count: int = 0
    rows: Rows = ()
    places: tuple[str, ...] = ()
    remedy: str = ""
    examples: str = ""

    @property
    def sentence(self) -> str:
        """A note on a label file in words, as in "3 images: unreadable: a.jpg, b.jpg, c.jpg"."""
        return f"{count_of(self.count, self.noun)}: {self.text}{self.examples}" if self.noun else self.text


class Remarks:
    """What is said about one label file while it is read: `faults`, which refuse it, and `notes`, in order of appearance."""

    def __init__(self, path: Path, expected: str = "a consistent COCO dataset"):
        self.path, self.expected = path, expected
        self.faults: list[Remark] = []
        self.notes: list[Remark] = []

    def add_fault(self, noun: str, rows: Rows, text: str, remedy: str, place: Callable[[int], str]) -> None:
        """Adds a fault that each of the rows has; `place` says what one of them holds, and is asked for the first ten."""
        if len(rows):
            places = tuple(place(int(row)) for row in rows[:SHOWN])
            self.faults.append(Remark(text, noun, len(rows), rows, places, remedy))

    def add_note(
        self,
        noun: str,
        count: int,
        text: str,
        names: Iterable = (),
        *,
        rows: Rows = (),
        place: Callable[[int], str] = str,
    ) -> None:
        """Adds a note on what was mended in passing, unless the count is 0; ten of `names` at most end its sentence."""
        if count:
            some = ", ".join(str(name) for name in islice(names, SHOWN))
            examples = f": {some}{', ...' if count > SHOWN else ''}" if some else ""
            places = tuple(place(int(row)) for row in rows[:SHOWN])
            self.notes.append(Remark(text, noun, int(count), rows, places, examples=examples))

    def add_sentence(self, text: str) -> None:
        """Adds a note on a label file that counts nothing, as one sentence."""
        self.notes.append(Remark(text))

    @property
    def sentences(self) -> tuple[str, ...]:
        """The notes that were collected about a label file so far, a line each."""
        return tuple(note.sentence for note in self.notes)

    def raise_faults(self, command: str = "") -> None:
        """Raises one ValueError with every kind of fault collected, its count, remedy and first ten cases, if any.

        Args:
            command: what mends those whose meaning is clear.
        """
        if not self.faults:
            return
        kinds: dict[tuple[str, str], list[Remark]] = {}
        for fault in self.faults:
            kinds.setdefault((fault.text, fault.remedy), []).append(fault)
        total = count_of(sum(fault.count for fault in self.faults), "fault")
        found = f"found {total} of {count_of(len(kinds), 'kind')}"
        mended = f" '{command}' mends what is clear." if command else ""
        report = [f"{self.path}: {found}, expected {self.expected}; mend what is listed here.{mended}"]
        for (text, remedy), faults in kinds.items():
            count = sum(fault.count for fault in faults)
            lines = [f"    {place}" for fault in faults for place in fault.places][:SHOWN]
            more = [f"    and {count - len(lines)} more"] if count > len(lines) else []
            report += [f"- {text} ({count}): {remedy}", *lines, *more]
        raise ValueError("\n".join(report))
