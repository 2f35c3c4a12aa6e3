"""What a run tells of itself, how its page comes out of its folder, and that telling never ends a run."""

import argparse
import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from scored_objects import SCHEMA, blur, random_records

from centerkp.cli import main
from centerkp.cli import train as train_command
from centerkp.evaluation.evaluate import evaluate, ground_truth_as_detections
from centerkp.images.saving import write_image
from centerkp.report import worst_images
from centerkp.report.run_report import RunReport
from centerkp.report.settings_text import explain_settings, format_command, list_changed
from centerkp.samples import waiting
from centerkp.samples.waiting import Arrivals, StepTimer
from centerkp.settings.training import TrainSettings
from centerkp.training import train as training
from centerkp.training.run import Run
from centerkp.training.run_facts import read_facts
from centerkp.training.run_folder import RunFolder
from centerkp.writing import write_json

PICTURE = np.zeros((640, 640, 3), np.uint8)


@pytest.fixture
def folder(tmp_path):
    """A run of which nothing is there but its settings, as before its first epoch."""
    folder = RunFolder(tmp_path / "run")
    write_json(folder.settings, TrainSettings(coco="a.json", backbone="hourglass_10").resolve().to_dict())
    return folder


def make_run(folder, records=()):
    model = SimpleNamespace(trained_epochs=0, schema=SCHEMA)
    console = Console(record=True, width=200)
    return Run(model, records, records, folder.read_settings(), folder, 0.0, console)


def measure(images=15):
    records = random_records(SCHEMA, images=images)
    for record in records:
        record.file_name = f"{record.image_id}.jpg"
    found = blur(ground_truth_as_detections(records, SCHEMA))
    return records, found, evaluate(records, found, SCHEMA)


def test_errors_and_interruptions_are_told_and_go_on(folder, monkeypatch):
    for error, words in ((ValueError("the loss is nan"), "the loss is nan"), (KeyboardInterrupt(), "The run was interrupted")):
        monkeypatch.setattr(training, "fit", lambda run, error=error: (_ for _ in ()).throw(error))
        with pytest.raises(type(error)):
            training._fit_and_finish(make_run(folder))
        assert words in folder.page.read_text()


def test_what_tells_of_a_run_never_ends_it(folder, monkeypatch):
    run, (_, found, evaluation) = make_run(folder), measure(2)
    for place in ("write_worst_images", "write_run_page"):
        monkeypatch.setattr(f"centerkp.training.run.{place}", lambda *_: 1 / 0)
        run.report_evaluation("training", "the model", 1, evaluation, found)
        assert "report.html: could not be written anew (division by zero)" in run.console.export_text()


def test_steps_are_parted_into_waiting_and_working(monkeypatch):
    """The first builds the graph; then 2 s of 5 waited for, none, and all of a step whose batch came after it."""
    now = iter([0.0, 60.0, 100.0, 105.0, 200.0, 205.0, 300.0, 305.0])
    monkeypatch.setattr(waiting, "monotonic", lambda: next(now))
    report, arrivals = RunReport(), Arrivals()
    timer = StepTimer(report.add_seconds, arrivals)
    timer.set_model(SimpleNamespace(unfinished={"steps": 3}))
    timer.on_epoch_begin(7)
    for batch, ready in enumerate((59.0, 102.0, 190.0, 310.0)):
        arrivals._times[7, 3 + batch] = ready
        timer.on_train_batch_begin(batch)
        timer.on_train_batch_end(batch)
    assert report.seconds == {"building": 60.0, "data": 7.0, "steps": 8.0} and not arrivals._times


def test_report_goes_on_with_what_it_was(tmp_path):
    path = tmp_path / "report.json"
    report = RunReport.start(list_changed(TrainSettings(coco="a.json", seed=3, patience=2)), 0.0)
    report.choices.append("precision: float32, because")
    report.add_seconds("steps", 4.0)
    report.write(path)
    again = RunReport.read(path)
    again.add_seconds("steps", 1.0)
    again.write(path)
    assert set(again.asked) == {"coco", "patience", "seed"} and again.choices == report.choices
    assert again.seconds["steps"] == 5 and 0 < again.seconds["whole"] - report.seconds["whole"] < 60
    for text in ("[]", "{", '{"colour": 1}'):
        path.write_text(text)
        with pytest.raises(ValueError, match="report.json: found no report of a run"):
            RunReport.read(path)


def test_worst_images_are_those_of_the_newest_evaluation(tmp_path, monkeypatch):
    records, found, evaluation = measure()
    levels = []  # by which sensors' pixels are stretched, as in training
    monkeypatch.setattr(worst_images, "read_image", lambda path, own: levels.append(own) or PICTURE)
    for record in records:
        record.path, record.levels = record.file_name, "stretched"
    own = write_image(tmp_path / "worst" / "mine.jpg", PICTURE)
    for epoch in (2, 4):
        worst = worst_images.write_worst_images(tmp_path / "worst", records, found, evaluation, SCHEMA, epoch)
        assert len(worst) == 12 and all((tmp_path / "worst" / n).exists() for one in worst for n in one["files"].values())
    worst_images.clear_worst_images(tmp_path / "worst", worst)
    assert {p.name.split("_")[0] for p in (tmp_path / "worst").iterdir()} == {"4", own.name}
    assert levels == ["stretched"] * 24
    quality = [float(one["caption"].split("quality ")[1]) for one in worst]
    assert quality == sorted(quality) and quality[0] < 1


def test_settings_are_explained():
    asked = TrainSettings(coco="a.json", flip=False, run="runs/a")
    chosen = TrainSettings(coco="a.json", flip=False, run="runs/a", backbone="hourglass_20", epochs=30).resolve()
    chosen = replace(chosen, image_size="512x384")
    said = ["epochs: 30, because of 9", "learning rate: 0.002, because of 8", "image size: 512x384, so"]
    rows = {name: row for name, *row in explain_settings(chosen, list_changed(asked), said)}
    assert rows["flip"] == ["no", "yes", "given"] and rows["epochs"] == ["30", "-", "chosen: 30, because of 9"]
    assert rows["learning_rate"][2] == "chosen: 0.002, because of 8" and "run" not in rows
    assert rows["image_size"] == ["512x384", "-", "chosen: 512x384, so"]
    assert rows["weights"][2].startswith("'auto' is drawn for") and "seed" not in rows
    assert all(row[3] == "not kept by the version that trained" for row in explain_settings(chosen, None, []))


@pytest.mark.parametrize(
    "values",
    [
        {"coco": "/my photos/it's.json", "flip": False, "tensorboard": True, "scale": (0.5, 2.0), "time": "1h30m"},
        {"coco": ("/a.json", "/my photos/b.json"), "images": ("/x", "/y"), "val": "/v.json"},
        {"tfrecord": "r-?????-of-00010", "map_keypoint": "-a=b,c=d", "loss_weights": "box_size=0.2", "weight_decay": 1e-5},
    ],
)
def test_command_does_the_same_run_again(values):
    settings = TrainSettings(**values | {"run": "runs/a"}).resolve()
    words = shlex.split(format_command(settings, "jax"))
    assert words[:3] == ["KERAS_BACKEND=jax", "centerkp", "train"] and "runs/a" not in words
    parser = argparse.ArgumentParser()
    train_command.add_arguments(parser)
    options = vars(parser.parse_args(words[3:]))
    given = {name: value for name, value in options.items() if name in settings.to_dict()}
    assert TrainSettings.from_dict(given).to_dict() == settings.to_dict() | {"run": None}


def test_command_of_runs_of_earlier_versions_and_of_several(folder, tmp_path, capsys, monkeypatch):
    """Without report.json the page has what the other files know: the classes, the numbers, the pictures of validation."""
    monkeypatch.chdir(tmp_path)
    write_json(folder.schema, SCHEMA.get_config())
    write_json(folder.metrics, measure(4)[2].to_dict())
    folder.write_log([{"epoch": 1, "loss": 2.0, "seconds": 3.0, "best": 1, "box_ap": 0.5}])
    write_image(folder.pictures / "validation" / "1.jpg", PICTURE)
    assert main(["report", str(folder.path)]) == 0
    text = folder.page.read_text()
    for words in ("Finished after 1 epoch", "pliers", "Flip pairs and OKS sigmas", "Validation images", "not kept by"):
        assert words in text, words
    assert "Time by part" not in text and "centerkp train --coco a.json" in text
    (tmp_path / "empty").mkdir()
    assert main(["report", str(folder.path), str(folder.path), "empty"]) == 0
    assert (tmp_path / "runs.html").exists() and "empty: no training run, left out" in capsys.readouterr().out
    assert main(["report", "empty"]) == 2 and "settings.json" in capsys.readouterr().err


def test_images_with_names_as_long_as_may_be_end_no_training(folder, monkeypatch):
    records, found, _ = measure(2)
    for record in records:
        record.path = Path(f"{'ü' * 125}.jpg")  # 254 bytes, and more with the image's id
    monkeypatch.setattr(training, "load_model", lambda _: SimpleNamespace(schema=SCHEMA, trained_epochs=1, thresholds=None))
    monkeypatch.setattr(training, "detect_together", lambda *_: found)
    monkeypatch.setattr(training, "draw_validation", lambda *_: PICTURE)
    monkeypatch.setattr("centerkp.training.run.write_worst_images", lambda *_: [])
    training.finish(make_run(folder, records))
    assert len(list((folder.pictures / "validation").glob("*.jpg"))) == 2


def test_page_of_a_killed_run_says_how_to_go_on(folder):
    """Its own last word is that it goes on; so it does while a process holds its folder."""
    RunReport(state="training").write(folder.report)
    with folder.hold():
        assert main(["report", str(folder.path)]) == 0
    assert "The run goes on" in folder.page.read_text()
    assert main(["report", str(folder.path)]) == 0
    text = folder.page.read_text()
    assert "The run goes on" not in text and f"--resume {folder.path}" in text


@pytest.mark.parametrize("name", ["metrics", "schema", "versions", "report", "post_mortem"])
def test_damaged_files_are_named(folder, name):
    path = getattr(folder, name)
    for text in ("{", "[3]", '{"classes": 3, "notes": 1}', '{"notes": [], "tables": [{}]}', '{"notes": 3}'):
        path.write_text(text)
        if name != "versions" or not text.endswith("}"):
            with pytest.raises(ValueError, match=path.name):
                read_facts(folder)
