"""Windows of large pictures: what training is shown of them, and what their objects become."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import squares

from centerkp.images.tiling import Tiling
from centerkp.labels.records import Record
from centerkp.samples.augment import Augmentation
from centerkp.samples.sample import Sampler
from centerkp.samples.windows import crop_record, cut_records, draw_window

SIZE = (400, 300)
BOXES = np.array([[20, 30, 40, 50], [200, 100, 220, 120], [370, 270, 390, 290]], np.float32)


@pytest.fixture
def record(tmp_path):
    """A picture of three red squares of 20 pixels; their keypoints are the upper left corner and the middle."""
    path = squares.write_png(tmp_path / "large.png", *(("red", int(x), int(y), 20) for x, y, _, _ in BOXES), size=SIZE)
    points = np.stack([BOXES[:, :2], (BOXES[:, :2] + BOXES[:, 2:]) / 2], axis=1)
    return Record(
        1, path, "large.png", *SIZE, BOXES, np.zeros(3, np.int32), points, np.full((3, 2), 2, np.uint8),
        np.zeros(3, bool), np.full(3, 400, np.float32), np.arange(3),
    )  # fmt: skip


def test_objects_of_a_window_are_in_its_pixels_and_cut_off_at_its_border(record):
    """Of the second square the right half is inside: its corner is not, its middle is."""
    inside = crop_record(record, (210, 90, 64, 64))
    assert (inside.width, inside.height) == (64, 64)
    assert inside.boxes_xyxy.tolist() == [[0, 10, 10, 30]] and inside.annotation_ids.tolist() == [1]
    assert inside.visibility.tolist() == [[0, 2]] and inside.keypoints_xy.tolist() == [[[0, 0], [0, 20]]]


def test_any_part_of_a_crowd_is_one(record):
    crowd = replace(record, is_crowd=np.ones(3, bool))
    assert crop_record(crowd, (218, 90, 64, 64)).boxes_xyxy.tolist() == [[0, 10, 2, 30]]
    assert not len(crop_record(crowd, (220, 90, 64, 64)).boxes_xyxy)


@pytest.mark.parametrize("x, count", [(214, 1), (216, 0)])
def test_objects_of_which_a_window_holds_little_are_left_out(record, x, count):
    """A quarter of the square, or less than that."""
    assert len(crop_record(record, (x, 90, 64, 64)).boxes_xyxy) == count


def test_windows_lie_inside_and_mostly_show_an_object(record):
    rng, with_object = np.random.default_rng(0), 0
    for _ in range(300):
        x, y, width, height = draw_window(record, Tiling(64), (96, 96), rng)
        assert (width, height) == (64, 64) and 0 <= x <= 336 and 0 <= y <= 236
        with_object += len(crop_record(record, (x, y, width, height)).boxes_xyxy) > 0
    assert 0.65 < with_object / 300 < 0.85


def test_a_picture_smaller_than_a_tile_is_its_own_window(record):
    assert draw_window(record, Tiling(512), (96, 96), np.random.default_rng(0)) == (0, 0, *SIZE)


@pytest.mark.parametrize("augmentation", [None, Augmentation(color=False)])
def test_samples_show_what_their_truth_says(record, augmentation):
    """Where the truth has a square the picture has one, at the size of a tile and not of the whole picture."""
    sampler = Sampler(squares.SCHEMA, (96, 96), 5, augmentation, tiling=Tiling(64))
    seen, sides = 0, []
    for number in range(40):
        image, truth = sampler(record, np.random.default_rng(number))
        for box in truth["boxes_xyxy"][truth["object_weights"] > 0]:
            x0, y0, x1, y1 = np.round(box).astype(int)
            part = image[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1].reshape(-1, 3).astype(int)
            assert (part[:, 0] - part[:, 1] > 90).mean() > 0.6
            sides.append(max(x1 - x0, y1 - y0))
            seen += 1
        found = [
            box
            for class_id, box in squares.find_squares(cv2.medianBlur(image, 3))
            if np.ptp(box.reshape(2, 2), axis=0).min() > 12
        ]
        assert len(found) <= (truth["object_weights"] > 0).sum()
    assert seen > 15 and 20 < np.median(sides) < 45


@pytest.mark.parametrize("image_id", [1, 0, -7])
def test_validation_shows_the_same_window_each_time(record, image_id):
    sampler, record = Sampler(squares.SCHEMA, (96, 96), 5, tiling=Tiling(64)), replace(record, image_id=image_id)
    first, again = (sampler(record, np.random.default_rng(number))[0] for number in (0, 1))
    np.testing.assert_array_equal(first, again)


def test_all_tiles_of_records_hold_every_object(record):
    cut = cut_records([record], Tiling(64), (96, 96))
    assert {i for one in cut for i in one.annotation_ids.tolist()} == {0, 1, 2}
    assert all(len(one.boxes_xyxy) and one.path == record.path for one in cut)
    assert [one.image_id for one in cut] == list(range(1, len(cut) + 1))
    assert cut_records([record], None, (96, 96)) == [record]


def test_objects_that_no_tile_holds_enough_of_are_told(record):
    huge = replace(record, boxes_xyxy=np.tile(np.float32([0, 0, *SIZE]), (3, 1)))
    with pytest.raises(ValueError, match="no object of which a tile of 64 pixels shows 25%, .* or --tile 0 for whole"):
        cut_records([huge], Tiling(64), (96, 96))
    assert len(cut_records([huge, record], Tiling(64), (96, 96))) > 3
