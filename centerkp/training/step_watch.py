"""Watches every step of training: whether the loss and the weights are still numbers."""

import math
from collections import deque
from collections.abc import Mapping

import keras
import numpy as np

from centerkp.model.center_net import CenterNet

LAST = 20  # steps whose losses are remembered


class BrokenStep(Exception):
    """A step of training after which the loss, or a weight, is no longer a number.

    Args:
        epoch, step: which it was, both counted from 1.
        terms: the loss and its terms by name, means over the epoch until then; none where it was a weight.
        losses: of the last steps, this one's at the end.
    """

    def __init__(self, epoch: int, step: int, terms: Mapping[str, float], losses: list[float]) -> None:
        super().__init__(f"epoch {epoch}, step {step}")
        self.epoch, self.step, self.terms, self.losses = epoch, step, dict(terms), losses


class StepWatch(keras.callbacks.Callback):
    """Looks at the loss after every step, and raises BrokenStep when it is no longer finite."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: deque[float] = deque(maxlen=LAST)

    def on_epoch_begin(self, epoch: int, logs: Mapping | None = None) -> None:
        """Begins to count the steps of an epoch, behind those that are already done."""
        self.epoch = epoch + 1
        self.done = self.model.unfinished["steps"] if self.model.unfinished else 0
        self.total = None if self.done else 0.0  # of the losses; not known of steps before a resumed one

    def on_train_batch_end(self, batch: int, logs: Mapping | None = None) -> None:
        """Finds the step's own loss, as `fit` tells only their mean over the epoch; raises BrokenStep if it is no number."""
        terms = {name: float(value) for name, value in (logs or {}).items()}
        self.done += 1
        total = terms["loss"] * self.done
        if self.total is not None:
            self.losses.append(total - self.total)
        self.total = total
        if not math.isfinite(total):
            raise BrokenStep(self.epoch, self.done, terms, list(self.losses))


def has_finite_weights(model: CenterNet) -> bool:
    """Whether all weights and statistics of a model are numbers, which a step can end that still had a finite loss."""
    return all(np.isfinite(keras.ops.convert_to_numpy(weight)).all() for weight in model.weights)
