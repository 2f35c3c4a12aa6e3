"""BatchNormalization as Keras has it, with a gradient that passes over the activations less often."""

from typing import Any

import keras
from keras import ops

from centerkp.heads import Tensor


class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's BatchNormalization over batch and image, under the same name in files, for (B, H, W, channels).

    In training Keras's own is differentiated step by step, through the variance as well, and every step passes over all
    activations. The gradient of the whole (Ioffe and Szegedy 2015, section 3) needs two sums by channel and one pass. Numbers
    differ by float rounding.
    """

    def call(self, inputs: Tensor, training: bool | None = None, mask: Any = None) -> Tensor:
        """Normalises by the batch, and moves the statistics, where it trains; else by the statistics, as Keras does."""
        if not (training and self.trainable):
            return super().call(inputs, training=training, mask=mask)
        x = ops.cast(inputs, "float32")  # float16 would overflow
        y, mean, variance = _normalise(x, ops.cast(self.gamma, "float32"), ops.cast(self.beta, "float32"), self.epsilon)
        for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + ops.stop_gradient(now) * (1.0 - self.momentum))
        return ops.cast(y, self.compute_dtype)


def _normalise(x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """BatchNormalization of (B, H, W, C) by its own mean and variance, and these (C,), which have no gradient."""

    @ops.custom_gradient
    def normalise(x: Tensor, gamma: Tensor, beta: Tensor) -> tuple[tuple, Any]:
        mean = ops.mean(x, axis=(0, 1, 2))
        variance = ops.mean(ops.square(x - mean), axis=(0, 1, 2))
        deviation = ops.rsqrt(variance + epsilon)
        scale = gamma * deviation

        def differentiate(*upstream: Any) -> tuple[Tensor, Tensor, Tensor]:
            by_y = keras.tree.flatten(upstream)[0]  # one tuple on JAX, three arguments on TensorFlow
            count = ops.cast(ops.size(x), "float32") / x.shape[-1]
            by_beta = ops.sum(by_y, axis=(0, 1, 2))
            by_gamma = (ops.sum(by_y * x, axis=(0, 1, 2)) - mean * by_beta) * deviation
            slope = -scale * deviation * by_gamma / count
            return by_y * scale + (x * slope - (scale * by_beta / count + slope * mean)), by_gamma, by_beta

        return (x * scale + (beta - mean * scale), mean, variance), differentiate

    return normalise(x, gamma, beta)
