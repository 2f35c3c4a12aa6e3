import json

import keras
import numpy as np
import pytest
import reference
import weights_recipe

from centerkp.model.center_net import build_model
from centerkp.model.hourglass import BACKBONES, Hourglass, find_backbone
from centerkp.model.zoo import port_weights
from centerkp.schema import Schema


def letterboxed_synth(size):
    """The formula image of the goldens, 640 x 480, fitted into size x size.

    By plain bilinear sampling without a half-pixel shift.
    """
    x, y = np.meshgrid(np.arange(640), np.arange(480))
    red = (7 * x + 3 * y + x * y // 11) % 256
    green = (128 + 100 * np.sin(x / 9) * np.cos(y / 13)).astype(int) % 256
    blue = 180 * ((x // 16 + y // 16) % 2) + (x * x + y) % 64
    sampled = np.stack([red, green, blue], axis=-1).astype("uint8").astype("float32")
    for axis, length in ((0, size * 3 // 4), (1, size)):
        where = np.arange(length) * (640 / size)
        low = np.floor(where).astype(int)
        high = np.minimum(low + 1, sampled.shape[axis] - 1)
        share = np.expand_dims((where - low).astype("float32"), (1, 2) if axis == 0 else (0, 2))
        sampled = sampled.take(low, axis) * (1 - share) + sampled.take(high, axis) * share
    return np.pad(sampled, [(0, size - sampled.shape[0]), (0, 0), (0, 0)])[None]


@pytest.fixture(scope="module")
def hg104():
    """The full network with the weights of the goldens, which a recipe makes from every checkpoint key and shape."""
    manifest = json.loads((reference.GOLDEN / "hg104_manifest.json").read_text())
    model = build_model(Schema.generic(90, [17] + [0] * 89), backbone="hourglass_104")

    def read(key):
        return weights_recipe.make_variable(key + weights_recipe.SUFFIX, manifest[key][0])

    variables = {v.path: v for v in model.weights}
    for path, value in port_weights(model, read, {0: "human_pose"}):
        variables[path].assign(value)
    return model


def test_hg104_heads_of_both_stacks_at_128(hg104):
    golden = reference.load("hg104_128")
    stacks = hg104(letterboxed_synth(128))
    assert len(stacks) == 2
    for i, stack in enumerate(stacks):
        for head, values in stack.items():
            expected = reference.read_head(golden, "synth/pred", head, ("human_pose",), f"/{i}")
            np.testing.assert_allclose(keras.ops.convert_to_numpy(values), expected, atol=1e-4, rtol=0, err_msg=f"{head} {i}")


def test_hg104_heads_at_512(hg104):
    """Every fourth row and column, and mean and deviation of every channel over the whole map."""
    golden = reference.load("hg104_512")
    maps = hg104(letterboxed_synth(512))[-1]
    for head, values in maps.items():
        values = keras.ops.convert_to_numpy(values)
        expected = reference.read_head(golden, "synth/pred_sub", head, ("human_pose",), "/1")
        np.testing.assert_allclose(values[:, 1::4, 1::4], expected, atol=1e-4, rtol=0, err_msg=head)
        for statistic in ("mean", "std"):
            expected = reference.read_head(golden, f"synth/pred_{statistic}", head, ("human_pose",), "/1")
            np.testing.assert_allclose(
                getattr(values.astype("float64"), statistic)((0, 1, 2)), expected, atol=1e-4, err_msg=head
            )


def test_hg104_size(hg104):
    """The reference's counts; the input normalisation has seven numbers of its own."""
    assert sum(int(np.prod(v.shape)) for v in hg104.trainable_weights) == 194_873_318
    statistics = [v for v in hg104.non_trainable_weights if v.path.split("/")[-1].startswith("moving")]
    assert sum(int(np.prod(v.shape)) for v in statistics) == 117_504 and len(statistics) == 320


@pytest.mark.parametrize("name, multiple", [("hourglass_104", 128), ("hourglass_52", 128), ("hourglass_32", 32),
                                            ("hourglass_20", 16), ("hourglass_10", 8)])  # fmt: skip
def test_multiples(name, multiple):
    assert BACKBONES[name].multiple == multiple


def test_strided_convolutions_pad_all_four_sides():
    """A 3x3 kernel that copies its first pixel sees, at stride 2, the padding in row 0 and pixel 1 (not 2) in row 1."""
    model = build_model(num_classes=1, backbone=Hourglass(4, (8, 8), (1, 1), 1), image_size=16)
    assert model.get_layer("stack0_stage0_down_block0_1_pad").padding == ((1, 1), (1, 1))
    assert model.get_layer("stem_pad").padding == ((3, 3), (3, 3))
    assert model.get_layer("stack0_stage0_down_block0_skip_conv").padding == "valid"


def test_shortcut_and_down_path_start_from_the_same_input():
    model = build_model(num_classes=1, backbone="hourglass_10", image_size=64)
    first = [model.get_layer(f"stack0_stage0_{part}_block0_1_{kind}") for part, kind in (("shortcut", "conv"), ("down", "pad"))]
    sources = {layer.input._keras_history.operation.name for layer in first}
    assert sources == {"stem_block_relu"}


def test_own_widths():
    spec = find_backbone(
        {"stem_channels": 4, "channels": [8, 12, 16], "blocks": [1, 2, 1], "stacks": 2}, stacks=None, head_channels=6
    )
    assert (spec.stacks, spec.feature_channels, spec.multiple, spec.hidden_channels("box_size")) == (2, 8, 16, 6)
    outputs = build_model(num_classes=2, num_keypoints=1, backbone=spec, image_size=32)(np.zeros((1, 32, 48, 3)))
    assert [stack["keypoint_offset"].shape for stack in outputs] == [(1, 8, 12, 4)] * 2


@pytest.mark.parametrize("bad", [{"channels": (8,), "blocks": (1,)}, {"channels": (8, 8), "blocks": (1, 0)}, {"stacks": 0}])
def test_impossible_widths(bad):
    with pytest.raises(ValueError, match="Hourglass"):
        Hourglass(**bad)


def test_unknown_backbone():
    with pytest.raises(ValueError, match="hourglass_20"):
        build_model(num_classes=1, backbone="resnet_50")
