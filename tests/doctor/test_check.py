"""The doctor as a user meets it: whole files in, findings and exit codes out."""

import copy
import json

import cv2
import doctor
import numpy as np
import pytest
from broken_files import HEIGHT, MENDABLE, POINTS, UNUSABLE, WIDTH, dataset, pliers
from doctor import write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from centerkp.cli import main
from centerkp.demo.scenes import write_demo
from centerkp.doctor.check import check_dataset, write_mended
from centerkp.doctor.trainable import read_train_and_val
from centerkp.labels.coco import read_coco


def draw(seed, size=(WIDTH, HEIGHT)):
    """A picture like no other."""
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
    return cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)


def write_with_pictures(folder, content):
    for image in content["images"]:
        cv2.imwrite(str(folder / image["file_name"]), draw(image["id"]))
    return write(folder, content)


def check(tmp_path, content, **options):
    return doctor.check(tmp_path, content, image_size=256, **options)


def titles(checkup, *levels):
    return [f.headline for f in checkup.findings if not levels or f.level in levels]


def has(checkup, text, level=None):
    found = [f for f in checkup.findings if text in f.headline]
    assert len(found) <= 1, found
    return bool(found) and (level is None or found[0].level == level)


def one(checkup, text):
    found = [f for f in checkup.findings if text in f.headline]
    assert len(found) == 1, titles(checkup)
    return found[0]


class TestGoodData:
    def test_a_clean_file_has_nothing_to_find(self, tmp_path):
        checkup = check_dataset(write_with_pictures(tmp_path, dataset()), image_size=256)
        assert checkup.findings == []
        assert checkup.exit_code == 0

    def test_the_demonstration_dataset_is_good(self, tmp_path):
        files = write_demo(tmp_path / "demo", num_train=30, num_val=10, num_test=1)
        checkup = check_dataset(files.train_json, val=files.val_json, image_size=256)
        assert checkup.exit_code == 0
        assert titles(checkup, "advice") == []
        assert len(checkup.images.looks) == 30

    def test_counts_by_hand(self, tmp_path):
        content = dataset(4)
        content["annotations"][0]["keypoints"][2] = 1
        content["annotations"][1]["keypoints"][:3] = [0, 0, 0]
        content["annotations"][1]["num_keypoints"] = 2
        content["annotations"][3]["iscrowd"] = 1
        numbers = check(tmp_path, content).statistics
        assert (numbers.objects.tolist(), numbers.crowds.tolist(), numbers.images.tolist()) == ([3], [1], [4])
        assert numbers.visible.tolist() == [1, 3, 3]
        assert numbers.occluded.tolist() == [1, 0, 0]
        assert numbers.histogram.sum() == 3


class TestMending:
    @pytest.mark.parametrize(("damage", "title"), MENDABLE, ids=[title for _, title in MENDABLE])
    def test_what_can_be_mended_is_found_and_gone_afterwards(self, tmp_path, damage, title):
        content = dataset()
        damage(content)
        if isinstance(content["images"][0]["id"], str):
            content["annotations"][0]["image_id"] = "one"
        checkup = check(tmp_path, content)
        finding = next((f for f in checkup.findings if title in f.headline), None)
        assert finding, titles(checkup)
        assert checkup.exit_code == 1, titles(checkup)
        write_mended(checkup, tmp_path / "mended.json")
        again = check_dataset(tmp_path / "mended.json", open_images=False, image_size=256)
        assert again.exit_code == 0, titles(again)
        assert read_coco(write_with_pictures(tmp_path, json.loads((tmp_path / "mended.json").read_text()))).notes == ()

    def test_the_original_and_its_good_parts_are_kept(self, tmp_path):
        content = dataset()
        content["annotations"][0]["iscrowd"] = False
        content["annotations"][5]["attributes"] = {"note": "ä"}
        checkup = check(tmp_path, content)
        before = checkup.path.read_bytes()
        changes = write_mended(checkup, tmp_path / "new" / "mended.json")
        assert checkup.path.read_bytes() == before
        mended = json.loads((tmp_path / "new" / "mended.json").read_text())
        content["annotations"][0]["iscrowd"] = 0
        assert mended == content
        assert [c.headline for c in changes] == ["1 annotation: 'iscrowd' is true or false, read as 1 or 0"]

    @pytest.mark.parametrize("info", [None, "none"])
    def test_a_file_without_info_gets_one(self, tmp_path, info):  # other programs stumble without
        content = dataset() | {"info": info}
        checkup = check(tmp_path, content)
        assert checkup.exit_code == 0, titles(checkup)
        changes = write_mended(checkup, tmp_path / "mended.json")
        assert json.loads((tmp_path / "mended.json").read_text()) == content | {"info": {"description": ""}}
        assert [c.headline for c in changes] == ["1 file: no usable 'info', an empty one written"]

    def test_the_file_itself_is_never_written(self, tmp_path):
        checkup = check(tmp_path, dataset())
        with pytest.raises(ValueError, match="which are never changed"):
            write_mended(checkup, checkup.path)

    def test_boxes_from_keypoints_only_when_asked(self, tmp_path):
        content = dataset()
        del content["annotations"][0]["bbox"]
        checkup = check(tmp_path, content)
        assert has(checkup, "box missing, made around the keypoints", "mendable")
        write_mended(checkup, tmp_path / "a.json")
        write_mended(checkup, tmp_path / "b.json", boxes_from_keypoints=True)
        assert "bbox" not in json.loads((tmp_path / "a.json").read_text())["annotations"][0]
        points = np.array(content["annotations"][0]["keypoints"]).reshape(3, 3)[:, :2]
        box = json.loads((tmp_path / "b.json").read_text())["annotations"][0]["bbox"]
        sides = points.max(0) - points.min(0)
        np.testing.assert_allclose(box, [*(points.min(0) - 0.1 * sides.max()), *(sides + 0.2 * sides.max())], atol=1e-3)

    def test_what_cannot_be_mended_is_dropped_only_when_asked(self, tmp_path):
        content = dataset()
        content["annotations"][3]["category_id"] = 77
        content["annotations"][4]["keypoints"] = [1, 2, 2]
        content["annotations"][5] |= {"bbox": [0, 0, 0, 0], "keypoints": [0] * 9, "num_keypoints": 0}
        checkup = check(tmp_path, content)
        assert checkup.exit_code == 2
        write_mended(checkup, tmp_path / "kept.json")
        assert check_dataset(tmp_path / "kept.json", open_images=False).exit_code == 2
        write_mended(checkup, tmp_path / "dropped.json", drop=True)
        again = check_dataset(tmp_path / "dropped.json", open_images=False, image_size=256)
        assert again.exit_code == 0
        assert len(again.labels.rows) == 21


@pytest.mark.parametrize(("damage", "title"), UNUSABLE, ids=[title for _, title in UNUSABLE])
def test_what_nothing_mends_stops(tmp_path, damage, title):
    content = dataset()
    damage(content)
    checkup = check(tmp_path, content)
    assert has(checkup, title, "unusable"), titles(checkup)
    assert checkup.exit_code == 2
    assert checkup.findings[0].level == "unusable"
    assert titles(checkup, "unusable")


def test_places_name_ids_and_the_count_is_of_all(tmp_path):
    content = dataset()
    for entry in content["annotations"][4:18]:
        entry["category_id"] = 5
    finding = one(check(tmp_path, content), "'category_id' that")
    assert finding.count == 14
    assert len(finding.places) == 10
    assert finding.places[0] == "annotation 5 (image 5, 5.png): category_id 5"


def test_keypoints_are_counted_and_their_annotations_named(tmp_path):
    content = dataset()
    content["annotations"][3]["keypoints"] = [*POINTS[:5], 7, *POINTS[6:8], 9]
    finding = one(check(tmp_path, content), "visibility none of 0, 1, 2")
    assert (finding.count, finding.noun, finding.level) == (2, "keypoint", "mendable")
    assert finding.places == ("annotation 4 (image 4, 4.png)",) and finding.rows == (3,)


def test_a_file_that_is_not_coco_is_named(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('[{"image_id": 1, "category_id": 1, "score": 0.5}]')
    checkup = check_dataset(path)
    assert checkup.exit_code == 2
    assert "COCO results file" in checkup.findings[0].title
    with pytest.raises(ValueError, match="no COCO dataset"):
        write_mended(checkup, tmp_path / "b.json")


class TestClasses:
    def test_a_class_without_annotations(self, tmp_path):
        content = dataset()
        content["categories"].append({"id": 9, "name": "bolt"})
        checkup = check(tmp_path, content)
        assert one(checkup, "used by no annotation").places == ("category 9 (bolt)",)
        assert checkup.exit_code == 0 and checkup.schema.class_names == ("pliers",)
        content["annotations"].append(pliers(99, 3, 250, 60) | {"category_id": 9, "keypoints": [], "num_keypoints": 0})
        assert has(check(tmp_path, content), "ids with gaps, from 1 to 9", "note")

    def test_keypoints_in_annotations_only(self, tmp_path):
        content = dataset()
        content["categories"].append({"id": 2, "name": "bolt"})
        content["annotations"].append(pliers(99, 3, 250, 60) | {"category_id": 2})
        assert has(check(tmp_path, content), "keypoints of a class that names none", "suspicious")

    def test_sided_names_without_partner(self, tmp_path):
        content = dataset()
        content["categories"][0]["keypoints"][2] = "other_grip"
        assert one(check(tmp_path, content), "a side in the name and no partner").places == ("left_grip",)

    def test_validation_must_have_the_same_classes_and_keypoints(self, tmp_path):
        train, val = dataset(), dataset()
        val["categories"][0]["keypoints"][0] = "nose"
        val["categories"].append({"id": 2, "name": "bolt"})
        val["annotations"].append(pliers(99, 3, 250, 60) | {"category_id": 2, "keypoints": [], "num_keypoints": 0})
        other = write(tmp_path, val, "val.json")
        checkup = check(tmp_path, train, val=other)
        assert one(checkup, "not in the training file").places == ("bolt",)
        assert titles(checkup, "unusable")[0].startswith("val: ")
        assert one(checkup, "other keypoints than").headline == "val: 1 category: other keypoints than in the training file"
        assert checkup.exit_code == 2

    def test_validation_may_lack_classes_and_labels(self, tmp_path):
        val = dataset()
        val["annotations"] = val["annotations"][:1]
        checkup = check(tmp_path, dataset(), val=write(tmp_path, val, "val.json"))
        assert checkup.exit_code == 1 and not titles(checkup, "unusable", "mendable")

    def test_images_without_annotations(self, tmp_path):
        content = dataset()
        content["annotations"] = content["annotations"][:20]
        assert has(check(tmp_path, content), "without annotations (of 24 images)", "note")
        content["annotations"] = content["annotations"][:5]
        assert has(check(tmp_path, content), "without annotations, most of the file's 24", "suspicious")


JUNK = st.sampled_from(
    [None, True, -1, 0, 2, 2.5, 10**30, float("nan"), 1e300, "", "7", "\ud800", [], {}, [[1]], {"a": [None]}]
)


def places(value, path=()):
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] + [place for key, child in inner for place in places(child, (*path, key))]


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_doctor_and_the_reader_never_disagree(tmp_path_factory, data):
    """Whatever is broken: no other exception, 2 where training refuses the file and its mended copy, and nowhere else."""
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    content = dataset(2)
    for _ in range(data.draw(st.integers(1, 3))):
        *parents, key = data.draw(st.sampled_from(places(content)[1:] or [(None,)]))
        holder = content
        for step in parents:
            holder = holder[step]
        if key is None:
            break
        holder[key] = copy.deepcopy(data.draw(JUNK))
    path = write(folder, content)
    for name in ("1.png", "2.png"):
        if not (folder / name).exists():
            cv2.imwrite(str(folder / name), draw(int(name[0])))
    checkup = check_dataset(path)
    refusal = try_reading(path)
    assert bool(refusal) == (checkup.exit_code == 2), (refusal, titles(checkup))
    if checkup.reading is not None:
        write_mended(checkup, folder / "mended.json")
        refusal = try_reading(folder / "mended.json")
        assert bool(refusal) == (checkup.exit_code == 2), (refusal, titles(checkup))


def try_reading(path):
    """Why training refuses a file; empty when it does not."""
    try:
        read_train_and_val(path)
        return ""
    except ValueError as error:
        return str(error)


def resized(folder):
    """Two pictures half as large as the JSON says, one of them with an annotation whose vector is too short."""
    for name, level in (("a.png", 90), ("b.png", 160)):
        cv2.imwrite(str(folder / name), np.full((50, 50, 3), level, np.uint8))
    whole = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 40, 40], "area": 1600, "iscrowd": 0}
    whole |= {"keypoints": [12, 12, 2, 20, 20, 2, 30, 30, 2], "num_keypoints": 3, "segmentation": [[10, 10, 50, 10, 50, 50]]}
    content = {
        "images": [{"id": i, "file_name": name, "width": 100, "height": 100} for i, name in ((1, "a.png"), (2, "b.png"))],
        "annotations": [whole, whole | {"id": 2, "keypoints": [12, 12, 2, 20, 20, 2]}, whole | {"id": 3, "image_id": 2}],
        "categories": [{"id": 1, "name": "part", "keypoints": ["x", "y", "z"]}],
    }
    return write(folder, content)


def test_images_move_with_all_their_labels_or_not_at_all(tmp_path):
    checkup = check_dataset(resized(tmp_path))
    assert one(checkup, "length is not three times").level == "unusable"  # two whole triples are no three pairs
    write_mended(checkup, tmp_path / "mended.json")
    mended = json.loads((tmp_path / "mended.json").read_text())
    assert [image["width"] for image in mended["images"]] == [100, 50]
    first, faulty, moved = mended["annotations"]
    assert first["bbox"] == faulty["bbox"] == [10, 10, 40, 40] and "segmentation" in first
    assert moved["bbox"] == [5, 5, 20, 20] and moved["area"] == 400 and moved["keypoints"][:2] == [6, 6]
    assert "segmentation" not in moved


def test_a_mended_file_replaces_nothing_unasked(tmp_path, capsys):
    path = resized(tmp_path)
    command = ["check", str(path), "--no-images", "--fix", str(tmp_path / "mended.json")]
    assert main(command) == 2 and main(command) == 2
    assert "found a file of this name" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 2 and "wrote" in capsys.readouterr().out


def test_a_class_name_that_is_a_list(tmp_path):
    content = dataset() | {"categories": [*dataset()["categories"], {"id": 77, "name": ["a"], "supercategory": "b"}]}
    assert check(tmp_path, content).exit_code == 2


def test_no_entry_of_an_image_is_usable(tmp_path):
    checkup = check(tmp_path, dataset() | {"images": [[1]]})  # a list in place of an entry
    assert checkup.exit_code == 2
    write_mended(checkup, tmp_path / "mended.json")
    assert len(json.loads((tmp_path / "mended.json").read_text())["annotations"]) == len(dataset()["annotations"])
