"""The light network as a detector: its size, what of it trains, number formats, files, and weights by name."""

import math

import keras
import numpy as np
import pytest

from centerkp.model.center_net import CenterNet, load_model, save_model
from centerkp.model.cost import count_gmac, measure_reach
from centerkp.model.transfer import transfer_weights
from centerkp.schema import Schema
from centerkp.weights.start import build_model, load_weights

NAME = "efficientnet_lite0_fpn"


@pytest.fixture(scope="module")
def model():
    return build_model(Schema.generic(1, 2), backbone=NAME, image_size=64, weights="imagenet")


def test_size(model):
    """3.8 million parameters and a fortieth of hourglass_104's multiplications; a cell sees the whole picture."""
    assert model.count_params() == 3_810_047
    assert count_gmac(model, (320, 320)) == pytest.approx(1.9, abs=0.1)
    assert measure_reach(model) > 640 and model.multiple == 32


def test_filters_are_frozen(model):
    """Of the trunk only the 1x1 convolutions below stride 8 train; the pyramid and the heads do, with their normalisation."""
    model.freeze("filters")
    trained = {layer.name for layer in model.layers if layer.trainable_weights}
    model.freeze("none")
    trunk = {name for name in trained if name.startswith(("stem", "stride"))}
    assert trunk == {
        f"{stride}_block{i}_{part}_conv"
        for stride, blocks in (("stride16", 6), ("stride32", 5))
        for i in range(blocks)
        for part in ("expand", "project")
    }
    assert {"pyramid_top", "pyramid4_conv", "pyramid4_bn", "stack0_box_size", "stack0_box_size_hidden"} <= trained
    assert sum(math.prod(v.shape) for v in model.trainable_variables) > 3e6  # all of it again
    with pytest.raises(ValueError, match="freeze: found 'filters', expected one of"):
        CenterNet(Schema.generic(1), "hourglass_10", 32).freeze("filters")


def test_the_trunk_computes_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = CenterNet(Schema.generic(1), NAME, 64)
    finally:
        keras.config.set_dtype_policy("float32")
    formats = {layer.name: layer.compute_dtype for layer in mixed.layers}
    assert {formats[n] for n in formats if n.startswith(("stem", "stride"))} == {"float32"}
    assert formats["pyramid4_conv"] == formats["stack0_box_size_hidden"] == "bfloat16"


@pytest.mark.once
def test_saved_and_loaded(model, tmp_path):
    """The same maps; what was frozen is remembered; a detector of other things starts from it by name."""
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), dtype="uint8")
    model.freeze("filters")
    save_model(model, tmp_path / "model.keras")
    model.freeze("none")
    loaded = load_model(tmp_path / "model.keras")
    assert loaded.frozen == "filters" and loaded.backbone == model.backbone
    for head, maps in model(images)[0].items():
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(loaded(images)[0][head]), keras.ops.convert_to_numpy(maps))
    other = CenterNet(Schema.generic(2, 3), NAME, 64)
    report = transfer_weights(loaded, other)
    assert report.left_behind == 0 and list(report.keypoints.values()).count(None) == 2
    conv = "stride32_block4_project_conv"
    np.testing.assert_array_equal(other.get_layer(conv).kernel, model.get_layer(conv).kernel)


@pytest.mark.once
def test_what_imagenet_cannot_start():
    with pytest.raises(ValueError, match="found backbone hourglass_10, expected one of"):
        build_model(num_classes=1, backbone="hourglass_10", image_size=64, weights="imagenet")
    with pytest.raises(ValueError, match="found no schema, expected a schema alone"):
        build_model(backbone=NAME, image_size=64, weights="imagenet")
    with pytest.raises(ValueError, match="found keypoints to take over"):
        build_model(num_classes=1, num_keypoints=1, backbone=NAME, weights="imagenet", map_keypoint={"a": "b"})
    with pytest.raises(ValueError, match="found features without a detector"):
        load_weights("imagenet")


@pytest.mark.once
def test_heads_of_another_width():
    wide = build_model(num_classes=1, backbone=NAME, image_size=64, weights="imagenet", head_channels=8)
    assert wide.get_layer("stack0_box_size_hidden").kernel.shape[-1] == 8
