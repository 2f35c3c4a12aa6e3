"""How a timed run is laid out, on a machine whose steps and evaluations take what is said here."""

from types import SimpleNamespace

import pytest

from centerkp.settings.training import TrainSettings
from centerkp.training import time_limit
from centerkp.training.time_limit import TimeLimit


class Machine:
    """Trains for a while that a clock of its own measures; keeps (seconds, progress) of every step, and of evaluations."""

    def __init__(self, monkeypatch, building=10.0, evaluation=2.0, first_evaluation=6.0, timed=None, **settings):
        self.now, self.building, self.evaluation, self.first_evaluation = 0.0, building, evaluation, first_evaluation
        monkeypatch.setattr(time_limit, "monotonic", lambda: self.now)
        self.limit = TimeLimit(TrainSettings(learning_rate=1.0, **settings), timed, 0.0, validation_steps=4)
        self.limit.steps_left = 10**9
        model = SimpleNamespace(stop_training=False, rate_factor=1.0, jax_state_sync=lambda: None)
        model.optimizer = SimpleNamespace()
        self.limit.set_model(model)
        self.steps, self.evaluations = [], []

    def train(self, step, epoch=50):
        """Trains to the end; `step` gives the seconds of a step at a moment."""
        self.limit.on_train_begin()
        while not self.limit.model.stop_training:
            self.limit.on_train_batch_begin(len(self.steps) % epoch)
            self.now += step(self.now) + (0 if self.steps else self.building)
            self.limit.on_train_batch_end(len(self.steps) % epoch)
            self.steps.append((self.now, self.limit.progress))
            ends = self.limit.model.stop_training
            if ends or (len(self.steps) % epoch == 0 and self.limit.is_due(len(self.steps) // epoch - 1)):
                self.now += self.evaluation if self.evaluations else self.first_evaluation
                self.evaluations.append(self.now)
                self.limit.note_evaluation()
        return self


def test_time_is_used_and_not_more(monkeypatch):
    """The best model is evaluated again after the end, with graphs built anew: for that, the longest evaluation is kept."""
    machine = Machine(monkeypatch, time="10m").train(lambda now: 0.5)
    assert 600 - 6 - 0.5 < machine.now < 600 - 6 + 0.5
    jumps = [b[1] - a[1] for a, b in zip(machine.steps, machine.steps[1:], strict=False)]
    assert machine.steps[-1][1] == 1 and max(jumps) < 0.005
    pauses = [b - a for a, b in zip(machine.evaluations, machine.evaluations[1:], strict=False)]
    assert 8 <= len(pauses) <= 12 and min(pauses[:-1]) > 30  # a twentieth of the time, or more where it ends an epoch


def test_slower_and_faster_machines_are_laid_out_anew(monkeypatch):
    """From the middle on everything takes three times as long, or a third: the schedule keeps to the clock."""
    for factor in (3, 1 / 3):
        machine = Machine(monkeypatch, time="10m").train(lambda now, f=factor: 0.5 if now < 300 else 0.5 * f)
        assert 600 - 6 - 1.5 < machine.now < 600 - 6 + 1.5
        for now, progress in machine.steps:
            assert progress == pytest.approx((now - 10) / 580, abs=0.04)


def test_dear_evaluations_are_few_but_three(monkeypatch):
    machine = Machine(monkeypatch, time="10m", evaluation=30.0, first_evaluation=40.0).train(lambda now: 0.5)
    assert 3 <= len(machine.evaluations) <= 4 and machine.now < 600 - 40 + 1
    machine = Machine(monkeypatch, time="10m", eval_every=3).train(lambda now: 0.5)
    assert len(machine.evaluations) == 8  # every 75 s, and at the end
    machine = Machine(monkeypatch, time="10m", eval_every="90s").train(lambda now: 0.5)
    assert len(machine.evaluations) == 6  # after four epochs of 25 s, and at the end


def test_too_little_time_is_for_one_step(monkeypatch):
    machine = Machine(monkeypatch, time="5s").train(lambda now: 0.5)
    assert len(machine.steps) == len(machine.evaluations) == 1 and machine.limit.to_dict()["is_over"]


def test_epochs_that_end_before_the_time(monkeypatch):
    machine = Machine(monkeypatch, time="1h")
    machine.limit.steps_left = 200
    with pytest.raises(ZeroDivisionError):  # no step comes after the last
        machine.train(lambda now: 0.5)
    for number, (_, progress) in enumerate(machine.steps[:200], 1):
        assert progress == pytest.approx(number / 200)
    assert not machine.limit.is_over


def test_resumed_with_what_was_left(monkeypatch):
    left = {"progress": 0.4, "seconds": 100.0, "is_over": False}
    machine = Machine(monkeypatch, time="10m", timed=left).train(lambda now: 0.5)
    assert 85 < machine.now < 94 and machine.steps[-1][1] == 1
    assert 0.4 <= machine.steps[1][1] < 0.41
