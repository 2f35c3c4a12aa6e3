"""Finds the pairing of keypoints that explains the mirror images of shapes best: who takes whose place, who stays."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from centerkp.symmetry.shapes import Shapes, correlate, excess, measure_distances

TEMPLATES = 4  # objects whose own mirror images propose pairings
DIRECTIONS = 32  # of the axis they are mirrored about, where shapes may be turned
RIVALS = 12  # at least so many other pairings must be worse
CLEAR = 4.0  # standard errors that they must be worse by


@dataclass(frozen=True, eq=False)
class Pairing:
    """Who takes whose place in a mirror: `order` (k,) is its own inverse.

    `excess` (N, N) is that of the shapes mirrored so; `unsure` are the points that another pairing places as well.
    """

    order: np.ndarray
    excess: np.ndarray
    unsure: tuple[int, ...]

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """The points of the pairing that change places, the smaller number first."""
        return tuple((a, int(b)) for a, b in enumerate(self.order) if a < b)


def find_pairing(shapes: Shapes, known: Iterable[np.ndarray]) -> Pairing:
    """The pairing of keypoints whose mirror images are most like the shapes.

    Args:
        known: pairings (k,) to try besides those that the shapes propose.
    """
    tried: dict[tuple, np.ndarray] = {}
    _try_pairings(shapes, (*known, *_propose(shapes)), tried)
    best = None
    while best != (better := min(tried, key=lambda key: tried[key].mean())):  # of which there are finitely many
        best = better
        _try_pairings(shapes, _list_rivals(shapes, np.array(best)), tried)
    number = max(RIVALS, len(best) // 4)
    others = sorted((key for key in tried if key != best), key=lambda key: tried[key].mean())[:number]
    rivals = [np.array(key) for key in others if not _is_better(tried[best], tried[key])]
    unsure = np.flatnonzero(np.any([rival != best for rival in rivals], axis=0)) if rivals else []
    return Pairing(np.array(best), tried[best], tuple(map(int, unsure)))


def _try_pairings(shapes: Shapes, orders: Iterable[np.ndarray], tried: dict[tuple, np.ndarray]) -> None:
    """Adds the excess of pairings that were not tried before."""
    for order in orders:
        key = tuple(order.tolist())
        if key not in tried:
            tried[key] = excess(shapes, order)


def _is_better(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether a pairing's excess is smaller than another's, and not by accident."""
    gain = (other - one).mean(1)
    return bool(gain.mean() > 0 and gain.mean() >= CLEAR * gain.std() / np.sqrt(len(gain)))


def _propose(shapes: Shapes) -> Iterable[np.ndarray]:
    """Pairings that map typical shapes best onto their own mirror images, about any axis where shapes may be turned."""
    count, k = shapes.points.shape
    number = max(1, min(TEMPLATES, 400 // k))
    fit = correlate(shapes, shapes)
    turns = np.exp(2j * np.pi * np.arange(DIRECTIONS) / DIRECTIONS) if shapes.turned else np.ones(1)
    by_points = np.argsort(-shapes.labelled.sum(1), kind="stable")[: max(count // 2, 1)]
    for row in by_points[:: max(len(by_points) // number, 1)][:number]:
        near = np.argsort(shapes.distances[row])[: max(count // 3, 3)]
        aligned = shapes.points[near] * (_unit(fit[near, row]) if shapes.turned else np.ones(len(near)))[:, None]
        weights = shapes.labelled[near].sum(0)
        mean = aligned.sum(0) / np.maximum(weights, 1)
        mean = np.where(weights > 0, mean - mean[weights > 0].mean(), np.nan) if (weights > 0).any() else mean
        for turn in turns:
            yield match_points(np.abs(-mean.conj()[:, None] * turn - mean) ** 2)


def match_points(costs: np.ndarray) -> np.ndarray:
    """The pairing (k,) of least cost: `costs[a, b]` (k, k) is that of a in the place of b; points without costs stay.

    The cheapest assignment is solved exactly; where it goes round three or more points, these are paired with the next ones
    in the round, in the cheapest of the ways to do so.
    """
    costs = (costs + costs.T) / 2
    known = np.isfinite(costs.diagonal())
    order = np.arange(len(costs))
    inner = np.flatnonzero(known)
    assigned = inner[linear_sum_assignment(costs[np.ix_(inner, inner)])[1]]
    following = dict(zip(inner.tolist(), assigned.tolist(), strict=True))
    while following:
        start, after = following.popitem()
        cycle = [start]
        while after != start:
            cycle.append(after)
            after = following.pop(after)
        for a, b in min(_pair_cycle(cycle), key=lambda pairs: sum(costs[a, b] * (1 + (a != b)) for a, b in pairs)):
            order[a], order[b] = b, a
    return order


def _pair_cycle(cycle: list[int]) -> Iterable[list[tuple[int, int]]]:
    """The ways to pair neighbours in a round of points; of an odd number one stays alone, as a pair with itself."""
    for shift in range(len(cycle) if len(cycle) % 2 else min(len(cycle), 2)):
        moved = cycle[shift:] + cycle[:shift]
        alone = [(moved[-1], moved[-1])] if len(cycle) % 2 else []
        yield [*zip(moved[0 : len(cycle) - 1 : 2], moved[1::2], strict=True), *alone]


def _unit(values: np.ndarray) -> np.ndarray:
    """Complex numbers scaled to the length 1, as turns of shapes."""
    return values / np.where(np.abs(values) > 0, np.abs(values), 1)


def _list_rivals(shapes: Shapes, order: np.ndarray) -> list[np.ndarray]:
    """The cheapest pairing, and those next to `order`: one pair split, two points paired, or two pairs crossed."""
    costs = _place_costs(shapes, order)
    k, stays = len(order), order == np.arange(len(order))
    both, own = costs + costs.T, costs.diagonal()
    now = np.where(stays, own, both[np.arange(k), order])
    left = np.where(stays, 0, own[order])  # of partners left alone
    a, b = np.triu_indices(k, 1)
    crossed = ~stays[a] & ~stays[b]
    leftover = np.where(crossed, both[order[a], order[b]], left[a] + left[b])
    change = np.where(order[a] == b, own[a] + own[b] - now[a], both[a, b] + leftover - now[a] - now[b])
    rivals = [match_points(costs)]
    for n in np.argsort(change, kind="stable")[: max(RIVALS, k // 4)]:
        rival, (i, j) = order.copy(), (a[n], b[n])
        partners = order[i], order[j]
        if partners[0] == j:
            rival[[i, j]] = i, j
        else:
            rival[[*partners]] = partners if not crossed[n] else partners[::-1]
            rival[[i, j]] = j, i
        rivals.append(rival)
    return rivals


def _place_costs(shapes: Shapes, order: np.ndarray) -> np.ndarray:
    """(k, k) mean squared distance from a mirrored point to any point of the shapes nearest to its mirrored shape.

    Shapes are mirrored by `order`, laid onto the nearest third by all their points, and measured without `order`.
    """
    images = shapes.mirrored(order)
    distances = measure_distances(images, shapes)
    near = np.argsort(distances, axis=1)[:, : max(len(distances) // 3, 3)]
    rows, others = np.repeat(np.arange(len(near)), near.shape[1]), near.ravel()
    turn = _unit(correlate(images, shapes)[rows, others])[:, None] if shapes.turned else 1.0
    laid, target = images.points[rows] * turn, shapes.points[others]
    common = images.labelled[rows] * shapes.labelled[others]
    total = np.maximum(common.sum(1, keepdims=True), 1)
    laid = laid - (laid * common).sum(1, keepdims=True) / total
    target = target - (target * common).sum(1, keepdims=True) / total
    # The mirrored point at place order[k] is point k.
    laid, seen_a, seen_b = laid[:, order], images.labelled[rows][:, order], shapes.labelled[others]
    laid, target = laid * seen_a, target * seen_b
    squares = (np.abs(laid) ** 2).T @ seen_b + seen_a.T @ np.abs(target) ** 2 - 2 * (laid.conj().T @ target).real
    counts = seen_a.T @ seen_b
    return np.where(counts > 0, squares / np.maximum(counts, 1), 4.0)
