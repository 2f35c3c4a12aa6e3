"""What training shows on the terminal: a bar for each epoch, a line behind it, and a forecast of how long all takes."""

import math
import time
from collections.abc import Mapping, Sequence

import keras
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from centerkp.training.time_limit import TimeLimit
from centerkp.wording import format_duration, name_canvas

SHORT = 300  # seconds of a run that nobody wants to shorten
# Heads as columns of an 80-column terminal.
SHORT_NAMES = {
    "center_heatmap": "center",
    "center_offset": "c.offs",
    "box_size": "size",
    "keypoint_heatmap": "points",
    "keypoint_offset": "p.offs",
    "keypoint_regression": "p.vect",
}


class Forecast(keras.callbacks.Callback):
    """Says after the first steps how long the rest takes, and how a new run, which alone has the choice, would take less."""

    FIRST, LAST = 3, 13  # the steps between which is measured; the first ones build the graph

    def __init__(self, steps: int, limit: TimeLimit | None, console: Console, is_new: bool = True):
        super().__init__()
        self.steps, self.limit, self.console, self.is_new = steps, limit, console, is_new
        self.done = 0

    def on_train_batch_end(self, batch: int, logs: Mapping | None = None) -> None:
        """Counts the steps, and after the first ones prints how long the training will take."""
        self.done += 1
        if self.done == self.FIRST:
            self.started = time.monotonic()
        if self.done != self.LAST:
            return
        step = (time.monotonic() - self.started) / (self.LAST - self.FIRST)
        if self.limit and (fitting := max(self.limit.count_left() / self.limit.step, 0)) < self.steps - self.done:
            self.console.print(f"{self.limit.step:.2g} s a step: about {fitting:.0f} more fit into the time")
            return
        left = step * (self.steps - self.done)
        size, multiple = self.model.image_size, self.model.multiple
        longer = max(size) * 3 // 4 // multiple * multiple
        smaller = [math.ceil(longer * side / max(size) / multiple) * multiple for side in size]  # of the same shape, or wider
        line = f"{step:.2g} s a step: {format_duration(left)} to go, evaluations not counted"
        if self.is_new and left > SHORT and 0 < math.prod(smaller) < math.prod(size):
            share = math.prod(smaller) / math.prod(size)
            line += f"; --image-size {name_canvas(*smaller)} would take {share:.0%} of it, fewer --epochs in proportion"
        self.console.print(line)


def format_header(heads: Sequence[str]) -> str:
    """The heading over the lines that training prints of its epochs."""
    names = [SHORT_NAMES[head] for head in heads]
    return f"{'epoch':>5} {'loss':>7} " + " ".join(f"{n:>6}" for n in names) + f" {'val':>7} {'boxAP':>5} {'kptAP':>5}"


def format_row(row: dict[str, float]) -> str:
    """The log of one epoch as the line that training prints, of at most 80 characters."""
    terms = " ".join(f"{row[head]:6.2f}" for head in SHORT_NAMES if head in row)
    line = f"{int(row['epoch']):5d} {row['loss']:7.2f} {terms}"
    if "val_loss" in row:
        numbers = [f"{row[k]:5.3f}" if k in row else "    -" for k in ("box_ap", "keypoint_ap")]
        line += f" {row['val_loss']:7.2f} {numbers[0]} {numbers[1]}{' *' if row.get('best') else ''}"
    return line


class ProgressBar(keras.callbacks.Callback):
    """The bar of the current epoch, with the loss so far."""

    def __init__(self, epochs: int | None, steps: int, console: Console):
        super().__init__()
        self.epochs, self.steps = epochs, steps
        columns = TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeRemainingColumn(compact=True)
        # Without a terminal every redrawing would be a line of its own.
        self.progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)

    def on_epoch_begin(self, epoch: int, logs: Mapping | None = None) -> None:
        """Shows the bar of an epoch, from the steps on that are already done."""
        self.name = f"epoch {epoch + 1}/{self.epochs}" if self.epochs else f"epoch {epoch + 1}"
        done = self.model.unfinished["steps"] if self.model.unfinished else 0
        self.task = self.progress.add_task(self.name, total=self.steps, completed=done)
        self.progress.start()

    def on_train_batch_end(self, batch: int, logs: Mapping | None = None) -> None:
        """Moves the bar on by a step."""
        loss = float((logs or {}).get("loss", np.nan))
        self.progress.update(self.task, advance=1, description=f"{self.name}  loss {loss:.2f}")

    def on_epoch_end(self, epoch: int, logs: Mapping | None = None) -> None:
        """Takes the bar of the epoch away."""
        self.progress.remove_task(self.task)
        self.progress.stop()

    def on_train_end(self, logs: Mapping | None = None) -> None:
        """Takes the bar away at the end of training."""
        self.progress.stop()
