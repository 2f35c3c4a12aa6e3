from dataclasses import replace

import numpy as np
import onnxruntime
from keras import layers

from centerkp.export.fold import fold
from centerkp.export.onnx_cells import dense_kernel, find_computable
from centerkp.export.onnx_decode import choose_block
from centerkp.export.onnx_file import write_onnx


def test_heads_computed_at_cells_equal_those_of_whole_maps(network, inputs, tmp_path, monkeypatch):
    """Also at the borders of the map, where objects are looked for as everywhere."""
    compare_heads(network, inputs, tmp_path, monkeypatch)


def test_heads_of_other_convolutions_computed_at_cells(kind_model, inputs, tmp_path, monkeypatch):
    """Separable ones, too."""
    compare_heads(fold(kind_model), inputs, tmp_path, monkeypatch)


def compare_heads(network, inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(network, "decode_options", replace(network.decode_options, max_objects=40, candidates=8))
    assert find_computable(network) == {"center_offset", "box_size", "keypoint_offset", "keypoint_regression"}
    found = []
    for whole in (True, False):
        path = write_onnx(network, tmp_path / f"{whole}.onnx", whole_maps=whole)
        session = onnxruntime.InferenceSession(str(path))
        found.append(session.run(None, {"image": inputs["image"]}))
    cells = np.rint(found[0][0][0] / 4)
    assert cells.min() == 0 and cells[:, 2].max() >= 23  # some at the border
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-3)


def test_many_cells_are_taken_from_whole_maps(network, monkeypatch):
    monkeypatch.setattr(network, "decode_options", replace(network.decode_options, max_objects=200, candidates=20))
    assert find_computable(network) == set()  # of 384 cells
    monkeypatch.setattr(network, "decode_options", replace(network.decode_options, max_objects=20))
    assert find_computable(network) == {"center_offset", "box_size", "keypoint_regression"}


def test_separable_convolution_as_one_kernel():
    import keras

    layer = layers.SeparableConv2D(5, 3, depth_multiplier=2, padding="same")
    image = np.random.default_rng(0).normal(size=(1, 6, 7, 4)).astype(np.float32)
    expected = layer(image)
    found = keras.ops.conv(image, dense_kernel(layer), padding="same")
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), atol=1e-5)


def test_blocks_divide_what_they_are_of():
    assert choose_block(16384, 100, 128) == 16 and choose_block(16384 * 80, 100, 16384 * 80) == 128
    assert choose_block(1024, 100, 32) == 4 and choose_block(1000, 10, 1000) == 8
    assert choose_block(400, 100, 20) == 0 and choose_block(999, 3, 999) == 0 and choose_block(4, 9, 2) == 0
