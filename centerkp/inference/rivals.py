"""Which objects of several looks at one picture are the same: by class, overlap and keypoints."""

from collections.abc import Mapping

import numpy as np

from centerkp.geometry import box_ious

MIN_OVERLAP = 0.5  # intersection over union of what two looks may call the same object


def group_rivals(objects: Mapping[str, np.ndarray], source: np.ndarray, min_overlap: float = MIN_OVERLAP) -> list[list[int]]:
    """Rows of several passes that are one object, at most one of each `source` (N,), the best first; no empty rows.

    Two go together where none of either's pass that is still free is closer to the other: of two objects that overlap, one pass
    may see one alone.
    """
    boxes, scores, class_ids = (objects[name] for name in ("boxes", "scores", "class_ids"))
    overlap = box_ious(boxes, boxes)
    alike = (overlap >= min_overlap) & (class_ids[:, None] == class_ids) & (source[:, None] != source)
    closeness = np.full(alike.shape, -np.inf)
    closeness[alike] = overlap[alike] - _measure_distances(objects, *np.nonzero(alike))
    groups, left = [], scores > 0
    for leader in np.argsort(-scores, kind="stable"):
        if not left[leader]:
            continue
        beside, rivals = left & (source == source[leader]), np.flatnonzero(alike[leader] & left)
        rivals = rivals[closeness[leader, rivals] >= closeness[np.ix_(beside, rivals)].max(axis=0)]
        ordered = rivals[np.argsort(-closeness[leader, rivals], kind="stable")]
        group = [int(leader), *ordered[np.unique(source[ordered], return_index=True)[1]].tolist()]  # the closest of each pass
        left[group] = False
        groups.append(group)
    return groups


def _measure_distances(objects: Mapping[str, np.ndarray], leaders: np.ndarray, rivals: np.ndarray) -> np.ndarray | float:
    """How far rivals' keypoints lie from their leaders' in another pass: the mean, as a share of the leader's longer side."""
    if "keypoints" not in objects:
        return 0.0
    points = objects["keypoints"]
    apart = np.linalg.norm(points[rivals] - points[leaders], axis=-1)  # 0 for those of other classes
    counts = np.maximum((objects["keypoint_scores"][leaders] > 0).sum(-1), 1)
    return apart.sum(-1) / counts / longer_side(objects["boxes"][leaders])


def longer_side(boxes_xyxy: np.ndarray) -> np.ndarray:
    """The longer side of each box (..., 4), above 0, by which passes of test-time augmentation are compared."""
    return np.maximum((boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).max(-1), 1e-9)
