"""What can be wrong inside a COCO file: faults are collected and shown together, harmless ones mended and noted."""

import re
import reprlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np

from centerkp.schema import Schema

SHOWN = 10  # examples of each kind of fault
MAX_ID = 2**62  # leaves room in 64 bits for the ids given to annotations without one
MAX_NUMBER = 1e12  # beyond any coordinate or area; NaN and infinity fail the same comparison
NOUNS = {"images": "image", "annotations": "annotation", "categories": "category"}  # of the three lists
# What the doctor judges by itself.
WRONG_LENGTH = "'keypoints' whose length is not three times the number of the category's keypoints"
UNNAMED_POINTS = "keypoints of a class that names none, ignored"
NO_POINTS = "no keypoints, though the class has them: all read as not labelled"
HIDDEN_POINTS = "coordinates given at visibility 0, ignored"
_NUMBERS = "numbers that are NaN, infinite or no numbers at all", "write finite numbers, or delete the annotations"

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 200
show = _short.repr


def count_of(number: int, noun: str) -> str:
    """Writes "1 image", "2 images", "2 categories", "2 classes"."""
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + ("es" if noun.endswith("s") else "s")
    return f"{number} {noun if number == 1 else plural}"


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


def _to_floats(numbers: Iterable) -> np.ndarray:
    """Floats from ints, floats and None (NaN); ints beyond the range of floats become infinite."""
    numbers = list(numbers)
    try:
        return np.array(numbers, np.float64)
    except OverflowError:
        return np.array([np.inf if type(n) is int and not is_number(n) else n for n in numbers], np.float64)


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


@dataclass(eq=False)
class Annotations:
    """The annotations as columns of N rows, coordinates in the frame of the JSON, not clipped.

    `image_rows` (N,) points into the list of images. `boxes_xywh` is (N, 4) float64, NaN where the file has no box;
    `areas` (N,) is 0 where it has none; `keypoints_xy` is (N, K, 2) on the schema's flat axis, 0 where `visibility` is 0.
    """

    ids: np.ndarray
    image_rows: np.ndarray
    class_ids: np.ndarray
    boxes_xywh: np.ndarray
    areas: np.ndarray
    is_crowd: np.ndarray
    keypoints_xy: np.ndarray
    visibility: np.ndarray


def read_annotations(
    table: Table,
    image_rows: Mapping[int, int],
    image_names: Sequence[str],
    categories: Mapping[int, tuple[int, list[int]]],
    schema: Schema,
) -> Annotations:
    """Checks every annotation and returns them as columns, usable when no fault was added.

    Args:
        image_rows: COCO image id -> row in the list of images; `image_names` are the file names of these rows.
        categories: COCO category id -> class id, and for each of the class's keypoints its place in the file's vectors.
    """
    image_ids = [read_integer(value) for value in table.column("image_id")]

    def label(row: int) -> str:
        entry, file = table.entries[row], image_rows.get(image_ids[row])
        name = "" if file is None else f", {image_names[file]}"
        number = show(entry["id"]) if entry.get("id") is not None else f"number {row + 1} without id"
        return f"annotation {number} (image {show(entry.get('image_id'))}{name})"

    table.label = label
    ids = table.integers("id", optional=True)
    table.refuse_repeated(ids)
    image_ids, category_ids = table.integers("image_id"), table.integers("category_id")
    table.refuse_unknown("image_id", image_ids, image_rows, "images")
    table.refuse_unknown("category_id", category_ids, categories, "categories")
    missing = [row for row, value in enumerate(ids) if value is None]
    table.note(missing, "'id' missing, numbered after the others")
    free = max((value for value in ids if value is not None), default=0) + 1
    for number, row in enumerate(missing):
        ids[row] = free + number
    rows = np.array([image_rows.get(value, -1) for value in image_ids], np.int64)
    class_ids = np.array([categories.get(value, (-1,))[0] for value in category_ids], np.int64)
    boxes_xywh, areas, is_crowd = _read_boxes(table), _read_areas(table), _read_crowds(table)
    points = _read_keypoints(table, class_ids, dict(categories.values()), schema)
    return Annotations(np.array(ids, np.int64), rows, class_ids, boxes_xywh, areas, is_crowd, *points)


def _read_boxes(table: Table) -> np.ndarray:
    raw = table.column("bbox")
    given = [row for row, box in enumerate(raw) if box is not None and box != []]
    wrong = [row for row in given if not isinstance(raw[row], list) or len(raw[row]) != 4]
    table.fault(wrong, "bbox", "'bbox' that is no list of 4 numbers", "write [x, y, width, height] in pixels")
    strange = [row for row in set(given) - set(wrong) if not set(map(type, raw[row])) <= {int, float}]
    given = np.array(sorted(set(given) - set(wrong) - set(strange)), np.int64)
    boxes = np.full((len(raw), 4), np.nan)
    boxes[given] = _to_floats(chain.from_iterable(raw[row] for row in given)).reshape(-1, 4)
    infinite = given[~(np.abs(boxes[given]) < MAX_NUMBER).all(1)]
    table.fault(sorted({*strange, *infinite}), "bbox", *_NUMBERS)
    return boxes


def _read_areas(table: Table) -> np.ndarray:
    raw = table.column("area")
    table.fault([row for row, area in enumerate(raw) if area is not None and not is_number(area)], "area", *_NUMBERS)
    return np.array([area if is_number(area) else 0 for area in raw], np.float64)


def _read_crowds(table: Table) -> np.ndarray:
    raw = table.column("iscrowd")
    values = [int(value) if isinstance(value, bool) else read_integer(value) for value in raw]
    table.note([row for row, value in enumerate(raw) if isinstance(value, bool)], "'iscrowd' is true or false, read as 1 or 0")
    table.note([row for row, value in enumerate(raw) if value is None], "'iscrowd' missing, read as 0")
    wrong = [row for row, value in enumerate(values) if value not in (0, 1) and raw[row] is not None]
    table.fault(wrong, "iscrowd", "'iscrowd' that is neither 0 nor 1", "write 0, or 1 for a region of many objects")
    return np.array([value == 1 for value in values], bool)


def _read_keypoints(table: Table, class_ids: np.ndarray, orders: Mapping, schema: Schema) -> tuple[np.ndarray, np.ndarray]:
    """The points (N, K, 2) and their visibility (N, K) on the flat axis."""
    raw = table.column("keypoints")
    counts = np.array([*(len(kind.keypoints) for kind in schema.classes), 0])[class_ids]  # class -1 stands last
    lengths = np.array([len(v) if isinstance(v, list) else -1 if v is not None else 0 for v in raw], np.int64)
    named = counts > 0
    table.note(np.flatnonzero((class_ids >= 0) & ~named & (lengths != 0)), UNNAMED_POINTS)
    table.note(np.flatnonzero(named & (lengths == 0)), NO_POINTS)
    wrong = np.flatnonzero(named & (lengths != 0) & (lengths != 3 * counts))
    kind, remedy = WRONG_LENGTH, "write x, y, visibility for every keypoint of the category, zeros where it is not labelled"
    table.faults.add(kind, remedy, wrong, lambda r: f"{table.label(r)}: found {lengths[r]} numbers, expected {3 * counts[r]}")
    right = np.flatnonzero(named & (lengths == 3 * counts))
    numeric = np.array([set(map(type, raw[row])) <= {int, float, type(None)} for row in right], bool)
    points = np.zeros((len(raw), schema.num_keypoints, 3))
    for class_id in range(schema.num_classes):
        rows = right[numeric & (class_ids[right] == class_id)]
        if len(rows):
            own = _to_floats(chain.from_iterable(raw[row] for row in rows)).reshape(len(rows), -1, 3)
            points[rows, schema.keypoint_slice(class_id)] = own[:, orders[class_id]]
    xy, visibility = points[..., :2], points[..., 2]
    is_zero = visibility <= 0
    usable = (np.abs(visibility) < MAX_NUMBER) & (is_zero | (np.abs(xy) < MAX_NUMBER).all(-1))
    strange = np.union1d(right[~numeric], np.flatnonzero(~usable.all(-1)))
    table.faults.add(
        *_NUMBERS, strange, lambda r: f"{table.label(r)}: keypoints hold {show([v for v in raw[r] if not is_number(v)])}"
    )
    _note_keypoints(table, xy, visibility, right)
    return np.where(is_zero[..., None], 0, xy), np.where(is_zero, 0, np.where(visibility == 1, 1, 2)).astype(np.uint8)


def _note_keypoints(table: Table, xy: np.ndarray, visibility: np.ndarray, given: np.ndarray) -> None:
    ignored, strange = (visibility <= 0) & (xy != 0).any(-1), ~np.isin(visibility, (0, 1, 2))
    for mask, text in ((ignored, HIDDEN_POINTS), (strange, "visibility none of 0, 1, 2; read as 2 when positive, else as 0")):
        table.note(np.flatnonzero(mask.any(1)), text, "keypoint", int(mask.sum()))
    labelled, written = (visibility > 0).sum(-1), table.column("num_keypoints")
    wrong = [row for row in given if read_integer(written[row]) != labelled[row]]
    table.note(wrong, "'num_keypoints' missing or wrong, counted again from the keypoints")
