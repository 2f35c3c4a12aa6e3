"""The stacked hourglass network: images -> one feature map per stack.

"Stacked Hourglass Networks" (Newell et al. 2016) as CornerNet (Law & Deng 2018) and CenterNet use it, in the exact form of
TensorFlow's CenterNet: explicit symmetric padding before strided convolutions, the shortcut and the down path both start
from a level's input, nearest upsampling. Layer names are the map of the network: `stack0_stage2_down_block1_1_conv`.
"""

from dataclasses import dataclass
from typing import ClassVar

from keras import layers

from centerkp.heads import STRIDE, Tensor
from centerkp.model.backbone import Backbone
from centerkp.model.normalization import BatchNormalization


@dataclass(frozen=True)
class Hourglass(Backbone):
    """Widths and depths of a network.

    Attributes:
        stem_channels: of the first 7x7 convolution; the residual block after it has twice as many.
        channels: of each stage, from the full map to the bottom; one stage more than there are halvings.
        blocks: residual blocks of each stage, as many as `channels`.
        stacks: hourglasses in a row.
        feature_channels: of each stack's output; None means `channels[0]`.
        head_channels: hidden width of the heads, one number or `{head: width}`; None means `channels[0]`.
        separable_heads: see `Backbone`.
    """

    kind: ClassVar[str] = "hourglass"
    # Of the zoo's training images.
    mean: ClassVar[tuple] = (119.9165958, 114.03422265, 104.01362025)
    std: ClassVar[tuple] = (70.9150767, 69.89082075, 73.6027665)
    freezable: ClassVar[tuple] = ("none", "stem", "backbone")
    stem_channels: int = 128
    channels: tuple[int, ...] = (256, 256, 384, 384, 384, 512)
    blocks: tuple[int, ...] = (2, 2, 2, 2, 2, 4)
    stacks: int = 2
    feature_channels: int | None = None
    head_channels: int | dict[str, int] | None = None
    separable_heads: int | dict[str, int] = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        object.__setattr__(self, "blocks", tuple(self.blocks))
        if len(self.channels) != len(self.blocks) or len(self.blocks) < 2:
            raise ValueError(
                f"Hourglass: found {len(self.channels)} channels and {len(self.blocks)} blocks; give one of each per stage, "
                "two at least."
            )
        if self.stacks < 1 or min(self.channels + self.blocks) < 1:
            raise ValueError(f"Hourglass: stacks, channels and blocks must be 1 or more, found {self}.")
        if self.feature_channels is None:
            object.__setattr__(self, "feature_channels", self.channels[0])
        if self.head_channels is None:
            object.__setattr__(self, "head_channels", self.channels[0])

    @property
    def multiple(self) -> int:
        """Sides of an hourglass's input must be multiples of this: its stride times one halving per stage below."""
        return STRIDE * 2 ** (len(self.channels) - 1)

    def count_blocks(self) -> int:
        """Residual blocks at the levels of all hourglasses in the stack, each level's number counted once."""
        return self.stacks * sum(self.blocks)

    def describe(self) -> str:
        """The hourglass's stacks, widths, blocks and heads in a line, for the terminal."""
        return (
            f"{self.stacks} stack{'s' if self.stacks > 1 else ''}, stem {self.stem_channels}, channels {list(self.channels)}, "
            f"blocks {list(self.blocks)}, heads {self.head_channels}"
        )

    def build(self, x: Tensor, bn_momentum: float) -> list:
        """The hourglass network: (B, S, S, 3) normalised images -> one (B, S/4, S/4, feature_channels) per stack."""
        return HourglassBuilder(self, bn_momentum).build(x)


class HourglassBuilder:
    """Draws the network on symbolic tensors; a class only because every layer needs the BatchNormalization momentum."""

    def __init__(self, spec: Hourglass, bn_momentum: float):
        self.spec, self.bn_momentum = spec, bn_momentum

    def build(self, x: Tensor) -> list:
        """Draws the hourglasses: (B, S, S, 3) normalised images -> (B, S/4, S/4, feature_channels) per stack."""
        spec = self.spec
        x = self.conv_bn(x, spec.stem_channels, "stem", kernel=7, stride=2)
        x = self.residual(x, 2 * spec.stem_channels, "stem_block", stride=2)
        features = []
        for i in range(spec.stacks):
            y = self.stage(x, 0, f"stack{i}")
            features.append(self.conv_bn(y, spec.feature_channels, f"stack{i}_feature", kernel=3))
            if i < spec.stacks - 1:
                x = self.between_stacks(x, features[i], f"stack{i}_next")
        return features

    def between_stacks(self, x: Tensor, feature: Tensor, name: str) -> Tensor:
        """What the next hourglass of the stack sees: the last one's input and output, joined."""
        channels = self.spec.channels[0]
        kept = self.conv_bn(x, channels, f"{name}_input", kernel=1, relu=False)
        new = self.conv_bn(feature, channels, f"{name}_feature", kernel=1, relu=False)
        x = layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([kept, new]))
        return self.residual(x, channels, f"{name}_block")

    def stage(self, x: Tensor, level: int, stack: str) -> Tensor:
        """One level of the hourglass and, inside it, all deeper ones."""
        channels, blocks = self.spec.channels[level:], self.spec.blocks[level:]
        if len(channels) == 1:
            return self.blocks(x, [channels[0]] * blocks[0], f"{stack}_bottom")
        name = f"{stack}_stage{level}"
        shortcut = self.blocks(x, [channels[0]] * blocks[0], f"{name}_shortcut")
        y = self.blocks(x, [channels[1]] * blocks[0], f"{name}_down", stride=2)
        y = self.stage(y, level + 1, stack)
        y = self.blocks(y, [channels[1]] * (blocks[0] - 1) + [channels[0]], f"{name}_up")
        y = layers.UpSampling2D(2, interpolation="nearest", name=f"{name}_upsample")(y)
        return layers.Add(name=f"{name}_add")([shortcut, y])

    def blocks(self, x: Tensor, channels: list[int], name: str, stride: int = 1) -> Tensor:
        """Residual blocks of an hourglass in a row; only the first may have a stride."""
        for i, width in enumerate(channels):
            x = self.residual(x, width, f"{name}_block{i}", stride if i == 0 else 1)
        return x

    def residual(self, x: Tensor, channels: int, name: str, stride: int = 1) -> Tensor:
        """A residual block of an hourglass: two 3x3 convolutions beside a shortcut."""
        y = self.conv_bn(x, channels, f"{name}_1", kernel=3, stride=stride)
        y = self.conv_bn(y, channels, f"{name}_2", kernel=3, relu=False)
        if stride != 1 or x.shape[-1] != channels:
            x = self.conv_bn(x, channels, f"{name}_skip", kernel=1, stride=stride, relu=False)
        return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))

    def conv_bn(self, x: Tensor, channels: int, name: str, *, kernel: int, stride: int = 1, relu: bool = True) -> Tensor:
        """Of an hourglass: convolution without bias, BatchNormalization, and ReLU unless told not to."""
        padding = "same"
        if stride > 1:
            # Padding on all four sides, unlike "same", which would pad only right and bottom and shift the map by a pixel.
            padding = "valid"
            if kernel > 1:
                x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
            elif x.shape[-1] < 16:
                # The same numbers. TensorFlow 2.21 writes outside its memory in the gradient of a 1x1 convolution with a stride
                # and so few channels, on processors with AVX-512 (oneDNN).
                x, stride = x[:, ::stride, ::stride], 1
        x = layers.Conv2D(channels, kernel, stride, padding, use_bias=False, name=f"{name}_conv")(x)
        x = BatchNormalization(momentum=self.bn_momentum, epsilon=1e-5, name=f"{name}_bn")(x)
        return layers.ReLU(name=f"{name}_relu")(x) if relu else x
