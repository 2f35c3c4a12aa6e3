"""Pictures of a dataset before training."""

import numpy as np
import pytest

from centerkp.demo.scenes import write_demo
from centerkp.drawing.mosaic import choose_records, draw_records, draw_samples
from centerkp.labels.coco import read_coco
from centerkp.samples.augment import Augmentation


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return read_coco(write_demo(tmp_path_factory.mktemp("demo") / "demo", 6, 1, 0, size=(160, 120)).train_json)


def test_records_are_drawn_without_repetition(demo):
    chosen = choose_records(demo.records, 4, seed=1)
    assert len({record.image_id for record in chosen}) == 4
    assert [r.image_id for r in choose_records(demo.records, 4, seed=1)] == [r.image_id for r in chosen]
    assert sorted(r.image_id for r in choose_records(demo.records, 50)) == sorted(r.image_id for r in demo.records)


def test_records_in_a_square(demo):
    # Four images: two columns of 480 px, less the gaps; 160 x 120 keeps its aspect.
    picture = draw_records(demo.records[:4], demo.schema)
    assert picture.shape[1] == 960 and picture.dtype == np.uint8
    assert 2 * 0.7 * 480 < picture.shape[0] < 2 * 0.9 * 480
    assert draw_records(demo.records[:1], demo.schema).shape[1] == 480


def test_samples_depend_on_the_seed_alone(demo):
    def draw(seed):
        return draw_samples(demo.records[:2], demo.schema, (128, 128), Augmentation(), seed)

    assert (draw(3) == draw(3)).all()
    assert (draw(3) != draw(4)).any()
    # One record several times: several samples.
    twice = draw_samples([demo.records[0]] * 2, demo.schema, (128, 128), Augmentation(), 3)
    assert (twice[:, : twice.shape[1] // 2] != twice[:, -(twice.shape[1] // 2) :]).any()


def test_targets_stand_beside_the_samples(demo):
    # Rows of sample, centers and keypoints, each 128 wide: three cells and gaps.
    picture = draw_samples(demo.records[:2], demo.schema, (128, 128), targets=True)
    assert 3 * 128 < picture.shape[1] < 3 * 128 + 40
    assert 2 * 128 < picture.shape[0] < 2 * 128 + 120
    assert draw_samples(demo.records[:1], demo.schema, (128, 128), targets=True, width=300).shape[1] == 300
