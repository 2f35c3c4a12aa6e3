"""Folds: every image is held out once, by classes in proportion, with what belongs together."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import squares

from centerkp.labels.coco import read_coco
from centerkp.labels.folds import deal_folds


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    folder = tmp_path_factory.mktemp("squares")
    return read_coco(squares.write_dataset(folder), images_dir=folder).records[0]


def make_records(record, names, kinds):
    """A record of a named file for each list of classes."""
    made = []
    for n, (name, own) in enumerate(zip(names, kinds, strict=True)):
        objects = {"class_ids": np.array(own, np.int32), "is_crowd": np.zeros(len(own), bool)}
        made.append(replace(record, image_id=n, file_name=name, path=Path(name), **objects))
    return made


@pytest.mark.parametrize("seed", range(5))
def test_images_are_held_out_once_with_their_group_and_every_class(record, seed):
    rng = np.random.default_rng(seed)
    names = [f"video{video}/{frame}.png" for video in range(30) for frame in range(rng.integers(1, 5))]
    kinds = [[int(k) for k in rng.choice(3, 2, p=[0.6, 0.3, 0.1])] for _ in names]
    records = make_records(record, names, kinds)
    folds, notes = deal_folds(records, 5, seed, r"video(\d+)", Path("a.json"))
    assert sorted(r.image_id for fold in folds for r in fold) == list(range(len(names)))
    videos = [{r.file_name.split("/")[0] for r in fold} for fold in folds]
    assert sum(map(len, videos)) == 30 and "30 groups" in notes[0]
    assert max(map(len, folds)) - min(map(len, folds)) <= 8
    for kind in range(3):
        holders = {r.file_name.split("/")[0] for r in records if kind in r.class_ids}
        if len(holders) >= 5:
            assert all(any(kind in r.class_ids for r in fold) for fold in folds)
    again, _ = deal_folds(records[::-1], 5, seed, r"video(\d+)", Path("a.json"))
    assert [[r.image_id for r in fold] for fold in again] == [[r.image_id for r in fold] for fold in folds]


def test_pictures_that_look_alike_are_held_out_together(record, tmp_path):
    rng = np.random.default_rng(0)
    names = []
    for number in range(8):  # twice each, the second time somewhat brighter
        picture = np.kron(rng.integers(0, 200, (8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        for copy in range(2):
            name = str(tmp_path / f"{number}_{copy}.png")
            squares.cv2.imwrite(name, picture + 20 * copy)
            names.append(name)
    folds, _ = deal_folds(make_records(record, names, [[0]] * 16), 4, 0, "phash", Path("a.json"))
    assert [len(fold) for fold in folds] == [4, 4, 4, 4]
    for fold in folds:
        numbers = [Path(r.file_name).name.split("_")[0] for r in fold]
        assert all(numbers.count(number) == 2 for number in numbers)


def test_more_folds_than_groups(record):
    with pytest.raises(ValueError, match="found 2 groups of images, expected at least 3"):
        deal_folds(make_records(record, ["a/1.png", "a/2.png", "b/1.png"], [[0]] * 3), 3, 0, "(a|b)/", Path("a.json"))
