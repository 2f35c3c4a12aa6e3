"""The spread of a heat map's peak, against maps whose spread is known."""

import numpy as np
import pytest
from keras import ops

from centerkp.codec.decode import DecodeOptions, decode
from centerkp.codec.targets import gaussian_sigma

SIZE = 48
OWN = float(gaussian_sigma(np.float32(24), np.float32(24)))  # of a box of 24 x 24 cells


def make_maps(spread_x, spread_y=None, *, rest=0.0, peak=0.9, at=(24, 24), box=24):
    """One object in the middle whose vector and peak agree; the keypoint's map is a Gaussian of so many cells."""
    y, x = np.mgrid[:SIZE, :SIZE]
    shape = np.exp(-((x - at[0]) ** 2) / (2 * spread_x**2) - (y - at[1]) ** 2 / (2 * (spread_y or spread_x) ** 2))
    scores = np.clip(np.maximum(peak * shape, rest), 1e-7, 1)
    maps = {head: np.zeros((1, SIZE, SIZE, 2), "float32") for head in ("center_offset", "box_size", "keypoint_offset")}
    maps["center_heatmap"] = np.full((1, SIZE, SIZE, 1), -9, "float32")
    maps["center_heatmap"][0, 24, 24] = 5
    maps["box_size"][0, 24, 24] = box
    maps["keypoint_heatmap"] = np.log(scores / (1 - scores)).astype("float32")[None, ..., None]
    maps["keypoint_regression"] = np.zeros((1, SIZE, SIZE, 2), "float32")
    maps["keypoint_regression"][0, 24, 24] = np.subtract(at, 24)
    return maps


def measure(maps, std=0.5):
    found = decode(maps, np.ones((1, 1), bool), DecodeOptions(max_objects=2), keypoint_std=np.array([std]))
    return float(ops.convert_to_numpy(found["keypoint_deviations"])[0, 0, 0])


@pytest.mark.parametrize("extra", [0.5, 1.0, 1.5, 2.0])
def test_what_is_wider_than_a_certain_point_comes_back(extra):
    """A point known to `extra` cells, smeared over its own Gaussian: the variances add. In pixels, 4 to a cell."""
    own = 0.5 * OWN
    assert measure(make_maps(np.hypot(own, extra))) == pytest.approx(4 * extra, rel=0.03)
    uneven = make_maps(np.hypot(own, 1.4 * extra), np.hypot(own, np.sqrt(2 - 1.96) * extra))  # the mean of x and y
    assert measure(uneven) == pytest.approx(4 * extra, rel=0.12)


def test_a_certain_point_has_none():
    """Exactly the Gaussian that training draws, in a small and in a large object; and one that is sharper."""
    assert OWN == pytest.approx(13 / 6)
    for box, std in ((10, 0.5), (24, 0.25), (24, 0.5), (40, 1.0)):
        own = std * float(gaussian_sigma(np.float32(box), np.float32(box)))
        assert measure(make_maps(own, box=box), std) < 0.1
        assert measure(make_maps(0.5 * own, box=box), std) == 0


def test_height_and_a_faint_rest_matter_little():
    plain = measure(make_maps(1.5))
    assert measure(make_maps(1.5, peak=0.45)) == pytest.approx(plain, rel=1e-3)
    assert measure(make_maps(1.5, rest=0.01)) == pytest.approx(plain, rel=0.04)


def test_at_the_border_and_in_every_image():
    """A peak in the corner: cells beyond the map count nothing. Rows of a batch do not mix."""
    y, x = np.mgrid[:7, :7]  # a quarter of the window
    squared = np.exp(-(x**2 + y**2) / 1.2**2)
    expected = 4 * np.sqrt((squared * (x**2 + y**2)).sum() / squared.sum())
    assert measure(make_maps(1.2, at=(0, 0), box=80), std=0.01) == pytest.approx(expected, rel=1e-3)
    batch = {head: np.concatenate([values, make_maps(2.0)[head]]) for head, values in make_maps(1.0).items()}
    found = decode(batch, np.ones((1, 1), bool), DecodeOptions(max_objects=2), keypoint_std=np.array([0.5]))
    together = ops.convert_to_numpy(found["keypoint_deviations"])[:, 0, 0]
    np.testing.assert_allclose(together, [measure(make_maps(1.0)), measure(make_maps(2.0))], rtol=1e-5)


def test_several_keypoints_and_classes():
    """Each keypoint its own channel and width; those of other classes are 0, like their coordinates."""
    first, second = make_maps(1.0), make_maps(2.0)
    maps = first | {"center_heatmap": np.repeat(first["center_heatmap"], 2, -1)}
    maps["center_heatmap"][..., 1] = -9
    for head in ("keypoint_heatmap", "keypoint_regression", "keypoint_offset"):
        maps[head] = np.concatenate([first[head], second[head], first[head]], axis=-1)
    mask = np.array([[True, True, False], [False, False, True]])
    found = decode(maps, mask, DecodeOptions(max_objects=2), keypoint_std=np.array([0.5, 0.7, 0.5]))
    deviations = ops.convert_to_numpy(found["keypoint_deviations"])[0, 0]
    np.testing.assert_allclose(deviations, [measure(first), measure(second, 0.7), 0], rtol=1e-5)


def test_a_point_without_a_peak_has_the_radius_of_the_search():
    maps = make_maps(1.0, peak=0.05)
    assert measure(maps) == pytest.approx(4 * 0.3 * 1.2 * 24)


def test_only_where_asked_for():
    assert "keypoint_deviations" not in decode(make_maps(1.0), np.ones((1, 1), bool))
