"""Detections that stand in a file already, to be evaluated like a model's own: predictions.json, or a list of COCO results."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from centerkp.doctor.mend import Mending
from centerkp.labels.annotations import Annotations, read_annotations
from centerkp.labels.content import Paths, list_paths, load_json, name_paths, require_coco
from centerkp.labels.faults import Remarks
from centerkp.labels.joining import open_label_files
from centerkp.labels.label_file import match_schema, schema_of
from centerkp.labels.records import Dataset, LeftOutImage, Record
from centerkp.labels.tables import Table, is_number, read_images, read_integer
from centerkp.results import Detection
from centerkp.schema import Schema
from centerkp.wording import count_of


@dataclass(frozen=True, eq=False)
class PredictionFile:
    """A file of predictions whose content is loaded and whose classes are known, but whose objects are not yet looked at.

    `content` has the list `annotations`; `images` is not among it where the file is a list of COCO results, which has the
    image and category ids of the annotated dataset, and nothing else. `places` are category id -> class id, and the places of
    the class's keypoints in the file's vectors.
    """

    path: Path
    content: dict
    schema: Schema
    places: dict[int, tuple[int, list[int]]]

    @classmethod
    def read(cls, path: str | Path, coco: Paths, images_dir: Paths | None = None) -> "PredictionFile":
        """Loads a file of predictions; one without categories of its own has those of the dataset `coco`, `images_dir`.

        Raises:
            FileNotFoundError, ValueError: there is none, it is something else, or its classes or keypoints are others.
        """
        path, content = Path(path), load_json(Path(path))
        source, of = open_label_files(coco, images_dir), name_paths(coco).name
        mended = Mending(source.content).mend().content  # as the dataset itself will be read
        theirs = schema_of(source.path, mended)
        if isinstance(content, list):
            if len(list_paths(coco)) > 1:  # which are numbered anew when they are joined
                raise ValueError(
                    f"{path}: found a list of COCO results for {of}, expected the dataset that its ids are from; name one "
                    "JSON, or a file of predictions that names its images."
                )
            _number_results(content, source.content, mended, schema := theirs)
            places = {c.category_id: (number, list(range(len(c.keypoints)))) for number, c in enumerate(schema.classes)}
            return cls(path, {"annotations": content}, schema, places)
        content = require_coco(path, content)
        own = schema_of(path, content)
        has_all = set(own.class_names) >= set(theirs.class_names)  # else it may be that not all classes were found
        compared = [c for c in content["categories"] if not has_all or c["name"] in theirs.class_names]
        match_schema(path, compared, theirs, of=of)
        schema, places = match_schema(path, content["categories"], own if has_all else theirs, of=of)
        return cls(path, content, schema, places)

    def match(self, dataset: Dataset) -> tuple[list[list[Detection]], tuple[str, ...]]:
        """The predicted objects of each of the dataset's records, in order, and notes.

        There are none where the file does not have the image; those of images that the dataset had to leave out are, too.

        Raises:
            ValueError: images or categories that the dataset does not have, objects without score, box or keypoints, numbers
                that are none; all of them, with their ids.
        """
        remarks = Remarks(self.path, f"predictions for the images of {dataset.path}")
        listed: list[Record | LeftOutImage] = [*dataset.records, *dataset.left_out]
        rows = {image.image_id: row for row, image in enumerate(listed)}
        if "images" in self.content:
            rows = _match_images(Table(self.content, "images", remarks), dataset.path.name, listed)
            remarks.raise_faults()  # of which all the objects of these images would be others
        table = Table(self.content, "annotations", remarks)
        framed = 0 if "images" in self.content else _frame_keypoints(table.entries)
        _complete_entries(table.entries)
        if "images" not in self.content:
            _refuse_strangers(table, dataset.path.name, image_id=rows, category_id=self.places)
        columns = read_annotations(table, rows, [image.file_name for image in listed], self.places, self.schema)
        counts = np.array([*(len(c.keypoints) for c in self.schema.classes), 0])[columns.class_ids]
        pointless = [row for row, entry in enumerate(table.entries) if counts[row] and not entry.get("keypoints")]
        remedy = "write x, y, score for every keypoint, or evaluate with a JSON whose category names none"
        table.fault_value(pointless, "keypoints", "no 'keypoints', though the class has them", remedy)
        scores = table.column("score")
        wrong = [row for row, score in enumerate(scores) if not (is_number(score) and 0 <= score <= 1)]
        table.fault_value(wrong, "score", "'score' missing or no number from 0 to 1", "name a file of predictions")
        odd = [row for row, entry in enumerate(table.entries) if not _has_shares(entry.get("keypoint_scores", []))]
        table.fault_value(odd, "keypoint_scores", "'keypoint_scores' that are no numbers from 0 to 1", "write them so, or none")
        boxless = np.flatnonzero(np.isnan(columns.boxes_xywh).any(1))
        table.fault_value(boxless, "bbox", "'bbox' missing", "write [x, y, width, height] in pixels")
        remarks.raise_faults()
        found = _collect_detections(columns, table, self.schema, len(listed))
        usable = len(dataset.records)
        remarks.add_note("object", framed, "no 'bbox', that around the keypoints taken, as pycocotools does")
        lost = sum(map(len, found[usable:]))
        remarks.add_note("object", lost, f"in images that {dataset.path.name} lists and that had to be left out, not counted")
        return found[:usable], remarks.sentences


def _has_shares(scores: Any) -> bool:
    """Whether a predicted object's scores of keypoints are a list of numbers from 0 to 1."""
    return isinstance(scores, list) and all(is_number(score) and 0 <= score <= 1 for score in scores)


def _frame_keypoints(entries: Sequence[dict]) -> int:
    """Gives COCO results of keypoints alone boxes around all their points, as pycocotools does; returns how many got one."""
    if any(entry.get("bbox") for entry in entries):
        return 0
    framed = [e for e in entries if isinstance(e.get("keypoints"), list) and e["keypoints"] and not len(e["keypoints"]) % 3]
    framed = [entry for entry in framed if all(map(is_number, entry["keypoints"]))]
    for entry in framed:
        xs, ys = entry["keypoints"][::3], entry["keypoints"][1::3]
        entry["bbox"] = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
    return len(framed)


def _complete_entries(entries: Sequence[dict]) -> None:
    """Gives predicted objects what annotations have and predictions need not; their points count whatever their third number.

    As for pycocotools, which takes that for the score of the point, if for anything.
    """
    is_numbered = any("id" in entry for entry in entries)
    for number, entry in enumerate(entries, 1):
        entry |= {"iscrowd": 0} | ({} if is_numbered else {"id": number})
        if isinstance(entry.get("keypoints"), list):
            entry["num_keypoints"] = len(entry["keypoints"]) // 3
            entry["keypoints"][2::3] = [2] * len(entry["keypoints"][2::3])


def _number_results(results: Sequence, written: Mapping, mended: Mapping, schema: Schema) -> None:
    """Gives a list of COCO results the numbers that the dataset's images and classes have when it is read.

    The dataset may have text as ids, and categories that stand twice. A result that names its file is of that one, whatever
    its id; text that is no id of the dataset's is the name of a file without its ending, as Ultralytics writes it.
    """
    images, files = _number_images(written, mended)
    known = {kind.name: kind.category_id for kind in schema.classes}
    kinds = [e for e in written["categories"] if isinstance(e, dict) and isinstance(e.get("id"), str | int)]
    categories = {e["id"]: known.get(str(e.get("name"))) for e in kinds}
    for entry in (one for one in results if isinstance(one, dict)):
        image, name, kind = entry.get("image_id"), entry.get("file_name"), entry.get("category_id")
        found = files.get(name) if isinstance(name, str) else None
        if found is None and isinstance(image, str) and read_integer(image) is None:
            found = images.get(image, files.get(image))
        if found is not None:
            entry["image_id"] = found
        if isinstance(kind, str | int) and categories.get(kind) is not None:
            entry["category_id"] = categories[kind]


def _number_images(written: Mapping, mended: Mapping) -> tuple[dict[str, int | None], dict[str, int | None]]:
    """The numbers of a dataset's images for those that results name: by ids that are text, and by their files.

    A file may be named as the dataset does, without its folder, and without its ending, where no other is called so.
    """
    numbers = {e["file_name"]: e.get("id") for e in mended["images"] if isinstance(e.get("file_name"), str)}
    ends = {name: PurePosixPath(name.replace("\\", "/")) for name in numbers}
    parts = [(part, numbers[name]) for name, end in ends.items() for part in {end.name, end.stem}]
    times = Counter(part for part, _ in parts)
    entries = [e for e in written["images"] if isinstance(e, dict) and isinstance(e.get("id"), str)]
    named = {e["id"]: numbers[e["file_name"]] for e in entries if isinstance(e.get("file_name"), str)}
    return named, {part: number for part, number in parts if times[part] == 1} | numbers


def _refuse_strangers(table: Table, coco: str, **known: Mapping) -> None:
    """Refuses COCO results with ids that the annotated dataset does not have, which no other list could hold."""
    for key, ids in known.items():
        strange = [row for row, value in enumerate(table.column(key)) if read_integer(value) not in ids]
        some = ", ".join(map(str, list(ids)[:5])) + (", ..." if len(ids) > 5 else "")
        remedy = f"write those that it has ({some}), name the dataset that the results are of, or leave these results out"
        table.fault_value(strange, key, f"'{key}' that {coco} does not have", remedy)
    table.remarks.raise_faults()


def _match_images(table: Table, coco: str, listed: Sequence[Record | LeftOutImage]) -> dict[int, int]:
    """Image id in the file of predictions -> the row of that image in the dataset, which has the same name or lies under it.

    `infer` numbers its images itself, and names them as they lie in the folder that it was given.
    """
    ids, names, _ = read_images(table)
    same = {image.file_name: row for row, image in enumerate(listed)}
    by_end: dict[str, list[int]] = {}
    for row, image in enumerate(listed):
        by_end.setdefault(Path(str(image.path)).name, []).append(row)
    found = [same[name] if name in same else _find_by_path(Path(name), by_end, listed) for name in names]
    users = Counter(found)
    remedy = "predict the images of the dataset alone, or name the dataset that they are from"
    missing = [n for n, row in enumerate(found) if row is None and names[n]]
    table.fault_value(missing, "file_name", f"images that {coco} does not have", remedy)
    twice = [n for n, row in enumerate(found) if row is not None and users[row] > 1]
    table.fault_value(twice, "file_name", f"images that are one in {coco}", "leave one of them in the file")
    return {image_id: row for image_id, row in zip(ids, found, strict=True) if image_id is not None and row is not None}


def _find_by_path(name: Path, by_end: dict[str, list[int]], listed: Sequence[Record | LeftOutImage]) -> int | None:
    """The one image of a dataset whose image file's path ends in a predicted image's name; None where none or several do."""
    rows = by_end.get(name.name, ())
    paths = {row: Path(str(listed[row].path)) for row in rows}
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
