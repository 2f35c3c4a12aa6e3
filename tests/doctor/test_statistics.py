"""Small objects, shared cells and the suggested image size; each with data where the doctor must stay silent."""

import cv2
import numpy as np
import pytest
from doctor import check, found

from centerkp.labels.coco import read_coco
from centerkp.settings.canvas import choose_canvas
from centerkp.settings.training import TrainSettings
from centerkp.settings.values import read_canvas

WIDTH, HEIGHT = 1024, 768


def dataset(boxes, keypoints=None, size=(WIDTH, HEIGHT)):
    """All objects on one image, apart from each other's images by nothing but their boxes."""
    images = [{"id": 1, "file_name": "1.png", "width": size[0], "height": size[1]}]
    annotations = []
    for i, box in enumerate(boxes):
        entry = {"id": i + 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": list(map(float, box)), "area": 50.0}
        if keypoints is not None:
            entry |= {"keypoints": keypoints[i], "num_keypoints": len(keypoints[i]) // 3}
        annotations.append(entry)
    names = [f"k{i}" for i in range(len(keypoints[0]) // 3)] if keypoints else []
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "bolt", "keypoints": names}]}


def grid(side, step=128):
    return [(x, y, side, side) for y in range(0, HEIGHT - side, step) for x in range(0, WIDTH - side, step)]


def test_objects_under_two_cells(tmp_path):
    """At 512 a picture of 1024 is halved: 15 pixels become 7.5, under two cells of 4; 17 become 8.5."""
    boxes = grid(100)
    (finding,) = found(check(tmp_path, dataset([*boxes, (903, 603, 15, 15)])), "smaller than 2 cells")
    assert (finding.level, finding.rows, finding.count) == ("advice", (len(boxes),), 1)
    assert finding.places[0].endswith("7.5 x 7.5 pixels at 512")
    assert not found(check(tmp_path, dataset([*boxes, (903, 603, 17, 17)])), "smaller than 2 cells")


def test_an_input_of_another_shape_shows_objects_smaller(tmp_path):
    """1024x768 pictures are 384 wide in 384x512, and as high as they may be in 512x384."""
    content = dataset([*grid(100), (903, 603, 15, 15)])
    # Smaller than 16 pixels in 384 columns, where the larger input has the pictures' shape and is no longer.
    small = found(check(tmp_path, dataset(grid(32)), image_size=(128, 512)), "smaller than 2 cells")[0]
    assert small.places[0].endswith("at 128x512") and small.remedy == "train with --image-size 768x576"
    assert found(check(tmp_path, content, image_size=(384, 512)), "smaller than 2 cells")[0].places[0].endswith("at 384x512")
    upright, wide = (check(tmp_path, content, image_size=size).statistics for size in ((384, 512), (512, 384)))
    assert upright.median_side == pytest.approx(0.75 * wide.median_side)
    assert wide.median_side == pytest.approx(check(tmp_path, content, image_size=512).statistics.median_side)


def test_objects_that_share_a_cell(tmp_path):
    """Cells are 8 pixels of the picture: centers at 50, 50 and 54, 54 lie in cell 6, 6; at 56, 50 in the next."""
    (finding,) = found(check(tmp_path, dataset([(0, 0, 100, 100), (14, 14, 80, 80), (400, 400, 80, 80)])), "share the cell")
    assert (finding.rows, finding.level) == ((0, 1), "advice")
    assert not found(check(tmp_path, dataset([(0, 0, 100, 100), (16, 10, 80, 80)])), "share the cell")


def test_objects_of_two_images_share_nothing(tmp_path):
    content = dataset([(0, 0, 100, 100), (0, 0, 101, 101)])
    content["images"].append(dict(content["images"][0], id=2, file_name="2.png"))
    content["annotations"][1]["image_id"] = 2
    assert not found(check(tmp_path, content), "share the cell")


def test_crowds_are_not_measured(tmp_path):
    content = dataset([(0, 0, 100, 100), (0, 0, 100, 100), (200, 200, 2, 2)])
    for entry in content["annotations"][1:]:
        entry["iscrowd"] = 1
    checkup = check(tmp_path, content)
    assert not found(checkup, "share the cell") and not found(checkup, "smaller than 2 cells")


def test_rare_classes(tmp_path):
    """Bolts are on twenty images; nuts on four are rare, on five no more; a class without any is missing and not rare."""
    content = dataset([(0, 0, 100, 100)] * 20)
    content["images"] = [dict(content["images"][0], id=i + 1, file_name=f"{i}.png") for i in range(20)]
    content["categories"] += [{"id": 2, "name": "nut"}, {"id": 3, "name": "none"}]
    for i, entry in enumerate(content["annotations"]):
        entry["image_id"] = i + 1
    content["annotations"] += [dict(content["annotations"][i], id=100 + i, category_id=2) for i in range(4)]
    (finding,) = found(check(tmp_path, content), "rare")
    assert (finding.level, finding.count, finding.places) == ("advice", 1, ("'nut' on 4 images",))
    assert "'bolt' is on (20)" in finding.title and "up to 1.1 times" in finding.remedy
    content["annotations"].append(dict(content["annotations"][4], id=104, category_id=2))
    assert not found(check(tmp_path / "five", content), "rare")


class TestSuggestedSize:
    def test_small_objects_need_a_larger_one(self, tmp_path):
        """36 pixels of 1024 must become 24: 24 / 36 * 1024 = 683, so 704; the height of 4:3 nearly does with 512."""
        checkup = check(tmp_path, dataset([*grid(36), (5, 700, 14, 14)]))
        assert (checkup.statistics.suggested_size, checkup.statistics.suggested_input) == (704, (704, 512))
        assert found(checkup, "smaller than 2 cells")[0].remedy == "train with --image-size 704x512"

    def test_never_larger_than_the_pictures(self, tmp_path):
        boxes = [(10, 10, 4, 4), (100, 100, 4, 4)]
        statistics = check(tmp_path, dataset(boxes, size=(440, 300))).statistics
        assert (statistics.suggested_size, statistics.suggested_input) == (448, (448, 320))

    def test_large_objects_do_with_a_smaller_one(self, tmp_path):
        checkup = check(tmp_path, dataset(grid(200, 256)))
        assert checkup.statistics.suggested_size == 320
        assert found(checkup, "large at 512x512")[0].level == "note"

    @pytest.mark.parametrize("side", [30, 45, 60, 75, 90])
    def test_it_is_what_training_takes(self, tmp_path, side):
        checkup = check(tmp_path, dataset(grid(side)))
        cv2.imwrite(str(tmp_path / "1.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        records = read_coco(checkup.path).records
        chosen, _ = choose_canvas(TrainSettings(backbone="efficientnet_lite0_fpn", rotation=0), records)
        assert read_canvas(chosen.image_size)[0] == min(checkup.statistics.suggested_size, 640)

    def test_nothing_to_suggest_without_objects(self, tmp_path):
        assert check(tmp_path, dataset([])).statistics.suggested_size is None


def test_the_histogram_counts_sides_at_the_training_size(tmp_path):
    numbers = check(tmp_path, dataset([(0, 0, 30, 30), (200, 0, 60, 60), (400, 0, 70, 70), (600, 0, 200, 50)])).statistics
    assert numbers.histogram.tolist() == [[0, 1, 1, 2, 0, 0, 0, 0]]  # 15, 30, 35 and 50 pixels
    np.testing.assert_allclose(numbers.median_side, [32.5])


def test_small_objects_of_large_pictures_want_tiles(tmp_path):
    """Pictures of 6000 pixels hold objects of 30 to 60: at 512 those are 2.6 to 5 pixels, in tiles of 960 they are 16 to 32.

    In pictures of 1500 pixels, and of objects of a fifth of the picture, tiles are no use.
    """
    boxes = [(300 * i % 5800, 700 * i % 3800, 30 + 30 * (i % 2), 30 + 30 * (i % 2)) for i in range(40)]
    (finding,) = found(check(tmp_path, dataset(boxes, size=(6000, 4000))), "smaller than 2 cells")
    assert "--tile 960 --image-size 512, whose" in finding.remedy
    small = [(90 * i % 1400, 110 * i % 1000, 10, 10) for i in range(40)]
    (finding,) = found(check(tmp_path, dataset(small, size=(1500, 1100))), "smaller than 2 cells")
    assert "--tile" not in finding.remedy
    large = [(300 * i % 4000, 500 * i % 2500, 1200, 1200) for i in range(40)]
    (finding,) = found(check(tmp_path, dataset([*large, (10, 10, 30, 30)], size=(6000, 4000))), "smaller than 2 cells")
    assert "--tile" not in finding.remedy
