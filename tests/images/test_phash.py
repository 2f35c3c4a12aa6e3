"""Hashes of pictures that look alike, and their groups."""

import cv2
import numpy as np
import pytest

from centerkp.demo.scenes import write_demo
from centerkp.images.phash import LOW_FREQUENCIES, group_hashes, most_alike, perceptual_hash
from centerkp.images.reading import read_image


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    files = write_demo(tmp_path_factory.mktemp("scenes") / "demo", 12, 1, 0, size=(160, 120))
    return [read_image(path) for path in sorted(files.images_dir.glob("train_*.jpg"))]


def distance(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.bitwise_count(perceptual_hash(a) ^ perceptual_hash(b)))


def test_lowest_frequencies():
    # (u, v) of 32 x 32 by u + v: the mean (0, 0) is left out, then 2 with sum 1, 3 with sum 2, ... 9 of sum 8, ... 64 in all.
    sums = np.add(*np.divmod(LOW_FREQUENCIES, 32))
    assert np.bincount(sums).tolist() == [0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10]
    assert len(set(LOW_FREQUENCIES.tolist())) == 64


def test_copies_are_near_and_others_far(scenes):
    for image in scenes:
        small = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        poor = cv2.imdecode(cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, 30))[1], cv2.IMREAD_COLOR)
        bright = cv2.convertScaleAbs(image, alpha=0.9, beta=20)
        shifted = np.roll(image, 2, axis=1)  # a step of a slow camera
        assert distance(image, small) <= 4
        assert distance(image, poor) <= 4
        assert distance(image, bright) <= 4
        assert distance(image, shifted) <= 8
    others = [distance(a, b) for i, a in enumerate(scenes) for b in scenes[:i]]
    assert min(others) > 8 and 24 < np.mean(others) < 38


def test_flat_pictures_are_alike_whatever_their_colour():
    assert perceptual_hash(np.zeros((20, 30, 3), np.uint8)) == 0
    assert perceptual_hash(np.full((64, 64, 3), 137, np.uint8)) == 0
    assert perceptual_hash(np.full((1, 1, 3), 255, np.uint8)) == 0


def thumbnails(*seeds):
    return np.random.default_rng(0).integers(0, 255, (max(seeds) + 1, 32, 32)).astype(np.uint8)[list(seeds)]


def test_most_alike_by_hand():
    some = thumbnails(0, 1, 2, 0)
    found, alike = most_alike(some, some)
    assert found[0] == 3 and found[3] == 0 and alike[[0, 3]] == pytest.approx(1) and alike[[1, 2]].max() < 0.2
    found, alike = most_alike(some[:3], some[2:])
    assert found.tolist()[0] == 1 and found.tolist()[2] == 0 and alike[2] == pytest.approx(1)
    assert most_alike(some[:0], some)[0].shape == (0,) and most_alike(some[:1], some[:0])[0].tolist() == [-1]
    alone = some[:1]
    assert most_alike(alone, alone)[1].tolist() == [-1]


def test_what_all_pictures_share_makes_none_alike():
    ground = np.full((20, 32, 32), 200, np.uint8)
    ground[:, 8:24, 8:24] = 40
    for n, picture in enumerate(ground):
        picture[10 + n // 5, 10 + n % 5] = 90
    assert most_alike(ground, ground)[1].max() < 0.5
    assert most_alike(ground[:4], ground[:4].copy())[1].min() > 0.99


def test_results_are_the_same_in_small_steps(monkeypatch):
    hashes = np.random.default_rng(0).integers(0, 2**63, 50, dtype=np.uint64)
    hashes[40] = hashes[3] ^ np.uint64(5)
    some = thumbnails(*range(40), 3)
    found, groups = most_alike(some, some)[0], group_hashes(hashes, 18)
    assert found[3] == 40 and found[40] == 3 and 1 < groups.max() < 49
    monkeypatch.setattr("centerkp.images.phash.PAIRS_AT_ONCE", 120)
    assert most_alike(some, some)[0].tolist() == found.tolist()
    assert group_hashes(hashes, 18).tolist() == groups.tolist()


def test_near_groups_reach_over_others_in_between():
    # 1 - 3 - 7 - 15 differ by one bit each; 2**40 and its copy are far from all of them.
    hashes = np.array([2**40, 15, 1, 7, 2**40, 3], np.uint64)
    assert group_hashes(hashes, 1).tolist() == [0, 1, 1, 1, 0, 1]
    assert group_hashes(hashes, 0).tolist() == [0, 1, 2, 3, 0, 4]
    assert group_hashes([], 4).tolist() == []


def test_near_groups_agree_with_pairs():
    rng = np.random.default_rng(1)
    hashes = rng.integers(0, 2**12, 60, dtype=np.uint64)
    groups = group_hashes(hashes, 1)
    pairs = np.argwhere(np.bitwise_count(hashes[:, None] ^ hashes) <= 1)
    assert (groups[pairs[:, 0]] == groups[pairs[:, 1]]).all()
    # As many groups as a walk along the pairs finds.
    left, count = set(range(60)), 0
    while left:
        reached, count = {left.pop()}, count + 1
        while reached:
            here = reached.pop()
            near = {int(j) for pair in pairs if here in pair for j in pair} & left
            left -= near
            reached |= near
    assert groups.max() + 1 == count


def test_many_copies_cost_no_memory():
    assert group_hashes(np.full(100_000, 7, np.uint64), 8).max() == 0
