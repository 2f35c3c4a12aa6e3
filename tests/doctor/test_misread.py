"""Files whose numbers mean something else than COCO's: recognised where one reading alone fits, and never guessed."""

import itertools
import json

import numpy as np
import pytest
from doctor import check, found, write

from centerkp.doctor.check import check_dataset, write_mended
from centerkp.doctor.misread import Meaning
from centerkp.doctor.trainable import read_train_and_val

WIDTH, HEIGHT = 640, 400


def objects(count=40, seed=0, size=(WIDTH, HEIGHT)):
    """(count, 4) boxes as x, y, width, height and (count, 3, 2) points in them; one object for each image."""
    rng = np.random.default_rng(seed)
    sides = rng.uniform(30, 180, (count, 2))
    boxes = np.concatenate([rng.uniform(0, 1, (count, 2)) * (size - sides), sides], 1)
    points = boxes[:, None, :2] + rng.uniform(0, 1, (count, 3, 2)) * sides[:, None]
    points[:, 0], points[:, 1] = boxes[:, :2], boxes[:, :2] + sides  # as tight as keypoints mostly are
    return boxes, points


def dataset(boxes, points, size=(WIDTH, HEIGHT)):
    images = [{"id": i + 1, "file_name": f"{i + 1}.png", "width": size[0], "height": size[1]} for i in range(len(boxes))]
    annotations = [{"id": i + 1, "image_id": i + 1, "category_id": 1, "iscrowd": 0} for i in range(len(boxes))]
    for entry, box, own in zip(annotations, boxes, points, strict=True):
        entry["bbox"] = [float(v) for v in box]
        if len(own):
            entry |= {"keypoints": [float(v) for x, y in own for v in (x, y)], "num_keypoints": len(own)}
            entry["keypoints"] = [v for x, y in own for v in (float(x), float(y), 2)]
    category = {"id": 1, "name": "bolt", "keypoints": [f"k{n}" for n in range(points.shape[1])], "flip_pairs": []}
    return {"info": {}, "images": images, "annotations": annotations, "categories": [category]}


def misprint(boxes, points, meaning, size=(WIDTH, HEIGHT)):
    """The numbers as a program writes them that means something else than COCO."""
    corner, sides = boxes[:, :2], boxes[:, 2:]
    if meaning.points_in_box:
        points = (points - corner[:, None]) / (sides[:, None] if meaning.points_shares else 1)
    elif meaning.points_shares:
        points = points / size
    first = corner + sides / 2 if meaning.box == "center" else corner
    second = corner + sides if meaning.box == "corners" else sides
    boxes = np.concatenate([first, second], 1) / (np.tile(size, 2) if meaning.box_shares else 1)
    boxes = boxes[:, [1, 0, 3, 2]] if meaning.box_y_first else boxes
    return boxes, points[..., ::-1] if meaning.points_y_first else points


BOXES = [Meaning(*ways) for ways in itertools.product(("size", "corners", "center"), (False, True), (False, True))]
POINTS = [
    Meaning(points_y_first=y_first, points_shares=shares, points_in_box=in_box)
    for y_first, shares, in_box in itertools.product((False, True), repeat=3)
]
BOTH = [
    Meaning("center", False, True, False, True),  # YOLO's labels of poses
    Meaning("corners", True, False, True),  # rows before columns throughout
    Meaning("size", False, True, False, True),
    Meaning("corners", False, False, False, True),
    Meaning("center", False, False, False, True, True),
    Meaning("corners", False, True, False, False),
]
UNDECIDED = Meaning(points_y_first=True, points_shares=True, points_in_box=True)  # fits wherever x, y does
MEANINGS = list(dict.fromkeys(m for m in [*BOXES, *POINTS, *BOTH] if m not in (Meaning(), UNDECIDED)))
ALONE = [Meaning(box_shares=True), Meaning("corners"), Meaning("center"), Meaning("center", box_shares=True)]


class TestOrdersAndUnits:
    @pytest.mark.parametrize("meaning", MEANINGS, ids=lambda m: m.describe().replace(" ", "-"))
    def test_the_one_reading_that_fits_is_named_and_mended(self, tmp_path, meaning):
        boxes, points = objects()
        checkup = check(tmp_path, dataset(*misprint(boxes, points, meaning)))
        (finding,) = [f for f in checkup.findings if f.is_misread]
        assert finding.title == meaning.describe() and finding.level == "mendable" and checkup.exit_code == 2
        write_mended(checkup, tmp_path / "mended.json", drop=True)
        entries = json.loads((tmp_path / "mended.json").read_text())["annotations"]
        np.testing.assert_allclose([entry["bbox"] for entry in entries], boxes, atol=2e-3)
        written = np.array([entry["keypoints"] for entry in entries]).reshape(-1, 3, 3)[..., :2]
        np.testing.assert_allclose(written, points, atol=2e-3)
        assert check_dataset(tmp_path / "mended.json", open_images=False).exit_code <= 1

    @pytest.mark.parametrize("meaning", ALONE, ids=str)
    def test_boxes_alone_are_told_by_the_borders(self, tmp_path, meaning):
        boxes, points = objects(80)
        boxes, points = misprint(boxes, points[:, :0], meaning)
        (finding,) = [f for f in check(tmp_path, dataset(boxes, points)).findings if f.is_misread]
        assert finding.title == meaning.describe()

    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize("out", [0, 0.3, 0.9])
    def test_silent_on_keypoints_that_reach_out_of_their_boxes(self, tmp_path, seed, out):
        boxes, points = objects(seed=seed)
        points[: int(out * len(points)), 2] += [70, 10]
        checkup = check(tmp_path, dataset(boxes, np.clip(points, 0, [WIDTH, HEIGHT])))
        assert not [f for f in checkup.findings if f.is_misread]


class TestNothingIsGuessed:
    def test_two_readings_that_both_fit(self, tmp_path):
        """In square images nobody can say whether the points or the boxes have y before x."""
        boxes, points = objects(size=(400, 400))
        checkup = check(tmp_path, dataset(boxes, points[..., ::-1], (400, 400)))
        (finding,) = found(checkup, "contradict their pictures or themselves")
        assert (
            checkup.exit_code == 2
            and "boxes written as y, x" in finding.remedy
            and "keypoints written as y, x" in finding.remedy
        )
        with pytest.raises(ValueError, match="contradiction to their pictures"):
            write_mended(checkup, tmp_path / "dropped.json", drop=True)

    def test_no_reading_fits(self, tmp_path):
        boxes, points = objects()
        checkup = check(tmp_path, dataset(boxes, np.random.default_rng(1).permutation(points)))
        assert found(checkup, "contradict their pictures or themselves")
        with pytest.raises(ValueError, match="contradiction to their pictures"):
            write_mended(checkup, tmp_path / "dropped.json", drop=True)
        assert not (tmp_path / "dropped.json").exists()

    def test_small_boxes_in_shares_may_be_corners_or_centers(self, tmp_path):
        rng = np.random.default_rng(0)
        boxes = np.concatenate([rng.uniform(0.3, 0.5, (20, 2)), rng.uniform(0.05, 0.2, (20, 2))], 1)
        checkup = check(tmp_path, dataset(boxes, np.zeros((20, 0, 2))))
        assert "center x, center y" in found(checkup, "shares of the image")[0].remedy and checkup.exit_code == 2

    @pytest.mark.parametrize("y_first", [False, True])
    def test_corners_in_shares_throughout_may_have_y_first(self, tmp_path, y_first):
        numbers = misprint(*objects(), Meaning("corners", y_first, True, y_first, True))
        (finding,) = found(check(tmp_path, dataset(*numbers)), "shares of the image")
        assert finding.level == "unusable" and "x0, y0, x1, y1" in finding.remedy and "y0, x0, y1, x1" in finding.remedy


class TestShiftedIds:
    @pytest.mark.parametrize("shift", [1, -1])
    def test_ranges_that_differ_by_one(self, tmp_path, shift):
        content = dataset(*objects(5))
        for entry in content["annotations"]:
            entry["image_id"] -= shift
        checkup = check(tmp_path, content)
        assert found(checkup, "shifted by one, so every label is on another picture")[0].is_misread
        write_mended(checkup, tmp_path / "mended.json", drop=True)
        mended = json.loads((tmp_path / "mended.json").read_text())
        assert [entry["image_id"] for entry in mended["annotations"]] == [1, 2, 3, 4, 5]

    def test_labels_that_fit_the_sizes_of_the_neighbours(self, tmp_path):
        """No id is unknown, as the first picture has no object."""
        rng, boxes = np.random.default_rng(0), objects()[0]
        content = dataset(boxes, np.zeros((40, 0, 2)))
        for image, box in zip(content["images"], boxes, strict=True):
            image["width"], image["height"] = (box[:2] + box[2:] + rng.uniform(0, 60, 2)).astype(int).tolist()
        content["annotations"] = [entry | {"image_id": entry["image_id"] - 1} for entry in content["annotations"][1:]]
        checkup = check(tmp_path, content)
        assert found(checkup, "shifted by one")[0].is_misread
        write_mended(checkup, tmp_path / "mended.json")
        ids = [entry["image_id"] for entry in json.loads((tmp_path / "mended.json").read_text())["annotations"]]
        assert ids == list(range(2, 41))

    @pytest.mark.parametrize("gone", [[0], [39], [0, 20], []])
    def test_silent_on_unknown_ids_and_pictures_without_objects(self, tmp_path, gone):
        content = dataset(*objects())
        content["annotations"] = [entry for n, entry in enumerate(content["annotations"]) if n not in gone]
        content["annotations"][3]["image_id"] = 900
        assert not found(check(tmp_path, content), "shifted by one")

    def test_training_names_the_command_that_mends(self, tmp_path):
        path = write(tmp_path, dataset(*misprint(*objects(), Meaning(points_shares=True))))
        with pytest.raises(ValueError, match=f"centerkp check {path} --fix mended.json"):
            read_train_and_val(path, check_images=False)

    def test_points_relative_to_no_box_are_no_longer_labelled(self, tmp_path):
        """They have no place; numbers that are none would make the copy no JSON."""
        boxes, points = objects(200)
        content = dataset(*misprint(boxes, points, Meaning(points_in_box=True)))
        del content["annotations"][7]["bbox"]
        checkup = check(tmp_path, content)
        write_mended(checkup, tmp_path / "mended.json")
        text = (tmp_path / "mended.json").read_text()
        assert "NaN" not in text and json.loads(text)["annotations"][7]["keypoints"] == [0] * 9
        assert found(checkup, "box missing")[0].count == 1
