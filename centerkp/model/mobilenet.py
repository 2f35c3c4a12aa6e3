"""Light trunks of inverted residual blocks under a top-down pyramid: MobileNetV2 as TensorFlow's CenterNet has it.

"MobileNetV2: Inverted Residuals and Linear Bottlenecks" (Sandler et al. 2018): each block widens with a 1x1 convolution, looks
around with a depthwise one, and narrows again without an activation. Layer names say at which stride a layer computes, and
count the blocks there: `stride16_block3_depthwise_conv`.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import keras
from keras import layers

from centerkp.heads import FREEZABLE, STRIDE, Tensor
from centerkp.model.backbone import Backbone, as_tuples
from centerkp.model.normalization import BatchNormalization
from centerkp.model.pyramid import draw_pyramid


@dataclass(frozen=True)
class MobileNet(Backbone):
    """Widths and depths of a network.

    Attributes:
        stem_channels: of the first 3x3 convolution, which has stride 2.
        stages: (kernel, blocks, channels, expansion, stride) of each group of equal blocks; the stride is its first block's.
        taps: the stages whose last blocks the pyramid reads, from stride 4 on; it also reads the end of the trunk.
        last_channels: of a 1x1 convolution behind the last stage; 0 for none.
        pyramid_channels: of the coarsest map and of each level, down to stride 4.
        separable_pyramid: depthwise and 1x1 instead of ordinary 3x3 convolutions.
        context_blocks: see `draw_pyramid`.
        separable_heads, head_channels, mean, std: see `Backbone`.
    """

    kind: ClassVar[str] = "mobilenet"
    freezable: ClassVar[tuple] = FREEZABLE
    stem_channels: int = 32
    stages: tuple[tuple[int, int, int, int, int], ...] = (
        (3, 1, 16, 1, 1),
        (3, 2, 24, 6, 2),
        (3, 3, 32, 6, 2),
        (3, 4, 64, 6, 2),
        (3, 3, 96, 6, 1),
        (3, 3, 160, 6, 2),
        (3, 1, 320, 6, 1),
    )
    taps: tuple[int, ...] = (1, 2, 3)
    last_channels: int = 1280
    pyramid_channels: tuple[int, ...] = (64, 32, 24, 24)
    separable_pyramid: bool = True
    context_blocks: int = 0
    separable_heads: int | dict[str, int] = 1
    head_channels: int | dict[str, int] = 256
    mean: tuple[float, float, float] = (127.5, 127.5, 127.5)
    std: tuple[float, float, float] = (127.5, 127.5, 127.5)

    def __post_init__(self) -> None:
        for name in ("stages", "taps", "pyramid_channels", "mean", "std"):
            object.__setattr__(self, name, as_tuples(getattr(self, name)))
        strides = self._list_strides()
        if not all(0 <= tap < len(strides) for tap in self.taps):
            raise ValueError(
                f"MobileNet: found taps {list(self.taps)}, expected numbers of the {len(self.stages)} stages from 0."
            )
        levels = [*(strides[tap] for tap in self.taps), strides[-1]]
        if levels != [STRIDE * 2**i for i in range(len(levels))] or len(self.pyramid_channels) != len(levels):
            raise ValueError(
                f"MobileNet: found taps at strides {levels} and {len(self.pyramid_channels)} pyramid_channels, expected 4, 8, "
                "16, ... and one width for each."
            )

    @property
    def multiple(self) -> int:
        """Sides of a MobileNet's input must be multiples of this: the stride of the deepest map."""
        return self._list_strides()[-1]

    def count_blocks(self) -> int:
        """Inverted residual blocks of the MobileNet's trunk."""
        return sum(blocks for _, blocks, *_ in self.stages)

    def _list_strides(self) -> list[int]:
        """Input pixels per cell behind each stage of the MobileNet's trunk."""
        strides, stride = [], 2
        for stage in self.stages:
            stride *= stage[-1]
            strides.append(stride)
        return strides

    def list_blocks(self) -> list[list[tuple[str, dict]]]:
        """The MobileNet's blocks of every stage in order: name, and the arguments that `_MobileNetLayers.block` takes."""
        stages, counts = [], {}
        for (kernel, blocks, channels, expansion, first), stride in zip(self.stages, self._list_strides(), strict=True):
            stage = []
            for i in range(blocks):
                number = counts[stride] = counts.get(stride, -1) + 1
                sizes = {"channels": channels, "kernel": kernel, "expansion": expansion, "stride": first if i == 0 else 1}
                stage.append((f"stride{stride}_block{number}", sizes))
            stages.append(stage)
        return stages

    def build(self, x: Tensor, bn_momentum: float) -> list:
        """The MobileNet under its pyramid: (B, S, S, 3) normalised images -> [(B, S/4, S/4, channels)]."""
        *taps, end = self.build_trunk(x, bn_momentum)
        options: dict[str, Any] = {"separable": self.separable_pyramid, "context_blocks": self.context_blocks}
        return [draw_pyramid([end, *reversed(taps)], self.pyramid_channels, bn_momentum, **options)]

    def build_trunk(self, x: Tensor, bn_momentum: float) -> list:
        """The trunk alone: (B, S, S, 3) normalised images -> tapped maps from the finest on, and the trunk's end."""
        draw = _MobileNetLayers(bn_momentum)
        x = draw.conv_bn(x, self.stem_channels, "stem", kernel=3, stride=2)
        ends = []
        for stage in self.list_blocks():
            for name, sizes in stage:
                x = draw.block(x, name, **sizes)
            ends.append(x)
        if self.last_channels:
            x = draw.conv_bn(x, self.last_channels, f"stride{self.multiple}_last")
        return [*(ends[tap] for tap in self.taps), x]


class _MobileNetLayers:
    """Draws on symbolic tensors; a class only because every layer needs the BatchNormalization momentum.

    The trunk computes in float32 also under mixed precision: gradients of depthwise convolutions take up to ten times as long
    in bfloat16 on processors, and BatchNormalization half as long again, which is more than the 1x1 convolutions gain.
    """

    def __init__(self, bn_momentum: float):
        self.bn_momentum = bn_momentum

    def block(self, x: Tensor, name: str, *, channels: int, kernel: int, expansion: int, stride: int) -> Tensor:
        """An inverted residual block of a MobileNet; the input is added where it has the output's shape."""
        y = self.conv_bn(x, expansion * x.shape[-1], f"{name}_expand") if expansion > 1 else x
        y = layers.DepthwiseConv2D(
            kernel,
            stride,
            "same",
            use_bias=False,
            depthwise_initializer=_draw_initializer(),
            name=f"{name}_depthwise_conv",
            dtype="float32",
        )(y)
        y = self.normalise(y, f"{name}_depthwise")
        y = self.conv_bn(y, channels, f"{name}_project", relu=False)
        return layers.Add(name=f"{name}_add", dtype="float32")([x, y]) if stride == 1 and x.shape[-1] == channels else y

    def conv_bn(self, x: Tensor, channels: int, name: str, *, kernel: int = 1, stride: int = 1, relu: bool = True) -> Tensor:
        """Of a MobileNet: convolution without bias, BatchNormalization, ReLU6 unless told not to; TensorFlow's padding."""
        how = {"use_bias": False, "kernel_initializer": _draw_initializer(), "name": f"{name}_conv", "dtype": "float32"}
        x = layers.Conv2D(channels, kernel, stride, "same", **how)(x)
        return self.normalise(x, name, relu)

    def normalise(self, x: Tensor, name: str, relu: bool = True) -> Tensor:
        """BatchNormalization as a MobileNet has it, and ReLU6 unless told not to."""
        how = {"momentum": self.bn_momentum, "epsilon": 1e-3, "dtype": "float32"}
        x = BatchNormalization(name=f"{name}_bn", **how)(x)
        return layers.ReLU(6.0, name=f"{name}_relu", dtype="float32")(x) if relu else x


def _draw_initializer() -> keras.Initializer:
    """How the reference draws a MobileNet's kernels; one for each layer, because equal ones draw equal numbers."""
    return keras.initializers.TruncatedNormal(stddev=0.09)
