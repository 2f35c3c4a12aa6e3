from types import SimpleNamespace

import numpy as np
import pytest
from squares import SquareDetector

from centerkp.evaluation import speed
from centerkp.evaluation.speed import TimedDetector
from centerkp.images.sensors import Levels
from centerkp.images.tiling import Tiling


class Clock:
    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(speed.time, "perf_counter", lambda: self.now)


class SlowDetector(SquareDetector):
    """Takes ten seconds the first time and then `steps`, one after another."""

    def __init__(self, clock, steps):
        super().__init__()
        self.clock, self.steps = clock, [10.0, *steps]

    def predict_on_batch(self, inputs):
        self.clock.now += self.steps[self.calls]
        return super().predict_on_batch(inputs)


def make_inputs(count):
    return {"image": np.zeros((count, 96, 96, 3), np.uint8), "valid_size": np.full((count, 2), 96, np.float32)}


def test_the_first_step_does_not_count(monkeypatch):
    detector = TimedDetector(SlowDetector(Clock(monkeypatch), [2.0, 4.0, 3.0]))
    for _ in range(4):
        assert detector.predict_on_batch(make_inputs(6))["scores"].shape == (6, 4)
    measured = detector.measure(24, 19.0)
    assert (measured.network, measured.batch_size, measured.image_size) == (2.0, 6, (96, 96))
    assert (measured.images, measured.seconds) == (24, 19.0) and "2.0 images/s" in measured.describe()


def test_a_single_step_is_repeated(monkeypatch):
    detector = TimedDetector(SlowDetector(Clock(monkeypatch), [0.5]))
    detector.predict_on_batch(make_inputs(2))
    assert detector.measure(2, 10.0).network == pytest.approx(4.0) and detector.detector.calls == 2


def test_first_steps_of_other_sizes_do_not_count(monkeypatch):
    detector = TimedDetector(SlowDetector(Clock(monkeypatch), [9.0, 1.0]))
    for count in (2, 8, 8):
        detector.predict_on_batch(make_inputs(count))
    assert (detector.measure(18, 20.0).network, detector.measure(18, 20.0).batch_size) == (8.0, 8)


def test_what_decides_how_pictures_are_seen_is_that_of_the_detector():
    """Else an evaluation would read pictures of many bits, or cut large ones, in another way than training did."""
    inner = SimpleNamespace(levels=Levels(1, 2), tiling=Tiling(64))
    timed = TimedDetector(inner)
    assert (timed.levels, timed.tiling) == (inner.levels, inner.tiling)
    assert (TimedDetector(SimpleNamespace()).levels, TimedDetector(SimpleNamespace()).tiling) == (None, None)
