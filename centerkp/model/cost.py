"""What a model costs to run."""

import keras
import numpy as np

from centerkp.model.center_net import CenterNet


def count_gmac(model: CenterNet, image_size: tuple[int, int] | None = None, *, all_heads: bool = False) -> float:
    """Billions of multiplications in the convolutions for one image of (width, height), by default the model's own size.

    Args:
        all_heads: also counts the heads of the earlier stacks, which are computed in training only.
    """
    width, height = image_size or model.image_size
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    if not all_heads:
        last = model.backbone.stacks - 1
        convolutions = [layer for layer in convolutions if (model.find_head(layer.name) or (last,))[0] == last]
    network = keras.Model(model.inputs, [layer.output for layer in convolutions])
    shapes = network.compute_output_shape((1, height, width, 3))
    return sum(
        np.prod(layer.kernel.shape) * np.prod(shape[1:3]) for layer, shape in zip(convolutions, shapes, strict=True)
    ) / 1e9  # fmt: skip


def describe_cost(model: CenterNet) -> str:
    """Parameters and multiplications as one line, e.g. `187.8 M parameters, 293 GMAC at 512x512`."""
    width, height = model.image_size
    gmac = count_gmac(model)
    digits = 0 if gmac >= 10 else 2
    return f"{model.count_params() / 1e6:.1f} M parameters, {gmac:.{digits}f} GMAC per image of {width}x{height}"


def measure_reach(model: CenterNet) -> int:
    """Side, in input pixels, of the square that one cell of the maps can see: the receptive field of the deepest path."""
    seen: dict[int, tuple[float, float]] = {}  # of every tensor: its reach, and the input pixels between its cells
    for layer in model.operations:
        reach, stride = max((seen[id(tensor)] for tensor in keras.tree.flatten(_inputs_of(layer))), default=(1, 1))
        if isinstance(layer, keras.layers.Conv2D):
            reach, stride = reach + (layer.kernel_size[0] - 1) * stride, stride * layer.strides[0]
        elif isinstance(layer, keras.layers.UpSampling2D):
            stride /= layer.size[0]
        seen |= {id(tensor): (reach, stride) for tensor in keras.tree.flatten(layer.output)}
    return int(max(seen.values())[0])


def _inputs_of(layer: keras.Operation):
    return [] if isinstance(layer, keras.layers.InputLayer) else layer.input
