"""Shapes that were turned: their box is the upright one around what is seen, whichever tool says so."""

from math import hypot, pi

import numpy as np
import pytest
from tool_files import CVAT, studio_region, write_cvat, write_label_studio, write_via

from centerkp.labels.coco import read_coco


def cvat(folder, element):
    body = CVAT[: CVAT.index("<box")] + element + "</image></annotations>"
    return write_cvat(folder, body)


def cvat_box(folder, degrees):
    return cvat(folder, f'<box label="a" xtl="16" ytl="13" xbr="24" ybr="17" rotation="{degrees}"></box>')


def cvat_ellipse(folder, degrees):
    return cvat(folder, f'<ellipse label="a" cx="20" cy="15" rx="4" ry="2" rotation="{degrees}"></ellipse>')


def studio_ellipse(folder, degrees):
    value = {"x": 50, "y": 50, "radiusX": 10, "radiusY": 20 / 3, "rotation": degrees, "ellipselabels": ["a"]}
    return write_label_studio(folder, [studio_region("e", "ellipselabels", value)])


def via_ellipse(folder, degrees):
    ellipse = {"name": "ellipse", "cx": 20, "cy": 15, "rx": 4, "ry": 2, "theta": degrees * pi / 180}
    return write_via(folder, [(ellipse, {"class": "a"})])


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 180, -60, 300])
@pytest.mark.parametrize("write", [cvat_box, cvat_ellipse, studio_ellipse, via_ellipse])
def test_the_box_is_the_extent_of_the_turned_shape(tmp_path, write, degrees):
    """Half sides 4 and 2 about (20, 15)."""
    dataset = read_coco(write(tmp_path, degrees))
    c, s = abs(np.cos(np.radians(degrees))), abs(np.sin(np.radians(degrees)))
    if write is cvat_box:
        across, down = 4 * c + 2 * s, 4 * s + 2 * c
        note = "1 object: a turned rectangle, the upright one around it taken"
    else:
        across, down = hypot(4 * c, 2 * s), hypot(4 * s, 2 * c)
        note = "1 object: a turned ellipse, the upright box around it taken"
    box = [20 - across, 15 - down, 20 + across, 15 + down]
    np.testing.assert_allclose(dataset.records[0].boxes_xyxy, [box], atol=1e-4)
    assert (note in dataset.notes) is (degrees != 0)


def test_the_box_of_a_skeleton_is_turned_too(tmp_path):
    text = CVAT.replace('ybr="26.00"', 'ybr="16.00" rotation="90"')
    np.testing.assert_allclose(read_coco(write_cvat(tmp_path, text)).records[0].boxes_xyxy[0], [9, 1, 19, 21], atol=1e-4)
