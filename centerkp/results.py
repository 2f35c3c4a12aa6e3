"""What the detector found: `Detection`, its JSON, and its rows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from centerkp.schema import ObjectClass, Schema

ROW_COLUMNS = (
    "image object class_name score x0 y0 x1 y1 keypoint x y keypoint_score keypoint_deviation"
).split()  # of `to_rows`


@dataclass(frozen=True, eq=False)
class Detection:
    """One object: a box and the keypoints of its own class, in pixels of the source image.

    `box_xyxy` is (4,), `keypoints_xy` (n, 2) and `keypoint_scores` (n,) for the n keypoints of the class (n may be 0);
    scores lie in 0..1.

    `keypoint_deviations` (n,) say how uncertain each point's place is, in pixels: the standard deviation by which its peak in
    the heat map is wider than that of a point known exactly. Small ones need no second look; it orders points for review, and
    is no bound on the error. A point without a peak, placed by the object's center alone, has the radius within which a peak
    was looked for. None where the detector gives none.
    """

    class_id: int
    class_name: str
    category_id: int
    score: float
    box_xyxy: np.ndarray
    keypoint_names: tuple[str, ...]
    keypoints_xy: np.ndarray
    keypoint_scores: np.ndarray
    keypoint_deviations: np.ndarray | None = None

    @property
    def keypoints(self) -> dict[str, tuple[float, float, float]]:
        """The points of one detection by name: `{name: (x, y, score)}`."""
        rows = zip(self.keypoint_names, self.keypoints_xy, self.keypoint_scores, strict=True)
        return {name: (float(xy[0]), float(xy[1]), float(score)) for name, xy, score in rows}


def split_objects(decoded: Mapping[str, np.ndarray], schema: Schema, min_score: float = 0.0) -> list[Detection]:
    """Turns one image's decoded arrays into `Detection`s, best first, each with its own class's points only.

    Args:
        decoded: boxes (M, 4), scores (M,), class_ids (M,), and with keypoints keypoints (M, K, 2), keypoint_scores (M, K) and
            perhaps keypoint_deviations (M, K).
        min_score: objects with a lower score, and the empty rows with score 0, are left out.
    """
    detections, deviations = [], decoded.get("keypoint_deviations")
    for row in np.argsort(-decoded["scores"], kind="stable"):
        score = float(decoded["scores"][row])
        if score <= 0 or score < min_score:
            break
        class_id = int(decoded["class_ids"][row])
        kind, own = schema.classes[class_id], schema.keypoint_slice(class_id)
        has_points = bool(kind.keypoints)
        detections.append(
            Detection(
                class_id=class_id,
                class_name=kind.name,
                category_id=kind.category_id,
                score=score,
                box_xyxy=np.asarray(decoded["boxes"][row], np.float32),
                keypoint_names=kind.keypoints,
                keypoints_xy=decoded["keypoints"][row, own] if has_points else np.zeros((0, 2), np.float32),
                keypoint_scores=decoded["keypoint_scores"][row, own] if has_points else np.zeros(0, np.float32),
                keypoint_deviations=None if deviations is None else deviations[row, own],
            )
        )
    return detections


def to_annotation(detection: Detection, image_id: int, annotation_id: int) -> dict:
    """A `Detection` as a COCO annotation: bbox as x, y, width, height; keypoints as x, y, 2; to 1/1000 pixel."""
    x0, y0, x1, y1 = (float(v) for v in detection.box_xyxy)
    annotation = {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": detection.category_id,
        "bbox": [round(v, 3) for v in (x0, y0, x1 - x0, y1 - y0)],
        "area": round((x1 - x0) * (y1 - y0), 3),
        "iscrowd": 0,
        "score": round(detection.score, 6),
    }
    if detection.keypoint_names:
        points = [[round(float(x), 3), round(float(y), 3), 2] for x, y in detection.keypoints_xy]
        annotation |= {
            "keypoints": [v for point in points for v in point],
            "num_keypoints": len(points),
            "keypoint_scores": [round(float(s), 6) for s in detection.keypoint_scores],
        }
        if detection.keypoint_deviations is not None:
            annotation["keypoint_deviations"] = [round(float(s), 3) for s in detection.keypoint_deviations]
    return annotation


def to_rows(image: str, detections: Sequence[Detection]) -> list[dict]:
    """A table of one image's detections with the columns `ROW_COLUMNS`: a row per object and keypoint.

    `object` counts the image's objects from 1. An object without keypoints has one row, whose last five values are None; the
    deviation is None where the detector gives none. Coordinates are those of the detection, corners x0, y0, x1, y1.
    """
    rows = []
    for number, d in enumerate(detections, 1):
        start = [image, number, d.class_name, d.score, *map(float, d.box_xyxy)]
        deviations = [None] * len(d.keypoint_names) if d.keypoint_deviations is None else map(float, d.keypoint_deviations)
        points = [[name, *d.keypoints[name], u] for name, u in zip(d.keypoint_names, deviations, strict=True)]
        rows += [dict(zip(ROW_COLUMNS, start + point, strict=True)) for point in points or [[None] * 5]]
    return rows


def coco_dataset(images: Sequence[Mapping], detections: Iterable[Sequence[Detection]], schema: Schema) -> dict:
    """A COCO dataset of predictions: pycocotools scores its annotations and labelling tools open it as pre-labels.

    Args:
        images: per image a mapping with `id`, `file_name`, `width`, `height`.
        detections: the detections of each image, in the same order.
    """
    annotations = []
    for image, found in zip(images, detections, strict=True):
        annotations += [to_annotation(d, image["id"], len(annotations) + i + 1) for i, d in enumerate(found)]
    return {
        "info": {"description": "centerkp predictions"},
        "licenses": [],
        "images": [dict(image) for image in images],
        "categories": [coco_category(c) for c in schema.classes],
        "annotations": annotations,
    }


def coco_category(kind: ObjectClass) -> dict:
    """A class as a category of the results' COCO JSON; the skeleton counts from 1 as COCO's does.

    Guessed sigmas and pairs that nobody could tell are left out: who trains on the file would take them as known.
    """
    category = {"id": kind.category_id, "name": kind.name, "supercategory": ""}
    if kind.keypoints:
        category |= {
            "keypoints": list(kind.keypoints),
            "skeleton": [[a + 1, b + 1] for a, b in kind.skeleton],
        }
        if kind.flip_source != "unpaired":
            category["flip_pairs"] = [[kind.keypoints[a], kind.keypoints[b]] for a, b in kind.flip_pairs]
        if kind.sigma_source != "guess":
            category["oks_sigmas"] = list(kind.oks_sigmas)
    return category
