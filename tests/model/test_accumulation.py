"""A batch in parts against the same batch at once: losses, gradients, and everything that a step leaves behind."""

import keras
import numpy as np
import pytest

from centerkp.model.averaging import AveragingAdamW
from centerkp.model.center_net import CenterNet
from centerkp.model.hourglass import Hourglass
from centerkp.schema import Schema

SCHEMA = Schema.generic(2, [3, 2])


def make_batch(count=8):
    """Images with 0 to 3 objects each, a crowd, and keypoints that are labelled or not: no two parts have the same counts."""
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 16, (count, 3, 2))
    truth = {
        "boxes_xyxy": np.concatenate([low, low + rng.uniform(6, 16, (count, 3, 2))], axis=-1).astype("float32"),
        "class_ids": rng.integers(0, 2, (count, 3)).astype("int32"),
        "object_weights": (np.arange(3) < (np.arange(count) % 4)[:, None]).astype("float32"),
        "is_crowd": np.zeros((count, 3), "float32"),
        "keypoints_xy": rng.uniform(0, 32, (count, 3, 5, 2)).astype("float32"),
        "visibility": rng.integers(0, 3, (count, 3, 5)).astype("int32"),
        "valid_size": np.full((count, 2), 32, "float32"),
    }
    truth["is_crowd"][3, 0] = 1
    return rng.integers(0, 256, (count, 32, 32, 3)).astype("uint8"), truth


def train(optimizer, *, steps=1, parts=1, remat=False, frozen=True, precision="float32"):
    """A tiny network after some steps on one batch: the losses of each step, and all its numbers and its optimizer's."""
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(precision)
    try:
        model = CenterNet(SCHEMA, Hourglass(2, (4, 4), (1, 1), stacks=1, head_channels=4), 32)
    finally:
        keras.config.set_dtype_policy("float32")
    model.freeze("none", batch_norm=frozen)
    model.save_memory(parts, remat)
    model.compile(optimizer)
    images, truth = make_batch()
    losses = []
    for _ in range(steps):
        model.reset_metrics()
        losses.append(model.train_on_batch(images, truth, return_dict=True))
    if keras.backend.backend() == "jax":
        model.jax_state_sync()
    return losses, [keras.ops.convert_to_numpy(v) for v in [*model.variables, *model.optimizer.variables]]


def compare(one, other, tolerance=1e-4):
    for mine, yours in zip(one[0], other[0], strict=True):
        assert mine == pytest.approx(yours, rel=tolerance)
    for mine, yours in zip(one[1], other[1], strict=True):
        np.testing.assert_allclose(yours, mine, rtol=tolerance, atol=tolerance * max(1e-3, np.abs(mine).max()))


def test_parts_have_the_gradients_of_the_whole():
    """Plain gradient descent at a rate of 1: what it takes off the weights is the gradient; also of what is computed twice."""
    compare(train(keras.optimizers.SGD(1.0)), train(keras.optimizers.SGD(1.0), parts=4, remat=True))


def test_parts_are_one_step_of_the_optimizer():
    """Clipping, decay, schedule and average: all as without parts, and two steps are two."""
    whole, parts = (
        train(
            AveragingAdamW(
                keras.optimizers.schedules.CosineDecay(1e-3, 3),
                weight_decay=0.1, global_clipnorm=1.0, use_ema=True, ema_momentum=0.9,
            ),
            steps=2, parts=n,
        )
        for n in (1, 4)
    )  # fmt: skip
    compare(whole, parts, 1e-3)


def test_parts_have_one_scale_of_the_loss():
    """16 bits: the sum of the gradients is a number or none, and the step with it; the heads stay in float32."""
    losses, numbers = train(AveragingAdamW(1e-3), parts=4, remat=True, precision="mixed_float16")
    assert np.isfinite(list(losses[0].values())).all() and all(np.isfinite(value).all() for value in numbers)
