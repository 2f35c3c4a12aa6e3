"""Fitting a model from wherever it stands to the last epoch, in parts with an optimizer each."""

import math
import time
from collections.abc import Sequence
from typing import Any

import keras

from centerkp.evaluation.monitors import MONITORS
from centerkp.heads import head_channels
from centerkp.model.center_net import CenterNet
from centerkp.samples.waiting import Arrivals, StepTimer
from centerkp.training.caching import CacheWhenSlow
from centerkp.training.callbacks import EpochEnd, LateEvaluation, OwnWeights
from centerkp.training.interruption import Interruption
from centerkp.training.loggers import RunLog
from centerkp.training.memory_guard import MemoryGuard
from centerkp.training.optimizer import own_optimizer
from centerkp.training.parts import Part, compile_part, find_part, plan_parts, start_from_average
from centerkp.training.progress import Forecast, ProgressBar, format_header
from centerkp.training.recovery import recover
from centerkp.training.run import Run
from centerkp.training.run_batches import draw_first_batch, make_training_batches
from centerkp.training.step_watch import BrokenStep, StepWatch
from centerkp.wording import count_of


def fit(run: Run) -> None:
    """Fits a run's model from wherever its optimizer stands to the last epoch, if time and patience last so long."""
    model, settings, console = run.model, run.settings, run.console
    if run.has_ended():
        console.print(f"the run had ended after {count_of(model.trained_epochs, 'epoch')}")
        return
    if not model.compiled:
        compile_part(run, plan_parts(settings, 0)[0])
        # A dataset of its own: every pass over one counts as an epoch of its random order.
        if run.folder.writes:
            draw_first_batch(next(iter(make_training_batches(run, 0)[0])), model, run.folder)
        run.save_last()  # so that there is something to go back to, and a full disk is seen now
    epochs = count_of(settings.epochs, "epoch") if settings.epochs else "epochs"
    limit = f"{settings.time}: " if settings.time else ""
    every = settings.eval_every
    often = f", every {every if isinstance(every, str) else count_of(every, 'epoch')}" if every else ""
    rate = model.rate_factor * settings.learning_rate
    console.print(
        f"{limit}{epochs} of {count_of(run.steps, 'step')}, learning rate up to {rate:g}; best.keras: highest "
        f"{MONITORS[settings.monitor]}{often} (*)"
    )
    if settings.cache == "ram":
        console.print(f"cache: {run.cache.describe(run.train_records)}")
    started, broken = time.monotonic(), None
    try:
        fit_parts(run)
    except BrokenStep as error:
        broken = error.with_traceback(None)  # which would keep all that was lost in memory
    if broken:
        recover(run, broken)
        fit(run)
    else:
        console.print(f"trained for {(time.monotonic() - started) / 60:.1f} minutes")


def fit_parts(run: Run) -> None:
    """Fits the part that a run is in, and those that follow."""
    model = run.model
    with RunLog(run) as run_log:
        for part in plan_parts(run.settings, model.schedule_start)[find_part(run) :]:
            if model.frozen != part.frozen:
                compile_part(run, part)
            # Not part of what Keras saves with a model and its optimizer, so resumed ones have to be told as well.
            own_optimizer(model).exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
            model.save_memory(run.settings.accumulate, run.settings.remat)
            fit_part(run, part, run_log)
            if model.stop_training:
                break


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
            f"since the run began, start a new run with --weights {folder.best}."
        )
    if first_epoch > part.first or first_step:
        step = f" and {count_of(first_step, 'step')} of {steps}" if first_step else ""
        console.print(f"continuing after {count_of(first_epoch, 'epoch')}{step}")
    elif part.first and part.first == settings.unfreeze_at:
        console.print(f"from epoch {first_epoch + 1} on what was frozen trains as well")
    if first_epoch >= part.end:
        start_from_average(model)
        return
    if part.frozen != "none" or settings.freeze_bn:
        frozen = [part.frozen] * (part.frozen != "none") + ["BatchNormalization"] * settings.freeze_bn
        count = sum(math.prod(v.shape) for v in model.trainable_variables)
        console.print(f"frozen: {' and '.join(frozen)}; {count / 1e6:.2f} M parameters train")
    arrivals = Arrivals()
    batches, val_batches = make_training_batches(run, first_epoch + bool(model.unfinished), arrivals=arrivals)
    with Interruption() as interruption:
        epoch_end = EpochEnd(run, val_batches, run.read_rows(), interruption)
        left = steps * (part.end - first_epoch) - first_step
        forecast = Forecast(left, run.limit, console, is_new=not first_epoch + first_step)
        bar = ProgressBar(settings.epochs, steps, console)
        late = [LateEvaluation(epoch_end)] if run.callbacks else []
        caching = [CacheWhenSlow(run, run.cache)] if settings.cache == "auto" else []
        guard = MemoryGuard(settings, console)
        callbacks = [StepWatch(), bar, epoch_end, forecast, guard, *caching, *run.callbacks, *late, run_log]
        callbacks.append(StepTimer(run.report.add_seconds, arrivals))
        if run.limit:
            run.limit.steps_left = left
            callbacks.insert(2, run.limit)  # what it decides after a step, the end of the epoch is to know
            model.stop_training = run.limit.is_over  # interrupted in its last evaluation
        console.print(format_header(list(head_channels(model.schema))), style="bold")
        try:
            with run.team.together(model):
                if model.unfinished:
                    is_whole = first_step == steps or model.stop_training
                    rest = None if is_whole else make_training_batches(run, first_epoch, first_step, arrivals)[0]
                    finish_epoch(model, rest, callbacks)
                if model.trained_epochs < part.end and not model.stop_training:
                    first = model.trained_epochs
                    model.fit(batches, epochs=part.end, initial_epoch=first, shuffle=False, verbose=0, callbacks=callbacks)
                else:
                    start_from_average(model)
        finally:
            guard.is_over.set()  # also of a step that broke
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
