"""Heads in a training step computed at the cells that their losses read, a few in a hundred, where there are no more.

All but the heat maps are trained within three cells of the centers of objects and of keypoints alone, and their hidden layers
are half of all that a light backbone multiplies. What is computed there is what the whole map would hold, by the same weights:
losses and gradients are sums of the same products in another order.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from centerkp.codec.cells import mark_cells, number_cells, take_patches
from centerkp.heads import HEATMAP_HEADS, Tensor, head_channels
from centerkp.model.remat import rematerialise

FEATURES = "features"  # name among the maps of what the hidden layers of the heads read
FEW = 8  # times fewer cells than the map has are computed by themselves; where there are more, the whole map is
SIDE = 3  # of the heads' hidden convolutions


def draw_training_network(model: keras.Model, remat: bool) -> Callable[[Tensor], Any]:
    """What a training step of a CenterNet computes of images (B, H, W, 3): a `{head: map}` for each stack.

    Heads that are trained at few cells, and whose hidden layers are ordinary convolutions, are not among them, but the
    `FEATURES` are that all heads read, for `complete_maps`.

    Args:
        remat: whether most of it is computed a second time instead of kept (`model.remat`).
    """
    heads = [head for head in head_channels(model.schema) if head not in HEATMAP_HEADS]
    sparse = {head for head in heads if not model.backbone.depthwise_filters(head)}
    outputs = model.output if isinstance(model.output, list) else [model.output]  # Keras unwraps a list of one
    # Cells of images that lie on several devices would be looked for on all of them.
    if sparse and keras.distribution.distribution() is None:
        outputs = [
            {head: values for head, values in maps.items() if head not in sparse}
            | {FEATURES: model.get_layer(f"stack{i}_center_heatmap_hidden").input}
            for i, maps in enumerate(outputs)
        ]
    if remat:
        return rematerialise(model.inputs[0], outputs)
    network = keras.Model(model.inputs[0], outputs)
    return lambda image: network(image, training=True)  # and no attribute that would belong to the model


def complete_maps(model: keras.Model, stacks: Sequence[dict], targets: Mapping) -> list[dict]:
    """The maps of all heads of each stack, right at least at the cells that losses against `targets` read, zero elsewhere.

    Args:
        model: a `CenterNet`.
        stacks: of its `draw_training_network`; where no head is missing they stay as they are.
        targets: from `codec.targets.render_targets`.
    """
    if FEATURES not in stacks[0]:
        return list(stacks)
    order = list(head_channels(model.schema))
    heads = [head for head in order if head not in stacks[0]]
    height, width = stacks[0][FEATURES].shape[1:3]
    trained = 0.0
    for head in heads:
        cells = targets[head]["index"] // (model.get_layer(f"stack0_{head}").filters // 2)  # of a cell and a pair x, y in it
        trained = ops.maximum(trained, mark_cells(cells, targets[head]["weight"], height * width))
    most = sum(targets[head]["index"].shape[1] for head in heads)
    limit = min(most, max(height * width // FEW, 1))
    cells = ops.top_k(trained, limit)[1]  # (B, limit), some of them more than are trained
    is_enough = None if limit == most else ops.max(ops.sum(trained, axis=1)) <= limit
    completed = []
    for i, maps in enumerate(stacks):
        layers = [(model.get_layer(f"stack{i}_{head}_hidden"), model.get_layer(f"stack{i}_{head}")) for head in heads]
        computed = _compute_heads(maps[FEATURES], layers, cells, is_enough)
        found = maps | dict(zip(heads, computed, strict=True))
        completed.append({head: found[head] for head in order})
    return completed


def _compute_heads(features: Tensor, layers: Sequence[tuple], cells: Tensor, is_enough: Tensor | None) -> list[Tensor]:
    """The maps of heads, by their hidden and last layers, at `cells` (B, N) and zero elsewhere, or else whole."""
    _, height, width, _ = features.shape
    # Outside of the condition, so that its gradient keeps numbers of one type, as TensorFlow expects.
    patches = take_patches(ops.cast(features, layers[0][0].compute_dtype), cells, SIDE)
    place, images = ops.reshape(number_cells(cells, height * width), (-1, 1)), ops.shape(cells)[0]

    def compute_few() -> list[Tensor]:
        maps, first = [], 0
        inner = _multiply_patches(patches, [hidden for hidden, _ in layers])
        for hidden, last in layers:
            values = ops.reshape(last(inner[:, :, None, first : first + hidden.filters]), (-1, last.filters))
            flat = ops.scatter(place, values, (images * height * width, last.filters))
            maps.append(ops.reshape(flat, (-1, height, width, last.filters)))
            first += hidden.filters
        return maps

    if is_enough is None:
        return compute_few()
    return ops.cond(is_enough, compute_few, lambda: [last(hidden(features)) for hidden, last in layers])


def _multiply_patches(patches: Tensor, layers: Sequence[keras.layers.Conv2D]) -> Tensor:
    """What hidden layers of heads make of patches (B, N, 9 * C), side by side: one product, since they read the same."""
    kernel = ops.concatenate([ops.reshape(layer.kernel, (-1, layer.filters)) for layer in layers], axis=1)
    bias = ops.concatenate([layer.bias for layer in layers])
    return ops.relu(ops.matmul(patches, ops.cast(kernel, patches.dtype)) + ops.cast(bias, patches.dtype))
