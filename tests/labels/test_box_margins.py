import numpy as np
import pytest

from centerkp.labels.box_margins import LEAST_OBJECTS, measure_box_margins
from centerkp.labels.records import Record, make_boxes
from centerkp.schema import Schema

SCHEMA = Schema.generic(2, [4, 4])
SIZE = np.array([640, 480])


def make_records(boxes_of, count=24, class_ids=(0, 1), seed=0):
    """Records of two objects each, whose boxes `boxes_of(points (2, 4, 2), labelled, rng)` makes."""
    rng, records = np.random.default_rng(seed), []
    for number in range(count):
        low = rng.uniform(0, SIZE - 200, (2, 1, 2))
        points = low + rng.uniform(0, rng.uniform(60, 200, (2, 1, 2)), (2, 4, 2))
        labelled = rng.random((2, 4)) < 0.9
        labelled[:, :2] = True
        flat, visibility = np.zeros((2, 8, 2), np.float32), np.zeros((2, 8), np.uint8)
        for row, class_id in enumerate(class_ids):
            own = SCHEMA.keypoint_slice(class_id)
            flat[row, own] = np.where(labelled[row, :, None], points[row], 0)
            visibility[row, own] = 2 * labelled[row]
        boxes = np.clip(boxes_of(points, labelled, rng), 0, np.tile(SIZE, 2)).astype(np.float32)
        ids, crowd = np.array(class_ids, np.int32), np.zeros(2, bool)
        record = Record(number, "a.jpg", "a.jpg", *SIZE.tolist(), boxes, ids, flat, visibility, crowd, np.ones(2), np.arange(2))
        records.append(record)
    return records


def frame(points, labelled, share, least=0.0):
    masked = np.where(labelled[..., None], points, np.nan)
    low, high = np.nanmin(masked, 1), np.nanmax(masked, 1)
    reach = np.maximum(share * (high - low).max(1, keepdims=True), least)
    return np.concatenate([low - reach, high + reach], 1)


@pytest.mark.parametrize("share", [0.0, 0.06, 0.25])
def test_frames_are_known_also_cut_rounded_and_never_small(share):
    for boxes_of in (
        lambda points, labelled, rng: frame(points, labelled, share),
        lambda points, labelled, rng: frame(points, labelled, share).round(),
        lambda points, labelled, rng: frame(points, labelled, share, least=50 * share),
    ):
        assert measure_box_margins(make_records(boxes_of), SCHEMA) == pytest.approx([share, share], abs=0.006)


def test_frames_of_this_package_are_known():
    records = make_records(lambda points, labelled, rng: make_boxes(points, labelled, np.tile(SIZE, (2, 1)), None))
    assert measure_box_margins(records, SCHEMA) == pytest.approx([0.1, 0.1], abs=1e-3)


def test_boxes_that_tell_more_are_not_frames():
    def drawn_by_hand(points, labelled, rng):
        return frame(points, labelled, 0.1) + rng.normal(0, 6, (2, 4))

    def one_class_framed(points, labelled, rng):
        framed, free = frame(points, labelled, 0.1), frame(points, labelled, 0.1) + [[-20, 0, 30, 9]] * rng.random((2, 1))
        return np.stack([framed[0], free[1]])

    assert measure_box_margins(make_records(drawn_by_hand), SCHEMA) == [None, None]
    assert measure_box_margins(make_records(one_class_framed), SCHEMA) == [pytest.approx(0.1, abs=1e-3), None]


def test_too_few_or_none():
    def framed(points, labelled, rng):
        return frame(points, labelled, 0.1)

    assert measure_box_margins([], SCHEMA) == [None, None]
    assert measure_box_margins(make_records(framed, LEAST_OBJECTS - 1), SCHEMA) == [None, None]
    boxes_alone = Schema.generic(2)
    assert measure_box_margins([], boxes_alone) == [None, None]
    crowds = make_records(framed)
    for record in crowds:
        record.is_crowd[:] = True
    assert measure_box_margins(crowds, SCHEMA) == [None, None]
