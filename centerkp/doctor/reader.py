"""Reads a label file as training does, and makes findings of what that refuses or mends: the doctor never disagrees with it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from centerkp.doctor.findings import Finding
from centerkp.labels.annotations import Annotations, read_annotations
from centerkp.labels.faults import Remark, Remarks
from centerkp.labels.tables import Table, read_categories, read_images, read_integer
from centerkp.schema import ObjectClass, Schema
from centerkp.symmetry.verdict import settle_sides


@dataclass(eq=False)
class Reading:
    """A COCO file as the reader understands it, columns included that it would refuse.

    `sizes` (n, 2) is 0 where the JSON does not say; `annotations` is None when the categories are unusable. Rows count the
    entries that are JSON objects. Columns of rows named by a fault hold -1, NaN or 0. `unused` are categories without any
    annotation, which are no classes, unless all are.
    """

    content: Mapping
    schema: Schema | None = None
    image_ids: list = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    sizes: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    annotations: Annotations | None = None
    faults: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    label_annotation: Callable[[int], str] = str
    unused: tuple[str, ...] = ()

    @property
    def num_images(self) -> int:
        """How many images the file lists that the doctor read."""
        return len(self.names)

    def label_image(self, row: int) -> str:
        """What the doctor's reading calls an image, as in "image 312 (a.jpg)"."""
        return f"image {self.image_ids[row]} ({self.names[row]})"


def read_with_findings(path: Path, content: Mapping) -> Reading:
    """Reads the three lists as training does, image files aside; what training refuses or mends in them becomes findings."""
    remarks, reading = Remarks(path), Reading(content)
    kinds = read_categories(Table(content, "categories", remarks))
    kinds, reading.unused = _choose_used(kinds, content["annotations"])
    try:
        if not remarks.faults:
            reading.schema = Schema.from_coco({"categories": kinds})
    except ValueError as error:
        remarks.faults.append(Remark(str(error).rstrip("."), "category", 1))
    reading.image_ids, reading.names, reading.sizes = read_images(Table(content, "images", remarks))
    rows = {image_id: row for row, image_id in enumerate(reading.image_ids) if image_id is not None}
    # Where the categories are unusable, the annotations have faults of their own all the same.
    schema = reading.schema or _stand_in_schema(kinds)
    classes = enumerate(schema.classes)
    places = {kind.category_id: (class_id, list(range(len(kind.keypoints)))) for class_id, kind in classes}
    table = Table(content, "annotations", remarks)
    annotations = read_annotations(table, rows, reading.names, places, schema)
    if reading.schema is not None:
        reading.annotations, reading.label_annotation = annotations, table.label
    reading.faults = [_to_finding("unusable", fault) for fault in remarks.faults]
    reading.notes = [_to_finding("mendable", note) for note in remarks.notes]
    return reading


def _choose_used(kinds: list[dict], annotations: list) -> tuple[list[dict], tuple[str, ...]]:
    """The categories that the reader makes classes of, those that annotations use or all, and the names of the others."""
    numbers = {read_integer(entry.get("category_id")) for entry in annotations if isinstance(entry, dict)}
    used = [kind for kind in kinds if kind["id"] in numbers or kind["id"] is None]
    if not used or len(used) == len(kinds):
        return kinds, ()
    return used, tuple(f"category {kind['id']} ({kind.get('name')})" for kind in kinds if kind not in used)


def _stand_in_schema(kinds: list[dict]) -> Schema:
    """Classes to read annotations with whose categories have faults: with keypoints where these can be counted."""
    classes = {}
    for kind in kinds:
        names = kind.get("keypoints") if isinstance(kind.get("keypoints"), list) else []
        number = kind["id"] if kind["id"] is not None else -1 - len(classes)
        classes[number] = ObjectClass(f"category {number}", number, tuple(f"{n}" for n in range(len(names))))
    return Schema(tuple(classes.values()) or (ObjectClass("none", -1),))


def judge_sides(reading: Reading) -> list[Finding]:
    """Gives the doctor's reading the flip pairs that training would use, and says what training says about them."""
    if reading.schema is None or reading.annotations is None:
        return []
    reading.schema, notes = settle_sides(reading.schema, vars(reading.annotations))
    return [Finding("advice", note.text, note.count, "keypoint", note.remedy, note.names[:10]) for note in notes]


def _to_finding(level: str, remark: Remark) -> Finding:
    """A fault or note of the label reader as a finding of the doctor."""
    rows = tuple(map(int, remark.rows))
    return Finding(level, remark.text, remark.count, remark.noun, remark.remedy, remark.places, rows=rows)


def faultless_rows(reading: Reading) -> np.ndarray:
    """What the doctor takes from the reader: (N,) bool, annotations of a known image and class without a fault."""
    a = reading.annotations
    usable = (a.image_rows >= 0) & (a.class_ids >= 0)
    for fault in reading.faults:
        if fault.noun == "annotation":
            usable[[row for row in fault.rows if row < len(usable)]] = False
    return usable
