from pathlib import Path

import numpy as np
import pytest

from centerkp.demo.endless import MAX_OBJECTS, NOTHING, _pad_truth, _Seen, draw_picture
from centerkp.demo.kinds import make_schema

SCHEMA = make_schema()


@pytest.fixture(scope="module")
def pictures():
    return [draw_picture((5, number), SCHEMA, 128) for number in range(60)]


def test_a_seed_gives_its_picture_again(pictures):
    for number in (0, 7):
        image, truth = draw_picture((5, number), SCHEMA, 128)
        assert (image == pictures[number][0]).all()
        assert all((truth[name] == pictures[number][1][name]).all() for name in truth)
    assert (pictures[0][0] != pictures[1][0]).any()


def test_truth_lies_in_the_picture(pictures):
    for image, truth in pictures:
        assert image.shape == (128, 128, 3) and image.dtype == np.uint8
        count = int(truth["object_weights"].sum())
        boxes = truth["boxes_xyxy"][:count]
        assert (boxes >= 0).all() and (boxes <= 128).all() and (boxes[:, 2:] > boxes[:, :2]).all()
        labelled = truth["visibility"] > 0
        own = SCHEMA.keypoint_mask[truth["class_ids"]] & (truth["object_weights"] > 0)[:, None]
        assert not (labelled & ~own).any()
        assert (truth["keypoints_xy"][labelled] >= 0).all() and (truth["keypoints_xy"][labelled] < 128).all()
        assert not truth["keypoints_xy"][~labelled].any()


def test_pictures_differ_as_photographs_do(pictures):
    """Many kinds and sizes, hidden points and points outside, crowded pictures and empty ones."""
    weights = np.array([truth["object_weights"] for _, truth in pictures]) > 0
    classes = np.array([truth["class_ids"] for _, truth in pictures])[weights]
    boxes = np.array([truth["boxes_xyxy"] for _, truth in pictures])[weights]
    seen = np.array([truth["visibility"] for _, truth in pictures])[weights]
    assert len(set(classes)) == SCHEMA.num_classes
    longer = (boxes[:, 2:] - boxes[:, :2]).max(1)
    assert longer.min() < 20 and longer.max() > 110
    assert (seen == 1).sum() > 10 and (seen == 2).sum() > 300
    assert ((seen == 0) & SCHEMA.keypoint_mask[classes]).sum() > 10
    counts = weights.sum(1)
    assert counts.min() <= 1 and 4 <= counts.max() <= MAX_OBJECTS


def test_only_what_was_laid_later_hides_a_point():
    owners = np.full((40, 40), NOTHING, np.uint8)
    owners[:, 10:20], owners[:, 20:30] = 1, 3  # earlier and later than the object, which is number 2
    points = np.array([(5.0, 5), (15, 5), (25, 5), (-1, 5)])  # of a kind with four: on nothing, earlier, later, outside
    seen = [_Seen(2, class_id=2, box=np.array([0, 0, 30, 10]), points=points, area=300)]
    truth = _pad_truth(seen, owners, SCHEMA, 40)
    own = SCHEMA.keypoint_slice(2)
    assert truth["visibility"][0, own].tolist() == [2, 2, 1, 0]
    assert truth["keypoints_xy"][0, own].tolist() == [[5, 5], [15, 5], [25, 5], [0, 0]]
    assert truth["object_weights"].sum() == 1 and truth["visibility"].sum() == 5


def test_batches_of_training_have_one_shape(monkeypatch):
    """Of four pictures side by side, whose truth is that of all, and of one."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    from pretrain import _draw_four, _draw_with_room

    (image, truth), (other, room) = _draw_four(128, (1, 7)), _draw_with_room(128, (1, 7))
    assert image.shape == other.shape and {k: (v.shape, v.dtype) for k, v in truth.items()} == {
        k: (v.shape, v.dtype) for k, v in room.items()
    }
    for row in np.flatnonzero(truth["object_weights"]):
        x0, y0, x1, y1 = truth["boxes_xyxy"][row]
        assert 2 * ((y0 + y1) / 2 >= 64) + ((x0 + x1) / 2 >= 64) == row // MAX_OBJECTS
