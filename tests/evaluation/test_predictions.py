"""Files of predictions in the place of a model: the same numbers, and what they lack or name wrongly is said."""

import io
import json

import pytest
from rich.console import Console
from squares import SquareDetector, write_dataset
from tool_files import write_labelme

from centerkp.cli.eval import evaluate_models
from centerkp.evaluation import compared_models as models
from centerkp.inference.sources import find_sources
from centerkp.inference.stream import Selection, predict_sources
from centerkp.writing import write_json


@pytest.fixture
def coco(tmp_path, monkeypatch):
    """Annotated squares, some beside where they are, with other ids than the detector's; every model finds the squares."""
    monkeypatch.setattr(models, "load_for_use", lambda path, **options: SquareDetector())
    path = write_dataset(tmp_path / "data", shift=3)
    content = json.loads(path.read_text())
    content["annotations"][1]["bbox"][0] += 3
    for entry in content["annotations"] + content["categories"]:
        key = "category_id" if "category_id" in entry else "id"
        entry[key] += 100
    for entry in content["images"]:
        entry["id"] += 50
    for entry in content["annotations"]:
        entry["image_id"] += 50
    return write_json(path, content)


def predict(folder, out, score):
    selection = Selection(min_score=score)
    console = Console(file=io.StringIO())
    return predict_sources(SquareDetector(), find_sources([folder]), out, selection=selection, console=console)


def run(paths, coco, out):
    file = io.StringIO()
    results = evaluate_models(paths, coco, out, console=Console(file=file, width=200))
    return results, file.getvalue()


def test_predictions_with_all_scores_have_the_numbers_of_the_model(coco, tmp_path):
    path = predict(coco.parent, tmp_path / "found", 0)
    assert json.loads(path.read_text())["images"][0]["id"] == 1  # not the dataset's
    (model, file), text = run(["m.keras", path], coco, tmp_path / "out")
    expected, found = model.evaluation.to_dict(), file.evaluation.to_dict()
    assert 0.3 < expected["box"]["AP"] < 1 and 0 < expected["keypoints"]["AP"] < 1
    for name in ("box", "box_per_class", "keypoints", "objects", "images", "pck"):
        assert found[name] == pytest.approx(expected[name], abs=1e-6), name
    assert found["sigmas"] == expected["sigmas"] and found["confusion"]["counts"] == expected["confusion"]["counts"]
    assert "2: predictions.json, 3 objects in 2 images of score 0.8 or more; what it lacks below counts as not found" in text
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())["models"]
    assert metrics["predictions.json"]["speed"] is None and metrics["m.keras"]["speed"]["images"] == 3
    page = (tmp_path / "out" / "report.html").read_text()
    assert "predictions.json: 3 objects in 2 images" in page and page.count("<img ") == 9


def test_what_infer_left_out_is_not_found(coco, tmp_path):
    (model, file), text = run(["m.keras", predict(coco.parent, tmp_path / "found", 0.85)], coco, tmp_path / "out")
    assert file.evaluation.box["AR100"] < model.evaluation.box["AR100"] and "of score 0.9 or more" in text
    (empty,), text = run([write_json(tmp_path / "none.json", [])], coco, tmp_path / "none")
    assert empty.evaluation.box["AP"] == 0 and "none.json, 0 objects in 0 images\n" in text


def test_what_the_dataset_left_out_and_what_was_never_found_is_no_fault(coco, tmp_path):
    """An image whose file cannot be read any more, and a class that the predictions do not name."""
    path = predict(coco.parent, tmp_path / "found", 0)
    content = json.loads(path.read_text())
    content["categories"] = [c for c in content["categories"] if c["name"] == "red"]
    content["annotations"] = [a for a in content["annotations"] if a["category_id"] == content["categories"][0]["id"]]
    for entry in content["annotations"]:
        for name in ("id", "iscrowd", "num_keypoints"):
            entry.pop(name, None)
    write_json(path, content)
    (coco.parent / "one.png").write_bytes(b"no picture")
    (file,), text = run([path], coco, tmp_path / "out")
    assert file.evaluation.images == 2 and file.evaluation.box_per_class["green"] == 0
    notes = [line for line in text.splitlines() if line.startswith("predictions.json: ")]
    assert notes == ["predictions.json: 1 object: in images that val.json lists and that had to be left out, not counted"]
    assert "Speed" not in text and "Speed" not in (tmp_path / "out" / "report.html").read_text()


def test_a_list_of_coco_results_has_the_ids_of_the_dataset(coco, tmp_path):
    """As pycocotools takes it: no ids, and any number behind the coordinates of a point."""
    results = [
        {"image_id": 51, "category_id": 103, "bbox": [10, 10, 40, 40], "score": 0.9, "keypoints": [13, 10, 0.5, 33, 30, 0]},
        {"image_id": 52, "category_id": 107, "bbox": [50, 50, 40, 40], "score": 0.4},
    ]
    (file,), _ = run([write_json(tmp_path / "results.json", results)], coco, tmp_path / "out")
    assert [[d.category_id for d in found] for found in file.detections] == [[103], [107], []]
    assert file.evaluation.per_keypoint["red/middle"]["median_px"] == 0 and file.evaluation.box_per_class["green"] > 0.99


def rename_ids(content):
    """The ids that scripts write: text, of images and of categories."""
    names = {e["id"]: f"{e.get('name', 'photo')} {e['id']}" for e in content["images"] + content["categories"]}
    for entry in content["images"] + content["categories"]:
        entry["id"] = names[entry["id"]]
    for entry in content["annotations"]:
        entry |= {key: names[entry[key]] for key in ("image_id", "category_id")}


def repeat_class(content):
    content["categories"].append(content["categories"][0] | {"id": 9})
    content["annotations"][0]["category_id"] = 9


def pair_by_places(content):
    content["categories"][0]["flip_pairs"] = [1, 0]


@pytest.mark.parametrize("edit", [rename_ids, repeat_class, pair_by_places])
def test_results_of_a_dataset_that_is_mended_have_the_ids_it_is_written_with(coco, tmp_path, edit):
    """What eval of a model reads as it is meant, eval of results does, too."""
    edit(content := json.loads(coco.read_text()))
    write_json(coco, content)
    results = [a | {"score": 0.9} for a in content["annotations"]]
    (file,), _ = run([write_json(tmp_path / "results.json", results)], coco, tmp_path / "out")
    assert sorted(file.schema.class_names) == ["green", "red"] and file.evaluation.box["AP"] == 1
    assert file.evaluation.keypoints["AP"] == 1


@pytest.mark.parametrize("more", [{}, {"file_name": "one.png"}])
def test_results_may_name_files_as_ultralytics_does(coco, tmp_path, more):
    """Without their ending, and as a number where that is all of the name."""
    result = {"image_id": 52 if more else "one", "category_id": 107, "bbox": [10, 10, 40, 40], "score": 0.9, **more}
    (file,), _ = run([write_json(tmp_path / "results.json", [result])], coco, tmp_path / "out")
    assert [len(found) for found in file.detections] == [1, 0, 0]


def test_results_of_keypoints_alone_have_boxes_around_them(coco, tmp_path):
    """COCO's results of keypoints have no boxes; pycocotools makes them so."""
    result = {"image_id": 51, "category_id": 103, "keypoints": [13, 10, 0.5, 33, 30, 0], "score": 0.9}
    (file,), text = run([write_json(tmp_path / "results.json", [result])], coco, tmp_path / "out")
    assert file.detections[0][0].box_xyxy.tolist() == [13, 10, 33, 30] and file.evaluation.keypoints["AP50"] > 0
    assert "results.json: 1 object: no 'bbox', that around the keypoints taken, as pycocotools does" in text


@pytest.mark.parametrize(("key", "own"), [("image_id", "51, 52, 53"), ("category_id", "103, 107")])
def test_ids_that_the_dataset_lacks_are_no_list_to_complete(coco, tmp_path, key, own):
    result = {"image_id": 52, "category_id": 107, "bbox": [50, 50, 40, 40], "score": 0.4, key: 9}
    with pytest.raises(ValueError, match=rf"'{key}' that val\.json does not have \(1\): write those that it has \({own}\)"):
        run([write_json(tmp_path / "results.json", [result])], coco, tmp_path / "out")


def test_label_files_in_a_folder_are_not_written_over(tmp_path):
    """They are read as much as a single file is, which --overwrite spares too."""
    label = write_labelme(folder := tmp_path / "data", name="metrics") / "metrics.json"
    before = label.read_bytes()
    with pytest.raises(ValueError, match="found as output and among the files to read"):
        evaluate_models([write_json(tmp_path / "results.json", [])], folder, folder, overwrite=True)
    assert label.read_bytes() == before


def change(key, **values):
    def edit(content):
        content[key][0] |= values

    return edit


WRONG = {
    "another image": (change("images", file_name="other.png"), r"images that val\.json does not have .* predict the images of"),
    "another folder": (change("images", file_name="other/one.png"), "images that val.json does not have"),
    "an image twice": (change("images", file_name="two.png"), "images that are one in val.json"),
    "an image that is not listed": (change("annotations", image_id=9), "'image_id' that 'images' does not hold"),
    "another category": (change("annotations", category_id=9), "'category_id' that 'categories' does not hold"),
    "no score": (change("annotations", score=None), "'score' missing or no number from 0 to 1 .* name a file of predictions"),
    "score of 2": (change("annotations", score=2), "'score' missing or no number from 0 to 1"),
    "no box": (change("annotations", bbox=None), "'bbox' missing"),
    "no points": (change("annotations", keypoints=None), "no 'keypoints', though the class has them .* names none"),
    "no number": (change("annotations", bbox=[0, 0, float("nan"), 1]), "NaN, infinite or no numbers"),
    "points": (change("annotations", keypoints=[1, 2]), "'keypoints' whose length"),
    "other classes": (
        change("categories", name="blue"),
        r"wrong\.json: found the categories \['blue'\], expected .* val\.json",
    ),
    "other keypoints": (
        change("categories", keypoints=["corner", "edge"]),
        r"wrong\.json: category 'red': found the keypoints",
    ),
    "no dataset": (lambda content: content.pop("images"), "a JSON object without the list 'images'"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_predictions_for_something_else_are_refused(coco, tmp_path, kind):
    edit, words = WRONG[kind]
    content = json.loads(predict(coco.parent, tmp_path / "found", 0).read_text())
    edit(content)
    with pytest.raises(ValueError, match=f"(?s){words}"):
        run([write_json(tmp_path / "wrong.json", content)], coco, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_results_for_something_else_and_flags_for_models_are_refused(coco, tmp_path):
    for entry in ({"image_id": 1, "category_id": 103}, {"image_id": 51, "category_id": 3}, 7):
        path = write_json(tmp_path / "wrong.json", [entry])
        with pytest.raises(ValueError, match=r"wrong\.json: found .*, expected predictions for the images of .*val\.json"):
            run([path], coco, tmp_path / "out")
    with pytest.raises(ValueError, match=r"wrong\.json: found --tta for a file of predictions"):
        evaluate_models([path], coco, tmp_path / "out", tta="flip")
    with pytest.raises(FileNotFoundError, match=r"gone\.json"):
        run([tmp_path / "gone.json"], coco, tmp_path / "out")


def test_images_are_told_apart_by_their_folders(coco, tmp_path):
    """Of two images of one name, the one in the folder that the file names."""
    content = json.loads(coco.read_text())
    (coco.parent / "sub").mkdir()
    (coco.parent / "empty.png").rename(coco.parent / "sub" / "one.png")
    content["images"][2]["file_name"] = "elsewhere/data/sub/one.png"
    write_json(coco, content)
    (file,), _ = run([predict(tmp_path / "data", tmp_path / "found", 0)], coco, tmp_path / "out")
    assert [len(found) for found in file.detections] == [1, 2, 0]
