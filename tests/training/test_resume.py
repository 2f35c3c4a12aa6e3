"""A run that was interrupted or moved, or whose data have changed: it goes on where that is sound, and else says why not."""

import json
import os
import shutil
import signal
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from quick import run_eagerly
from rich.console import Console
from same_run import assert_same_run

import centerkp
from centerkp.cli import main
from centerkp.demo.scenes import write_demo
from centerkp.schema import ObjectClass, Schema
from centerkp.settings.training import TrainSettings
from centerkp.training.callbacks import EpochEnd
from centerkp.training.interruption import Interruption
from centerkp.training.resumed import find_scores, load_last
from centerkp.training.run_folder import RunFolder
from centerkp.training.run_images import digest_records, read_records
from centerkp.writing import hold_folder

FLAGS = ["--backbone", "hourglass_10", "--image-size", "32", "--eval-every", "1", "--threads", "1",
         "--batch-size", "1", "--accumulate", "2", "--precision", "float32"]  # fmt: skip


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return write_demo(tmp_path_factory.mktemp("data") / "demo", num_train=8, num_val=3, num_test=1, size=(96, 80))


@pytest.fixture(scope="module")
def whole(demo, tmp_path_factory):
    """Two epochs of three steps, a quarter of the images held back, never interrupted."""
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "whole")
    with pytest.MonkeyPatch.context() as patch:
        run_eagerly(patch)
        assert main([*command(demo, folder), "--val-fraction", "0.25"]) == 0
    return folder


def command(demo, folder, *flags):
    return ["train", "--coco", str(demo.train_json), "--run", str(folder.path), "--epochs", "2", *FLAGS, *flags]


def copy(folder, place):
    shutil.copytree(folder.path, place)
    return RunFolder(place)


def forget_epochs(folder, kept=1):
    """As if the run had been killed after so many epochs, which does not matter where the model's numbers do not."""
    model = centerkp.load_model(folder.last)
    model.trained_epochs = kept
    model.optimizer.iterations.assign(3 * kept)
    model.save(folder.last)


@contextmanager
def usual_signals():
    """Whose tests run in the background of a script, has a shell that makes its children deaf to Ctrl-C."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.long
@pytest.mark.usefixtures("eagerly")
def test_signal_in_an_epoch_loses_no_step(demo, whole, tmp_path, monkeypatch, capsys):
    """Between two steps, behind the last, and while an epoch is evaluated: saved there, gone on from there, and in the end the
    run that was never interrupted."""
    folder, due = RunFolder(tmp_path / "run"), {}
    batch, evaluate = EpochEnd.on_train_batch_begin, EpochEnd._evaluate_model

    def on_train_batch_begin(self, index, logs=None):
        done = self.first_step + index
        if (self.model.trained_epochs, done) in due:
            signal.raise_signal(due.pop((self.model.trained_epochs, done)))
        batch(self, index, logs)

    def _evaluate(self):
        if (self.model.trained_epochs - 1, None) in due:
            signal.raise_signal(due.pop((self.model.trained_epochs - 1, None)))
        return evaluate(self)

    monkeypatch.setattr(EpochEnd, "on_train_batch_begin", on_train_batch_begin)
    monkeypatch.setattr(EpochEnd, "_evaluate_model", _evaluate)
    line = [*command(demo, folder), "--val-fraction", "0.25"]
    cases = ((signal.SIGTERM, 0, 2, 143), (signal.SIGHUP, 1, 3, 129), (signal.SIGINT, 1, None, 130))
    for number, epoch, step, code in cases:
        due[epoch, step] = number
        with usual_signals():
            assert main(line) == code
        assert f"goes on with --resume {folder.path}" in capsys.readouterr().out.replace("\n", "")
        last = centerkp.load_model(folder.last)
        assert (last.trained_epochs, last.unfinished["steps"]) == (epoch, 3 if step is None else step)
        line = ["train", "--resume", str(folder.path)]
    assert main(line) == 0
    assert "continuing after 1 epoch and 3 steps of 3" in capsys.readouterr().out
    assert_same_run(folder, whole)


def test_interruption_leaves_signals_as_they_were():
    with usual_signals():
        with pytest.raises(KeyboardInterrupt):
            with Interruption() as interruption:
                signal.raise_signal(signal.SIGINT)
                assert interruption.signal == signal.SIGINT
                with pytest.raises(KeyboardInterrupt):  # the second does not wait
                    signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with Interruption() as interruption, interruption.at_once():
        pass


def test_ended_before_its_first_save_it_starts_from_the_beginning(demo, tmp_path, monkeypatch, capsys):
    """With its own settings; not when last.keras was taken away later."""
    folder, models = RunFolder(tmp_path / "run"), []

    def killed(run):
        models.append(run.model)
        raise KeyboardInterrupt

    monkeypatch.setattr("centerkp.training.train.fit", killed)
    assert main([*command(demo, folder), "--seed", "7"]) == 130
    assert main(["train", "--resume", str(folder.path)]) == 130
    assert "starts from its beginning" in capsys.readouterr().out.replace("\n", " ")
    for one, other in zip(*(model.weights for model in models), strict=True):
        np.testing.assert_array_equal(one, other)
    assert folder.read_settings().seed == 7
    folder.best.touch()
    assert main(["train", "--resume", str(folder.path)]) == 2
    assert "last.keras: no such file, expected it beside best.keras" in capsys.readouterr().err


@pytest.mark.usefixtures("eagerly")
def test_images_that_were_added_or_changed(demo, whole, tmp_path, monkeypatch, capsys):
    """The JSON grew and was mended: the run keeps its sets, names what is new, and scores best.keras on the new labels."""
    folder, data = copy(whole, tmp_path / "run"), tmp_path / "data"
    forget_epochs(folder)
    shutil.copytree(demo.images_dir, data / "images")
    coco, extra = (json.loads(p.read_text()) for p in (demo.train_json, demo.val_json))
    held = folder.read_images().val
    assert len(held) == 2 and len(folder.read_images().train) == 6
    coco["images"] += [image | {"id": image["id"] + 1000} for image in extra["images"]]
    coco["annotations"] += [a | {"id": a["id"] + 1000, "image_id": a["image_id"] + 1000} for a in extra["annotations"]]
    (next(a for a in coco["annotations"] if a["image_id"] in {i for i, _ in held}))["bbox"][2] *= 0.5
    (data / "grown.json").write_text(json.dumps(coco))
    resumed, best = ["train", "--resume", str(folder.path), "--coco", str(data / "grown.json")], folder.best.read_bytes()
    monkeypatch.setattr("centerkp.evaluation.evaluate.Evaluation.score", lambda self, monitor: 0.5)
    assert main(resumed) == 0
    assert folder.best.read_bytes() == best  # the new one was not better
    text = " ".join(capsys.readouterr().out.split())
    for words in ("6 training images, 2 validation images", "1 validation image: with other labels than when the run began",
                  "3 images: added since the run began, left out", "best.keras scored again"):  # fmt: skip
        assert words in text, words
    assert folder.read_images().val.keys() == held.keys() and folder.read_settings().coco == str(data / "grown.json")
    # Now an image of the run is gone, and then another stands under its number: its steps would be others.
    first = next(i for i in coco["images"] if i["id"] not in {i for i, _ in held})
    for change in ("gone", "renamed"):
        others = [i for i in coco["images"] if i is not first]
        images = others if change == "gone" else [*others, first | {"file_name": coco["images"][-1]["file_name"]}]
        images = images if change == "gone" else [i for i in images if i is not coco["images"][-1]]
        kept = {i["id"] for i in images}
        annotations = [a for a in coco["annotations"] if a["image_id"] in kept]
        (data / "grown.json").write_text(json.dumps(coco | {"images": images, "annotations": annotations}))
        assert main(["train", "--resume", str(folder.path)]) == 2
        assert "found 7 images of the run, expected all 8" in " ".join(capsys.readouterr().err.split())


def test_score_of_the_best_model_is_found_without_the_log(whole, tmp_path):
    """In a file of its own, as of the epoch to go on from; from best.keras itself when that is damaged, or on other labels."""
    folder, console = copy(whole, tmp_path / "run"), Console(record=True)
    folder.log.unlink()
    settings = folder.read_settings()
    val = read_records(settings, folder.read_images())[2]
    scores = json.loads(folder.scores.read_text())
    assert scores["validation"] == digest_records(val)
    folder.scores.write_text(json.dumps(scores | {"scores": {"1": 0.25, "2": 0.75}}))
    assert find_scores(folder, val, settings, 2, console) == {1: 0.25, 2: 0.75}
    assert find_scores(folder, val, settings, 1, console) == {1: 0.25}  # that of the second comes again
    true = centerkp.load_model(folder.best).trained_epochs
    for content in (scores | {"validation": "other"}, [], {"scores": 5}):
        folder.scores.write_text(json.dumps(content))
        assert find_scores(folder, val, settings, 2, console).keys() == {true}
        assert json.loads(folder.scores.read_text())["validation"] == digest_records(val)
    assert console.export_text().count("best.keras scored again") == 3
    folder.best.unlink()
    assert find_scores(folder, val, settings, 2, console) == {}


def test_moved_with_its_data_and_from_another_folder(demo, tmp_path, monkeypatch):
    """Started with relative paths in one folder; everything moved; resumed from a third."""
    shutil.copytree(demo.train_json.parent, tmp_path / "a" / "data")
    monkeypatch.chdir(tmp_path / "a")
    settings = TrainSettings(coco="data/train.json", val="data/val.json", weights="none", tfrecord=None)
    folder = RunFolder.create(TrainSettings(coco="data/train.json", run="runs/one"))
    folder.write_start(settings, Schema.generic(1), [], [])
    monkeypatch.chdir(tmp_path)
    assert folder.path.as_posix() == "runs/one"
    there = RunFolder(tmp_path / "a" / "runs" / "one")
    assert there.read_settings().coco == str(tmp_path / "a" / "data" / "train.json")
    (tmp_path / "a").rename(tmp_path / "b")
    moved = RunFolder("b/runs/one").read_settings()
    assert (moved.coco, moved.val) == tuple(str(tmp_path / "b" / "data" / name) for name in ("train.json", "val.json"))
    assert moved.weights == "none" and RunFolder("b/runs/one").hold()
    (tmp_path / "b" / "runs" / "one").rename(tmp_path / "elsewhere")
    assert RunFolder("elsewhere").read_settings().coco == str(tmp_path / "a" / "data" / "train.json")  # to be named anew


def test_pattern_of_records_is_followed(tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "t.record-00000-of-00001").touch()
    settings = TrainSettings(tfrecord=str(tmp_path / "old" / "t.record-?????-of-00001"), run=str(tmp_path / "old" / "run"))
    (tmp_path / "new" / "run").mkdir()
    (tmp_path / "new" / "run" / "settings.json").write_text(json.dumps(settings.to_dict()))
    read = TrainSettings.read(tmp_path / "new" / "run" / "settings.json")
    assert read.tfrecord == str(tmp_path / "new" / "t.record-?????-of-00001")


@pytest.mark.parametrize(
    "content, words",
    [("[]", "found [], expected settings by name"), ("null", "found None"), ('{"epochs": "6"}', "epochs: found '6', expected"),
     ('{"epochs": 1e400}', "epochs: found inf"), ('{"flip": 1}', "flip: found 1, expected true or false"), ("{", "Expecting"),
     ('{"coco": 5}', "coco: found 5, expected text"), ('{"scale": [1]}', "scale: found [1], expected two numbers"),
     ("\xff", "utf-8"), ('{"threads": true}', "expected a whole number or null"), ("[" * 100000, "recursion")],
)  # fmt: skip
def test_damaged_settings_are_one_sentence(tmp_path, capsys, content, words):
    (tmp_path / "settings.json").write_bytes(content.encode("latin-1"))
    assert main(["train", "--resume", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert words in error and str(tmp_path / "settings.json") in error and len(error.strip().splitlines()) == 1


def test_one_process_trains_into_a_folder(whole, capsys):
    with hold_folder(whole.path, ""):
        assert main(["train", "--resume", str(whole.path)]) == 2
    assert f"found process {os.getpid()} on" in capsys.readouterr().err


def test_run_that_cannot_be_written_is_refused_at_once(demo, tmp_path, capsys, monkeypatch):
    """Before the data are read, and before a model is built."""
    monkeypatch.setattr("centerkp.training.train.read_records", None)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "best.keras").write_text("mine")
    for place, words in (("file", "found a file"), ("file/run", "found a file"), ("foreign", "found best.keras")):
        assert main(command(demo, RunFolder(tmp_path / place))) == 2
        assert words in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == (tmp_path / "foreign" / "best.keras").read_text() == "mine"


def test_sides_that_labels_show_stay_those_of_the_run(monkeypatch):
    """Added labels may show sides that the first ones did not; told pairs that differ are another dataset."""
    began = Schema((ObjectClass("plate", 1, ("p", "q")),))
    monkeypatch.setattr("centerkp.training.resumed.load_model", lambda path: SimpleNamespace(schema=began))
    folder, settings = SimpleNamespace(last="last.keras", best="best.keras"), TrainSettings(coco="ann.json")
    for source in ("sided", "few", "none"):
        now = Schema((ObjectClass("plate", 1, ("p", "q"), flip_source=source),))
        assert load_last(folder, now, settings).schema == began
    told = Schema((ObjectClass("plate", 1, ("p", "q"), flip_pairs=((0, 1),), flip_source="json"),))
    for other in (told, Schema((ObjectClass("plate", 1, ("p", "r")),)), Schema((ObjectClass("cup", 1, ("p", "q")),))):
        with pytest.raises(ValueError, match="its classes or keypoints differ"):
            load_last(folder, other, settings)


def test_damaged_log_and_list_of_images_are_one_sentence(tmp_path):
    folder = RunFolder(tmp_path)
    folder.log.write_text("epoch,loss\n1,much\n")
    with pytest.raises(ValueError, match="log.csv: found no numbers"):
        folder.read_log()
    for content in ("[]", "{", '{"train": [{"id": 1}], "val": []}', '{"train": 5, "val": []}', "\xff"):
        folder.images.write_bytes(content.encode("latin-1"))
        with pytest.raises(ValueError, match="images.json: found no list of images"):
            folder.read_images()
