"""int8 of an OpenVINO model: NNCF's quantisation, and what it adds to the sizes of boxes taken out again."""

import logging
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from centerkp.codec.decode import keep_peaks
from centerkp.console import import_extra
from centerkp.export.fold import FoldedNetwork
from centerkp.export.onnx_cells import find_computable, find_features

# Whatever moves a coordinate stays float: only the network's own convolutions and additions become int8.
FLOAT_PARTS = ("letterbox/.*", "network/normalise.*", "network/Sub.*", "decode/.*", "heads/.*")
# Of networks with depthwise convolutions also the first layers: places on trained ones are off by a third less, for about a
# tenth more time.
LIGHT_FLOAT_PARTS = ("network/stem.*", "network/stride2.*")
MIN_OBJECTS, OBJECT_SCORE = 10, 0.1  # of which on, and with which score, objects are enough to tell what sizes are off by


def quantize_openvino(model: Any, network: FoldedNetwork, samples: Sequence[tuple[np.ndarray, tuple[int, int]]]) -> Any:
    """The OpenVINO model with its convolutions in int8, by NNCF, with the ranges of the samples.

    Args:
        model: of `network`, in float32, with constants for weights.
        samples: as in `write_openvino`.
    """
    nncf = import_extra("nncf", "openvino")
    nncf.set_log_level(logging.WARNING)  # else it names every operation that stays float
    pictures = [np.ascontiguousarray(canvas[None, :height, :width]) for canvas, (width, height) in samples]
    is_light = any(step.get_type_name() == "GroupConvolution" for step in model.get_ops())
    float_parts = [*FLOAT_PARTS, *(LIGHT_FLOAT_PARTS if is_light else ())]
    quantized = nncf.quantize(
        model,
        nncf.Dataset(pictures),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(pictures),
        ignored_scope=nncf.IgnoredScope(patterns=float_parts, validate=False),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            # Processors without VNNI add up two products of 8 bits in 16, which overflow unless the weights have 7.
            overflow_fix=nncf.OverflowFix.ENABLE,
            # Boxes of trained light networks are off by a fifth less with it; no other kind has shown a gain.
            disable_bias_correction=not is_light,
            # From the least to the largest of all pictures. The mean of their extremes, NNCF's own choice, cuts off what is
            # largest at objects: efficientnet_lite0_fpn, trained on three sets, lost up to 0.007 box AP with it, 0.004 without.
            activations_range_estimator_params=nncf.quantization.range_estimator.RangeEstimatorParametersSet.MINMAX,
        ),
    )
    if "box_size" in find_computable(network):  # whose layers are float in both
        _settle_box_sizes(quantized, model, network, pictures)
    return quantized


def _settle_box_sizes(quantized: Any, model: Any, network: FoldedNetwork, pictures: Sequence[np.ndarray]) -> None:
    """Takes out of the box sizes of a quantised model what they are off by on the mean, at objects; in place.

    NNCF corrects the means of layers over all cells, of which few are at objects: boxes of trained networks were up to 0.5
    pixels too narrow there on the mean.
    """
    tail = keras.Model(find_features(network), {head: network.output[head] for head in ("center_heatmap", "box_size")})
    runs = [_compile_features(one, find_features(network)._keras_history.operation.name) for one in (model, quantized)]
    differences = []  # (objects, 2) of each picture, in cells
    for picture in pictures:
        exact, found = (tail(np.moveaxis(run(picture)[0], 1, -1)) for run in runs)
        peaks = keep_peaks(ops.sigmoid(exact["center_heatmap"]), network.decode_options.center_kernel)
        is_object = ops.convert_to_numpy(peaks).max(-1) >= OBJECT_SCORE
        differences.append(ops.convert_to_numpy(exact["box_size"] - found["box_size"])[is_object])
    at_objects = np.concatenate(differences)
    if len(at_objects) >= MIN_OBJECTS:
        _add_to_bias(quantized, f"heads/{network.output['box_size']._keras_history.operation.name}", at_objects.mean(0))


def _compile_features(model: Any, layer: str) -> Any:
    """A copy of an OpenVINO model up to the features that all heads read, which are a layer's output, (B, channels, H, W)."""
    openvino = import_extra("openvino", "openvino")
    copy = model.clone()
    part = openvino.Model([_find_step(copy, f"network/{layer}").output(0)], copy.get_parameters(), "features")
    return openvino.Core().compile_model(part, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def _add_to_bias(model: Any, name: str, values: np.ndarray) -> None:
    """Adds values to the constant that a step of an OpenVINO model adds, in place."""
    openvino = import_extra("openvino", "openvino")
    step = _find_step(model, name)
    for place in step.inputs():
        constant = place.get_source_output().get_node()
        if constant.get_type_name() == "Constant":
            changed = constant.data + values.astype(np.float32)
            place.replace_source_output(openvino.opset13.constant(changed).output(0))


def _find_step(model: Any, name: str) -> Any:
    """The step of an OpenVINO model of that name."""
    return next(step for step in model.get_ops() if step.get_friendly_name() == name)
