"""Letterbox and decoder of the ONNX files alone, in ONNX Runtime, against the reference's goldens and the Keras decoder."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import reference
from keras import ops

from centerkp.codec.decode import DecodeOptions, decode
from centerkp.export.onnx_decode import write_decode
from centerkp.export.onnx_layers import OPSET, Graph
from centerkp.export.onnx_letterbox import write_letterbox
from centerkp.images.reading import letterbox_image
from centerkp.schema import Schema

FLOAT, UINT8 = onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8


def make_session(graph, inputs, outputs):
    values = [onnx.helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()]
    results = [onnx.helper.make_empty_tensor_value_info(name) for name in outputs]
    body = onnx.helper.make_graph(graph.nodes, "test", values, results, graph.constants)
    opset = [onnx.helper.make_opsetid("", OPSET)]
    model = onnx.helper.make_model(body, opset_imports=opset, ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString())


def run_decode(maps, keypoint_mask, options, valid_size, to_source=(1.0, 1.0)):
    maps = {head: np.asarray(values, np.float32).transpose(0, 3, 1, 2) for head, values in maps.items()}
    graph = Graph()
    heads = {head: head for head in maps}
    found = write_decode(graph, heads, maps["box_size"].shape[2:], keypoint_mask, options, "valid_size", "to_source")
    for name, tensor in found.items():
        graph.output(tensor, name)
    inputs = {head: (FLOAT, [None, *values.shape[1:]]) for head, values in maps.items()}
    session = make_session(graph, inputs | {"valid_size": (FLOAT, [2]), "to_source": (FLOAT, [2])}, found)
    sides = {"valid_size": np.float32(valid_size), "to_source": np.float32(to_source)}
    return dict(zip(found, session.run(None, maps | sides), strict=True))


CASES = {
    "multi": (reference.SCHEMA, ("task_a", "task_b")),
    "multi_no_class_b": (reference.SCHEMA, ("task_a", "task_b")),
    "one_task_three_classes": (Schema.generic(3, [5, 0, 0]), ("task_a",)),
    "single": (Schema.generic(1, 5), ("task_a",)),
}
OPTIONS = [{}, {"clip_keypoints": True}, {"ignored_classes": (0,), "center_kernel": 5}, {"candidates": 3, "max_objects": 7}]
OPTIONS += [
    {"candidate_score": 0.3, "unmatched_score": 0.05, "box_scale": 0.8, "search_scale": 0.1},
    {"center_kernel": 2, "keypoint_kernel": 5},
    {"box_margins": (0.1, None, 0.0), "candidate_score": 0.01},
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("changed", OPTIONS, ids=lambda changed: "_".join(changed) or "defaults")
def test_equals_keras_on_the_goldens(case, changed):
    golden = reference.load("postprocess")
    schema, tasks = CASES[case]
    maps = {head: reference.read_head(golden, f"{case}/pred", head, tasks) for head in reference.HEADS}
    options = DecodeOptions(**{"max_objects": 30} | changed)
    options = replace(options, box_margins=options.box_margins[: schema.num_classes])
    for valid_size in ((128, 128), (72, 100)):
        expected = decode(maps, schema.keypoint_mask, options, np.float32([valid_size] * 2))
        found = run_decode(maps, schema.keypoint_mask, options, valid_size)
        assert set(found) == set(expected) and found["class_ids"].dtype == np.int32
        np.testing.assert_array_equal(found["class_ids"], expected["class_ids"])
        for name, values in expected.items():
            tolerance = 1e-6 if "scores" in name else 1e-3
            np.testing.assert_allclose(found[name], ops.convert_to_numpy(values), atol=tolerance, rtol=0, err_msg=name)


def test_equal_scores_come_in_the_order_of_keras():
    """Whole plateaus of them, of objects and of candidates, which are found by blocks."""
    golden = reference.load("postprocess")
    schema, tasks = CASES["multi"]
    maps = {head: np.array(reference.read_head(golden, "multi/pred", head, tasks)) for head in reference.HEADS}
    rng = np.random.default_rng(0)
    for head in ("center_heatmap", "keypoint_heatmap"):
        maps[head] = rng.choice(np.float32([-1, 0, 0.5]), maps[head].shape, p=[0.9, 0.08, 0.02])
    options = DecodeOptions(max_objects=30, candidates=20, center_kernel=1, keypoint_kernel=1)
    expected = decode(maps, schema.keypoint_mask, options, np.float32([[128, 128]] * len(maps["box_size"])))
    found = run_decode(maps, schema.keypoint_mask, options, (128, 128))
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], ops.convert_to_numpy(values), atol=1e-3, rtol=0, err_msg=name)


def test_source_pixels():
    golden = reference.load("postprocess")
    schema, tasks = CASES["single"]
    maps = {head: reference.read_head(golden, "single/pred", head, tasks) for head in reference.HEADS}
    plain, moved = (run_decode(maps, schema.keypoint_mask, DecodeOptions(), (128, 100), s) for s in ((1, 1), (5, 0.5)))
    np.testing.assert_allclose(moved["boxes"], plain["boxes"] * [5, 0.5, 5, 0.5], rtol=1e-6)
    np.testing.assert_allclose(moved["keypoints"], plain["keypoints"] * [5, 0.5], rtol=1e-6)


def test_no_keypoints_and_a_map_smaller_than_the_number_of_objects():
    maps = {
        "center_heatmap": np.full((1, 2, 2, 1), -9),
        "center_offset": np.zeros((1, 2, 2, 2)),
        "box_size": np.ones((1, 2, 2, 2)),
    }
    maps["center_heatmap"][0, 1, 0] = 3
    found = run_decode(maps, np.zeros((1, 0), bool), DecodeOptions(), (8, 8))
    assert set(found) == {"boxes", "scores", "class_ids"} and found["scores"].shape == (1, 4)
    np.testing.assert_allclose(found["boxes"][0, 0], [0, 2, 2, 6])  # cell (0, 1) -+ half a cell, cut off on the left


@pytest.fixture(scope="module", params=[(128, 64), (96, 160)], ids=str)
def letterbox(request):
    graph = Graph()
    made = write_letterbox(graph, "image", request.param)
    names = {"canvas": made.image, "valid_size": made.valid_size, "to_source": made.to_source}
    for name, tensor in names.items():
        graph.output(tensor, name)
    return request.param, make_session(graph, {"image": (UINT8, ["batch", "height", "width", 3])}, names)


@pytest.mark.parametrize("sides", [(640, 480), (128, 64), (96, 160), (31, 200), (7, 5), (700, 1), (1, 1), (1001, 37)], ids=str)
def test_letterbox_equals_the_one_of_training(letterbox, sides):
    size, session = letterbox
    images = np.random.default_rng(0).integers(0, 256, (2, sides[1], sides[0], 3), dtype=np.uint8)
    canvases, valid_size, to_source = session.run(None, {"image": images})
    for canvas, image in zip(canvases, images, strict=True):
        expected, affine, valid = letterbox_image(image, size)
        difference = np.abs(canvas - expected)
        # OpenCV's coordinates have the digits of a float32, so that a half may round the other way.
        assert difference.max() <= 1 and (difference > 0).mean() < 0.01
        assert (canvas == np.round(canvas)).all()
        np.testing.assert_array_equal(valid_size, valid)
        np.testing.assert_allclose(to_source, 1 / np.diag(affine), rtol=1e-6)


def test_letterbox_leaves_an_image_of_its_size_alone(letterbox):
    size, session = letterbox
    image = np.random.default_rng(0).integers(0, 256, (1, size[1], size[0], 3), dtype=np.uint8)
    np.testing.assert_array_equal(session.run(None, {"image": image})[0], image)
