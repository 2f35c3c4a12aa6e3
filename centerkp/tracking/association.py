"""Which detection is which tracked object: the assignment that costs least, of those that may be."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from centerkp.geometry import box_ious
from centerkp.results import Detection
from centerkp.schema import Schema
from centerkp.tracking.motion import Motion, measure

REACH = 1.0  # box sides from where it is expected within which an object may be found, and so many
DOUBT, FARTHEST = 1.0, 3.0  # standard deviations of that place more, but no more than so many box sides
DISTANCE, SIZE, OVERLAP, POINTS = 0.5, 0.25, 0.25, 0.5  # shares of the cost
TURNING = 0.5  # box sides a second by which the points of an object may have moved about its center
NEVER = 1e6


def assign(
    motions: Sequence[Motion],
    class_ids: Sequence[int],
    detections: Sequence[Detection],
    schema: Schema,
    most: float,
    where_seen: bool = False,
) -> list[tuple[int, int]]:
    """Pairs of rows (tracked object, detection), each at most once, whose costs have the least sum (Kuhn 1955).

    A cost is the sum of the distance of the centers as a share of what is within reach, the difference of sizes, what the boxes
    do not share (as in SORT, Bewley et al. 2016) and what the keypoints are apart, as 1 - OKS with the classes' own sigmas,
    widened by what may have happened since. An object without keypoints has its boxes counted in their place.

    Args:
        motions: of the tracked objects, at the time of the detections.
        class_ids: of the tracked objects; classes are never mixed.
        most: what a pair may cost.
        where_seen: expects objects where they were found last, not where they should have gone (OC-SORT, Cao et al. 2023).
    """
    if not motions or not detections:
        return []
    measured = [measure(detection) for detection in detections]
    centers, sides = (np.array([one[i] for one in measured]) for i in (0, 1))
    expected = np.array([motion.last_center if where_seen else motion.center for motion in motions])
    own_sides = np.array([motion.sides for motion in motions])
    scale = np.sqrt(np.sqrt(own_sides.prod(1))[:, None] * np.sqrt(sides.prod(1)))  # of a pair's box, in pixels
    variances = np.array([motion.variances[0] for motion in motions])
    reach = np.minimum(REACH + DOUBT * np.sqrt(variances), FARTHEST)[:, None]
    distances = np.linalg.norm(expected[:, None] - centers, axis=-1) / scale
    overlaps = box_ious(_to_boxes(expected, own_sides), _to_boxes(centers, sides))
    sizes = np.abs(np.log(sides.prod(1) / own_sides.prod(1)[:, None])) / 2
    costs = DISTANCE * distances / reach + SIZE * sizes + OVERLAP * (1 - overlaps)
    same = np.array(class_ids)[:, None] == [detection.class_id for detection in detections]
    allowed = same & (distances <= reach)
    for row, column in zip(*np.nonzero(allowed), strict=True):
        sigmas = np.array(schema.classes[class_ids[row]].oks_sigmas)
        alike = overlaps[row, column]
        if len(sigmas):
            apart = (expected[row] + motions[row].points - centers[column] - measured[column][2]) / scale[row, column]
            spread = (2 * sigmas) ** 2 + variances[row] + (TURNING * motions[row].unseen) ** 2
            alike = np.exp(-(apart**2).sum(1) / (2 * spread)).mean()
        costs[row, column] += POINTS * (1 - alike)
    costs = np.where(allowed & (costs <= most), costs, NEVER)
    pairs = zip(*linear_sum_assignment(costs), strict=True)
    return [(int(row), int(column)) for row, column in pairs if costs[row, column] < NEVER]


def _to_boxes(centers: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Corners xyxy (N, 4) of tracked objects' boxes from their centers and sides."""
    return np.concatenate([centers - sides / 2, centers + sides / 2], axis=1)
