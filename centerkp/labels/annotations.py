"""The annotations of a COCO file as columns: every entry is checked, harmless faults are mended and noted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from centerkp.labels.tables import MAX_NUMBER, Table, is_number, read_integer, read_integers
from centerkp.schema import Schema
from centerkp.wording import quote

# What the doctor judges by itself.
WRONG_LENGTH = "'keypoints' whose length is not three times the number of the category's keypoints"
UNNAMED_POINTS = "keypoints of a class that names none, ignored"
NO_POINTS = "no keypoints, though the class has them: all read as not labelled"
HIDDEN_POINTS = "coordinates given at visibility 0, ignored"
NUMBERS = "numbers that are NaN, infinite or no numbers at all", "write finite numbers, or delete the annotations"
BLOCK = 20_000  # annotations whose points are read at a time, which all at once would be in memory three times


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
    """Checks every annotation of a COCO file and returns them as columns, usable when no fault was added.

    Args:
        image_rows: COCO image id -> row in the list of images; `image_names` are the file names of these rows.
        categories: COCO category id -> class id, and for each of the class's keypoints its place in the file's vectors.
    """
    image_ids = read_integers(table.column("image_id"))

    def label(row: int) -> str:
        entry, file = table.entries[row], image_rows.get(image_ids[row])
        name = "" if file is None else f", {image_names[file]}"
        number = quote(entry["id"]) if entry.get("id") is not None else f"number {row + 1} without id"
        return f"annotation {number} (image {quote(entry.get('image_id'))}{name})"

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
    """The column of the annotations' boxes, (N, 4) float64, NaN where there is none."""
    raw = table.column("bbox")
    given = [row for row, box in enumerate(raw) if box is not None and box != []]
    wrong = [row for row in given if not isinstance(raw[row], list) or len(raw[row]) != 4]
    table.fault_value(wrong, "bbox", "'bbox' that is no list of 4 numbers", "write [x, y, width, height] in pixels")
    strange = [row for row in set(given) - set(wrong) if not {int, float}.issuperset(map(type, raw[row]))]
    given = np.array(sorted(set(given) - set(wrong) - set(strange)), np.int64)
    boxes = np.full((len(raw), 4), np.nan)
    boxes[given] = _read_floats([raw[row] for row in given], 4)
    infinite = given[~(np.abs(boxes[given]) < MAX_NUMBER).all(1)]
    table.fault_value(sorted({*strange, *infinite}), "bbox", *NUMBERS)
    return boxes


def _read_areas(table: Table) -> np.ndarray:
    """The column of the annotations' areas, (N,), 0 where there is none."""
    raw = table.column("area")
    areas = _read_floats([[area if type(area) in (int, float) else None for area in raw]], len(raw))[0]
    usable = np.abs(areas) < MAX_NUMBER
    table.fault_value([row for row in np.flatnonzero(~usable).tolist() if raw[row] is not None], "area", *NUMBERS)
    return np.where(usable, areas, 0)


def _read_crowds(table: Table) -> np.ndarray:
    """The column of the annotations' `iscrowd`, (N,) bool."""
    raw = table.column("iscrowd")
    values = read_integers([int(value) if isinstance(value, bool) else value for value in raw])
    table.note([row for row, value in enumerate(raw) if isinstance(value, bool)], "'iscrowd' is true or false, read as 1 or 0")
    table.note([row for row, value in enumerate(raw) if value is None], "'iscrowd' missing, read as 0")
    wrong = [row for row, value in enumerate(values) if value not in (0, 1) and raw[row] is not None]
    table.fault_value(wrong, "iscrowd", "'iscrowd' that is neither 0 nor 1", "write 0, or 1 for a region of many objects")
    return np.array([value == 1 for value in values], bool)


def _read_keypoints(table: Table, class_ids: np.ndarray, orders: Mapping, schema: Schema) -> tuple[np.ndarray, np.ndarray]:
    """The columns of the annotations' points (N, K, 2) and their visibility (N, K), on the flat axis."""
    raw = table.column("keypoints")
    counts = np.array([*(len(kind.keypoints) for kind in schema.classes), 0])[class_ids]  # class -1 stands last
    lengths = np.array([len(v) if isinstance(v, list) else -1 if v is not None else 0 for v in raw], np.int64)
    named = counts > 0
    table.note(np.flatnonzero((class_ids >= 0) & ~named & (lengths != 0)), UNNAMED_POINTS)
    table.note(np.flatnonzero(named & (lengths == 0)), NO_POINTS)
    wrong = np.flatnonzero(named & (lengths != 0) & (lengths != 3 * counts))
    remedy = "write x, y, visibility for every keypoint of the category, zeros where it is not labelled"

    def found(row: int) -> str:
        if isinstance(raw[row], list):
            return f"found {lengths[row]} numbers, expected {3 * counts[row]}"
        return f"found {quote(raw[row])}, expected a list of {3 * counts[row]} numbers"

    table.fault(wrong, WRONG_LENGTH, remedy, found)
    right = np.flatnonzero(named & (lengths == 3 * counts))
    numeric = np.array([{int, float, type(None)}.issuperset(map(type, raw[row])) for row in right], bool)
    points = np.zeros((len(raw), schema.num_keypoints, 3))
    for class_id, kind in enumerate(schema.classes):
        of_class = right[numeric & (class_ids[right] == class_id)]
        for first in range(0, len(of_class), BLOCK):
            rows = of_class[first : first + BLOCK]
            own = _read_floats([raw[row] for row in rows], 3 * len(kind.keypoints)).reshape(len(rows), -1, 3)
            points[rows, schema.keypoint_slice(class_id)] = own[:, orders[class_id]]
    xy, visibility = points[..., :2], points[..., 2]
    is_zero = visibility <= 0
    usable = (np.abs(visibility) < MAX_NUMBER) & (is_zero | (np.abs(xy) < MAX_NUMBER).all(-1))
    strange = np.union1d(right[~numeric], np.flatnonzero(~usable.all(-1)))
    table.fault(strange, *NUMBERS, lambda row: f"keypoints hold {quote([v for v in raw[row] if not is_number(v)])}")
    _note_keypoints(table, xy, visibility, right)
    return np.where(is_zero[..., None], 0, xy), np.where(is_zero, 0, np.where(visibility == 1, 1, 2)).astype(np.uint8)


def _note_keypoints(table: Table, xy: np.ndarray, visibility: np.ndarray, given: np.ndarray) -> None:
    """Notes what annotations say of keypoints and is read otherwise: places of hidden ones, odd visibility, counts."""
    ignored, strange = (visibility <= 0) & (xy != 0).any(-1), ~np.isin(visibility, (0, 1, 2))
    for mask, text in ((ignored, HIDDEN_POINTS), (strange, "visibility none of 0, 1, 2; read as 2 when positive, else as 0")):
        table.note(np.flatnonzero(mask.any(1)), text, "keypoint", int(mask.sum()))
    labelled, written = (visibility > 0).sum(-1), table.column("num_keypoints")
    wrong = [row for row in given if read_integer(written[row]) != labelled[row]]
    table.note(wrong, "'num_keypoints' missing or wrong, counted again from the keypoints")


def _read_floats(rows: Sequence[Sequence], width: int) -> np.ndarray:
    """Annotations' ints, floats and None (NaN) as rows of floats (n, width); ints beyond their range become infinite."""
    try:
        numbers = np.fromiter(chain.from_iterable(rows), np.float64, len(rows) * width)
    except (TypeError, OverflowError):  # None, and what no float can hold
        usable = (n if type(n) is not int or is_number(n) else np.inf for n in chain.from_iterable(rows))
        numbers = np.array(list(usable), np.float64)
    return numbers.reshape(len(rows), width)
