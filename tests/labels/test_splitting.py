"""Splits: shares by class, groups that stay together, files that keep everything."""

import json
import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from coco_files import annotation, make_record, write_coco, write_picture
from hypothesis import given, settings
from hypothesis import strategies as st

from centerkp.labels.coco import read_coco, read_label_file
from centerkp.labels.faults import Remarks
from centerkp.labels.folds import split_records
from centerkp.labels.splitting import assign_groups, count_objects_by_image, group_images, split_coco

CATEGORIES = [{"id": 3, "name": "bee", "keypoints": ["head"]}, {"id": 7, "name": "wasp"}]


def part_sums(parts, amounts, count):
    return np.array([amounts[parts == p].sum(0) for p in range(count)]).tolist()


def test_equal_groups_are_shared_out_exactly():
    amounts = np.ones((10, 2), int)
    parts = assign_groups(amounts, np.array([0.7, 0.2, 0.1]), seed=0)
    assert np.bincount(parts).tolist() == [7, 2, 1]
    assert assign_groups(amounts, np.array([0.7, 0.2, 0.1]), seed=0).tolist() == parts.tolist()
    assert assign_groups(amounts, np.array([0.7, 0.2, 0.1]), seed=1).tolist() != parts.tolist()


def test_every_class_is_shared_out():
    # 40 images with one a, 20 with one b, 10 with both, 10 with nothing; the columns: a, b, none, images.
    rows = [(1, 0, 0, 1)] * 40 + [(0, 1, 0, 1)] * 20 + [(1, 1, 0, 1)] * 10 + [(0, 0, 1, 1)] * 10
    amounts = np.array(rows)
    parts = assign_groups(amounts, np.array([0.8, 0.2]), seed=3)
    assert part_sums(parts, amounts, 2) == [[40, 24, 8, 64], [10, 6, 2, 16]]


def test_large_groups_go_where_they_fit():
    # Videos of 60, 20, 10 and 10 frames. Largest first, by (share left after half of it) / share:
    # 60: train 1 - 30/80 = 0.625, val 1 - 30/20 = -0.5 -> train. 20: 1 - 70/80 = 0.125, 1 - 10/20 = 0.5 -> val.
    # 10: 1 - 65/80 = 0.19, 1 - 25/20 = -0.25 -> train. 10: 1 - 75/80 = 0.06, -0.25 -> train.
    amounts = np.array([[10, 10], [60, 60], [10, 10], [20, 20]])
    assert assign_groups(amounts, np.array([0.8, 0.2]), seed=0).tolist() == [0, 0, 0, 1]


def test_rare_classes_reach_validation():
    # Class 0 in two groups of twenty: one must be for validation although its share of 0.2 would round to none.
    amounts = np.ones((20, 2), int)
    amounts[2:, 0] = 0
    for seed in range(5):
        parts = assign_groups(amounts, np.array([0.8, 0.2]), seed)
        assert sorted(parts[:2]) == [0, 1] and np.bincount(parts)[1] in (4, 5)
    # In three parts two groups reach training and validation, not the test part.
    assert sorted(assign_groups(amounts, np.array([0.6, 0.2, 0.2]), 0)[:2]) == [0, 1]
    # A class of one group stays in training.
    amounts[1, 0] = 0
    assert all(assign_groups(amounts, np.array([0.8, 0.2]), seed)[0] == 0 for seed in range(5))


def test_no_part_is_empty():
    assert sorted(assign_groups(np.ones((3, 1), int), np.array([0.98, 0.01, 0.01]), 0)) == [0, 1, 2]
    # Not with the only group of a class where there are others to give.
    amounts = np.column_stack([np.arange(5) < 4, np.arange(5) == 4, np.ones(5, int)]).astype(int)
    for share, count in ((0.1, 5), (0.2, 3)):
        assert assign_groups(amounts[-count:], np.array([1 - share, share]), 0)[-1] == 0
    # Also where every group holds a class of its own, so that training must lose one.
    only = np.column_stack([np.eye(4, dtype=int), np.ones(4, int)])
    assert np.bincount(assign_groups(only, np.array([0.9, 0.1]), 0)).tolist() == [3, 1]
    with pytest.raises(ValueError, match="found 1 group of images, expected at least 2"):
        assign_groups(np.ones((1, 1), int), np.array([0.8, 0.2]), 0)


@given(
    st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=3, max_size=40),
    st.floats(0.05, 0.45),
    st.floats(0.05, 0.45),
    st.integers(0, 99),
)
@settings(max_examples=150, deadline=None)
def test_classes_are_where_they_can_be(rows, val, test, seed):
    amounts = np.column_stack([np.array(rows), np.ones(len(rows), int)])
    parts = assign_groups(amounts, np.array([1 - val - test, val, test]), seed)
    assert set(parts.tolist()) == {0, 1, 2}
    holders = (amounts > 0)[:, :3]
    has = np.array([holders[parts == p].any(0) for p in range(3)])
    for column in range(3):
        count = holders[:, column].sum()
        if count >= 10:
            assert has[:, column].all()
    assert (assign_groups(amounts, np.array([1 - val - test, val, test]), seed) == parts).all()


@pytest.fixture
def bees(tmp_path):
    """Twelve frames of three videos, in two folders; every fourth image is empty; a crowd of wasps is no object."""
    classes = {f"{'ab'[n // 6]}/v{n // 4}_{n % 4}.png": [[3], [3, 3, 7], [7], []][n % 4] for n in range(12)}
    file = write_coco(tmp_path / "bees.json", classes, CATEGORIES, info={"year": 2024}, licenses=[{"id": 1}], mine=[1, 2])
    content = json.loads(file.read_text())
    content["annotations"].append(annotation(99, 4, 7, iscrowd=1, note="swarm"))
    content["images"][0] |= {"license": 1, "camera": "left"}
    file.write_text(json.dumps(content))
    return file


def read(file):
    return json.loads(file.read_text())


def test_files_hold_everything_once(bees):
    before, result = read(bees), split_coco(bees, val=0.25, test=0.25)
    parts = {name: read(file) for name, file in result.files.items()}
    assert list(result.files.values()) == [bees.with_name(f"bees_{part}.json") for part in ("train", "val", "test")]
    for key in ("images", "annotations"):
        joined = sorted((entry for part in parts.values() for entry in part[key]), key=lambda entry: entry["id"])
        assert joined == before[key]
    for part in parts.values():
        assert {k: v for k, v in part.items() if k not in ("images", "annotations")} == {
            k: v for k, v in before.items() if k not in ("images", "annotations")
        }
        own = {image["id"] for image in part["images"]}
        assert all(a["image_id"] in own for a in part["annotations"])
    # 12 images: 6, 3, 3; each of the four kinds occurs three times: 6 bees of one (3) or two (3), 6 wasps.
    assert result.totals.tolist() == [6, 3, 3]
    assert result.objects.sum(0).tolist() == [9, 6] and result.images.sum(0).tolist() == [6, 6]
    assert result.negatives.sum() == 3
    for number, name in enumerate(parts):
        ids = [a["category_id"] for a in parts[name]["annotations"] if not a["iscrowd"]]
        assert result.objects[number].tolist() == [ids.count(3), ids.count(7)]
        assert result.negatives[number] == len(parts[name]["images"]) - len(
            {a["image_id"] for a in parts[name]["annotations"] if not a["iscrowd"]}
        )
        assert len(read_coco(result.files[name]).records) == result.totals[number]


def test_images_without_a_size_have_that_of_their_files(bees):
    content = read(bees)
    sizes = [(image.pop("width"), image.pop("height")) for image in content["images"]]
    bees.write_text(json.dumps(content))
    images = [image for file in split_coco(bees).files.values() for image in read(file)["images"]]
    assert [(image["width"], image["height"]) for image in sorted(images, key=lambda image: image["id"])] == sizes


def test_same_seed_same_bytes(bees, tmp_path):
    def contents(out, seed):
        return [file.read_bytes() for file in split_coco(bees, seed=seed, out_dir=tmp_path / out).files.values()]

    assert contents("x", 1) == contents("y", 1) != contents("z", 2)


def test_counts_leave_crowds_out(bees):
    counts = count_objects_by_image(read_label_file(bees))
    assert counts[:4].tolist() == [[1, 0], [2, 1], [0, 1], [0, 0]]


@pytest.mark.parametrize(
    ("rule", "groups"),
    [
        ("folder", [0] * 6 + [1] * 6),
        (r"v\d", [0] * 4 + [1] * 4 + [2] * 4),
        (r"^(.)/v(\d)", [0] * 4 + [1] * 2 + [2] * 2 + [3] * 4),
        (None, list(range(12))),
        ("v0", [0] * 4 + list(range(1, 9))),
    ],
)
def test_groups(bees, rule, groups):
    remarks = Remarks(bees)
    found = group_images(read_label_file(bees), rule, remarks)
    assert found.tolist() == groups
    if rule == "v0":
        assert remarks.sentences[0] == "9 groups of 12 images, the largest with 4"
        assert remarks.sentences[1].startswith("8 images: 'v0' does not fit, each a group of its own: a/v1_0.png")


def test_groups_stay_on_one_side(bees):
    for seed in range(4):
        result = split_coco(bees, val=0.3, group_by=r"v\d", seed=seed, overwrite=True)
        sides = [{image["file_name"].split("_")[0][-2:] for image in read(f)["images"]} for f in result.files.values()]
        assert not sides[0] & sides[1] and len(sides[0] | sides[1]) == 3
        assert result.totals.tolist() == [8, 4]


def test_pictures_alike_stay_together(tmp_path):
    import cv2

    names = [f"{n}.png" for n in range(6)] + ["again.jpg", "text.png"]
    file = write_coco(tmp_path / "ann.json", {name: [7] for name in names}, CATEGORIES)
    image = cv2.imread(str(tmp_path / "images" / "2.png"))
    cv2.imwrite(str(tmp_path / "images" / "again.jpg"), cv2.resize(image, (80, 60)))
    (tmp_path / "images" / "text.png").write_text("no picture")
    remarks = Remarks(file)
    groups = group_images(read_label_file(file), "phash", remarks)
    assert groups.tolist() == [0, 1, 2, 3, 4, 5, 2, 6]
    assert remarks.sentences == (
        "7 groups of 8 images, the largest with 2",
        "1 image: unreadable, each a group of its own: text.png",
    )


def test_two_entries_of_one_file_stay_together(tmp_path):
    file = write_coco(tmp_path / "ann.json", {f"{n}.png": [7] for n in range(4)}, CATEGORIES)
    content = read(file)
    content["images"].append(content["images"][1] | {"id": 50})
    file.write_text(json.dumps(content))
    assert group_images(read_label_file(file), None, Remarks(file)).tolist() == [0, 1, 2, 3, 1]


def test_images_are_found_from_another_folder(bees, tmp_path):
    result = split_coco(bees, out_dir=tmp_path / "far" / "away")
    for file in result.files.values():
        data = read_coco(file)
        assert data.notes == () or all("another path" not in note for note in data.notes)
        for record in data.records:
            assert record.path.resolve().is_relative_to(tmp_path / "images")
            number = int(record.image_id) - 1
            assert record.file_name.endswith(f"v{number // 4}_{number % 4}.png")
    # Images that were found only because their folder was named.
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    (tmp_path / "sub").mkdir()
    moved = bees.rename(tmp_path / "sub" / "bees.json")
    with pytest.raises(ValueError, match="missing images"):
        split_coco(moved)
    result = split_coco(moved, images_dir=tmp_path / "elsewhere")
    assert read(result.files["val"])["images"][0]["file_name"].startswith("../elsewhere/")
    assert len(read_coco(result.files["train"]).records) == result.totals[0]


def test_strange_ids_are_followed(tmp_path):
    file = write_coco(tmp_path / "ann.json", {f"{n}.png": [7] for n in range(5)}, CATEGORIES)
    content = read(file)
    content["images"][0]["id"] = "1"
    content["annotations"][0] |= {"category_id": "7", "image_id": 1.0}
    file.write_text(json.dumps(content))
    result = split_coco(file)
    assert result.objects.sum(0).tolist() == [0, 5] and result.totals.tolist() == [4, 1]


def test_class_that_cannot_be_everywhere_is_told(tmp_path):
    file = write_coco(tmp_path / "ann.json", {"a.png": [3], "b.png": [7], "c.png": [7]}, CATEGORIES)
    assert "val holds no bee: too few groups of images show it" in split_coco(file, val=0.4).notes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val": 0}, "val 0 and test 0, expected 0 < val"),
        ({"val": 0.8, "test": 0.2}, "a sum below 1"),
        ({"group_by": "(v"}, "'folder', 'phash' or a regular expression"),
        ({"group_by": "fly"}, "no file name that 'fly' fits.*'a/v0_0.png'"),
        ({"group_by": "[ab]", "test": 0.2}, "found 2 groups of images, expected at least 3"),
    ],
)
def test_refusals(bees, options, message):
    with pytest.raises(ValueError, match=message):
        split_coco(bees, **options)
    assert [file.name for file in bees.parent.glob("*.json")] == ["bees.json"]


def test_existing_files_are_kept(bees):
    mine = bees.with_name("bees_val.json")
    mine.write_text("by hand")
    with pytest.raises(FileExistsError, match="bees_val.json"):
        split_coco(bees)
    assert mine.read_text() == "by hand" and not bees.with_name("bees_train.json").exists()


def test_linked_pictures_belong_to_the_folder_of_the_link(tmp_path):
    """Version control of data keeps files elsewhere, under names of their content."""
    store = tmp_path / "store"
    names = [f"clip{clip}/{frame}.png" for clip in range(4) for frame in range(3)]
    for number, name in enumerate(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(write_picture(store / f"{number:03d}.png", number))
    images = [{"id": i, "file_name": name, "width": 40, "height": 30} for i, name in enumerate(names)]
    content = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "bee"}]}
    path = tmp_path / "ann.json"
    path.write_text(json.dumps(content))
    split = split_coco(path, val=0.25, group_by="folder", out_dir=tmp_path / "parts")
    for file in split.files.values():
        written = [image["file_name"] for image in read(file)["images"]]
        assert len(written) % 3 == 0 and all(name.startswith("../clip") for name in written)


def test_records_shares_every_class_and_the_negatives():
    kinds = [[0]] * 50 + [[1, 0]] * 10 + [[]] * 20 + [[2]] * 20
    train, val = split_records([make_record(i, kind) for i, kind in enumerate(kinds)], 0.2, seed=1)
    assert (len(train), len(val)) == (80, 20)
    held = [sum(kind == r.class_ids.tolist() for r in val) for kind in ([0], [1, 0], [], [2])]
    assert held == [10, 2, 4, 4]


@pytest.mark.parametrize("seed", range(10))
def test_records_of_a_class_on_three_images_train_and_validate(seed):
    train, val = split_records([make_record(i, [int(i < 3)]) for i in range(40)], 0.2, seed)
    assert (len(train), len(val)) == (32, 8) and sum(1 in r.class_ids for r in train) == 2


def test_records_of_one_file_are_on_one_side():
    records = [replace(make_record(i, [0]), path=Path(f"{i // 2}.png")) for i in range(40)]
    for seed in range(5):
        sides = [{r.path for r in side} for side in split_records(records, 0.25, seed)]
        assert sides[1] and not sides[0] & sides[1]


def test_records_does_not_depend_on_the_order_of_the_file_but_on_the_seed():
    records = [make_record(i, [i % 3]) for i in range(40)]
    shuffled = random.Random(0).sample(records, 40)
    ids = [[r.image_id for r in split_records(rs, 0.25, seed=s)[1]] for rs, s in [(records, 5), (shuffled, 5), (records, 6)]]
    assert ids[0] == ids[1] == sorted(ids[0])
    assert ids[0] != ids[2]


@given(st.lists(st.lists(st.integers(0, 3), max_size=3), min_size=2, max_size=20), st.floats(0.01, 0.99), st.integers(0, 9))
@settings(max_examples=100, deadline=None)
def test_records_both_sides_hold_something_and_nothing_is_lost(kinds, fraction, seed):
    train, val = split_records([make_record(i, kind) for i, kind in enumerate(kinds)], fraction, seed)
    assert train and val
    assert sorted(r.image_id for r in train + val) == list(range(len(kinds)))


def test_records_the_only_image_of_a_class_trains():
    for seed in range(20):
        train, _ = split_records([make_record(i, [int(i == 0)]) for i in range(10)], 0.8, seed)
        assert any(1 in r.class_ids for r in train)


@pytest.mark.parametrize(("count", "fraction"), [(1, 0.5), (5, 0.0), (5, 1.0), (5, -1), (5, math.nan)])
def test_records_refuses_what_cannot_be_split(count, fraction):
    with pytest.raises(ValueError, match="split_records: found"):
        split_records([make_record(i, [0]) for i in range(count)], fraction, 0)
