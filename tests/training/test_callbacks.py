from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from scored_objects import SCHEMA, random_records

from centerkp.distribution.team import Team
from centerkp.evaluation.evaluate import ground_truth_as_detections
from centerkp.report.run_report import RunReport
from centerkp.settings.training import TrainSettings
from centerkp.training import callbacks
from centerkp.training.callbacks import EpochEnd
from centerkp.training.progress import Forecast
from centerkp.training.run import Run
from centerkp.training.step_watch import BrokenStep
from centerkp.wording import format_duration


def forecast(monkeypatch, seconds, size, multiple, steps=1013, is_new=True):
    """What is said after thirteen steps of so many seconds each."""
    now = iter([100.0, 100.0 + 10 * seconds])
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: next(now))
    console = Console(record=True, width=200)
    one = Forecast(steps, None, console, is_new)
    one.set_model(SimpleNamespace(multiple=multiple, image_size=size if isinstance(size, tuple) else (size, size)))
    for step in range(20):
        one.on_train_batch_end(step)
    return console.export_text()


def test_forecast(monkeypatch):
    assert forecast(monkeypatch, 0.9, 320, 32) == (
        "0.9 s a step: 15 minutes to go, evaluations not counted; --image-size 224 would take 49% of it, fewer --epochs in "
        "proportion\n"
    )
    assert forecast(monkeypatch, 0.9, 320, 32, is_new=False).endswith("to go, evaluations not counted\n")
    assert "--image-size 384 would take 56%" in forecast(monkeypatch, 0.9, 512, 128)
    assert "--image-size 224x160 would take 58%" in forecast(monkeypatch, 0.9, (320, 192), 32)
    assert "--image-size 384x256 would take 75%" in forecast(monkeypatch, 0.9, (512, 256), 128)


def test_no_less_than_no_step_fits_into_a_time_that_is_up():
    console = Console(record=True, width=200)
    one = Forecast(1013, SimpleNamespace(count_left=lambda: -9.0, step=0.5), console)
    for step in range(13):
        one.on_train_batch_end(step)
    assert console.export_text() == "0.5 s a step: about 0 more fit into the time\n"


@pytest.mark.parametrize(("seconds", "size", "multiple"), [(0.05, 320, 32), (0.9, 128, 128), (0.9, (256, 128), 256)])
def test_no_smaller_size_is_proposed_for_short_runs_and_where_there_is_none(monkeypatch, seconds, size, multiple):
    assert forecast(monkeypatch, seconds, size, multiple).endswith("evaluations not counted\n")


def test_an_evaluation_tells_the_model_its_thresholds(monkeypatch):
    records = random_records(SCHEMA, images=4, missing=["nut"])
    found = [[replace(d, score=0.1) for d in one] for one in ground_truth_as_detections(records, SCHEMA)]
    monkeypatch.setattr(callbacks, "detect_together", lambda *_: found)
    monkeypatch.setattr(callbacks, "digest_records", lambda _: "")
    run = Run(None, records, records, TrainSettings(batch_size=2), None, started=0.0, console=None)
    end = EpochEnd(run, validation_batches=None, rows=[], interruption=None)
    end.set_model(SimpleNamespace(evaluate=lambda *_, **__: {"loss": 2.0}, schema=SCHEMA, thresholds=None))
    assert end._evaluate_model()["box_ap"] == pytest.approx(1)
    assert end.model.thresholds.scores == pytest.approx((0.05, 0.05, 0.05)) and end.model.thresholds.objects[2] == 0
    found.clear()
    found += [[] for _ in records]
    end._evaluate_model()
    assert end.model.thresholds is None


def test_durations():
    assert [format_duration(s) for s in (45, 340, 9000)] == ["45 s", "6 minutes", "2.5 hours"]


def count_saves(monkeypatch, saving, save_every):
    """Saves in an epoch of two hours, steps of ten seconds, each save of so many."""
    now, saves = 0.0, []

    def save_last():
        nonlocal now
        now += saving
        saves.append(now)

    monkeypatch.setattr(callbacks.time, "monotonic", lambda: now)
    monkeypatch.setattr(callbacks, "digest_records", lambda _: "")
    about = {
        "settings": TrainSettings(save_every=save_every),
        "val_records": [],
        "steps": 720,
        "report": RunReport(),
        "team": Team(),
    }
    run = SimpleNamespace(save_last=save_last, **about)
    end = EpochEnd(run, validation_batches=None, rows=[], interruption=SimpleNamespace(signal=None))
    end.set_model(SimpleNamespace(unfinished=None, weights=[], metrics_variables=[], jax_state_sync=lambda: None))
    end.on_epoch_begin(0)
    for step in range(720):
        now += 10
        end.on_train_batch_end(step)
    return len(saves)


@pytest.mark.parametrize(
    ("saving", "save_every", "saves"), [(0.5, None, 11), (30.0, None, 3), (30.0, "10m", 11), (0.5, "1h", 1), (0.5, "10s", 359)]
)
def test_saves_within_an_epoch(monkeypatch, saving, save_every, saves):
    """Every ten minutes, or as seldom as takes a hundredth of the time, or as often as the user says; not at its end."""
    assert count_saves(monkeypatch, saving, save_every) == saves


def test_weights_that_are_no_numbers_are_neither_saved_nor_judged():
    run = SimpleNamespace(settings=TrainSettings(), val_records=[], save_last=None)
    end = EpochEnd(run, validation_batches=None, rows=[], interruption=None)
    weights = [np.zeros(3), np.array([0, np.nan])]
    end.set_model(SimpleNamespace(unfinished=None, weights=weights, trained_epochs=4, jax_state_sync=lambda: None))
    end.on_epoch_begin(4)
    for act in (lambda: end._save_unfinished(0), lambda: end.on_epoch_end(4)):
        with pytest.raises(BrokenStep, match="epoch 5, step 0"):
            act()
