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


def compute_losses(
    stacks: Sequence[Mapping], targets: Mapping, keypoint_mask: np.ndarray, class_weights: Sequence[float] | None = None
) -> dict:
    """All losses of a step as `{head: scalar}`, averaged over stacks, not yet weighted.

    Args:
        stacks: the network's output, one `{head: (B, H, W, channels)}` per stack.
        targets: from `codec.targets.render_targets`.
        keypoint_mask: (C, K) bool. The keypoint terms are normalised class by class, so that a class with few labelled
            points counts as much as one with many, and then summed.
        class_weights: (C,) factors for the keypoint terms of each class; 1 by default.
    """
    groups = ops.convert_to_tensor(keypoint_mask.astype("float32"))
    class_weights = ops.convert_to_tensor(np.ones(len(keypoint_mask)) if class_weights is None else class_weights, "float32")
    objects = ops.sum(ops.cast(targets["box_size"]["weight"] > 0, "float32"))

    def by_class(per_keypoint: Tensor, counts: Tensor) -> Tensor:
        """(K,) sums and (K,) counts -> one number."""
        sums, counts = ops.matmul(groups, per_keypoint), ops.matmul(groups, counts)
        return ops.sum(class_weights * sums / ops.maximum(counts, 1.0))

    def loss_of(head: str, values: Tensor) -> Tensor:
        if head == "center_heatmap":
            total = ops.sum(focal_loss(values, targets[head]) * targets["center_mask"])
            return total / ops.maximum(objects, 1.0)
        if head == "keypoint_heatmap":
            total = ops.sum(focal_loss(values, targets[head]) * targets["keypoint_mask"], axis=(0, 1, 2))
            return by_class(total, ops.sum(targets["keypoint_counts"], axis=0))
        loss = sparse_l1(values, targets[head])
        if head in ("center_offset", "box_size"):
            return ops.sum(loss) / ops.maximum(objects, 1.0)
        return by_class(_sum_points(loss, keypoint_mask), _sum_points(targets[head]["weight"], keypoint_mask))

    heads = stacks[0].keys()
    return {head: sum(loss_of(head, ops.cast(stack[head], "float32")) for stack in stacks) / len(stacks) for head in heads}


def _sum_points(values: Tensor, keypoint_mask: np.ndarray) -> Tensor:
    """The loss of sparse keypoint targets by keypoint: (B, M * K * 29) -> (K,) sums."""
    count = keypoint_mask.shape[1]
    objects = values.shape[1] // (count * len(NEIGHBOURS))
    return ops.sum(ops.reshape(values, (-1, objects, count, len(NEIGHBOURS))), axis=(0, 1, 3))
