import numpy as np
import pytest

from centerkp.demo.figures import HOLE, TONES
from centerkp.demo.kinds import KINDS, make_schema


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_figures_are_one_long_and_their_points_lie_on_them(kind):
    counts = set()
    for seed in range(12):
        figure = kind.sketch(np.random.default_rng(seed))
        outlines = np.concatenate([outline for outline, _ in figure.parts])
        low, high = outlines.min(0), outlines.max(0)
        assert (high - low).max() == pytest.approx(1) and low + high == pytest.approx((0, 0))
        assert np.isfinite(outlines).all() and {tone for _, tone in figure.parts} <= {HOLE, *range(TONES)}
        assert (figure.points > low - 0.05).all() and (figure.points < high + 0.05).all()
        counts.add(len(figure.points))
    assert len(counts) == 1 and 2 <= counts.pop() <= 12


def test_schema_has_the_points_of_every_kind():
    schema = make_schema()
    assert schema.class_names == tuple(kind.name for kind in KINDS)
    assert schema.num_keypoints == sum(len(kind.sketch(np.random.default_rng(1)).points) for kind in KINDS)


def test_left_is_left_of_an_animal_that_walks_away():
    figure = KINDS[0].sketch(np.random.default_rng(0))
    nose, left, right, tail_base, _ = figure.points
    ahead = nose - tail_base
    on_right = [ahead[0] * (ear - tail_base)[1] - ahead[1] * (ear - tail_base)[0] > 0 for ear in (left, right)]
    assert on_right == [False, True]
