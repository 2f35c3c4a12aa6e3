"""Weights between schemas: the backbone and box heads as a whole, class and keypoint channels by name, the rest fresh."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import keras
import numpy as np

from centerkp.heads import head_channels
from centerkp.model.backbone import Backbone
from centerkp.model.center_net import CenterNet
from centerkp.schema import Schema
from centerkp.wording import suggest


@dataclass(frozen=True)
class TransferReport:
    """What came from where: for every class and keypoint the source's name, or None for fresh ones.

    `backbone` counts the variables moved, `left_behind` those of stacks that the target does not have; `source` is what the
    source is called in the lines, e.g. "coco".
    """

    backbone: int
    left_behind: int
    classes: dict[str, str | None]
    keypoints: dict[str, str | None]
    source: str = ""

    def lines(self) -> list[str]:
        """What was transferred, for the terminal, one line per group of heads."""
        rest = f" ({self.left_behind} of further stacks left behind)" if self.left_behind else ""
        lines = [f"backbone {self.backbone}/{self.backbone} variables{rest}, box_size and center_offset whole"]
        prefix = f"{self.source}:" if self.source else ""
        for head, names in (("center_heatmap", self.classes), ("keypoint heads", self.keypoints)):
            moved = [f"{k} <- {prefix}{v}" for k, v in names.items() if v]
            fresh = [f"{k} fresh" for k, v in names.items() if not v]
            if len(moved) > 40:  # COCO as it is
                moved = [f"{len(moved)} of {len(names)} <- {self.source or 'the same names'}"]
            if names:
                lines.append(f"{head}: " + ", ".join(moved + fresh))
        return lines


def transfer_weights(
    source: CenterNet, target: CenterNet, keypoint_map: Mapping[str, str] | None = None, *, source_name: str = ""
) -> TransferReport:
    """Moves weights that mean the same from the `source` model into the `target` model.

    Class channels move when the names agree, keypoint channels when the names of the keypoints agree (those of the same class
    first), ignoring case. Channels without a partner stay fresh: equal shapes with other meanings do not move. A target of
    fewer stacks takes the source's first ones, with their own heads.

    Args:
        keypoint_map: further partners, `{target keypoint: source keypoint}`, as "snout" or "dog/snout".
        source_name: what to call the source in the report.

    Raises:
        ValueError: the target's backbone is not wholly in the source, or `keypoint_map` names a keypoint that is not there.
    """
    classes = _match_classes(source.schema, target.schema)
    keypoints = _match_keypoints(source.schema, target.schema, keypoint_map or {})
    heads = {head: keypoints for head in head_channels(target.schema)}
    heads |= {"center_heatmap": classes, "center_offset": {0: 0}, "box_size": {0: 0}}
    _check_hidden_layers(source, target, [head for head, pairs in heads.items() if pairs])
    ours, theirs = _backbone_variables(target), _backbone_variables(source)
    _check_backbone(source, target, ours, theirs)
    # Copies: on JAX a model gives its own arrays away when it computes, and both may be used afterwards.
    for name, variable in ours.items():
        variable.assign(keras.ops.copy(theirs[name]))
    for stack in range(target.backbone.stacks):
        for head, pairs in heads.items():
            if pairs:
                _move_head(source, target, f"stack{stack}_{head}", pairs, 1 if head.endswith("heatmap") else 2)
    name_of = source.schema.keypoint_names
    return TransferReport(
        len(ours),
        len(theirs) - len(ours),
        {n: source.schema.class_names[classes[i]] if i in classes else None for i, n in enumerate(target.schema.class_names)},
        {n: name_of[keypoints[i]] if i in keypoints else None for i, n in enumerate(target.schema.keypoint_names)},
        source_name,
    )


def _backbone_variables(model: CenterNet) -> dict:
    """The variables of a model's backbone, by path, to be transferred."""
    layers = [layer for layer in model.layers if not model.find_head(layer.name) and layer.name != "normalise"]
    return {f"{layer.name}/{variable.name}": variable for layer in layers for variable in layer.weights}


def _check_backbone(source: CenterNet, target: CenterNet, ours: Mapping, theirs: Mapping) -> None:
    """Refuses to transfer between backbones that differ."""
    stacks = target.backbone.stacks

    def is_further(name: str) -> bool:
        """Whether the variable serves only stacks that the target does not have."""
        stack = re.match(r"stack(\d+)_(next_)?", name)
        return bool(stack) and int(stack[1]) + bool(stack[2]) >= stacks

    differing = [n for n, v in ours.items() if n not in theirs or tuple(theirs[n].shape) != tuple(v.shape)]
    differing += [n for n in theirs if n not in ours and not is_further(n)]
    if differing:
        raise ValueError(
            f"Weights: {len(differing)} of {len(ours)} backbone variables differ, the first is {differing[0]}; found weights "
            f"of {source.backbone}, expected {target.backbone}; build the model with the weights' own backbone."
        )


def _check_hidden_layers(source: CenterNet, target: CenterNet, heads: list[str]) -> None:
    """Refuses to transfer between heads with different hidden layers."""
    for head in heads:
        found, expected = (_describe_hidden(model.backbone, head) for model in (source, target))
        if found != expected:
            raise ValueError(
                f"Weights: the hidden layer of {head} has {found} channels, expected {expected}; build the model with "
                f"head_channels={source.backbone.head_channels}, separable_heads={source.backbone.separable_heads}."
            )


def _describe_hidden(backbone: Backbone, head: str) -> str:
    """The hidden widths of a model's heads, for the error when weights cannot be transferred."""
    filters = backbone.depthwise_filters(head)
    return f"{backbone.hidden_channels(head)}{f' separable ({filters})' if filters else ''}"


def _match_classes(source: Schema, target: Schema) -> dict[int, int]:
    """Which class's weights go where: target class -> source class of the same name."""
    theirs = {name.lower(): i for i, name in enumerate(source.class_names)}
    return {i: theirs[name.lower()] for i, name in enumerate(target.class_names) if name.lower() in theirs}


def _list_keypoints(schema: Schema) -> list[tuple[str, str]]:
    """Class and keypoint of every place on a schema's flat axis, in lower case, to match weights by."""
    return [(kind.name.lower(), name.lower()) for kind in schema.classes for name in kind.keypoints]


def _match_keypoints(source: Schema, target: Schema, keypoint_map: Mapping[str, str]) -> dict[int, int]:
    """Which keypoint's weights go where: flat target keypoint -> flat source keypoint."""
    theirs, ours = _list_keypoints(source), _list_keypoints(target)
    # The first of several equal names wins, hence the reversed order; "class/keypoint" is a name as well.
    by_name = {name: i for i, (_, name) in reversed(list(enumerate(theirs)))}
    by_name |= {f"{kind}/{name}": i for i, (kind, name) in enumerate(theirs)}
    wanted = {k.lower(): v.lower() for k, v in keypoint_map.items()}
    own_names = {name for _, name in ours} | {f"{kind}/{name}" for kind, name in ours}
    asked = [(name, by_name, "weights") for name in wanted.values()] + [(name, own_names, "dataset") for name in wanted]
    for name, known, where in asked:
        if name not in known:
            raise ValueError(
                f"map_keypoint: found '{name}', expected a keypoint of the {where}{suggest(name, known)}; it has "
                f"{sorted(known)}."
            )
    pairs = {}
    for i, (kind, own) in enumerate(ours):
        name = wanted.get(f"{kind}/{own}", wanted.get(own, own))
        partner = by_name.get(f"{kind}/{name}", by_name.get(name))
        if partner is not None:
            pairs[i] = partner
    return pairs


def _move_head(source: CenterNet, target: CenterNet, name: str, pairs: Mapping[int, int], width: int) -> None:
    """Moves the weights of a head's channels that mean the same."""
    hidden, last = ([model.get_layer(n).weights for model in (target, source)] for n in (f"{name}_hidden", name))
    for ours, theirs in zip(*hidden, strict=True):
        ours.assign(keras.ops.copy(theirs))
    to, fro = (np.array([width * i + j for i in side for j in range(width)]) for side in (pairs.keys(), pairs.values()))
    for ours, theirs in zip(*last, strict=True):
        values = np.array(keras.ops.convert_to_numpy(ours))
        values[..., to] = keras.ops.convert_to_numpy(theirs)[..., fro]
        ours.assign(values)
