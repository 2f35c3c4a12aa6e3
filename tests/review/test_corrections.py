"""Suspects as a file for a labelling tool, what the user accepts of them, and the command around it."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from squares import SquareDetector, write_dataset, write_png
from tool_files import labelme_shape, write_labelme

from centerkp.cli import main
from centerkp.evaluation import compared_models as models
from centerkp.labels.coco import read_coco
from centerkp.review.corrections import OWN
from centerkp.writing import write_json

SHIFT, FEW = 12, 6  # pixels by which the point of the first image is off; more images with right labels


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Squares of which one is not labelled, one twice, and one with its points exchanged, among many that are right."""
    monkeypatch.setattr(models, "load_for_use", lambda path, **options: SquareDetector())
    monkeypatch.chdir(tmp_path)
    path = write_dataset(tmp_path / "data")
    content = json.loads(path.read_text())
    right = [a for a in content["annotations"] if a["category_id"] == 3][0]
    for number in range(4, 4 + FEW):
        write_png(path.parent / f"{number}.png", ("red", 10, 10, 40))
        content["images"].append({"id": number, "file_name": f"{number}.png", "width": 96, "height": 96})
        content["annotations"].append(right | {"id": 10 * number, "image_id": number})
    *others, five, six, seven = content["annotations"]
    x0, y0, v, *middle = five["keypoints"]
    five["keypoints"] = [*middle, x0, y0, v]
    extra = six | {"id": 99, "note": "mine"}
    write_json(path, content | {"annotations": [*others, five, six, extra], "info": {"by": "me"}})
    return tmp_path


def review(*more):
    return main(["review", *map(str, more)])


def accept(folder, change=lambda suspects: None):
    """Ticks all suspects, or what `change` makes of them."""
    path = folder / "out" / "suspects.json"
    content = json.loads(path.read_text())
    for one in content["annotations"]:
        one["accept"] = True
    change(content["annotations"])
    return write_json(folder / "ticked.json", content)


def test_review_and_corrections(folder, capsys):
    before = (folder / "data" / "val.json").read_bytes()
    assert review("m.keras", "--coco", "data/val.json", "--out", "out") == 0
    said = capsys.readouterr().out
    assert "3 suspects in 9 images" in said and "is not known" in said and "red not labelled" in said
    content = json.loads((folder / "out" / "suspects.json").read_text())
    read_coco(folder / "out" / "suspects.json")  # as a labelling tool would
    kinds = {a["suspect"]: a for a in content["annotations"]}
    assert {k: a["id"] for k, a in kinds.items()} == {"exchanged": 70, "twice": 99, "missing": 100}
    assert (
        all(set(OWN) <= set(a) and a["accept"] is False for a in content["annotations"]) and kinds["twice"]["proposal"] is None
    )
    assert kinds["twice"]["note"] == "mine" and sorted(i["id"] for i in content["images"]) == [7, 8, 9]
    page = (folder / "out" / "report.html").read_text()
    assert page.count("<img ") == 6 and "id 70: corner, middle exchanged" in page

    assert review("--coco", "data/val.json", "--accept", accept(folder), "--fix", "new/val.json") == 0
    assert capsys.readouterr().out.count("1 label corrected") == 3
    old, new = json.loads(before), json.loads((folder / "new" / "val.json").read_text())
    assert (folder / "data" / "val.json").read_bytes() == before and new["info"] == {"by": "me"}
    were, are = ({a["id"]: a for a in one["annotations"]} for one in (old, new))
    assert set(were) - set(are) == {99} and set(are) - set(were) == {100}
    assert are[70]["keypoints"] == were[10 * 4]["keypoints"] and are[100]["bbox"] == pytest.approx([10, 10, 40, 40], abs=1)
    assert {k: v for k, v in are.items() if k not in (70, 100)} == {k: v for k, v in were.items() if k not in (70, 99)}
    assert review("m.keras", "--coco", "new/val.json", "--out", "again") == 0
    assert "0 suspects in 9 images" in capsys.readouterr().out


def test_labels_in_another_frame_and_order(folder):
    """Pictures half as large as the labels say, and keypoints that the file names in another order than the model."""
    path = folder / "data" / "val.json"
    content = json.loads(path.read_text())
    for image in content["images"]:
        picture = cv2.imread(str(folder / "data" / image["file_name"]))
        cv2.imwrite(str(folder / "data" / image["file_name"]), picture)
        image |= {"width": 192, "height": 192}
    for a in content["annotations"]:
        a |= {"bbox": [2 * v for v in a["bbox"]], "area": 4 * a["area"]}
        if "keypoints" in a:
            x0, y0, v, x1, y1, w = a["keypoints"]
            a["keypoints"] = [2 * x1, 2 * y1, w, 2 * x0, 2 * y0, v]
    content["categories"][0]["keypoints"] = ["middle", "corner"]
    write_json(path, content)
    assert review("m.keras", "--coco", path, "--out", "out") == 0
    assert review("--coco", path, "--accept", accept(folder), "--fix", "new.json") == 0
    new = {a["id"]: a for a in json.loads(Path("new.json").read_text())["annotations"]}
    assert new[70]["keypoints"] == new[40]["keypoints"]
    assert new[100]["bbox"] == pytest.approx([20, 20, 80, 80], abs=2)
    assert np.array(new[100]["keypoints"]) == pytest.approx(new[40]["keypoints"], abs=3)


def untick(suspects):
    for one in suspects:
        one["accept"] = False


WRONG = {
    "nothing ticked": (untick, "no suspect with 'accept' true"),
    "no suspects": (lambda s: s[0].pop("proposal"), "expected the suspects.json of a review"),
    "a word": (lambda s: s[0].update(accept="yes"), "'accept' other than true or false"),
    "nothing to add": (lambda s: next(a for a in s if a["id"] == 100).update(proposal=None), "a 'proposal' that is no object"),
    "another kind": (lambda s: s[0].update(suspect=["odd"]), "a 'suspect' of no known kind"),
    "another label": (lambda s: next(a for a in s if a["id"] == 70)["bbox"].reverse(), "or another than the review saw"),
    "a label that is gone": (lambda s: next(a for a in s if a["id"] == 70).update(id=12345), "the ids [12345]"),
    "an image that is gone": (lambda s: next(a for a in s if a["id"] == 100).update(image_id=12345), "the ids [100]"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_accepted(folder, name, capsys):
    change, sentence = WRONG[name]
    review("m.keras", "--coco", "data/val.json", "--out", "out")
    assert review("--coco", "data/val.json", "--accept", accept(folder, change), "--fix", "new.json") == 2
    assert sentence in capsys.readouterr().err and not Path("new.json").exists()


def test_which_predictions_are_used_and_who_vouches(folder, capsys):
    """Those of finished folds; a file of a run; a model that was trained on some of the labels."""
    from centerkp.training.run_images import write_images

    records = read_coco("data/val.json").records
    folds = folder / "folds"
    for n in (1, 2):
        (folds / f"fold_{n}").mkdir(parents=True)
        write_images(folds / f"fold_{n}" / "images.json", records[n:], records[:n])
    assert review(folds, "--coco", "data/val.json") == 2 and "go on with train --resume" in capsys.readouterr().err
    write_json(folds / "predictions.json", [])
    assert review(folds, "--coco", "data/val.json", "--out", "a") == 0
    assert "by a model that was trained without it" in " ".join(capsys.readouterr().out.split())
    for name, train, sentence in (("some", records[:4], "the labels of 3 of 7 images"), ("other", [], "none of these labels")):
        (folder / name).mkdir()
        write_images(folder / name / "images.json", train, records)
        for model in (folder / name / "best.keras", folder / name):
            assert review(model, "--coco", "data/val.json", "--out", folder / "out", "--overwrite") == 0
            assert sentence in " ".join(capsys.readouterr().out.split())


def test_flags_that_belong_together(folder, capsys):
    for flags in (
        [],
        ["m.keras", "--fix", "b.json"],
        ["m.keras", "--accept", "a.json", "--fix", "b.json"],
        ["m.keras", "--score", "2"],
    ):
        assert review(*flags, "--coco", "data/val.json") == 2 and "expected" in capsys.readouterr().err


def test_keypoints_of_a_tool_keep_the_order_of_the_review(folder, tmp_path):
    """A labelme folder names its points as they come, here the other way round than the model."""
    tool = tmp_path / "tool"
    for n in range(FEW):
        shapes = [labelme_shape("red", [(10, 10), (50, 50)], "rectangle", 1), labelme_shape("middle", [(30, 30)], "point", 1)]
        shapes.append(labelme_shape("corner", [(10, 10)], "point", 1))
        write_labelme(tool, name=f"p{n}", shapes=shapes if n else [], imageHeight=96, imageWidth=96)
        write_png(tool / f"p{n}.png", ("red", 10, 10, 40))
    assert review("m.keras", "--coco", tool, "--out", "out") == 0
    assert review("--coco", tool, "--accept", accept(folder), "--fix", "new.json") == 0
    new = read_coco("new.json")
    order = [new.schema.classes[0].keypoints.index(name) for name in ("corner", "middle")]
    for record in new.records:
        assert record.keypoints_xy[0, order] == pytest.approx(np.array([[10, 10], [30, 30]]), abs=2)


@pytest.mark.parametrize("change, words", [
    (lambda a: a.update(keypoints=[a["keypoints"][:3], a["keypoints"][3:]]), "lists inside the list"),
    (lambda a: a.update(bbox=[], segmentation=[[10, 10, 50, 10, 50, 50]]), "that of the segmentation"),
    (lambda a: a.update(id=40), "ids that stand more than once"),
])  # fmt: skip
def test_labels_that_training_reads_otherwise_are_mended_first(folder, change, words, capsys):
    content = json.loads(Path("data/val.json").read_text())
    change(content["annotations"][4])
    write_json("data/val.json", content)
    assert review("m.keras", "--coco", "data/val.json") == 2
    said = capsys.readouterr().err
    assert words in said and "mend them first: centerkp check data/val.json --fix mended.json" in said


def test_predictions_of_other_programs(folder, capsys):
    """Objects outside the image and scores of points that are none."""
    image = {"id": 4, "file_name": "4.png", "width": 96, "height": 96}
    content = json.loads(Path("data/val.json").read_text())
    away = {"id": 1, "image_id": 4, "category_id": 3, "bbox": [130, 10, 40, 40], "keypoints": [130, 10, 2, 150, 30, 2]}
    away |= {"score": 0.9, "keypoint_scores": [0.9, 0.9]}
    found = {"images": [image], "annotations": [away], "categories": content["categories"]}
    write_json("found.json", found)
    assert review("found.json", "--coco", "data/val.json", "--out", "out") == 0
    assert "1 predicted object: wholly outside the image, left out" in " ".join(capsys.readouterr().out.split())
    for scores in ([-0.1, 1.2], "no", [None, 1]):
        write_json("found.json", found | {"annotations": [away | {"keypoint_scores": scores}]})
        assert review("found.json", "--coco", "data/val.json", "--out", "out", "--overwrite") == 2
        said = " ".join(capsys.readouterr().err.split())
        assert "found.json" in said and "'keypoint_scores' that are no numbers from 0 to 1" in said


@pytest.mark.parametrize("categories", [None, 5, ["red"], [{"id": 3, "name": "red", "keypoints": 5}]])
def test_suspects_whose_classes_are_damaged(folder, categories, capsys):
    review("m.keras", "--coco", "data/val.json", "--out", "out")
    path = accept(folder)
    write_json(path, json.loads(path.read_text()) | {"categories": categories})
    assert review("--coco", "data/val.json", "--accept", path, "--fix", "new.json") == 2
    assert "ticked.json" in capsys.readouterr().err and not Path("new.json").exists()
