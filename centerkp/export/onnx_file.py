"""A trained model as one `.onnx` file that takes images of any size and returns objects."""

import json
from pathlib import Path
from typing import Any

from centerkp import __version__
from centerkp.console import import_extra
from centerkp.export.fold import FoldedNetwork
from centerkp.export.onnx_cells import FEATURES, ComputedCells, MappedCells, find_computable, find_features
from centerkp.export.onnx_decode import write_decode
from centerkp.export.onnx_layers import OPSET, Graph, write_network
from centerkp.export.onnx_letterbox import write_letterbox
from centerkp.heads import STRIDE, map_size
from centerkp.runtimes.artefact import Description

IR_VERSION = 8  # the file format that goes with the operator set
ONNX_PRECISIONS = ("fp32", "fp16")
INLINE_LIMIT = 1_900_000_000  # bytes of weights; a protocol buffer holds 2 GB


def write_onnx(
    network: FoldedNetwork,
    path: str | Path,
    *,
    precision: str = "fp32",
    batch: int | None = None,
    whole_maps: bool = False,
) -> Path:
    """Writes the network with letterboxing and decoding as an ONNX file.

    The file's input is `image` (B, H, W, 3) uint8 RGB of any size. Outputs, in pixels of that image: `boxes` (B, M, 4) xyxy,
    `scores` (B, M) in descending order, `class_ids` (B, M) int32, and for a schema with keypoints `keypoints` (B, M, K, 2) and
    `keypoint_scores` (B, M, K), both 0 for the keypoints of other classes. Rows with score 0 are empty. The metadata hold
    `centerkp`, see `Description`, and by themselves `class_names` and `keypoint_names` as JSON lists.

    Args:
        network: from `fold`, in float32; its image size is the canvas that images are fitted into.
        precision: "fp32", or "fp16" for weights and backbone in half precision; letterbox, last convolutions and decoding stay
            float32.
        batch: images per call, None for any number.
        whole_maps: computes the heads at every cell, also where decoding reads few.

    Raises:
        FileNotFoundError: the package `onnx` is not installed.
    """
    onnx = import_extra("onnx", "onnx")
    path = Path(path)
    graph, found = _write_graph(network, half=precision == "fp16", whole_maps=whole_maps)
    rows = batch or "batch"
    body = onnx.helper.make_graph(
        graph.nodes,
        "centerkp",
        [onnx.helper.make_tensor_value_info("image", onnx.TensorProto.UINT8, [rows, "height", "width", 3])],
        [_describe_output(onnx, network, name, rows) for name in found],
        graph.constants,
    )
    opset = [onnx.helper.make_opsetid("", OPSET)]
    model = onnx.helper.make_model(
        body, opset_imports=opset, ir_version=IR_VERSION, producer_name="centerkp", producer_version=__version__
    )
    description = Description.of(network, "onnx", precision, batch)
    names = {"class_names": network.schema.class_names, "keypoint_names": network.schema.keypoint_names}
    properties = {key: json.dumps(value, ensure_ascii=False) for key, value in names.items()}
    onnx.helper.set_model_props(model, {"centerkp": description.to_json()} | properties)
    large = sum(len(one.raw_data) for one in graph.constants) > INLINE_LIMIT
    onnx.save(model, path, save_as_external_data=large, location=f"{path.name}.data" if large else None)
    onnx.checker.check_model(str(path))
    return path


def _write_graph(network: FoldedNetwork, half: bool, whole_maps: bool) -> tuple[Graph, list[str]]:
    """Every ONNX node of the file from `image` to the outputs, and the outputs' names."""
    graph = Graph()
    letterboxed = write_letterbox(graph, "image", network.image_size)
    sides, mask = map_size(network.image_size), network.schema.keypoint_mask
    computed = set() if whole_maps or half else find_computable(network)
    wanted = {head: tensor for head, tensor in network.output.items() if head not in computed}
    wanted |= {FEATURES: find_features(network)} if computed else {}
    maps = write_network(graph, network, letterboxed.image, half, wanted)
    graph.scope = "decode"
    cells = ComputedCells(graph, maps, sides, network) if computed else MappedCells(graph, maps, sides, mask.shape[1])
    found = write_decode(graph, maps, sides, mask, network.decode_options, letterboxed.valid_size, letterboxed.to_source, cells)
    for name, tensor in found.items():
        graph.output(tensor, name)
    return graph, list(found)


def _describe_output(onnx: Any, network: FoldedNetwork, name: str, rows: int | str) -> Any:
    """Type and shape of an output as an ONNX file states it."""
    count, keypoints = network.decode_options.max_objects, network.schema.num_keypoints
    width, height = network.image_size
    count = min(count, width * height // STRIDE**2 * network.schema.num_classes)
    shape = {"boxes": [4], "keypoints": [keypoints, 2], "keypoint_scores": [keypoints]}.get(name, [])
    kind = onnx.TensorProto.INT32 if name == "class_ids" else onnx.TensorProto.FLOAT
    return onnx.helper.make_tensor_value_info(name, kind, [rows, count, *shape])
