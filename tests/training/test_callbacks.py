from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console
from scored_objects import SCHEMA, random_records

from centerkp.evaluation.evaluate import ground_truth_as_detections
from centerkp.settings.training import TrainSettings
from centerkp.training import callbacks
from centerkp.training.callbacks import EpochEnd, Forecast, format_duration
from centerkp.training.run import Run


def forecast(monkeypatch, seconds, size, multiple, steps=1013):
    """What is said after thirteen steps of so many seconds each."""
    now = iter([100.0, 100.0 + 10 * seconds])
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: next(now))
    console = Console(record=True, width=200)
    one = Forecast(steps, size, None, console)
    one.set_model(SimpleNamespace(multiple=multiple))
    for step in range(20):
        one.on_train_batch_end(step)
    return console.export_text()


def test_forecast(monkeypatch):
    assert forecast(monkeypatch, 0.9, 320, 32) == (
        "0.9 s a step: 15 minutes to go, evaluations not counted; --image-size 224 would take 49% of it, fewer --epochs in "
        "proportion\n"
    )
    assert "--image-size 384 would take 56%" in forecast(monkeypatch, 0.9, 512, 128)


@pytest.mark.parametrize(("seconds", "size", "multiple"), [(0.05, 320, 32), (0.9, 128, 128)])
def test_no_smaller_size_is_proposed_for_short_runs_and_where_there_is_none(monkeypatch, seconds, size, multiple):
    assert forecast(monkeypatch, seconds, size, multiple).endswith("evaluations not counted\n")


def test_an_evaluation_tells_the_model_its_thresholds(monkeypatch):
    records = random_records(SCHEMA, images=4, missing=["nut"])
    found = [[replace(d, score=0.1) for d in one] for one in ground_truth_as_detections(records, SCHEMA)]
    monkeypatch.setattr(callbacks, "detect_records", lambda *_: found)
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
