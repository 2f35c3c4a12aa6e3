"""Folds as runs in one run folder: interrupted and resumed, on a clock, and what they come to together."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from centerkp.cli import main
from centerkp.demo.scenes import write_demo
from centerkp.evaluation.evaluate import evaluate, ground_truth_as_detections
from centerkp.labels.coco import read_coco
from centerkp.results import coco_dataset
from centerkp.settings.training import TrainSettings
from centerkp.training.run_folder import RunFolder
from centerkp.training.run_images import read_records
from centerkp.training.train import train
from centerkp.trials import folds
from centerkp.trials.folds import cross_validate
from centerkp.writing import write_json


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return write_demo(tmp_path_factory.mktemp("data") / "demo", num_train=6, num_val=2, num_test=1, size=(96, 80))


@pytest.fixture
def settings(demo, tmp_path):
    return TrainSettings(
        coco=str(demo.train_json), run=str(tmp_path / "run"), backbone="hourglass_10", image_size=32, batch_size=2, threads=1,
        precision="float32", folds=3, monitor="box_ap",
    )  # fmt: skip


def find_all(own, resume=None, **_):
    """In the place of training: a fold whose model finds every object, and nothing in the second fold."""
    one = RunFolder(own.run)
    one.path.mkdir(exist_ok=True)
    schema, train_records, held, _ = read_records(own, one.read_images())
    one.write_start(own, schema, train_records, held)
    found = ground_truth_as_detections(held, schema) if own.fold != 2 else [[] for _ in held]
    images = [{"id": r.image_id, "file_name": r.file_name} for r in held]
    write_json(one.metrics, evaluate(held, found, schema).to_dict())
    write_json(one.predictions, coco_dataset(images, found, schema))


def test_all_folds_see_images_of_one_size(settings, monkeypatch):
    """Which is chosen before batches are tried."""
    sizes = []
    monkeypatch.setattr(folds, "choose_batch_size", lambda own, *_: sizes.append(own.image_size) or (own, []))
    monkeypatch.setattr(folds, "_train_folds", lambda *_: None)
    monkeypatch.setattr(folds, "_sum_up", lambda folder, *_: sizes.append(folder.read_settings().image_size))
    cross_validate(replace(settings, image_size=None), console=Console(quiet=True))
    assert sizes == ["512x408"] * 2


def test_folds_are_runs_that_are_kept_and_resumed(settings, monkeypatch):
    """The second of three is interrupted."""
    trained = []

    def train_some(own, **options):
        trained.append((own.fold, "resume" in options))
        if len(trained) == 2:
            RunFolder(own.run).write_settings(own)
            raise KeyboardInterrupt
        find_all(own, **options)

    monkeypatch.setattr(folds, "train", train_some)
    console = Console(record=True, width=80)
    with pytest.raises(KeyboardInterrupt):
        cross_validate(settings, console=console)
    run = RunFolder(settings.run)
    assert main(["train", "--resume", str(run.path)]) == 0
    assert trained == [(1, False), (2, False), (2, True), (3, False)]
    ones = [RunFolder(run.path / f"fold_{number}") for number in (1, 2, 3)]
    held = Counter(row["id"] for one in ones for row in json.loads(one.images.read_text())["val"])
    records = read_coco(settings.coco).records
    assert held == Counter(r.image_id for r in records)
    predictions = json.loads(run.predictions.read_text())
    assert [image["id"] for image in predictions["images"]] == [r.image_id for r in records]
    assert [a["id"] for a in predictions["annotations"]] == list(range(1, len(predictions["annotations"]) + 1))
    metrics = json.loads(run.metrics.read_text())
    assert metrics["folds"]["box"]["AP"]["values"] == pytest.approx([1, 0, 1]) and 0 < metrics["box"]["AP"] < 1
    assert metrics["images"] == 6 and metrics["folds"]["images"]["mean"] == 2
    text = console.export_text()
    assert "3 folds of 2/3/1 images" in text and "of 3 folds; all go on with --resume" in text


def write_predictions(own, **_):
    """In the place of training: a fold that predicts one object of its own number, and metrics of that."""
    one = RunFolder(own.run)
    one.path.mkdir()
    one.metrics.write_text(json.dumps({"box": {"AP": own.fold / 10}, "keypoints": {}}))
    image = {"id": own.fold, "file_name": f"{own.fold}.png"}
    one.predictions.write_text(json.dumps({"images": [image], "annotations": [{"id": 1, "image_id": own.fold}]}))


def test_the_whole_time_is_divided(settings, monkeypatch):
    """Preparation took ten seconds, and is left as much at the end; every fold takes half of what it may."""
    now, times = [10.0], []
    monkeypatch.setattr(folds, "monotonic", lambda: now[0])

    def train_half(own, **_):
        times.append(float(own.time.removesuffix("s")))
        now[0] += times[-1] / 2
        write_predictions(own)

    monkeypatch.setattr(folds, "train", train_half)
    ones = [RunFolder(f"{settings.run}/fold_{n}") for n in (1, 2, 3)]
    ones[0].path.parent.mkdir()
    timed, console = replace(settings, time="140s"), Console(record=True)
    folds._train_folds(ones, timed, 0.0, 10.0, console)
    assert times == [40, 50, 75]
    ones[2].predictions.unlink()
    ones[2].metrics.unlink()
    ones[2].path.rmdir()
    times.clear()
    folds._train_folds(ones, timed, now[0], 1.0, console)  # resumed: a third of the whole, in which one is left
    assert times == [pytest.approx(140 / 3 - 1, abs=0.5)] and "2 of 3 folds had been finished" in console.export_text()


def test_an_unfinished_fold_is_resumed_with_what_the_command_says_now(settings, monkeypatch):
    """Where the data are, and on what it goes on: all that may stand beside --resume."""
    asked = []
    monkeypatch.setattr(folds, "train", lambda own, **options: asked.append((own, options)))
    one = RunFolder(f"{settings.run}/fold_1")
    one.write_settings(replace(settings, fold=1))
    now = {"images": "elsewhere", "threads": 2, "devices": 3, "save_every": "2m"}
    folds._train_folds([one], replace(settings, **now), 0.0, 0.0, Console(record=True))
    ((own, options),) = asked
    assert options["resume"] == one.path and own.fold == 1
    assert {name: getattr(own, name) for name in now} == now


def test_folds_of_other_images_are_not_mixed(settings, demo, monkeypatch):
    monkeypatch.setattr(folds, "train", lambda *_, **__: None)
    monkeypatch.setattr(folds, "_sum_up", lambda *_: None)
    cross_validate(settings)
    dataset = read_coco(settings.coco)
    RunFolder(f"{settings.run}/fold_2").write_start(settings, dataset.schema, dataset.records[2:], dataset.records[:2])
    with pytest.raises(ValueError, match="fold_2: found other validation images or labels"):
        cross_validate(settings, resume=settings.run)


@pytest.mark.parametrize(
    "values, words",
    [({"folds": 1}, "fold None of 1 folds"), ({"folds": 3, "fold": 4}, "fold 4 of 3"), ({"fold": 1}, "without folds"),
     ({"folds": 5, "val": "val.json"}, "folds and validation images"), ({"group_by": "folder"}, "group_by without folds")],
)  # fmt: skip
def test_settings_that_do_not_go_together(values, words):
    with pytest.raises(ValueError, match=words):
        TrainSettings(coco="a.json", **values)


def test_what_cannot_be_judged_is_said_before_the_first_fold(settings):
    dataset = read_coco(settings.coco)
    columns = {name: value[:0] for name, value in vars(dataset.records[0]).items() if isinstance(value, np.ndarray)}
    empty = replace(dataset.records[0], **columns)
    with pytest.raises(ValueError, match="fold 3 of 3: monitor 'box_ap': found no annotated objects .* fewer --folds"):
        folds._check_folds([list(dataset.records), list(dataset.records), [empty]], dataset.schema, settings)
    with pytest.raises(ValueError, match="found folds without fold"):
        train(settings)
