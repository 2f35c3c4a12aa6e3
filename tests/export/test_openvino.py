import sys

import numpy as np
import openvino
import pytest

from centerkp.export.openvino import write_openvino
from centerkp.inference.model_loading import load_detector
from centerkp.runtimes.artefact import LETTERBOX, OUTPUTS
from centerkp.runtimes.openvino import start_at_canvas

SIZE = (96, 64)
# The least score of an object that is looked for, and how far it may be off, in pixels and in score.
ALLOWED = {"fp32": (1e-3, 1e-5), "fp16": (0.1, 0.01), "bf16": (2.0, 0.05), "int8": (6.0, 0.15)}


@pytest.fixture(scope="module")
def folder(network, inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("openvino")
    samples = [(canvas, tuple(size.astype(int))) for canvas, size in zip(*inputs.values(), strict=True)]
    for precision in ALLOWED:
        write_openvino(network, folder / f"{precision}.xml", precision=precision, samples=samples)
    return folder


@pytest.mark.parametrize("precision", ALLOWED)
def test_best_object_equals_keras(precision, folder, small_model, inputs):
    detector = load_detector(folder / f"{precision}.xml")
    assert (detector.schema, detector.image_size) == (small_model.schema, SIZE)
    assert detector.thresholds == small_model.thresholds and detector.thresholds.objects == (40, 25, 0)
    assert (detector.description.format, detector.description.precision) == ("openvino", precision)
    ours = detector.predict_on_batch(inputs)
    theirs = {name: np.asarray(values) for name, values in small_model.predict_on_batch(inputs).items()}
    assert set(ours) == set(OUTPUTS) and ours["class_ids"].dtype == np.int32
    pixels, score = ALLOWED[precision]
    for i in range(len(theirs["scores"])):
        distance = np.abs(ours["boxes"][i] - theirs["boxes"][i, 0]).max(axis=1)
        distance[ours["class_ids"][i] != theirs["class_ids"][i, 0]] = np.inf
        row = distance.argmin()
        assert distance[row] < pixels and abs(ours["scores"][i, row] - theirs["scores"][i, 0]) < score
        if precision == "fp32":
            np.testing.assert_allclose(ours["keypoints"][i, row], theirs["keypoints"][i, 0], atol=pixels)


def test_images_of_any_size(folder, pictures):
    """In the picture's own pixels, whatever the number of pictures."""
    detector = load_detector(folder / "fp32.xml")
    one = detector.run_images(pictures[1][None])
    three = detector.run_images(np.stack([pictures[1]] * 3))
    assert three["boxes"].shape == (3, 20, 4) and three["keypoint_scores"].shape == (3, 20, 5)
    for name, values in three.items():
        np.testing.assert_allclose(values[2], one[name][0], atol=1e-3)
    assert one["boxes"][..., 2].max() > SIZE[0]  # the picture is wider than the canvas


def test_earlier_files_start_at_the_picture(folder, inputs, tmp_path):
    """Their letterbox has no names to cut at: canvases go through it, as pictures that are as large already."""
    model = openvino.Core().read_model(folder / "fp32.xml")
    for output in (output for op in model.get_ops() for output in op.outputs()):
        output.set_names({name for name in output.get_names() if not name.startswith(LETTERBOX)})
    openvino.save_model(model, tmp_path / "m.xml", compress_to_fp16=False)
    assert start_at_canvas(openvino.Core().read_model(tmp_path / "m.xml"), 1, SIZE) is None
    now, earlier = (load_detector(path).predict_on_batch(inputs) for path in (folder / "fp32.xml", tmp_path / "m.xml"))
    for name, values in now.items():
        np.testing.assert_allclose(earlier[name], values, atol=1e-3)


def test_canvases_do_not_pay_for_the_letterbox(folder):
    model = start_at_canvas(openvino.Core().read_model(folder / "int8.xml"), 3, SIZE)
    assert [tuple(one.shape) for one in model.inputs] == [(3, 64, 96, 3), (3, 2)]
    assert not [op for op in model.get_ops() if op.get_friendly_name().startswith(f"{LETTERBOX}/")]


def test_sizes_of_the_files(folder):
    size = {p: (folder / f"{p}.bin").stat().st_size for p in ALLOWED}
    halves = size["bf16"], size["fp16"]  # which differ by the shapes of a few constants
    assert size["int8"] < min(halves) and max(halves) < 0.6 * size["fp32"]


def test_int8_leaves_decoding_and_letterbox_in_float(folder):
    model = openvino.Core().read_model(folder / "int8.xml")
    fakes = [op.get_friendly_name() for op in model.get_ops() if op.get_type_name() == "FakeQuantize"]
    assert len(fakes) > 20 and not [name for name in fakes if name.startswith(("decode/", "heads/", "letterbox/"))]
    convolutions = [op for op in model.get_ops() if op.get_type_name() == "Convolution"]
    from_int8 = [op for op in convolutions if op.input_value(0).get_node().get_type_name() == "FakeQuantize"]
    assert len(from_int8) == len(convolutions) > 20


def test_fixed_batch(network, inputs, tmp_path):
    detector = load_detector(write_openvino(network, tmp_path / "m.xml", batch=1))
    assert detector.description.batch == 1
    assert detector.predict_on_batch(inputs)["boxes"].shape == (4, 20, 4)


def test_errors(network, folder, tmp_path, monkeypatch):
    alone = tmp_path / "alone.xml"
    alone.write_bytes((folder / "fp32.xml").read_bytes())
    with pytest.raises(FileNotFoundError, match=r"alone.xml: found no alone.bin beside it"):
        load_detector(alone)
    broken = tmp_path / "broken.xml"
    broken.write_text("<net>")
    broken.with_suffix(".bin").write_bytes(b"")
    with pytest.raises(ValueError, match="broken.xml: found a file that OpenVINO does not load"):
        load_detector(broken)
    for package in ("openvino", "nncf"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            canvas = (np.zeros((64, 96, 3), np.uint8), SIZE)
            with pytest.raises(FileNotFoundError, match=rf"{package}: .*pip install 'centerkp\[openvino\]'"):
                write_openvino(network, tmp_path / "m.xml", precision="int8", samples=[canvas])


def test_foreign_model(folder, tmp_path):
    model = openvino.Core().read_model(folder / "fp32.xml")
    model.set_rt_info("", "centerkp")
    openvino.save_model(model, tmp_path / "m.xml")
    with pytest.raises(ValueError, match="m.xml: found no readable description"):
        load_detector(tmp_path / "m.xml")
