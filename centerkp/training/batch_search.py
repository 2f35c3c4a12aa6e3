"""`--batch-size auto`: the largest batch that this machine's memory holds, found by trying, and its learning rate."""

import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import keras
from rich.console import Console

import centerkp
from centerkp.heads import USUAL_OBJECTS
from centerkp.labels.records import Record
from centerkp.samples.memory import find_free_memory, read_use
from centerkp.schema import Schema
from centerkp.settings.checks import AUTO
from centerkp.settings.training import TrainSettings
from centerkp.settings.values import read_time
from centerkp.training.batch_trial import FULL
from centerkp.wording import count_of

RESERVE = 5 * 10**8  # bytes for the loader, at least; what this process holds beside the trial is a part of it
ADDRESSES = 5 * 10**8  # bytes that its threads only reserve, which counts under `ulimit -v`
LEAST_STEPS = 10  # of an epoch: with fewer, a batch of a small dataset would be most of it
HALVINGS = 2  # of the gap between the largest size that fits and the smallest that does not
SECONDS, SHARE = 180, 4  # the search ends after this, or this part of the run's time, once some size has fitted
PAUSE = 0.02  # seconds between two looks at the memory of the trial
MOST_RATE = 2.0  # times the learning rate


def share_accelerator() -> None:
    """Lets a search's process use the accelerator beside this one, whose backend would take all of its memory at once."""
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def choose_batch_size(
    settings: TrainSettings, schema: Schema, records: Sequence[Record], images: int, console: Console
) -> tuple[TrainSettings, list[str]]:
    """Chooses a run's batch size, where it is "auto", for its records, so many of which train at once; lines that say why.

    The learning rate, where nobody gives it, grows with the square root of the images of a step, as suits Adam (Malladi et al.
    2022), but to twice at most.

    Raises:
        ValueError: not even one image fits.
    """
    if settings.batch_size != AUTO:
        return settings, []
    usual = replace(settings, batch_size=None).resolve()
    most = min(images, max(usual.batch_size, images // LEAST_STEPS)) // settings.accumulate
    limit = min(SECONDS, read_time(settings.time) / SHARE if settings.time else math.inf)
    objects = min(max(len(record.boxes_xyxy) for record in records), settings.max_objects or USUAL_OBJECTS)
    job = {"settings": settings.to_dict(), "schema": schema.get_config(), "objects": max(objects, 1)}
    search = Search(job, limit, console)
    size = find_largest(min(usual.batch_size, max(most, 1)), max(most, 1), search.try_sizes)
    if not size:
        raise ValueError(
            f"--batch-size auto: found no memory for a step of one image of {settings.image_size}, expected it; take "
            "--remat, a smaller --image-size or --backbone."
        )
    why = "there are no more images" if size == images else f"more would leave fewer than {LEAST_STEPS} steps an epoch"
    lines = [f"batch size: {size}, {search.explain(why if size == most else '')}"]
    chosen = replace(settings, batch_size=size).resolve()
    factor = min(math.sqrt(chosen.step_images / usual.batch_size), MOST_RATE)
    if settings.learning_rate is None and factor != 1:
        chosen = replace(chosen, learning_rate=chosen.learning_rate * factor)
        lines.append(
            f"learning rate: {chosen.learning_rate:.2g}, {factor:.2g} times {usual.learning_rate:g}, because a step has "
            f"{count_of(chosen.step_images, 'image')}, not {usual.batch_size} (square root, up to {MOST_RATE:g} times)"
        )
    return chosen, lines


def find_largest(first: int, most: int, try_sizes: Callable[[Sequence[int]], list[int]]) -> int:
    """The largest batch size up to `most` that fits, about: by doubling from `first`, or halving, then halving the gap.

    Args:
        try_sizes: takes sizes from small to large, and gives those that fit, until one does not.
    """
    sizes = [first * 2**i for i in range(most.bit_length()) if first * 2**i < most] + [most]
    fitting = try_sizes(sizes)
    if len(fitting) == len(sizes):
        return most
    low, high = (fitting[-1] if fitting else 0), sizes[len(fitting)]
    while not low and high > 1:
        low, high = (high // 2, high) if try_sizes([high // 2]) else (0, high // 2)
    for _ in range(HALVINGS):
        middle = (low + high) // 2
        if middle > low > 0:
            low, high = (middle, high) if try_sizes([middle]) else (low, middle)
    return low


@dataclass
class Search:
    """The trials of a search for a batch size: which sizes fitted, in the memory that was free at its beginning."""

    job: dict
    seconds: float
    console: Console
    tried: dict[int, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.started, free = time.monotonic(), find_free_memory()
        own = read_use().get("resident", 0)
        self.limits = {
            "resident": free.get("resident", math.inf) - max(RESERVE - own, 0),
            # A process of its own begins its addresses anew.
            "addressed": free.get("addressed", math.inf) + read_use().get("addressed", 0) - ADDRESSES,
        }
        self.is_late = False

    def try_sizes(self, sizes: Sequence[int]) -> list[int]:
        """The batch sizes that fit, tried one after another in one process until one does not, or the time is over."""
        if self.is_late:
            return []
        fitting: list[int] = []
        environment = os.environ | {
            "KERAS_BACKEND": keras.backend.backend(),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYTHONPATH": os.pathsep.join([str(Path(centerkp.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]),
        }
        command = [sys.executable, "-m", "centerkp.training.batch_trial"]
        with tempfile.TemporaryFile("w+") as errors, self.console.status(f"batch size: trying {sizes[0]}") as status:
            pipe = subprocess.PIPE
            with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors, text=True, env=environment) as process:
                threading.Thread(target=self._watch, args=(process,), daemon=True).start()
                try:
                    with suppress(BrokenPipeError):  # its end says why
                        process.stdin.write(json.dumps(self.job | {"sizes": list(sizes)}))
                        process.stdin.close()
                    for line in process.stdout:
                        fitting.append(int(line))
                        self.tried[fitting[-1]] = True
                        status.update(f"batch size: {fitting[-1]} fits, trying {(*sizes, 'no more')[len(fitting)]}")
                    process.wait()
                finally:
                    process.kill()
            if process.returncode not in (0, FULL) and process.returncode >= 0:
                errors.seek(0)
                last = (errors.read().strip().splitlines() or ["nothing"])[-1]
                raise ValueError(f"--batch-size auto: found a trial that failed ({last}), expected steps; give a number.")
        if len(fitting) < len(sizes) and not self.is_late:
            self.tried[sizes[len(fitting)]] = False
        return fitting

    def _watch(self, process: subprocess.Popen) -> None:
        """Ends a trial that takes more memory than there is, or more time once some size has fitted."""
        while process.poll() is None:
            use = read_use(process.pid)
            self.is_late = any(self.tried.values()) and time.monotonic() - self.started > self.seconds
            if self.is_late or any(use[kind] > limit for kind, limit in self.limits.items() if kind in use):
                process.kill()
                return
            time.sleep(PAUSE)

    def explain(self, bound: str) -> str:
        """Why a search has come to a batch size: what fitted and what did not, in which memory and time, and what bounds it."""
        fits, fails = ([str(size) for size, fitted in sorted(self.tried.items()) if fitted is one] for one in (True, False))
        tried = f"tried: {', '.join(fits)} fit{'' if len(fits) > 1 else 's'}"
        tried += f", {', '.join(fails)} {'do' if len(fails) > 1 else 'does'} not" if fails else ""
        memory = min(self.limits.values())
        where = f" in {memory / 1e9:.1f} GB" if memory < math.inf else ""
        late = "no more in the time for it" if self.is_late else ""
        return f"{', '.join(filter(None, (tried + where, bound, late)))} ({time.monotonic() - self.started:.0f} s)"
