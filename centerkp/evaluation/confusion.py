"""What becomes of every object and every detection of an image: found, taken for another class, missed, or invented.

Objects and detections of the same class are matched first, as for the keypoint errors; then what is left over, whatever its
class, the best-scored detection first, at the same IoU. Detections at least half inside a crowd of their class count nowhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from centerkp.evaluation.keypoint_error import MATCH_IOU, match_greedily, match_objects
from centerkp.geometry import box_areas, box_ious, shared_areas
from centerkp.labels.records import Record
from centerkp.results import Detection
from centerkp.schema import Schema

BACKGROUND = "background"


@dataclass(frozen=True, eq=False)
class Outcome:
    """The image's N objects and the detections of it that were looked at.

    `matches` (N,) holds the index of the object's detection of its own class, `mistaken` (N,) that of one of another class
    where there is none; -1 otherwise and for crowds. `false` are the indices of the detections that belong to no object.
    """

    matches: np.ndarray
    mistaken: np.ndarray
    false: np.ndarray

    @property
    def missed(self) -> np.ndarray:
        """(N,) bool: objects neither found nor taken for another class; true for crowds, too."""
        return (self.matches < 0) & (self.mistaken < 0)


def match_image(record: Record, found: Sequence[Detection]) -> Outcome:
    """What became of one image's objects and detections: found, taken for another class, missed, or false."""
    matches = match_objects(record, found)
    mistaken = np.full(len(matches), -1)
    false = np.ones(len(found), bool)
    false[matches[matches >= 0]] = False
    if found and len(matches):
        boxes = np.stack([d.box_xyxy for d in found])
        ious = box_ious(record.boxes_xyxy, boxes)
        ious[record.is_crowd | (matches >= 0)] = 0
        ious[:, ~false] = 0
        mistaken = match_greedily(ious, [d.score for d in found])
        false[mistaken[mistaken >= 0]] = False
        inside = shared_areas(record.boxes_xyxy, boxes) / np.maximum(box_areas(boxes), np.finfo(np.float32).tiny)
        same_class = record.class_ids[:, None] == np.array([d.class_id for d in found])
        false &= ~((inside >= MATCH_IOU) & same_class & record.is_crowd[:, None]).any(0)
    return Outcome(matches, mistaken, np.flatnonzero(false))


def count_confusion(
    records: Sequence[Record], detections: Sequence[Sequence[Detection]], schema: Schema, min_score: float
) -> list[list[int]]:
    """Confusion matrix (C+1, C+1): rows what was annotated, columns what was detected; the last of each is background.

    A missed object stands in its row's last column, a detection of nothing in the last row.

    Args:
        min_score: detections with a lower score are left out.
    """
    counts = np.zeros((schema.num_classes + 1, schema.num_classes + 1), int)
    for record, found in zip(records, detections, strict=True):
        found = [d for d in found if d.score >= min_score]
        outcome = match_image(record, found)
        for n in np.flatnonzero(~record.is_crowd):
            index = max(outcome.matches[n], outcome.mistaken[n])
            counts[record.class_ids[n], found[index].class_id if index >= 0 else -1] += 1
        for index in outcome.false:
            counts[-1, found[index].class_id] += 1
    return counts.tolist()
