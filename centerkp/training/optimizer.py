"""The optimizer of a run: its schedule, what learns faster than the rest, and the use of its average."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras

from centerkp.heads import VECTOR_HEADS
from centerkp.model.averaging import AveragingAdamW
from centerkp.training.settings import TrainSettings


def make_optimizer(settings: TrainSettings, total_steps: int) -> keras.optimizers.Optimizer:
    """The optimizer of a run: AdamW with warm-up, cosine decay, gradient clipping and a moving average of weights."""
    warmup = min(max(int(settings.warmup * total_steps), 1), total_steps - 1) if total_steps > 1 else 0
    rate = keras.optimizers.schedules.CosineDecay(
        settings.learning_rate * 0.01 if warmup else settings.learning_rate,
        decay_steps=max(total_steps - warmup, 1),
        alpha=0.02,
        warmup_target=settings.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    return AveragingAdamW(
        rate,
        weight_decay=settings.weight_decay,
        global_clipnorm=settings.clip_norm,
        use_ema=settings.ema > 0,
        ema_momentum=settings.ema or 0.99,
        rates={rf"stack\d+_({'|'.join(VECTOR_HEADS)})/": settings.vector_rate},
    )


def own_optimizer(model: keras.Model) -> keras.optimizers.Optimizer:
    """The optimizer a model was compiled with, which Keras wraps in another one to scale the loss of mixed_float16."""
    return getattr(model.optimizer, "inner_optimizer", model.optimizer)


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
