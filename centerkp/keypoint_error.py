"""How far the keypoints are off: PCK, and errors in pixels.

Annotated objects and detections are matched first: same class, image by image, the best-scored detection first, each taking
the free annotated object it overlaps most if their IoU is at least 0.5. Crowds are left out. Then every labelled keypoint
(visibility 1 or 2) of an annotated object is compared with the same keypoint of the object's detection.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from centerkp.geometry import box_areas
from centerkp.results import Detection
from centerkp.schema import Schema

if TYPE_CHECKING:
    from centerkp.data.coco import Record

MATCH_IOU = 0.5
PCK_SHARE = 0.1


@dataclass(frozen=True, eq=False)
class KeypointErrors:
    """One row per labelled keypoint of the annotated objects, P in all.

    `keypoint_ids` are places on the schema's flat axis; `distances` are pixels, infinite where the object was missed;
    `box_sides` is the longer side of the object's box and `sizes` the square root of its area, both in pixels.
    """

    keypoint_ids: np.ndarray
    distances: np.ndarray
    box_sides: np.ndarray
    sizes: np.ndarray

    def summarize(self, keypoints: slice | None = None) -> dict[str, float | int | None]:
        """PCK and median errors of a range of flat keypoints (all of them by default).

        `pck`: the share of labelled keypoints found within 0.1 x the longer box side; those of missed objects count as
        wrong. `median_px`, and `median_share` of the square root of the object's area: over matched objects alone.
        `labelled` and `matched` count keypoints. Shares and medians of nothing are None.
        """
        rows = slice(None)
        if keypoints is not None:
            rows = (self.keypoint_ids >= keypoints.start) & (self.keypoint_ids < keypoints.stop)
        distances, sides, sizes = self.distances[rows], self.box_sides[rows], self.sizes[rows]
        matched = np.isfinite(distances)
        return {
            "pck": float(np.mean(distances <= PCK_SHARE * sides)) if len(distances) else None,
            "median_px": float(np.median(distances[matched])) if matched.any() else None,
            "median_share": float(np.median(distances[matched] / sizes[matched])) if matched.any() else None,
            "labelled": len(distances),
            "matched": int(np.count_nonzero(matched)),
        }


def measure_keypoint_errors(
    records: Sequence["Record"], detections: Sequence[Sequence[Detection]], schema: Schema
) -> KeypointErrors:
    """Compares every labelled keypoint with the detection of its object."""
    columns = [_measure_image(record, found, schema) for record, found in zip(records, detections, strict=True)]
    columns.append((np.zeros(0, int), np.zeros(0), np.zeros(0), np.zeros(0)))
    return KeypointErrors(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def match_objects(record: "Record", found: Sequence[Detection]) -> np.ndarray:
    """For each of the record's N objects the index of its detection, -1 where it was missed or is a crowd; (N,) int."""
    matches = np.full(len(record.class_ids), -1)
    if not len(matches) or not found:
        return matches
    ious = _box_ious(record.boxes_xyxy, np.stack([d.box_xyxy for d in found]))  # (N, detections)
    same_class = record.class_ids[:, None] == np.array([d.class_id for d in found])
    ious[~same_class | record.is_crowd[:, None]] = 0
    for index in np.argsort([-d.score for d in found], kind="stable"):
        best = int(ious[:, index].argmax())
        if ious[best, index] >= MATCH_IOU:
            matches[best] = index
            ious[best] = 0
    return matches


def _measure_image(record: "Record", found: Sequence[Detection], schema: Schema) -> tuple[np.ndarray, ...]:
    points_xy = np.full((len(record.class_ids), schema.num_keypoints, 2), np.inf)
    for n, match in enumerate(match_objects(record, found)):
        if match >= 0:
            points_xy[n, schema.keypoint_slice(int(record.class_ids[n]))] = found[match].keypoints_xy
    rows, keypoint_ids = np.nonzero((record.visibility > 0) & ~record.is_crowd[:, None])
    offsets = points_xy[rows, keypoint_ids] - record.keypoints_xy[rows, keypoint_ids]
    boxes = record.boxes_xyxy.astype(np.float64)
    sides = (boxes[:, 2:] - boxes[:, :2]).max(1)
    sizes = np.sqrt(np.maximum(record.areas.astype(np.float64), 1))  # a file may say area 0
    return keypoint_ids, np.hypot(offsets[:, 0], offsets[:, 1]), sides[rows], sizes[rows]


def _box_ious(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N, D) intersection over union of boxes (N, 4) with others (D, 4)."""
    boxes, others = boxes.astype(np.float64), others.astype(np.float64)
    top_left = np.maximum(boxes[:, None, :2], others[None, :, :2])
    bottom_right = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.maximum(bottom_right - top_left, 0).prod(-1)
    union = box_areas(boxes)[:, None] + box_areas(others) - shared
    return shared / np.maximum(union, np.finfo(np.float64).tiny)
