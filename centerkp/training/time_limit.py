"""Laying a run out for the time that it may take: its learning rate, its evaluations and its end."""

from collections import deque
from collections.abc import Mapping
from time import monotonic
from typing import Any

import keras

from centerkp.distribution.team import Team
from centerkp.settings.training import TrainSettings
from centerkp.settings.values import read_time
from centerkp.training.optimizer import own_optimizer, rate_at

RECENT = 10  # steps whose mean says how long one takes
# An evaluation comes after a twentieth of the time, later where it would take more than a tenth of it, but after a quarter at
# the latest, so that the best model is one of three at least.
OFTEN, SELDOM, COST = 1 / 20, 1 / 4, 9
NOTICEABLE = 0.01  # change of the learning rate: on JAX, giving the step another one costs a walk through all variables


def is_turn(every: int | str, epoch: int, evaluated: float) -> bool:
    """Whether the epochs or the time between evaluations have gone by, after an epoch and since a moment of `monotonic`."""
    return (epoch + 1) % every == 0 if isinstance(every, int) else monotonic() - evaluated >= read_time(every)


class TimeLimit(keras.callbacks.Callback):
    """Ends training when the time is up, and until then sets the learning rate by `progress`, the share that is over.

    Every step moves `progress` on by the share that it takes of what was left before it: of the time for training, or of the
    steps where fewer are left than fit. So it comes to 1 at the very end, also when the machine gets slower or faster. Building
    the graph and evaluations leave it as it is, and make less time for the rest.

    Args:
        timed: what the model of a resumed run knows of its time, as `to_dict` gives it; None for a new run.
        started: when the command began, by `time.monotonic`.
        validation_steps: batches of an evaluation, from which its time is guessed before there was one.
        team: those that train; all go by the clock of the first.
    """

    def __init__(
        self, settings: TrainSettings, timed: Mapping | None, started: float, validation_steps: int, team: Team | None = None
    ) -> None:
        super().__init__()
        self.team = team or Team()
        state = timed or {"progress": 0.0, "seconds": read_time(settings.time), "is_over": False}
        self.settings, self.validation_steps = settings, validation_steps
        self.progress, self.is_over, self.deadline = state["progress"], state["is_over"], started + state["seconds"]
        self.steps_left = 0  # of the part of the training that is fitted
        self.rate = 0.0
        self.building, self.recent = 0.0, deque(maxlen=RECENT)  # seconds of the first step, and of others
        self.evaluations: list[float] = []  # seconds
        self.since = self.evaluated = monotonic()  # when the last step or evaluation was done, and the last evaluation
        self.span = self.count_left()

    def to_dict(self) -> dict[str, Any]:
        """What a model in a timed run keeps of it: how far its schedule has come, the seconds left, and whether it is over."""
        return {"progress": self.progress, "seconds": self.deadline - monotonic(), "is_over": self.is_over}

    @property
    def step(self) -> float:
        """Seconds that a step of the timed run takes, with its share of the saving after epochs; 0 where not yet known."""
        return sum(self.recent) / len(self.recent) if self.recent else 0.0

    def list_evaluations(self) -> list[float]:
        """Seconds of the timed run's evaluations; a guess before the first, which builds a graph of the forward pass alone."""
        return self.evaluations or [self.building / 2 + self.step * self.validation_steps]

    def count_left(self) -> float:
        """Seconds left for the training of a timed run, without its last evaluation and that of its best model after it."""
        times = self.list_evaluations()
        return self.deadline - monotonic() - times[-1] - max(times)

    def is_due(self, epoch: int) -> bool:
        """Whether a timed run is evaluated after an epoch: not too often, not too seldom, and not shortly before its end."""
        left, took = self.count_left(), self.list_evaluations()[-1]
        if self.settings.eval_every:
            return is_turn(self.settings.eval_every, epoch, self.evaluated) and left > took
        pause = min(max(OFTEN * self.span, COST * took), SELDOM * self.span)
        return monotonic() - self.evaluated > pause and left > max(pause / 2, took)

    def note_evaluation(self) -> None:
        """Learns how long an evaluation of the timed run has just taken; the run is over when there is no time for another."""
        self.evaluated = monotonic()
        self.evaluations.append(self.evaluated - self.since)
        self.since = self.evaluated
        self.end_in_time()

    def end_in_time(self) -> None:
        """Ends the training of a timed run when more of another step than half would be too late."""
        if self.team.from_first(lambda: self.count_left() < self.step / 2):
            self.progress, self.is_over, self.model.stop_training = 1.0, True, True

    def on_train_begin(self, logs: Mapping | None = None) -> None:
        """Takes the next step of the timed run for one that builds the graph."""
        self.is_built, self.since = False, monotonic()

    def on_train_batch_begin(self, batch: int, logs: Mapping | None = None) -> None:
        """Gives the step of a timed run its learning rate."""
        rate = self.model.rate_factor * rate_at(self.settings, self.progress)
        if abs(rate - self.rate) > NOTICEABLE * self.rate:
            if keras.backend.backend() == "jax":
                self.model.jax_state_sync()  # `fit` looks at the variables again after that
            own_optimizer(self.model).learning_rate = self.rate = rate

    def on_train_batch_end(self, batch: int, logs: Mapping | None = None) -> None:
        """Moves `progress` on by a step, and ends the training when the time is up."""
        now = monotonic()
        seconds, self.since = now - self.since, now
        share = 1 / self.steps_left
        self.steps_left -= 1
        if self.is_built:
            left = self.count_left() + seconds
            share = max(share, min(seconds / left, 1.0) if left > 0 else 1.0)
            self.recent.append(seconds)
        else:
            self.is_built, self.building, self.evaluated = True, max(seconds, self.building), now
        self.progress = self.team.from_first(lambda: self.progress + (1 - self.progress) * share)
        self.end_in_time()
