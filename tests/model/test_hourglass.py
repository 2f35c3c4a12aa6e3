import keras
import numpy as np
import pytest
import reference
from keras import ops

from centerkp.model.backbones import BACKBONES, find_backbone
from centerkp.model.cost import count_gmac
from centerkp.model.hourglass import Hourglass
from centerkp.weights.start import build_model


@pytest.fixture(scope="module")
def stacks_128(hg104):
    return hg104(reference.letterbox(reference.draw_synth(), 128))


@pytest.fixture(scope="module")
def stacks_512(hg104):
    return hg104(reference.letterbox(reference.draw_synth(), 512))


def test_hg104_heads_of_both_stacks_at_128(stacks_128):
    golden = reference.load("hg104_128")
    assert len(stacks_128) == 2
    for i, stack in enumerate(stacks_128):
        for head, values in stack.items():
            expected = reference.read_head(golden, "synth/pred", head, ("human_pose",), f"/{i}")
            np.testing.assert_allclose(keras.ops.convert_to_numpy(values), expected, atol=1e-4, rtol=0, err_msg=f"{head} {i}")


def test_hg104_heads_at_512(stacks_512):
    """Every fourth row and column, and mean and deviation of every channel over the whole map."""
    golden = reference.load("hg104_512")
    for head, values in stacks_512[-1].items():
        values = keras.ops.convert_to_numpy(values)
        expected = reference.read_head(golden, "synth/pred_sub", head, ("human_pose",), "/1")
        np.testing.assert_allclose(values[:, 1::4, 1::4], expected, atol=1e-4, rtol=0, err_msg=head)
        for statistic in ("mean", "std"):
            expected = reference.read_head(golden, f"synth/pred_{statistic}", head, ("human_pose",), "/1")
            np.testing.assert_allclose(
                getattr(values.astype("float64"), statistic)((0, 1, 2)), expected, atol=1e-4, err_msg=head
            )


def check_golden_detections(hg104, maps, name):
    golden = reference.load(name)
    found = {k: ops.convert_to_numpy(v)[0] for k, v in hg104.decode(maps).items()}
    expected = {k: golden[f"synth/post/detection_{k}"][0] for k in reference.DETECTIONS}
    assert len(expected["scores"]) == 100 and expected["scores"].min() > 0.6
    reference.check_detections(found, expected, golden["synth/true_shape"][0, 1::-1].astype("float32"))


def test_hg104_detections_at_128(hg104, stacks_128):
    check_golden_detections(hg104, stacks_128[-1], "hg104_128")


def test_hg104_detections_at_512(hg104, stacks_512):
    check_golden_detections(hg104, stacks_512[-1], "hg104_512")


def test_hg104_cost(hg104):
    """Both stacks' heads count in training; the last stack's alone is what prediction computes."""
    assert count_gmac(hg104, (512, 512)) == pytest.approx(293, abs=0.5)
    assert count_gmac(hg104, (512, 512), all_heads=True) == pytest.approx(351, abs=0.5)


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
