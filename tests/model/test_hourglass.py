import numpy as np
import pytest

from centerkp.model.backbones import BACKBONES, find_backbone
from centerkp.model.hourglass import Hourglass
from centerkp.weights.start import build_model


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


@pytest.mark.once
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
