"""What a backbone is: the answers that the rest of the house asks of it, whatever its layers are."""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, ClassVar

from centerkp.heads import FREEZABLE, Tensor


class Backbone(ABC):
    """A network from images to feature maps at stride 4; each kind is a frozen dataclass whose fields are its widths.

    Names of its layers begin with `stem_`, and in a trunk that may be frozen up to a stride with `strideN_`, where N is the
    stride they compute at; layers of the pyramid above a trunk begin with neither.

    Attributes:
        kind: what its config is known by (`backbones.KINDS`).
        stacks: how many feature maps `build` gives, each with heads of its own; the last is decoded.
        multiple: input sides must be multiples of this.
        mean, std: of red, green and blue on the scale 0..255; the network reads (x - mean) / std.
        separable_heads: 0 where the 3x3 convolution of a head is an ordinary one; else it is depthwise, with so many filters
            for each channel, and 1x1. One number or `{head: number}`.
        head_channels: hidden width of the heads, one number or `{head: width}`.
        freezable: what `CenterNet.freeze` takes.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]  # of every kind
    kind: ClassVar[str]
    stacks = 1
    multiple = 32
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    separable_heads: int | dict[str, int] = 0
    head_channels: int | dict[str, int]
    freezable = tuple(part for part in FREEZABLE if part != "filters")

    @abstractmethod
    def build(self, x: Tensor, bn_momentum: float) -> list:
        """Any backbone: (B, S, S, 3) normalised images -> one (B, S/4, S/4, channels) per stack; Keras tensors in and out."""

    @abstractmethod
    def count_blocks(self) -> int:
        """Blocks of layers of any backbone: what says, before it is drawn, how long a network is."""

    def hidden_channels(self, head: str) -> int:
        """Width of a head's hidden layer on this backbone."""
        return self.head_channels[head] if isinstance(self.head_channels, dict) else self.head_channels

    def depthwise_filters(self, head: str) -> int:
        """Filters for each channel in a head's hidden layer; 0 where that is an ordinary convolution."""
        return self.separable_heads[head] if isinstance(self.separable_heads, dict) else self.separable_heads

    def describe(self) -> str:
        """Any backbone's widths in a line, for the terminal."""
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self.get_config().items() if name != "kind")

    def get_config(self) -> dict:
        """Kind and fields of any backbone, as JSON has them."""
        return {"kind": self.kind} | {name: _as_lists(value) for name, value in asdict(self).items()}


def is_within(layer_name: str, part: str) -> bool:
    """Whether a layer of a backbone, by its name, belongs to a part that can be frozen, as "stem" or "stride8".

    The parts are "stem", "stride8" for all of the trunk down to there, and "filters" for all of the trunk but the 1x1
    convolutions below stride 8: what they put together trains, what is put together and how it is normalised stays.
    """
    if layer_name.startswith("stem"):
        return True
    stride = re.match(r"stride(\d+)_", layer_name)
    if not stride or part == "stem":
        return False
    if part == "filters":
        return is_within(layer_name, "stride8") or layer_name.endswith(("_depthwise_conv", "_bn"))
    return int(stride[1]) <= int(part.removeprefix("stride"))


def as_tuples(value: Any) -> Any:
    """A backbone's field as JSON has it -> as a frozen dataclass has it."""
    return tuple(as_tuples(one) for one in value) if isinstance(value, (list, tuple)) else value


def _as_lists(value: Any) -> Any:
    """A field of any backbone as JSON can hold it: tuples as lists."""
    return [_as_lists(one) for one in value] if isinstance(value, tuple) else value


def check_image_size(size: int | Sequence[int], multiple: int) -> tuple[int, int]:
    """The input size of a CenterNet, a side or (width, height), as (width, height).

    Raises:
        ValueError: a side is not a multiple of `multiple`; names the nearest valid sizes.
    """
    width, height = (size, size) if isinstance(size, int) else tuple(size)
    for side, name in ((width, "width"), (height, "height")):
        if side <= 0 or side % multiple:
            raise ValueError(f"image_size, {name}: found {nearest_sizes(side, multiple)}")
    return int(width), int(height)


def nearest_sizes(side: int, multiple: int) -> str:
    """What was found and expected of a side that a CenterNet cannot take, with the valid ones around it."""
    below = max(side // multiple, 1) * multiple
    above = max(math.ceil(side / multiple), 1) * multiple
    nearest = f"{below}" if below == above else f"{below} or {above}"
    return f"{side}, expected a multiple of {multiple} for this backbone; use {nearest}."
