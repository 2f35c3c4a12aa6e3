"""The validation images in shares: each process reads and judges its own, and all come to the numbers of one."""

from collections.abc import Sequence
from typing import Any, TypeVar

import keras
import numpy as np

from centerkp.distribution.team import Team, place
from centerkp.inference.detect import detect_records, read_ahead
from centerkp.labels.records import Record
from centerkp.results import Detection

T = TypeVar("T")


def detect_together(team: Team, model: keras.Model, records: Sequence[Record], batch_size: int) -> list[list[Detection]]:
    """The detections of every record's image, in order, of which each process makes every so-many-th batch."""
    if team.devices == 1:
        return detect_records(model, records, batch_size)
    batches = [records[first : first + batch_size] for first in range(0, len(records), batch_size)]
    mine = batches[team.index :: team.count]
    detector = _SpreadDetector(model, team.own) if team.own else model
    own = [record for batch in mine for record in batch]
    # One process alone fills its short batch up to those before it; this one may have none before it, and would compute another
    # number of images in a step, which changes the last digits.
    lacking = batch_size - len(mine[0]) if own and len(records) > batch_size else 0
    found = iter(detect_records(detector, own + own[-1:] * lacking, batch_size))
    shares = team.gather([[next(found) for _ in batch] for batch in mine])
    return [detections for batch in _weave(shares) for detections in batch]


def measure_losses(team: Team, model: keras.Model, batches: Any) -> dict[str, float]:
    """What `evaluate` gives for a model and the validation batches: its loss with the terms, as means over the batches.

    Every batch is computed as one process would; the means are of float64, where those of `evaluate` add up float32.
    """
    if team.devices == 1:
        return model.evaluate(batches, verbose=0, return_dict=True)
    mine = (batches[number] for number in range(team.index, batches.num_batches, team.count))
    rows = [(len(images), model.test_on_batch(images, truth, return_dict=True)) for images, truth in read_ahead(mine, 2)]
    sizes, logs = zip(*_weave(team.gather(rows)), strict=True)
    # As Keras has it: the loss by images, the terms by batches.
    means = {name: float(np.mean([one[name] for one in logs])) for name in logs[0]}
    return means | {"loss": float(np.average([one["loss"] for one in logs], weights=sizes))}


def _weave(shares: Sequence[Sequence[T]]) -> list[T]:
    """What was dealt out to the processes one by one, in its order again."""
    return [shares[i % len(shares)][i // len(shares)] for i in range(sum(map(len, shares)))]


class _SpreadDetector:
    """A model whose predictions are made by all devices of this process, from whatever thread."""

    def __init__(self, model: keras.Model, distribution: keras.distribution.DataParallel) -> None:
        self.model, self.distribution = model, distribution

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def predict_on_batch(self, x: Any) -> Any:
        """What the model finds in a batch, of which each device takes a share."""
        with self.distribution.scope():
            return self.model.predict_on_batch(place(x, self.distribution))
