"""Listens to the reader: what it would refuse or mend becomes findings, so that the doctor never disagrees with it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from centerkp.doctor.findings import Finding, find
from centerkp.labels.annotations import Annotations, read_annotations
from centerkp.labels.faults import NOUNS, Faults, Table, read_categories, read_images
from centerkp.schema import Schema


class _Listener(Faults):
    """Keeps what the reader would refuse in one of the lists, in place of raising it."""

    def __init__(self, path: Path, noun: str):
        super().__init__(path)
        self.noun = noun
        self.findings: list[Finding] = []

    def add(self, kind: str, remedy: str, rows: Collection[int], describe: Callable[[int], str]) -> None:
        self.findings += find("unusable", kind, sorted(rows), noun=self.noun, remedy=remedy, place=describe)


class _ListeningTable(Table):
    """Keeps the rows of what the reader mends in passing."""

    def __init__(self, content: Mapping, name: str, path: Path):
        self.heard: list[Finding] = []
        super().__init__(content, name, _Listener(path, NOUNS[name]), [])

    def note(self, rows: Collection[int], text: str, noun: str | None = None, count: int | None = None) -> None:
        self.heard += find("mendable", text, rows, noun=noun or self.noun, place=self.label, count=count)


@dataclass(eq=False)
class Reading:
    """A COCO file as the reader understands it, columns included that it would refuse.

    `sizes` (n, 2) is 0 where the JSON does not say; `annotations` is None when the categories are unusable. Rows count the
    entries that are JSON objects. Columns of rows named by a fault hold -1, NaN or 0.
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

    @property
    def num_images(self) -> int:
        return len(self.names)

    def label_image(self, row: int) -> str:
        """As in "image 312 (a.jpg)"."""
        return f"image {self.image_ids[row]} ({self.names[row]})"


def listen(path: Path, content: Mapping) -> Reading:
    """Reads the three lists as training does, image files aside, and collects every fault and every note with its rows."""
    reading = Reading(content)
    categories = _ListeningTable(content, "categories", path)
    kinds = read_categories(categories)
    _take(reading, categories)
    images = _ListeningTable(content, "images", path)
    reading.image_ids, reading.names, reading.sizes = read_images(images)
    try:
        if not reading.faults:
            reading.schema = Schema.from_coco({"categories": kinds})
    except ValueError as error:
        reading.faults.append(Finding("unusable", str(error).rstrip("."), 1, "category"))
    _take(reading, images)
    if reading.schema is None:
        return reading
    places = {kind.category_id: (row, list(range(len(kind.keypoints)))) for row, kind in enumerate(reading.schema.classes)}
    rows = {image_id: row for row, image_id in enumerate(reading.image_ids) if image_id is not None}
    annotations = _ListeningTable(content, "annotations", path)
    reading.annotations = read_annotations(annotations, rows, reading.names, places, reading.schema)
    reading.label_annotation = annotations.label
    _take(reading, annotations)
    return reading


def _take(reading: Reading, table: _ListeningTable) -> None:
    reading.faults += table.faults.findings
    reading.notes += table.heard


def usable_rows(reading: Reading) -> np.ndarray:
    """(N,) bool: annotations of a known image and class that no fault names."""
    a = reading.annotations
    usable = (a.image_rows >= 0) & (a.class_ids >= 0)
    for fault in reading.faults:
        if fault.noun == "annotation":
            usable[[row for row in fault.rows if row < len(usable)]] = False
    return usable


def same_kind(findings: Sequence[Finding], one: Finding) -> Finding | None:
    """The finding of the same kind in another reading."""
    return next((f for f in findings if (f.title, f.noun) == (one.title, one.noun)), None)
