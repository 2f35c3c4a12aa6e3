"""Validation that several processes share: whatever the number of images, the numbers of one."""

from threading import Barrier, Thread
from types import SimpleNamespace

import numpy as np
import pytest
import squares

from centerkp.distribution.team import Team
from centerkp.distribution.validation import detect_together, measure_losses
from centerkp.labels.coco import read_coco

BATCH = 4


class Rounding:
    """A detector whose scores depend on how many images a step has, as the last digits of a network's do."""

    image_size = (32, 32)

    def __init__(self, schema):
        self.schema = schema

    def predict_on_batch(self, x):
        images = x["image"]
        rows, points = len(images), self.schema.num_keypoints
        scores = images.mean((1, 2, 3))[:, None] / 300 + rows / 1e6
        return {
            "boxes": np.tile(np.float32([1, 2, 3, 4]), (rows, 1, 1)),
            "scores": scores.astype(np.float32),
            "class_ids": np.zeros((rows, 1), np.int32),
            "keypoints": np.zeros((rows, 1, points, 2), np.float32),
            "keypoint_scores": np.zeros((rows, 1, points), np.float32),
        }


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("squares")
    return read_coco(squares.write_dataset(folder), images_dir=folder)


def run_together(count, work):
    """What comes of the work of so many processes, here threads, each of a team of its own."""
    barrier, values, results = Barrier(count), [None] * count, [None] * count

    def run(index):
        def gather(value):
            values[index] = value
            barrier.wait(30)
            every = list(values)
            barrier.wait(30)
            return every

        results[index] = work(SimpleNamespace(index=index, count=count, devices=count, own=None, gather=gather))

    threads = [Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


@pytest.mark.parametrize("images", [1, 3, 4, 5, 8, 9, 14])
def test_the_detections_are_those_of_one(dataset, images):
    """Fewer than a batch, batches to the last, and a rest that is all that the second has."""
    records = [dataset.records[number % 3] for number in range(images)]
    detector = Rounding(dataset.schema)
    alone = detect_together(Team(), detector, records, BATCH)
    for count in (2, 3):
        for found in run_together(count, lambda team: detect_together(team, detector, records, BATCH)):
            assert [[one.score for one in image] for image in found] == [[one.score for one in image] for image in alone]


def test_the_losses_are_means_over_images_and_terms_over_batches():
    sizes = [4, 4, 2]
    batches = [(np.zeros(size), {"number": number}) for number, size in enumerate(sizes)]
    model = SimpleNamespace(test_on_batch=lambda images, truth, return_dict: {"loss": truth["number"], "term": truth["number"]})

    class Batches(list):
        num_batches = len(sizes)

    for told in run_together(2, lambda team: measure_losses(team, model, Batches(batches))):
        assert told == {"loss": pytest.approx((4 * 0 + 4 * 1 + 2 * 2) / 10), "term": 1}
