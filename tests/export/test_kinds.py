"""Every kind of backbone in every format: what Keras finds comes out of each file, in every number format it has."""

import json
from dataclasses import replace

import keras
import numpy as np
import onnx
import openvino
import pytest
from keras import layers

from centerkp.cli import main
from centerkp.codec import decode
from centerkp.demo.scenes import write_demo
from centerkp.export import onnx_decode
from centerkp.export.fold import fold
from centerkp.export.litert import write_litert
from centerkp.export.onnx_file import write_onnx
from centerkp.export.openvino import write_openvino
from centerkp.export.saved_model import write_saved_model
from centerkp.inference.model_loading import load_detector

# How far an object may be off, in pixels and in score.
ALLOWED = {"fp32": (2e-3, 1e-4), "fp16": (0.5, 0.02), "bf16": (2.0, 0.05), "int8": (8.0, 0.15)}
FILES = {"onnx": ("m.onnx", write_onnx), "openvino": ("m.xml", write_openvino), "litert": ("m.tflite", write_litert)}
CASES = [("onnx", "fp32"), ("onnx", "fp16"), ("openvino", "bf16"), ("openvino", "int8"), ("litert", "int8")]


@pytest.fixture(scope="module")
def inputs():
    """Noise: where a picture is plain, all peaks are as high as each other, and rounding says which come first."""
    canvases = np.random.default_rng(5).integers(0, 256, (4, 64, 96, 3)).astype("uint8")
    return {"image": canvases, "valid_size": np.float32([[96, 64]] * 4)}


@pytest.fixture(scope="module")
def network(kind_model):
    return fold(kind_model)


def test_same_maps_without_batch_normalisation_behind_convolutions(kind_model, network):
    """Of version 2 of the ResNet those behind a sum stay; nothing else does."""
    images = np.random.default_rng(1).uniform(0, 255, (2, 64, 96, 3)).astype("float32")
    left = [layer.name for layer in network.layers if isinstance(layer, layers.BatchNormalization)]
    assert all(name.endswith("_before_bn") for name in left) and bool(left) == (kind_model.backbone.kind == "resnet_v2")
    for head, expected in kind_model(images)[-1].items():
        expected = np.asarray(expected)
        np.testing.assert_allclose(network(images)[head], expected, atol=2e-5 * np.abs(expected).max(), err_msg=head)


def take_samples(inputs):
    return [(canvas, tuple(size.astype(int))) for canvas, size in zip(*inputs.values(), strict=True)]


@pytest.mark.parametrize("form, precision", CASES)
def test_best_objects_equal_keras(kind_model, network, inputs, tmp_path, form, precision):
    name, write = FILES[form]
    samples = {"samples": take_samples(inputs)} if precision == "int8" else {}
    path = write(network, tmp_path / name, precision=precision, **samples)
    if form == "onnx":
        onnx.checker.check_model(onnx.load(path), full_check=True)
    ours = load_detector(path).predict_on_batch(inputs)
    theirs = {key: np.asarray(values) for key, values in kind_model.predict_on_batch(inputs).items()}
    pixels, score = ALLOWED[precision]
    near = []
    for i in range(len(theirs["scores"])):
        for k in range(10):  # processors with VNNI and without round differently: of few objects chance would decide
            distance = np.abs(np.asarray(ours["boxes"])[i] - theirs["boxes"][i, k]).max(axis=1)
            distance[np.asarray(ours["class_ids"])[i] != theirs["class_ids"][i, k]] = np.inf
            row = distance.argmin()
            near.append(distance[row] < pixels and abs(np.asarray(ours["scores"])[i, row] - theirs["scores"][i, k]) < score)
    # Rounded, a peak may come to stand in the next cell.
    assert theirs["scores"][:, 9].min() > 0.3 and np.mean(near) >= (1.0 if precision == "fp32" else 0.8)


def test_int8_scales_every_filter_by_itself(network, inputs, tmp_path):
    """Also those of each channel by itself; and nothing is left in the file that works a constant out."""
    path = write_openvino(network, tmp_path / "m.xml", precision="int8", samples=take_samples(inputs))
    steps = [one for one in openvino.Core().read_model(path).get_ops() if one.get_type_name().endswith("Convolution")]
    kernels = [step.input_value(1).get_node() for step in steps]
    scaled = [kernel for kernel in kernels if kernel.get_type_name() == "Multiply"]
    assert len(scaled) > 5
    for kernel in scaled:
        filters = [*kernel.get_output_shape(0)][:-3]  # (C_out,), with groups (groups, C_out of each)
        assert [*kernel.input_value(1).get_shape()] == [*filters, 1, 1, 1]
    readers = [one.get_node() for step in steps for one in step.output(0).get_target_inputs()]
    assert "ShapeOf" not in [reader.get_type_name() for reader in readers]


@pytest.mark.parametrize("form", [*FILES, "saved_model"])
def test_boxes_around_keypoints_equal_keras(tiny_model, inputs, tmp_path, monkeypatch, form):
    plain = tiny_model.decode_options
    learned = np.asarray(tiny_model.predict_on_batch(inputs)["boxes"])
    monkeypatch.setattr(tiny_model, "decode_options", replace(plain, box_margins=(0.1, None, 0.3)))
    for module in (decode, onnx_decode):  # points of random weights are far from their boxes
        monkeypatch.setattr(module, "LIKENESS", 0.01)
    tiny_model.predict_function = None
    theirs = {key: np.asarray(values) for key, values in tiny_model.predict_on_batch(inputs).items()}
    tiny_model.predict_function = None
    moved = np.abs(theirs["boxes"] - learned).max(axis=2) > 0.1
    assert moved[theirs["class_ids"] == 0].any() and moved[theirs["class_ids"] == 2].any()
    assert not moved[theirs["class_ids"] == 1].any() and not moved[theirs["class_ids"] == 2].all()
    name, write = (FILES | {"saved_model": ("served", write_saved_model)})[form]
    ours = load_detector(write(fold(tiny_model), tmp_path / name)).predict_on_batch(inputs)
    np.testing.assert_allclose(ours["scores"], theirs["scores"], atol=1e-4)
    np.testing.assert_allclose(ours["boxes"], theirs["boxes"], atol=ALLOWED["fp32"][0])


FIRST = ("network/stem", "network/stride2")


def test_every_convolution_is_quantised(network, inputs, tmp_path):
    """In OpenVINO's file, depthwise and transposed ones too; but the first of light networks, whose places it would move."""
    import openvino

    path = write_openvino(network, tmp_path / "m.xml", precision="int8", samples=take_samples(inputs))
    model = openvino.Core().read_model(path)
    kinds = ("Convolution", "GroupConvolution", "ConvolutionBackpropData")
    convolutions = [op for op in model.get_ops() if op.get_type_name() in kinds]
    sources = [op.input_value(0).get_node() for op in convolutions]
    sources = [op.input_value(0).get_node() if op.get_type_name() == "MaxPool" else op for op in sources]  # keeps what it gets
    pairs = zip(convolutions, sources, strict=True)
    floats = {op.get_friendly_name() for op, source in pairs if source.get_type_name() != "FakeQuantize"}
    is_light = any(op.get_type_name() == "GroupConvolution" for op in convolutions)
    first = {op.get_friendly_name() for op in convolutions if op.get_friendly_name().startswith(FIRST)}
    assert len(convolutions) > 15 and first and floats == (first if is_light else set())


def test_the_command_verifies_them(kind_model, tmp_path):
    """The whole way, compared with Keras before it is called done."""
    kind_model.save(tmp_path / "best.keras")
    demo = write_demo(tmp_path / "demo", num_train=1, num_val=2, num_test=1, size=(120, 90))
    pictures = [str(path) for path in sorted(demo.images_dir.glob("val*"))]
    out = tmp_path / "served"
    arguments = ["--format", "saved_model", "--out", str(out), "--calibrate", *pictures]
    assert main(["export", str(tmp_path / "best.keras"), *arguments]) == 0
    assert json.loads((out / "export.json").read_text())["passed"]


@pytest.mark.parametrize(
    "how", [{"kernel_size": 5, "strides": 2}, {"kernel_size": 4, "strides": 1}, {"kernel_size": 3, "strides": 2}]
)
def test_padding_of_same_is_tensorflows(how, tmp_path):
    """At odd and even sides: more behind than before where the sum is odd."""
    import onnxruntime

    from centerkp.export.onnx_layers import OPSET, Graph, write_network

    image = keras.Input((13, 10, 3), name="image")
    maps = {"center_heatmap": layers.Conv2D(4, padding="same", name="conv", **how)(image)}
    network = keras.Model(image, maps)
    graph = Graph()
    graph.output(write_network(graph, network, "image")["center_heatmap"], "out")
    value = onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [1, 3, 13, 10])
    body = onnx.helper.make_graph(graph.nodes, "t", [value], [onnx.helper.make_empty_tensor_value_info("out")], graph.constants)
    model = onnx.helper.make_model(body, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=8)
    pixels = np.random.default_rng(0).normal(size=(1, 13, 10, 3)).astype("float32")
    found = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"image": pixels.transpose(0, 3, 1, 2)})[0]
    np.testing.assert_allclose(found.transpose(0, 2, 3, 1), network(pixels)["center_heatmap"], atol=1e-5)
