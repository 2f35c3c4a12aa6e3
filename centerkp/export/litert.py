"""LiteRT (TensorFlow Lite): one `.tflite` file for phones and small boards."""

import json
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from centerkp.export.fold import FoldedNetwork
from centerkp.export.saved_model import detect_canvas, require_tensorflow
from centerkp.runtimes.artefact import DESCRIPTION, Description

CONVOLUTIONS = {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"}
LITERT_PRECISIONS = ("fp32", "fp16", "int8")  # the format computes no bfloat16


def write_litert(
    network: FoldedNetwork,
    path: str | Path,
    *,
    precision: str = "fp32",
    batch: int = 1,
    samples: Sequence[tuple[np.ndarray, tuple[int, int]]] = (),
) -> Path:
    """Writes the network with decoding as a `.tflite` file.

    The signature takes `image` (batch, S_h, S_w, 3) uint8 RGB, letterboxed (the format wants fixed sizes), and `valid_size`
    (batch, 2) float32, the width and height of the picture inside its padding. Outputs, by name, in pixels of that canvas:
    `boxes` (batch, M, 4) xyxy, `scores` (batch, M), `class_ids` (batch, M) int32, and with keypoints `keypoints`
    (batch, M, K, 2) and `keypoint_scores` (batch, M, K). Rows with score 0 are empty. The file is a ZIP archive as well, as
    TensorFlow Lite's metadata are: `unzip model.tflite` gives `schema.json`.

    Args:
        network: from `fold`, in float32.
        precision: "fp32"; "fp16" stores weights in half the space and computes as the device likes; "int8" computes the
            convolutions in 8 bits, while normalisation, the sums of residual blocks, the heads' last convolutions and decoding
            stay float32 (but for the keypoint heat map, which the quantiser rounds to 1/256).
        batch: images per call.
        samples: letterboxed images (S_h, S_w, 3) uint8 with their (width, height) inside; int8 takes the ranges of its
            numbers from what the network computes on them.

    Raises:
        ValueError: Keras does not run on TensorFlow.
    """
    require_tensorflow("LiteRT")
    path = Path(path)
    converter = _make_converter(network, batch)
    if precision == "int8":
        content = _quantize_tflite(_measure_ranges(converter, batch, samples))
    else:
        if precision == "fp16":
            _store_halves(converter)
        content = converter.convert()
    path.write_bytes(content)
    description = Description.of(network, "litert", precision, batch)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(DESCRIPTION, json.dumps(description.to_dict(), indent=2, ensure_ascii=False))
    return path


def _make_converter(network: FoldedNetwork, batch: int) -> Any:
    """TensorFlow Lite's converter for the network with decoding, of so many images a call."""
    import tensorflow as tf

    width, height = network.image_size
    module = tf.Module()
    module.weights = [variable.value for variable in network.variables]
    signature = tf.TensorSpec((batch, height, width, 3), tf.uint8, "image"), tf.TensorSpec((batch, 2), tf.float32, "valid_size")
    module.detect = tf.function(detect_canvas(network), input_signature=signature)
    return tf.lite.TFLiteConverter.from_concrete_functions([module.detect.get_concrete_function()], module)


def _store_halves(converter: Any) -> None:
    """Tells TensorFlow Lite's converter to store the weights of the `.tflite` file as float16."""
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


def _measure_ranges(converter: Any, batch: int, samples: Iterable[tuple[np.ndarray, tuple[int, int]]]) -> bytes:
    """The float `.tflite` model, which remembers for every number in which range it was on the samples."""
    import tensorflow as tf

    def feed() -> Iterator[dict[str, np.ndarray]]:
        for image, valid_size in samples:
            sizes = np.asarray(valid_size, np.float32)
            yield {"image": np.repeat(image[None], batch, axis=0), "valid_size": np.repeat(sizes[None], batch, axis=0)}

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = feed
    converter._experimental_calibrate_only = True
    return converter.convert()


def _quantize_tflite(measured: bytes) -> bytes:
    """The `.tflite` model with its convolutions up to the heads' hidden layers quantised to 8 bits.

    The converter's public way quantises whatever has an 8-bit kernel, coordinates too: 512 pixels in 256 steps. So the
    quantiser is called by itself and told what to leave alone.
    """
    from tensorflow.lite.python.convert import mlir_quantize

    nodes, kinds = _float_parts(measured)
    return mlir_quantize(measured, denylisted_nodes=nodes, denylisted_ops=kinds)


def _float_parts(content: bytes) -> tuple[list[str], list[str]]:
    """What stays float32 in an int8 `.tflite`: before the first convolution, sums, last convolutions, and the decoder.

    Sums, because every residual block would round once more what all blocks before it have added up: in 104 layers that
    doubled the error, for a tenth of the time.

    Returns:
        Names of operations, and kinds of which all stay float32; the quantiser does not know those with two outputs by name.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    kinds = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    model = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    operations = [graph.Operators(i) for i in range(graph.OperatorsLength())]
    codes = [kinds[model.OperatorCodes(operation.OpcodeIndex()).BuiltinCode()] for operation in operations]
    inputs, outputs = ([set(getattr(o, f"{side}AsNumpy")()) - {-1} for o in operations] for side in ("Inputs", "Outputs"))
    is_convolution = [code in CONVOLUTIONS for code in codes]
    behind = _find_operations_behind(is_convolution, inputs, outputs)
    before = _find_operations_behind(is_convolution[::-1], outputs[::-1], inputs[::-1])[::-1]
    names, inside, outside = [], set(), set()
    for i, code in enumerate(codes):
        if before[i] and code != "ADD" and (is_convolution[i] or behind[i] or code in ("PAD", "PADV2")):
            inside.add(code)
        else:
            outside.add(code)
            names += [graph.Tensors(int(tensor)).Name().decode() for tensor in outputs[i]]
    return names, sorted(outside - inside)


def _find_operations_behind(is_start: list[bool], inputs: list[set], outputs: list[set]) -> list[bool]:
    """Which operations of a `.tflite` model lie strictly behind one that is a start; they are in running order."""
    tensors, reached = set(), []
    for start, read, written in zip(is_start, inputs, outputs, strict=True):
        reached.append(bool(read & tensors))
        if start or reached[-1]:
            tensors |= written
    return reached
