"""Weights between schemas: what moves, what stays fresh, and what is refused."""

import numpy as np
import pytest
from keras import ops

from centerkp.model.backbones import name_backbone, same_body
from centerkp.model.center_net import HEATMAP_BIAS
from centerkp.model.hourglass import Hourglass
from centerkp.model.transfer import transfer_weights
from centerkp.schema import ObjectClass, Schema
from centerkp.weights.coco_schema import coco_schema
from centerkp.weights.start import build_model

TWO = Hourglass(4, (8, 8, 12), (1, 1, 1), stacks=2, head_channels=6)
SOURCE = Schema(
    (
        ObjectClass("person", 1, ("nose", "left_eye", "right_eye", "left_wrist")),
        ObjectClass("Dog", 2, ("nose", "tail")),
        ObjectClass("cup", 3),
    )
)
# As many channels as the source, with other meanings but for a few.
TARGET = Schema(
    (
        ObjectClass("robot", 1, ("right_eye", "left_eye", "snout", "antenna")),
        ObjectClass("dog", 2, ("tail", "NOSE")),
        ObjectClass("lamp", 3),
    )
)


def build(schema, backbone=TWO, seed=1):
    """A model whose every variable is random, statistics and biases too."""
    model = build_model(schema, backbone=backbone, image_size=32)
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        if not variable.path.startswith("normalise"):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape).astype("float32"))
    return model


def read(model, layer, kind):
    return ops.convert_to_numpy(getattr(model.get_layer(layer), kind))


def test_channels_move_by_name():
    source, target = build(SOURCE), build_model(TARGET, backbone=TWO, image_size=32)
    fresh = {v.path: ops.convert_to_numpy(v) for v in target.weights}
    report = transfer_weights(source, target, {"snout": "nose", "robot/antenna": "person/left_wrist"}, source_name="coco")
    # robot's points: right_eye 2, left_eye 1, snout 0 (nose), antenna 3; dog's: tail 5, its own nose 4 and not person's 0.
    points = {0: 2, 1: 1, 2: 0, 3: 3, 4: 5, 5: 4}
    for stack in (0, 1):
        for kind in ("kernel", "bias"):
            for head, pairs, width in (
                ("center_heatmap", {1: 1}, 1),
                ("center_offset", {0: 0}, 2),
                ("box_size", {0: 0}, 2),
                ("keypoint_heatmap", points, 1),
                ("keypoint_offset", points, 2),
                ("keypoint_regression", points, 2),
            ):
                name = f"stack{stack}_{head}"
                ours, theirs, before = read(target, name, kind), read(source, name, kind), fresh[f"{name}/{kind}"]
                for channel in range(ours.shape[-1]):
                    partner, part = pairs.get(channel // width), channel % width
                    moved = partner is not None
                    expected = theirs[..., partner * width + part] if moved else before[..., channel]
                    np.testing.assert_array_equal(ours[..., channel], expected, err_msg=f"{name} {kind} {channel}")
                np.testing.assert_array_equal(read(target, f"{name}_hidden", kind), read(source, f"{name}_hidden", kind))
        bias = read(target, f"stack{stack}_center_heatmap", "bias")
        np.testing.assert_allclose(bias[[0, 2]], HEATMAP_BIAS)  # fresh, with the focal prior
    assert report.lines() == [
        f"backbone {report.backbone}/{report.backbone} variables, box_size and center_offset whole",
        "center_heatmap: dog <- coco:Dog, robot fresh, lamp fresh",
        "keypoint heads: robot/right_eye <- coco:person/right_eye, robot/left_eye <- coco:person/left_eye, robot/snout <- "
        "coco:person/nose, robot/antenna <- coco:person/left_wrist, dog/tail <- coco:Dog/tail, dog/NOSE <- coco:Dog/nose",
    ]


def test_backbone_moves_whole_with_its_statistics():
    source, target = build(SOURCE), build(TARGET, seed=2)
    report = transfer_weights(source, target)
    moved = 0
    for ours in target.weights:
        if target.find_head(ours.path.split("/")[0]) or ours.path.startswith("normalise"):
            continue
        theirs = next(v for v in source.weights if v.path == ours.path)
        np.testing.assert_array_equal(ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs))
        moved += 1
    assert moved == report.backbone and any(v.path.endswith("moving_variance") for v in target.weights)


def test_equal_shapes_with_other_meanings_do_not_move():
    """No class and no keypoint in common: not one number of those heads, hidden layers included."""
    other = Schema((ObjectClass("a", 1, ("x", "y", "z", "w")), ObjectClass("b", 2, ("u", "v")), ObjectClass("c", 3)))
    source, target = build(SOURCE), build(other, seed=2)
    before = {v.path: ops.convert_to_numpy(v) for v in target.weights}
    assert [v.shape for v in source.weights] == [v.shape for v in target.weights]
    report = transfer_weights(source, target)
    assert set(report.classes.values()) == set(report.keypoints.values()) == {None}
    for variable in target.weights:
        if "heatmap" in variable.path or "keypoint" in variable.path:
            np.testing.assert_array_equal(ops.convert_to_numpy(variable), before[variable.path], err_msg=variable.path)


def test_the_same_schema_moves_everything():
    source, target = build(SOURCE), build(SOURCE, seed=2)
    transfer_weights(source, target)
    for ours, theirs in zip(target.weights, source.weights, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs))


def test_one_stack_of_two():
    """The first hourglass with its own heads gives what it gave inside the two."""
    source = build(SOURCE)
    target = build_model(SOURCE, backbone=TWO, stacks=1, image_size=32)
    report = transfer_weights(source, target)
    assert report.left_behind > 0 and f"({report.left_behind} of further stacks left behind)" in report.lines()[0]
    image = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype("float32")
    (alone,), first = target(image), source(image)[0]
    for head, values in alone.items():
        np.testing.assert_array_equal(ops.convert_to_numpy(values), ops.convert_to_numpy(first[head]), err_msg=head)
    target.predict_on_batch(image)  # on JAX this uses up the model's arrays, which must be its own
    source(image)


@pytest.mark.parametrize(
    "backbone, words",
    [
        (Hourglass(4, (8, 8, 12), (1, 2, 1), 2, head_channels=6), "backbone variables differ, the first is"),
        (Hourglass(4, (8, 8, 16), (1, 1, 1), 2, head_channels=6), "backbone variables differ"),
        (Hourglass(4, (8, 8), (1, 1), 2, head_channels=6), "backbone variables differ"),
        (Hourglass(4, (8, 8, 12), (1, 1, 1), 3, head_channels=6), "backbone variables differ, the first is stack1_next"),
        (Hourglass(4, (8, 8, 12), (1, 1, 1), 2, head_channels=8), "hidden layer of center_heatmap has 6 channels, expected 8"),
    ],
    ids=["blocks", "channels", "levels", "more stacks", "head widths"],
)
def test_less_than_the_whole_backbone_is_an_error(backbone, words):
    source, target = build(SOURCE), build(SOURCE, backbone, seed=2)
    before = [ops.convert_to_numpy(v) for v in target.weights]
    with pytest.raises(ValueError, match=words):
        transfer_weights(source, target)
    for variable, kept in zip(target.weights, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), kept)  # nothing half done


@pytest.mark.parametrize(
    "mapping, words",
    [
        ({"snout": "noze"}, "found 'noze', expected a keypoint of the weights, did you mean 'nose'"),
        ({"snoot": "nose"}, "found 'snoot', expected a keypoint of the dataset, did you mean 'snout'"),
    ],
)
def test_keypoints_that_are_not_there(mapping, words):
    with pytest.raises(ValueError, match=words):
        transfer_weights(build(SOURCE), build(TARGET), mapping)


def test_detector_from_a_model_with_keypoints_and_back():
    boxes = Schema((ObjectClass("cup", 1),))
    source, target = build(SOURCE), build(boxes, seed=2)
    assert transfer_weights(source, target).classes == {"cup": "cup"}
    np.testing.assert_array_equal(
        read(target, "stack1_center_heatmap", "bias"), read(source, "stack1_center_heatmap", "bias")[2:]
    )
    report = transfer_weights(target, build(SOURCE))
    assert set(report.keypoints.values()) == {None} and report.classes["cup"] == "cup"


def test_coco_channels_report_themselves_briefly():
    spec = Hourglass(4, (8, 8), (1, 1), 1, head_channels=4)
    source, target = build(coco_schema(), spec), build(coco_schema(), spec, seed=2)
    assert "center_heatmap: 90 of 90 <- coco" in transfer_weights(source, target, source_name="coco").lines()


def test_coco_schema():
    """Spot checks against COCO's list: ids, gaps, and the person."""
    schema = coco_schema()
    by_id = {c.category_id: c.name for c in schema.classes}
    spots = {1: "person", 11: "fire hydrant", 13: "stop sign", 18: "dog", 27: "backpack", 44: "bottle", 62: "chair",
             77: "cell phone", 82: "refrigerator", 84: "book", 90: "toothbrush"}  # fmt: skip
    assert {i: by_id[i] for i in spots} == spots and list(by_id) == list(range(1, 91))
    gaps = [12, 26, 29, 30, 45, 66, 68, 69, 71, 83]
    assert [i for i, name in by_id.items() if name == f"unused_{i}"] == gaps
    person = schema.classes[0]
    assert len(person.keypoints) == schema.num_keypoints == 17 and len(person.skeleton) == 19 and len(person.flip_pairs) == 8
    assert schema.flip_permutation.tolist() == [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    assert person.oks_sigmas[0] == 0.026 and person.oks_sigmas[11] == 0.107 and person.sigma_source == "coco"


def test_names_of_backbones():
    assert name_backbone(Hourglass(stacks=1, head_channels=64)) == "hourglass_104" and name_backbone(TWO) is None
    assert same_body(TWO, Hourglass(4, (8, 8, 12), (1, 1, 1), 1, head_channels=3)) and not same_body(TWO, Hourglass())


def test_what_is_frozen():
    model = build(SOURCE)
    everything = len(model.trainable_variables)
    model.freeze("stem")
    assert 0 < everything - len(model.trainable_variables) == sum(v.path.startswith("stem") for v in model.weights) - 8
    model.freeze("backbone")
    assert {model.find_head(v.path.split("/")[0])[1] for v in model.trainable_variables} == set(model.loss_weights)
    model.freeze("none", batch_norm=True)
    assert not [v for v in model.trainable_variables if "_bn/" in v.path] and len(model.trainable_variables) < everything
    model.freeze()
    assert len(model.trainable_variables) == everything
    with pytest.raises(ValueError, match="found 'neck', expected one of"):
        model.freeze("neck")


def test_frozen_statistics_stay():
    model = build(SOURCE)
    image = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    for part, batch_norm, moves in (("none", False, True), ("backbone", False, False), ("none", True, False)):
        model.freeze(part, batch_norm)
        before = ops.convert_to_numpy(model.get_layer("stem_bn").moving_mean)
        model(image, training=True)
        moved = np.abs(ops.convert_to_numpy(model.get_layer("stem_bn").moving_mean) - before).max() > 0
        assert moved == moves, (part, batch_norm)
