"""Whether TensorRT's parser takes our ONNX files, by what it publishes: no machine of the suite has TensorRT itself."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from centerkp.export.fold import fold
from centerkp.export.onnx_file import write_onnx

RECIPES = Path(__file__).parents[2] / "docs" / "recipes.md"
FLOATS, WHOLE, BOOL = {"FLOAT", "FLOAT16"}, {"INT32", "INT64"}, {"BOOL"}
# docs/operators.md of onnx/onnx-tensorrt for TensorRT 10.15 (opsets 9 to 24): the operators that our files use, and the types
# it names for them. UINT8 is a type of inputs and outputs of the whole network only, and of Cast.
VERSION, OPSETS = "10.15", range(9, 25)
SUPPORTED = {
    **dict.fromkeys("Abs Ceil Clip Conv ConvTranspose MatMul MaxPool Resize Round Sigmoid Sqrt".split(), FLOATS),
    **dict.fromkeys("Add ArgMin Div Equal Greater GreaterOrEqual Less LessOrEqual Max Min Mod Mul".split(), FLOATS | WHOLE),
    **dict.fromkeys("Pad ReduceMax ReduceMin ReduceSum Relu Sub TopK".split(), FLOATS | WHOLE),
    **dict.fromkeys("Concat Expand Gather GatherElements GatherND Identity Reshape Shape Slice".split(), FLOATS | WHOLE | BOOL),
    **dict.fromkeys("Transpose Unsqueeze Where".split(), FLOATS | WHOLE | BOOL),
    "And": BOOL,
    "Cast": FLOATS | WHOLE | BOOL | {"UINT8"},
}  # fmt: skip
MODES = {"half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners"}


def prepare(path):
    """Does what the recipe says, word for word."""
    code = re.search(r"```python\n(# for TensorRT.*?)```", RECIPES.read_text(), re.DOTALL)[1]
    ready = path.with_name("ready.onnx")
    exec(code.replace('"best.onnx"', repr(str(path))).replace('"best_tensorrt.onnx"', repr(str(ready))), {})
    return ready


def find_unsupported(path):
    """Sentences on what the published list does not have."""
    model = onnx.shape_inference.infer_shapes(onnx.load(path), data_prop=True)
    graph = model.graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.input, *graph.output)}
    constants = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    types |= {one.name: one.data_type for one in graph.initializer}
    faults = [f"opset {one.version}" for one in model.opset_import if one.domain or one.version not in OPSETS]
    for node in graph.node:
        given = {onnx.TensorProto.DataType.Name(types[name]) for name in (*node.input, *node.output) if name}
        attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        if node.op_type not in SUPPORTED:
            faults.append(node.op_type)
        elif node.op_type not in ("Cast", "Where", "And") and "UINT8" in given or not types_fit(node, types):
            faults.append(f"{node.op_type} of {sorted(given)}")
        if node.op_type == "TopK" and (attributes.get("sorted", 1) != 1 or not constants[node.input[1]].max() < 3840):
            faults.append("TopK")
        if node.op_type.startswith("Reduce") and len(node.input) > 1 and node.input[1] not in constants:
            faults.append(f"{node.op_type} along axes that are computed")
        if node.op_type == "Resize" and (
            attributes.get("coordinate_transformation_mode", b"half_pixel").decode() not in MODES
            or attributes.get("mode", b"nearest") not in (b"nearest", b"linear")
            or attributes.get("antialias", 0)
        ):
            faults.append(f"Resize {attributes}")
        if node.op_type == "MaxPool" and (len(node.output) > 1 or set(attributes.get("dilations", [1])) != {1}):
            faults.append("MaxPool")
    return faults


def types_fit(node, types):
    """Whether the first data of a node has a type that the list names; indices and shapes are whole numbers anyway."""
    data = node.input[1] if node.op_type == "Where" else node.input[0]
    return onnx.TensorProto.DataType.Name(types[data]) in SUPPORTED[node.op_type]


def check_operators(network, folder, precision):
    """As written a file picks pixels as bytes, which the parser does not list; with the recipe's line nothing is left."""
    path = write_onnx(network, folder / "m.onnx", precision=precision)
    assert set(find_unsupported(path)) == {"Shape of ['INT64', 'UINT8']", "Gather of ['INT64', 'UINT8']"}
    ready = prepare(path)
    assert find_unsupported(ready) == []
    onnx.checker.check_model(onnx.load(ready), full_check=True)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_only_operators_that_the_parser_lists(network, tmp_path, precision):
    check_operators(network, tmp_path, precision)


def test_boxes_around_keypoints_take_no_other_operators(network, tmp_path, monkeypatch):
    monkeypatch.setattr(network, "decode_options", replace(network.decode_options, box_margins=(0.1, None, 0.3)))
    check_operators(network, tmp_path, "fp32")


def test_other_backbones_have_no_other_operators(kind_model, tmp_path):
    """One of each other kind; of the real ones only the numbers differ."""
    network = fold(kind_model)
    for precision in ("fp32", "fp16"):
        check_operators(network, tmp_path, precision)


def test_the_recipe_changes_no_number(network, pictures, tmp_path):
    path = write_onnx(network, tmp_path / "m.onnx")
    sessions = [onnxruntime.InferenceSession(one) for one in (path, prepare(path))]
    assert sessions[1].get_inputs()[0].type == "tensor(uint8)"
    for picture in pictures:
        for ours, theirs in zip(*(session.run(None, {"image": picture[None]}) for session in sessions), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_the_page_names_the_version():
    assert f"TensorRT {VERSION}" in RECIPES.read_text()
