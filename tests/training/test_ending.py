"""Runs that end before their last epoch: when the time is up, or the score no longer rises."""

import json
import signal
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

import centerkp
from centerkp.cli import main
from centerkp.demo.scenes import write_demo
from centerkp.model.center_net import CenterNet
from centerkp.settings.training import TrainSettings
from centerkp.training import train as training
from centerkp.training.callbacks import EpochEnd
from centerkp.training.run import Run
from centerkp.training.run_folder import RunFolder
from centerkp.training.time_limit import TimeLimit
from centerkp.training.train import train


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return write_demo(tmp_path_factory.mktemp("data") / "demo", num_train=8, num_val=3, num_test=1, size=(96, 80))


@pytest.fixture
def make_settings(demo, tmp_path, monkeypatch):
    """Settings of a run, four steps an epoch; its network is the smallest there is, and no graph is built for a few steps."""
    monkeypatch.setattr(CenterNet, "run_eagerly", property(lambda model: True, lambda model, value: None))
    monkeypatch.setattr(training, "start_model", lambda schema, settings, console: training.build_probe(schema, settings))
    fixed = {"coco": str(demo.train_json), "val": str(demo.val_json), "run": str(tmp_path / "run"), "backbone": "hourglass_10",
             "image_size": 32, "batch_size": 2, "threads": 1, "precision": "float32"}  # fmt: skip
    return lambda **values: TrainSettings(**fixed | values)


def test_patience_ends_a_run_also_when_it_was_interrupted(make_settings, tmp_path, monkeypatch):
    """The second evaluation is the best; with one after it the run is interrupted, with two it ends, and stays ended."""
    scores, console = iter((0.1, 0.3, 0.2, None, 0.3)), Console(record=True, width=200)
    settings, folder = make_settings(epochs=9, eval_every=1, patience=2), RunFolder(tmp_path / "run")

    def evaluate(self):
        score = next(scores)
        if score is None:
            raise KeyboardInterrupt
        return {"score": score}

    monkeypatch.setattr(EpochEnd, "_evaluate_model", evaluate)
    with pytest.raises(KeyboardInterrupt):
        train(settings, console=console)
    train(folder.read_settings(), resume=folder.path, console=console)
    assert "no higher score in 2 evaluations: the run ends, epoch 2 was its best (0.300)" in console.export_text()
    assert [row["epoch"] for row in folder.read_log()] == [1, 2, 3, 4] and folder.metrics.exists()
    assert centerkp.load_model(folder.best).trained_epochs == 2
    folder.metrics.unlink()
    train(folder.read_settings(), resume=folder.path, console=console)
    assert "the run had ended after 4 epochs" in console.export_text()
    assert [row["epoch"] for row in folder.read_log()] == [1, 2, 3, 4] and json.loads(folder.metrics.read_text())


def test_evaluations_while_a_part_was_frozen_wear_out_no_patience():
    rows = [{"epoch": epoch, "score": 0.1} for epoch in range(1, 8)]
    for unfreeze_at, stale in ((0, True), (5, False), (4, True)):
        settings = TrainSettings(patience=3, unfreeze_at=unfreeze_at, freeze="backbone" if unfreeze_at else "auto")
        run = Run(None, (), (), settings, None, 0.0, None, {1: 0.2})
        assert run.is_stale(rows) == stale


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands but for steps, two seconds each, evaluations, three, and the end of a run, two.

    `progress` is that of every step; SIGTERM comes after step `kills_after`, in the first evaluation if `kills_first`, and in
    the last if `kills_last`.
    """
    clock = SimpleNamespace(now=1000.0, progress=[], kills_after=None, kills_first=False, kills_last=False)
    for place in ("centerkp.cli.commands", "centerkp.training.train", "centerkp.training.time_limit"):
        monkeypatch.setattr(f"{place}.monotonic", lambda: clock.now)
    step, evaluate, finish = TimeLimit.on_train_batch_end, EpochEnd._evaluate_model, training.finish

    def on_train_batch_end(self, batch, logs=None):
        clock.now += 2
        step(self, batch, logs)
        clock.progress.append(self.progress)
        if len(clock.progress) == clock.kills_after:
            signal.raise_signal(signal.SIGTERM)

    def evaluate_model(self):
        name = "kills_last" if self.run.limit.is_over else "kills_first"
        if getattr(clock, name):
            setattr(clock, name, False)
            signal.raise_signal(signal.SIGTERM)
        clock.now += 3
        return evaluate(self)

    def finish_run(*arguments):
        clock.now += 2
        return finish(*arguments)

    monkeypatch.setattr(TimeLimit, "on_train_batch_end", on_train_batch_end)
    monkeypatch.setattr(EpochEnd, "_evaluate_model", evaluate_model)
    monkeypatch.setattr(training, "finish", finish_run)
    return clock


def test_timed_run_ends_normally_within_an_epoch(make_settings, tmp_path, clock):
    """A minute from the start of the command, six seconds of which were over before the training."""
    folder, console = RunFolder(tmp_path / "run"), Console(record=True, width=200)
    train(make_settings(time="1m"), started=clock.now - 6, console=console)
    assert 994 + 60 - 3 <= clock.now <= 994 + 60
    assert folder.metrics.exists() and folder.predictions.exists() and (folder.pictures / "validation").exists()
    steps, rows, last = len(clock.progress), folder.read_log(), centerkp.load_model(folder.last)
    assert steps > 15 and steps % 4  # into an epoch of four steps
    assert len(rows) == steps // 4 + 1 == last.trained_epochs and last.unfinished is None
    assert int(last.optimizer.iterations) == steps and last.timed["is_over"]
    assert 3 <= sum("score" in row for row in rows) and "score" in rows[-1]
    rates = [row["learning_rate"] for row in rows]
    assert rates[0] < max(rates) and max(rates) > 9e-4 and rates[-1] < 1e-4
    assert clock.progress == sorted(clock.progress) and clock.progress[-1] == 1 and max(np.diff(clock.progress)) < 0.15
    settings = folder.read_settings()
    assert (settings.time, settings.epochs, settings.eval_every) == ("1m", None, None)
    text = console.export_text()
    assert "1m: epochs of 4 steps" in text and f"the time is up, {steps % 4} step" in text and "time left: " in text
    folder.metrics.unlink()
    train(settings, resume=folder.path, console=console)  # the end is done again, and nothing is trained
    assert folder.metrics.exists() and len(clock.progress) == steps and folder.read_log() == rows


def test_timed_run_ends_with_its_epochs(make_settings, tmp_path, clock):
    folder, console = RunFolder(tmp_path / "run"), Console(record=True, width=200)
    train(make_settings(time="1h", epochs=3, freeze="backbone", unfreeze_at=1), console=console)
    np.testing.assert_allclose(clock.progress, [0.25, 0.5, 0.75, 1, *np.arange(1, 9) / 8])  # each part has a schedule
    assert [row["epoch"] for row in folder.read_log()] == [1, 2, 3] and "score" in folder.read_log()[-1]
    assert folder.metrics.exists() and not centerkp.load_model(folder.last).timed["is_over"]
    assert "1h: 3 epochs of 4 steps" in console.export_text()


def test_interrupted_timed_run_has_what_was_left(make_settings, tmp_path, clock, capsys):
    """By signals in its first evaluation, between two steps, and in its last evaluation; a night passes after each."""
    folder = RunFolder(tmp_path / "run")
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(make_settings(time="1m").to_dict()))
    clock.kills_first, clock.kills_after, clock.kills_last = True, 14, True
    assert main(["train", "--settings", str(file), "--run", str(folder.path)]) == 143
    last = centerkp.load_model(folder.last)
    assert last.unfinished["is_due"] and last.unfinished["steps"] == 4
    interrupted = last.trained_epochs  # rows before that of the epoch whose evaluation it was
    used = clock.now - 1000
    clock.now = 20_000.0
    assert main(["train", "--resume", str(folder.path)]) == 143
    assert "score" in folder.read_log()[interrupted]
    last, used = centerkp.load_model(folder.last), used + clock.now - 20_000
    assert last.timed["seconds"] == 60 - used and last.timed["progress"] == clock.progress[-1] < 1
    assert last.unfinished["steps"] == 2 and last.trained_epochs == 3

    clock.now = 50_000.0
    assert main(["train", "--resume", str(folder.path), "--time", "2m"]) == 2
    assert "--resume: found ['time'] beside it" in capsys.readouterr().err
    assert main(["train", "--resume", str(folder.path)]) == 143
    assert 60 - used - 9 <= clock.now - 50_000 <= 60 - used
    steps, last = len(clock.progress), centerkp.load_model(folder.last)
    assert clock.progress == sorted(clock.progress) and max(np.diff(clock.progress)) < 0.15
    assert last.timed["is_over"] and last.unfinished["steps"] == steps - 4 * last.trained_epochs

    clock.now = 90_000.0
    assert main(["train", "--resume", str(folder.path)]) == 0
    assert len(clock.progress) == steps == int(centerkp.load_model(folder.last).optimizer.iterations)
    assert "score" in folder.read_log()[-1] and folder.metrics.exists()
