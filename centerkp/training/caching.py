"""Whether a run keeps decoded images in memory: as its settings say, or once reading them is seen to hold up the steps."""

import os
import time
from collections.abc import Mapping

import keras

from centerkp.samples.cache import ImageCache
from centerkp.training.run import Run

HOLDS_UP = 0.2  # of a step's time


class CacheWhenSlow(keras.callbacks.Callback):
    """Turns a run's cache of images on when reading its images takes a noticeable share of the first steps."""

    FIRST, LAST = 3, 13  # the steps between which is measured; the first ones build the graph

    def __init__(self, run: Run, cache: ImageCache) -> None:
        super().__init__()
        self.run, self.cache, self.done = run, cache, 0

    def on_train_batch_end(self, batch: int, logs: Mapping | None = None) -> None:
        """Counts the steps, and after the first ones compares them with what reading a batch takes on all threads."""
        self.done += 1
        if self.done == self.FIRST:
            self.started = time.monotonic()
        if self.done != self.LAST or not self.cache.reads:
            return
        step = (time.monotonic() - self.started) / (self.LAST - self.FIRST)
        threads = self.run.settings.threads or os.cpu_count() or 1
        reading = self.cache.seconds / self.cache.reads * self.run.settings.step_images / self.run.team.count / threads
        if reading > HOLDS_UP * step:
            self.cache.is_active = True
            why = f"reading images takes {reading / step:.0%} of a step"
            kept = self.cache.describe(self.run.train_records)
            self.run.console.print(f"cache: {kept}, because {why} (--cache none decodes them anew)")
