"""From the JSON to the loss and the AP: images without objects are used, regions of many objects count neither way."""

import json
from dataclasses import replace

import cv2
import keras
import numpy as np
import pytest

from centerkp.codec.targets import render_targets
from centerkp.evaluation.evaluate import evaluate, ground_truth_as_detections
from centerkp.labels.coco import read_coco
from centerkp.labels.folds import split_records
from centerkp.model.losses import compute_losses
from centerkp.samples.pipeline import make_dataset
from centerkp.samples.sample import Sampler

SIZE, CELLS = 64, 16
CROWD, OBJECT = [32, 32, 28, 28], [4, 4, 16, 16]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Image 1: an object and, far from it, a crowd region with keypoints; images 2 to 4: nothing at all."""
    folder = tmp_path_factory.mktemp("data")
    for number in range(1, 5):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((SIZE, SIZE, 3), 50 * number, np.uint8))
    label = {"image_id": 1, "category_id": 1, "num_keypoints": 1}
    annotations = [
        label | {"id": 1, "bbox": OBJECT, "area": 256, "iscrowd": 0, "keypoints": [10, 10, 2]},
        label | {"id": 2, "bbox": CROWD, "area": 784, "iscrowd": 1, "keypoints": [50, 50, 2], "segmentation": {"counts": []}},
    ]
    images = [{"id": n, "file_name": f"{n}.png", "width": SIZE, "height": SIZE} for n in range(1, 5)]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "x", "keypoints": ["tip"]}]}
    (folder / "ann.json").write_text(json.dumps(content))
    return read_coco(folder / "ann.json")


def losses(dataset, records, change=None, room=4):
    """The losses of all-zero logits, -4 (a confident no), after `change(maps)`; with room for so many objects of an image."""
    batches = make_dataset(records, Sampler(dataset.schema, (SIZE, SIZE), room), len(records), seed=0, shuffle=False)
    _, truth = next(iter(batches))
    targets = render_targets(truth, dataset.schema, (CELLS, CELLS))
    channels = {"center_heatmap": 1, "center_offset": 2, "box_size": 2, "keypoint_heatmap": 1, "keypoint_offset": 2,
                "keypoint_regression": 2}  # fmt: skip
    maps = {head: np.full((len(records), CELLS, CELLS, c), -4.0, np.float32) for head, c in channels.items()}
    if change:
        change(maps)
    found = compute_losses([maps], targets, dataset.schema.keypoint_mask)
    return {head: float(keras.ops.convert_to_numpy(value)) for head, value in found.items()}


def test_a_peak_on_a_negative_image_costs(dataset):
    assert len(dataset.records) == 4 and [len(r.class_ids) for r in dataset.records] == [2, 0, 0, 0]

    def peak(maps):
        maps["center_heatmap"][0, 5, 5] = maps["keypoint_heatmap"][0, 5, 5] = 4.0

    quiet, loud = losses(dataset, dataset.records[1:2]), losses(dataset, dataset.records[1:2], peak)
    assert np.isfinite(list(quiet.values())).all()
    assert loud["center_heatmap"] > quiet["center_heatmap"] + 3 and loud["keypoint_heatmap"] > quiet["keypoint_heatmap"] + 3
    assert quiet["box_size"] == quiet["keypoint_regression"] == 0


def test_negatives_are_on_both_sides_of_a_split(dataset):
    sides = split_records(dataset.records, 0.5, seed=0)
    assert all(any(len(record.class_ids) == 0 for record in side) for side in sides)


@pytest.mark.parametrize("room", [4, 1])
def test_nothing_inside_a_crowd_costs(dataset, room):
    """Neither peaks there nor their absence, in any head; the same peak outside does; nor where it finds no room."""
    inside = slice(8, 15)

    def peaks(maps):
        for head in maps:
            maps[head][0, inside, inside] = 4.0

    def beside(maps):
        maps["center_heatmap"][0, 2, 12] = maps["keypoint_heatmap"][0, 2, 12] = 4.0

    plain = losses(dataset, dataset.records[:1], room=room)
    assert losses(dataset, dataset.records[:1], peaks, room) == pytest.approx(plain, rel=1e-6)
    assert losses(dataset, dataset.records[:1], beside, room)["center_heatmap"] > plain["center_heatmap"] + 3


def test_an_object_that_finds_no_room_is_no_background(dataset):
    """The smaller one of two, in a batch with an image that has room."""
    record = replace(dataset.records[0], is_crowd=np.zeros(2, bool))
    x, y = OBJECT[0] // 4, OBJECT[1] // 4

    def peaks(maps):
        for head in ("center_heatmap", "keypoint_heatmap"):
            maps[head][0, y : y + 4, x : x + 4] = 4.0

    records = [record, dataset.records[1]]
    plain = losses(dataset, records, room=1)
    assert losses(dataset, records, peaks, room=1) == pytest.approx(plain, rel=1e-6)
    assert losses(dataset, records, peaks)["center_heatmap"] > plain["center_heatmap"] + 1


def test_detections_on_a_crowd_are_ignored_on_a_negative_they_are_wrong(dataset):
    records, schema = dataset.records, dataset.schema
    found = ground_truth_as_detections(records, schema)
    perfect = evaluate(records, found, schema)
    assert len(found[0]) == 1 and perfect.box["AP"] == pytest.approx(1)

    wrong = replace(found[0][0], score=1.0, box_xyxy=np.array([36, 36, 50, 50], np.float32))
    assert evaluate(records, [[wrong, *found[0]], *found[1:]], schema).box["AP"] == pytest.approx(1)
    weaker = replace(found[0][0], score=0.5)
    assert evaluate(records, [[weaker], [wrong], *found[2:]], schema).box["AP"] == pytest.approx(0.5)
