"""Check and training say the same of a file, in the same words, whatever is wrong with it."""

import copy
import json

import numpy as np
import pytest
from broken_files import MENDABLE, NAMES, POINTS, UNUSABLE, change, dataset
from coco_files import write_picture
from PIL import Image

from centerkp.cli import main
from centerkp.doctor.check import check_dataset, write_mended
from centerkp.doctor.trainable import read_dataset, read_train_and_val
from centerkp.doctor.verdict import verdict


def every(where, function):
    return lambda content: content.update({where: [function(dict(entry)) for entry in content[where]]})


def with_category(**values):
    return lambda content: content["categories"].append({"id": 9, "name": "bolt", "oks_sigmas": 0.05} | values)


def points_as_categories(content):
    content["categories"] = [{"id": n + 1, "name": name} for n, name in enumerate(NAMES)]
    content["annotations"] = [
        {"id": 3 * a["id"] + n, "image_id": a["image_id"], "category_id": n + 1, "bbox": [*a["keypoints"][3 * n :][:2], 0, 0]}
        for a in content["annotations"]
        for n in range(3)
    ]


REFUSED = [
    *((damage, title) for damage, title in UNUSABLE if "no labelled" not in title),
    (every("annotations", lambda a: a | {"keypoints": [v / (320, 240, 1)[n % 3] for n, v in enumerate(a["keypoints"])]}),
     "keypoints written as x, y in shares"),
    (every("annotations", lambda a: a | {"image_id": a["image_id"] - 1}), "shifted by one"),
    (points_as_categories, "points stand as boxes without size"),
    (every("annotations", lambda a: a | {"bbox": [1, 1, 0, 0], "keypoints": [0] * 9, "num_keypoints": 0}), "no object that"),
    (every("annotations", lambda a: a | {"keypoints": [0] * 9, "num_keypoints": 0}), "has no labelled one"),
    (lambda c: c.update(annotations=c["annotations"][:1]), "objects on this one alone"),
    (lambda c: c["images"].append({"id": 99, "file_name": "lost.png", "width": 9, "height": 9}), "no such file"),
    (lambda c: c.pop("annotations"), "found what seems to be"),
]  # fmt: skip
ACCEPTED = [
    *MENDABLE,
    (every("images", lambda i: i | {"id": f"pic{i['id']}"}), None),
    (with_category(), "used by no annotation"),
    (with_category(keypoints=["a"], flip_pairs=[]), "used by no annotation"),
    (lambda c: c["categories"].insert(0, {"id": 0, "name": "pliers", "supercategory": "none"})
     or c["categories"][1].update(supercategory="pliers"), "placeholder"),
    (change("categories", flip_pairs=[0, 2, 1]), "places in the list of keypoints"),
    (change("categories", flip_pairs=[1, 3, 2]), "places in the list of keypoints"),
    (change("annotations", keypoints=[str(v) for v in POINTS]), None),
]  # fmt: skip


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for image in dataset()["images"]:
        write_picture(folder / image["file_name"], image["id"], (320, 240))
    return folder


def write(folder, damage, name="ann.json"):
    content = copy.deepcopy(dataset())
    damage(content)
    if any(str(image["id"]).startswith("pic") for image in content["images"]):
        for entry in content["annotations"]:
            entry["image_id"] = f"pic{entry['image_id']}"
    elif content["images"][0].get("id") == "one" and content["annotations"][0]["image_id"] == 1:
        content["annotations"][0]["image_id"] = "one"
    (folder / name).write_text(json.dumps(content))
    return folder / name


@pytest.mark.parametrize(("damage", "title"), REFUSED, ids=[title for _, title in REFUSED])
def test_what_check_calls_unusable_training_refuses_in_its_words(pictures, damage, title):
    path = write(pictures, damage)
    checkup = check_dataset(path)
    with pytest.raises(ValueError) as refusal:
        read_train_and_val(path)
    text = str(refusal.value)
    grave = [f for f in checkup.findings if f.level == "unusable" or f.is_misread]
    assert checkup.exit_code == 2 and verdict(checkup.findings) in text and title in text
    assert all(f"- {f.headline}{f.remedy and f': {f.remedy}'}\n" in text for f in grave) and text.count("\n- ") == len(grave)
    assert f"centerkp check {path} --fix mended.json" in text


@pytest.mark.parametrize(("damage", "title"), ACCEPTED, ids=[f"{n} {title}" for n, (_, title) in enumerate(ACCEPTED)])
def test_what_check_mends_the_reader_mends_itself_and_says_so(pictures, damage, title):
    path = write(pictures, damage)
    checkup = check_dataset(path)
    assert checkup.exit_code <= 1 and (title is None or any(title in f.headline for f in checkup.findings))
    read = read_train_and_val(path)[0]
    if any(f.level == "mendable" for f in checkup.findings):
        assert len(read.notes) >= len(read_train_and_val(write(pictures, lambda c: None, "good.json"))[0].notes) + 1
    write_mended(checkup, pictures / "mended.json")
    again = read_train_and_val(pictures / "mended.json")[0]
    assert again.schema == read.schema
    for one, other in zip(read.records, again.records, strict=True):
        np.testing.assert_allclose(one.boxes_xyxy, other.boxes_xyxy, atol=1e-3)
        np.testing.assert_allclose(one.keypoints_xy, other.keypoints_xy, atol=1e-3)


def test_faults_of_every_list_stand_in_one_report(pictures):
    def damage(content):
        content["categories"][0]["flip_pairs"] = [5, 5]
        content["images"][3]["file_name"] = None
        content["annotations"][4]["category_id"] = 77
        content["annotations"][5]["bbox"] = [1, 2]

    with pytest.raises(ValueError) as refusal:
        read_train_and_val(write(pictures, damage))
    for words in ("'flip_pairs'", "without 'file_name'", "'category_id' that", "no list of 4 numbers"):
        assert words in str(refusal.value)


@pytest.mark.parametrize("orientation", [6, 8])
def test_labels_of_stored_pictures_are_turned_by_the_reader_too(tmp_path, orientation):
    rng, exif = np.random.default_rng(0), Image.Exif()
    exif[0x0112] = orientation
    content = dataset(3)
    for image in content["images"]:
        image["file_name"] = f"{image['id']}.jpg"
        Image.fromarray(rng.integers(0, 255, (240, 320, 3), np.uint8)).save(tmp_path / image["file_name"], exif=exif)
    path = tmp_path / "ann.json"
    path.write_text(json.dumps(content))
    read = read_train_and_val(path)[0]
    assert "3 images: labelled without their EXIF rotation, labels turned with the picture" in read.notes
    write_mended(check_dataset(path), tmp_path / "mended.json")
    for one, other in zip(read.records, read_train_and_val(tmp_path / "mended.json")[0].records, strict=True):
        assert (one.width, one.height) == (other.width, other.height) == (240, 320)
        np.testing.assert_allclose(one.boxes_xyxy, other.boxes_xyxy, atol=1e-2)
        np.testing.assert_allclose(one.keypoints_xy, other.keypoints_xy, atol=1e-2)


def test_what_remains_after_dropping_is_not_refused_for_classes_that_nothing_shows(pictures):
    checkup = check_dataset(write(pictures, with_category(keypoints=["a"])))
    write_mended(checkup, pictures / "dropped.json", drop=True)
    assert [c["name"] for c in json.loads((pictures / "dropped.json").read_text())["categories"]] == ["pliers"]
    checkup = check_dataset(write(pictures, REFUSED[-4][0]))
    write_mended(checkup, pictures / "dropped.json", drop=True)
    assert read_train_and_val(pictures / "dropped.json")[0].schema.num_keypoints == 0
    with pytest.raises(ValueError, match="no label that could be used"):
        write_mended(check_dataset(write(pictures, points_as_categories)), pictures / "none.json", drop=True)


def test_validation_needs_objects_and_evaluation_alone_does_not(pictures):
    train, empty = write(pictures, lambda c: None), write(pictures, lambda c: c["annotations"].clear(), "empty.json")
    checkup = check_dataset(train, val=empty)
    with pytest.raises(ValueError, match="val: 1 file: no annotation in this file"):
        read_train_and_val(train, val=empty)
    assert checkup.exit_code == 2 and len(read_dataset(empty).records) == 24


def test_names_that_differ_by_case_or_blanks_are_named(pictures):
    path = write(pictures, lambda c: with_category(name=" Pliers", keypoints=["a"])(c) or c["annotations"][0].update(
        category_id=9, keypoints=[*POINTS[:3]], num_keypoints=1))  # fmt: skip
    assert any("names that differ by case or blanks alone" in note for note in read_train_and_val(path)[0].notes)


def test_validation_pictures_that_are_in_training_are_named_before_the_first_step(pictures):
    train, val = write(pictures, lambda c: None), write(pictures, lambda c: c.update(images=c["images"][:3],
        annotations=c["annotations"][:3]), "val.json")  # fmt: skip
    assert "val: 3 images: the same file is in training (of 3 images)" in read_train_and_val(train, val=val)[0].notes


def test_the_verdict_of_the_copy_is_said_where_it_may_still_be_refused(pictures, capsys):
    damages = ((REFUSED[-8][0], "Nothing is wrong: ready to train"), (UNUSABLE[0][0], "Training would stop: 1 kind"))
    for damage, words in damages:
        assert main(["check", str(write(pictures, damage)), "--fix", str(pictures / "copy.json"), "--overwrite"]) == 2
        assert f"of the copy: {words}" in " ".join(capsys.readouterr().out.split())
