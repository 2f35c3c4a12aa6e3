"""Runs that end before their last epoch: when the time is up, or the score no longer rises."""

import json
import signal
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

import centerkp
from centerkp.cli import main
from centerkp.demo.scenes import write_demo
from centerkp.report.settings_text import explain_settings
from centerkp.schema import Schema
from centerkp.settings.training import TrainSettings
from centerkp.training import train as training
from centerkp.training.callbacks import EpochEnd
from centerkp.training.parts import compile_part, plan_parts
from centerkp.training.prolonging import prolong
from centerkp.training.run import Run
from centerkp.training.run_folder import RunFolder
from centerkp.training.time_limit import TimeLimit
from centerkp.training.train import train


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return write_demo(tmp_path_factory.mktemp("data") / "demo", num_train=8, num_val=3, num_test=1, size=(96, 80))


@pytest.mark.long
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
    assert "Interrupted after 3 epochs" in folder.page.read_text()
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
        run = Run(SimpleNamespace(schedule_start=0), (), (), settings, None, 0.0, None, {1: 0.2})
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
        name = "kills_last" if self.run.limit and self.run.limit.is_over else "kills_first"
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


@pytest.mark.long
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


@pytest.mark.long
def test_timed_run_ends_with_its_epochs(make_settings, tmp_path, clock):
    folder, console = RunFolder(tmp_path / "run"), Console(record=True, width=200)
    train(make_settings(time="1h", epochs=3, freeze="backbone", unfreeze_at=1), console=console)
    np.testing.assert_allclose(clock.progress, [0.25, 0.5, 0.75, 1, *np.arange(1, 9) / 8])  # each part has a schedule
    assert [row["epoch"] for row in folder.read_log()] == [1, 2, 3] and "score" in folder.read_log()[-1]
    assert folder.metrics.exists() and not centerkp.load_model(folder.last).timed["is_over"]
    assert "1h: 3 epochs of 4 steps" in console.export_text()


@pytest.mark.long
def test_run_that_has_ended_is_prolonged(make_settings, tmp_path, monkeypatch, capsys):
    """From one epoch to two, killed on the way and told so again: the schedule of the second is one of its own."""
    folder, resume = RunFolder(tmp_path / "run"), ["train", "--resume", str(tmp_path / "run")]
    monkeypatch.setattr(EpochEnd, "_evaluate_model", lambda self: {"score": 0.5})
    train(make_settings(epochs=1, batch_size=4), console=Console(quiet=True))
    with monkeypatch.context() as patch:
        patch.setattr(training, "fit", lambda run: signal.raise_signal(signal.SIGTERM))
        assert main([*resume, "--epochs", "2"]) == 143
    assert main([*resume, "--epochs", "2"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert text.count("prolonged after 1 epoch to 2: the learning rate warms up again to 0.001 and falls once more") == 1
    rows, last = folder.read_log(), centerkp.load_model(folder.last)
    assert [row["epoch"] for row in rows] == [1, 2] and rows[0]["learning_rate"] == rows[1]["learning_rate"]
    assert (last.trained_epochs, last.schedule_start, int(last.optimizer.iterations)) == (2, 1, 2)
    assert main([*resume, "--epochs", "2"]) == 2
    assert "epochs: found 2, expected more than the 2" in capsys.readouterr().err
    assert main([*resume, "--image-size", "64"]) == 2
    error = capsys.readouterr().err
    assert "found ['image_size'] beside it" in error and f"start a new one with --weights {folder.best}" in error


def test_prolonged_for_epochs_or_a_time(make_settings, tmp_path):
    """Only a run that has ended: by its epochs, or because its time was over; on its way to that length it is left alone."""
    schema, console = Schema.generic(1, 1), Console(quiet=True)
    minute = {"progress": 1.0, "seconds": -5.0, "is_over": True}
    for former, state, longer, timed in (
        ({"epochs": 4}, {"trained_epochs": 4}, {"time": "20m"}, True),
        ({"time": "1m"}, {"trained_epochs": 4, "timed": minute}, {"time": "1m"}, True),
        ({"time": "1m"}, {"trained_epochs": 4, "timed": minute}, {"epochs": 9}, False),
        ({"epochs": 9}, {"trained_epochs": 4}, {"epochs": 9}, None),
        ({"epochs": 9}, {"trained_epochs": 4}, {"epochs": 12}, "found a run that has not ended"),
        ({"time": "1m"}, {"trained_epochs": 4, "timed": minute, "unfinished": {"steps": 1}}, {"time": "2m"}, "not ended"),
        ({"time": "1m"}, {"trained_epochs": 4, "timed": minute}, {"epochs": 4}, "expected more than the 4"),
    ):
        old, new = (make_settings(**length).resolve() for length in (former, longer))
        model = training.build_probe(schema, old)
        for name, value in state.items():
            setattr(model, name, value)
        run = Run(model, range(8), range(3), new, RunFolder(tmp_path), time.monotonic(), console)
        compile_part(replace(run, settings=old), plan_parts(old, 0)[0])
        model.optimizer.iterations.assign(16)
        run.report.asked, run.report.choices = ["coco"], ["epochs: 4, because of 8 images"]
        if isinstance(timed, str):
            with pytest.raises(ValueError, match=timed):
                prolong(run, old)
            continue
        prolong(run, old)
        assert (model.schedule_start, int(model.optimizer.iterations)) == ((0, 16) if timed is None else (4, 0))
        reasons = {name: why for name, _, _, why in explain_settings(new, run.report.asked, run.report.choices)}
        why = "chosen: 4, because of 8 images" if timed is None else "given"
        assert reasons[next(iter(longer))] == why  # on the run's page
        if timed:
            assert run.limit.progress == 0 and run.limit.deadline - run.started > 50 and not run.has_ended()
        elif timed is False:
            assert not run.has_ended() and float(model.optimizer.learning_rate) == pytest.approx(0.01 * 1e-3)


@pytest.mark.long
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
    assert "found a run that has not ended" in capsys.readouterr().err
    assert main(["train", "--resume", str(folder.path)]) == 143
    assert 60 - used - 9 <= clock.now - 50_000 <= 60 - used
    steps, last = len(clock.progress), centerkp.load_model(folder.last)
    assert clock.progress == sorted(clock.progress) and max(np.diff(clock.progress)) < 0.15
    assert last.timed["is_over"] and last.unfinished["steps"] == steps - 4 * last.trained_epochs

    clock.now = 90_000.0
    assert main(["train", "--resume", str(folder.path)]) == 0
    assert len(clock.progress) == steps == int(centerkp.load_model(folder.last).optimizer.iterations)
    assert "score" in folder.read_log()[-1] and folder.metrics.exists()
