"""ResNet-50 as TensorFlow's CenterNet has it: version 1 under a top-down pyramid, version 2 with transposed convolutions.

"Deep Residual Learning" and "Identity Mappings in Deep Residual Networks" (He et al. 2016). Layer names say at which stride a
block starts to compute, and count the blocks there: `stride8_block2_1_conv`.
"""

from dataclasses import dataclass
from typing import ClassVar

from keras import layers

from centerkp.heads import Tensor
from centerkp.model.backbone import Backbone, as_tuples
from centerkp.model.normalization import BatchNormalization
from centerkp.model.pyramid import draw_pyramid

EPSILON = 1.001e-5


@dataclass(frozen=True)
class _ResNet(Backbone):
    """What both versions have: a stem of stride 4 and stages of bottleneck blocks.

    Attributes:
        stem_channels: of the first 7x7 convolution, which has stride 2; a 3x3 maximum with stride 2 follows.
        channels: of the 3x3 convolutions of each stage; a block gives four times as many.
        blocks: of each stage.
        head_channels, separable_heads: see `Backbone`.
    """

    stem_channels: int = 64
    channels: tuple[int, ...] = (64, 128, 256, 512)
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    head_channels: int | dict[str, int] = 256
    separable_heads: int | dict[str, int] = 0

    @property
    def multiple(self) -> int:
        """Sides of the ResNet's input must be multiples of this, the stride of its last stage."""
        return 2 * 2 ** len(self.channels)

    def count_blocks(self) -> int:
        """Bottleneck blocks of the ResNet's stages."""
        return sum(self.blocks)


@dataclass(frozen=True)
class ResNetV1(_ResNet):
    """Widths and depths of a network; the stride of a stage is in the first 1x1 convolution of its first block.

    Attributes:
        stem_channels, channels, blocks, head_channels, separable_heads: see `_ResNet`; stages compute at strides 4, 8, 16, ...
        pyramid_channels: of the coarsest map and of each level, down to stride 4.
    """

    kind: ClassVar[str] = "resnet_v1"
    mean: ClassVar[tuple] = (123.68, 116.779, 103.939)
    std: ClassVar[tuple] = (1.0, 1.0, 1.0)
    pyramid_channels: tuple[int, ...] = (256, 128, 64, 64)

    def __post_init__(self) -> None:
        _check_lengths(self, "channels", "blocks", "pyramid_channels")

    def build(self, x: Tensor, bn_momentum: float) -> list:
        """ResNet version 1 under its pyramid: (B, S, S, 3) normalised images -> [(B, S/4, S/4, channels)]."""
        draw = _ResNetLayers(bn_momentum)
        x = draw.pad_conv(x, self.stem_channels, "stem", kernel=7, stride=2)
        x = _draw_pool(draw.norm_relu(x, "stem", EPSILON))
        taps = []
        for stage, (width, blocks) in enumerate(zip(self.channels, self.blocks, strict=True)):
            for i in range(blocks):
                stride = 2 if stage and i == 0 else 1
                x = self._draw_block(draw, x, width, f"stride{4 * 2**stage}_block{i}", stride, skip=i == 0)
            taps.append(x)
        return [draw_pyramid(taps[::-1], self.pyramid_channels, bn_momentum, separable=False)]

    def _draw_block(self, draw: "_ResNetLayers", x: Tensor, width: int, name: str, stride: int, skip: bool) -> Tensor:
        """A bottleneck block of version 1: 1x1, 3x3 and 1x1 convolutions, normalised, beside a shortcut."""
        y = layers.Conv2D(width, 1, stride, name=f"{name}_1_conv")(x)
        y = draw.norm_relu(y, f"{name}_1", EPSILON)
        y = layers.Conv2D(width, 3, padding="same", name=f"{name}_2_conv")(y)
        y = draw.norm_relu(y, f"{name}_2", EPSILON)
        y = draw.norm(layers.Conv2D(4 * width, 1, name=f"{name}_3_conv")(y), f"{name}_3", EPSILON)
        if skip:
            x = layers.Conv2D(4 * width, 1, stride, name=f"{name}_skip_conv")(x)
            x = draw.norm(x, f"{name}_skip", EPSILON)
        return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))


@dataclass(frozen=True)
class ResNetV2(_ResNet):
    """Widths and depths of a network; the stride of a stage, the last one's excepted, is in the 3x3 of its last block.

    Attributes:
        stem_channels, channels, blocks, head_channels, separable_heads: see `_ResNet`; the last stage stays at the
            stride of the one before it.
        upsample_channels: of each convolution and the transposed one behind it, down to stride 4.
    """

    kind: ClassVar[str] = "resnet_v2"
    mean: ClassVar[tuple] = (127.5, 127.5, 127.5)
    std: ClassVar[tuple] = (127.5, 127.5, 127.5)
    upsample_channels: tuple[int, ...] = (256, 128, 64)

    def __post_init__(self) -> None:
        _check_lengths(self, "channels", "blocks")
        _check_lengths(self, "upsample_channels", fewer=1)

    def build(self, x: Tensor, bn_momentum: float) -> list:
        """ResNet version 2 and its transposed convolutions: (B, S, S, 3) normalised images -> [(B, S/4, S/4, width)]."""
        draw = _ResNetLayers(bn_momentum)
        # Without a normalisation there are negative values, and the zeros of the padding count.
        x = _draw_pool(draw.pad_conv(x, self.stem_channels, "stem", kernel=7, stride=2))
        last = len(self.channels) - 1
        for stage, (width, blocks) in enumerate(zip(self.channels, self.blocks, strict=True)):
            for i in range(blocks):
                stride = 2 if stage < last and i == blocks - 1 else 1
                x = self._draw_block(draw, x, width, f"stride{4 * 2**stage}_block{i}", stride, skip=i == 0)
        for level, width in enumerate(self.upsample_channels):
            name = f"upsample{2 * 2 ** (last - level)}"
            x = layers.Conv2D(width, 3, padding="same", name=f"{name}_1_conv")(x)
            x = draw.norm_relu(x, f"{name}_1", 1e-3)
            x = layers.Conv2DTranspose(width, 3, 2, "same", name=f"{name}_2_conv")(x)
            x = draw.norm_relu(x, f"{name}_2", 1e-3)
        return [x]

    def _draw_block(self, draw: "_ResNetLayers", x: Tensor, width: int, name: str, stride: int, skip: bool) -> Tensor:
        """A bottleneck block of version 2, which normalises before its convolutions, beside a shortcut."""
        before = draw.norm_relu(x, f"{name}_before", EPSILON)
        y = layers.Conv2D(width, 1, use_bias=False, name=f"{name}_1_conv")(before)
        y = draw.norm_relu(y, f"{name}_1", EPSILON)
        y = draw.pad_conv(y, width, f"{name}_2", kernel=3, stride=stride, use_bias=False)
        y = draw.norm_relu(y, f"{name}_2", EPSILON)
        y = layers.Conv2D(4 * width, 1, name=f"{name}_3_conv")(y)
        if skip:
            x = layers.Conv2D(4 * width, 1, stride, name=f"{name}_skip_conv")(before)
        elif stride > 1:
            x = layers.MaxPooling2D(1, stride, name=f"{name}_skip_pool")(x)  # pixels 0, 2, 4, ...
        return layers.Add(name=f"{name}_add")([x, y])


class _ResNetLayers:
    """Draws on symbolic tensors; a class only because every layer needs the BatchNormalization momentum."""

    def __init__(self, bn_momentum: float):
        self.bn_momentum = bn_momentum

    def pad_conv(self, x: Tensor, channels: int, name: str, *, kernel: int, stride: int, use_bias: bool = True) -> Tensor:
        """A ResNet's convolution behind padding on all four sides; "same" at stride 2 pads only right and bottom."""
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
        return layers.Conv2D(channels, kernel, stride, use_bias=use_bias, name=f"{name}_conv")(x)

    def norm(self, x: Tensor, name: str, epsilon: float) -> Tensor:
        """BatchNormalization as the ResNet's layers have it, of this momentum and `epsilon`."""
        return BatchNormalization(momentum=self.bn_momentum, epsilon=epsilon, name=f"{name}_bn")(x)

    def norm_relu(self, x: Tensor, name: str, epsilon: float) -> Tensor:
        """BatchNormalization and ReLU of a ResNet's layer."""
        return layers.ReLU(name=f"{name}_relu")(self.norm(x, name, epsilon))


def _draw_pool(x: Tensor) -> Tensor:
    """The max pooling behind a ResNet's stem, padded on all four sides."""
    return layers.MaxPooling2D(3, 2, name="stem_pool")(layers.ZeroPadding2D(1, name="stem_pool_pad")(x))


def _check_lengths(spec: _ResNet, *names: str, fewer: int = 0) -> None:
    """Makes tuples of a ResNet's fields, and sees to it that they have one number for each of the stages."""
    stages = len(spec.blocks) - fewer
    for name in names:
        values = as_tuples(getattr(spec, name))
        object.__setattr__(spec, name, values)
        if len(values) != stages or stages < 1 or min(values) < 1:
            raise ValueError(f"{type(spec).__name__}: found {name} {list(values)}, expected {stages} numbers of 1 or more.")
