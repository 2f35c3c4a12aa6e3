"""Which objects of several looks at a picture are one: of those that overlap, each goes with its own."""

import numpy as np
import pytest

from centerkp.inference.rivals import group_rivals

BOXES = [[0, 0, 40, 40], [10, 0, 50, 40], [0, 0, 40, 40], [10, 0, 50, 40]]  # two that overlap by 60 %, twice
SOURCES = np.array([0, 0, 1, 1])


def make_objects(rows, scores, points=True):
    boxes = np.float32(BOXES)[rows]
    objects = {"boxes": boxes, "scores": np.float32(scores), "class_ids": np.zeros(len(rows), int)}
    if points:
        objects |= {"keypoints": boxes[:, None, :2], "keypoint_scores": np.ones((len(rows), 1), "float32")}
    return objects


@pytest.mark.parametrize("points", [True, False])
@pytest.mark.parametrize("seen", [2, 3])
def test_a_pass_that_sees_one_of_two(seen, points):
    """It is that of the two to which it is closer, whatever their scores."""
    for scores in ([0.9, 0.8, 0.7], [0.8, 0.9, 0.7]):
        groups = group_rivals(make_objects([0, 1, seen], scores, points), SOURCES[[0, 1, seen]])
        assert sorted(map(sorted, groups)) == ([[0, 2], [1]] if seen == 2 else [[0], [1, 2]])


def test_every_one_has_its_own():
    assert sorted(map(sorted, group_rivals(make_objects([0, 1, 2, 3], [0.9, 0.8, 0.7, 0.6]), SOURCES))) == [[0, 2], [1, 3]]


def test_the_closest_of_each_pass_alone():
    """What else is alike there stays by itself; empty rows are nobody's."""
    groups = group_rivals(make_objects([0, 0, 1, 1], [0.9, 0.8, 0.7, 0.0]), np.array([0, 1, 1, 0]))
    assert sorted(map(sorted, groups)) == [[0, 1], [2]]
