"""How good the detections are: COCO box AP, OKS AP class by class, keypoint errors, curves and confusion."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np

from centerkp.evaluation.average_precision import (
    MAX_BOX_DETECTIONS,
    MAX_KEYPOINT_DETECTIONS,
    Precision,
    box_precision,
    build_coco,
    keypoint_precision,
    limit_detections,
    mean_over_classes,
)
from centerkp.evaluation.confusion import BACKGROUND, count_confusion
from centerkp.evaluation.curves import ALL_CLASSES, Ranking, best_threshold, pool_rankings, score_curve
from centerkp.evaluation.keypoint_error import measure_keypoint_errors
from centerkp.evaluation.monitors import MONITORS
from centerkp.labels.faults import SHOWN
from centerkp.labels.records import Record
from centerkp.results import DEFAULT_SCORE, Detection, Thresholds
from centerkp.schema import Schema
from centerkp.wording import quote

_SIZES = {"small": "APs", "medium": "APm", "large": "APl"}


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` measured. A number that nothing in the data could decide is None, never 0 or -1.

    Args:
        box: AP, AP50, AP75, APs, APm, APl (small, medium, large objects), AR1, AR10, AR100, ARs, ARm, ARl, as in COCO.
            Where images hold more than 100 objects of a class, `max_detections` of an image and class count in place of 100.
        box_per_class: `{class: AP}`.
        keypoints: AP, AP50, AP75, APm, APl, AR, AR50, AR75, ARm, ARl with OKS, each the mean over the classes that have it.
        keypoints_per_class: the same ten numbers by class, for the classes that have keypoints.
        pck: PCK@0.1 over all labelled keypoints; `pck_per_class` by class that has keypoints.
        per_keypoint: by "class/keypoint": `pck`, `median_px` and `p95_px`, `median_share` and `p95_share` of the square root
            of the object's area, and the numbers of `labelled` keypoints and of those whose object was `matched`; see
            `centerkp.evaluation.keypoint_error`. `all_keypoints`: the same over all of them.
        sigmas: `{class: {keypoint: OKS sigma}}`; `sigma_sources` says where a class's came from (see `ObjectClass`).
        images, objects: how many images, and how many annotated objects by class, crowds left out.
        best_f1: for "boxes" (IoU 0.5) and "keypoints" (OKS 0.5), by class and for "all classes" with one threshold:
            `threshold`, `precision`, `recall`, `f1`; see `centerkp.evaluation.curves`.
        confusion: `names` (the classes and the background), `counts` (rows annotated, columns detected), and `min_score`, the
            least score of a detection that counted; see `centerkp.evaluation.confusion`.
        curves: for "boxes" and "keypoints" by class `precision_at_recall`, and by class and for "all classes" `score`; "pck" by
            class and for "all classes".
        notes: one line each: what could not be measured, and what was left out.
    """

    box: dict[str, float | None]
    box_per_class: dict[str, float | None]
    keypoints: dict[str, float | None]
    keypoints_per_class: dict[str, dict[str, float | None]]
    pck: float | None
    pck_per_class: dict[str, float | None]
    per_keypoint: dict[str, dict[str, float | int | None]]
    all_keypoints: dict[str, float | int | None]
    sigmas: dict[str, dict[str, float]]
    sigma_sources: dict[str, str]
    images: int
    objects: dict[str, int]
    max_detections: int
    best_f1: dict[str, dict[str, dict[str, float | None]]]
    confusion: dict
    curves: dict[str, dict]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict:
        """All numbers of an evaluation but the curves, as JSON can hold it."""
        numbers = asdict(self) | {"notes": list(self.notes)}
        del numbers["curves"]
        return numbers

    @classmethod
    def from_dict(cls, numbers: Mapping) -> "Evaluation":
        """The evaluation of which `to_dict` gave the numbers, without its curves; ValueError when some are missing."""
        try:
            kept = {f.name: numbers[f.name] for f in fields(cls) if f.name not in ("notes", "curves")}
            return cls(**kept, notes=tuple(numbers["notes"]), curves={"boxes": {}, "keypoints": {}, "pck": {}})
        except (TypeError, KeyError):
            raise ValueError(f"evaluation: found {quote(numbers)}, expected the numbers of this version.") from None

    def find_thresholds(self) -> Thresholds | None:
        """The scores from which on objects count, by this evaluation's best F1 of boxes; None where nothing was found."""
        best = {name: numbers["threshold"] for name, numbers in self.best_f1["boxes"].items()}
        overall = best[ALL_CLASSES]
        if overall is None:
            return None
        # Own ones also where few objects decide them: a rare class often scores far below the others, which decide `overall`.
        own = {name: overall if best[name] is None else best[name] for name in self.objects}
        counts = (0 if best[name] is None else count for name, count in self.objects.items())
        return Thresholds(overall, tuple(own.values()), tuple(counts))

    def score(self, monitor: str = "mean") -> float:
        """One number from 0 to 1 of an evaluation, to choose the best model by.

        Args:
            monitor: "box_ap", "keypoint_ap", or "mean" of the two, which is box AP alone where there is no keypoint AP.

        Raises:
            ValueError: the monitor is unknown, or the annotations cannot decide it.
        """
        box_ap, keypoint_ap = self.box["AP"], self.keypoints["AP"]
        if monitor not in MONITORS:
            raise ValueError(f"monitor: found '{monitor}', expected one of {list(MONITORS)}.")
        if monitor == "keypoint_ap":
            values = [keypoint_ap]
        else:
            values = [box_ap] if monitor == "box_ap" or keypoint_ap is None else [box_ap, keypoint_ap]
        if None in values:
            missing = "labelled keypoints" if monitor == "keypoint_ap" else "annotated objects"
            raise ValueError(
                f"monitor '{monitor}': found no {missing} in the {self.images} evaluated images, expected at least one; "
                "evaluate on images that have them or choose another monitor."
            )
        return float(np.mean(values))


def evaluate(
    records: Sequence[Record],
    detections: Sequence[Sequence[Detection]],
    schema: Schema,
    *,
    min_score: float | None = None,
) -> Evaluation:
    """Evaluates the detections of annotated images: all numbers, curves and notes; their order does not matter.

    Detections of a class that has no annotated object count nowhere, as in COCO's evaluation; a note says how many. Detections
    with a coordinate or score that is not finite are left out and counted too, since pycocotools takes a NaN for a match.

    Args:
        records: the annotated images, each image id once.
        detections: for each record its detections, in pixels of the same upright image; empty lists are fine and score 0.
        min_score: the least score of the detections in the confusion; by default the threshold with the best F1 of the boxes of
            all classes. Everything else takes all detections.

    Raises:
        ValueError: the two differ in length, an image id stands twice, or a detection does not fit the schema.
    """
    _check_detections(records, detections, schema)
    finite = [[d for d in found if _is_finite(d)] for found in detections]
    left_out = sum(map(len, detections)) - sum(map(len, finite))
    truth, found = build_coco(records, finite, schema)
    counts = [np.bincount(r.class_ids[~r.is_crowd], minlength=schema.num_classes) for r in records]
    crowding = np.reshape(counts, (-1, schema.num_classes))
    limit = limit_detections(crowding.max(initial=0), MAX_BOX_DETECTIONS)
    limits = [limit_detections(fullest, MAX_KEYPOINT_DETECTIONS) for fullest in crowding.max(axis=0, initial=0)]
    box, boxes = box_precision(truth, found, schema, limit)
    keypoints = keypoint_precision(truth, found, schema, limits)
    best_f1 = {"boxes": _find_best_f1(boxes), "keypoints": _find_best_f1(keypoints)}
    if min_score is None:
        best = best_f1["boxes"][ALL_CLASSES]["threshold"]
        min_score = DEFAULT_SCORE if best is None else best
    errors = measure_keypoint_errors(records, finite, schema)
    own = {c.name: schema.keypoint_slice(i) for i, c in enumerate(schema.classes) if c.keypoints}
    objects = Counter(schema.class_names[i] for r in records for i in r.class_ids[~r.is_crowd])
    notes = _missing_notes(box, keypoints.numbers, objects, finite, schema) + _crowded_notes(crowding, limit, limits, schema)
    if left_out:
        notes.append(f"Detections left out because a coordinate or the score is not finite: {left_out}.")
    overall = errors.summarize()
    return Evaluation(
        box=box,
        box_per_class={name: numbers["AP"] for name, numbers in boxes.numbers.items()},
        keypoints=mean_over_classes(keypoints.numbers),
        keypoints_per_class=keypoints.numbers,
        pck=overall["pck"],
        pck_per_class={name: errors.summarize(place)["pck"] for name, place in own.items()},
        per_keypoint={name: errors.summarize(slice(k, k + 1)) for k, name in enumerate(schema.keypoint_names)},
        all_keypoints=overall,
        sigmas={c.name: dict(zip(c.keypoints, c.oks_sigmas, strict=True)) for c in schema.classes if c.keypoints},
        sigma_sources={c.name: c.sigma_source for c in schema.classes if c.keypoints},
        images=len(records),
        objects={name: objects[name] for name in schema.class_names},
        max_detections=limit,
        best_f1=best_f1,
        confusion={
            "min_score": min_score,
            "names": [*schema.class_names, BACKGROUND],
            "counts": count_confusion(records, finite, schema, min_score),
        },
        curves={
            "boxes": _list_curves(boxes),
            "keypoints": _list_curves(keypoints),
            "pck": {ALL_CLASSES: errors.pck_curve()} | {name: errors.pck_curve(place) for name, place in own.items()},
        },
        notes=tuple(notes),
    )


def _rank_classes(precision: Precision) -> dict[str, Ranking]:
    """The evaluated ranking of every class, and of all together."""
    return {ALL_CLASSES: pool_rankings(precision.rankings.values())} | precision.rankings


def _find_best_f1(precision: Precision) -> dict[str, dict[str, float | None]]:
    """The score threshold with the best F1 for the evaluation, by class and for all."""
    return {name: best_threshold(ranking) for name, ranking in _rank_classes(precision).items()}


def _list_curves(precision: Precision) -> dict[str, dict]:
    """The curves of an `Evaluation`, by class and for all: precision-recall and scores."""
    scores = {name: score_curve(ranking) for name, ranking in _rank_classes(precision).items()}
    return {"precision_at_recall": precision.precision, "score": scores}


def ground_truth_as_detections(records: Sequence[Record], schema: Schema) -> list[list[Detection]]:
    """The annotations as a perfect detector's detections, to evaluate: every object but crowds, with score 1.

    Keypoints that are not labelled stand at the box centre with score 0.
    """
    return [[_as_detection(r, n, schema) for n in np.flatnonzero(~r.is_crowd).tolist()] for r in records]


def _as_detection(record: Record, n: int, schema: Schema) -> Detection:
    """An annotated object as a perfect detector would find it, with score 1, to evaluate."""
    class_id = int(record.class_ids[n])
    c, own = schema.classes[class_id], schema.keypoint_slice(class_id)
    box = record.boxes_xyxy[n]
    labelled = record.visibility[n, own] > 0
    return Detection(
        class_id=class_id,
        class_name=c.name,
        category_id=c.category_id,
        score=1.0,
        box_xyxy=box,
        keypoint_names=c.keypoints,
        keypoints_xy=np.where(labelled[:, None], record.keypoints_xy[n, own], (box[:2] + box[2:]) / 2),
        keypoint_scores=labelled.astype(np.float32),
    )


def _check_detections(records: Sequence[Record], detections: Sequence[Sequence[Detection]], schema: Schema) -> None:
    """Refuses to evaluate detections that are not of these records or this schema, or not finite."""
    if len(records) != len(detections):
        raise ValueError(
            f"detections: found lists for {len(detections)} images, expected {len(records)}, one for each record; "
            "give an empty list for an image without detections."
        )
    repeated = [image_id for image_id, count in Counter(r.image_id for r in records).items() if count > 1]
    if repeated:
        raise ValueError(f"records: found image ids {repeated[:10]} more than once, expected each once; give every image once.")
    kinds = {(i, c.name, len(c.keypoints)) for i, c in enumerate(schema.classes)}
    for record, found in zip(records, detections, strict=True):
        for d in found:
            if (d.class_id, d.class_name, len(d.keypoints_xy)) not in kinds:
                raise ValueError(
                    f"image {record.image_id}: found a detection of class {d.class_id} '{d.class_name}' with "
                    f"{len(d.keypoints_xy)} keypoints, expected one of the classes {list(schema.class_names)} with "
                    "its own keypoints; evaluate with the schema of the model that made the detections."
                )


def _is_finite(d: Detection) -> bool:
    """Whether score, box and keypoints of a detection to be evaluated are all finite."""
    return bool(np.isfinite(d.score) and np.isfinite(d.box_xyxy).all() and np.isfinite(d.keypoints_xy).all())


def _missing_notes(
    box: Mapping, keypoints_per_class: Mapping, objects: Counter, detections: Sequence[Sequence[Detection]], schema: Schema
) -> list[str]:
    """Notes on what an evaluation cannot decide, and why: classes without objects, keypoints without labels."""
    notes = []
    found = Counter(d.class_name for image in detections for d in image)
    absent = [c.name for c in schema.classes if not objects[c.name]]
    if len(absent) > SHOWN:
        lost = sum(found[name] for name in absent)
        uncounted = f"; their detections count nowhere, {lost} in all" if lost else ""
        notes.append(f"{len(absent)} of {schema.num_classes} classes have no annotated objects here{uncounted}.")
    for c in schema.classes:
        if not objects[c.name]:
            uncounted = f"; its detections count nowhere, {found[c.name]} in all" if found[c.name] else ""
            notes += [f"'{c.name}' has no annotated objects here{uncounted}."] * (len(absent) <= SHOWN)
        elif c.keypoints and keypoints_per_class[c.name]["AP"] is None:
            notes.append(f"'{c.name}' has no labelled keypoints here: no keypoint AP, no PCK.")
    missing = [size for size, key in _SIZES.items() if box[key] is None]
    if objects and missing:
        notes.append(f"No {' or '.join(missing)} objects here (COCO's limits: 32 x 32 and 96 x 96 pixels of area).")
    return notes


def _crowded_notes(crowding: np.ndarray, limit: int, limits: Sequence[int], schema: Schema) -> list[str]:
    """Notes of an evaluation on images with more objects (images, C) than COCO's average precision counts detections."""

    def tell(counts: np.ndarray, usual: int, what: str, number: str, limit: int) -> list[str]:
        full = int((counts > usual).sum())
        counted = f"{number} counts up to {limit} detections of a class in an image, where COCO's counts {usual}"
        return [f"Images with more than {usual} objects of {what}: {full}; {counted}."] if full else []

    notes = tell(crowding.max(axis=1, initial=0), MAX_BOX_DETECTIONS, "a class", "box AP", limit)
    for class_id, c in enumerate(schema.classes):
        if c.keypoints:
            notes += tell(crowding[:, class_id], MAX_KEYPOINT_DETECTIONS, f"'{c.name}'", "keypoint AP", limits[class_id])
    return notes
