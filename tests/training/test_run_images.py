"""Pictures of sensors: training, its validation and the model it makes see the same range of their numbers."""

import argparse
import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from centerkp.cli import train as train_command
from centerkp.console import make_console
from centerkp.distribution.team import Team
from centerkp.images.sensors import Levels
from centerkp.report.run_report import RunReport
from centerkp.settings.training import TrainSettings
from centerkp.training import train
from centerkp.training.run_images import read_images, read_records, write_images


def _write_dataset(folder, low, high):
    """Four pictures of 16 bits that use a small range, with a box and a point in each."""
    folder.mkdir()
    images, annotations = [], []
    for n in range(1, 5):
        values = np.random.default_rng(n).integers(low, high, (48, 64)).astype(np.uint16)
        cv2.imwrite(str(folder / f"{n}.png"), values)
        images.append({"id": n, "file_name": f"{n}.png", "width": 64, "height": 48})
        label = {"iscrowd": 0, "area": 256, "bbox": [8, 8, 16, 16], "keypoints": [10, 10, 2], "num_keypoints": 1}
        annotations.append({"id": n, "image_id": n, "category_id": 1, **label})
    categories = [{"id": 1, "name": "seed", "keypoints": ["tip"], "oks_sigmas": [0.05]}]
    content = {"info": {}, "images": images, "annotations": annotations, "categories": categories}
    (folder / "ann.json").write_text(json.dumps(content))
    return str(folder / "ann.json")


def test_training_and_validation_are_stretched_alike_and_it_is_said(tmp_path):
    coco, val = _write_dataset(tmp_path / "a", 7500, 7560), _write_dataset(tmp_path / "b", 7000, 7030)
    _, records, held, notes = read_records(TrainSettings(coco=coco, val=val))
    assert {record.levels for record in records + held} == {None}
    assert any(note.startswith("4 images: more than 8 bits") and "--stretch" in note for note in notes)
    _, records, held, notes = read_records(TrainSettings(coco=coco, val=val, stretch="auto", val_fraction=0.5))
    assert "val_fraction: with val it has no effect" in notes
    (levels,) = {record.levels for record in records + held}
    assert levels.black == pytest.approx(7500, abs=1) and levels.white == pytest.approx(7559, abs=1)
    assert f"pictures of more than 8 bits: {levels.black:g} is black and {levels.white:g} white, stretched" in notes
    # The validation pictures lie outside of what training is about, and that is said, too.
    (note,) = [note for note in notes if "outside of the range" in note]
    assert note.startswith("validation: 4 images:")
    _, records, held, _ = read_records(TrainSettings(coco=coco, stretch="7000,8000"))
    assert {record.levels for record in records + held} == {Levels(7000, 8000)}


def test_the_model_keeps_what_training_saw(monkeypatch):
    monkeypatch.setattr(train, "start_model", lambda *_: SimpleNamespace(levels=None, image_size=(64, 64)))
    monkeypatch.setattr(train, "measure_reach", lambda model: 0)
    monkeypatch.setattr(train, "warn_of_reach", lambda *_: [])
    records = [SimpleNamespace(levels=Levels(1, 2))]
    model = train._build_new_model(
        Team(console=make_console()), None, records, TrainSettings(coco="a.json"), False, RunReport()
    )
    assert model.levels == Levels(1, 2) and model.tiling is None


def test_the_flag_with_and_without_numbers():
    parser = argparse.ArgumentParser()
    train_command.add_arguments(parser)
    assert parser.parse_args(["--coco", "a.json", "--stretch"]).stretch == "auto"
    assert parser.parse_args(["--stretch=-3.5,20", "--coco", "a.json"]).stretch == "-3.5,20"
    assert not hasattr(parser.parse_args(["--coco", "a.json"]), "stretch")
    with pytest.raises(ValueError, match="stretch: found 'all', expected two numbers"):
        TrainSettings(coco="a.json", stretch="all")
    with pytest.raises(ValueError, match="found stretch and tfrecord"):
        TrainSettings(tfrecord="a.record", stretch="auto")


def test_a_run_on_several_files_is_resumed_with_the_same_images(tmp_path):
    coco = [_write_dataset(tmp_path / name, 0, 255) for name in "ab"]
    settings = TrainSettings(coco=coco, images=[str(tmp_path / name) for name in "ab"])
    _, train_records, held, _ = read_records(settings)
    assert {record.path.parent.name for record in train_records + held} == {"a", "b"} and len(train_records) == 6
    write_images(tmp_path / "images.json", train_records, held)
    again = TrainSettings.from_dict(json.loads(json.dumps(settings.to_dict())))
    _, kept_train, kept_held, notes = read_records(again, read_images(tmp_path / "images.json"))
    assert [r.path for r in kept_train + kept_held] == [r.path for r in train_records + held]
    assert not any("added" in note or "other labels" in note for note in notes)
