import json
import os
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import squares

from centerkp.cli import commands, infer
from centerkp.inference import model_loading


@pytest.fixture()
def asked(monkeypatch):
    """What was asked of the model's loading, in place of a model: a detector of squares."""
    asked = SimpleNamespace()

    def load(weights, **options):
        asked.weights, asked.options = str(weights), options
        return squares.SquareDetector()

    monkeypatch.setattr(model_loading, "load_for_use", load)
    monkeypatch.setattr(commands, "import_quietly", lambda name: None)
    return asked


def test_defaults(asked, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    squares.write_png(tmp_path / "photos" / "a.png", ("red", 20, 30, 40))
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "best.keras").write_text("")
    assert commands.main(["infer", "photos"]) == 0
    assert asked.weights == os.path.join("runs", "mine", "best.keras")
    assert sorted(p.name for p in (tmp_path / "predictions").iterdir()) == ["images", "predictions.json"]
    text = capsys.readouterr().out
    assert "1 object in 1 image\n" in text and "objects: predictions/predictions.json" in text
    assert "least score 0.3, since none is stored with the model" in text
    assert max(map(len, text.splitlines())) <= 80


def test_every_flag_arrives(asked, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    squares.write_png(tmp_path / "a.png", ("red", 20, 30, 40), ("red", 70, 30, 20), ("green", 5, 5, 10))
    squares.write_clip(tmp_path / "c.avi", squares.moving_square(6))
    command = (
        "infer a.png c.avi --weights m.keras --out o --score 0.5 --keypoint-score 0.2 --classes green,red --classes red "
        "--max-objects 1 --batch-size 2 --image-size 96x64 --stacks 1 --tta flip,scale --device cpu --precision mixed_bfloat16 "
        "--no-save-images --save-video --csv --crops --track --smooth --tile 96 --overlap 0.3"
    )
    assert commands.main(command.split()) == 0
    assert "least score 0.5, as given" in capsys.readouterr().out
    asked.options.pop("console")
    assert asked.options == {
        "image_size": (96, 64), "stacks": 1, "tta": "flip,scale", "device": "cpu", "precision": "mixed_bfloat16",
        "backbone": None, "max_objects": 1, "tile": 96, "overlap": 0.3,
    }  # fmt: skip
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == ["crops", "predictions.csv", "predictions.json", "videos"]
    written = json.loads((tmp_path / "o/predictions.json").read_text())
    annotations = written["annotations"]
    assert "track_id" in written["info"]["smoothed"]
    assert len(annotations) == 7 and {a.get("track_id") for a in annotations} == {None, 1}


def test_stretch_and_stride(asked, tmp_path, monkeypatch, capsys):
    """Without numbers the range of the pictures is taken; either way it is said."""
    monkeypatch.chdir(tmp_path)
    cv2.imwrite(str(tmp_path / "a.png"), np.linspace(7500, 7560, 96 * 96).reshape(96, 96).astype(np.uint16))
    squares.write_clip(tmp_path / "c.avi", squares.moving_square(6))
    assert commands.main("infer a.png c.avi --weights m.keras --stride 4 --stretch".split()) == 0
    text = capsys.readouterr().out
    assert "in pictures of more than 8 bits 7500 is black and 7559 white" in text and "so that nearly one" not in text
    assert len(json.loads((tmp_path / "predictions/predictions.json").read_text())["images"]) == 3
    assert commands.main("infer a.png --weights m.keras --stretch 9000,9500".split()) == 0
    text = capsys.readouterr().out
    assert "9000 is black and 9500 white" in text and "1 image: more than 8 bits a number, all outside" in text


@pytest.mark.parametrize(
    "command, message",
    [
        ("infer none.png --weights m.keras", "none.png: found no image or video, expected"),
        ("infer a.png", "runs: found no run with a best.keras, expected one of train.py; name a model with --weights"),
        ("serve", "runs: found no run with a best.keras, expected one of train.py; name a model, as coco for the model zoo's"),
        ("infer a.png --weights m.keras --classes rod", r"classes: found 'rod', expected some of ['red', 'green']"),
        ("infer a.png --weights m.keras --track", "--track: found images only"),
        ("infer a.png --weights m.keras --smooth", "--smooth: found no --track"),
        ("infer a.png --weights m.keras --batch-size 0", "batch_size: found 0"),
        ("infer a.png --weights m.keras --keypoint-score nan", "--keypoint-score: found nan, expected a number from 0 to 1"),
        ("infer a.png --weights m.keras --out a.png", "a.png: could not be written"),
    ],
)
def test_wrong_input(asked, tmp_path, monkeypatch, capsys, command, message):
    monkeypatch.chdir(tmp_path)
    squares.write_png(tmp_path / "a.png")
    assert commands.main(command.split()) == 2
    assert message in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_classes_with_a_comma_in_their_name():
    known = ["bolt, M6", "bolt", "nut"]
    assert infer._split_names(["nut, bolt", "bolt, M6"], known) == ["nut", "bolt", "bolt, M6"]


def test_no_size(capsys):
    with pytest.raises(SystemExit, match="2"):
        commands.main("infer a.png --weights m.keras --image-size 96x".split())
    assert "argument --image-size: found '96x', expected a side or WIDTHxHEIGHT in pixels, as" in capsys.readouterr().err


def test_interrupted_while_loading(tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(model_loading, "load_for_use", interrupt)
    monkeypatch.setattr(commands, "import_quietly", lambda name: None)
    squares.write_png(tmp_path / "a.png")
    assert commands.main(["infer", str(tmp_path / "a.png"), "--weights", "m.keras", "--out", str(tmp_path / "o")]) == 130
