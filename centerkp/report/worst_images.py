"""The validation images that went worst in an evaluation, drawn into the run folder beside the truth."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from centerkp.drawing.pictures import draw_detections, draw_record
from centerkp.evaluation.evaluate import Evaluation
from centerkp.evaluation.image_quality import measure_image
from centerkp.images.reading import read_image
from centerkp.images.saving import write_image
from centerkp.labels.records import Record
from centerkp.report.page import MAX_SIDE
from centerkp.results import Detection
from centerkp.schema import Schema

WORST = 12  # images
_NAME = re.compile(r"\d+_\d+_(truth|found)\.jpg")


def write_worst_images(
    folder: Path,
    records: Sequence[Record],
    detections: Sequence[Sequence[Detection]],
    evaluation: Evaluation,
    schema: Schema,
    epoch: int,
) -> list[dict[str, Any]]:
    """Draws the images that went worst after an epoch into a folder, as small as a page shows them.

    The names are the epoch's own: those that an earlier report names remain until the next one is written, see
    `clear_worst_images`.

    Returns:
        For each image, the worst first, a `caption` and its `files` by title.
    """
    least = evaluation.confusion["min_score"]
    qualities = [measure_image(record, found, schema, least) for record, found in zip(records, detections, strict=True)]
    worst = []
    for number, i in enumerate(np.argsort([q.quality for q in qualities], kind="stable")[:WORST], 1):
        record, shown = records[i], [d for d in detections[i] if d.score >= least]
        image = read_image(record.path, record.levels)
        truth = draw_record(image, record.boxes_xyxy, record.class_ids, record.keypoints_xy, record.visibility, schema)
        files = {}
        for title, name, picture in (
            ("ground truth", "truth", truth),
            ("prediction", "found", draw_detections(image, shown, schema)),
        ):
            files[title] = f"{epoch}_{number}_{name}.jpg"
            write_image(folder / files[title], _shrink(picture), "train")
        worst.append({"caption": f"{record.file_name}: {qualities[i].describe()}", "files": files})
    return worst


def clear_worst_images(folder: Path, worst: Sequence[dict[str, Any]]) -> None:
    """Removes the pictures of worst images that the report no longer names."""
    named = {name for one in worst for name in one["files"].values()}
    for path in folder.glob("*.jpg"):
        if _NAME.fullmatch(path.name) and path.name not in named:
            path.unlink()


def _shrink(image: np.ndarray) -> np.ndarray:
    """One of the worst images as large as a page shows it."""
    factor = MAX_SIDE / max(image.shape[:2])
    if factor >= 1:
        return image
    size = [max(round(side * factor), 1) for side in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
