"""All backbones by name, and the kinds that their configs may be of."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from centerkp.model.backbone import Backbone
from centerkp.model.hourglass import Hourglass
from centerkp.model.mobilenet import MobileNet
from centerkp.model.resnet import ResNetV1, ResNetV2

KINDS = {kind.kind: kind for kind in (Hourglass, MobileNet, ResNetV1, ResNetV2)}
# "EfficientNet" (Tan & Le 2019) without squeeze-and-excite, its Lite0: the same blocks as MobileNetV2's, other numbers.
EFFICIENTNET_LITE0 = MobileNet(
    stages=(
        (3, 1, 16, 1, 1),
        (3, 2, 24, 6, 2),
        (5, 2, 40, 6, 2),
        (3, 3, 80, 6, 2),
        (5, 3, 112, 6, 1),
        (5, 4, 192, 6, 2),
        (3, 1, 320, 6, 1),
    ),
    taps=(1, 2, 4),
    last_channels=0,
    pyramid_channels=(96, 96, 72, 48),
    separable_pyramid=False,
    context_blocks=2,
    separable_heads=0,
    head_channels=48,
    mean=(127, 127, 127),
    std=(128, 128, 128),
)
# The reference's variants. In the small hourglasses the heads are as wide as the backbone's full map (the reference has 256
# everywhere), because six 3x3x256 convolutions at full resolution would cost more than the backbone itself.
BACKBONES = {
    "hourglass_104": Hourglass(),
    "hourglass_52": Hourglass(64, (128, 128, 192, 192, 192, 256), (2, 2, 2, 2, 2, 4), stacks=1),
    "hourglass_32": Hourglass(48, (96, 96, 144, 144), (2, 2, 2, 2), stacks=1),
    "hourglass_20": Hourglass(48, (96, 96, 144), (1, 2, 2), stacks=1),
    "hourglass_10": Hourglass(32, (64, 64), (1, 1), stacks=1),
    "mobilenetv2_fpn": MobileNet(),
    "efficientnet_lite0_fpn": EFFICIENTNET_LITE0,
    "resnet50_v1_fpn": ResNetV1(),
    "resnet50_v2": ResNetV2(),
}


def find_backbone(backbone: str | Mapping | Backbone, **changes: Any) -> Backbone:
    """A backbone by name, by its config or as it is, with the given fields changed (None changes nothing).

    Raises:
        ValueError: an unknown name, kind or field, or fields that fit no network.
    """
    if isinstance(backbone, str):
        if backbone not in BACKBONES:
            raise ValueError(f"backbone: found '{backbone}', expected one of {list(BACKBONES)}.")
        backbone = BACKBONES[backbone]
    elif isinstance(backbone, Mapping):
        backbone = _read_backbone_config(backbone)
    changes = {name: value for name, value in changes.items() if value is not None}
    if "stacks" not in _field_names(type(backbone)) and changes.pop("stacks", 1) != 1:
        raise ValueError(
            f"stacks: found several for {name_backbone(backbone) or backbone}, expected 1; only hourglasses stack."
        )
    return replace(backbone, **changes)


def _read_backbone_config(config: Mapping) -> Backbone:
    """A backbone from the config that a model file holds, of one of `KINDS`."""
    values = dict(config)
    name = values.pop("kind", Hourglass.kind)  # files from before there were others do not name it
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError(f"backbone, kind: found {name!r}, expected one of {list(KINDS)}.")
    unknown = sorted(set(values) - _field_names(kind))
    if unknown:
        raise ValueError(f"backbone of kind '{name}': found {unknown}, expected some of {sorted(_field_names(kind))}.")
    return kind(**values)


def _field_names(kind: type[Backbone]) -> set[str]:
    """Which fields can be changed of a kind of backbone."""
    return {one.name for one in fields(kind)}


def same_body(one: Backbone, other: Backbone) -> bool:
    """Whether two backbones are the same but for the number of stacks and the widths of the heads."""
    return _bare_body(one) == _bare_body(other)


def _bare_body(spec: Backbone) -> Backbone:
    """A backbone with one stack and heads of one width: what `same_body` compares."""
    # Filters for each channel are a width too, none at all (0) are another kind of head.
    filters = spec.separable_heads
    separable = {"separable_heads": 1} if isinstance(filters, dict) or filters else {}
    return find_backbone(spec, stacks=1, head_channels=1, **separable)


def name_backbone(spec: Backbone) -> str | None:
    """The name of the variant a backbone is, whatever its stacks and heads; None for one of its own widths."""
    return next((name for name, variant in BACKBONES.items() if same_body(variant, spec)), None)
