"""A trained model as the plain network it is at inference: no BatchNormalization, and the last stack's heads only."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import layers

from centerkp.codec.decode import decode
from centerkp.heads import Tensor, head_channels
from centerkp.model.center_net import CenterNet


class FoldedNetwork(keras.Model):
    """RGB images (B, S_h, S_w, 3), 0..255, float32 -> `{head: (B, S_h/4, S_w/4, channels)}` float32 of one stack.

    `decode` turns the maps into objects, as `CenterNet.decode` does. Layers are Normalization, Conv2D with bias, ReLU, Add,
    ZeroPadding2D (before a convolution of "valid" padding and stride 2), nearest UpSampling2D, and slices with a step of 2.
    """

    def __init__(self, inputs: Any, outputs: Any, source: CenterNet) -> None:
        super().__init__(inputs=inputs, outputs=outputs, name="folded")
        self.schema = source.schema
        self.image_size = source.image_size
        self.decode_options = source.decode_options

    def decode(self, maps: Mapping[str, Tensor], valid_size: Tensor | None = None) -> dict:
        """The objects in the maps, see `codec.decode.decode`."""
        return decode(maps, self.schema.keypoint_mask, self.decode_options, valid_size)


def fold(model: CenterNet, dtype: str = "float32") -> FoldedNetwork:
    """The network of a trained model for inference, with the same layer names and the same maps up to rounding.

    A BatchNormalization behind a convolution is a factor and a shift per channel: both go into the convolution's kernel and
    bias, computed in float64. The model itself stays as it is.

    Args:
        dtype: of weights and computation; "float32", "bfloat16" or "float16". Normalisation and maps are float32 always.
    """
    width, height = model.image_size
    image = keras.Input((height, width, 3), name="image", dtype="float32")
    whole = keras.Model(model.inputs[0], _last_stack(model))  # shares the layers; those of other stacks' heads are not in it
    norms = {_producer(layer): layer for layer in whole.layers if isinstance(layer, layers.BatchNormalization)}

    def clone(layer: keras.Operation) -> keras.Operation:
        if isinstance(layer, layers.BatchNormalization) or not isinstance(layer, layers.Layer):
            return layer  # not called, or an operation without state
        config = layer.get_config() | {"dtype": "float32" if isinstance(layer, layers.Normalization) else dtype}
        if isinstance(layer, layers.Conv2D):
            # Not drawn at random only to be overwritten.
            config |= {"use_bias": True, "kernel_initializer": "zeros", "bias_initializer": "zeros"}
            if model.find_head(layer.name) and not layer.name.endswith("_hidden"):
                config["dtype"] = "float32"
        return type(layer).from_config(config)

    def call(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        return args[0] if isinstance(layer, layers.BatchNormalization) else layer(*args, **kwargs)

    cloned = keras.models.clone_model(whole, input_tensors=image, clone_function=clone, call_function=call)
    network = FoldedNetwork(image, cloned.output, model)
    for layer in whole.layers:
        if isinstance(layer, layers.Conv2D):
            kernel, bias = _fold_weights(layer, norms.get(layer.name))
            target = network.get_layer(layer.name)
            target.kernel.assign(kernel)
            target.bias.assign(bias)
    return network


def _last_stack(model: CenterNet) -> dict:
    stack = model.backbone.stacks - 1
    return {head: model.get_layer(f"stack{stack}_{head}").output for head in head_channels(model.schema)}


def _producer(layer: keras.layers.Layer) -> str:
    return layer.input._keras_history.operation.name


def _fold_weights(conv: layers.Conv2D, norm: layers.BatchNormalization | None) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of the convolution together with the BatchNormalization behind it."""
    kernel = keras.ops.convert_to_numpy(conv.kernel)
    bias = keras.ops.convert_to_numpy(conv.bias) if conv.use_bias else np.zeros(kernel.shape[-1], np.float32)
    if norm is None:
        return kernel, bias
    mean, variance = (keras.ops.convert_to_numpy(v).astype(np.float64) for v in (norm.moving_mean, norm.moving_variance))
    factor = 1 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        factor = factor * keras.ops.convert_to_numpy(norm.gamma)
    shift = (bias - mean) * factor
    if norm.center:
        shift = shift + keras.ops.convert_to_numpy(norm.beta)
    return (kernel * factor).astype(np.float32), shift.astype(np.float32)
