"""Boxes as corners, repeated, relative; each with data where the doctor must stay silent."""

import json

import numpy as np
import pytest
from doctor import check, found

from centerkp.doctor.check import check_dataset, write_mended

WIDTH, HEIGHT = 640, 480


def dataset(boxes, areas=None):
    """One bolt an image; `boxes` as they stand in the file."""
    images = [{"id": i + 1, "file_name": f"{i + 1}.png", "width": WIDTH, "height": HEIGHT} for i in range(len(boxes))]
    annotations = [
        {"id": i + 1, "image_id": i + 1, "category_id": 1, "iscrowd": 0, "bbox": list(b)} for i, b in enumerate(boxes)
    ]
    for n, entry in enumerate(annotations):
        entry["area"] = 100.0 if areas is None else float(areas[n])
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "bolt"}]}


def random_boxes(count=60, seed=0):
    """(count, 4) corners inside the image."""
    rng = np.random.default_rng(seed)
    sizes = rng.uniform(20, 200, (count, 2))
    start = rng.uniform(0, 1, (count, 2)) * ([WIDTH, HEIGHT] - sizes)
    return np.concatenate([start, start + sizes], 1).round(1)


def to_xywh(corners):
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1).round(1)


class TestCorners:
    def test_recognised_by_statistics_and_turned(self, tmp_path):
        corners = random_boxes()
        checkup = check(tmp_path, dataset(corners.tolist()))
        (finding,) = found(checkup, "x0, y0, x1, y1")
        assert (finding.level, finding.count) == ("mendable", 60)
        assert not found(checkup, "reaches")  # read as it is meant, nothing reaches over the border
        write_mended(checkup, tmp_path / "mended.json")
        boxes = [entry["bbox"] for entry in json.loads((tmp_path / "mended.json").read_text())["annotations"]]
        np.testing.assert_allclose(boxes, to_xywh(corners), atol=1e-3)
        assert not found(check_dataset(tmp_path / "mended.json", open_images=False), "x0, y0")

    def test_recognised_in_two_boxes_by_their_areas(self, tmp_path):
        corners = np.array([[10, 20, 60, 90], [30, 40, 80, 70.0]])
        assert found(check(tmp_path, dataset(corners.tolist(), areas=[3500, 1500])), "x0, y0, x1, y1")

    @pytest.mark.parametrize("seed", range(4))
    def test_silent_on_width_and_height(self, tmp_path, seed):
        assert not found(check(tmp_path, dataset(to_xywh(random_boxes(seed=seed)).tolist())), "x0, y0")

    def test_silent_on_large_objects_in_the_top_left_corner(self, tmp_path):
        """Every size is larger than the position, as corners would be, but nothing reaches over the border."""
        rng = np.random.default_rng(0)
        boxes = np.concatenate([rng.uniform(0, 40, (50, 2)), rng.uniform(60, 400, (50, 2))], 1)
        assert not found(check(tmp_path, dataset(boxes.tolist())), "x0, y0")

    def test_silent_on_full_frame_boxes_whose_area_says_so(self, tmp_path):
        boxes = np.tile([5.0, 5.0, 630.0, 470.0], (20, 1))
        assert not found(check(tmp_path, dataset(boxes.tolist(), areas=[630 * 470] * 20)), "x0, y0")

    def test_silent_on_boxes_that_merely_reach_over_the_border(self, tmp_path):
        boxes = to_xywh(random_boxes())
        boxes[:5, 2] += 300
        checkup = check(tmp_path, dataset(boxes.tolist()))
        assert not found(checkup, "x0, y0")
        assert found(checkup, "reaches")


class TestRepeated:
    def test_an_object_labelled_twice(self, tmp_path):
        content = dataset(to_xywh(random_boxes(10)).tolist())
        content["annotations"].append(dict(content["annotations"][4], id=77))
        (finding,) = found(check(tmp_path, content), "labelled twice")
        assert (finding.count, finding.rows) == (1, (10,))
        assert finding.places[0].startswith("annotation 77 (image 5, 5.png): bbox")

    def test_silent_on_the_same_box_in_two_images_or_classes(self, tmp_path):
        content = dataset([[10, 10, 50, 50]] * 2)
        content["categories"].append({"id": 2, "name": "nut"})
        content["annotations"].append(dict(content["annotations"][0], id=77, category_id=2))
        assert not found(check(tmp_path, content), "labelled twice")


def test_shares_of_the_image_are_no_pixels(tmp_path):
    boxes = (to_xywh(random_boxes()) / [WIDTH, HEIGHT, WIDTH, HEIGHT]).tolist()
    (finding,) = found(check(tmp_path, dataset(boxes)), "x, y, width, height in shares of the image")
    assert finding.level == "mendable" and finding.is_misread
    assert not found(check(tmp_path, dataset([[0, 0, 1, 1], *to_xywh(random_boxes(5)).tolist()])), "shares")


def test_boxes_that_cannot_be_rebuilt_say_why(tmp_path):
    boxes = [*to_xywh(random_boxes(5)).tolist(), [10, 10, 0, 5], [10, 10, -4, 5], [700, 10, 5, 5], [-900, 0, 1000, 50]]
    checkup = check(tmp_path, dataset(boxes))
    counts = {f.title.split(",")[0]: f.count for f in checkup.findings if f.title.startswith("box")}
    assert counts == {"box of zero or negative size": 2, "box outside the image": 1, "box reaches far over the image border": 1}
