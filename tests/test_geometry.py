import numpy as np
import pytest

from centerkp import geometry


@pytest.mark.parametrize("size, expected", [((640, 480), (128, 96)), ((240, 135), (128, 72)), ((135, 240), (72, 128)),
                                            ((1, 4000), (1, 128)), ((128, 128), (128, 128))])  # fmt: skip
def test_letterbox_sizes(size, expected):
    affine, resized = geometry.letterbox(*size, (128, 128))
    assert resized == expected
    np.testing.assert_allclose(affine, [[expected[0] / size[0], 0, 0], [0, expected[1] / size[1], 0]])


def test_compose_in_order_and_invert():
    moved = geometry.compose(geometry.scaling(2, 3), geometry.translation(10, 20), geometry.rotation(90))
    np.testing.assert_allclose(geometry.apply_to_points(moved, [[1, 1]]), [[-23, 12]], atol=1e-12)
    np.testing.assert_allclose(geometry.compose(moved, geometry.invert(moved)), geometry.IDENTITY, atol=1e-12)
    with pytest.raises(np.linalg.LinAlgError):
        geometry.invert(geometry.scaling(0, 1))


def test_mirror_maps_first_to_last_pixel():
    np.testing.assert_allclose(geometry.apply_to_points(geometry.mirror(10), [[0, 3], [9, 3]]), [[9, 3], [0, 3]])


def test_boxes():
    boxes = geometry.apply_to_boxes(geometry.rotation(90), [[0, 0, 4, 2]])
    np.testing.assert_allclose(boxes, [[-2, 0, 0, 4]], atol=1e-12)
    np.testing.assert_allclose(geometry.box_areas(np.array([[0, 0, 4, 2], [4, 2, 0, 0.0]])), [8, 0])
    np.testing.assert_allclose(geometry.clip_boxes(np.array([[-5, 1, 30, 9.0]]), 20, 5), [[0, 1, 20, 5]])
    assert geometry.apply_to_boxes(geometry.IDENTITY, np.zeros((0, 4))).shape == (0, 4)
