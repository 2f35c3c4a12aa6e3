"""What watches the memory during the first steps of a training, so that a batch too large ends in a sentence."""

import os
import sys
import threading
from collections.abc import Mapping

import keras
from rich.console import Console

from centerkp.samples.memory import find_free_memory
from centerkp.settings.training import TrainSettings

STEPS = 3  # those that build the graph and come to all the memory that the later ones take
LEAST = 0.03  # share of the memory free at the start that has to stay
FASTEST = 8e9  # bytes a second that a step may take, on which the pause between two looks depends


class MemoryGuard(keras.callbacks.Callback):
    """Ends the process with a sentence when the first steps take nearly all the memory that was free before them.

    The kernel would kill it without one, and a step cannot be stopped from within. Memory of a GPU is not watched: its
    libraries raise errors.
    """

    def __init__(self, settings: TrainSettings, console: Console) -> None:
        super().__init__()
        self.settings, self.console, self.steps, self.is_over = settings, console, 0, threading.Event()

    def on_train_begin(self, logs: Mapping | None = None) -> None:
        """Begins to watch the memory."""
        self.free = find_free_memory()
        if self.free:
            threading.Thread(target=self._watch, daemon=True).start()

    def on_train_batch_end(self, batch: int, logs: Mapping | None = None) -> None:
        """Watches the memory no longer after a few steps."""
        self.steps += 1
        if self.steps == STEPS:
            self.is_over.set()

    def on_train_end(self, logs: Mapping | None = None) -> None:
        """Watches the memory no longer when there were fewer steps."""
        self.is_over.set()

    def _watch(self) -> None:
        """Looks at the memory until the steps are over."""
        pause = max(LEAST * min(self.free.values()) / FASTEST, 0.005)  # also where hardly anything was free
        while not self.is_over.wait(pause):
            now = find_free_memory()
            if any(now.get(kind, 0) < LEAST * free for kind, free in self.free.items()):
                self._end(min(self.free.values()))

    def _end(self, free: int) -> None:
        """Says how to make a step smaller than the memory that was free, and ends the process."""
        self.console.show_cursor(True)
        sys.stdout.flush()
        print(f"\nerror: {describe_lack(free, self.settings)}", file=sys.stderr, flush=True)
        os._exit(2)


def describe_lack(free: int, settings: TrainSettings) -> str:
    """One sentence on a training step that takes more memory than was free, and what would take less."""
    return (
        f"train: found {free / 1e9:.1f} GB of memory free, expected more for a step of {settings.batch_size} images of "
        f"{settings.image_size}; take --batch-size auto or a smaller one, with --accumulate for the rest of it, --remat, a "
        "smaller --image-size or --backbone."
    )
