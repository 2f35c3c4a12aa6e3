"""What a model costs to run."""

import math
from typing import Any

import keras
import numpy as np
from keras import layers

from centerkp.model.center_net import CenterNet

CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, layers.Conv2DTranspose)


def count_gmac(model: CenterNet, image_size: tuple[int, int] | None = None, *, all_heads: bool = False) -> float:
    """A model's cost: billions of multiplications in convolutions for an image of (width, height), by default its own.

    Args:
        all_heads: also counts the heads of the earlier stacks, which are computed in training only.
    """
    width, height = image_size or model.image_size
    convolutions = [layer for layer in model.layers if isinstance(layer, CONVOLUTIONS)]
    if not all_heads:
        last = model.backbone.stacks - 1
        convolutions = [layer for layer in convolutions if (model.find_head(layer.name) or (last,))[0] == last]
    # Every number of a kernel meets every cell once: of the output, or of the input where that is spread out.
    network = keras.Model(
        model.inputs, [layer.input if isinstance(layer, layers.Conv2DTranspose) else layer.output for layer in convolutions]
    )
    shapes = network.compute_output_shape((1, height, width, 3))
    return sum(
        sum(np.prod(weight.shape) for weight in layer.weights if len(weight.shape) == 4) * np.prod(shape[1:3])
        for layer, shape in zip(convolutions, shapes, strict=True)
    ) / 1e9  # fmt: skip


def describe_cost(model: CenterNet) -> str:
    """A model's cost as one line, e.g. `187.8 M parameters, 293 GMAC per image of 512x512`."""
    width, height = model.image_size
    gmac = count_gmac(model)
    digits = 0 if gmac >= 10 else 2
    return f"{model.count_params() / 1e6:.1f} M parameters, {gmac:.{digits}f} GMAC per image of {width}x{height}"


def measure_reach(model: CenterNet) -> int:
    """What a model's cell sees: side in input pixels of the receptive field of the deepest path."""
    seen: dict[int, tuple[float, float]] = {}  # of every tensor: its reach, and the input pixels between its cells
    for layer in model.operations:
        reach, stride = max((seen[id(tensor)] for tensor in keras.tree.flatten(_layer_inputs(layer))), default=(1, 1))
        if isinstance(layer, layers.Conv2DTranspose):
            reach, stride = reach + (math.ceil(layer.kernel_size[0] / layer.strides[0]) - 1) * stride, stride / layer.strides[0]
        elif isinstance(layer, CONVOLUTIONS):
            reach, stride = reach + (layer.kernel_size[0] - 1) * stride, stride * layer.strides[0]
        elif isinstance(layer, layers.MaxPooling2D):
            reach, stride = reach + (layer.pool_size[0] - 1) * stride, stride * layer.strides[0]
        elif isinstance(layer, layers.UpSampling2D):
            stride /= layer.size[0]
        seen |= {id(tensor): (reach, stride) for tensor in keras.tree.flatten(layer.output)}
    return int(max(seen.values())[0])


def _layer_inputs(layer: keras.Operation) -> Any:
    """The tensors that a model's layer reads, to follow how far a cell sees."""
    return [] if isinstance(layer, keras.layers.InputLayer) else layer.input
