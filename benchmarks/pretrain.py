"""Trains a backbone on drawn pictures without end, and packs what it learned for `--weights drawn`.

    python benchmarks/pretrain.py hourglass_10                # until done; --minutes 9 stops earlier
    python benchmarks/pretrain.py hourglass_10 --resume       # goes on where it stopped
    python benchmarks/pretrain.py hourglass_10 --pack         # packs what there is, done or not

When it is done, it writes the averaged weights into centerkp/weights/drawn, and the curves into PRETRAIN.md.

The pictures are those of `centerkp/demo/endless.py`: step n shows pictures n * BATCH and following, so that no picture is seen
twice and a resumed run sees what an unbroken one would have. `runs/pretrain/NAME/log.csv` has the curves: losses, and box AP
and keypoint AP of the averaged weights on HELD pictures with seeds of their own.
"""

import argparse
import csv
import sys
import time
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

SIZE, BATCH, STEPS = 224, 8, 3200
SETTINGS = TrainSettings(learning_rate=2e-3, vector_rate=4.0, ema=0.99, bn_momentum=0.95, precision="mixed_bfloat16")
LOSS_WEIGHTS = {"center_heatmap": 5.0, "center_offset": 5.0, "box_size": 2.0, "keypoint_regression": 0.3}
SEED, HELD_SEED, HELD = 1, 2, 160
LOG_EVERY, SAVE_EVERY = 50, 200  # steps
SETTLE = 60  # batches that BatchNormalization sees with the averaged weights
# What a backbone starts from, and what of it stays: features of photographs would only be worse after drawings.
STARTS = {"efficientnet_lite0_fpn": ("imagenet", "stride32")}
# How the packaged file differs from what this program does from its beginning; to be dropped with the next one.
MADE = (
    "The packaged weights of efficientnet_lite0_fpn are those of the log below: the run began with weights of 1 for center "
    "losses and 0.3 for box_size, which became 5 and 2 at step 1150, and with a rate laid out for 4,500 steps, laid anew for "
    "3,200 at step 2200; from step 1150 on it computed in float32. Minutes from 1900 to 2150 hold a pause of eight; other "
    "programs ran beside it."
)
CLOCKS = {"minutes": time.monotonic, "core_minutes": time.process_time}
SHOWN = 12  # rows of the log on the page
RUNS, PAGE = Path("runs/pretrain"), Path(__file__).with_name("PRETRAIN.md")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("backbone")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the whole training, on which the learning rate depends")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after so many, for --resume to go on")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--pack", action="store_true", help="train no further: score the average and write it for the package")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    keras.config.set_dtype_policy(SETTINGS.precision)
    console = make_console()
    folder = RUNS / options.backbone
    if options.resume or options.pack:
        model = load_model(folder / "last.keras")
    else:
        model = _start(options.backbone, options.steps)
    log = _Log(folder, options.minutes, console, fresh=not (options.resume or options.pack))
    log.set_model(model)
    done = log.step
    if done < options.steps and not options.pack:
        own_optimizer(model).exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        model.fit(_Pictures(done, options.steps), epochs=1, shuffle=False, verbose=0, callbacks=[log])
        save_model(model, folder / "last.keras")
    if options.pack or log.step == options.steps:
        with averaged_weights(model):
            _settle(model)
            log.write(**_score(model))
            path = pack(model, FOLDER / f"{options.backbone}.npz")
        PAGE.write_text(_format_page(), encoding="utf-8")
        console.print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    return 0


def _start(backbone: str, steps: int) -> CenterNet:
    keras.utils.set_random_seed(SEED)
    weights, frozen = STARTS.get(backbone, ("none", "none"))
    options = {"bn_momentum": SETTINGS.bn_momentum, "loss_weights": LOSS_WEIGHTS, "weights": weights}
    model = build_model(make_schema(), backbone=backbone, image_size=SIZE, **options)
    model.freeze(frozen)
    model.compile(make_optimizer(SETTINGS, steps))
    return model


class _Pictures(keras.utils.PyDataset):
    """Batches from step `done` to before step `steps`, drawn while the network computes."""

    def __init__(self, done: int, steps: int, seed: int = SEED):
        super().__init__(workers=2, max_queue_size=4)
        self.done, self.steps, self.seed, self.schema = done, steps, seed, make_schema()

    @property
    def num_batches(self) -> int:
        return self.steps - self.done

    def __getitem__(self, index: int):
        first = (self.done + index) * BATCH
        pairs = [draw_picture((self.seed, first + i), self.schema, SIZE) for i in range(BATCH)]
        truths = [truth for _, truth in pairs]
        return np.stack([image for image, _ in pairs]), {name: np.stack([t[name] for t in truths]) for name in truths[0]}


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

    def on_train_batch_end(self, batch, logs=None):
        # Keras shows means since the start of fit.
        self.last = {name: float(value) for name, value in logs.items()}
        if self.step % LOG_EVERY == 0:
            self.write(batch + 1)
        if self.step % SAVE_EVERY == 0:
            save_model(self.model, self.folder / "last.keras")
        if time.monotonic() - self.started["minutes"] > self.seconds:
            self.model.stop_training = True

    @property
    def step(self) -> int:
        return int(own_optimizer(self.model).iterations)

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


def _settle(model: CenterNet) -> None:
    """Gives BatchNormalization the statistics of the averaged weights."""
    pictures = _Pictures(0, SETTLE, HELD_SEED + 1)
    for index in range(SETTLE):
        model(pictures[index][0], training=True)


def _score(model: CenterNet) -> dict[str, float]:
    """Box AP and keypoint AP at sigma 0.05 on the held pictures."""
    pictures, records, found = _Pictures(0, HELD // BATCH, HELD_SEED), [], []
    for images, truth in (pictures[index] for index in range(pictures.num_batches)):
        decoded = model.predict_on_batch({"image": images, "valid_size": truth["valid_size"]})
        for row in range(BATCH):
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


def _format_page() -> str:
    """The curves of every backbone, a dozen rows each, and the scores at the ends of its runs."""
    settings = (
        f"{BATCH} pictures of {SIZE} pixels a step, {SETTINGS.precision}, learning rate up to {SETTINGS.learning_rate:g} and "
        f"{SETTINGS.vector_rate:g} times that for vectors, average {SETTINGS.ema}, BatchNormalization {SETTINGS.bn_momentum}; "
        "losses are means since the row of the log before. The scores are the averaged weights' on "
        f"{HELD} pictures that were not trained on. Core minutes are those of the processor, whatever else it did."
    )
    parts = [
        "# Training on drawn pictures",
        paragraph("Written by `python benchmarks/pretrain.py`. " + settings),
        paragraph(MADE),
    ]
    for path in sorted(RUNS.glob("*/log.csv")):
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
        scored = [row for row in rows if row.get("box_ap")]
        plain = [row for row in rows if row not in scored]
        chosen = plain[:: max(len(plain) // SHOWN, 1)] + scored
        chosen.sort(key=lambda row: (int(row["step"]), row in scored))
        lines = [[row["step"], *(f"{float(v):.3g}" if v else "" for k, v in row.items() if k != "step")] for row in chosen]
        parts += [f"## {path.parent.name}", table([name.replace("_", " ") for name in rows[0]], lines)]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
