"""Trains a backbone on drawn pictures without end, and packs what it learned for `--weights drawn`.

    python benchmarks/pretrain.py hourglass_10                # until done; --minutes 9 stops earlier
    python benchmarks/pretrain.py hourglass_10 --resume       # goes on where it stopped
    python benchmarks/pretrain.py hourglass_10 --pack         # packs what there is, done or not

When it is done, it writes the averaged weights into centerkp/weights/drawn, and the curves into PRETRAIN.md.

The pictures are those of `centerkp/demo/endless.py`: step n shows pictures n * batch and following, so that no picture is seen
twice and a resumed run sees what an unbroken one would have. `runs/pretrain/NAME/log.csv` has the curves: losses, and box AP
and keypoint AP of the averaged weights on HELD pictures with seeds of their own.
"""

import argparse
import csv
import multiprocessing
import os
import re
import sys
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import keras
import numpy as np
from page import paragraph, table

from centerkp.console import make_console
from centerkp.demo.endless import draw_picture
from centerkp.demo.kinds import make_schema
from centerkp.evaluation.evaluate import evaluate
from centerkp.labels.records import Record
from centerkp.model.center_net import CenterNet, load_model, save_model
from centerkp.results import split_objects
from centerkp.settings.training import TrainSettings
from centerkp.training.optimizer import averaged_weights, make_optimizer, own_optimizer
from centerkp.weights.packaged import FOLDER, pack
from centerkp.weights.start import build_model

SETTINGS = TrainSettings(learning_rate=2e-3, vector_rate=4.0, ema=0.998, bn_momentum=0.98, precision="mixed_bfloat16")
LOSS_WEIGHTS = {"center_heatmap": 5.0, "center_offset": 5.0, "box_size": 2.0, "keypoint_regression": 0.3}
SEED, HELD_SEED, HELD = 1, 2, 320
LOG_EVERY, SAVE_EVERY = 100, 1000  # steps
SETTLE = 30  # batches that BatchNormalization sees with the averaged weights


@dataclass(frozen=True)
class Plan:
    """How one backbone is trained: pixels, pictures a step, steps, what it starts from, what of that stays, where it ran.

    In the first `fours` steps a picture is four of half its size side by side, which shows four times as many objects at
    the same cost for the network.
    """

    size: int
    batch: int
    steps: int
    weights: str = "none"
    frozen: str = "none"
    fours: int = 0
    made: str = ""


ONE_CORE = "Made on one core of an AMD EPYC with bfloat16, beside other work: "
PLANS = {
    # Features of photographs would only be worse after drawings.
    "efficientnet_lite0_fpn": Plan(
        320, 32, 4900, "imagenet", "stride32",
        made="Made on one NVIDIA H200 with JAX, beside two other trainings, with 8 processes that drew, for which its steps "
        "waited: 152,000 pictures. It was stopped by --minutes 6.9 after 4,753 steps.",
    ),
    "hourglass_10": Plan(256, 4, 3800, fours=2000, made=ONE_CORE + "39,200 pictures."),
    "hourglass_20": Plan(256, 4, 3800, fours=2000, made=ONE_CORE + "38,320 pictures. It was stopped after 3,580 steps."),
}  # fmt: skip
cv2.setNumThreads(1)  # also in the processes that draw, which import this module
CLOCKS = {"minutes": time.monotonic, "core_minutes": time.process_time}
SHOWN = 12  # rows of the log on the page
RUNS, PAGE = Path("runs/pretrain"), Path(__file__).with_name("PRETRAIN.md")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("backbone", choices=list(PLANS))
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after so many, for --resume to go on")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="that draw")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--pack", action="store_true", help="train no further: score the average and write it for the package")
    options = parser.parse_args(arguments)
    keras.config.set_dtype_policy(SETTINGS.precision)
    console = make_console()
    folder, plan = RUNS / options.backbone, PLANS[options.backbone]
    if options.resume or options.pack:
        model = load_model(folder / "last.keras")
    else:
        model = _start(options.backbone, plan)
    log = _Log(folder, options.minutes, console, fresh=not (options.resume or options.pack))
    log.set_model(model)
    done = log.step
    # Spawned, as a backend's threads and its GPU do not survive a fork.
    with ProcessPoolExecutor(options.processes, multiprocessing.get_context("spawn")) as pool:
        if done < plan.steps and not options.pack:
            own_optimizer(model).exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
            model.fit(_Pictures(pool, plan, done, plan.steps), epochs=1, shuffle=False, verbose=0, callbacks=[log])
            save_model(model, folder / "last.keras")
        if not options.pack and log.step < plan.steps:
            return 0
        with averaged_weights(model):
            _settle(model, pool, plan)
            log.write(**_score(model, pool, plan))
            path = pack(model, FOLDER / f"{options.backbone}.npz")
    _write_page(options.backbone, log.rows)
    console.print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    return 0


def _start(backbone: str, plan: Plan) -> CenterNet:
    keras.utils.set_random_seed(SEED)
    options = {"bn_momentum": SETTINGS.bn_momentum, "loss_weights": LOSS_WEIGHTS, "weights": plan.weights}
    model = build_model(make_schema(), backbone=backbone, image_size=plan.size, **options)
    model.freeze(plan.frozen)
    model.compile(make_optimizer(SETTINGS, plan.steps))
    return model


class _Pictures(keras.utils.PyDataset):
    """Batches from step `done` to before step `steps`, drawn by other processes while the network computes."""

    def __init__(self, pool: Executor, plan: Plan, done: int, steps: int, seed: int = SEED):
        super().__init__(workers=4, max_queue_size=8)
        self.pool, self.plan, self.done, self.steps, self.seed = pool, plan, done, steps, seed

    @property
    def num_batches(self) -> int:
        return self.steps - self.done

    def __getitem__(self, index: int):
        step, batch = self.done + index, self.plan.batch
        is_four = self.seed == SEED and step < self.plan.fours
        draw = _draw_four if is_four else _draw_with_room if self.plan.fours else _draw
        seeds = [(self.seed, step * batch + i) for i in range(batch)]
        pairs = list(self.pool.map(partial(draw, self.plan.size), seeds, chunksize=4))
        truths = [truth for _, truth in pairs]
        return np.stack([image for image, _ in pairs]), {name: np.stack([t[name] for t in truths]) for name in truths[0]}


def _draw(size: int, seed: tuple[int, int]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A picture and its truth, in a process that draws."""
    return draw_picture(seed, make_schema(), size)


def _draw_with_room(size: int, seed: tuple[int, int]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A picture, and its truth in as many rows as that of four pictures has."""
    image, truth = _draw(size, seed)
    empty = {name: np.zeros_like(values) for name, values in truth.items() if name != "valid_size"}
    return image, truth | {name: np.concatenate([truth[name], *3 * [rows]]) for name, rows in empty.items()}


def _draw_four(size: int, seed: tuple[int, int]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Four pictures of half the size side by side, and the truth of all."""
    image, half = np.empty((size, size, 3), np.uint8), size // 2
    truths = []
    for number, (top, left) in enumerate(((0, 0), (0, half), (half, 0), (half, half))):
        image[top : top + half, left : left + half], truth = draw_picture((*seed, number), make_schema(), half)
        truth["boxes_xyxy"] = truth["boxes_xyxy"] + np.array([left, top] * 2, np.float32)
        truth["keypoints_xy"] = truth["keypoints_xy"] + np.array([left, top], np.float32)
        truths.append(truth)
    valid_size = np.array([size, size], np.float32)
    return image, {name: np.concatenate([one[name] for one in truths]) for name in truths[0]} | {"valid_size": valid_size}


class _Log(keras.callbacks.Callback):
    """A line of losses now and then, and the model so far; ends training when its minutes are over."""

    def __init__(self, folder: Path, minutes: float, console, fresh: bool):
        super().__init__()
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.console, self.path = folder, console, folder / "log.csv"
        self.seconds = 60 * minutes
        self.rows = []
        if not fresh and self.path.exists():
            with open(self.path, newline="") as file:
                self.rows = list(csv.DictReader(file))
        self.before = {name: float(self.rows[-1][name]) if self.rows else 0.0 for name in CLOCKS}
        self.sums, self.count, self.last = {}, 0, {}
        self.started = {name: now() for name, now in CLOCKS.items()}

    def set_model(self, model):
        super().set_model(model)
        self.step = int(own_optimizer(model).iterations)

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        if self.step % LOG_EVERY == 0:
            self.last = {name: float(value) for name, value in logs.items()}  # means since the start of fit
            self.write(batch + 1)
        if self.step % SAVE_EVERY == 0:
            if keras.backend.backend() == "jax":
                self.model.jax_state_sync()  # the state is with `fit` until somebody asks for it
            save_model(self.model, self.folder / "last.keras")
        if time.monotonic() - self.started["minutes"] > self.seconds:
            self.model.stop_training = True

    def write(self, seen: int = 0, **scores: float):
        """A row: means of the losses since the row before, when `seen` batches were seen in all, or scores."""
        means = {}
        for name, value in self.last.items() if seen else ():
            total = value * seen
            means[name] = (total - self.sums.get(name, 0.0)) / max(seen - self.count, 1)
            self.sums[name] = total
        self.count = seen
        passed = {name: self.before[name] + (now() - self.started[name]) / 60 for name, now in CLOCKS.items()}
        row = {"step": self.step} | {name: round(value, 4) for name, value in (passed | means | scores).items()}
        self.rows.append(row)
        with open(self.path, "w", newline="") as file:
            names = list(dict.fromkeys(name for one in self.rows for name in one))
            writer = csv.DictWriter(file, names, restval="")
            writer.writeheader()
            writer.writerows(self.rows)
        self.console.print(" ".join(f"{name} {value}" for name, value in row.items()), soft_wrap=True)


def _settle(model: CenterNet, pool: Executor, plan: Plan) -> None:
    """Gives BatchNormalization the statistics of the averaged weights."""
    pictures = _Pictures(pool, plan, 0, SETTLE, HELD_SEED + 1)
    for index in range(SETTLE):
        model(pictures[index][0], training=True)


def _score(model: CenterNet, pool: Executor, plan: Plan) -> dict[str, float]:
    """Box AP and keypoint AP at sigma 0.05 on the held pictures."""
    pictures, records, found = _Pictures(pool, plan, 0, HELD // plan.batch, HELD_SEED), [], []
    for images, truth in (pictures[index] for index in range(pictures.num_batches)):
        decoded = model.predict_on_batch({"image": images, "valid_size": truth["valid_size"]})
        for row in range(plan.batch):
            records.append(_to_record(len(records), {name: values[row] for name, values in truth.items()}))
            found.append(split_objects({k: np.asarray(v)[row] for k, v in decoded.items()}, model.schema))
    evaluation = evaluate(records, found, model.schema)
    return {"box_ap": evaluation.box["AP"], "keypoint_ap": evaluation.keypoints["AP"]}


def _to_record(number: int, truth: dict[str, np.ndarray]) -> Record:
    count = int(truth["object_weights"].sum())
    boxes, (width, height) = truth["boxes_xyxy"][:count], truth["valid_size"].astype(int).tolist()
    sides = boxes[:, 2:] - boxes[:, :2]
    return Record(
        image_id=number,
        path=Path(f"{number}.jpg"),
        file_name=f"{number}.jpg",
        width=width,
        height=height,
        boxes_xyxy=boxes,
        class_ids=truth["class_ids"][:count],
        keypoints_xy=truth["keypoints_xy"][:count],
        visibility=truth["visibility"][:count].astype(np.uint8),
        is_crowd=np.zeros(count, bool),
        areas=sides.prod(1),
        annotation_ids=np.arange(count) + 1000 * number,
    )


def _write_page(backbone: str, rows: list[dict]) -> None:
    """The backbone's section anew: a dozen rows of its log, and the scores at the end; other sections stay as they are."""
    intro = (
        f"Written by `python benchmarks/pretrain.py`, a section by each run: {SETTINGS.precision}, learning rate up to "
        f"{SETTINGS.learning_rate:g} and {SETTINGS.vector_rate:g} times that for vectors, average {SETTINGS.ema}, "
        f"BatchNormalization {SETTINGS.bn_momentum}; losses are means since the row of the log before. The scores are the "
        f"averaged weights' on {HELD} pictures that were not trained on. Core minutes are the processor's, whatever else "
        "it did. Drawing a picture takes 13 ms of a core."
    )
    old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    sections = dict(re.findall(r"^## (\S+)\n\n(.*?)\n*(?=^## |\Z)", old, re.MULTILINE | re.DOTALL))
    sections[backbone] = f"{paragraph(_describe(PLANS[backbone]))}\n\n{_tabulate(rows)}"
    parts = ["# Training on drawn pictures", paragraph(intro)]
    parts += [f"## {name}\n\n{sections[name]}" for name in sorted(sections)]
    PAGE.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _describe(plan: Plan) -> str:
    start = {"none": "from random weights", "imagenet": "from features of photographs, which stay"}[plan.weights]
    fours = f", in the first {plan.fours:,} steps each of four drawn ones of half the size" if plan.fours else ""
    return f"{plan.batch} pictures of {plan.size} pixels a step{fours}, {start}. {plan.made}".strip()


def _tabulate(rows: list[dict]) -> str:
    scored = [row for row in rows if row.get("box_ap")]
    plain = [row for row in rows if row not in scored]
    chosen = plain[:: max(len(plain) // SHOWN, 1)] + scored
    chosen.sort(key=lambda row: (int(row["step"]), row in scored))
    names = list(dict.fromkeys(name for row in chosen for name in row))
    lines = [[row["step"], *(f"{float(row[k]):.3g}" if row.get(k) else "" for k in names if k != "step")] for row in chosen]
    return table([name.replace("_", " ") for name in names], lines)


if __name__ == "__main__":
    sys.exit(main())
