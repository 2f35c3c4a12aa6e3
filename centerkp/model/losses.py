"""Losses of one training step, by name: focal for the heat maps, masked L1 for everything else.

Penalty-reduced focal loss with exponents 2 and 4: "Objects as Points" (Zhou et al. 2019), equation 1. Normalisers as in
TensorFlow's CenterNet.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from keras import ops

from centerkp.codec.cells import take_pairs
from centerkp.codec.targets import NEIGHBOURS
from centerkp.heads import Tensor

# The weights of the zoo's training configuration.
DEFAULT_WEIGHTS = {
    "center_heatmap": 1.0,
    "center_offset": 1.0,
    "box_size": 0.1,
    "keypoint_heatmap": 1.0,
    "keypoint_offset": 1.0,
    "keypoint_regression": 0.1,
}
_CLIP = 1e-4


def focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """The focal loss of a heat map, cell by cell, of the arguments' shape; positive cells are where `target` is 1."""
    p = ops.clip(ops.sigmoid(logits), _CLIP, 1 - _CLIP)
    positive = -ops.square(1 - p) * ops.log(p)
    negative = -((1 - target) ** 4) * ops.square(p) * ops.log(1 - p)
    return ops.where(target == 1.0, positive, negative)


def sparse_l1(values: Tensor, target: Mapping) -> Tensor:
    """The L1 loss of sparse targets: |prediction - target| over x and y, times weight, (B, N) from a map (B, H, W, 2n)."""
    return ops.sum(ops.abs(take_pairs(values, target["index"]) - target["value"]), axis=-1) * target["weight"]


def count_labels(targets: Mapping, keypoint_mask: np.ndarray) -> dict:
    """What the losses of a batch are divided by, `{head: count}`: its objects, or (C,) labelled keypoints by class; 1 at least.

    Args:
        targets, keypoint_mask: as for `compute_losses`.
    """
    groups = ops.convert_to_tensor(keypoint_mask.astype("float32"))
    objects = ops.sum(ops.cast(targets["box_size"]["weight"] > 0, "float32"))
    counts = dict.fromkeys(("center_heatmap", "center_offset", "box_size"), objects)
    if "keypoint_heatmap" in targets:
        counts["keypoint_heatmap"] = ops.matmul(groups, ops.sum(targets["keypoint_counts"], axis=0))
        for head in ("keypoint_offset", "keypoint_regression"):
            counts[head] = ops.matmul(groups, _sum_points(targets[head]["weight"], keypoint_mask))
    return {head: ops.maximum(count, 1.0) for head, count in counts.items()}


def compute_losses(
    stacks: Sequence[Mapping],
    targets: Mapping,
    keypoint_mask: np.ndarray,
    class_weights: Sequence[float] | None = None,
    counts: Mapping | None = None,
) -> dict:
    """All losses of a step as `{head: scalar}`, averaged over stacks, not yet weighted.

    Args:
        stacks: the network's output, one `{head: (B, H, W, channels)}` per stack.
        targets: from `codec.targets.render_targets`.
        keypoint_mask: (C, K) bool. The keypoint terms are normalised class by class, so that a class with few labelled
            points counts as much as one with many, and then summed.
        class_weights: (C,) factors for the keypoint terms of each class; 1 by default.
        counts: what the losses are divided by, from `count_labels`; by default that of these targets. With that of a larger
            batch, the losses of its parts sum up to its own.
    """
    groups = ops.convert_to_tensor(keypoint_mask.astype("float32"))
    class_weights = ops.convert_to_tensor(np.ones(len(keypoint_mask)) if class_weights is None else class_weights, "float32")
    counts = counts or count_labels(targets, keypoint_mask)

    def loss_of(head: str, values: Tensor) -> Tensor:
        if head == "center_heatmap":
            return ops.sum(focal_loss(values, targets[head]) * targets["center_mask"]) / counts[head]
        if head == "keypoint_heatmap":
            points = ops.sum(focal_loss(values, targets[head]) * targets["keypoint_mask"], axis=(0, 1, 2))
        elif head in ("center_offset", "box_size"):
            return ops.sum(sparse_l1(values, targets[head])) / counts[head]
        else:
            points = _sum_points(sparse_l1(values, targets[head]), keypoint_mask)
        return ops.sum(class_weights * ops.matmul(groups, points) / counts[head])

    heads = stacks[0].keys()
    return {head: sum(loss_of(head, ops.cast(stack[head], "float32")) for stack in stacks) / len(stacks) for head in heads}


def _sum_points(values: Tensor, keypoint_mask: np.ndarray) -> Tensor:
    """The loss of sparse keypoint targets by keypoint: (B, M * K * 29) -> (K,) sums."""
    count = keypoint_mask.shape[1]
    objects = values.shape[1] // (count * len(NEIGHBOURS))
    return ops.sum(ops.reshape(values, (-1, objects, count, len(NEIGHBOURS))), axis=(0, 1, 3))
