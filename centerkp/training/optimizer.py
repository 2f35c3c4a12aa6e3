"""The optimizer of a run: its schedule, what learns faster than the rest, and the use of its average."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import keras

from centerkp.heads import VECTOR_HEADS
from centerkp.model.averaging import AveragingAdamW
from centerkp.settings.training import TrainSettings

FIRST_RATE, LAST_RATE = 0.01, 0.02  # shares of the highest learning rate


def make_optimizer(settings: TrainSettings, total_steps: int, factor: float = 1.0) -> keras.optimizers.Optimizer:
    """The optimizer of a run: AdamW with warm-up, cosine decay, gradient clipping and a moving average of weights.

    The learning rate of a timed run is a number that `TimeLimit` sets as the run goes on; `total_steps` says nothing then.
    `factor` lowers the rate of a run whose loss was no longer a number.
    """
    settings = replace(settings, learning_rate=factor * settings.learning_rate)
    return AveragingAdamW(
        rate_at(settings, 0.0) if settings.time else _decay_by_steps(settings, total_steps),
        weight_decay=settings.weight_decay,
        global_clipnorm=settings.clip_norm,
        use_ema=settings.ema > 0,
        ema_momentum=settings.ema or 0.99,
        rates={rf"stack\d+_({'|'.join(VECTOR_HEADS)})/": settings.vector_rate},
    )


def _decay_by_steps(settings: TrainSettings, total_steps: int) -> keras.optimizers.schedules.CosineDecay:
    """The learning rate of a run that has so many steps, by the optimizer's own count of them."""
    warmup = min(max(int(settings.warmup * total_steps), 1), total_steps - 1) if total_steps > 1 else 0
    return keras.optimizers.schedules.CosineDecay(
        settings.learning_rate * FIRST_RATE if warmup else settings.learning_rate,
        decay_steps=max(total_steps - warmup, 1),
        alpha=LAST_RATE,
        warmup_target=settings.learning_rate if warmup else None,
        warmup_steps=warmup,
    )


def rate_at(settings: TrainSettings, progress: float) -> float:
    """The learning rate of a timed run of which this share is over, from 0 to 1: what `_decay_by_steps` has by steps."""
    if progress < settings.warmup:
        share = FIRST_RATE + (1 - FIRST_RATE) * progress / settings.warmup
    else:
        done = (progress - settings.warmup) / (1 - settings.warmup)
        share = LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * done)) / 2
    return settings.learning_rate * share


def own_optimizer(model: keras.Model) -> keras.optimizers.Optimizer:
    """The optimizer a model was compiled with, which Keras wraps in another one to scale the loss of mixed_float16."""
    return getattr(model.optimizer, "inner_optimizer", model.optimizer)


@contextmanager
def without_optimizer(model: keras.Model) -> Iterator[None]:
    """Inside, the model is saved without what only its training reads, moments and average: a quarter of the file is left."""
    optimizer = model.optimizer
    model.optimizer, model.compiled = None, False
    try:
        yield
    finally:
        model.optimizer, model.compiled = optimizer, True


@contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Inside, the model has the moving average of its weights, if its optimizer keeps one; afterwards its own again."""
    optimizer = own_optimizer(model)
    if not optimizer.use_ema:
        yield
        return
    own = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    averages = optimizer._model_variables_moving_average
    for variable, average in zip(model.trainable_variables, averages, strict=True):
        variable.assign(keras.ops.copy(average))  # JAX gives a model's own arrays away when it evaluates
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, own, strict=True):
            variable.assign(value)
