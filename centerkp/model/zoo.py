"""The checkpoints of TensorFlow's model zoo: what their variables are called, and how they become this package's.

Keys are those of an object-based checkpoint without the suffix `/.ATTRIBUTES/VARIABLE_VALUE`. Two things are turned on the
way: the first convolution reads red, green, blue instead of blue, green, red, and the last convolutions answer x before y,
width before height.
"""

import re
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from centerkp.model.center_net import CenterNet

BACKBONE = "model/_feature_extractor/_network"
HEADS = "model/_prediction_head_dict"
_BOX_HEADS = {"center_heatmap": "object_center", "center_offset": "box.Soffset", "box_size": "box.Sscale"}
_PARTS = {"shortcut": "encoder_block1", "down": "encoder_block2", "up": "decoder_block"}
_CONVOLUTIONS = {"1": "conv_block/", "2": "", "skip": "skip/"}
_BETWEEN = {"input": "intermediate_conv1", "feature": "intermediate_conv2", "block": "intermediate_residual"}

Reader = Callable[[str], np.ndarray]


def backbone_key(layer_name: str, levels: int) -> str:
    """The checkpoint's key of a backbone convolution or BatchNormalization, e.g. of `stack0_stage1_up_block0_2_conv`.

    Args:
        levels: halvings of the hourglass; the bottom lies that deep.
    """
    name, kind = layer_name.rsplit("_", 1)
    leaf = {"conv": "conv", "bn": "norm"}[kind]
    if name == "stem":
        return f"{BACKBONE}/downsample_input/conv_block/{leaf}"
    residual = re.fullmatch(r"(.+)_(1|2|skip)", name)
    name, inner = (residual[1], _CONVOLUTIONS[residual[2]]) if residual else (name, "")
    if name == "stem_block":
        return f"{BACKBONE}/downsample_input/residual_block/{inner}{leaf}"
    stack, place = re.fullmatch(r"stack(\d+)_(.+)", name).groups()
    if place == "feature":
        return f"{BACKBONE}/output_conv/{stack}/{leaf}"
    if place.startswith("next_"):
        return f"{BACKBONE}/{_BETWEEN[place[5:]]}/{stack}/{inner}{leaf}"
    level, part, block = re.fullmatch(r"(?:stage(\d+)_)?(\w+)_block(\d+)", place).groups()
    depth = levels - 1 if part == "bottom" else int(level)
    where = f"{'inner_block/0/' * depth}{_PARTS.get(part, 'inner_block')}"
    return f"{BACKBONE}/hourglass_network/{stack}/{where}/{block}/{inner}{leaf}"


def head_keys(stack: int, head: str, tasks: Mapping[int, str]) -> list[str]:
    """The checkpoint's heads behind one of ours: one per keypoint task for the keypoint heads, in the order of class ids."""
    if head in _BOX_HEADS:
        return [f"{HEADS}/{_BOX_HEADS[head]}/{stack}"]
    leaf = head.removeprefix("keypoint_")
    return [f"{HEADS}/{tasks[class_id]}.Skeypoint.S{leaf}/{stack}" for class_id in sorted(tasks)]


def port_weights(model: CenterNet, read: Reader, tasks: Mapping[int, str]) -> Iterator[tuple[str, np.ndarray]]:
    """Every weight of `model`, made from a checkpoint: pairs of our variable path and value, in the model's order.

    Several keypoint tasks become one flat axis exactly: their hidden layers stand side by side, and the last convolution is
    block-diagonal.

    Args:
        read: gives the array of a key.
        tasks: the checkpoint's task name of each class that has keypoints.
    """
    levels = len(model.backbone.channels) - 1
    for layer in model.layers:
        variables = {v.name: v for v in layer.weights}
        head = re.fullmatch(r"stack(\d+)_(\w+?)(_hidden)?", layer.name)
        if not variables or layer.name == "normalise":
            continue
        if head and head[2] in model.loss_weights:
            values = _port_head(read, head_keys(int(head[1]), head[2], tasks), head[2], hidden=bool(head[3]))
        else:
            key = backbone_key(layer.name, levels)
            values = {name: read(f"{key}/{name}") for name in variables}
            if layer.name == "stem_conv":
                values["kernel"] = values["kernel"][:, :, ::-1]
        for name, variable in variables.items():
            yield variable.path, values[name]


def _port_head(read: Reader, keys: list[str], head: str, hidden: bool) -> dict[str, np.ndarray]:
    part = f"layer_with_weights-{0 if hidden else 1}"
    kernels, biases = ([read(f"{key}/{part}/{leaf}") for key in keys] for leaf in ("kernel", "bias"))
    if hidden:
        return {"kernel": np.concatenate(kernels, axis=-1), "bias": np.concatenate(biases)}
    if not head.endswith("heatmap"):
        kernels, biases = ([_swap_pairs(a) for a in arrays] for arrays in (kernels, biases))
    kernel = np.zeros((1, 1, *np.sum([k.shape[2:] for k in kernels], axis=0)), np.float32)
    row = column = 0
    for block in kernels:
        rows, columns = block.shape[2:]
        kernel[:, :, row : row + rows, column : column + columns] = block
        row, column = row + rows, column + columns
    return {"kernel": kernel, "bias": np.concatenate(biases)}


def _swap_pairs(values: np.ndarray) -> np.ndarray:
    """(..., 2n) channels y0, x0, y1, x1, ... -> x0, y0, x1, y1, ..."""
    return values.reshape(*values.shape[:-1], -1, 2)[..., ::-1].reshape(values.shape)
