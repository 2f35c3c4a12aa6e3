from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from centerkp.images.packed import ImageBytes
from centerkp.schema import Schema
from centerkp.settings.training import TrainSettings
from centerkp.training.dry_run import build_probe, dry_run

SCHEMA = Schema.generic(2, [2, 0])


def make_record(boxes, class_ids, points=None, image_id=1, size=(200, 100)):
    count = len(boxes)
    points = np.zeros((count, 2, 2)) if points is None else np.array(points, float)
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    blank = ImageBytes(f"{image_id}.png", cv2.imencode(".png", np.zeros((size[1], size[0], 3), np.uint8))[1].tobytes())
    return SimpleNamespace(
        image_id=image_id, path=blank, file_name=f"{image_id}.jpg", width=size[0], height=size[1], boxes_xyxy=boxes,
        class_ids=np.array(class_ids, np.int32), keypoints_xy=points.astype(np.float32),
        visibility=(points.sum(-1) > 0).astype(np.uint8) * 2, is_crowd=np.zeros(count, bool),
        areas=(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), annotation_ids=np.arange(count), levels=None,
    )  # fmt: skip


@pytest.fixture()
def model():
    return build_probe(SCHEMA, TrainSettings(image_size=64))


GOOD = make_record([[10, 10, 60, 60], [100, 20, 180, 90]], [0, 1], [[[20, 20], [50, 55]], [[0, 0], [0, 0]]])
EDGE = make_record([[0, 0, 200, 100]], [0], [[[200, 100], [0.5, 0.5]]], image_id=2)
SHARED = make_record([[10, 10, 60, 60], [11, 11, 60, 60]], [0, 0], [[[20, 20], [50, 55]], [[20, 20], [52, 56]]], image_id=3)


def test_annotations_survive(model):
    lines = dry_run(model, [GOOD, EDGE])
    assert len(lines) == 2 and all(line.endswith("AP 1.000") for line in lines)


def test_objects_that_share_a_cell_are_reported(model):
    lines = dry_run(model, [GOOD, EDGE, SHARED])
    assert len(lines) == 3 and "1 objects and 2 keypoints share their grid cell" in lines[-1]
    assert any("keypoint AP" in line for line in dry_run(model, [SHARED]))  # no choice: said, not refused


def test_classes_share_cells_too(model):
    """Two objects of different classes around one center: one size map serves both, so this image is not judged by it."""
    both = make_record([[10, 10, 60, 60], [20, 20, 50, 50]], [0, 1], [[[20, 20], [50, 55]], [[0, 0], [0, 0]]])
    assert "1 objects and 0 keypoints" in dry_run(model, [both])[-1]


def test_every_image_has_more_objects_than_the_model_finds():
    lines = dry_run(build_probe(SCHEMA, TrainSettings(image_size=64, max_objects=1)), [GOOD, SHARED])
    assert lines == ["left out, since every image has more than 1 object"]
    many = make_record([[9 * i, 10 * j, 9 * i + 6, 10 * j + 6] for i in range(20) for j in range(8)], [1] * 160)
    probe = build_probe(SCHEMA, TrainSettings(image_size=256, max_objects=160))
    assert dry_run(probe, [many])[0].endswith("box AP 1.000")


def test_no_objects(model):
    with pytest.raises(ValueError, match="no image with an object"):
        dry_run(model, [make_record(np.zeros((0, 4)), [], np.zeros((0, 2, 2)))])


def test_a_broken_codec_stops_the_run(model, monkeypatch):
    from centerkp.training import dry_run as module

    def shifted(*args):
        maps = ideal(*args)
        maps["keypoint_offset"] += 3
        maps["keypoint_regression"] += 3
        return maps

    ideal = module.ideal_maps
    monkeypatch.setattr(module, "ideal_maps", shifted)
    with pytest.raises(ValueError, match="Dry run on 1.jpg.*keypoint AP"):
        dry_run(model, [GOOD])
