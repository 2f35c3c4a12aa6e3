import numpy as np
import pytest

from centerkp.symmetry.evidence import weigh_excess, weigh_orders
from centerkp.symmetry.shapes import list_orders, make_shapes


@pytest.mark.parametrize("count", [2, 5, 12])
def test_chance_is_exact(count):
    """All alike: of all ways to mirror some, only none and all look as clear."""
    excess = np.ones((count, count)) - np.eye(count)
    assert weigh_excess(excess).chance == weigh_orders(np.ones((count, 3))).chance == 2.0 ** (1 - count)
    assert weigh_excess(excess).minority == weigh_orders(np.ones((count, 3))).minority == 0


def test_minority():
    sides = np.where(np.arange(40) % 4 == 0, -1.0, 1.0)
    evidence = weigh_excess(np.outer(sides, sides) - np.eye(40))
    assert evidence.minority == weigh_orders(sides[:, None]).minority == 0.25
    assert evidence.chance < 0.01  # more of the one kind than of the other, but both occur


def test_unlabelled_points_say_nothing():
    orders = np.zeros((30, 2))
    orders[:, 0], orders[:5, 1] = np.where(np.arange(30) % 2, -1, 1), 1
    assert weigh_orders(orders).chance > 0.05  # what five objects agree on, of 30


@pytest.mark.parametrize("test", ["excess", "orders"])
def test_false_alarms_are_as_rare_as_they_say(test):
    rng = np.random.default_rng(0)
    chances = []
    for _ in range(200):
        if test == "orders":
            chances.append(weigh_orders(rng.choice([-1.0, 1.0], (11, 6))).chance)
        else:
            noise = np.triu(rng.normal(size=(11, 11)), 1)
            chances.append(weigh_excess(noise + noise.T).chance)
    assert np.mean(np.array(chances) <= 0.1) <= 0.15


def test_orders_of_two_and_of_three_points():
    points = np.array([[[0, 0], [4, 1], [1, 5]], [[0, 0], [-4, 1], [1, 5.0]]])
    assert list_orders(make_shapes(points, np.ones((2, 3), bool), turned=False)).tolist() == [[1, 1, -1], [-1, 1, 1]]
    turned = list_orders(make_shapes(points, np.ones((2, 3), bool), turned=True))
    assert turned[0] == -turned[1] != 0
    labelled = np.array([[1, 1, 0], [1, 1, 1]], bool)
    assert list_orders(make_shapes(points, labelled, turned=True))[0] == 0
    many = np.random.default_rng(0).normal(size=(3, 60, 2))
    assert list_orders(make_shapes(many, np.ones((3, 60), bool), turned=True)).shape == (3, 1000)
