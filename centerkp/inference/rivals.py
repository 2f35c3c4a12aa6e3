"""Which objects of several looks at one picture are the same: by class, overlap and keypoints."""

from collections.abc import Mapping

import numpy as np

from centerkp.geometry import box_ious

MIN_OVERLAP = 0.5  # intersection over union of what two looks may call the same object


def group_rivals(objects: Mapping[str, np.ndarray], source: np.ndarray, min_overlap: float = MIN_OVERLAP) -> list[list[int]]:
    """Rows of several passes that are one object, at most one of each `source` (N,), the best first; no empty rows."""
    boxes, scores, class_ids = (objects[name] for name in ("boxes", "scores", "class_ids"))
    overlap = box_ious(boxes, boxes)
    alike = (overlap >= min_overlap) & (class_ids[:, None] == class_ids) & (source[:, None] != source)
    groups, left = [], scores > 0
    for leader in np.argsort(-scores, kind="stable"):
        if not left[leader]:
            continue
        left[leader] = False
        group, rivals = [int(leader)], np.flatnonzero(alike[leader] & left)
        if len(rivals) > 1:
            closeness = overlap[leader, rivals] - _rival_distance(objects, leader, rivals)
            ordered = rivals[np.argsort(-closeness, kind="stable")]
            rivals = ordered[np.unique(source[ordered], return_index=True)[1]]  # the closest of each pass
        group += rivals.tolist()
        left[group] = False
        groups.append(group)
    return groups


def _rival_distance(objects: Mapping[str, np.ndarray], leader: int, rivals: np.ndarray) -> np.ndarray | float:
    """How far rivals' keypoints lie from the leader's in another pass: the mean, as a share of the box's longer side."""
    if "keypoints" not in objects:
        return 0.0
    apart = np.linalg.norm(objects["keypoints"][rivals] - objects["keypoints"][leader], axis=-1)  # 0 for those of other classes
    return apart.sum(-1) / max((objects["keypoint_scores"][leader] > 0).sum(), 1) / longer_side(objects["boxes"][leader])


def longer_side(box_xyxy: np.ndarray) -> float:
    """The longer side of an object's box, above 0, by which passes of test-time augmentation are compared."""
    return max(float(np.max(box_xyxy[2:] - box_xyxy[:2])), 1e-9)
