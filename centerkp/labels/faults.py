"""What can be wrong inside a COCO file: faults are collected and shown together, harmless ones mended and noted."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from centerkp.wording import count_of, show

SHOWN = 10  # examples of each kind of fault
MAX_ID = 2**62  # leaves room in 64 bits for the ids given to annotations without one
MAX_NUMBER = 1e12  # beyond any coordinate or area; NaN and infinity fail the same comparison
NOUNS = {"images": "image", "annotations": "annotation", "categories": "category"}  # of the three lists
# What the doctor judges by itself.
WRONG_LENGTH = "'keypoints' whose length is not three times the number of the category's keypoints"
UNNAMED_POINTS = "keypoints of a class that names none, ignored"
NO_POINTS = "no keypoints, though the class has them: all read as not labelled"
HIDDEN_POINTS = "coordinates given at visibility 0, ignored"
NUMBERS = "numbers that are NaN, infinite or no numbers at all", "write finite numbers, or delete the annotations"


def add_note(notes: list[str], noun: str, number: int, text: str, names: Iterable = ()) -> None:
    """Adds one line "3 images: text: a.jpg, b.jpg, c.jpg" unless the number is 0; ten names at most."""
    if number:
        some = ", ".join(str(name) for name in islice(names, SHOWN))
        more = ", ..." if some and number > SHOWN else ""
        notes.append(f"{count_of(number, noun)}: {text}" + (f": {some}{more}" if some else ""))


class Faults:
    """Collects what is wrong with a file, and raises it as one readable error."""

    def __init__(self, path: Path, expected: str = "a consistent COCO dataset"):
        self.path, self.expected = path, expected
        self._kinds: dict[tuple[str, str], list[str]] = {}
        self._counts: Counter = Counter()

    def add(self, kind: str, remedy: str, rows: Collection[int], describe: Callable[[int], str]) -> None:
        """Adds one fault of a kind for each row; only the first ten of a kind are described."""
        if len(rows):
            lines = self._kinds.setdefault((kind, remedy), [])
            lines += [describe(int(row)) for row in list(rows)[: SHOWN - len(lines)]]
            self._counts[kind, remedy] += len(rows)

    def raise_if_any(self) -> None:
        """Raises one ValueError with every kind of fault, its count, its remedy and its first ten cases."""
        if not self._kinds:
            return
        total, kinds = count_of(sum(self._counts.values()), "fault"), count_of(len(self._kinds), "kind")
        report = [f"{self.path}: found {total} of {kinds}, expected {self.expected}; mend what is listed here."]
        for (kind, remedy), lines in self._kinds.items():
            count = self._counts[kind, remedy]
            more = [f"    and {count - len(lines)} more"] if count > len(lines) else []
            report += [f"- {kind} ({count}): {remedy}", *(f"    {line}" for line in lines), *more]
        raise ValueError("\n".join(report))


class Table:
    """One of COCO's three lists: its JSON objects, and the words for what is wrong or mended in them.

    `label` names an entry to the user; entries that are no JSON objects are faults and left out.
    """

    def __init__(self, content: Mapping, name: str, faults: Faults, notes: list[str]):
        everything = content[name]
        self.entries = [entry for entry in everything if isinstance(entry, dict)]
        self.faults, self.notes = faults, notes
        self.noun = NOUNS[name]
        self.label: Callable[[int], str] = lambda row: f"{self.noun} {show(self.entries[row].get('id'))}"
        strange = [row for row, entry in enumerate(everything) if not isinstance(entry, dict)]
        kind, remedy = f"entries of '{name}' that are no JSON objects", "delete them, or export the file again"
        faults.add(kind, remedy, strange, lambda row: f"entry {row + 1}: {show(everything[row])}")

    def column(self, key: str) -> list:
        """What stands under one key, None where it is missing."""
        return [entry.get(key) for entry in self.entries]

    def fault(self, rows: Iterable[int], key: str, kind: str, remedy: str) -> None:
        """Adds a fault for each row and quotes what stands under `key`."""
        self.faults.add(kind, remedy, list(rows), lambda row: f"{self.label(row)}: {key} {show(self.entries[row].get(key))}")

    def note(self, rows: Collection[int], text: str, noun: str | None = None, count: int | None = None) -> None:
        """Adds one line "3 images: text" unless there are no rows; `noun` and `count` where not the entries are counted."""
        add_note(self.notes, noun or self.noun, len(rows) if count is None else count, text)

    def integers(self, key: str, optional: bool = False) -> list[int | None]:
        """The whole numbers under one key; None where there is none, which is a fault unless it is missing and `optional`."""
        raw = self.column(key)
        values = [read_integer(value) for value in raw]
        mended = [row for row, value in enumerate(values) if value is not None and type(raw[row]) is not int]
        self.note(mended, f"'{key}' written as text or with a decimal point, read as a whole number")
        unusable = [row for row, value in enumerate(values) if value is None and not (optional and raw[row] is None)]
        self.fault(unusable, key, f"'{key}' missing or no whole number", "give each a whole number")
        return values

    def refuse_repeated(self, ids: Sequence[int | None]) -> None:
        """Adds a fault for every entry whose id another entry has too."""
        counts = Counter(value for value in ids if value is not None)
        remedy = "give each its own id; often two files were merged without renumbering"
        rows = [row for row, value in enumerate(ids) if counts[value] > 1]
        self.fault(rows, "id", f"{self.noun} ids that stand more than once", remedy)

    def refuse_unknown(self, key: str, values: Sequence[int | None], known: Mapping[int, object], name: str) -> None:
        """Adds a fault for every value that is no id of the list `name`."""
        rows = [row for row, value in enumerate(values) if value is not None and value not in known]
        remedy = f"add the missing ids to '{name}' (it has {show(sorted(known))}), or delete the annotations"
        self.fault(rows, key, f"'{key}' that '{name}' does not hold", remedy)


def read_integer(value) -> int | None:
    """A whole number, also one written as 3.0, "3" or "3.0"; None for anything else, `True` included."""
    if type(value) is int:
        return value if abs(value) < MAX_ID else None
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d{1,18}(\.0*)?\s*", value):
        return int(value.split(".")[0])
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return None


def is_number(value) -> bool:
    """Whether a value is a finite int or float of a size that pixels can have."""
    return type(value) in (int, float) and abs(value) < MAX_NUMBER


def _is_name(value) -> bool:
    # Half of a surrogate pair can be written in JSON, but not shown or saved.
    is_text = isinstance(value, str) and bool(value.strip()) and value.encode("utf-8", "ignore").decode() == value
    return is_text or is_number(value)


def _are_names(value) -> bool:
    return isinstance(value, list) and all(map(_is_name, value))


_CATEGORY_KEYS = {
    "name": (_is_name, "give each a name"),
    "keypoints": (_are_names, "write a list of names"),
    "flip_pairs": (lambda v: isinstance(v, list) and all(_are_names(p) and len(p) == 2 for p in v), "write pairs of names"),
    "oks_sigmas": (lambda v: all(map(is_number, v if isinstance(v, list) else [v])), "write one number, or one per keypoint"),
}


def read_categories(table: Table) -> list[dict]:
    """The categories with checked types, in the form `Schema.from_coco` takes; edges that are no pairs are left out."""
    ids = table.integers("id")
    for key, (is_right, remedy) in _CATEGORY_KEYS.items():
        column = enumerate(table.column(key))
        wrong = [row for row, value in column if not is_right(value) and (value is not None or key == "name")]
        table.fault(wrong, key, f"categories without a usable '{key}'", remedy)
    mended = []
    for entry, category_id in zip(table.entries, ids, strict=True):
        edges = entry.get("skeleton") if isinstance(entry.get("skeleton"), list) else []
        edges = [[read_integer(index) for index in edge] for edge in edges if isinstance(edge, list)]
        edges = [edge for edge in edges if len(edge) == 2 and None not in edge]
        mended.append(entry | {"id": category_id, "skeleton": edges})
    return mended


def read_images(table: Table) -> tuple[list[int | None], list[str], np.ndarray]:
    """Of each image its id and file name, "" without one, and (n, 2) width and height as written, 0 where one is missing."""
    ids = table.integers("id")
    table.refuse_repeated(ids)
    names = [name if isinstance(name, str) else "" for name in table.column("file_name")]
    table.fault([r for r, n in enumerate(names) if not n], "file_name", "images without 'file_name'", "write the file's name")
    sides = [[side or 0 for side in table.integers(key, optional=True)] for key in ("width", "height")]
    sizes = np.array(sides, np.float64).T
    sizes[(sizes <= 0).any(1)] = 0
    return ids, names, sizes
