"""What the layers of a backbone are called in checkpoints, and which backbone the names of a checkpoint speak of.

An hourglass names its parts. The other networks were drawn with Keras's functional API, and a checkpoint counts their layers
that have weights: those of the trunk in `_base_model`, those of the pyramid in `_feature_extractor_model`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from centerkp.model.backbone import Backbone
from centerkp.model.hourglass import Hourglass
from centerkp.model.mobilenet import MobileNet
from centerkp.model.resnet import ResNetV1, ResNetV2

EXTRACTOR = "model/_feature_extractor"
NETWORK = f"{EXTRACTOR}/_network"  # of an hourglass
TRUNK = f"{EXTRACTOR}/_base_model/layer_with_weights-"
PYRAMID = f"{EXTRACTOR}/_feature_extractor_model/layer_with_weights-"
BGR = (Hourglass, ResNetV1)  # read blue, green, red
_PARTS = {"shortcut": "encoder_block1", "down": "encoder_block2", "up": "decoder_block"}
_CONVOLUTIONS = {"1": "conv_block/", "2": "", "skip": "skip/"}
_BETWEEN = {"input": "intermediate_conv1", "feature": "intermediate_conv2", "block": "intermediate_residual"}
# The layers with weights of a residual block in the order in which Keras counts them, the first of a stage and the others.
_V1_FIRST = ("1_conv", "1_bn", "2_conv", "2_bn", "skip_conv", "3_conv", "skip_bn", "3_bn")
_V1 = ("1_conv", "1_bn", "2_conv", "2_bn", "3_conv", "3_bn")
_V2_FIRST = ("before_bn", "1_conv", "1_bn", "2_conv", "2_bn", "skip_conv", "3_conv")
_V2 = ("before_bn", "1_conv", "1_bn", "2_conv", "2_bn", "3_conv")


def backbone_keys(spec: Backbone, layer_names: Iterable[str]) -> dict[str, str]:
    """What a backbone's layers are called in the zoo: the checkpoint's key of each layer by our name."""
    if isinstance(spec, Hourglass):
        return {name: _hourglass_key(name, len(spec.channels) - 1) for name in layer_names}
    trunk = {name: f"{TRUNK}{i}" for i, name in enumerate(_list_trunk(spec))}
    return trunk | {name: f"{PYRAMID}{i}" for i, name in enumerate(_list_pyramid(spec), start=1)}  # 0 is the trunk


def spare_keys(spec: Backbone) -> dict[str, str]:
    """Layers that a zoo checkpoint may hold besides, `{key: what it is}`: those behind what the pyramid reads."""
    if isinstance(spec, (Hourglass, MobileNet)):
        return {}
    spare = ["the unused post_bn"] if isinstance(spec, ResNetV2) else []
    spare.append("the ImageNet classifier")  # archives of 2020
    return {f"{TRUNK}{i}": what for i, what in enumerate(spare, start=len(_list_trunk(spec)))}


def _hourglass_key(layer_name: str, levels: int) -> str:
    """The zoo's key of a layer such as `stack0_stage1_up_block0_2_conv` in an hourglass of so many halvings."""
    name, kind = layer_name.rsplit("_", 1)
    leaf = {"conv": "conv", "bn": "norm"}[kind]
    if name == "stem":
        return f"{NETWORK}/downsample_input/conv_block/{leaf}"
    residual = re.fullmatch(r"(.+)_(1|2|skip)", name)
    name, inner = (residual[1], _CONVOLUTIONS[residual[2]]) if residual else (name, "")
    if name == "stem_block":
        return f"{NETWORK}/downsample_input/residual_block/{inner}{leaf}"
    stack, place = re.fullmatch(r"stack(\d+)_(.+)", name).groups()
    if place == "feature":
        return f"{NETWORK}/output_conv/{stack}/{leaf}"
    if place.startswith("next_"):
        return f"{NETWORK}/{_BETWEEN[place[5:]]}/{stack}/{inner}{leaf}"
    level, part, block = re.fullmatch(r"(?:stage(\d+)_)?(\w+)_block(\d+)", place).groups()
    depth = levels - 1 if part == "bottom" else int(level)
    part = "inner_block/0/" * depth + _PARTS.get(part, "inner_block")
    return f"{NETWORK}/hourglass_network/{stack}/{part}/{block}/{inner}{leaf}"


def _list_trunk(spec: Any) -> list[str]:
    """Our names of the trunk's layers with weights in the order in which the zoo's checkpoints count them."""
    if isinstance(spec, MobileNet):
        names = ["stem"]
        for block, sizes in (one for stage in spec.list_blocks() for one in stage):
            names += [f"{block}_expand"] * (sizes["expansion"] > 1) + [f"{block}_depthwise", f"{block}_project"]
        names += [f"stride{spec.multiple}_last"] * bool(spec.last_channels)
        return [f"{name}_{kind}" for name in names for kind in ("conv", "bn")]
    first, other = (_V1_FIRST, _V1) if isinstance(spec, ResNetV1) else (_V2_FIRST, _V2)
    names = ["stem_conv", "stem_bn"] if isinstance(spec, ResNetV1) else ["stem_conv"]
    for stage, blocks in enumerate(spec.blocks):
        for i in range(blocks):
            names += [f"stride{4 * 2**stage}_block{i}_{layer}" for layer in (other if i else first)]
    return names


def _list_pyramid(spec: Any) -> list[str]:
    """Our names of layers with weights above the trunk, in the order in which the zoo's checkpoints count them."""
    if isinstance(spec, ResNetV2):
        kinds, names, count = ("1_conv", "1_bn", "2_conv", "2_bn"), [], len(spec.upsample_channels)
    else:
        kinds, names, count = ("lateral", "conv", "bn"), ["pyramid_top"], len(spec.pyramid_channels) - 1
    word = "upsample" if isinstance(spec, ResNetV2) else "pyramid"
    return names + [f"{word}{2 * 2 ** (count - level)}_{kind}" for level in range(count) for kind in kinds]


def read_backbone(shapes: Mapping[str, tuple], where: str, **heads: Any) -> Backbone:
    """The backbone that a zoo checkpoint's layer names and shapes speak of; one missing does not lead it astray.

    Args:
        heads: fields of the backbone that describe the heads.

    Raises:
        ValueError: a part is missing altogether.
    """
    if any(key.startswith(f"{NETWORK}/") for key in shapes):
        return _read_hourglass(shapes, where, heads)
    layers = 1 + max(int(re.match(r"\d+", key.removeprefix(TRUNK))[0]) for key in shapes if key.startswith(TRUNK))
    if any(key.startswith(TRUNK) and key.endswith("/depthwise_kernel") for key in shapes):
        separable = any(key.startswith(PYRAMID) and key.endswith("/depthwise_kernel") for key in shapes)
        return MobileNet(pyramid_channels=_read_pyramid(shapes, where), separable_pyramid=separable, **heads)
    # Six layers in each of the 16 or more blocks, two (one) for each of the four shortcuts, and the stem; classifier and
    # post_bn are too few to count. More than 16 blocks stand in the third stage.
    if f"{PYRAMID}2/gamma" in shapes:
        widths = tuple(_read_width(shapes, f"{PYRAMID}{i}/", where) for i in (1, 5, 9))
        return ResNetV2(blocks=(3, 4, max(1, (layers - 5) // 6 - 10), 3), upsample_channels=widths, **heads)
    return ResNetV1(blocks=(3, 4, max(1, (layers - 10) // 6 - 10), 3), pyramid_channels=_read_pyramid(shapes, where), **heads)


def _read_pyramid(shapes: Mapping[str, tuple], where: str) -> tuple[int, ...]:
    """The widths of a pyramid above a trunk from the names and shapes in a zoo checkpoint."""
    return tuple(_read_width(shapes, f"{PYRAMID}{i}/", where) for i in (1, 4, 7, 10))  # the norms count one width alone


def _read_hourglass(shapes: Mapping[str, tuple], where: str, heads: dict) -> Hourglass:
    """An hourglass's widths and depths from the names and shapes in a zoo checkpoint."""
    first = f"{NETWORK}/hourglass_network/0/"
    levels = 0
    while any(key.startswith(f"{first}{'inner_block/0/' * levels}encoder_block1/") for key in shapes):
        levels += 1
    stages = [f"{first}{'inner_block/0/' * level}encoder_block1/" for level in range(levels)]
    stages.append(f"{first}{'inner_block/0/' * (levels - 1)}inner_block/")
    return Hourglass(
        stem_channels=_read_width(shapes, f"{NETWORK}/downsample_input/conv_block/", where),
        channels=tuple(_read_width(shapes, f"{stage}0/", where) for stage in stages),
        blocks=tuple(_count_numbered_parts(shapes, stage) for stage in stages),
        stacks=_count_numbered_parts(shapes, f"{NETWORK}/hourglass_network/"),
        feature_channels=_read_width(shapes, f"{NETWORK}/output_conv/0/", where),
        **heads,
    )


def _read_width(shapes: Mapping[str, tuple], prefix: str, where: str) -> int:
    """Channels of layers in a zoo checkpoint: the last dimension that most variables below `prefix` have."""
    votes = Counter(shape[-1] for key, shape in shapes.items() if key.startswith(prefix) and shape)
    if not votes:
        raise ValueError(f"{where}: found no variable {prefix}..., expected a whole CenterNet; fetch it again.")
    return votes.most_common(1)[0][0]


def _count_numbered_parts(shapes: Mapping[str, tuple], prefix: str) -> int:
    """How many numbered layers or stacks a zoo checkpoint has below a prefix."""
    numbers = [re.match(r"\d+", key[len(prefix) :]) for key in shapes if key.startswith(prefix)]
    return 1 + max(int(n[0]) for n in numbers if n)
