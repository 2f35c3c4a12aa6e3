"""Training: data, model, schedule and fit, and what is left in the run folder."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.console import Console

from centerkp.console import make_console, native_silence
from centerkp.drawing.mosaic import draw_targets_of_batch
from centerkp.evaluation.evaluate import Evaluation, evaluate, ground_truth_as_detections
from centerkp.evaluation.monitors import MONITORS
from centerkp.evaluation.tables import print_evaluation
from centerkp.heads import head_channels
from centerkp.images.saving import write_image
from centerkp.inference.detect import detect_records
from centerkp.labels.coco import read_coco
from centerkp.labels.counts import require_labels
from centerkp.labels.records import Record
from centerkp.labels.splitting import split_records
from centerkp.labels.tfrecord_reader import read_tfrecords
from centerkp.model.backbones import find_backbone
from centerkp.model.center_net import CenterNet, check_image_size, load_model
from centerkp.model.cost import describe_cost, measure_reach
from centerkp.results import coco_dataset
from centerkp.samples.augment import Augmentation, read_compose
from centerkp.samples.pipeline import make_batches
from centerkp.samples.sample import Sampler
from centerkp.schema import Schema
from centerkp.training.callbacks import EpochEnd, Forecast, ProgressBar, TensorBoardLog, draw_validation, format_header
from centerkp.training.choice import choose
from centerkp.training.dry_run import dry_run
from centerkp.training.optimizer import make_optimizer, own_optimizer
from centerkp.training.run_folder import RunFolder
from centerkp.training.settings import TrainSettings, read_flip_pairs, read_keypoint_map, read_numbers, read_sigmas
from centerkp.training.summary import print_dataset, warn_of_labels, warn_of_reach
from centerkp.weights.start import build_from_weights, build_model
from centerkp.wording import count_of
from centerkp.writing import write_json

MAX_OBJECTS = 100  # per training image, as in the zoo
PICTURES = 12  # validation images drawn


@dataclass(frozen=True)
class TrainResult:
    """Where the run is, and how good its best model: the evaluation of best.keras on the validation images."""

    folder: RunFolder
    evaluation: Evaluation


def train(settings: TrainSettings, *, resume: str | Path | None = None, console: Console | None = None) -> TrainResult:
    """Trains a detector and leaves everything in its run folder.

    Args:
        resume: the folder of an interrupted run, continued from its last whole epoch with its own settings (but
            `settings.epochs` may be raised).

    Raises:
        ValueError, FileNotFoundError, FileExistsError: something in the data or the settings would waste the run; says what.
    """
    console = console or make_console()
    by_default = settings.weights == "auto"
    settings, choices = choose(settings)
    for line in choices:
        console.print(line)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(settings.precision)
    try:
        return _train(settings, RunFolder(resume) if resume else None, by_default, console)
    finally:
        keras.config.set_dtype_policy(before)


def _train(settings: TrainSettings, resumed: RunFolder | None, by_default: bool, console: Console) -> TrainResult:
    with native_silence():  # on JAX, too, Keras imports TensorFlow here, to seed it
        keras.utils.set_random_seed(settings.seed)
    check_image_size(settings.image_size, find_backbone(settings.backbone).multiple)
    schema, train_records, val_records, notes = read_records(settings)
    print_dataset(console, train_records, val_records, schema, notes)
    if settings.coco:
        warn_of_labels(console, settings.coco, settings.val)
    require_labels(train_records, schema)
    # Raises now, and not at the first evaluation, when the validation images cannot decide what to choose the best model by.
    evaluate(val_records, ground_truth_as_detections(val_records, schema), schema).score(settings.monitor)
    for line in dry_run(build_probe(schema, settings), train_records):
        console.print(f"dry run: {line}")

    folder = resumed
    if folder:
        if not folder.last.exists():
            raise FileNotFoundError(f"{folder.last}: no such file; the run ended before its first epoch, start it again.")
        model = load_model(folder.last)
        if model.schema != schema:
            raise ValueError(
                f"{settings.coco or settings.tfrecord}: its classes or keypoints differ from those {folder.last} was trained "
                "on; start a new run."
            )
    else:
        console.print(f"weights: {settings.weights}{' (by default)' if by_default else ''}")
        model = start_model(schema, settings, console)
        warn_of_reach(console, train_records, settings.image_size, measure_reach(model))
        folder = RunFolder.create(settings)
        folder.write_start(settings, schema)
    fit(model, train_records, val_records, settings, folder, console)
    return finish(folder, val_records, settings, console)


def read_records(settings: TrainSettings) -> tuple[Schema, list[Record], list[Record], list[str]]:
    """Schema, training and validation records, and the notes of reading; the validation set is split off when none is given."""
    overrides: dict[str, Any] = {
        "flip_pairs": read_flip_pairs(settings.flip_pairs),
        "oks_sigmas": read_sigmas(settings.oks_sigmas),
    }
    check: dict[str, Any] = {"check_images": settings.check_images}
    if settings.tfrecord:
        dataset = read_tfrecords(settings.tfrecord, settings.label_map, **check, **overrides)
    else:
        dataset = read_coco(settings.coco, images_dir=settings.images, **check, **overrides)
    notes = list(dataset.notes)
    if settings.val or settings.val_tfrecord:
        if settings.val:
            held = read_coco(settings.val, images_dir=settings.val_images, schema=dataset.schema, **check)
        else:
            held = read_tfrecords(settings.val_tfrecord, settings.label_map, schema=dataset.schema, **check)
        return dataset.schema, list(dataset.records), list(held.records), notes + [f"validation: {n}" for n in held.notes]
    train_records, val_records = split_records(dataset.records, settings.val_fraction, settings.seed)
    notes.append(f"validation: {settings.val_fraction:g} of the images, drawn with seed {settings.seed}")
    return dataset.schema, train_records, val_records, notes


def build_probe(schema: Schema, settings: TrainSettings) -> CenterNet:
    """The smallest model with this schema and input size: all that the dry run needs of one."""
    tiny = {"stem_channels": 1, "channels": (1, 1), "blocks": (1, 1), "stacks": 1}
    return build_model(schema, backbone=tiny, image_size=settings.image_size)


def start_model(schema: Schema, settings: TrainSettings, console: Console) -> CenterNet:
    """A model with fresh weights, or with those of `settings.weights` moved by name."""
    options: dict[str, Any] = {
        "backbone": settings.backbone,
        "image_size": settings.image_size,
        "stacks": settings.stacks,
        "bn_momentum": settings.bn_momentum,
        "loss_weights": read_numbers(settings.loss_weights, "loss_weights"),
    }
    if settings.weights == "none":
        model = build_model(schema, **options)
    else:
        partners = read_keypoint_map(settings.map_keypoint)
        model, report = build_from_weights(schema, settings.weights, map_keypoint=partners, console=console, **options)
        for line in report.lines():
            console.print(f"weights: {line}")
    count = model.backbone.stacks
    console.print(f"{settings.backbone}, {count} stack{'s' if count > 1 else ''}: {describe_cost(model)}")
    return model


def fit(
    model: CenterNet,
    train_records: Sequence[Record],
    val_records: Sequence[Record],
    settings: TrainSettings,
    folder: RunFolder,
    console: Console,
) -> None:
    """Trains from wherever the model's optimizer stands to the last epoch."""
    steps = max(len(train_records) // settings.batch_size, 1)
    parts = plan_parts(settings)
    if not model.compiled:
        compile_part(model, parts[0], settings, steps)
        # A dataset of its own: every pass over one counts as an epoch of its random order.
        draw_first_batch(next(iter(make_training_batches(model, train_records, val_records, settings, 0)[0])), model, folder)
    current = [part.frozen for part in parts].index(model.frozen)
    console.print(
        f"{count_of(settings.epochs, 'epoch')} of {count_of(steps, 'step')}, learning rate up to {settings.learning_rate:g}; "
        f"best.keras: highest {MONITORS[settings.monitor]}, every {count_of(settings.eval_every, 'epoch')} (*)"
    )
    started = time.monotonic()
    for part in parts[current:]:
        if model.frozen != part.frozen:
            compile_part(model, part, settings, steps)
        # Not part of what Keras saves with an optimizer, so a resumed one has to be told as well.
        own_optimizer(model).exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        fit_part(model, part, steps, train_records, val_records, settings, folder, console)
    console.print(f"trained for {(time.monotonic() - started) / 60:.1f} minutes")


@dataclass(frozen=True)
class Part:
    """Epochs from `first` to before `end`, during which `frozen` does not train."""

    first: int
    end: int
    frozen: str


def plan_parts(settings: TrainSettings) -> list[Part]:
    """One part, or two when something is unfrozen on the way."""
    if not settings.unfreeze_at:
        return [Part(0, settings.epochs, settings.freeze)]
    return [Part(0, settings.unfreeze_at, settings.freeze), Part(settings.unfreeze_at, settings.epochs, "none")]


def compile_part(model: CenterNet, part: Part, settings: TrainSettings, steps: int) -> None:
    """Freezes what the part says and gives the model a fresh optimizer.

    Fresh also in the second part: the moments and the moving average of what was frozen start from nothing, and Adam corrects
    for that in its first steps only.
    """
    model.freeze(part.frozen, settings.freeze_bn)
    model.compile(make_optimizer(settings, steps * (part.end - part.first)))


def fit_part(
    model: CenterNet,
    part: Part,
    steps: int,
    train_records: Sequence[Record],
    val_records: Sequence[Record],
    settings: TrainSettings,
    folder: RunFolder,
    console: Console,
) -> None:
    """Trains to the end of one part; nothing happens when the model has got there already."""
    first_epoch, optimizer = model.trained_epochs, own_optimizer(model)
    done, expected = int(optimizer.iterations), steps * (first_epoch - part.first)
    # Under mixed_float16 the steps do not count whose gradients were no numbers; the scale of the loss falls until they are.
    if done > expected or (done < expected and optimizer is model.optimizer):
        raise ValueError(
            f"{folder.last}: found {done} steps done, expected {expected}; the number of training images has changed "
            "since the run began, start a new run."
        )
    if first_epoch > part.first:
        console.print(f"continuing after epoch {first_epoch}")
    elif part.first:
        console.print(f"from epoch {first_epoch + 1} on what was frozen trains as well")
    if first_epoch >= part.end:
        # As Keras does at the end of fit: the next part starts from the moving average.
        model.optimizer.finalize_variable_values(model.trainable_variables)
        return
    if part.frozen != "none" or settings.freeze_bn:
        frozen = [part.frozen] * (part.frozen != "none") + ["BatchNormalization"] * settings.freeze_bn
        count = sum(math.prod(v.shape) for v in model.trainable_variables)
        console.print(f"frozen: {' and '.join(frozen)}; {count / 1e6:.2f} M parameters train")
    batches, val_batches = make_training_batches(model, train_records, val_records, settings, first_epoch)
    epoch_end = EpochEnd(folder, val_records, val_batches, settings, folder.read_log()[:first_epoch], console)
    forecast = Forecast(steps * (part.end - first_epoch), settings.image_size, console)
    bar = ProgressBar(settings.epochs, steps, console)
    callbacks = [bar, epoch_end, forecast]
    if settings.tensorboard:
        callbacks.append(TensorBoardLog(epoch_end))
    console.print(format_header(list(head_channels(model.schema))), style="bold")
    try:
        model.fit(batches, epochs=part.end, initial_epoch=first_epoch, shuffle=False, verbose=0, callbacks=callbacks)
    finally:
        bar.progress.stop()  # gives an interrupted terminal its cursor back


def make_training_batches(
    model: CenterNet, train_records: Sequence[Record], val_records: Sequence[Record], settings: TrainSettings, start_epoch: int
) -> tuple[Any, Any]:
    """Training batches from `start_epoch` on, and validation batches."""
    augmentation = Augmentation(
        flip=settings.flip,
        scale=settings.scale,
        rotation=settings.rotation,
        translation=settings.translation,
        color=settings.color,
        custom=read_compose(settings.augmentation) if settings.augmentation else None,
    )
    busiest = max(len(r.boxes_xyxy) for r in [*train_records, *val_records])
    max_objects = min(max(busiest, 1), MAX_OBJECTS)
    sampler = Sampler(model.schema, model.image_size, max_objects, augmentation)
    common: dict[str, Any] = {"threads": settings.threads, "seed": settings.seed}
    batches = make_batches(train_records, sampler, settings.batch_size, shuffle=True, start_epoch=start_epoch, **common)
    plain = replace(sampler, augmentation=None)
    val_batches = make_batches(val_records, plain, settings.batch_size, shuffle=False, **common)
    return batches, val_batches


def draw_first_batch(batch: tuple[Any, Mapping[str, Any]], model: CenterNet, folder: RunFolder) -> None:
    """The first training batch with its targets, as the network will meet it."""
    images, truth = np.asarray(batch[0])[:4], {k: np.asarray(v)[:4] for k, v in batch[1].items()}
    write_image(folder.pictures / "first_batch.jpg", draw_targets_of_batch(images, truth, model.schema))


def finish(folder: RunFolder, val_records: Sequence[Record], settings: TrainSettings, console: Console) -> TrainResult:
    """Evaluates best.keras and writes its numbers, predictions and pictures."""
    model = load_model(folder.best)
    detections = detect_records(model, val_records, settings.batch_size)
    evaluation = evaluate(val_records, detections, model.schema)
    write_json(folder.metrics, evaluation.to_dict(), indent=2)
    images = [{"id": r.image_id, "file_name": r.file_name, "width": r.width, "height": r.height} for r in val_records]
    write_json(folder.predictions, coco_dataset(images, detections, model.schema))
    for record, found in list(zip(val_records, detections, strict=True))[:PICTURES]:
        picture = draw_validation(record, found, model.schema)
        write_image(folder.pictures / "validation" / f"{record.path.stem}_{record.image_id}.jpg", picture)
    print_evaluation(evaluation, console)
    for name, path in (("model", folder.best), ("numbers", folder.metrics), ("pictures", folder.pictures)):
        console.print(f"{name:>9}: {path}")
    return TrainResult(folder, evaluation)
