"""A search whose trainings are a formula: the learning rate 0.001 is the best, and every evaluation says more of it."""

import json
import math
import os
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

from centerkp.cli import main
from centerkp.settings.training import TrainSettings
from centerkp.training import choice
from centerkp.training.run_folder import RunFolder
from centerkp.trials import search
from centerkp.trials.ranges import read_ranges
from centerkp.trials.search import search_settings

RANGES = ["learning_rate=0.00001..0.1", "color=true,false"]


@pytest.fixture
def settings(tmp_path):
    return TrainSettings(coco="a.json", run=str(tmp_path / "tune"), backbone="hourglass_10", precision="float32", epochs=4)


@pytest.fixture
def trained(monkeypatch):
    """The settings of every training, with the epochs that it had."""
    done = []

    def train(own, *, resume, console, callbacks):
        (watch,) = callbacks
        folder = RunFolder(own.run)
        folder.write_settings(own)
        score = 1 - abs(math.log10(own.learning_rate) + 3) / 4
        watch.set_model(SimpleNamespace(stop_training=False))
        for epoch in range(own.epochs):
            watch.on_epoch_end(epoch, {"loss": 1.0, "score": score * (epoch + 1) / own.epochs})
            if watch.model.stop_training:
                break
        done.append((own, epoch + 1))
        folder.write_log([{"epoch": n + 1, "score": score * (n + 1) / own.epochs} for n in range(epoch + 1)])
        return SimpleNamespace(evaluation=SimpleNamespace(score=lambda monitor: score * (epoch + 1) / own.epochs))

    monkeypatch.setattr(search, "train", train)
    return done


def run(settings, trials, **options):
    console = Console(record=True, width=80)
    return search_settings(
        settings, read_ranges(RANGES, settings), trials=trials, console=console, **options
    ), console.export_text()


@pytest.mark.long
def test_the_best_is_found_and_laggards_are_ended(settings, trained):
    result, text = run(settings, 25)
    assert len(trained) == 25 and len({own.run for own, _ in trained}) == 25
    assert 0.0003 < result.settings.learning_rate < 0.003 and result.score == max(
        1 - abs(math.log10(own.learning_rate) + 3) / 4 for own, epochs in trained if epochs == 4
    )
    assert {epochs for _, epochs in trained} > {4} and all(epochs == 4 for _, epochs in trained[:4])
    rows = json.loads((result.folder / "trials.json").read_text())["trials"]
    assert [len(row["scores"]) for row in rows] == [epochs for _, epochs in trained]
    assert [row["state"] == "PRUNED" for row in rows] == [epochs < 4 for _, epochs in trained]
    best = TrainSettings.from_dict(json.loads((result.folder / "best_settings.json").read_text()))
    assert best.learning_rate == result.settings.learning_rate and "best settings: " in text and "25 trials" in text


def test_a_search_goes_on_where_another_precision_would_be_chosen(settings, trained, monkeypatch):
    for milliseconds in (1, 9):
        monkeypatch.setattr(choice, "measure_convolutions", lambda *_, half=milliseconds: (4e-3, 1e-3 * half))
        run(replace(settings, precision="auto"), 2 if milliseconds == 1 else 3)
    assert [own.precision for own, _ in trained] == ["mixed_bfloat16"] * 3
    with pytest.raises(ValueError, match="found other settings or ranges"):
        run(replace(settings, precision="float32"), 4)


def test_an_interrupted_search_goes_on(settings, trained, monkeypatch):
    """The third trial is interrupted, and resumed with its own values; five there are in all."""
    real, asked = search.train, []

    def train(own, **options):
        asked.append((own.learning_rate, options["resume"] is not None))
        if len(asked) == 3:
            RunFolder(own.run).write_settings(own)
            raise KeyboardInterrupt
        return real(own, **options)

    monkeypatch.setattr(search, "train", train)
    with pytest.raises(KeyboardInterrupt):
        run(settings, 5)
    _, text = run(settings, 5)
    assert [resumed for _, resumed in asked] == [False, False, False, True, False, False]
    assert asked[2][0] == asked[3][0] and len({rate for rate, _ in asked}) == 5 and "5 trials" in text
    with pytest.raises(ValueError, match="found other settings or ranges"):
        run(TrainSettings(**settings.to_dict() | {"epochs": 5}), 5)


def test_the_budget_begins_no_trial_that_would_not_end_in_it(settings, trained, monkeypatch):
    """Two minutes each, of nine: the fifth would end after ten."""
    now, real = [100.0], search.train

    def train(own, **options):
        now[0] += 120
        return real(own, **options)

    monkeypatch.setattr(search, "monotonic", lambda: now[0])
    monkeypatch.setattr(search, "train", train)
    run(settings, 20, seconds=540, started=100.0)
    assert len(trained) == 4


def test_failed_trials_are_told_and_the_first_one_ends_the_search(settings, trained, monkeypatch):
    real, calls = search.train, []

    def train(own, **options):
        calls.append(own)
        if len(calls) == 2:
            raise ValueError("the loss is nan")
        return real(own, **options)

    monkeypatch.setattr(search, "train", train)
    _, text = run(settings, 3)
    assert "trial_2 failed: the loss is nan" in text and len(trained) == 2 and len(calls) == 3
    monkeypatch.setattr(search, "train", lambda *_, **__: (_ for _ in ()).throw(ValueError("no such images")))
    with pytest.raises(ValueError, match="no such images"):
        run(TrainSettings(**settings.to_dict() | {"run": settings.run + "2"}), 3)


@pytest.mark.parametrize(
    "values, trials, words",
    [({}, 0, "trials: found 0, expected 1 or more"), ({"folds": 5}, 2, "found 5 folds, expected one model a trial")],
)  # fmt: skip
def test_what_no_search_can_be_made_of_is_refused_before_it_begins(settings, trained, values, trials, words):
    with pytest.raises(ValueError, match=words):
        run(replace(settings, **values), trials)
    assert not trained and not os.path.exists(settings.run)


def test_the_command(settings, trained, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    flags = ["--backbone", "hourglass_10", "--precision", "float32", "--epochs", "2", "--search", "rotation=0..9"]
    assert main(["tune", "--coco", "a.json", "--trials", "2", "--budget", "1h", *flags]) == 0
    assert [own.run for own, _ in trained] == [
        f"runs/a-tune/trial_{n}" for n in (1, 2)
    ] and "rotation" in capsys.readouterr().out
    assert main(["tune", "--coco", "a.json", "--budget", "soon", *flags]) == 2
    assert "budget: found 'soon'" in capsys.readouterr().err
