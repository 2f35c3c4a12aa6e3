"""Which keypoints swap in a mirror, by their names and places together; and where nobody can say so."""

import json

import numpy as np
import pytest

from centerkp.demo.shapes import SKETCHES
from centerkp.doctor.check import check_dataset
from centerkp.geometry import apply_to_points, rotation
from centerkp.labels.coco import read_coco
from centerkp.schema import Schema
from centerkp.symmetry.verdict import LEAST, settle_sides

PLATE = np.array([(-3, -1), (3, -1), (3, 1), (-3, 1.0)])
BUG = np.array([(0, -4), (-1.5, -3), (1.5, -3), (-2.5, 0), (2.5, 0), (0, 3.0)])  # from above: nose, ears, feet, tail
DOG = np.array([(-4, -2), (-3, -3), (3, -1), (4, 0), (-2, 2), (2, 2.0)])  # from the side, facing left


def draw(rng, shape, count, limit=12, flipped=0.0):
    """Objects (count, k, 2) of a shape, turned by up to `limit` degrees either way, a share of them mirrored before."""
    sides = np.where(np.arange(count) < flipped * count, -1, 1)[:, None, None] * (1, 0) + (0, 1)
    things = (shape + rng.normal(0, 0.15, (count, *shape.shape))) * sides
    return np.stack([apply_to_points(rotation(rng.uniform(-limit, limit)), thing) for thing in things]) * 10 + 200


def category(count, **more):
    return {"id": 1, "name": "thing", "keypoints": [f"p{i + 1}" for i in range(count)]} | more


def settle(points, labelled=None, flip_pairs=None, **more):
    """The class and the notes (sentences) that objects of one class lead to."""
    schema = Schema.from_coco({"categories": [category(points.shape[1], **more)]}, flip_pairs=flip_pairs)
    labelled = np.ones(points.shape[:2], bool) if labelled is None else labelled
    zeros = np.zeros(len(points), int)
    labels = {"class_ids": zeros, "is_crowd": zeros > 0, "keypoints_xy": points, "visibility": labelled}
    schema, notes = settle_sides(schema, labels)
    return schema.classes[0], [note.sentence for note in notes]


@pytest.mark.parametrize(
    "shape, limit, pairs",
    [(PLATE, 12, "p1:p2,p3:p4"), (PLATE[:2], 12, "p1:p2"), (BUG, 12, "p2:p3,p4:p5"), (BUG, 180, "p2:p3,p4:p5")],
    ids=["corners", "two ends", "upright", "turned freely"],
)
def test_sides_that_nobody_named(shape, limit, pairs):
    kind, (note,) = settle(draw(np.random.default_rng(0), shape, 24, limit))
    assert (kind.flip_source, kind.flip_pairs, kind.can_flip) == ("sided", (), False)
    assert f"--flip-pairs {pairs}; where nothing swaps, --flip-pairs none" in note


@pytest.mark.parametrize("tool, pairs", [(0, "p1:p2,p4:p5"), (1, None)], ids=["pliers", "screwdriver"])
def test_drawn_tools_without_names(tool, pairs):
    """As they lie on the bench of the demonstration, of which the pliers alone have sides."""
    rng = np.random.default_rng(0)
    points = [apply_to_points(rotation(rng.uniform(-60, 60)), SKETCHES[tool](rng).keypoints_xy) for _ in range(60)]
    kind, notes = settle(np.stack(points))
    assert kind.can_flip == (pairs is None)
    assert not notes if pairs is None else f"--flip-pairs {pairs};" in notes[0]


def test_several_classes_are_told_apart():
    """--flip-pairs none would also take the pairs of the class whose names tell them."""
    rng = np.random.default_rng(0)
    known = {"id": 2, "name": "bug", "keypoints": ["n", "ear left", "ear right", "foot left", "foot right", "t"]}
    schema = Schema.from_coco({"categories": [category(4, keypoints=["a 1", "a 2", "a 3", "a 4"]), known]})
    points = np.zeros((48, 10, 2))
    points[:24, :4], points[24:, 4:] = draw(rng, PLATE, 24), draw(rng, BUG, 24)
    labels = {"class_ids": np.arange(48) // 24, "is_crowd": np.zeros(48, bool), "keypoints_xy": points}
    schema, (note,) = settle_sides(schema, labels | {"visibility": points[..., 0] > 0})
    assert [kind.flip_source for kind in schema.classes] == ["sided", "names"] and not schema.can_flip
    assert note.remedy.endswith("""--flip-pairs 'a 1:a 2,a 3:a 4'; where nothing swaps, "flip_pairs": [] in its category""")


def test_order_in_words():
    points = draw(np.random.default_rng(0), PLATE, 24)
    points[3] = points[3, [1, 0, 3, 2]]
    assert "'p4' lies left of 'p3' in 23 of 24 objects" in settle(points)[1][0]


@pytest.mark.parametrize("share", [0.5, 0.3])
@pytest.mark.parametrize("shape, limit", [(BUG, 180), (DOG, 12)], ids=["on both faces", "facing both ways"])
def test_objects_that_occur_with_their_mirror_images(shape, limit, share):
    kind, notes = settle(draw(np.random.default_rng(0), shape, 60, limit, flipped=share))
    assert (kind.flip_source, kind.flip_pairs, notes) == ("none", (), [])


def test_rods_that_turn_freely_have_no_side():
    verdicts = [settle(draw(np.random.default_rng(seed), PLATE[:2], 30, 180))[0].can_flip for seed in range(50)]
    assert sum(verdicts) >= 48


def test_all_facing_one_way_is_not_mirrored_and_nothing_swaps():
    kind, (note,) = settle(draw(np.random.default_rng(0), DOG, 30))
    assert kind.flip_source == "sided" and "--flip-pairs LEFT:RIGHT" in note and "p1:" not in note


@pytest.mark.parametrize("count", [1, LEAST - 1])
def test_few_objects_show_nothing_and_are_not_mirrored(count):
    kind, (note,) = settle(draw(np.random.default_rng(0), PLATE, count))
    assert kind.flip_source == "few" and not kind.can_flip and f"{count} object" in note


def test_hidden_points_do_not_count():
    points = draw(np.random.default_rng(0), PLATE, 24, 180)
    assert settle(points, np.arange(4) < np.ones((24, 1)))[1] == []  # a single labelled point has no side
    labelled = np.arange(4) < np.full((24, 1), 2)
    assert settle(np.where(labelled[..., None], points, 0), labelled)[0].flip_source == "few"


@pytest.mark.parametrize(
    "names",
    [
        ["nose", "1L", "2R", "3L", "4R", "tail"],
        ["nose", "ear_left", "ear_right", "a", "b", "tail"],
        ["nariz", "oreja izq", "otra der", "p", "q", "cola"],
    ],
    ids=["partners unknown", "some named", "another language"],
)
def test_names_that_agree_with_places_swap(names):
    kind, (note,) = settle(draw(np.random.default_rng(0), BUG, 24, 180), keypoints=names)
    assert (kind.flip_source, kind.flip_pairs) == ("places", ((1, 2), (3, 4))) and kind.can_flip
    assert "--no-flip" in note


def test_names_that_contradict_places_are_not_mirrored():
    kind, (note,) = settle(
        draw(np.random.default_rng(0), BUG, 24), keypoints=["n", "ear_left", "foot_left", "foot_right", "ear_right", "t"]
    )
    assert (kind.flip_source, kind.flip_pairs) == ("sided", ()) and "ear_left:foot_left,foot_right:ear_right" in note


def test_right_names_are_left_alone():
    names = ["n", "ear_left", "ear_right", "foot_left", "foot_right", "t"]
    for limit, flipped in ((12, 0), (180, 0), (180, 0.5)):
        kind, notes = settle(draw(np.random.default_rng(0), BUG, 40, limit, flipped), keypoints=names)
        assert (kind.flip_source, kind.flip_pairs, notes) == ("names", ((1, 2), (3, 4)), [])


def test_what_the_user_says_stays():
    points = draw(np.random.default_rng(0), PLATE, 24)
    kind, notes = settle(points, flip_pairs=[])
    assert (kind.flip_source, kind.can_flip, notes) == ("flag", True, [])
    kind, (note,) = settle(points, flip_pairs=[("p1", "p3")])
    assert (kind.flip_source, kind.flip_pairs) == ("flag", ((0, 2),)) and "p1:p2,p3:p4" in note
    assert settle(points, flip_pairs=[("p2", "p1"), ("p3", "p4")])[1] == []


def test_check_and_training_give_one_verdict(tmp_path):
    """A renamed keypoint changes nothing for either; the same sentence stands in both."""
    points = draw(np.random.default_rng(0), PLATE, 24).round(2)
    annotations = [
        {
            "id": i + 1, "image_id": i + 1, "category_id": 1, "iscrowd": 0, "area": 100.0, "bbox": [150, 150, 90, 90],
            "num_keypoints": 4, "keypoints": [v for x, y in thing.tolist() for v in (x, y, 2)],
        }
        for i, thing in enumerate(points)
    ]  # fmt: skip
    (tmp_path / "images").mkdir()
    for i in range(24):
        (tmp_path / f"images/{i}.jpg").touch()
    images = [{"id": i + 1, "file_name": f"{i}.jpg", "width": 400, "height": 400} for i in range(24)]
    content = {"images": images, "annotations": annotations, "categories": [category(4)]}
    (tmp_path / "ann.json").write_text(json.dumps(content))
    dataset = read_coco(tmp_path / "ann.json", check_images=False)
    (finding,) = [f for f in check_dataset(tmp_path / "ann.json", open_images=False).findings if "not mirrored" in f.title]
    assert f"{finding.headline}; {finding.remedy}" in dataset.notes and not dataset.schema.can_flip
    assert read_coco(tmp_path / "ann.json", schema=Schema.from_coco(content), check_images=False).schema.can_flip
