"""Labelled objects as shapes: how alike two of them are whatever their place and size, and what a mirror makes of them."""

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, islice

import numpy as np

FAR = 1e9  # pixels, beyond which a slip of the keyboard is no place
MOST_ORDERS = 1000


@dataclass(frozen=True, eq=False)
class Shapes:
    """N objects of one class: `points` (N, k) complex, x + iy around the object's middle; `labelled` (N, k) 0.0 or 1.0.

    A point that is not labelled is 0. `turned` says that shapes are also compared whatever way they are turned.
    """

    points: np.ndarray
    labelled: np.ndarray
    turned: bool

    @property
    def least_points(self) -> int:
        """How many points two shapes must have in common to be compared: any two points are alike if they may be turned."""
        return 3 if self.turned else 2

    @cached_property
    def distances(self) -> np.ndarray:
        """(N, N) how unlike the shapes are, see `measure_distances`."""
        return measure_distances(self, self)

    def mirrored(self, order: np.ndarray) -> "Shapes":
        """The shapes in a mirror, where point k takes the place of `order[k]`."""
        return Shapes(-self.points.conj()[:, order], self.labelled[:, order], self.turned)


def make_shapes(points_xy: np.ndarray, labelled: np.ndarray, turned: bool) -> Shapes:
    """Shapes of objects from their keypoints (N, k, 2) and which of them are labelled (N, k) bool."""
    weights = labelled.astype(np.float64)
    points_xy = np.clip(points_xy, -FAR, FAR)
    points = np.where(labelled, points_xy[..., 0] + 1j * points_xy[..., 1], 0)
    count = np.maximum(weights.sum(1, keepdims=True), 1)
    points = (points - points.sum(1, keepdims=True) / count) * weights
    size = np.sqrt((np.abs(points) ** 2).sum(1, keepdims=True) / count)
    return Shapes(points / np.where(size > 0, size, 1), weights, turned)


def correlate(first: Shapes, second: Shapes) -> np.ndarray:
    """(N, M) complex: how well each of the first shapes fits each of the second over the points that both have.

    1 is the same shape, its phase the turn that takes the first to the second, 0 no likeness, or too few points in common.
    """
    a, wa, b, wb = first.points, first.labelled, second.points, second.labelled
    common = wa @ wb.T
    count = np.maximum(common, 1)
    sum_a, sum_b = a @ wb.T, wa @ b.T
    inner = a.conj() @ b.T - sum_a.conj() * sum_b / count
    square_a = (np.abs(a) ** 2) @ wb.T - np.abs(sum_a) ** 2 / count
    square_b = wa @ (np.abs(b) ** 2).T - np.abs(sum_b) ** 2 / count
    usable = (common >= first.least_points) & (np.minimum(square_a, square_b) > 1e-6)
    return np.where(usable, inner / np.sqrt(np.where(usable, square_a * square_b, 1)), 0)


def measure_distances(first: Shapes, second: Shapes) -> np.ndarray:
    """(N, M) how unlike shapes are, 0 to 2, when the one is moved and scaled, and turned where allowed, onto the other."""
    fit = correlate(first, second)
    return np.sqrt(np.maximum(2 - 2 * (np.abs(fit) if first.turned else fit.real), 0))


def list_orders(shapes: Shapes) -> np.ndarray:
    """(N, T) which of two points lies further right, or, where shapes may be turned, which way round three points lie.

    1 and -1, which a mirror exchanges; 0 where one of the points is not labelled. Of very many some are drawn.
    """
    size, k = shapes.least_points, shapes.points.shape[1]
    places = np.array(list(islice(combinations(range(k), size), MOST_ORDERS + 1)))
    if len(places) > MOST_ORDERS:
        places = np.argsort(np.random.default_rng(0).random((MOST_ORDERS, k)), axis=1)[:, :size]
    sides = shapes.points[:, places[:, 1:]] - shapes.points[:, places[:, :1]]
    sense = (sides[..., 0].conj() * sides[..., 1]).imag if shapes.turned else sides[..., 0].real
    return np.sign(sense) * shapes.labelled[:, places].all(-1)


def excess(shapes: Shapes, order: np.ndarray) -> np.ndarray:
    """(N, N) by how much more each shape differs from the mirror image of another than from that shape itself.

    Symmetric, 0 on the diagonal. Its mean is the energy distance of the shapes and
    their mirror images: 0 where every mirror image could be one of the shapes.
    """
    difference = measure_distances(shapes.mirrored(order), shapes) - shapes.distances
    np.fill_diagonal(difference, 0)
    return (difference + difference.T) / 2
