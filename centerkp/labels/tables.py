"""The three lists of a COCO file as tables: columns of checked types, with words for what is wrong or mended in them."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from centerkp.labels.faults import Remarks, Rows
from centerkp.schema import MAX_ID
from centerkp.wording import quote

MAX_NUMBER = 1e12  # beyond any coordinate or area; NaN and infinity fail the same comparison
REPEATED_IDS = "{} ids that stand more than once"  # of which entries
NO_OBJECTS = "entries of '{}' that are no JSON objects"  # of which list
NOUNS = {"images": "image", "annotations": "annotation", "categories": "category"}  # of the three lists


class Table:
    """One of COCO's three lists: its JSON objects, and what is remarked about them.

    `label` names an entry to the user; entries that are no JSON objects are faults and left out.
    """

    def __init__(self, content: Mapping, name: str, remarks: Remarks):
        everything = content[name]
        self.entries = [entry for entry in everything if isinstance(entry, dict)]
        self.remarks, self.noun = remarks, NOUNS[name]
        self.label: Callable[[int], str] = lambda row: f"{self.noun} {quote(self.entries[row].get('id'))}"
        empty = [row for row, entry in enumerate(everything) if entry is None]
        remarks.add_fault(self.noun, empty, f"entries of '{name}' that are null", "delete them", lambda row: f"entry {row + 1}")
        # Other entries may hold labels, such as a list of them, which must not be lost in silence.
        strange = [row for row, entry in enumerate(everything) if not isinstance(entry, dict | None)]
        remedy = "write an object for each, or delete them, or export the file again"

        def place(row: int) -> str:
            return f"entry {row + 1}: {quote(everything[row])}"

        remarks.add_fault(self.noun, strange, NO_OBJECTS.format(name), remedy, place)

    def column(self, key: str) -> list:
        """The values of one key in a list of the COCO file, None where an entry lacks it."""
        return [entry.get(key) for entry in self.entries]

    def fault(self, rows: Rows, text: str, remedy: str, found: Callable[[int], str]) -> None:
        """Adds a fault for some rows of a COCO list; `found` says what one of them holds."""
        self.remarks.add_fault(self.noun, rows, text, remedy, lambda row: f"{self.label(row)}: {found(row)}")

    def fault_value(self, rows: Rows, key: str, text: str, remedy: str) -> None:
        """Adds a fault for some rows of a COCO list and quotes what stands there under `key`."""
        self.fault(rows, text, remedy, lambda row: f"{key} {quote(self.entries[row].get(key))}")

    def note(self, rows: Rows, text: str, noun: str | None = None, count: int | None = None) -> None:
        """Adds a note about rows of a COCO list, unless there are none; `noun` and `count` where not entries are counted."""
        number = len(rows) if count is None else count
        self.remarks.add_note(noun or self.noun, number, text, rows=rows, place=self.label)

    def integers(self, key: str, optional: bool = False) -> list[int | None]:
        """A column of whole numbers of a COCO list; None where there is none, a fault unless missing and `optional`."""
        raw = self.column(key)
        values = read_integers(raw)
        if values is raw:
            return values
        mended = [row for row, value in enumerate(values) if value is not None and type(raw[row]) is not int]
        self.note(mended, f"'{key}' written as text or with a decimal point, read as a whole number")
        unread = [row for row, value in enumerate(values) if value is None and not (optional and raw[row] is None)]
        large = [row for row in unread if type(raw[row]) is int]
        self.fault_value(large, key, f"'{key}' too large", f"give each a whole number from {1 - MAX_ID} to {MAX_ID - 1}")
        unusable = [row for row in unread if type(raw[row]) is not int]
        self.fault_value(unusable, key, f"'{key}' missing or no whole number", "give each a whole number")
        return values

    def refuse_repeated(self, ids: Sequence[int | None]) -> None:
        """Adds a fault for every entry of a COCO list whose id another entry has too."""
        counts = Counter(value for value in ids if value is not None)
        if len(counts) == len(ids):
            return
        remedy = "give each its own id; often two files were merged without renumbering"
        rows = [row for row, value in enumerate(ids) if counts[value] > 1]
        self.fault_value(rows, "id", REPEATED_IDS.format(self.noun), remedy)

    def refuse_unknown(self, key: str, values: Sequence[int | None], known: Mapping[int, object], name: str) -> None:
        """Adds a fault for every value of a COCO list's column that is no id of the list `name`."""
        strange = set(values) - known.keys() - {None}
        rows = [row for row, value in enumerate(values) if value in strange] if strange else []
        remedy = f"add the missing ids to '{name}' (it has {quote(sorted(known))}), or delete the annotations"
        self.fault_value(rows, key, f"'{key}' that '{name}' does not hold", remedy)


def read_integer(value: Any) -> int | None:
    """A whole number in a table of a COCO file, also written as 3.0, "3" or "3.0"; None for anything else."""
    if type(value) is int:
        return value if abs(value) < MAX_ID else None
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d{1,18}(\.0*)?\s*", value):
        return int(value.split(".")[0])
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return None


def read_integers(raw: list) -> list:
    """A column of a COCO file as `read_integer` reads each value; `raw` itself where all are, which is told at once."""
    if set(map(type, raw)) == {int} and -MAX_ID < min(raw) and max(raw) < MAX_ID:
        return raw
    return [read_integer(value) for value in raw]


def is_number(value: Any) -> bool:
    """Whether a value in a table of a COCO file is a finite int or float of a size that pixels can have."""
    return type(value) in (int, float) and abs(value) < MAX_NUMBER


def _is_name(value: Any) -> bool:
    # Half of a surrogate pair can be written in JSON, but not shown or saved.
    """Whether a value in a table of a COCO file can be the name of a category or keypoint."""
    is_text = isinstance(value, str) and bool(value.strip()) and value.encode("utf-8", "ignore").decode() == value
    return is_text or is_number(value)


def _are_names(value: Any) -> bool:
    """Whether a value in a table of a COCO file is a list of names of categories or keypoints."""
    return isinstance(value, list) and all(map(_is_name, value))


_CATEGORY_KEYS = {
    "name": (_is_name, "give each a name"),
    "keypoints": (_are_names, "write a list of names"),
    "flip_pairs": (lambda v: isinstance(v, list) and all(_are_names(p) and len(p) == 2 for p in v), "write pairs of names"),
    "oks_sigmas": (lambda v: all(map(is_number, v if isinstance(v, list) else [v])), "write one number, or one per keypoint"),
}


def read_categories(table: Table) -> list[dict]:
    """The table of a COCO file's categories with checked types, as `Schema.from_coco` takes it; bad edges left out."""
    ids = table.integers("id")
    for key, (is_right, remedy) in _CATEGORY_KEYS.items():
        column = enumerate(table.column(key))
        wrong = [row for row, value in column if not is_right(value) and (value is not None or key == "name")]
        table.fault_value(wrong, key, f"categories without a usable '{key}'", remedy)
    mended = []
    for entry, category_id in zip(table.entries, ids, strict=True):
        edges = entry.get("skeleton") if isinstance(entry.get("skeleton"), list) else []
        edges = [[read_integer(index) for index in edge] for edge in edges if isinstance(edge, list)]
        edges = [edge for edge in edges if len(edge) == 2 and None not in edge]
        mended.append(entry | {"id": category_id, "skeleton": edges})
    return mended


def read_images(table: Table) -> tuple[list[int | None], list[str], np.ndarray]:
    """The table of a COCO file's images: ids, file names, and (n, 2) width and height as written, 0 where one is missing."""
    ids = table.integers("id")
    table.refuse_repeated(ids)
    names = [name if isinstance(name, str) else "" for name in table.column("file_name")]
    nameless = [row for row, name in enumerate(names) if not name]
    table.fault_value(nameless, "file_name", "images without 'file_name'", "write the file's name")
    sides = [[side or 0 for side in table.integers(key, optional=True)] for key in ("width", "height")]
    sizes = np.array(sides, np.float64).T
    sizes[(sizes <= 0).any(1)] = 0
    return ids, names, sizes
