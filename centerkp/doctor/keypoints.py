"""What is wrong with the keypoints: place, visibility, labels that are never there, left and right exchanged."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from centerkp.doctor.findings import Finding
from centerkp.doctor.misread import BOX_MARGIN
from centerkp.doctor.reader import Reading
from centerkp.doctor.settled_labels import Labels, make_object_finding
from centerkp.labels.annotations import HIDDEN_POINTS
from centerkp.wording import count_of

FEW = 20  # labels; a keypoint with fewer is hardly learned
MANY = 0.05  # share of objects with a keypoint outside their box from which it is no accident
LEVEL_SINE = 0.25  # of the angle between a pair and the object's axis; flatter views do not tell left from right
LEAST_VOTES = 12  # objects that must show a pair's order before the odd ones stand out
ODD_SHARE = 0.1  # at most so many are against the order of the others; more, and the objects really are seen from both sides


def check_keypoints(labels: Labels, reading: Reading) -> list[Finding]:
    """The doctor's findings about keypoints; nothing for classes without any."""
    if not labels.schema.num_keypoints:
        return []

    findings = _check_outside(labels, reading) + _check_points_at_origin(labels, reading)
    for class_id in range(labels.schema.num_classes):
        findings += _check_side_order(labels, class_id, reading)
    return findings + _check_lost_visibility(labels, reading)


def _check_outside(labels: Labels, reading: Reading) -> list[Finding]:
    """Findings about keypoints outside the image, and outside their object's box."""
    rows, keypoints = np.nonzero(labels.outside)
    names = labels.schema.keypoint_names

    def point(n: int) -> str:
        row, k = rows[n], keypoints[n]
        x, y = labels.whole_xy[row, k]
        width, height = labels.sizes[row]
        return f"{names[k]} at ({x:g}, {y:g}) in {width:.0f}x{height:.0f}"

    title, remedy = "labelled outside the image", "read as not labelled, and written so by --fix"
    findings = make_object_finding(labels, reading, "mendable", title, rows, point, noun="keypoint", remedy=remedy)
    far = outside_box(labels)
    objects = np.flatnonzero(far.any(1))
    with_points = int(((labels.visibility > 0).any(1) & labels.has_box & ~labels.rebuilt).sum())
    many = len(objects) > MANY * with_points and len(objects) > 1
    remedy = "look at the pictures: a keypoint of another object, or boxes in another frame or order than x, y, width, height"
    share = f"{BOX_MARGIN:.0%} of its longer side (of {count_of(with_points, 'object')})"
    return findings + make_object_finding(
        labels,
        reading,
        "suspicious" if many else "note",
        f"keypoints outside the object's box by more than {share}",
        objects,
        lambda n: ", ".join(names[k] for k in np.flatnonzero(far[objects[n]])[:5]),
        remedy=remedy if many else "often right: a part that reaches out of the box",
    )


def outside_box(labels: Labels) -> np.ndarray:
    """(N, K) labelled keypoints clearly outside their object's own box."""
    boxes = np.nan_to_num(labels.boxes_xyxy)
    margin = BOX_MARGIN * (boxes[:, 2:] - boxes[:, :2]).max(1, initial=0)[:, None, None] + 1
    low, high = boxes[:, None, :2] - margin, boxes[:, None, 2:] + margin
    far = ((labels.points_xy < low) | (labels.points_xy > high)).any(-1) & (labels.visibility > 0)
    return far & (labels.has_box & ~labels.rebuilt & ~labels.is_crowd)[:, None]


def _check_points_at_origin(labels: Labels, reading: Reading) -> list[Finding]:
    """Findings about keypoints labelled at exactly (0, 0)."""
    at_zero = (labels.visibility > 0) & (labels.points_xy == 0).all(-1)
    title = "labelled at exactly (0, 0), where exporters put points that are not there"
    remedy = "set their visibility to 0 unless the object's part really is in the corner"
    rows = np.flatnonzero(at_zero.any(1))
    options: dict[str, Any] = dict(noun="keypoint", remedy=remedy, count=int(at_zero.sum()))
    return make_object_finding(labels, reading, "suspicious", title, rows, **options)


def _check_lost_visibility(labels: Labels, reading: Reading) -> list[Finding]:
    """Findings about files whose keypoints all have coordinates and nearly none a visibility."""
    heard = [note for note in reading.notes if note.title == HIDDEN_POINTS]
    labelled = int((labels.visibility > 0).sum())
    if not heard or heard[0].count < 9 * max(labelled, 1):
        return []
    title = "have coordinates and visibility 0, nearly all there are: the exporter lost the visibility"
    return [
        Finding("suspicious", title, heard[0].count, "keypoint", "export again with visibility 1 or 2; 0 means not labelled")
    ]


def check_labelled(labels: Labels) -> list[Finding]:
    """Findings about keypoints with too few labels in a training file to learn from, and classes with none."""
    findings, schema, single = [], labels.schema, ~labels.is_crowd & labels.has_box
    hidden = 0
    if not single.any():  # the whole file has nothing to learn from, which is said once
        return []
    for class_id, kind in enumerate(schema.classes):
        own = single & (labels.class_ids == class_id)
        seen = labels.visibility[own, schema.keypoint_slice(class_id)]
        counts = (seen > 0).sum(0)
        if kind.keypoints and not counts.any():
            found = f"all keypoints of its {count_of(int(own.sum()), 'object')} not labelled" if own.any() else "no objects"
            title = f"'{kind.name}' names keypoints and has no labelled one ({found})"
            remedy = "label them, or take the keypoint names or the class out of 'categories'; training refuses such a class"
            findings.append(Finding("unusable", title, 1, "category", remedy))
            continue
        for why, few, level in (("never labelled", counts == 0, "suspicious"), (None, (counts > 0) & (counts < FEW), "advice")):
            which = tuple(
                f"{kind.keypoints[k]}: {counts[k]} of {count_of(int(own.sum()), 'object')}" for k in np.flatnonzero(few)
            )
            title = f"of '{kind.name}' {why or f'labelled fewer than {FEW} times'}"
            remedy = (
                "take it out of the category's keypoints, or label it" if why else "label more of them; few are hardly learned"
            )
            if few.any() and (why or own.sum() >= FEW):
                findings.append(Finding(level, title, int(few.sum()), "keypoint", remedy, which[:10]))
        hidden += int((seen == 1).sum())
    if hidden and hidden == int((labels.visibility[single] > 0).sum()):
        title = "all labelled keypoints have visibility 1, which in COCO means hidden"
        remedy = "trained on like visible ones, so nothing is lost; write 2 where the point can be seen"
        findings.append(Finding("note", title, hidden, "keypoint", remedy))
    return findings


def _check_side_order(labels: Labels, class_id: int, reading: Reading) -> list[Finding]:
    """Findings about objects whose left and right keypoints lie the other way round than in nearly all others."""
    kind, own = labels.schema.classes[class_id], labels.schema.keypoint_slice(class_id)
    rows = np.flatnonzero((labels.class_ids == class_id) & ~labels.is_crowd)
    if not kind.flip_pairs or len(rows) < LEAST_VOTES:
        return []
    sides = pair_sides(labels.points_xy[rows, own], labels.visibility[rows, own] > 0, kind.flip_pairs)
    odd = odd_pairs(sides)
    rows, odd = rows[odd.any(1)], odd[odd.any(1)]

    def names(n: int) -> str:
        pairs = [kind.flip_pairs[p] for p in np.flatnonzero(odd[n])]
        return ", ".join(f"{kind.keypoints[a]}/{kind.keypoints[b]}" for a, b in pairs[:3])

    title = f"left and right of '{kind.name}' lie the other way round than in nearly all others"
    remedy = "look at the pictures, and exchange the two labels where they are wrong"
    return make_object_finding(labels, reading, "suspicious", title, rows, names, remedy=remedy)


def pair_sides(points: np.ndarray, labelled: np.ndarray, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """On which side of an object's own axis the first keypoint of each left/right pair is, which the findings compare.

    The axis runs from the middle of the pair to the middle of the keypoints that have no partner; where the class has none, to
    that of the other pairs; where it has no others, straight down the image.

    Args:
        points: (N, k, 2) of one class; labelled: (N, k) bool; pairs: P pairs of indices.

    Returns:
        (N, P) the sine of the angle between pair and axis, -1 to 1; NaN where a point is missing or all are in one place.
    """
    lone = np.setdiff1d(np.arange(points.shape[1]), np.array(pairs))
    sides = np.full((len(points), len(pairs)), np.nan)
    for number, (a, b) in enumerate(pairs):
        others = [k for pair in pairs for k in pair if k not in (a, b)]
        middle = (points[:, a] + points[:, b]) / 2
        across = points[:, b] - points[:, a]
        if len(lone):
            along = _mean_of_points(points, labelled, lone) - middle
        else:
            along = _mean_pairs(points, labelled, others) - middle if others else np.tile([0.0, 10.0], (len(points), 1))
        lengths = np.linalg.norm(across, axis=1) * np.linalg.norm(along, axis=1)
        cross = across[:, 0] * along[:, 1] - across[:, 1] * along[:, 0]
        usable = labelled[:, a] & labelled[:, b] & (lengths > 1)
        sides[usable, number] = cross[usable] / lengths[usable]
    return sides


def odd_pairs(sides: np.ndarray) -> np.ndarray:
    """(N, P) bool: which left/right pairs of keypoints are against an order that nearly all objects share."""
    clear = np.abs(np.nan_to_num(sides)) >= LEVEL_SINE
    left = (clear & (np.nan_to_num(sides) > 0)).sum(0)
    votes = clear.sum(0)
    against = np.minimum(left, votes - left)
    judged = (votes >= LEAST_VOTES) & (against <= ODD_SHARE * votes)
    usual = np.where(2 * left >= votes, 1, -1)
    return clear & judged & (np.sign(np.nan_to_num(sides)) != usual)


def _mean_of_points(points: np.ndarray, labelled: np.ndarray, which: np.ndarray | Sequence[int]) -> np.ndarray:
    """For findings about keypoints: (N, 2) the mean of the labelled ones of some, an end of the axis between left and right."""
    weights = labelled[:, which, None]
    total = weights.sum(1)
    return np.divide((points[:, which] * weights).sum(1), total, out=np.full((len(points), 2), np.nan), where=total > 0)


def _mean_pairs(points: np.ndarray, labelled: np.ndarray, others: list[int]) -> np.ndarray:
    """(N, 2) the middle of the other left/right pairs that are labelled on both sides; NaN where there is none."""
    both = labelled[:, others].reshape(len(points), -1, 2).all(-1).repeat(2, axis=1)
    whole = labelled.copy()
    whole[:, others] = both
    return _mean_of_points(points, whole, others)
