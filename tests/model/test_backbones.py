"""What all backbones have in common: configs, sizes, what can be kept from training, and configs of earlier files."""

import json

import numpy as np
import pytest
from keras import layers, ops

from centerkp.model.backbones import BACKBONES, KINDS, find_backbone, name_backbone, same_body
from centerkp.model.center_net import CenterNet
from centerkp.model.hourglass import Hourglass
from centerkp.model.mobilenet import MobileNet
from centerkp.model.resnet import ResNetV1, ResNetV2
from centerkp.schema import Schema

SCHEMA = Schema.generic(2, [3, 0])
LIGHT = {
    "mobilenet": MobileNet(
        stem_channels=4,
        stages=((3, 1, 4, 1, 1), (3, 2, 6, 2, 2), (3, 1, 6, 2, 2), (5, 1, 8, 2, 2)),
        taps=(1, 2),
        last_channels=0,
        pyramid_channels=(8, 8, 6),
        head_channels=8,
    ),
    "resnet_v1": ResNetV1(stem_channels=4, channels=(4, 6), blocks=(2, 1), pyramid_channels=(8, 6), head_channels=8),
    "resnet_v2": ResNetV2(stem_channels=4, channels=(4, 6), blocks=(2, 1), upsample_channels=(6,), head_channels=8),
}


@pytest.mark.once
@pytest.mark.parametrize("name", BACKBONES)
def test_configs_and_names(name):
    """Through JSON and back, whatever the heads' widths; no two rows have one body."""
    spec = BACKBONES[name]
    assert find_backbone(json.loads(json.dumps(spec.get_config()))) == spec == find_backbone(name)
    assert name_backbone(find_backbone(spec, head_channels=7)) == name
    assert [other for other, row in BACKBONES.items() if same_body(row, spec)] == [name]
    assert spec.kind in KINDS and str(spec.hidden_channels("box_size")) in spec.describe()


@pytest.mark.once
def test_configs_of_earlier_files_are_hourglasses():
    old = {"stem_channels": 4, "channels": [8, 8], "blocks": [1, 1], "stacks": 1, "feature_channels": 8, "head_channels": 8}
    assert find_backbone(old) == Hourglass(4, (8, 8), (1, 1), 1)


@pytest.mark.once
@pytest.mark.parametrize(
    "backbone, changes, words",
    [
        ("resnet", {}, "'mobilenetv2_fpn'"),
        ({"kind": "transformer"}, {}, "kind: found 'transformer', expected one of"),
        ({"kind": ["mobilenet"]}, {}, "kind: found"),
        ({"kind": "resnet_v1", "stacks": 2}, {}, r"found \['stacks'\], expected some of"),
        ("resnet50_v2", {"stacks": 2}, "stacks: found several for resnet50_v2, expected 1"),
        ({"kind": "mobilenet", "taps": [1, 2]}, {}, r"taps at strides \[4, 8, 32\]"),
        ({"kind": "mobilenet", "taps": [1, 2, 9]}, {}, "numbers of the 7 stages"),
        ({"kind": "resnet_v1", "blocks": [3, 4]}, {}, "channels .* expected 2 numbers"),
        ({"kind": "resnet_v2", "upsample_channels": [8]}, {}, "upsample_channels .* expected 3 numbers"),
    ],
)
def test_impossible_ones(backbone, changes, words):
    with pytest.raises(ValueError, match=words):
        find_backbone(backbone, **changes)


@pytest.mark.once
def test_one_stack_may_be_asked_for():
    assert find_backbone("mobilenetv2_fpn", stacks=1) == BACKBONES["mobilenetv2_fpn"]


@pytest.mark.once
@pytest.mark.parametrize("kind", LIGHT)
def test_maps_are_a_quarter_of_any_valid_size(kind):
    model = CenterNet(SCHEMA, LIGHT[kind], 64)
    side = model.multiple
    assert side == {"mobilenet": 16, "resnet_v1": 8, "resnet_v2": 8}[kind]
    (maps,) = model(np.zeros((1, 3 * side, 2 * side, 3)))
    assert maps["keypoint_offset"].shape == (1, 3 * side // 4, 2 * side // 4, 6)
    with pytest.raises(ValueError, match=f"found {side + 4}, expected a multiple of {side} for this backbone"):
        model(np.zeros((1, side, side + 4, 3)))


@pytest.mark.parametrize("kind", LIGHT)
def test_what_is_frozen(kind):
    """Down to a stride: the stem and every block that computes there or finer, and nothing of the pyramid."""
    model = CenterNet(SCHEMA, LIGHT[kind], 64)

    def frozen(part):
        model.freeze(part)
        return {layer.name for layer in model.layers if layer.weights and not layer.trainable and layer.name != "normalise"}

    stem, four, eight, everything = (frozen(part) for part in ("stem", "stride4", "stride8", "backbone"))
    assert frozen("none") == set() and set() < stem < four < eight < everything
    assert {name.split("_")[0] for name in stem} == {"stem"}
    assert {name.split("_")[0] for name in eight - four} == {"stride8"}
    assert not any(name.startswith(("pyramid", "upsample")) for name in eight)
    assert everything == {layer.name for layer in model.layers if layer.weights and not model.find_head(layer.name)} - {
        "normalise"
    }


@pytest.mark.once
def test_an_hourglass_has_no_strides_to_freeze():
    with pytest.raises(ValueError, match=r"found 'stride8', expected one of \['none', 'stem', 'backbone'\] for this backbone"):
        CenterNet(SCHEMA, Hourglass(4, (8, 8), (1, 1), 1), 16).freeze("stride8")


def test_padding_before_the_maximum_is_zero():
    """Version 2 has values below zero there; their maximum with the border's zeros is zero, in row and column 0 alone."""
    model = CenterNet(SCHEMA, LIGHT["resnet_v2"], 64)
    stem = model.get_layer("stem_conv")
    stem.kernel.assign(ops.zeros(stem.kernel.shape))
    stem.bias.assign(ops.full(stem.bias.shape, -1.0))
    x = np.zeros((1, 64, 64, 3), "float32")
    for name in ("normalise", "stem_pad", "stem_conv", "stem_pool_pad", "stem_pool"):
        x = model.get_layer(name)(x)
    x = ops.convert_to_numpy(x)
    assert x.shape[1:3] == (16, 16) and (x[:, 0] == 0).all() and (x[:, :, 0] == 0).all() and (x[:, 1:, 1:] == -1).all()


def test_light_trunks_pad_as_tensorflow_does():
    """At stride 2 nothing before and one cell behind: the first cell sees pixels 0 to 2."""
    model = CenterNet(SCHEMA, LIGHT["mobilenet"], 64)
    strided = [layer for layer in model.layers if isinstance(layer, (layers.Conv2D, layers.DepthwiseConv2D))]
    assert {layer.padding for layer in strided if max(layer.strides) > 1} == {"same"}
    stem = model.get_layer("stem_conv")
    kernel = np.zeros(stem.kernel.shape)
    kernel[2, 2, 0] = 1  # the last pixel of the window
    stem.kernel.assign(kernel)
    image = np.arange(64, dtype="float32")[None, None, :, None] * np.ones((1, 64, 1, 3), "float32")
    assert ops.convert_to_numpy(stem(image))[0, 0, :3, 0].tolist() == [2, 4, 6]
