import json
import os
from pathlib import Path

import pytest

from centerkp.cli.commands import build_parser, main
from centerkp.settings.checks import list_idle
from centerkp.settings.training import TrainSettings
from centerkp.settings.values import read_canvas, read_flip_pairs, read_sigmas, read_time
from centerkp.wording import name_canvas


def test_round_trip(tmp_path):
    settings = TrainSettings(coco="a.json", scale=(0.5, 2))
    assert TrainSettings.from_dict(settings.to_dict()) == settings
    with pytest.raises(FileNotFoundError, match="settings.json"):
        TrainSettings.read(tmp_path / "settings.json")


@pytest.mark.parametrize(
    "values, words",
    [({"epoch": 3}, "did you mean 'epochs'"), ({"epochs": 0}, "1 or more"), ({"monitor": "ap"}, "box_ap"),
     ({"patience": 0}, "patience: found 0"), ({"val_fraction": 1.5}, "from 0 to below 1"), ({"learning_rate": 0}, "above 0"),
     ({"rotation": 200}, "rotation: found 200, expected a number from 0 to 180"), ({"seed": -1}, "seed: found -1"),
     ({"translation": 1.5}, "from 0 to 1"), ({"scale": (1.4, 0.6)}, "smallest and the largest"), ({"scale": (0, 1)}, "above 0"),
     ({"weight_decay": -1}, "weight_decay: found -1, expected 0 or more"), ({"stacks": 0}, "1 or more"),
     ({"clip_norm": 1e20}, "clip_norm: found 1e.20, expected a number from 0 to 1000000000000"),
     ({"loss_weights": "center_offset=2,box_size=nan"}, "loss_weights: found box_size=nan, expected a number from 0 to 10"),
     ({"loss_weights": "box_size=-0.1"}, "found box_size=-0.1"), ({"loss_weights": "box_size=inf"}, "found box_size=inf"),
     ({"loss_weights": "box_siz=1"}, "found 'box_siz', expected some of center_heatmap, .* did you mean 'box_size'"),
     ({"val_fraction": 0}, "found 0 without val"), ({"zzzz": 1}, "unknown setting 'zzzz'.")],
)  # fmt: skip
def test_wrong_settings(values, words):
    with pytest.raises(ValueError, match=words):
        TrainSettings.from_dict(values)


@pytest.mark.parametrize(
    "values, names",
    [({}, []), ({"val": "b.json", "val_images": "b", "map_keypoint": "nose=tip"}, []), ({"val_images": "b"}, ["val_images"]),
     ({"val": "b.json", "val_fraction": 0.1}, ["val_fraction"]), ({"folds": 5, "val_fraction": 0.1}, ["val_fraction"]),
     ({"tfrecord": "a.tfrecord", "images": "a", "point_box": 8.0}, ["images", "point_box"]),
     ({"weights": "none", "map_keypoint": "nose=tip"}, ["map_keypoint"])],
)  # fmt: skip
def test_settings_that_say_nothing_are_named(values, names):
    assert [line.split(":")[0] for line in list_idle(TrainSettings.from_dict(values))] == names


def test_every_setting_is_a_flag_with_help(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = capsys.readouterr().out
    for name, one in TrainSettings.__dataclass_fields__.items():
        assert f"--{name.replace('_', '-')}" in text and one.metadata["help"]
    assert "(default: 0.6,1.4)" in text and "--no-flip" in text


def test_help_begins_with_what_most_need_and_goes_by_groups(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80 and lines[0] == "usage: centerkp train --coco JSON [options]"
    head = [line.split()[0] for line in lines[4 : lines.index("options:")] if line]
    known = build_parser().parse_args(["train"]).parser._option_string_actions
    assert len(head) == 10 and set(head) <= known.keys()
    titles = [line.removesuffix(":") for line in lines if line and line[0] != " " and line.endswith(":")]
    groups = ["data", "start", "length", "machine", "learning", "augmentation", "evaluation", "output"]
    assert [title for title in titles if title in groups] == groups
    start = lines[lines.index("start:") : lines.index("length:")]
    assert [line.split()[0] for line in start if line[:4] == "  --"][:2] == ["--backbone", "--weights"]


def test_flags_have_the_right_types():
    options = build_parser().parse_args(
        [
            "train",
            "--coco",
            "a.json",
            "--no-flip",
            "--scale",
            "0.5,2",
            "--threads",
            "3",
            "--learning-rate",
            "2e-3",
            "--val",
            "v",
        ]
    )
    assert (options.flip, options.scale, options.threads, options.learning_rate, options.val) == (
        False,
        (0.5, 2.0),
        3,
        2e-3,
        ["v"],
    )
    assert not hasattr(options, "epochs")  # not given: stays out, so that a file's value can hold


def test_defaults_then_file_then_flags(tmp_path, monkeypatch):
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(TrainSettings(coco="a.json", run="runs/old", epochs=7, rotation=3).to_dict()))
    got = []
    monkeypatch.setattr("centerkp.training.train.train", lambda settings, **options: got.append(settings))
    assert main(["train", "--settings", str(path), "--epochs", "9"]) == 0
    assert got == [TrainSettings(coco="a.json", epochs=9, rotation=3)]


@pytest.mark.parametrize("flag, words", [("--epoch", "did you mean '--epochs'"), ("--zzzz", "see --help")])
def test_unknown_flags(flag, words, capsys):
    with pytest.raises(SystemExit) as error:
        main(["train", "--coco", "a.json", flag, "3"])
    assert error.value.code == 2 and words in capsys.readouterr().err


def test_half_a_range_is_refused_in_words(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--coco", "a.json", "--scale", "0.7"])
    assert "argument --scale: found '0.7', expected two numbers, as 0.7,1.3" in capsys.readouterr().err


def test_pairs_and_sigmas():
    assert (
        read_flip_pairs(None) is None
        and read_flip_pairs("none") == []
        and read_flip_pairs("a:b, c:d") == [("a", "b"), ("c", "d")]
    )
    assert read_sigmas(None) is None and read_sigmas("0.1") == 0.1 and read_sigmas("a=0.1, b=2") == {"a": 0.1, "b": 2.0}
    for wrong in ("a=x", "ten"):
        with pytest.raises(ValueError, match="oks_sigmas"):
            read_sigmas(wrong)
    for wrong in ("a-b", "a:b:c", ":b"):
        with pytest.raises(ValueError, match="flip_pairs"):
            read_flip_pairs(wrong)


def test_sizes_of_the_input():
    for given, size in ((320, (320, 320)), ("320", (320, 320)), ("320x192", (320, 192)), (" 192X320 ", (192, 320))):
        assert read_canvas(TrainSettings(image_size=given).image_size) == size
        assert read_canvas(name_canvas(*size)) == size
    for wrong in ("320x", "x", "0", "320x0", "-8", "320 x 192", "320x192x3", "1e3", "", "9999999"):
        with pytest.raises(ValueError, match=f"image_size: found '{wrong}', expected a side or WIDTHxHEIGHT in pixels, as 320"):
            TrainSettings(image_size=wrong)
    with pytest.raises(ValueError, match="image_size: found 320.5, expected a whole number or text or null"):
        TrainSettings(image_size=320.5)


def test_times():
    times = {"90s": 90, "30m": 1800, "2h": 7200, "1h30m": 5400, " 1H1m1s ": 3661, "1.5h": 5400, "0.5s": 0.5}
    assert {text: read_time(text) for text in times} == times
    for wrong in ("", "30", "m", "0s", "30m1h", "-5m", "1h 30m", "nan", "1e3s", "9999999h", "300000h"):
        with pytest.raises(ValueError, match=f"time: found '{wrong}', expected hours, minutes and seconds as 90s"):
            TrainSettings(time=wrong)
    with pytest.raises(ValueError, match="eval_every: found '10x', expected hours"):
        TrainSettings(eval_every="10x")
    assert TrainSettings(eval_every="10m").eval_every == "10m" and TrainSettings(eval_every="7").eval_every == 7
    with pytest.raises(ValueError, match="eval_every: found 0"):
        TrainSettings(eval_every="0")
    with pytest.raises(ValueError, match="eval_every: found 1.5, expected a whole number or text or null"):
        TrainSettings(eval_every=1.5)


def test_the_length_of_another_run_gives_way_to_a_time(tmp_path, monkeypatch):
    """Its settings hold the epochs that were chosen for it."""
    (tmp_path / "settings.json").write_text(json.dumps({"coco": "a.json", "epochs": 80, "eval_every": 5, "batch_size": 2}))
    seen = []
    monkeypatch.setattr("centerkp.training.train.train", lambda settings, **options: seen.append(settings))
    for flags in ((), ("--time", "1h"), ("--time", "1h", "--epochs", "7")):
        main(["train", "--settings", str(tmp_path / "settings.json"), *flags])
    assert [(s.epochs, s.eval_every, s.batch_size) for s in seen] == [(80, 5, 2), (None, None, 2), (7, None, 2)]


def test_settings_of_another_run_are_refused_beside_resume(tmp_path, monkeypatch, capsys):
    """They were passed over."""
    (tmp_path / "settings.json").write_text(json.dumps({"coco": "a.json", "epochs": 8}))
    monkeypatch.setattr("centerkp.training.train.train", lambda *_, **options: pytest.fail("resumed"))
    assert main(["train", "--resume", str(tmp_path), "--settings", str(tmp_path / "settings.json")]) == 2
    assert "--resume: found ['settings'] beside it, expected none but --epochs" in capsys.readouterr().err


def test_no_command_shows_them_all(capsys):
    assert main([]) == 2
    text = capsys.readouterr().err
    assert all(name in text for name in ("train ", "label-map", "draw a dataset"))
    with pytest.raises(SystemExit):
        main(["export", "-h"])
    assert "Write a trained model as SavedModel" in capsys.readouterr().out  # names keep their capitals


def test_paths_are_kept_absolute_and_words_as_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for word in ("auto", "none", "coco", "imagenet", "drawn"):
        assert TrainSettings(coco="ann.json", weights=word).anchor().weights == word
    kept = TrainSettings(coco="ann.json", weights="best.keras").anchor()
    assert (kept.coco, kept.weights) == (str(tmp_path / "ann.json"), str(tmp_path / "best.keras"))


def test_several_files_stay_a_list(tmp_path):
    several = {"coco": ["a.json", Path("b.json")], "images": ("A", "B"), "val": ["c.json"]}
    settings = TrainSettings(**several)
    assert (settings.coco, settings.images, settings.val) == (("a.json", "b.json"), ("A", "B"), "c.json")
    assert settings.data_name == "a+b" and settings.reads == ["a.json", "b.json", "c.json"]
    assert settings.to_dict()["coco"] == ["a.json", "b.json"]
    anchored = settings.anchor()
    assert anchored.coco == (os.path.abspath("a.json"), os.path.abspath("b.json"))
    assert TrainSettings.from_dict(json.loads(json.dumps(anchored.to_dict()))) == anchored
    with pytest.raises(ValueError, match="found 3 images for 2 coco, expected one folder for all files, or one for each"):
        TrainSettings(coco=["a", "b"], images=["A", "B", "C"])
    with pytest.raises(ValueError, match="coco: found .* expected text or a list of texts"):
        TrainSettings(coco=["a", 3])


def test_several_files_follow_a_moved_run(tmp_path):
    for name in ("old", "new"):
        (tmp_path / name / "run").mkdir(parents=True)
    for name in "ab":
        (tmp_path / "new" / f"{name}.json").write_text("{}")
    coco = [str(tmp_path / "old" / f"{name}.json") for name in "ab"]
    written = TrainSettings(coco=coco, run=str(tmp_path / "old" / "run")).to_dict()
    (tmp_path / "new" / "run" / "settings.json").write_text(json.dumps(written))
    read = TrainSettings.read(tmp_path / "new" / "run" / "settings.json")
    assert read.coco == tuple(str(tmp_path / "new" / f"{name}.json") for name in "ab")
