"""Fitting a model from wherever it stands to the last epoch, in parts with an optimizer each."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from centerkp.drawing.mosaic import draw_targets_of_batch
from centerkp.evaluation.monitors import MONITORS
from centerkp.heads import head_channels
from centerkp.images.reading import read_image
from centerkp.images.saving import write_image
from centerkp.labels.rarity import weigh_images
from centerkp.model.center_net import CenterNet
from centerkp.samples.augment import Augmentation, read_compose
from centerkp.samples.pipeline import make_batches
from centerkp.samples.sample import Sampler
from centerkp.settings.training import TrainSettings
from centerkp.training.caching import CacheWhenSlow
from centerkp.training.callbacks import EpochEnd, Forecast, LateEvaluation, OwnWeights, ProgressBar, format_header
from centerkp.training.interruption import Interruption
from centerkp.training.loggers import RunLog
from centerkp.training.memory_guard import MemoryGuard
from centerkp.training.optimizer import make_optimizer, own_optimizer
from centerkp.training.run import Run
from centerkp.training.run_folder import RunFolder
from centerkp.wording import count_of

ENDLESS = 10**9  # epochs of a run that its time alone ends
MAX_OBJECTS = 100  # per training image, as in the zoo


def fit(run: Run) -> None:
    """Fits a run's model from wherever its optimizer stands to the last epoch, if time and patience last so long."""
    model, settings, console = run.model, run.settings, run.console
    is_over = run.limit is not None and run.limit.is_over and not model.unfinished
    if is_over or run.is_stale(run.read_rows()):
        console.print(f"the run had ended after {count_of(model.trained_epochs, 'epoch')}")
        return
    parts = plan_parts(settings)
    if not model.compiled:
        compile_part(run, parts[0])
        # A dataset of its own: every pass over one counts as an epoch of its random order.
        draw_first_batch(next(iter(make_training_batches(run, 0)[0])), model, run.folder)
    current = [part.frozen for part in parts].index(model.frozen)
    epochs = count_of(settings.epochs, "epoch") if settings.epochs else "epochs"
    limit = f"{settings.time}: " if settings.time else ""
    every = settings.eval_every
    often = f", every {every if isinstance(every, str) else count_of(every, 'epoch')}" if every else ""
    console.print(
        f"{limit}{epochs} of {count_of(run.steps, 'step')}, learning rate up to {settings.learning_rate:g}; "
        f"best.keras: highest {MONITORS[settings.monitor]}{often} (*)"
    )
    if settings.cache == "ram":
        console.print(f"cache: {run.cache.describe(run.train_records)}")
    started = time.monotonic()
    with RunLog(run) as run_log:
        for part in parts[current:]:
            if model.frozen != part.frozen:
                compile_part(run, part)
            # Not part of what Keras saves with a model and its optimizer, so resumed ones have to be told as well.
            own_optimizer(model).exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
            model.save_memory(settings.accumulate, settings.remat)
            fit_part(run, part, run_log)
            if model.stop_training:
                break
    console.print(f"trained for {(time.monotonic() - started) / 60:.1f} minutes")


@dataclass(frozen=True)
class Part:
    """Epochs from `first` to before `end`, during which `frozen` does not train."""

    first: int
    end: int
    frozen: str


def plan_parts(settings: TrainSettings) -> list[Part]:
    """The epochs to fit in one part, or in two when something is unfrozen on the way."""
    end = settings.epochs or ENDLESS
    if not settings.unfreeze_at:
        return [Part(0, end, settings.freeze)]
    return [Part(0, settings.unfreeze_at, settings.freeze), Part(settings.unfreeze_at, end, "none")]


def compile_part(run: Run, part: Part) -> None:
    """Freezes what a part of the fitting says and gives the model a fresh optimizer.

    Fresh also in the second part: the moments and the moving average of what was frozen start from nothing, and Adam corrects
    for that in its first steps only.
    """
    run.model.freeze(part.frozen, run.settings.freeze_bn)
    run.model.compile(make_optimizer(run.settings, run.steps * (part.end - part.first)))
    if run.limit:
        run.limit.progress = 0.0


def fit_part(run: Run, part: Part, run_log: RunLog) -> None:
    """Fits to the end of one part; nothing happens when the model has got there already."""
    model, settings, steps, folder, console = run.model, run.settings, run.steps, run.folder, run.console
    first_epoch, optimizer = model.trained_epochs, own_optimizer(model)
    first_step = model.unfinished["steps"] if model.unfinished else 0
    done, expected = int(optimizer.iterations), steps * (first_epoch - part.first) + first_step
    # Under mixed_float16 the steps do not count whose gradients were no numbers; the scale of the loss falls until they are.
    if done > expected or (done < expected and optimizer is model.optimizer):
        raise ValueError(
            f"{folder.last}: found {done} steps done, expected {expected}; the number of training images has changed "
            "since the run began, start a new run."
        )
    if first_epoch > part.first or first_step:
        step = f" and {count_of(first_step, 'step')} of {steps}" if first_step else ""
        console.print(f"continuing after {count_of(first_epoch, 'epoch')}{step}")
    elif part.first:
        console.print(f"from epoch {first_epoch + 1} on what was frozen trains as well")
    if first_epoch >= part.end:
        start_from_average(model)
        return
    if part.frozen != "none" or settings.freeze_bn:
        frozen = [part.frozen] * (part.frozen != "none") + ["BatchNormalization"] * settings.freeze_bn
        count = sum(math.prod(v.shape) for v in model.trainable_variables)
        console.print(f"frozen: {' and '.join(frozen)}; {count / 1e6:.2f} M parameters train")
    batches, val_batches = make_training_batches(run, first_epoch + bool(model.unfinished))
    with Interruption() as interruption:
        epoch_end = EpochEnd(run, val_batches, run.read_rows(), interruption)
        left = steps * (part.end - first_epoch) - first_step
        forecast = Forecast(left, settings.image_size, run.limit, console)
        bar = ProgressBar(settings.epochs, steps, folder, console)
        late = [LateEvaluation(epoch_end)] if run.callbacks else []
        caching = [CacheWhenSlow(run, run.cache)] if settings.cache == "auto" else []
        callbacks = [bar, epoch_end, forecast, MemoryGuard(settings, console), *caching, *run.callbacks, *late, run_log]
        if run.limit:
            run.limit.steps_left = left
            callbacks.insert(1, run.limit)  # what it decides after a step, the end of the epoch is to know
            model.stop_training = run.limit.is_over  # interrupted in its last evaluation
        console.print(format_header(list(head_channels(model.schema))), style="bold")
        try:
            if model.unfinished:
                is_whole = first_step == steps or model.stop_training
                rest = None if is_whole else make_training_batches(run, first_epoch, first_step)[0]
                finish_epoch(model, rest, callbacks)
            if model.trained_epochs < part.end and not model.stop_training:
                first = model.trained_epochs
                model.fit(batches, epochs=part.end, initial_epoch=first, shuffle=False, verbose=0, callbacks=callbacks)
            else:
                start_from_average(model)
        finally:
            bar.progress.stop()  # gives an interrupted terminal its cursor back


def finish_epoch(model: CenterNet, batches: Any, callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """Fits the rest of an epoch that was interrupted, `batches`, or None where only its end is missing."""
    epoch = model.trained_epochs
    if batches is not None:
        own = OwnWeights()
        model.fit(batches, epochs=epoch + 1, initial_epoch=epoch, shuffle=False, verbose=0, callbacks=[*callbacks, own])
        own.restore()
        return
    for callback in callbacks:
        callback.set_model(model)
        callback.on_train_begin()
        callback.on_epoch_begin(epoch)
    logs = {name: float(value) for name, value in model.get_metrics_result().items()}
    for callback in callbacks:
        callback.on_epoch_end(epoch, logs)


def start_from_average(model: CenterNet) -> None:
    """Gives a model the average of its weights, from which the next part of the fitting starts."""
    model.optimizer.finalize_variable_values(model.trainable_variables)


def make_training_batches(run: Run, start_epoch: int, skip: int = 0) -> tuple[Any, Any]:
    """Batches to fit from `start_epoch` on, without the first `skip` of each epoch, and validation batches."""
    settings = run.settings
    augmentation = Augmentation(
        flip=settings.flip,
        scale=settings.scale,
        rotation=settings.rotation,
        translation=settings.translation,
        color=settings.color,
        custom=read_compose(settings.augmentation) if settings.augmentation else None,
    )
    busiest = max(len(r.boxes_xyxy) for r in [*run.train_records, *run.val_records])
    max_objects = min(max(busiest, 1), MAX_OBJECTS)
    sampler = Sampler(run.model.schema, run.model.image_size, max_objects, augmentation, run.cache or read_image)
    weights = weigh_images(run.train_records, run.model.schema.num_classes) if settings.weight_classes else None
    common: dict[str, Any] = {"threads": settings.threads, "seed": settings.seed}
    options = common | {"start_epoch": start_epoch, "skip": skip, "weights": weights}
    batches = make_batches(run.train_records, sampler, settings.step_images, shuffle=True, **options)
    plain = replace(sampler, augmentation=None, read=read_image)
    val_batches = make_batches(run.val_records, plain, settings.batch_size, shuffle=False, **common)
    return batches, val_batches


def draw_first_batch(batch: tuple[Any, Mapping[str, Any]], model: CenterNet, folder: RunFolder) -> None:
    """Before the fitting, draws its first batch with the targets into the run folder."""
    images, truth = np.asarray(batch[0])[:4], {k: np.asarray(v)[:4] for k, v in batch[1].items()}
    write_image(folder.pictures / "first_batch.jpg", draw_targets_of_batch(images, truth, model.schema), "train")
