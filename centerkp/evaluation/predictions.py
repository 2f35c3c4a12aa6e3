"""Detections that stand in a file already, to be evaluated like a model's own: predictions.json, or a list of COCO results."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from centerkp.labels.annotations import Annotations, read_annotations
from centerkp.labels.coco import load_json, read_schema, require_coco
from centerkp.labels.faults import Remarks
from centerkp.labels.records import Dataset, Record
from centerkp.labels.tables import Table, is_number, read_images
from centerkp.results import Detection
from centerkp.schema import Schema
from centerkp.wording import count_of


@dataclass(frozen=True, eq=False)
class PredictionFile:
    """A file of predictions whose content is loaded and whose classes are known, but whose objects are not yet looked at.

    `content` has the list `annotations`; `images` is not among it where the file is a list of COCO results, which has the
    image and category ids of the annotated dataset, and nothing else.
    """

    path: Path
    content: dict
    schema: Schema

    @classmethod
    def read(cls, path: str | Path, coco: str | Path) -> "PredictionFile":
        """Loads a file of predictions; one without categories of its own has those of the dataset `coco`.

        Raises:
            FileNotFoundError, ValueError: there is none, or it is something else.
        """
        path, content = Path(path), load_json(Path(path))
        if isinstance(content, list):
            return cls(path, {"annotations": content}, read_schema(coco))
        content = require_coco(path, content)
        return cls(path, content, read_schema(path, content))

    def match(self, dataset: Dataset) -> list[list[Detection]]:
        """The predicted objects of each of the dataset's records, in order; none where the file does not have the image.

        Raises:
            ValueError: images or categories that the dataset does not have, objects without score or box, numbers that are
                none; all of them, with their ids.
        """
        remarks = Remarks(self.path, f"predictions for the images of {dataset.path}")
        names = [record.file_name for record in dataset.records]
        rows = {record.image_id: row for row, record in enumerate(dataset.records)}
        if "images" in self.content:
            rows = _match_images(Table(self.content, "images", remarks), dataset)
            remarks.raise_faults()  # of which all the objects of these images would be others
        table = Table(self.content, "annotations", remarks)
        for entry in table.entries:  # as for pycocotools every predicted point counts, whatever its third number
            if isinstance(entry.get("keypoints"), list):
                entry["keypoints"][2::3] = [2] * len(entry["keypoints"][2::3])
        own = {c.category_id: (class_id, list(range(len(c.keypoints)))) for class_id, c in enumerate(self.schema.classes)}
        columns = read_annotations(table, rows, names, own, self.schema)
        scores = table.column("score")
        wrong = [row for row, score in enumerate(scores) if not (is_number(score) and 0 <= score <= 1)]
        table.fault_value(wrong, "score", "'score' missing or no number from 0 to 1", "name a file of predictions")
        boxless = np.flatnonzero(np.isnan(columns.boxes_xywh).any(1))
        table.fault_value(boxless, "bbox", "'bbox' missing", "write [x, y, width, height] in pixels")
        remarks.raise_faults()
        return _collect_detections(columns, table, self.schema, len(names))


def _match_images(table: Table, dataset: Dataset) -> dict[int, int]:
    """Image id in the file of predictions -> the record of that image, which has the same name or lies under it.

    `infer` numbers its images itself, and names them as they lie in the folder that it was given.
    """
    ids, names, _ = read_images(table)
    same = {record.file_name: row for row, record in enumerate(dataset.records)}
    by_end: dict[str, list[int]] = {}
    for row, record in enumerate(dataset.records):
        by_end.setdefault(Path(str(record.path)).name, []).append(row)
    found = [same[name] if name in same else _find_by_path(Path(name), by_end, dataset.records) for name in names]
    users = Counter(found)
    remedy = "predict the images of the dataset alone, or name the dataset that they are from"
    missing = [n for n, row in enumerate(found) if row is None and names[n]]
    table.fault_value(missing, "file_name", f"images that {dataset.path.name} does not have", remedy)
    twice = [n for n, row in enumerate(found) if row is not None and users[row] > 1]
    table.fault_value(twice, "file_name", f"images that are one in {dataset.path.name}", "leave one of them in the file")
    return {image_id: row for image_id, row in zip(ids, found, strict=True) if image_id is not None and row is not None}


def _find_by_path(name: Path, by_end: dict[str, list[int]], records: Sequence[Record]) -> int | None:
    """The one record whose image file's path ends in a predicted image's name; None where none or several do."""
    rows = by_end.get(name.name, ())
    paths = {row: Path(str(records[row].path)) for row in rows}
    fits = [row for row in rows if name.parts in [p.parts[-len(name.parts) :] for p in (paths[row], paths[row].resolve())]]
    return fits[0] if len(fits) == 1 else None


def _collect_detections(columns: Annotations, table: Table, schema: Schema, images: int) -> list[list[Detection]]:
    """The detections of each image out of the columns of a file of predictions."""
    found: list[list[Detection]] = [[] for _ in range(images)]
    boxes = columns.boxes_xywh + np.pad(columns.boxes_xywh[:, :2], ((0, 0), (2, 0)))
    for n, entry in enumerate(table.entries):
        class_id = int(columns.class_ids[n])
        c = schema.classes[class_id]
        points = columns.keypoints_xy[n, schema.keypoint_slice(class_id)]
        sure = entry.get("keypoint_scores")
        known = isinstance(sure, list) and len(sure) == len(points) and all(map(is_number, sure))
        found[columns.image_rows[n]].append(
            Detection(
                class_id=class_id,
                class_name=c.name,
                category_id=c.category_id,
                score=float(entry["score"]),
                box_xyxy=boxes[n].astype(np.float32),
                keypoint_names=c.keypoints,
                keypoints_xy=points.astype(np.float32),
                keypoint_scores=np.array(sure if known else np.ones(len(points)), np.float32),
            )
        )
    return found


def describe_predictions(detections: Sequence[Sequence[Detection]]) -> str:
    """What a file of predictions holds, in the place of a model's speed: objects, in how many images, and their least score."""
    scores = [d.score for found in detections for d in found]
    least = f" of score {min(scores):.3g} or more; what it lacks below counts as not found" if scores else ""
    return f"{count_of(len(scores), 'object')} in {count_of(sum(map(bool, detections)), 'image')}{least}"
