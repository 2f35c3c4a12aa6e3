"""How well each single image went, to look at the worst ones first."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from centerkp.evaluation.confusion import match_image
from centerkp.geometry import box_ious
from centerkp.labels.records import Record
from centerkp.results import Detection
from centerkp.schema import Schema
from centerkp.wording import count_of


@dataclass(frozen=True)
class ImageQuality:
    """One image: `quality` 0 to 1 is the mean over its objects and its false detections.

    An object counts with the OKS of its detection, or with the IoU where it has no labelled keypoint; one that was missed or
    taken for another class counts 0, and so does a false detection. An image with neither has quality 1.
    """

    quality: float
    objects: int
    missed: int
    mistaken: int
    false: int

    def describe(self) -> str:
        """How one image went, as in "2 of 5 objects missed, 1 false, quality 0.41"."""
        objects = count_of(self.objects, "object")
        parts = [f"{self.missed} of {objects} missed"] if self.missed else []
        parts += [f"{self.mistaken} of another class"] if self.mistaken else []
        parts += [f"{self.false} false"] if self.false else []
        return ", ".join([*(parts or [f"{objects} found"]), f"quality {self.quality:.2f}"])


def measure_image(record: Record, found: Sequence[Detection], schema: Schema, min_score: float) -> ImageQuality:
    """How well one image went: its detections of at least `min_score` against its annotations."""
    found = [d for d in found if d.score >= min_score]
    outcome, single = match_image(record, found), np.flatnonzero(~record.is_crowd)
    values = [_match_quality(record, n, found[i], schema) for n, i in enumerate(outcome.matches) if i >= 0]
    count = len(single) + len(outcome.false)
    return ImageQuality(
        quality=float(np.sum(values) / count) if count else 1.0,
        objects=len(single),
        missed=int(outcome.missed[single].sum()),
        mistaken=int((outcome.mistaken >= 0).sum()),
        false=len(outcome.false),
    )


def _match_quality(record: Record, n: int, detection: Detection, schema: Schema) -> float:
    """How well one detection fits its object, 0 to 1: its OKS, or the IoU of the boxes where no keypoint is labelled."""
    class_id = int(record.class_ids[n])
    own = schema.keypoint_slice(class_id)
    labelled = record.visibility[n, own] > 0
    if not labelled.any():
        return float(box_ious(record.boxes_xyxy[n : n + 1], detection.box_xyxy[None])[0, 0])
    squares = ((record.keypoints_xy[n, own] - detection.keypoints_xy) ** 2).sum(-1)
    spread = 2 * max(float(record.areas[n]), 1.0) * (2 * np.array(schema.classes[class_id].oks_sigmas)) ** 2
    return float(np.exp(-squares / spread)[labelled].mean())
