"""Whether labelled boxes are frames around their keypoints, as tools make them where only points were labelled."""

from collections.abc import Sequence

import numpy as np

from centerkp.geometry import span_points
from centerkp.labels.records import Record
from centerkp.schema import Schema

LEAST_OBJECTS = 5  # of a class: 20 sides that agree are no chance
LEAST_SHARE = 0.8  # of the sides that agree; some tools never make a box smaller than so many pixels
EXACT = 0.01  # of the longer side of the keypoints' extent; or a pixel, to which many files round
BORDER = 1.0  # pixels from the image's border, where boxes are cut


def measure_box_margins(records: Sequence[Record], schema: Schema) -> list[float | None]:
    """By class, how far boxes reach beyond their labelled keypoints on each side, where that is one share of the longer side.

    Returns:
        (C,) shares of the longer side of the keypoints' extent, 0 or more; None for a class whose boxes tell more than its
        keypoints do, or of which too few objects have two labelled keypoints or more.
    """
    chosen = [record for record in records if len(record.boxes_xyxy)]
    if not chosen or not schema.num_keypoints:
        return [None] * schema.num_classes
    boxes, class_ids, points, visibility, is_crowd = (
        np.concatenate([getattr(record, name) for record in chosen])
        for name in ("boxes_xyxy", "class_ids", "keypoints_xy", "visibility", "is_crowd")
    )
    sizes = np.repeat([(r.width, r.height) for r in chosen], [len(r.boxes_xyxy) for r in chosen], axis=0)
    spans = span_points(points, visibility > 0)
    longer = (spans[:, 2:] - spans[:, :2]).max(1)
    beyond = np.concatenate([spans[:, :2] - boxes[:, :2], boxes[:, 2:] - spans[:, 2:]], 1)
    free = np.concatenate([boxes[:, :2] >= BORDER, boxes[:, 2:] <= sizes - BORDER], 1)
    usable = ~is_crowd & ((visibility > 0).sum(1) > 1) & (longer > 0)
    return [_find_margin(*(a[usable & (class_ids == n)] for a in (beyond, free, longer))) for n in range(schema.num_classes)]


def _find_margin(beyond: np.ndarray, free: np.ndarray, longer: np.ndarray) -> float | None:
    """The margin of one class's boxes, None without one; `beyond` (N, 4) is how far sides are beyond keypoints, in pixels."""
    if len(longer) < LEAST_OBJECTS or free.sum() < 4 * LEAST_OBJECTS:
        return None
    margin = max(float(np.median((beyond / longer[:, None])[free])), 0.0)
    agree = np.abs(beyond - margin * longer[:, None]) <= np.maximum(EXACT * longer, 1)[:, None]
    return round(margin, 4) if agree[free].mean() >= LEAST_SHARE else None
