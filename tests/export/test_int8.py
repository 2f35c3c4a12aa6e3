import keras
import nncf
import numpy as np
import pytest

from centerkp.export import int8
from centerkp.export.onnx_cells import find_features
from centerkp.export.openvino import write_openvino
from centerkp.inference.model_loading import load_detector


@pytest.fixture
def boxes(network, inputs, tmp_path, monkeypatch):
    """Runs an int8 file of which the quantisation adds to the features alone -> all boxes, (pictures, objects, 4)."""
    features = find_features(network)._keras_history.operation
    while not isinstance(features, keras.layers.Conv2D):
        features = features.input._keras_history.operation
    samples = [(canvas, tuple(size.astype(int))) for canvas, size in zip(*inputs.values(), strict=True)]

    def run(added, least_objects):
        def quantize(model, *_, **__):
            changed = model.clone()
            int8._add_to_bias(changed, f"network/{features.name}", added)
            return changed

        monkeypatch.setattr(nncf, "quantize", quantize)
        monkeypatch.setattr(int8, "MIN_OBJECTS", least_objects)
        path = write_openvino(network, tmp_path / "m.xml", precision="int8", samples=samples)
        return load_detector(path).predict_on_batch(inputs)["boxes"]

    return run


def test_what_int8_adds_to_sizes_of_boxes_is_taken_out(boxes):
    added = np.random.default_rng(0).uniform(0, 1, (1, 8, 1, 1))
    exact, found, settled = boxes(0 * added, 10**6), boxes(added, 10**6), boxes(added, 10)
    are_same = np.abs(found - exact).max(-1) < 12  # others are of objects that came to another rank
    assert are_same.sum() > 20
    shifts = [np.diff((one - exact)[are_same][:, ::2]).mean() for one in (found, settled)]  # of the widths
    assert abs(shifts[0]) > 0.2 and abs(shifts[1]) < 0.5 * abs(shifts[0])


def test_sizes_that_are_right_stay(boxes):
    nothing = np.zeros((1, 8, 1, 1))
    np.testing.assert_allclose(boxes(nothing, 10), boxes(nothing, 10**6), atol=1e-3)
