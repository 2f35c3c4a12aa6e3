"""How long the steps of training wait for their batches, and how long they work."""

from collections.abc import Callable, Mapping
from time import monotonic

import keras


class Arrivals:
    """When each batch was ready, by `monotonic`, from which one can tell how long a step waited for it."""

    def __init__(self) -> None:
        self._times: dict[tuple[int, int], float] = {}

    def note(self, epoch: int, batch: int) -> None:
        """Notes that a sample of a batch is ready; the last one stays."""
        self._times[epoch, batch] = monotonic()

    def take(self, epoch: int, batch: int) -> float:
        """When a batch was ready, which is forgotten with that; 0 when nobody noted it."""
        return self._times.pop((epoch, batch), 0.0)


class StepTimer(keras.callbacks.Callback):
    """Tells how long each step waits and works; the last of the callbacks, so that it is next to the steps.

    What a step waits for its images is the time from its beginning until its batch was ready. The first step builds the graph
    while the first images are read, and counts for itself.

    Args:
        add_seconds: is called with "data", "steps" or "building", and the seconds that went into it.
    """

    def __init__(self, add_seconds: Callable[[str, float], None], arrivals: Arrivals) -> None:
        super().__init__()
        self.add_seconds, self.arrivals = add_seconds, arrivals
        self.is_built = False

    def on_epoch_begin(self, epoch: int, logs: Mapping | None = None) -> None:
        """Notes which epoch the steps belong to, and how many of it were done before."""
        self.epoch, self.first_step = epoch, self.model.unfinished["steps"] if self.model.unfinished else 0

    def on_train_batch_begin(self, batch: int, logs: Mapping | None = None) -> None:
        """Notes when a step begins."""
        self.started = monotonic()

    def on_train_batch_end(self, batch: int, logs: Mapping | None = None) -> None:
        """Adds the time of a step, parted into waiting and working."""
        seconds = monotonic() - self.started
        ready = self.arrivals.take(self.epoch, self.first_step + batch)
        if not self.is_built:
            self.is_built = True
            self.add_seconds("building", seconds)
            return
        waited = min(max(ready - self.started, 0.0), seconds)
        self.add_seconds("data", waited)
        self.add_seconds("steps", seconds - waited)
