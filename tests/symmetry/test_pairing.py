from itertools import permutations

import numpy as np
import pytest

from centerkp.symmetry.pairing import find_pairing, match_points
from centerkp.symmetry.shapes import make_shapes


def cost(costs, order):
    return costs[np.arange(len(order)), order].sum()


@pytest.mark.parametrize("seed", range(20))
def test_matching_is_the_cheapest_pairing(seed):
    """Compared with all pairings there are; where the assignment goes round, another may be a little cheaper."""
    costs = np.random.default_rng(seed).uniform(size=(6, 6))
    costs += costs.T
    order = match_points(costs)
    assert (order[order] == np.arange(6)).all()
    pairings = [np.array(p) for p in permutations(range(6)) if all(p[i] == k for k, i in enumerate(p))]
    costs_of_all = sorted(cost(costs, p) for p in pairings)
    assert len(costs_of_all) == 76 and cost(costs, order) <= costs_of_all[3]


def test_points_without_costs_stay():
    costs = np.array([[1, 0, np.nan], [0, 1, np.nan], [np.nan] * 3])
    assert match_points(costs).tolist() == [1, 0, 2]


def symmetric_objects(rng, pairs, count, limit, hidden=0.0):
    """Objects of points on a line and on both sides of it, shuffled, each turned by up to `limit`, and the true pairing."""
    rows, columns = (v.ravel()[:pairs] for v in np.mgrid[0:40, 1:6])
    left = np.stack([columns, 0.8 * rows], 1) + rng.uniform(-0.2, 0.2, (pairs, 2))
    axis = np.array([(0, -4), (0, -3), (0, 9.0)])
    order = rng.permutation(2 * pairs + 3)
    partner = np.concatenate([np.arange(pairs) + pairs, np.arange(pairs), 2 * pairs + np.arange(3)])
    shape = np.concatenate([left, left * (-1, 1), axis])[order]
    angles = rng.uniform(-limit, limit, count)
    turns = np.stack([np.cos(angles), -np.sin(angles), np.sin(angles), np.cos(angles)], 1).reshape(-1, 2, 2)
    points = (shape + rng.normal(0, 0.06, (count, *shape.shape))) @ turns
    return points, rng.random(points.shape[:2]) >= hidden, np.argsort(order)[partner[order]]


@pytest.mark.parametrize("turned", [False, True], ids=["upright", "turned freely"])
@pytest.mark.parametrize("pairs, count", [(1, 12), (6, 12), (30, 30)])
def test_the_whole_pairing_is_found(pairs, count, turned):
    points, labelled, order = symmetric_objects(
        np.random.default_rng(pairs), pairs, count, np.pi if turned else 0.3, hidden=0.1
    )
    pairing = find_pairing(make_shapes(points, labelled, turned), [np.arange(len(order))])
    assert pairing.order.tolist() == order.tolist() and pairing.unsure == ()


def test_two_axes_leave_the_pairing_unsure():
    """A rectangle that is turned freely may be mirrored about either of its axes."""
    rng = np.random.default_rng(0)
    corners = np.array([(-3, -1), (3, -1), (3, 1), (-3, 1)]) + rng.normal(0, 0.05, (30, 4, 2))
    assert len(find_pairing(make_shapes(corners, np.ones((30, 4), bool), turned=True), []).unsure) == 4
    upright = find_pairing(make_shapes(corners, np.ones((30, 4), bool), turned=False), [])
    assert upright.unsure == () and upright.pairs == ((0, 1), (2, 3))


def test_points_in_one_place_leave_those_unsure():
    points, labelled, order = symmetric_objects(np.random.default_rng(1), 6, 20, 0.2)
    twin = points[:, order != np.arange(15)][:, :1] + np.random.default_rng(2).normal(0, 0.06, (20, 1, 2))
    shapes = make_shapes(np.concatenate([points, twin], 1), np.ones((20, 16), bool), turned=False)
    first = int(np.flatnonzero(order != np.arange(15))[0])
    unsure = set(find_pairing(shapes, []).unsure)
    assert {first, 15} <= unsure and len(unsure) < 5
