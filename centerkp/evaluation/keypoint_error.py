"""How far the keypoints are off: PCK at any share of the box, and errors in pixels and in shares of the object.

Annotated objects and detections are matched first: same class, image by image, the best-scored detection first, each taking
the free annotated object it overlaps most if their IoU is at least 0.5. Crowds are left out. Then every labelled keypoint
(visibility 1 or 2) of an annotated object is compared with the same keypoint of the object's detection.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from centerkp.geometry import box_ious
from centerkp.labels.records import Record
from centerkp.results import Detection
from centerkp.schema import Schema

MATCH_IOU = 0.5
PCK_SHARE = 0.1
PCK_SHARES = tuple(round(0.005 * i, 3) for i in range(101))  # of the PCK curve


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
        wrong. `median_px` and `p95_px` (the 95th percentile), and `median_share` and `p95_share` of the square root of the
        object's area: over matched objects alone. `labelled` and `matched` count keypoints. What nothing decides is None.
        """
        distances, sides, sizes = self._select_keypoints(keypoints)
        matched = np.isfinite(distances)
        pixels, shares = distances[matched], distances[matched] / sizes[matched]
        found = matched.any()
        return {
            "pck": float(np.mean(distances <= PCK_SHARE * sides)) if len(distances) else None,
            "median_px": float(np.median(pixels)) if found else None,
            "p95_px": float(np.percentile(pixels, 95)) if found else None,
            "median_share": float(np.median(shares)) if found else None,
            "p95_share": float(np.percentile(shares, 95)) if found else None,
            "labelled": len(distances),
            "matched": int(np.count_nonzero(matched)),
        }

    def pck_curve(self, keypoints: slice | None = None) -> list[float] | None:
        """PCK at each of `PCK_SHARES` of the longer box side; None without labelled keypoints."""
        distances, sides, _ = self._select_keypoints(keypoints)
        if not len(distances):
            return None
        return [float(np.mean(distances <= share * sides)) for share in PCK_SHARES]

    def _select_keypoints(self, keypoints: slice | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distances, box sides and object sizes of a range of flat keypoints (None: of all)."""
        rows = slice(None)
        if keypoints is not None:
            rows = (self.keypoint_ids >= keypoints.start) & (self.keypoint_ids < keypoints.stop)
        return self.distances[rows], self.box_sides[rows], self.sizes[rows]


def measure_keypoint_errors(
    records: Sequence[Record], detections: Sequence[Sequence[Detection]], schema: Schema
) -> KeypointErrors:
    """How far every labelled keypoint is off in the detection that was matched to its object."""
    columns = [_measure_one_image(record, found, schema) for record, found in zip(records, detections, strict=True)]
    columns.append((np.zeros(0, int), np.zeros(0), np.zeros(0), np.zeros(0)))
    return KeypointErrors(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def match_objects(record: Record, found: Sequence[Detection]) -> np.ndarray:
    """For each of the record's N objects the index of its detection, -1 where it was missed or is a crowd; (N,) int."""
    if not len(record.class_ids) or not found:
        return np.full(len(record.class_ids), -1)
    ious = box_ious(record.boxes_xyxy, np.stack([d.box_xyxy for d in found]))  # (N, detections)
    same_class = record.class_ids[:, None] == np.array([d.class_id for d in found])
    ious[~same_class | record.is_crowd[:, None]] = 0
    return match_greedily(ious, [d.score for d in found])


def match_greedily(ious: np.ndarray, scores: Sequence[float], least: float = MATCH_IOU) -> np.ndarray:
    """To measure keypoint errors: the detection that each of N objects overlaps, best scores first, -1 for none; (N,) int.

    Args:
        ious: (N, D), N at least 1; 0 between those that must not be matched.
        scores: (D,); the best-scored detection chooses first, always the free object that it overlaps most.
        least: overlap from which they match.
    """
    matches = np.full(len(ious), -1)
    for index in np.argsort(-np.asarray(scores), kind="stable"):
        free = np.where(matches < 0, ious[:, index], 0)
        best = int(free.argmax())
        if free[best] >= least:
            matches[best] = index
    return matches


def _measure_one_image(record: Record, found: Sequence[Detection], schema: Schema) -> tuple[np.ndarray, ...]:
    """The keypoint errors of one image: flat keypoints, distances, box sides and object sizes, (P,) each."""
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
