"""What the doctor has to say: one finding for each kind of trouble, with its count, its first places and its remedy."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from centerkp.labels.faults import SHOWN
from centerkp.wording import count_of

# From what stops a training to what is merely good to know. The first says 2 to a script, the next two say 1.
LEVELS = ("unusable", "mendable", "suspicious", "advice", "note")
EXIT_CODES = {"unusable": 2, "mendable": 1, "suspicious": 1}
PICTURES = 12  # image rows that a finding remembers


@dataclass(frozen=True)
class Finding:
    """One kind of trouble in a dataset.

    Args:
        level: one of `LEVELS`. "unusable": training refuses the file, and nothing mends it unasked; "mendable": wrong, but what
            is meant is clear, so that `--fix` writes it right; "suspicious": may be wrong, which takes a look at the pictures;
            "advice" and "note": nothing is wrong.
        title: what it is, without the count.
        count, noun: how many, and of what ("annotation", "image", "keypoint"); without a noun nothing is counted.
        remedy: what to do; empty when nothing is to be done.
        places: the first of them by id, ten at most.
        image_rows: images that show it, by their place in the file's list; the first `PICTURES`.
        rows: their places in the file's list of annotations or images.
        part: "" for the training file, "val" for the other.
        is_misread: --fix mends it, but training refuses the file until then, and so says 2 to a script.
        pairs: pictures to see beside each other, by their rows: one of `part`, and one of `twin_part`, None for `part` again.
    """

    level: str
    title: str
    count: int
    noun: str = "annotation"
    remedy: str = ""
    places: tuple[str, ...] = ()
    image_rows: tuple[int, ...] = ()
    rows: tuple[int, ...] = ()
    part: str = ""
    is_misread: bool = False
    pairs: tuple[tuple[int, int], ...] = ()
    twin_part: str | None = None

    @property
    def headline(self) -> str:
        """The finding in words with its count, as in "3 annotations: 'iscrowd' is true or false"."""
        where = f"{self.part}: " if self.part else ""
        return f"{where}{count_of(self.count, self.noun)}: {self.title}" if self.noun else f"{where}{self.title}"

    def at_level(self, level: str, remedy: str | None = None) -> "Finding":
        """The same finding at another level such as "note", and with another remedy where one is given."""
        return replace(self, level=level, remedy=self.remedy if remedy is None else remedy)


def make_finding(
    level: str,
    title: str,
    rows: Collection[int],
    *,
    noun: str = "annotation",
    remedy: str = "",
    place: Callable[[int], str] | None = None,
    image_row: Callable[[int], int] | None = None,
    entry: Callable[[int], int] | None = None,
    count: int | None = None,
    is_misread: bool = False,
) -> list[Finding]:
    """A list of one finding about the given rows of a file, or of none when there are none.

    Args:
        place: names a row to the user; only asked for the first ten.
        image_row: the image that shows a row; entry: its place in the file, where that is another number.
        count: when it is not the number of rows, for example of keypoints.
    """
    if not len(rows):
        return []
    rows = [int(row) for row in rows]
    places = tuple(place(row) for row in rows[:SHOWN]) if place else ()
    shown = tuple(dict.fromkeys(image_row(row) for row in rows[: 4 * PICTURES]))[:PICTURES] if image_row else ()
    number = len(rows) if count is None else int(count)
    entries = tuple(dict.fromkeys(int(entry(row)) for row in rows)) if entry else tuple(rows)
    return [Finding(level, title, number, noun, remedy, places, shown, entries, is_misread=is_misread)]


def find_same_kind(findings: Sequence[Finding], one: Finding) -> Finding | None:
    """Among some findings the one with the same title and noun as `one`, None without one."""
    return next((f for f in findings if (f.title, f.noun) == (one.title, one.noun)), None)


def sort_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Findings with the most important first; within a level they stay in the order in which the checks found them."""
    return sorted(findings, key=lambda finding: (LEVELS.index(finding.level), not finding.is_misread))


def exit_code(findings: Iterable[Finding]) -> int:
    """What a list of findings tells a script: 0 nothing is wrong, 1 something to mend or to look at, 2 not trainable."""
    return max((2 if finding.is_misread else EXIT_CODES.get(finding.level, 0) for finding in findings), default=0)
