"""The checkpoints of TensorFlow's model zoo: what their variables are called, and how they become this package's.

Keys are those of an object-based checkpoint without the suffix `/.ATTRIBUTES/VARIABLE_VALUE`. Two things are turned on the way:
the first convolution of a network that reads blue, green, red reads red, green, blue here, and the last convolutions answer x
before y, width before height.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import keras
import numpy as np
from keras import layers

from centerkp.model.center_net import CenterNet
from centerkp.weights.zoo_layers import BGR, backbone_keys

HEADS = "model/_prediction_head_dict"
BOX_HEADS = {"center_heatmap": "object_center", "center_offset": "box.Soffset", "box_size": "box.Sscale"}

Reader = Callable[[str], np.ndarray]


@dataclass(frozen=True)
class Task:
    """The keypoints of one class, as a checkpoint has them.

    Attributes:
        name: what its heads' keys begin with.
        keypoints: how many.
        hidden: `{our head: width of the hidden layer}`; for the heads not named, an equal share of ours.
        shared_offset: there is one offset for all its keypoints instead of one for each.
    """

    name: str
    keypoints: int
    hidden: Mapping[str, int] = field(default_factory=dict)
    shared_offset: bool = False


@dataclass(frozen=True)
class Source:
    """Where a part of one of our variables comes from: the checkpoint's key and shape, and the part of ours that it fills.

    `turn` changes the order of channels from theirs to ours.
    """

    key: str
    shape: tuple[int, ...]
    where: tuple[Any, ...]  # an index: slices, and an ellipsis
    turn: Callable[[np.ndarray], np.ndarray]


def weight_sources(model: CenterNet, tasks: Mapping[int, Task]) -> dict[str, list[Source]]:
    """For every variable of `model`, by path, the zoo checkpoint's it is made of; several where keypoint tasks meet.

    Several tasks become one flat axis exactly: their hidden layers stand side by side, and the last convolution is
    block-diagonal. Of a separable hidden layer, each task has its own depthwise filter for every channel.

    Args:
        tasks: the task of each class that has keypoints, by class id.
    """
    weighted = [layer for layer in model.layers if layer.weights and layer.name != "normalise"]
    keys = backbone_keys(model.backbone, [layer.name for layer in weighted if not model.find_head(layer.name)])
    sources = {}
    for layer in weighted:
        found = model.find_head(layer.name)
        for variable in layer.weights:
            name = "depthwise_kernel" if isinstance(layer, layers.DepthwiseConv2D) else variable.name
            if found:
                parts = _head_parts(model, *found, tasks)
                sources[variable.path] = _head_sources(variable, parts, found[1], hidden=layer.name.endswith("_hidden"))
            else:
                is_first = layer.name == "stem_conv" and name == "kernel" and isinstance(model.backbone, BGR)
                turn = _reverse_inputs if is_first else _keep_channels
                source = Source(f"{keys[layer.name]}/{name}", tuple(variable.shape), (slice(None),), turn)
                sources[variable.path] = [source]
    return sources


def port_weights(model: CenterNet, read: Reader, tasks: Mapping[int, Task]) -> Iterator[tuple[str, np.ndarray]]:
    """Every weight of `model`, made from a zoo checkpoint: pairs of our path and value, one in memory at a time.

    Args:
        read: gives the array of a key.
        tasks: the task of each class that has keypoints, by class id.
    """
    shapes = {v.path: tuple(v.shape) for v in model.weights}
    for path, sources in weight_sources(model, tasks).items():
        value = np.zeros(shapes[path], np.float32)
        for source in sources:
            value[source.where] = source.turn(read(source.key))
        yield path, value


@dataclass(frozen=True)
class _HeadPart:
    """A checkpoint's head behind one of ours: its key, its hidden width, the channels it fills and those it has itself."""

    key: str
    hidden: int
    channels: int
    own_channels: int


def _head_parts(model: CenterNet, stack: int, head: str, tasks: Mapping[int, Task]) -> list[_HeadPart]:
    """The zoo checkpoint's heads behind one of ours: one, or one for each class with keypoints."""
    hidden = model.backbone.hidden_channels(head)
    if head in BOX_HEADS:
        channels = model.schema.num_classes if head == "center_heatmap" else 2
        return [_HeadPart(f"{HEADS}/{BOX_HEADS[head]}/{stack}", hidden, channels, channels)]
    leaf = head.removeprefix("keypoint_")
    parts = []
    for class_id in sorted(tasks):
        task = tasks[class_id]
        channels = task.keypoints * (1 if leaf == "heatmap" else 2)
        own = 2 if leaf == "offset" and task.shared_offset else channels
        key = f"{HEADS}/{task.name}.Skeypoint.S{leaf}/{stack}"
        parts.append(_HeadPart(key, task.hidden.get(head, hidden // len(tasks)), channels, own))
    return parts


def _head_sources(variable: keras.Variable, parts: list[_HeadPart], head: str, hidden: bool) -> list[Source]:
    """Where a variable of one of our heads comes from in the zoo's checkpoint."""
    sources = []
    rows = _consecutive_slices([part.hidden for part in parts])
    columns = rows if hidden else _consecutive_slices([part.channels for part in parts])
    for i, (part, row, column) in enumerate(zip(parts, rows, columns, strict=True)):
        key = f"{part.key}/layer_with_weights-{0 if hidden else 1}/{variable.name}"
        width = part.hidden if hidden else part.own_channels
        if variable.name == "bias":
            shape, where = (width,), (column,)
        elif variable.name == "depthwise_kernel":
            shape, where = (*variable.shape[:3], 1), (..., slice(i, i + 1))
        elif variable.name == "pointwise_kernel":
            shape = (1, 1, variable.shape[2] // len(parts), width)
            where = (slice(None), slice(None), slice(i, None, len(parts)), column)
        elif hidden:
            shape, where = (*variable.shape[:3], width), (..., column)
        else:
            shape, where = (1, 1, part.hidden, width), (slice(None), slice(None), row, column)
        # One offset shared by a task's keypoints becomes the same offset for each.
        pairs = not hidden and not head.endswith("heatmap")
        turn = partial(_swap_pairs, times=part.channels // width) if pairs else _keep_channels
        sources.append(Source(key, tuple(shape), where, turn))
    return sources


def _consecutive_slices(widths: list[int]) -> list[slice]:
    """Slices of channels of these widths, one after another, for the tasks that a zoo checkpoint has side by side."""
    return [slice(*ends) for ends in pairwise(accumulate(widths, initial=0))]


def _keep_channels(values: np.ndarray) -> np.ndarray:
    """Channels that are the same in a zoo checkpoint and here."""
    return values


def _reverse_inputs(values: np.ndarray) -> np.ndarray:
    """A kernel's input channels the other way round: blue, green, red in the zoo's checkpoint, red, green, blue here."""
    return values[:, :, ::-1]


def _swap_pairs(values: np.ndarray, times: int = 1) -> np.ndarray:
    """(..., 2n) channels y0, x0, y1, x1, ... of the zoo -> x0, y0, x1, y1, ..., all of them `times` over."""
    return np.tile(values.reshape(*values.shape[:-1], -1, 2)[..., ::-1].reshape(values.shape), times)
