import copy
import json
import math
import time

import cv2
import numpy as np
import pytest

from centerkp.labels.coco import read_coco
from centerkp.labels.records import Dataset
from centerkp.schema import Schema

WIDTH, HEIGHT = 64, 48
TOOL = {"id": 15, "name": "tool", "keypoints": ["tip", "left_grip", "right_grip"], "skeleton": [[1, 2]]}
BOLT = {"id": 3, "name": "bolt"}


def small_coco():
    """Two images, two tools and a bolt; nothing to mend."""
    return {
        "images": [
            {"id": 7, "file_name": "a.png", "width": WIDTH, "height": HEIGHT},
            {"id": 9, "file_name": "b.png", "width": WIDTH, "height": HEIGHT},
        ],
        "annotations": [
            annotation(1, 7, [10, 10, 20, 20], [12, 12, 2, 20, 25, 1, 0, 0, 0]),
            annotation(2, 9, [4, 6, 30, 10], [5, 7, 2, 30, 15, 2, 6, 15, 2]),
            {"id": 3, "image_id": 9, "category_id": 3, "bbox": [0, 0, 8, 4], "area": 32, "iscrowd": 0},
        ],
        "categories": [copy.deepcopy(TOOL), copy.deepcopy(BOLT)],
    }


def annotation(number, image_id, bbox, keypoints):
    labelled = sum(v > 0 for v in keypoints[2::3])
    entry = {"id": number, "image_id": image_id, "category_id": 15, "bbox": bbox, "area": 100.0, "iscrowd": 0}
    return entry | {"keypoints": keypoints, "num_keypoints": labelled}


def write_image(path, width=WIDTH, height=HEIGHT):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name)
    return tmp_path


def read(folder, content, **options) -> Dataset:
    path = folder / "ann.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return read_coco(path, **options)


def refuse(folder, content, **options) -> str:
    with pytest.raises(ValueError) as caught:
        read(folder, content, **options)
    return str(caught.value)


def mended(folder, change, **options) -> tuple[Dataset, str]:
    """Reads the small dataset after `change(content)`; the dataset and its notes as one text."""
    content = small_coco()
    change(content)
    dataset = read(folder, content, **options)
    return dataset, "\n".join(dataset.notes)


def first(content, **values):
    content["annotations"][0].update(values)


class TestRecords:
    def test_a_clean_file_by_hand(self, folder):
        dataset = read(folder, small_coco())
        assert dataset.notes == ()
        assert dataset.schema.class_names == ("bolt", "tool")  # ordered by category id, 3 before 15
        a, b = dataset.records
        assert (a.image_id, a.path, a.file_name, a.width, a.height) == (7, folder / "a.png", "a.png", WIDTH, HEIGHT)
        np.testing.assert_array_equal(a.boxes_xyxy, [[10, 10, 30, 30]])
        np.testing.assert_array_equal(a.keypoints_xy, [[[12, 12], [20, 25], [0, 0]]])
        np.testing.assert_array_equal(a.visibility, [[2, 1, 0]])
        np.testing.assert_array_equal(b.class_ids, [1, 0])
        np.testing.assert_array_equal(b.visibility, [[2, 2, 2], [0, 0, 0]])
        np.testing.assert_array_equal(b.areas, [100, 32])
        np.testing.assert_array_equal(b.annotation_ids, [2, 3])
        types = [getattr(b, n).dtype.name for n in ("boxes_xyxy", "class_ids", "keypoints_xy", "visibility", "is_crowd")]
        assert types == ["float32", "int32", "float32", "uint8", "bool"]

    def test_two_keypoint_classes_stand_one_after_the_other_on_the_flat_axis(self, folder):
        content = small_coco()
        content["categories"][1]["keypoints"] = ["head"]
        content["annotations"][2] |= {"keypoints": [3, 2, 2], "num_keypoints": 1}
        b = read(folder, content).records[1]
        np.testing.assert_array_equal(b.visibility, [[0, 2, 2, 2], [2, 0, 0, 0]])
        np.testing.assert_array_equal(b.keypoints_xy[:, 0], [[0, 0], [3, 2]])

    def test_crowds_with_rle_are_kept_and_marked(self, folder):
        mask = {"counts": [0, 20, 30], "size": [10, 5]}
        dataset, notes = mended(folder, lambda c: first(c, iscrowd=1, segmentation=mask))
        assert dataset.records[0].is_crowd.tolist() == [True]
        assert notes == ""

    def test_a_plain_detection_dataset_has_no_keypoint_axis(self, folder):
        content = small_coco() | {"categories": [{"id": 15, "name": "tool"}, BOLT]}
        for entry in content["annotations"]:
            entry.pop("keypoints", None)
        record = read(folder, content).records[1]
        assert record.keypoints_xy.shape == (2, 0, 2)
        assert record.visibility.shape == (2, 0)

    def test_without_check_the_json_is_trusted_and_files_are_not_opened(self, folder):
        (folder / "a.png").write_bytes(b"")
        assert len(read(folder, small_coco(), check_images=False).records) == 2

    def test_a_hundred_thousand_keypoints_do_not_take_long(self, folder):
        content = small_coco()
        content["annotations"] = [annotation(i, 7, [1, 1, 9, 9], [2, 2, 2, 3, 3, 1, 4, 4, 2]) for i in range(33_000)]
        path = folder / "ann.json"
        path.write_text(json.dumps(content))
        start = time.process_time()  # whatever else the machine does
        record = read_coco(path, check_images=False).records[0]
        assert record.keypoints_xy.shape == (33_000, 3, 2)
        assert time.process_time() - start < 8


MENDED = [
    (dict(iscrowd=False), "1 annotation: 'iscrowd' is true or false"),
    (dict(iscrowd=None), "1 annotation: 'iscrowd' missing"),
    (dict(id="1"), "1 annotation: 'id' written as text"),
    (dict(image_id=7.0, category_id="15"), "1 annotation: 'image_id' written as text"),
    (dict(area=0), "1 annotation: 'area' missing or zero"),
    (dict(area=None), "1 annotation: 'area' missing or zero"),
    (dict(num_keypoints=3), "1 annotation: 'num_keypoints' missing or wrong"),
    (dict(num_keypoints=None), "1 annotation: 'num_keypoints' missing or wrong"),
    (dict(id=None), "1 annotation: 'id' missing"),
    (dict(keypoints=[12, 12, 2, 20, 25, 1, 9, 9, 0]), "1 keypoint: coordinates given at visibility 0"),
    (dict(keypoints=[12, 12, 2, 20, 25, 1, math.nan, None, 0]), "1 keypoint: coordinates given at visibility 0"),
]


class TestMending:
    @pytest.mark.parametrize(("values", "note"), MENDED)
    def test_harmless_faults_leave_the_record_as_it_was(self, folder, values, note):
        clean = read(folder, small_coco()).records[0]
        dataset, notes = mended(folder, lambda c: first(c, **values))
        assert note in notes
        record = dataset.records[0]
        for name in ("boxes_xyxy", "class_ids", "keypoints_xy", "visibility", "is_crowd"):
            np.testing.assert_array_equal(getattr(record, name), getattr(clean, name))
        assert record.areas.tolist() == ([400.0] if "area" in values else [100.0])
        assert record.annotation_ids.tolist() == ([4] if values.get("id", 1) is None else [1])

    def test_boxes_are_clipped_and_counted(self, folder):
        dataset, notes = mended(folder, lambda c: first(c, bbox=[-5, 10, 200, 20]))
        np.testing.assert_array_equal(dataset.records[0].boxes_xyxy, [[0, 10, WIDTH, 30]])
        assert notes == "1 annotation: box reached over the image border, clipped"

    @pytest.mark.parametrize("bbox", [None, [], [10, 10, 0, 20], [30, 30, -5, -5], [300, 10, 5, 5], [0, 0, 0, 0]])
    def test_unusable_boxes_are_made_around_two_labelled_points(self, folder, bbox):
        dataset, notes = mended(folder, lambda c: first(c, bbox=bbox, area=None))
        np.testing.assert_allclose(dataset.records[0].boxes_xyxy, [[10.7, 10.7, 21.3, 26.3]], atol=1e-5)
        np.testing.assert_allclose(dataset.records[0].areas, [10.6 * 15.6], rtol=1e-5)
        words = "1 annotation: no usable box, made around the labelled keypoints with a margin of 10% of their longer side"
        assert words in notes

    @pytest.mark.parametrize(
        ("bbox", "why"), [(None, "box missing"), ([1, 1, 0, 2], "box of zero or negative"), ([99, 1, 2, 2], "box outside")]
    )
    def test_unusable_boxes_without_enough_points_are_left_out_by_name(self, folder, bbox, why):
        dataset, notes = mended(
            folder, lambda c: first(c, id=77, bbox=bbox, keypoints=[5, 5, 2, 0, 0, 0, 0, 0, 0], num_keypoints=1)
        )
        assert len(dataset.records[0].boxes_xyxy) == 0
        assert dataset.records[0].keypoints_xy.shape == (0, 3, 2)
        left_out, negatives = notes.splitlines()
        assert left_out.startswith(f"1 annotation: {why}") and left_out.endswith("left out; the ids: 77")
        assert negatives == "1 image: all annotations left out, kept as negatives"

    def test_points_outside_become_unlabelled_points_on_the_border_stay(self, folder):
        points = [WIDTH, HEIGHT, 2, -1, 10, 2, 10, HEIGHT + 1, 1]
        dataset, notes = mended(folder, lambda c: first(c, keypoints=points, num_keypoints=3))
        np.testing.assert_array_equal(dataset.records[0].visibility, [[2, 0, 0]])
        np.testing.assert_array_equal(dataset.records[0].keypoints_xy, [[[WIDTH, HEIGHT], [0, 0], [0, 0]]])
        assert notes == "2 keypoints: outside the image, read as not labelled"

    def test_strange_visibility_counts_as_visible_when_positive(self, folder):
        points = [12, 12, 3, 20, 25, 0.5, 9, 9, -1]
        dataset, notes = mended(folder, lambda c: first(c, keypoints=points, num_keypoints=2))
        np.testing.assert_array_equal(dataset.records[0].visibility, [[2, 2, 0]])
        assert "3 keypoints: visibility none of 0, 1, 2" in notes

    @pytest.mark.parametrize("points", [None, []])
    def test_missing_keypoints_are_all_unlabelled(self, folder, points):
        dataset, notes = mended(folder, lambda c: first(c, keypoints=points))
        assert not dataset.records[0].visibility.any()
        assert notes == "1 annotation: no keypoints, though the class has them: all read as not labelled"

    def test_keypoints_of_a_class_without_names_are_ignored(self, folder):
        def change(content):
            content["annotations"][2]["keypoints"] = [1, 1, 2, 3, 3]
            content["categories"][1] |= {"keypoints": [], "skeleton": [[0, 1]]}

        dataset, notes = mended(folder, change)
        assert dataset.schema.num_keypoints == 3
        assert notes == "1 annotation: keypoints of a class that names none, ignored"

    def test_images_without_annotations_are_negatives(self, folder):
        dataset, notes = mended(folder, lambda c: c["annotations"].clear())
        assert [len(r.boxes_xyxy) for r in dataset.records] == [0, 0]
        assert notes == "2 images: no annotations, kept as negatives"

    def test_missing_ids_are_numbered_after_the_others(self, folder):
        def change(content):
            for entry in content["annotations"][:2]:
                del entry["id"]

        dataset, _ = mended(folder, change)
        assert [r.annotation_ids.tolist() for r in dataset.records] == [[4], [5, 3]]


FAULTS = [
    (dict(keypoints=[1, 2, 2]), ["'keypoints' whose length", "annotation 1 (image 7, a.png): found 3 numbers, expected 9"]),
    (dict(keypoints={"x": 1}), ["'keypoints' whose length", "found {'x': 1}, expected a list of 9 numbers"]),
    (dict(image_id=2**63), ["'image_id' too large (1): give each a whole number from"]),
    (dict(keypoints=[1, math.nan, 2] + [0] * 6), ["NaN, infinite", "annotation 1 (image 7, a.png): keypoints hold [nan]"]),
    (dict(keypoints=["1", 1, 2] + [0] * 6), ["NaN, infinite", "keypoints hold ['1']"]),
    (dict(keypoints=[10**400, 1, 2] + [0] * 6), ["NaN, infinite"]),
    (dict(bbox=[1, 2, math.inf, 3]), ["NaN, infinite", "bbox [1, 2, inf, 3]"]),
    (dict(bbox=[1, 2, "4", 3]), ["NaN, infinite"]),
    (dict(bbox=[1, 2, 3]), ["'bbox' that is no list of 4 numbers"]),
    (dict(area=math.nan), ["NaN, infinite", "area nan"]),
    (dict(iscrowd=2), ["'iscrowd' that is neither 0 nor 1"]),
    (dict(category_id=1), ["'category_id' that 'categories' does not hold", "annotation 1 (image 7, a.png)", "[3, 15]"]),
    (dict(image_id=8), ["'image_id' that 'images' does not hold", "annotation 1 (image 8): image_id 8"]),
    (dict(image_id=None), ["'image_id' missing or no whole number"]),
    (dict(id=2), ["annotation ids that stand more than once (2)", "annotation 2 (image 7, a.png)"]),
    (dict(id="x1"), ["'id' missing or no whole number", "annotation 'x1'"]),
]


class TestFaults:
    @pytest.mark.parametrize(("values", "parts"), FAULTS)
    def test_faults_of_one_annotation_are_named(self, folder, values, parts):
        content = small_coco()
        first(content, **values)
        report = refuse(folder, content)
        assert report.startswith(f"{folder / 'ann.json'}: found ")
        for part in parts:
            assert part in report

    def test_all_kinds_are_shown_together_ten_of_each(self, folder):
        content = small_coco()
        content["annotations"] = [annotation(i, 7, [1, 1, 5, 5], [1, 2, 3]) for i in range(100, 115)]
        content["annotations"].append(annotation(115, 7, [1, 1, math.nan, 5], [0] * 9))
        content["images"].append(dict(content["images"][0], file_name="lost.png"))
        report = refuse(folder, content)
        assert report.splitlines()[0].endswith(
            "found 19 faults of 4 kinds, expected a consistent COCO dataset; mend what is listed here. "
            f"'centerkp check {folder / 'ann.json'} --fix mended.json' mends what is clear."
        )
        assert "(15): write x, y, visibility" in report and "and 5 more" in report
        assert "annotation 109" in report and "annotation 110" not in report
        assert "annotation 115" in report
        assert "image ids that stand more than once (2)" in report
        assert "missing images (1)" in report and "'lost.png'" in report and str(folder) in report

    def test_missing_images_are_faults_without_check_too(self, tmp_path):
        report = refuse(tmp_path, small_coco(), check_images=False)
        assert "missing images (2)" in report and "images_dir" in report

    @pytest.mark.parametrize("key", ["images", "categories"])
    def test_no_entries(self, folder, key):
        assert f"empty list '{key}'" in refuse(folder, small_coco() | {key: []})

    def test_entries_that_are_no_objects(self, folder):
        content = small_coco()
        content["annotations"].append(5)
        assert "entries of 'annotations' that are no JSON objects (1)" in refuse(folder, content)

    @pytest.mark.parametrize(
        "values",
        [
            {"id": None},
            {"name": ""},
            {"name": "\ud800"},
            {"name": math.nan},
            {"keypoints": ["a\udfff"]},
            {"keypoints": 5},
            {"keypoints": [None]},
            {"flip_pairs": [["tip"]]},
            {"oks_sigmas": "big"},
        ],
    )
    def test_unusable_categories(self, folder, values):
        content = small_coco()
        content["categories"][0] |= values
        assert next(iter(values)) in refuse(folder, content)

    def test_a_skeleton_of_junk_is_left_out(self, folder):
        dataset, _ = mended(folder, lambda c: c["categories"][0].update(skeleton=[[1, 2], [1], 5, ["a", 2], [2, 3]]))
        assert dataset.schema.classes[1].skeleton == ((0, 1), (1, 2))


class TestTrainingSchema:
    def test_classes_are_matched_by_name_and_keypoints_permuted(self, folder):
        schema = Schema.from_coco(small_coco())
        content = small_coco()
        content["categories"] = [TOOL | {"id": 1, "keypoints": ["right_grip", "tip", "left_grip"]}, BOLT | {"id": 2}]
        for entry in content["annotations"]:
            entry["category_id"] = {15: 1, 3: 2}[entry["category_id"]]
        dataset = read(folder, content, schema=schema)
        assert dataset.schema is schema
        np.testing.assert_array_equal(dataset.records[1].class_ids, [1, 0])
        # the file's order is right_grip, tip, left_grip; the schema's is tip, left_grip, right_grip
        np.testing.assert_array_equal(dataset.records[0].keypoints_xy, [[[20, 25], [0, 0], [12, 12]]])
        np.testing.assert_array_equal(dataset.records[0].visibility, [[1, 0, 2]])

    def test_a_file_may_lack_classes_but_not_bring_new_ones(self, folder):
        schema = Schema.from_coco(small_coco())
        content = small_coco()
        content["categories"].pop()
        content["annotations"].pop()
        assert read(folder, content, schema=schema).records[1].class_ids.tolist() == [1]
        content["categories"][0]["name"] = "Tool"
        report = refuse(folder, content, schema=schema)
        assert "['Tool']" in report and "['bolt', 'tool']" in report and "rename" in report

    def test_other_keypoint_names_are_refused(self, folder):
        content = small_coco()
        content["categories"][0]["keypoints"] = ["tip", "left_grip", "spring"]
        report = refuse(folder, content, schema=Schema.from_coco(small_coco()))
        assert "spring" in report and "right_grip" in report and "'tool'" in report

    def test_flip_pairs_and_sigmas_reach_the_schema(self, folder):
        schema = read(folder, small_coco(), flip_pairs=[], oks_sigmas=0.1).schema
        assert schema.flip_permutation.tolist() == [0, 1, 2]
        np.testing.assert_allclose(schema.oks_sigmas, 0.1)
