"""Weights between schemas: the backbone and box heads as a whole, class and keypoint channels by name, the rest fresh."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from centerkp.heads import head_channels
from centerkp.model.center_net import CenterNet
from centerkp.schema import Schema


@dataclass(frozen=True)
class TransferReport:
    """What came from where.

    `backbone` variables moved, and per class and keypoint the source's name, or None for fresh ones.
    """

    backbone: int
    classes: dict[str, str | None]
    keypoints: dict[str, str | None]

    def lines(self) -> list[str]:
        """For the terminal, one line per head group."""
        lines = [f"backbone {self.backbone}/{self.backbone} variables, box_size and center_offset whole"]
        for head, names in (("center_heatmap", self.classes), ("keypoint heads", self.keypoints)):
            if names:
                lines.append(f"{head}: " + ", ".join(f"{k} <- {v}" if v else f"{k} fresh" for k, v in names.items()))
        return lines


def transfer_weights(source: CenterNet, target: CenterNet, keypoint_map: Mapping[str, str] | None = None) -> TransferReport:
    """Moves what means the same from `source` into `target`.

    Class channels move when the names agree, keypoint channels when the names of the keypoints agree (those of the same class
    first), ignoring case; `keypoint_map` gives further `{target keypoint: source keypoint}`. Channels without a partner stay
    fresh: equal shapes with other meanings do not move.

    Raises:
        ValueError: the backbones differ in any variable, or `keypoint_map` names a keypoint that is not there.
    """
    ours, theirs = _backbone(target), _backbone(source)
    differing = [n for n, v in ours.items() if n not in theirs or theirs[n].shape != v.shape] + [
        n for n in theirs if n not in ours
    ]
    if differing:
        raise ValueError(
            f"Weights: {len(differing)} of {len(ours)} backbone variables differ, the first is {differing[0]}; the weights "
            f"are of {source.backbone}, build the model with the same backbone."
        )
    for name, variable in ours.items():
        variable.assign(theirs[name])
    classes = _match_classes(source.schema, target.schema)
    keypoints = _match_keypoints(source.schema, target.schema, keypoint_map or {})
    for stack in range(target.backbone.stacks):
        for head in head_channels(target.schema):
            width = 1 if head.endswith("heatmap") else 2
            pairs = {"center_heatmap": classes, "center_offset": {0: 0}, "box_size": {0: 0}}.get(head, keypoints)
            if pairs:
                _move_head(source, target, f"stack{stack}_{head}", pairs, width)
    name_of = source.schema.keypoint_names
    return TransferReport(
        len(ours),
        {n: source.schema.class_names[classes[i]] if i in classes else None for i, n in enumerate(target.schema.class_names)},
        {n: name_of[keypoints[i]] if i in keypoints else None for i, n in enumerate(target.schema.keypoint_names)},
    )


def _backbone(model: CenterNet) -> dict:
    heads = {f"stack{i}_{head}{part}" for i in range(model.backbone.stacks) for head in head_channels(model.schema)
             for part in ("", "_hidden")}  # fmt: skip
    layers = [layer for layer in model.layers if layer.name not in heads and layer.name != "normalise"]
    return {f"{layer.name}/{variable.name}": variable for layer in layers for variable in layer.weights}


def _match_classes(source: Schema, target: Schema) -> dict[int, int]:
    theirs = {name.lower(): i for i, name in enumerate(source.class_names)}
    return {i: theirs[name.lower()] for i, name in enumerate(target.class_names) if name.lower() in theirs}


def _match_keypoints(source: Schema, target: Schema, keypoint_map: Mapping[str, str]) -> dict[int, int]:
    """Flat target keypoint -> flat source keypoint."""
    by_class = {full.lower(): i for i, full in reversed(list(enumerate(source.keypoint_names)))}
    by_name = {full.split("/", 1)[1].lower(): i for i, full in reversed(list(enumerate(source.keypoint_names)))}
    wanted = {k.lower(): v.lower() for k, v in keypoint_map.items()}
    unknown = [v for v in wanted.values() if v not in by_name] + [
        k for k in wanted if k not in {n.split("/", 1)[1].lower() for n in target.keypoint_names}
    ]
    if unknown:
        raise ValueError(
            f"map_keypoint: found no keypoint {unknown}; the weights have {sorted(by_name)}, the dataset "
            f"{list(target.keypoint_names)}."
        )
    pairs = {}
    for i, full in enumerate(target.keypoint_names):
        kind, name = full.lower().split("/", 1)
        name = wanted.get(name, name)
        partner = by_class.get(f"{kind}/{name}", by_name.get(name))
        if partner is not None:
            pairs[i] = partner
    return pairs


def _move_head(source: CenterNet, target: CenterNet, name: str, pairs: dict[int, int], width: int) -> None:
    hidden, last = f"{name}_hidden", name
    for ours, theirs in zip(target.get_layer(hidden).weights, source.get_layer(hidden).weights, strict=True):
        if ours.shape != theirs.shape:
            raise ValueError(
                f"Weights: {hidden} has shape {theirs.shape}, expected {ours.shape}; build with the same head_channels."
            )
        ours.assign(theirs)
    to, fro = (np.array([width * i + j for i in side for j in range(width)]) for side in (pairs.keys(), pairs.values()))
    for ours, theirs in zip(target.get_layer(last).weights, source.get_layer(last).weights, strict=True):
        values = np.array(ours)
        values[..., to] = np.array(theirs)[..., fro]
        ours.assign(values)
