"""What the detector found: `Detection`, the scores from which on it counts, its JSON, and its rows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from centerkp import geometry
from centerkp.schema import ObjectClass, Schema
from centerkp.wording import quote

ROW_COLUMNS = (
    "image object class_name score x0 y0 x1 y1 keypoint x y keypoint_score keypoint_deviation"
).split()  # of `to_rows`
DEFAULT_SCORE = 0.3  # least score of an object where nothing says which is better
# Objects below which a threshold is a guess: one object more or less then moves the recall by over 5 points, which is more than
# neighbouring thresholds differ by.
ENOUGH_OBJECTS = 20
MAX_COUNT = 10**9  # of objects, steps or seconds that a file may claim


@dataclass(frozen=True)
class Thresholds:
    """The least scores with the best F1 of boxes at IoU 0.5 on a model's own validation images, which results are cut at.

    Args:
        overall: one for all classes.
        scores: (C,) of each class in the schema's order; `overall` for a class of which nothing was found.
        objects: (C,) annotated objects that decided a class's own; 0 where `overall` stands in for it.
    """

    overall: float
    scores: tuple[float, ...]
    objects: tuple[int, ...]

    @property
    def guessed(self) -> list[int]:
        """The ids of the classes whose results are cut at a guess, since fewer than `ENOUGH_OBJECTS` decided it."""
        return [class_id for class_id, count in enumerate(self.objects) if count < ENOUGH_OBJECTS]

    def get_config(self) -> dict:
        """The scores that results are cut at as a dictionary that JSON can hold."""
        return {"overall": self.overall, "scores": list(self.scores), "objects": list(self.objects)}

    @classmethod
    def from_config(cls, config: Any, num_classes: int) -> "Thresholds | None":
        """What `get_config` gave of the scores to cut results at, as model files of anybody's making hold it; None for None.

        Raises:
            ValueError: it is none, or not of so many classes.
        """
        if config is None:
            return None
        keys = list(cls.__dataclass_fields__)
        if not isinstance(config, Mapping) or set(config) != set(keys):
            raise ValueError(f"thresholds: found {quote(config)}, expected the fields {keys}")
        overall, scores, objects = (config[key] for key in keys)
        if not (_are_numbers([overall], 1, 1, float) and _are_numbers(scores, num_classes, 1, float)):
            raise ValueError(
                f"thresholds: found the scores {quote(overall)} and {quote(scores)}, expected a number from 0 to 1 and a list "
                f"of {num_classes}, one for each class"
            )
        if not _are_numbers(objects, num_classes, MAX_COUNT):
            raise ValueError(f"thresholds: found the counts {quote(objects)}, expected {num_classes} whole numbers from 0")
        return cls(overall, tuple(scores), tuple(objects))


def _are_numbers(values: Any, count: int, most: float, *more: type) -> bool:
    """Whether a list from a file of thresholds for results has `count` numbers from 0 to `most`, int or of `more` types."""
    return isinstance(values, list) and len(values) == count and all(type(v) in (int, *more) and 0 <= v <= most for v in values)


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


def split_objects(
    decoded: Mapping[str, np.ndarray], schema: Schema, min_score: float | Sequence[float] = 0.0
) -> list[Detection]:
    """Turns one image's decoded arrays into `Detection`s, best first, each with its own class's points only.

    Args:
        decoded: boxes (M, 4), scores (M,), class_ids (M,), and with keypoints keypoints (M, K, 2), keypoint_scores (M, K) and
            perhaps keypoint_deviations (M, K).
        min_score: objects with a lower score, and the empty rows with score 0, are left out; one for all, or (C,) by class.
    """
    detections, deviations = [], decoded.get("keypoint_deviations")
    least = np.broadcast_to(min_score, schema.num_classes)
    for row in np.argsort(-decoded["scores"], kind="stable"):
        score = float(decoded["scores"][row])
        if score <= 0:
            break
        class_id = int(decoded["class_ids"][row])
        if score < least[class_id]:
            continue
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


def to_source(objects: dict[str, np.ndarray], affine: np.ndarray) -> dict[str, np.ndarray]:
    """Detected objects of one image (arrays), moved from the network's input back into the image it was made from."""
    back = geometry.invert(affine)
    moved = objects | {"boxes": geometry.apply_to_boxes(back, objects["boxes"]).astype(np.float32)}
    if "keypoints" in objects:
        moved["keypoints"] = geometry.apply_to_points(back, objects["keypoints"]).astype(np.float32)
    if "keypoint_deviations" in objects:
        scale = np.sqrt(abs(np.linalg.det(back[:, :2])))  # the mean of both axes, which differ by a rounding only
        moved["keypoint_deviations"] = (scale * objects["keypoint_deviations"]).astype(np.float32)
    return moved


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

    Guessed sigmas and pairs that nobody told are left out: who trains on the file would take them as known.
    """
    category = {"id": kind.category_id, "name": kind.name, "supercategory": ""}
    if kind.keypoints:
        category |= {
            "keypoints": list(kind.keypoints),
            "skeleton": [[a + 1, b + 1] for a, b in kind.skeleton],
        }
        if kind.can_flip and kind.flip_source != "none":
            category["flip_pairs"] = [[kind.keypoints[a], kind.keypoints[b]] for a, b in kind.flip_pairs]
        if kind.sigma_source != "guess":
            category["oks_sigmas"] = list(kind.oks_sigmas)
    return category
