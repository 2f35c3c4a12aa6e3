"""Suspects by made-up predictions: right labels are none, and each kind of error is one, in its place of the ranking."""

import dataclasses

import numpy as np
import pytest
from scored_objects import make_detection, make_record

from centerkp.evaluation.evaluate import ground_truth_as_detections
from centerkp.review.suspects import find_suspects
from centerkp.schema import ObjectClass, Schema

CAT = ObjectClass(
    "cat", 3, ("nose", "left_ear", "right_ear", "left_paw", "right_paw"), flip_pairs=((1, 2), (3, 4)), flip_source="names"
)
SCHEMA = Schema((CAT, ObjectClass("dog", 5, ("nose", "tail")), ObjectClass("nut", 7)))
POINTS = np.array([[50, 20, 2], [30, 5, 2], [70, 5, 1], [20, 95, 2], [80, 95, 2]], float)  # in a box of 100 x 100
IMAGES, SPOILT = 30, 4


def draw_labels():
    """(class, box, points) of a cat, a dog and a nut, in each image elsewhere."""
    rng, images = np.random.default_rng(0), []
    for _ in range(IMAGES):
        corners = np.array([[20, 20], [240, 40], [460, 30]]) + rng.uniform(0, 60, (3, 2))
        points = [POINTS, POINTS[[0, 3]], np.zeros((0, 3))]
        images.append([(c, [*x, *(x + 100)], p + [*x, 0]) for c, (x, p) in enumerate(zip(corners, points, strict=True))])
    return images


def see(images, pixels=2.0):
    """What a good model finds in images so labelled: nearly that, with many objects of low score besides."""
    rng, found = np.random.default_rng(1), []
    for number, objects in enumerate(images):
        record = make_record(SCHEMA, number, objects)
        seen = []
        for d in ground_truth_as_detections([record], SCHEMA)[0]:
            box, points = (xy + rng.normal(0, pixels, xy.shape) for xy in (d.box_xyxy, d.keypoints_xy))
            sure = {"score": float(rng.uniform(0.6, 0.95)), "keypoint_scores": d.keypoint_scores * 0.8}
            seen.append(dataclasses.replace(d, box_xyxy=box, keypoints_xy=points, **sure))
        noise = [make_detection(SCHEMA, 2, [x, 300, x + 60, 360], score=0.08) for x in (20, 120, 220)]
        found.append(seen + noise)
    return found


def shift(objects):
    class_id, box, points = objects[0]
    objects[0] = class_id, box, points + np.eye(5, 3, 1) * [[0, 25, 0]]  # the first alone


def exchange(*order, hidden=None):
    def change(objects):
        class_id, box, points = objects[0]
        points = points[list(order)]
        if hidden:
            points[hidden, 2] = 0
        objects[0] = class_id, box, points

    return change


def resize(factor, aside=0):
    def change(objects):
        class_id, box, points = objects[2]
        middle, half = np.add(box[:2], box[2:]) / 2 + [aside, 0], factor * 50
        objects[2] = class_id, [*(middle - half), *(middle + half)], points

    return change


def rename(objects):
    objects[0] = 1, objects[0][1], np.zeros((2, 3))


ERRORS = {
    "missing": ("missing", lambda objects: objects.pop(1)),
    "missing among none": ("missing", lambda objects: objects.clear()),
    "twice": ("twice", lambda objects: objects.append(objects[2])),
    "twice, nearly": ("twice", lambda objects: objects.append((0, np.add(objects[0][1], 8), objects[0][2] + [8, 8, 0]))),
    "twice, as two classes": ("twice", lambda objects: objects.append((1, objects[2][1], np.zeros((2, 3))))),
    "another class": ("class", rename),
    "a class without points": ("class", lambda objects: objects.__setitem__(0, (2, objects[0][1], []))),
    "a class with points": ("class", lambda objects: objects.__setitem__(2, (1, objects[2][1], np.zeros((2, 3))))),
    "all sides": ("exchanged", exchange(0, 2, 1, 4, 3)),
    "one pair": ("exchanged", exchange(0, 1, 2, 4, 3)),
    "one side, the other not labelled": ("exchanged", exchange(0, 2, 1, 3, 4, hidden=2)),
    "two points without sides": ("exchanged", exchange(3, 1, 2, 0, 4)),
    "one point": ("points", shift),
    "box too large": ("box", resize(1.3)),
    "box far too large": ("box", resize(1.9)),
    "box too small": ("box", resize(0.7)),
    "box beside": ("box", resize(1, aside=20)),
}


def find(images, found):
    return find_suspects([make_record(SCHEMA, number, objects) for number, objects in enumerate(images)], found, SCHEMA)


def test_right_labels_are_hardly_suspicious():
    images = draw_labels()
    assert [s for s in find(images, see(images)) if s.score > 0.5] == []


@pytest.mark.parametrize("name", ERRORS)
def test_errors_come_first(name):
    """Those of a few images, before all that is right."""
    images = draw_labels()
    found, (kind, change) = see(images), ERRORS[name]
    for objects in images[:SPOILT]:
        change(objects)
    suspects = find(images, found)
    top = [s for s in suspects if s.score > 0.5]
    assert {s.row for s in top} == set(range(SPOILT)) and {s.kind for s in top} == {kind}
    assert len(top) == SPOILT * (3 if name == "missing among none" else 1)
    assert all(s.score <= 1 for s in suspects) and [s.score for s in suspects] == sorted(s.score for s in suspects)[::-1]


@pytest.mark.parametrize("name", [n for n, (kind, _) in ERRORS.items() if kind in ("exchanged", "points", "class", "box")])
def test_proposals_mend(name):
    """The label that is proposed is nearly the one before the error; a box stays where it was right."""
    images, true = draw_labels(), draw_labels()
    found = see(images)
    for objects in images[:SPOILT]:
        ERRORS[name][1](objects)
    for s in find(images, found)[:SPOILT]:
        class_id, box, points = next(o for o in true[s.row] if np.abs(np.subtract(o[1], s.found.box_xyxy)).max() < 15)
        assert s.proposal.class_id == class_id and np.abs(s.proposal.box_xyxy - box).max() < 15
        assert np.abs(s.proposal.points_xy - np.reshape(points, (-1, 3))[:, :2]).max(initial=0) < 10


def test_all_kinds_share_one_ranking():
    """Ten errors of five kinds in ten images are the first ten."""
    images = draw_labels()
    found = see(images)
    for objects, name in zip(images, ("missing", "twice", "another class", "all sides", "one point") * 2, strict=False):
        ERRORS[name][1](objects)
    assert {s.row for s in find(images, found)[:10]} == set(range(10))


def test_crowds_and_what_lies_in_them_are_left_alone():
    images = draw_labels()
    found = see(images)
    for objects in images:
        objects[0] = (*objects[0], True)
    assert [s for s in find(images, found) if s.score > 0.5] == []


def test_a_model_that_is_never_right_is_not_believed():
    """Whatever it says, its word counts as little as it was right before."""
    images = draw_labels()
    rng = np.random.default_rng(3)
    found = [[make_detection(SCHEMA, 2, [x, 350, x + 50, 400], score=0.9) for x in rng.uniform(0, 500, 3)] for _ in images]
    assert all(s.score < 0.3 for s in find(images, found)) and find(images, [[] for _ in images]) == []


def test_schema_without_keypoints():
    images = [[o for o in objects if o[0] == 2] for objects in draw_labels()]
    schema = Schema((ObjectClass("nut", 7),))
    found = [[make_detection(schema, 0, o[1]) for o in objects] for objects in images]
    records = [make_record(schema, n, [(0, box, []) for _, box, _ in objects]) for n, objects in enumerate(images)]
    records[0] = make_record(schema, 0, [])
    assert [(s.kind, s.row) for s in find_suspects(records, found, schema, 0.5)] == [("missing", 0)]
