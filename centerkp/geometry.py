"""One affine per image: 2x3 float64 matrices that map (x, y) of one image to (x, y) of another; and what boxes have in common.

Coordinates count pixels from the top left corner without a half-pixel shift: pixel i samples position i, a plain scale
by s maps x to s*x, and a mirror image of width W maps x to W-1-x. The same matrix moves pixels (cv2.warpAffine) and points.
"""

import math
from collections.abc import Sequence

import numpy as np

IDENTITY = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])

POINT_MARGIN = 0.1  # of the longer side of the labelled keypoints: how far a box that is made around them reaches beyond

# A canvas suits a dataset when of so many images so much of the size is left that they have in a square one.
# A side that is hardly shorter is not worth a shape of its own.
SUITED, KEPT, LEAST_SHARE, WORTHWHILE = 0.98, 0.95, 0.5, 0.9


def letterbox(width: int, height: int, size: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int]]:
    """The affine that fits an image into `size` (width, height), keeping its aspect; padding goes right and bottom.

    As the reference does it: scale = min(S/w, S/h), new sides rounded, and each axis scaled by new/old.

    Returns:
        The 2x3 matrix, and the (width, height) of the resized image inside the canvas.
    """
    scale = min(size[0] / width, size[1] / height)
    new_width = min(max(int(round(scale * width)), 1), size[0])
    new_height = min(max(int(round(scale * height)), 1), size[1])
    return scaling(new_width / width, new_height / height), (new_width, new_height)


def fit_canvas(
    sizes: Sequence[tuple[int, int]] | np.ndarray, side: int, multiple: int, rotation: float = 0.0
) -> tuple[int, int]:
    """Geometry of a canvas of this longer side that suits images (N, 2) of these (width, height), as (width, height).

    The shorter side is the least multiple of `multiple` in which nearly all images are nearly as large as they would be in a
    square, and half of the longer side at least: of narrower strips random turns would leave too little. Turns of up to
    `rotation` degrees want more, those that put a wide picture upright a square. Where no side is worth it, it is the square.
    """
    least = max(math.sin(math.radians(min(abs(rotation), 90))), LEAST_SHARE)
    widths, heights = np.asarray(sizes, float).T
    for is_wide, shares in ((True, heights / widths), (False, widths / heights)):
        share = max(KEPT * np.sort(shares)[math.ceil(SUITED * len(shares)) - 1], least)
        shorter = math.ceil(side * share / multiple) * multiple
        if shorter <= WORTHWHILE * side:
            return (side, shorter) if is_wide else (shorter, side)
    return side, side


def scaling(sx: float, sy: float) -> np.ndarray:
    """The 2x3 affine that maps x, y to sx * x, sy * y."""
    return np.array([[sx, 0.0, 0.0], [0.0, sy, 0.0]])


def translation(dx: float, dy: float) -> np.ndarray:
    """The 2x3 affine that moves by dx to the right and dy down."""
    return np.array([[1.0, 0.0, dx], [0.0, 1.0, dy]])


def rotation(degrees: float) -> np.ndarray:
    """The 2x3 affine that turns about the origin; positive is clockwise on the screen, because y points down."""
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0]])


def mirror(width: int) -> np.ndarray:
    """The 2x3 affine that exchanges left and right in an image of `width` pixels."""
    return np.array([[-1.0, 0.0, width - 1.0], [0.0, 1.0, 0.0]])


def compose(*affines: np.ndarray) -> np.ndarray:
    """One 2x3 affine that does the given affines in order, the first one first."""
    total = np.eye(3)
    for affine in affines:
        total = np.vstack([affine, [0.0, 0.0, 1.0]]) @ total
    return total[:2]


def invert(affine: np.ndarray) -> np.ndarray:
    """The affine that undoes the given one; raises `numpy.linalg.LinAlgError` when it squashes the image flat."""
    return np.linalg.inv(np.vstack([affine, [0.0, 0.0, 1.0]]))[:2]


def apply_to_points(affine: np.ndarray, points_xy: np.ndarray) -> np.ndarray:
    """Moves points (..., 2) by a 2x3 affine; returns float64 of the same shape."""
    return np.asarray(points_xy, np.float64) @ affine[:, :2].T + affine[:, 2]


def apply_to_boxes(affine: np.ndarray, boxes_xyxy: np.ndarray) -> np.ndarray:
    """Moves boxes (N, 4) by an affine; returns the upright boxes around their moved corners, (N, 4) float64."""
    boxes = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
    corners = boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]]  # (N, 4 corners, 2)
    moved = apply_to_points(affine, corners)
    return np.concatenate([moved.min(1), moved.max(1)], axis=1)


def clip_boxes(boxes_xyxy: np.ndarray, width: float, height: float) -> np.ndarray:
    """Geometry of boxes (N, 4): cut off at the borders of a `width` x `height` image."""
    return np.clip(boxes_xyxy, 0, [width, height, width, height])


def box_areas(boxes_xyxy: np.ndarray) -> np.ndarray:
    """Geometry of boxes (N, 4): their areas (N,); a box turned inside out has area 0."""
    sides = np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0)
    return sides[:, 0] * sides[:, 1]


def box_ious(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Geometry of boxes: (N, D) intersection over union of boxes (N, 4) with others (D, 4)."""
    shared = shared_areas(boxes, others)
    union = box_areas(boxes.astype(np.float64))[:, None] + box_areas(others.astype(np.float64)) - shared
    return shared / np.maximum(union, np.finfo(np.float64).tiny)


def shared_areas(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Geometry of boxes: (N, D) areas that boxes (N, 4) share with others (D, 4)."""
    boxes, others = boxes.astype(np.float64), others.astype(np.float64)
    top_left = np.maximum(boxes[:, None, :2], others[None, :, :2])
    bottom_right = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return np.maximum(bottom_right - top_left, 0).prod(-1)


def span_points(points: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """Geometry: (N, 4) boxes around the `labelled` (N, K) of points (N, K, 2); turned inside out where none are."""
    low = np.where(labelled[..., None], points, np.inf).min(1, initial=np.inf)
    high = np.where(labelled[..., None], points, -np.inf).max(1, initial=-np.inf)
    return np.concatenate([low, high], 1)
