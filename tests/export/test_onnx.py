import json
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from keras import layers

from centerkp.export import onnx_file
from centerkp.export.fold import fold
from centerkp.export.onnx_file import write_onnx
from centerkp.images.reading import letterbox_image
from centerkp.inference.model_loading import load_detector
from centerkp.model.center_net import CenterNet
from centerkp.results import to_source
from centerkp.runtimes.artefact import CANVAS, LETTERBOX, OUTPUTS, VALID_SIZE
from centerkp.runtimes.onnx import read_from_canvas
from centerkp.schema import Schema

SIZE = (96, 64)


@pytest.fixture(scope="module")
def path(network, tmp_path_factory):
    return write_onnx(network, tmp_path_factory.mktemp("onnx") / "m.onnx")


@pytest.fixture(scope="module")
def expected(small_model, pictures):
    """What Keras finds in each picture, in its own pixels."""
    found = []
    for picture in pictures:
        canvas, affine, size = letterbox_image(picture, SIZE)
        objects = small_model.predict_on_batch({"image": canvas[None], "valid_size": np.float32([size])})
        found.append(to_source({name: np.asarray(values)[0] for name, values in objects.items()}, affine))
    return found


def test_runs_alone_with_names_order_and_metadata(path, pictures, small_model):
    """As someone does who has ONNX Runtime and this file."""
    session = onnxruntime.InferenceSession(path)
    assert [one.name for one in session.get_inputs()] == ["image"] and session.get_inputs()[0].type == "tensor(uint8)"
    assert session.get_inputs()[0].shape == ["batch", "height", "width", 3]
    assert [one.name for one in session.get_outputs()] == list(OUTPUTS)
    assert [one.shape[1:] for one in session.get_outputs()] == [[20, 4], [20], [20], [20, 5, 2], [20, 5]]
    boxes, scores, class_ids, keypoints, keypoint_scores = session.run(None, {"image": pictures[0][None]})
    assert (boxes.shape, scores.shape, keypoints.shape) == ((1, 20, 4), (1, 20), (1, 20, 5, 2)) and class_ids.dtype == np.int32
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["class_names"]) == ["class_0", "class_1", "class_2"]
    assert json.loads(metadata["keypoint_names"]) == list(small_model.schema.keypoint_names)
    described = json.loads(metadata["centerkp"])
    assert Schema.from_config(described["schema"]) == small_model.schema and described["precision"] == "fp32"
    onnx.checker.check_model(onnx.load(path), full_check=True)


def test_canvases_equal_keras_also_mixed_in_one_batch(path, small_model, inputs):
    inputs = {name: np.concatenate([values, values[:1]]) for name, values in inputs.items()}
    detector = load_detector(path)
    ours, theirs = detector.predict_on_batch(inputs), small_model.predict_on_batch(inputs)
    assert (detector.schema, detector.image_size) == (small_model.schema, SIZE)
    assert detector.thresholds == small_model.thresholds and detector.thresholds.objects == (40, 25, 0)
    assert np.asarray(theirs["scores"])[:, 0].min() > 0.1  # something is found
    for name in OUTPUTS:
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-5 if "scores" in name else 1e-3, err_msg=name)


def test_images_of_any_size_come_back_in_their_own_pixels(path, pictures, expected):
    detector = load_detector(path)
    for picture, theirs in zip(pictures, expected, strict=True):
        ours = {name: values[0] for name, values in detector.run_images(picture[None]).items()}
        allowed = 0.01 * max(picture.shape)  # of a letterbox that rounds a pixel the other way here and there
        np.testing.assert_allclose(ours["boxes"][0], theirs["boxes"][0], atol=allowed)
        np.testing.assert_allclose(ours["keypoints"][0], theirs["keypoints"][0], atol=allowed)
        np.testing.assert_allclose(ours["scores"], theirs["scores"], atol=0.02)


def test_half_precision(network, path, pictures, tmp_path):
    half = write_onnx(network, tmp_path / "half.onnx", precision="fp16")
    assert half.stat().st_size < 0.8 * path.stat().st_size
    model = onnx.load(half)
    types = {one.name: one.data_type for one in model.graph.initializer}
    assert types["stem_conv/kernel"] == onnx.TensorProto.FLOAT16
    assert types["stack1_box_size/kernel"] == onnx.TensorProto.FLOAT
    onnx.checker.check_model(model, full_check=True)
    ours, theirs = (load_detector(file).run_images(pictures[1][None]) for file in (half, path))
    assert 0 < np.abs(ours["scores"] - theirs["scores"]).max() < 0.02
    np.testing.assert_allclose(ours["boxes"][0, 0], theirs["boxes"][0, 0], atol=0.5)


def test_fixed_batch(network, pictures, inputs, path, tmp_path):
    one = load_detector(write_onnx(network, tmp_path / "one.onnx", batch=2))
    assert (one.description.format, one.description.precision, one.description.batch) == ("onnx", "fp32", 2)
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument):
        one.run_images(pictures[0][None])
    inputs = {name: values[[0, 0, 0, 1]] for name, values in inputs.items()}
    ours, theirs = (detector.predict_on_batch(inputs) for detector in (one, load_detector(path)))
    for name, values in theirs.items():
        np.testing.assert_allclose(ours[name], values, atol=1e-3, err_msg=name)


def test_a_wide_stem_without_keypoints(tmp_path):
    """Stems of 16 channels take another way through the first strided shortcut."""
    backbone = {"stem_channels": 8, "channels": [16, 16], "blocks": [1, 1], "stacks": 1}
    model = CenterNet(Schema.generic(2), backbone, SIZE)
    detector = load_detector(write_onnx(fold(model), tmp_path / "m.onnx"))
    image = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)
    ours, theirs = detector.predict_on_batch(image), model.predict_on_batch(image)
    assert set(ours) == {"boxes", "scores", "class_ids"}
    np.testing.assert_allclose(ours["scores"], theirs["scores"], atol=1e-5)


def test_weights_over_the_limit_go_into_a_file_of_their_own(network, path, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "INLINE_LIMIT", 1000)
    large = write_onnx(network, tmp_path / "large.onnx")
    assert (tmp_path / "large.onnx.data").stat().st_size > 10_000
    ours, theirs = (load_detector(file).run_images(pictures[0][None]) for file in (large, path))
    np.testing.assert_array_equal(ours["boxes"], theirs["boxes"])


def test_what_cannot_be_written(network, tmp_path, monkeypatch):
    image = network.inputs[0]
    strange = {"center_heatmap": layers.Softmax(name="odd")(image)}
    with pytest.raises(ValueError, match="layer 'odd': found a Softmax, expected one of the backbones' own layers"):
        write_onnx(type(network)(image, strange, network), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_read(path, tmp_path):
    broken, foreign = tmp_path / "broken.onnx", tmp_path / "foreign.onnx"
    broken.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match="broken.onnx: found a file that ONNX Runtime does not load .* export again"):
        load_detector(broken)
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, foreign)
    with pytest.raises(ValueError, match="foreign.onnx: found no readable description"):
        load_detector(foreign)


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_missing_package_names_the_command(package, network, path, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(FileNotFoundError, match=rf"{package}: .*pip install 'centerkp\[onnx\]'"):
        write_onnx(network, tmp_path / "m.onnx") if package == "onnx" else load_detector(path)


def test_canvases_do_not_pay_for_the_letterbox(path):
    model = onnx.load_from_string(read_from_canvas(path, SIZE))
    assert [one.name for one in model.graph.input] == ["image", VALID_SIZE]
    assert [node.name for node in model.graph.node if node.name.startswith(f"{LETTERBOX}/")] == [CANVAS]


def test_earlier_files_start_at_the_picture(path, inputs, tmp_path, monkeypatch):
    """Their letterbox has no names to cut at: canvases go through it, and so they do where nothing can cut."""
    model = onnx.load(path)
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [name.replace(CANVAS, f"{LETTERBOX}/Mul_70") for name in names]
    onnx.save(model, tmp_path / "m.onnx")
    now = load_detector(path).predict_on_batch(inputs)
    others = [load_detector(tmp_path / "m.onnx").predict_on_batch(inputs)]
    monkeypatch.setitem(sys.modules, "onnx", None)
    others.append(load_detector(path).predict_on_batch(inputs))
    for name, values in now.items():
        for other in others:
            np.testing.assert_allclose(other[name], values, atol=1e-3)
