"""What all that happens around the steps of a run costs: epochs of a run, and of Keras's `fit` alone, in turn.

    python benchmarks/overhead.py [--rounds 12]

Both train the light network as it trains by default, on the same drawn pictures from the same pipeline, in one process. Writes
benchmarks/OVERHEAD.md.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import keras
from page import paragraph, table
from rich.console import Console

from centerkp.demo.scenes import write_demo
from centerkp.labels.coco import read_coco
from centerkp.settings.canvas import choose_canvas
from centerkp.settings.training import TrainSettings
from centerkp.training.choice import choose
from centerkp.training.fitting import fit
from centerkp.training.parts import compile_part, plan_parts
from centerkp.training.run import Run
from centerkp.training.run_batches import make_training_batches
from centerkp.training.run_folder import RunFolder
from centerkp.training.train import start_model

IMAGES = 240  # of an epoch
PAGE = Path(__file__).with_name("OVERHEAD.md")
METHOD = """\
Written by `python benchmarks/overhead.py`: the light network as it trains by default, on drawn pictures. An epoch of a run
(settings, bar, watch over losses and memory, report, log) and one of Keras's `fit` without any callback take turns in one
process. Seconds are those from the beginning of an epoch to the end of its last step; what an epoch ends with does not count.
"of it" is the run's time as a share of its neighbour's. Saving within an epoch is no part of it: it comes every ten minutes,
and more rarely where it would take over a hundredth of the time."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        alone, run = _make_runs(Path(name), rounds)
        compile_part(alone, plan_parts(alone.settings, 0)[0])
        seconds = [(_time_alone(alone, epoch), _time_run(run, epoch)) for epoch in range(rounds + 1)][1:]  # one builds graphs
    shares = [ours / theirs for theirs, ours in seconds]
    middle = f"Median of {rounds} rounds of {run.steps} steps: {statistics.median(shares):.3f}."
    rows = [[i, f"{a:.2f} s", f"{b:.2f} s", f"{b / a:.3f}"] for i, (a, b) in enumerate(seconds, 1)]
    text = table(("round", "fit alone", "a run", "of it"), rows)
    PAGE.write_text(f"# What a run costs beside its steps\n\n{paragraph(METHOD)}\n\n{middle}\n\n{text}\n", encoding="utf-8")
    print(middle)


def _make_runs(folder: Path, rounds: int) -> list[Run]:
    """Two runs from the same weights, one of which is to be trained by Keras alone."""
    demo = write_demo(folder / "demo", num_train=IMAGES, num_val=4, num_test=4)
    length = {"epochs": rounds + 1, "eval_every": rounds + 1}
    settings, _ = choose(TrainSettings(coco=str(demo.train_json), val=str(demo.val_json), **length))
    keras.config.set_dtype_policy(settings.precision)
    data, val = read_coco(demo.train_json), read_coco(demo.val_json).records
    settings, _ = choose_canvas(settings, [*data.records, *val])
    runs = []
    for name in ("alone", "run"):
        (folder / name).mkdir()
        console = Console(quiet=True)
        model = start_model(data.schema, settings, console)
        runs.append(Run(model, data.records, val, settings, RunFolder(folder / name), time.monotonic(), console))
    return runs


def _time_alone(run: Run, epoch: int) -> float:
    """Seconds of an epoch of Keras's `fit`."""
    timer = _Timer()
    run.model.fit(make_training_batches(run, epoch)[0], verbose=0, shuffle=False, callbacks=[timer])
    return timer.ended - timer.started


def _time_run(run: Run, epoch: int) -> float:
    """Seconds of the steps of a run's next epoch, by the same clock."""
    timer = _Timer()
    fit(replace(run, settings=replace(run.settings, epochs=epoch + 1), callbacks=[timer]))
    return timer.ended - timer.started


class _Timer(keras.callbacks.Callback):
    """Notes when an epoch began and when its last step was done."""

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        self.ended = time.monotonic()


if __name__ == "__main__":
    main()
