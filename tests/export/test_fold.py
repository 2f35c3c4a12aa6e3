import numpy as np
import pytest
from keras import layers

from centerkp.export.fold import fold
from centerkp.heads import head_channels
from centerkp.model.center_net import CenterNet
from centerkp.schema import Schema


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).uniform(0, 255, (2, 64, 96, 3)).astype("float32")


def largest_difference(ours, theirs):
    return max(np.abs(np.asarray(ours[h]) - theirs[h]).max() / np.abs(theirs[h]).max() for h in theirs)


def test_same_maps_without_batch_normalisation(small_model, images):
    before = small_model.get_weights()
    network = fold(small_model)
    kinds = {type(layer) for layer in network.layers}
    assert layers.BatchNormalization not in kinds and layers.Conv2D in kinds
    assert not [
        layer.name for layer in network.layers if layer.name.startswith("stack0_") and small_model.find_head(layer.name)
    ]
    expected = {head: np.asarray(values) for head, values in small_model(images)[-1].items()}
    assert largest_difference(network(images), expected) < 1e-5
    assert all((w == b).all() for w, b in zip(small_model.get_weights(), before, strict=True))


def test_channels_that_hardly_vary_are_folded_in_float64(small_model, images):
    """Statistics as dead channels have them: a factor of 300 and a shift that cancels."""
    model = CenterNet.from_config(small_model.get_config())
    model.set_weights(small_model.get_weights())
    norm = model.get_layer("stem_bn")
    norm.moving_variance.assign(np.full(norm.moving_variance.shape, 1e-6))
    norm.gamma.assign(np.full(norm.gamma.shape, 0.01))
    expected = {head: np.asarray(values) for head, values in model(images)[-1].items()}
    assert largest_difference(fold(model)(images), expected) < 1e-5


def test_without_keypoints_and_with_a_wide_stem(images):
    """Stems of 16 channels take another way through the first strided shortcut."""
    model = CenterNet(Schema.generic(2), {"stem_channels": 8, "channels": [16, 16], "blocks": [1, 1], "stacks": 1}, (96, 64))
    network = fold(model)
    assert list(network(images)) == list(head_channels(model.schema)) == ["center_heatmap", "center_offset", "box_size"]
    expected = {head: np.asarray(values) for head, values in model(images)[-1].items()}
    assert largest_difference(network(images), expected) < 1e-5
    assert network.image_size == (96, 64) and network.schema == model.schema


def test_half_precision_keeps_normalisation_and_maps_in_float32(small_model, images):
    network = fold(small_model, "bfloat16")
    assert network.get_layer("stem_conv").kernel.dtype == "bfloat16"
    assert network.get_layer("normalise").compute_dtype == network.get_layer("stack1_box_size").compute_dtype == "float32"
    expected = {head: np.asarray(values) for head, values in small_model(images)[-1].items()}
    assert 1e-4 < largest_difference(network(images), expected) < 0.2


def test_decode_is_the_models(small_model, images):
    network = fold(small_model)
    sizes = np.float32([[96, 64], [50, 64]])
    ours = network.decode(network(images), sizes)
    theirs = small_model.predict_on_batch({"image": images, "valid_size": sizes})
    assert ours["boxes"].shape == (2, 20, 4)
    np.testing.assert_allclose(ours["boxes"], theirs["boxes"], atol=1e-3)
