"""A top-down pyramid: deep maps see far, shallow ones see exactly, and this adds them up to one map at stride 4.

"Feature Pyramid Networks" (Lin et al. 2017) in the form of TensorFlow's CenterNet: nearest upsampling, one convolution for each
level behind the sum, and only the finest level goes on.
"""

from collections.abc import Sequence

from keras import layers

from centerkp.heads import Tensor
from centerkp.model.normalization import BatchNormalization


def draw_pyramid(
    taps: Sequence, channels: Sequence[int], bn_momentum: float, *, separable: bool, context_blocks: int = 0
) -> Tensor:
    """The pyramid over a trunk's feature maps -> one map (B, S/4, S/4, channels[-1]).

    Args:
        taps: from the coarsest to the finest, each twice the size of the one before; the last has stride 4.
        channels: as many widths, of the coarsest map and of each level.
        separable: the 3x3 convolutions are depthwise and 1x1 instead of ordinary.
        context_blocks: residual 5x5 convolutions of the coarsest map. They tell the middle of a large object what its ends look
            like, for instance which way it faces, at the price of few cells.
    """
    x = layers.Conv2D(channels[0], 1, name="pyramid_top")(taps[0])
    for i in range(context_blocks):
        y = layers.Conv2D(channels[0], 5, padding="same", use_bias=False, name=f"pyramid_context{i}_conv")(x)
        y = BatchNormalization(momentum=bn_momentum, epsilon=1e-3, name=f"pyramid_context{i}_bn")(y)
        y = layers.ReLU(name=f"pyramid_context{i}_relu")(y)
        x = layers.Add(name=f"pyramid_context{i}_add")([x, y])
    kind = layers.SeparableConv2D if separable else layers.Conv2D
    for level, (tap, width) in enumerate(zip(taps[1:], channels[1:], strict=True), start=1):
        name = f"pyramid{4 * 2 ** (len(taps) - 1 - level)}"
        x = layers.UpSampling2D(2, interpolation="nearest", name=f"{name}_upsample")(x)
        lateral = layers.Conv2D(x.shape[-1], 1, name=f"{name}_lateral")(tap)
        x = layers.Add(name=f"{name}_add")([x, lateral])
        x = kind(width, 3, padding="same", name=f"{name}_conv")(x)
        x = BatchNormalization(momentum=bn_momentum, epsilon=1e-3, name=f"{name}_bn")(x)
        x = layers.ReLU(name=f"{name}_relu")(x)
    return x
