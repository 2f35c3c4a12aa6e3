"""A trained model as the plain network it is at inference: BatchNormalization folded away, the last stack's heads only."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import layers
from rich.console import Console

from centerkp.codec.decode import decode
from centerkp.heads import Tensor, head_channels
from centerkp.images.reading import letterbox_image
from centerkp.model.center_net import CenterNet
from centerkp.model.cost import CONVOLUTIONS

FOLD_TOLERANCE = 1e-4  # of the largest number of a map


class FoldedNetwork(keras.Model):
    """RGB images (B, S_h, S_w, 3), 0..255, float32 -> `{head: (B, S_h/4, S_w/4, channels)}` float32 of one stack.

    `decode` turns the maps into objects, as `CenterNet.decode` does. Layers are Normalization, convolutions with bias (Conv2D,
    DepthwiseConv2D, SeparableConv2D, Conv2DTranspose), ReLU, Add, ZeroPadding2D (before a convolution or a maximum of "valid"
    padding), MaxPooling2D, nearest UpSampling2D, slices with a step of 2, and BatchNormalization behind a sum.
    """

    def __init__(self, inputs: Any, outputs: Any, source: CenterNet) -> None:
        super().__init__(inputs=inputs, outputs=outputs, name="folded")
        self.schema = source.schema
        self.image_size = source.image_size
        self.decode_options = source.decode_options
        self.thresholds, self.levels, self.tiling = source.thresholds, source.levels, source.tiling

    def decode(self, maps: Mapping[str, Tensor], valid_size: Tensor | None = None) -> dict:
        """The objects in the maps of the folded network, see `codec.decode.decode`."""
        return decode(maps, self.schema.keypoint_mask, self.decode_options, valid_size)


def fold(model: CenterNet, dtype: str = "float32") -> FoldedNetwork:
    """The network of a trained model with BatchNormalization folded away, same layer names and same maps up to rounding.

    A BatchNormalization behind a convolution is a factor and a shift per channel: both go into the convolution's kernel and
    bias, computed in float64. Behind a sum it stays. The model itself stays as it is.

    Args:
        dtype: of weights and computation; "float32", "bfloat16" or "float16". Normalisation and maps are float32 always.
    """
    width, height = model.image_size
    image = keras.Input((height, width, 3), name="image", dtype="float32")
    # Shares the layers; those of other stacks' heads are not in it.
    whole = keras.Model(model.inputs[0], _last_stack_maps(model))
    behind = {layer: _layer_before(layer) for layer in whole.layers if isinstance(layer, layers.BatchNormalization)}
    norms = {conv.name: norm for norm, conv in behind.items() if isinstance(conv, CONVOLUTIONS)}
    folded = {norm.name for norm in norms.values()}

    def clone(layer: keras.Operation) -> keras.Operation:
        if layer.name in folded or not isinstance(layer, layers.Layer):
            return layer  # not called, or an operation without state
        is_normalising = isinstance(layer, (layers.Normalization, layers.BatchNormalization))
        config = layer.get_config() | {"dtype": "float32" if is_normalising else dtype}
        if isinstance(layer, CONVOLUTIONS):
            # Not drawn at random only to be overwritten.
            config |= {"use_bias": True} | {name: "zeros" for name in config if name.endswith("_initializer")}
            if model.find_head(layer.name) and not layer.name.endswith("_hidden"):
                config["dtype"] = "float32"
        return type(layer).from_config(config)

    def call(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        return args[0] if layer.name in folded else layer(*args, **kwargs)

    cloned = keras.models.clone_model(whole, input_tensors=image, clone_function=clone, call_function=call)
    network = FoldedNetwork(image, cloned.output, model)
    for layer in whole.layers:
        if isinstance(layer, CONVOLUTIONS):
            network.get_layer(layer.name).set_weights(_fold_weights(layer, norms.get(layer.name)))
        elif isinstance(layer, layers.BatchNormalization) and layer.name not in folded:
            network.get_layer(layer.name).set_weights(layer.get_weights())
    return network


def _last_stack_maps(model: CenterNet) -> dict:
    """`{head: output}` of a model's last stack, the only heads that the folded network keeps."""
    stack = model.backbone.stacks - 1
    return {head: model.get_layer(f"stack{stack}_{head}").output for head in head_channels(model.schema)}


def _layer_before(layer: keras.layers.Layer) -> keras.Operation:
    """The layer whose output goes into this one: a convolution before a BatchNormalization is folded with it."""
    return layer.input._keras_history.operation


def _fold_weights(conv: layers.Layer, norm: layers.BatchNormalization | None) -> list[np.ndarray]:
    """Kernels and bias of a convolution with the BatchNormalization behind it folded in, in the layer's own order."""
    weights = [keras.ops.convert_to_numpy(weight) for weight in conv.weights]
    channels = conv.output.shape[-1]
    kernels, bias = (weights[:-1], weights[-1]) if conv.use_bias else (weights, np.zeros(channels, np.float32))
    if norm is None:
        return [*kernels, bias]
    factor, shift = scale_and_shift(norm)
    # (h, w, channels, filters) of a depthwise kernel, (h, w, output, input) of a transposed one, else the output comes last.
    kinds = {layers.DepthwiseConv2D: kernels[-1].shape[2:], layers.Conv2DTranspose: (channels, 1)}
    kernel = kernels[-1] * factor.reshape(kinds.get(type(conv), (channels,)))
    return [*kernels[:-1], kernel.astype(np.float32), (bias * factor + shift).astype(np.float32)]


def scale_and_shift(norm: layers.BatchNormalization) -> tuple[np.ndarray, np.ndarray]:
    """What a BatchNormalization to be folded multiplies each channel by, and what it then adds, in float64."""
    mean, variance = (keras.ops.convert_to_numpy(v).astype(np.float64) for v in (norm.moving_mean, norm.moving_variance))
    factor = 1 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        factor = factor * keras.ops.convert_to_numpy(norm.gamma)
    shift = -mean * factor
    return factor, shift + keras.ops.convert_to_numpy(norm.beta) if norm.center else shift


def fold_and_check(model: CenterNet, dtype: str, picture: np.ndarray, console: Console) -> FoldedNetwork:
    """The folded network to export, after its maps were found equal to the model's."""
    network = fold(model)
    canvas = letterbox_image(picture, model.image_size)[0][None].astype(np.float32)
    ours, theirs = network(canvas), model(canvas, training=False)[-1]
    difference = max(_relative_difference(*map(keras.ops.convert_to_numpy, (ours[head], theirs[head]))) for head in theirs)
    if not difference <= FOLD_TOLERANCE:
        raise ValueError(
            f"folding: found maps that differ by {difference:.1e} of their largest number, expected at most "
            f"{FOLD_TOLERANCE:g}; the model holds numbers that are not finite or far out of range, train it again with a lower "
            "learning rate."
        )
    console.print(f"batch normalisation folded into convolutions; largest difference of a map {difference:.0e}")
    return network if dtype == "float32" else fold(model, dtype)


def _relative_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference between two maps, folded and not, as a share of the largest number."""
    return float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-6))
