"""The straight line from a COCO file to a run folder, as a user would drive it, on a dataset of a few small images."""

import itertools
import json
import os
from dataclasses import replace

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rich.console import Console

import centerkp
from centerkp.cli import main
from centerkp.demo.scenes import write_demo
from centerkp.model.center_net import save_model
from centerkp.report.run_page import PARTS, WHOLE
from centerkp.settings.training import TrainSettings
from centerkp.training.run_folder import RunFolder
from centerkp.training.run_images import read_records
from centerkp.training.train import train

FLAGS = ["--backbone", "hourglass_10", "--image-size", "64", "--batch-size", "4", "--eval-every", "2", "--epochs", "4"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return write_demo(tmp_path_factory.mktemp("data") / "demo", num_train=10, num_val=4, num_test=3, size=(96, 80))


@pytest.fixture(scope="module")
def run(demo, tmp_path_factory):
    """A whole run: `train.py` as a function call, with the terminal's text."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    settings = TrainSettings(
        coco=str(demo.train_json), val=str(demo.val_json), run=str(folder), backbone="hourglass_10", image_size=64,
        batch_size=4, eval_every=2, epochs=4, tensorboard=True,
    )  # fmt: skip
    console = Console(record=True, width=80)
    result = train(settings, console=console)
    return result, console.export_text()


def test_run_folder_is_complete(run):
    folder = run[0].folder
    names = {p.name for p in folder.path.iterdir()}
    assert names == {"settings.json", "schema.json", "versions.json", "images.json", "log.csv", "best.keras", "best.json",
                     "last.keras", "metrics.json", "predictions.json", "pictures", "tensorboard", "report.json",
                     "report.html", ".lock"}  # fmt: skip
    assert (folder.pictures / "first_batch.jpg").stat().st_size > 5000
    assert len(list((folder.pictures / "validation").iterdir())) == 4
    rows = folder.read_log()
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert [("box_ap" in row, "val_loss" in row) for row in rows] == [(False, False), (True, True)] * 2
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert rows[-1]["learning_rate"] < max(row["learning_rate"] for row in rows)
    assert TrainSettings.read(folder.settings).backbone == "hourglass_10"
    assert any(folder.tensorboard.iterdir())
    # What only training reads is in last.keras: moments and average are three more numbers a weight.
    assert centerkp.load_model(folder.last).compiled and not centerkp.load_model(folder.best).compiled
    assert folder.best.stat().st_size < 0.6 * folder.last.stat().st_size


def test_page_of_the_run(run):
    """Its data and choices, where its time went, and the worst images of its best model alone."""
    folder = run[0].folder
    report, page = json.loads(folder.report.read_text()), folder.page.read_text()
    assert report["state"] == "finished" and "eval_every" in report["asked"] and "patience" not in report["asked"]
    assert [choice.split(":")[0] for choice in report["choices"]] == ["precision", "objects of an image"]
    seconds = report["seconds"]
    assert set(seconds) == {*PARTS, WHOLE} and min(seconds.values()) > 0  # every epoch waits for its first batch
    assert sum(seconds.values()) < 2 * seconds[WHOLE]
    named = {name for one in report["worst"] for name in one["files"].values()}
    assert len(named) == 8 and {path.name for path in folder.worst.iterdir()} == named
    assert page.count("data:image/jpeg") == 8 and "10 training images" in page and "Finished after 4 epochs" in page
    assert "chosen: " in page and "--eval-every 2" in page


def test_best_model_gives_the_reported_numbers(run):
    """metrics.json against pycocotools on predictions.json and the user's own JSON."""
    result, _ = run
    metrics = json.loads(result.folder.metrics.read_text())
    assert centerkp.load_model(result.folder.best).schema.class_names == ("pliers", "screwdriver", "nut")
    truth = COCO(str(RunFolder(result.folder.path).read_settings().val))
    found = truth.loadRes(json.loads(result.folder.predictions.read_text())["annotations"])
    evaluator = COCOeval(truth, found, "bbox")
    for step in (evaluator.evaluate, evaluator.accumulate, evaluator.summarize):
        step()
    assert metrics["box"]["AP"] == pytest.approx(max(evaluator.stats[0], 0), abs=1e-4)


def test_models_know_the_scores_with_the_best_f1(run):
    """best.keras those of its own evaluation, last.keras those of the last one; a guess on so few images."""
    folder = run[0].folder
    thresholds = centerkp.load_model(folder.best).thresholds
    numbers = json.loads(folder.metrics.read_text())["best_f1"]["boxes"]
    if thresholds is None:  # nothing was found, which other processors may round to
        assert numbers["all classes"]["threshold"] is None
    else:
        assert thresholds.overall == pytest.approx(numbers["all classes"]["threshold"]) and thresholds.guessed
    assert "infer.py takes by default the least score" in run[1]


def test_summary_says_what_was_understood(run):
    text = run[1].replace(str(run[0].folder.path), "run")  # a path stays in one line, however long it is
    assert max(map(len, text.splitlines())) <= 80
    for words in ("10 training images, 4 validation images", "left_handle <-> right_handle", "read from the names",
                  "0.05 each (a guess", "again, have box AP 1.000",
                  "keypoint AP 1.000", "epoch    loss center"):  # fmt: skip
        assert words in text, words


def test_infer_on_files_folders_and_patterns(run, demo, tmp_path, capsys):
    """Pictures beside a JSON that pycocotools reads, one broken file named and left out."""
    images = tmp_path / "in"
    (images / "sub").mkdir(parents=True)
    held_out = sorted(demo.images_dir.glob("test_*.jpg"))
    for source, name in zip(held_out, ["a.jpg", "sub/a.jpg", "b c ü.jpg"], strict=True):
        (images / name).write_bytes(source.read_bytes())
    (images / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    out = tmp_path / "out"
    weights = str(run[0].folder.best)
    assert main(["infer", "--weights", weights, "--out", str(out), "--score", "0", str(images), str(images / "*.jpg")]) == 0
    assert "broken.png" in capsys.readouterr().out
    coco = COCO(str(out / "predictions.json"))
    assert {i["file_name"] for i in coco.dataset["images"]} == {"a.jpg", "sub/a.jpg", "b c ü.jpg"}
    annotations = coco.dataset["annotations"]
    seen = centerkp.predict(weights, [images / name for name in ("a.jpg", "sub/a.jpg", "b c ü.jpg")], min_score=0)
    assert len(annotations) == sum(len(result.detections) for result in seen) > 30
    assert len({a["id"] for a in annotations}) == len(annotations)
    pliers = next(a for a in annotations if a["category_id"] == 1)
    assert len(pliers["keypoints"]) == 15 and set(pliers["keypoints"][2::3]) == {2} and len(pliers["keypoint_scores"]) == 5
    assert coco.dataset["categories"][0]["flip_pairs"] == [["left_handle", "right_handle"], ["left_jaw", "right_jaw"]]
    for name in ("a.jpg", "sub/a.jpg", "b c ü.jpg"):
        assert (out / "images" / name).stat().st_size > 500


def test_errors_before_any_hour_is_spent(demo, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    coco = json.loads(demo.train_json.read_text())

    def write(name, **changes):
        (demo.train_json.parent / name).write_text(json.dumps(coco | changes))
        return str(demo.train_json.parent / name)

    unlabelled = [a | {"keypoints": [0] * len(a.get("keypoints", []))} for a in coco["annotations"]]
    sides = [a["bbox"] for a in coco["annotations"]]
    corners = [a | {"bbox": [x, y, x + w, y + h]} for a, (x, y, w, h) in zip(coco["annotations"], sides, strict=True)]
    cases = {
        ("--cocco", "x"): "did you mean '--coco'",
        (): "--coco ann.json",
        ("--coco", "missing.json"): "missing.json",
        ("--coco", str(demo.train_json), "--image-size", "100"): "use 96 or 104",
        ("--coco", str(demo.train_json), "--backbone", "hourglass_99"): "hourglass_20",
        ("--coco", write("none.json", annotations=unlabelled)): "'pliers' names keypoints and has no labelled one",
        ("--coco", str(demo.train_json), "--weights", "w.keras"): "w.keras",
        ("--coco", str(demo.train_json), "--augmentation", "own.yaml"): "own.yaml: no such augmentation file",
        ("--coco", write("corners.json", annotations=corners)): "boxes written as x0, y0, x1, y1",
        ("--coco", str(demo.train_json), "--val", write("corners.json", annotations=corners)): "corners.json --fix mended.json",
        ("--resume", "nowhere"): "settings.json",
        ("--coco", str(demo.train_json), "--flip-pairs", "a-b"): "left_ear:right_ear",
        ("--coco", str(demo.train_json), "--flip-pairs", "left_jaw:right_jow"): "did you mean 'right_jaw'",
    }
    for arguments, words in cases.items():
        given = dict(zip(arguments[::2], arguments[1::2], strict=True))
        usual = {"--backbone": "hourglass_10", "--image-size": "64"} if "--coco" in given else {}
        try:
            code = main(["train", *itertools.chain(*(usual | given).items())])
        except SystemExit as error:
            code = error.code
        assert code == 2, arguments
        assert words in capsys.readouterr().err.replace("\n", " "), arguments
    assert not os.path.exists("runs")


def test_labels_that_may_be_wrong_are_named(demo, tmp_path):
    settings = TrainSettings(coco=str(demo.train_json), val=str(demo.val_json))
    assert not any("centerkp check" in note for note in read_records(settings)[3])
    coco = json.loads(demo.train_json.read_text())
    for annotation in coco["annotations"]:
        if annotation["category_id"] == 1:
            annotation["keypoints"][6:9] = [0, 0, 0]
    path = tmp_path / "ann.json"
    path.write_text(json.dumps(coco))
    notes = read_records(replace(settings, coco=str(path), images=str(demo.train_json.parent)))[3]
    assert "1 keypoint: of 'pliers' never labelled" in notes
    assert f"To see where, and what to do: centerkp check {path}" in notes


def test_existing_run_is_not_overwritten(run):
    settings = replace(run[0].folder.read_settings(), weights="none")
    with pytest.raises(FileExistsError, match="--resume"):
        RunFolder.create(settings)


def test_runs_are_numbered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [RunFolder.create(TrainSettings(coco="x/ann.json")).path.as_posix() for _ in range(3)]
    assert names == ["runs/ann", "runs/ann-2", "runs/ann-3"]


def test_failed_save_leaves_the_old_model(run, tmp_path, monkeypatch):
    """A full disk: the error passes on, the last whole file stays, nothing half-written beside it."""
    folder = RunFolder(tmp_path)
    folder.last.write_bytes(b"old")

    class Model:
        def save(self, path):
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        save_model(Model(), folder.last)
    assert folder.last.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["last.keras"]


def test_warm_start_moves_everything_of_the_same_schema(run, demo):
    from centerkp.training.train import start_model

    best = centerkp.load_model(run[0].folder.best)
    settings = replace(run[0].folder.read_settings(), weights=str(run[0].folder.best))
    console = Console(record=True, width=200)
    model = start_model(best.schema, settings, console)
    for ours, theirs in zip(model.weights, best.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    text = console.export_text()
    assert "backbone 70/70 variables" in text and "pliers <- pliers" in text and "fresh" not in text
