"""Left and right, and keypoints in wrong places; each with data where the doctor must stay silent."""

import numpy as np
import pytest
from doctor import check, found

from centerkp.doctor.keypoints import odd_pairs, pair_sides

SIZE = 400
BUG = ["head", "left_leg", "right_leg", "left_wing", "right_wing"]
SHAPE = np.array([[0, -40], [-15, 30], [15, 30], [-25, 0], [25, 0.0]])


def bug(rng, mirrored=False, names=BUG):
    """A bug seen from above, turned anyhow; mirrored it lies on its back."""
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shape = SHAPE[[BUG.index(name) for name in names]] * ([-1, 1] if mirrored else [1, 1])
    return (shape + rng.normal(0, 1.5, shape.shape)) @ turn.T + rng.uniform(80, 320, 2)


def dataset(objects, names=BUG, visibility=2):
    images = [{"id": i + 1, "file_name": f"{i + 1}.png", "width": SIZE, "height": SIZE} for i in range(len(objects))]
    annotations = []
    for i, points in enumerate(objects):
        low, high = points.min(0) - 5, points.max(0) + 5
        vector = [v for x, y in points.round(2).tolist() for v in (x, y, visibility)]
        entry = {"id": i + 1, "image_id": i + 1, "category_id": 1, "iscrowd": 0, "keypoints": vector, "area": 900.0}
        entry |= {"bbox": [*low.tolist(), *(high - low).tolist()], "num_keypoints": len(points) * (visibility > 0)}
        annotations.append(entry)
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "bug", "keypoints": names}]}


class TestLeftAndRight:
    @pytest.mark.parametrize("names", [BUG, BUG[1:], BUG[:3]], ids=["with a head", "pairs alone", "one pair"])
    def test_the_few_that_are_the_other_way_round(self, tmp_path, names):
        rng = np.random.default_rng(0)
        objects = [bug(rng, mirrored=i in (7, 30), names=names) for i in range(40)]
        if names == BUG[1:]:  # nothing tells the front from the back but the pairs themselves: exchange one of them
            objects = [bug(rng, names=names) for _ in range(40)]
            for i in (7, 30):
                objects[i][[0, 1]] = objects[i][[1, 0]]
        (finding,) = found(check(tmp_path, dataset(objects, names)), "left and right")
        assert finding.level == "suspicious"
        assert finding.rows == (7, 30)
        assert finding.places[0].startswith("annotation 8 (image 8, 8.png): left_")

    def test_silent_when_all_agree_whatever_way_they_are_turned(self, tmp_path):
        rng = np.random.default_rng(1)
        assert not found(check(tmp_path, dataset([bug(rng) for _ in range(60)])), "left and right")

    def test_silent_when_objects_are_seen_from_both_sides(self, tmp_path):
        rng = np.random.default_rng(2)
        assert not found(check(tmp_path, dataset([bug(rng, mirrored=i % 3 == 0) for i in range(60)])), "left and right")

    def test_silent_with_few_objects(self, tmp_path):
        rng = np.random.default_rng(3)
        assert not found(check(tmp_path, dataset([bug(rng, mirrored=i == 0) for i in range(8)])), "left and right")

    def test_silent_on_points_that_are_not_labelled(self, tmp_path):
        rng = np.random.default_rng(4)
        content = dataset([bug(rng, mirrored=i == 7) for i in range(40)])
        content["annotations"][7]["keypoints"][2::3] = [2, 0, 2, 0, 2]
        content["annotations"][7]["num_keypoints"] = 3
        assert not found(check(tmp_path, content), "left and right")

    def test_side_by_hand(self):
        """Left of an axis that points up the image is -1 in x: the pair runs right, the axis up, the sine is -1."""
        points = np.array([[[0, -10], [-5, 0], [5, 0]], [[0, -10], [5, 0], [-5, 0]], [[0, 0], [-5, 0], [5, 0.0]]])
        sides = pair_sides(points, np.ones((3, 3), bool), [(1, 2)])
        np.testing.assert_allclose(sides[:2, 0], [-1, 1])
        assert np.isnan(sides[2, 0])
        votes = np.concatenate([np.full((20, 1), -0.9), [[0.9], [0.1], [np.nan]]])
        assert np.flatnonzero(odd_pairs(votes)).tolist() == [20]


class TestPlaces:
    def test_points_outside_the_image(self, tmp_path):
        rng = np.random.default_rng(0)
        content = dataset([bug(rng) for _ in range(20)])
        content["annotations"][3]["keypoints"][:2] = [500, 20]
        (finding,) = found(check(tmp_path, content), "outside the image")
        assert (finding.count, finding.rows, finding.level) == (1, (3,), "mendable")
        assert finding.places[0] == "annotation 4 (image 4, 4.png): bug/head at (500, 20) in 400x400"

    def test_points_outside_their_boxes(self, tmp_path):
        rng = np.random.default_rng(0)
        content = dataset([bug(rng) for _ in range(20)])
        content["annotations"][3]["bbox"][2] /= 2
        (finding,) = found(check(tmp_path, content), "outside the object's box")
        assert (finding.level, finding.rows) == ("note", (3,))  # one of twenty may reach out
        for entry in content["annotations"][:6]:
            entry["bbox"][2] /= 3
        assert found(check(tmp_path, content), "outside the object's box")[0].level == "suspicious"

    def test_silent_on_points_a_little_outside(self, tmp_path):
        rng = np.random.default_rng(0)
        content = dataset([bug(rng) for _ in range(20)])
        for entry in content["annotations"]:
            entry["bbox"] = [entry["bbox"][0] + 6, *entry["bbox"][1:]]
        assert not found(check(tmp_path, content), "outside the object's box")

    def test_points_at_the_origin(self, tmp_path):
        rng = np.random.default_rng(0)
        content = dataset([bug(rng) for _ in range(20)])
        content["annotations"][5]["keypoints"][3:5] = [0, 0]
        assert found(check(tmp_path, content), "exactly (0, 0)")[0].rows == (5,)
        content["annotations"][5]["keypoints"][3:6] = [0, 0, 0]
        content["annotations"][5]["num_keypoints"] = 4
        assert not found(check(tmp_path, content), "exactly (0, 0)")


class TestVisibility:
    def test_all_hidden(self, tmp_path):
        rng = np.random.default_rng(0)
        objects = [bug(rng) for _ in range(25)]
        assert found(check(tmp_path, dataset(objects, visibility=1)), "visibility 1")[0].level == "note"
        assert not found(check(tmp_path, dataset(objects)), "visibility 1")

    def test_visibility_that_was_lost(self, tmp_path):
        rng = np.random.default_rng(0)
        content = dataset([bug(rng) for _ in range(25)], visibility=0)
        content["annotations"][0]["keypoints"][2::3] = [2] * 5
        content["annotations"][0]["num_keypoints"] = 5
        (finding,) = found(check(tmp_path, content), "the exporter lost the visibility")
        assert (finding.level, finding.count) == ("suspicious", 24 * 5)

    def test_keypoints_never_or_hardly_labelled(self, tmp_path):
        rng = np.random.default_rng(0)
        content = dataset([bug(rng) for _ in range(30)])
        for n, entry in enumerate(content["annotations"]):
            entry["keypoints"][:3] = [0, 0, 0]
            entry["keypoints"][3:6] = entry["keypoints"][3:6] if n < 3 else [0, 0, 0]
            entry["num_keypoints"] = 3 + (n < 3)
        assert found(check(tmp_path, content), "never labelled")[0].places == ("head: 0 of 30 objects",)
        assert found(check(tmp_path, content), "fewer than 20")[0].places == ("left_leg: 3 of 30 objects",)
        assert not found(check(tmp_path, dataset([bug(rng) for _ in range(30)])), "labelled")
