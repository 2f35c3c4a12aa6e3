"""COCO average precision of boxes and, class by class, of keypoints (OKS), computed by pycocotools.

Inside this module a category is `class_id + 1`: ids of 0, which files may contain, then never reach pycocotools.
Every number is None where pycocotools answers -1, that is where no annotated object qualifies.
"""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from centerkp.evaluation.curves import Ranking, precision_at_recall, rank_detections
from centerkp.labels.records import Record
from centerkp.results import Detection
from centerkp.schema import Schema

BOX_NUMBERS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
KEYPOINT_NUMBERS = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")
# COCO's limits, per image and class.
MAX_BOX_DETECTIONS, MAX_KEYPOINT_DETECTIONS = 100, 20


def build_coco(records: Sequence[Record], detections: Sequence[Sequence[Detection]], schema: Schema) -> tuple[COCO, COCO]:
    """The annotated objects and the found ones as pycocotools takes them, both indexed in memory.

    A detection's area, which decides in which size range a false one counts, is that of its box.
    """
    truth, found = [], []
    for record, objects in zip(records, detections, strict=True):
        truth += [_truth_annotation(record, n, len(truth) + n + 1, schema) for n in range(len(record.class_ids))]
        found += [_found_annotation(d, record.image_id, len(found) + n + 1) for n, d in enumerate(objects)]
    images = [{"id": r.image_id, "width": r.width, "height": r.height} for r in records]
    categories = [{"id": class_id + 1, "name": c.name} for class_id, c in enumerate(schema.classes)]
    return _index_coco(images, categories, truth), _index_coco(images, categories, found)


@dataclass(frozen=True, eq=False)
class Precision:
    """What one evaluation by boxes or by keypoints gave: COCO's numbers by class, and what the curves are drawn from.

    `precision` holds by class `precision_at_recall` at IoU or OKS 0.5, `rankings` the detections it comes from.
    """

    numbers: dict[str, dict[str, float | None]]
    precision: dict[str, list[float] | None]
    rankings: dict[str, Ranking]


def box_precision(truth: COCO, found: COCO, schema: Schema, limit: int) -> tuple[dict[str, float | None], Precision]:
    """COCO's twelve average precision and recall numbers of boxes over all classes, and by class AP alone.

    So many detections of an image and class count, the best ones, in place of COCO's 100.
    """
    evaluator = _run_cocoeval(COCOeval(truth, found, "bbox"), [1, 10, MAX_BOX_DETECTIONS], limit)
    precision = evaluator.eval["precision"][..., 0, -1]  # (IoU, recall, C): all sizes, the most detections
    per_class = {}
    for class_id, name in enumerate(schema.class_names):
        known = precision[:, :, class_id][precision[:, :, class_id] > -1]
        per_class[name] = {"AP": float(known.mean()) if known.size else None}
    curves = {name: precision_at_recall(evaluator, i) for i, name in enumerate(schema.class_names)}
    rankings = {name: rank_detections(evaluator, i) for i, name in enumerate(schema.class_names)}
    return _name_stats(BOX_NUMBERS, evaluator.stats), Precision(per_class, curves, rankings)


def limit_detections(fullest: int, usual: int) -> int:
    """How many detections of an image and class count for average precision: COCO's number, or twice the objects there are."""
    return usual if fullest <= usual else 2 * int(fullest)


def keypoint_precision(truth: COCO, found: COCO, schema: Schema, limits: Sequence[int]) -> Precision:
    """COCO's ten OKS precision and recall numbers by class with keypoints, each with its own OKS sigmas.

    By class so many detections of an image count, the best ones, in place of COCO's 20. pycocotools knows one list of sigmas
    and one keypoint count, so each class has an evaluator of its own. As in COCO, objects without a labelled keypoint are
    neither hit nor missed.
    """
    per_class, curves, rankings = {}, {}, {}
    for class_id, c in enumerate(schema.classes):
        if c.keypoints:
            evaluator = COCOeval(truth, found, "keypoints")
            evaluator.params.catIds = [class_id + 1]
            evaluator.params.kpt_oks_sigmas = np.array(c.oks_sigmas)
            _run_cocoeval(evaluator, [MAX_KEYPOINT_DETECTIONS], limits[class_id])
            per_class[c.name] = _name_stats(KEYPOINT_NUMBERS, evaluator.stats)
            curves[c.name] = precision_at_recall(evaluator, 0)
            rankings[c.name] = rank_detections(evaluator, 0)
    return Precision(per_class, curves, rankings)


def mean_over_classes(per_class: dict[str, dict[str, float | None]]) -> dict[str, float | None]:
    """The mean of each OKS precision number over the classes that have it; None where none has."""
    means = {}
    for key in KEYPOINT_NUMBERS:
        known = [numbers[key] for numbers in per_class.values() if numbers[key] is not None]
        means[key] = float(np.mean(known)) if known else None
    return means


def _truth_annotation(record: Record, n: int, annotation_id: int, schema: Schema) -> dict:
    """An annotated object as an annotation that pycocotools takes, to compute average precision from."""
    class_id = int(record.class_ids[n])
    own = schema.keypoint_slice(class_id)
    visibility = record.visibility[n, own]
    keypoints = np.column_stack([record.keypoints_xy[n, own], visibility]).astype(np.float64)
    return {
        "id": annotation_id,  # counted from 1: pycocotools takes a match with id 0 for no match
        "image_id": record.image_id,
        "category_id": class_id + 1,
        "bbox": _to_xywh(record.boxes_xyxy[n]),
        "area": float(record.areas[n]),
        "iscrowd": int(record.is_crowd[n]),
        "keypoints": keypoints.ravel(),
        "num_keypoints": int(np.count_nonzero(visibility)),
    }


def _found_annotation(detection: Detection, image_id: int, annotation_id: int) -> dict:
    """A detection as an annotation with a score that pycocotools takes, to compute average precision from."""
    bbox = _to_xywh(detection.box_xyxy)
    keypoints = np.ones((len(detection.keypoint_names), 3))
    keypoints[:, :2] = detection.keypoints_xy
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": detection.class_id + 1,
        "bbox": bbox,
        "area": bbox[2] * bbox[3],
        "iscrowd": 0,
        "score": detection.score,
        "keypoints": keypoints.ravel(),
    }


def _to_xywh(box_xyxy: np.ndarray) -> list[float]:
    """A box as x, y, width, height for pycocotools; a box turned inside out gets no extent."""
    x0, y0, x1, y1 = (float(v) for v in box_xyxy)
    return [x0, y0, max(x1 - x0, 0.0), max(y1 - y0, 0.0)]


def _index_coco(images: list[dict], categories: list[dict], annotations: list[dict]) -> COCO:
    """A COCO object of pycocotools, to compute average precision with, from annotations in memory."""
    coco = COCO()
    coco.dataset = {"info": {}, "images": images, "categories": categories, "annotations": annotations}
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _run_cocoeval(evaluator: COCOeval, usual: list[int], most: int) -> COCOeval:
    """Lets pycocotools evaluate, accumulate and summarize, without what it prints.

    Args:
        usual: the numbers of detections per image and class that it knows; `most` counts in place of the last.
    """
    evaluator.params.maxDets = [*usual[:-1], most]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.params.maxDets = usual  # it summarizes nothing else; the numbers are found by their places
        evaluator.summarize()
    return evaluator


def _name_stats(names: Sequence[str], stats: np.ndarray) -> dict[str, float | None]:
    """COCO's precision and recall numbers by name; None for those that pycocotools gives as -1."""
    return {name: None if value < 0 else float(value) for name, value in zip(names, stats, strict=True)}
