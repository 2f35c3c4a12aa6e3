import numpy as np
import pytest
from keras import ops

from centerkp.codec.decode import decode
from centerkp.codec.ideal import ideal_maps
from centerkp.codec.targets import render_targets
from centerkp.heads import head_channels
from centerkp.images.reading import letterbox_image
from centerkp.inference.augmented import AugmentedDetector, _resampling_weights, average_mirrored, merge, read_augmentations
from centerkp.inference.detect import detect
from centerkp.model.hourglass import Hourglass
from centerkp.schema import ObjectClass, Schema
from centerkp.weights.start import build_model

SCHEMA = Schema((ObjectClass("fish", 1, ("left_fin", "tail", "right_fin"), flip_pairs=((0, 2),)), ObjectClass("net", 2)))
BOXES = np.array([[13, 9, 49, 40], [60, 30, 93, 61]], "float32")
POINTS = np.array([[[17, 13], [30, 21], [45, 34]], [[0, 0], [0, 0], [0, 0]]], "float32")


def network_answer(boxes, points):
    """The maps of a network that has learned everything, for one 96 x 64 image with a fish and a net."""
    truth = {
        "boxes_xyxy": boxes[None],
        "class_ids": np.array([[0, 1]]),
        "object_weights": np.ones((1, 2), "float32"),
        "keypoints_xy": points[None],
        "visibility": np.array([[[2, 2, 2], [0, 0, 0]]]),
        "valid_size": np.array([[96, 64]], "float32"),
    }
    rendered = render_targets(truth, SCHEMA, (16, 24))
    numpy = {
        head: {k: ops.convert_to_numpy(v) for k, v in t.items()} if isinstance(t, dict) else ops.convert_to_numpy(t)
        for head, t in rendered.items()
    }
    return ideal_maps(numpy, SCHEMA)


def mirror_objects():
    """As a mirror shows them, in pixels: x becomes 95 - x, and a left fin looks like a right one."""
    boxes = np.stack([95 - BOXES[:, 2], BOXES[:, 1], 95 - BOXES[:, 0], BOXES[:, 3]], axis=1)
    points = POINTS[:, [2, 1, 0]] * [-1, 1] + [95, 0]
    return boxes, points.astype("float32") * (POINTS[:, [2, 1, 0]].max(-1, keepdims=True) > 0)


def test_mirrored_answers_equal_straight_ones():
    """The mirror image of a perfect answer is turned back into exactly that answer, so that averaging changes nothing."""
    straight, mirrored = network_answer(BOXES, POINTS), network_answer(*mirror_objects())
    both = {head: np.concatenate([straight[head], mirrored[head]]) for head in straight}
    averaged = average_mirrored(both, SCHEMA.flip_permutation)
    assert {head: v.shape for head, v in averaged.items()} == {head: v.shape for head, v in straight.items()}
    for head, values in straight.items():
        turned = ops.sigmoid if head.endswith("heatmap") else ops.convert_to_tensor
        found, expected = (ops.convert_to_numpy(turned(v)) for v in (averaged[head], values))
        said = (values != 0).any(-1)  # vectors stand in the centers' cells only
        np.testing.assert_allclose(found[said], expected[said], atol=1e-5)
    found = decode(averaged, SCHEMA.keypoint_mask)
    points = ops.convert_to_numpy(found["keypoints"])[0, ops.convert_to_numpy(found["class_ids"])[0].argmin()]
    np.testing.assert_allclose(points, POINTS[0], atol=1e-3)


def test_averages_by_hand():
    """Scores are averaged, not logits; x of vectors is negated about 3/4, y is not; pairs swap; offsets stay."""
    maps = {head: np.zeros((2, 1, 4, n), "float32") for head, n in head_channels(Schema.generic(1, 3)).items()}
    maps["center_heatmap"][0, 0, 1], maps["center_heatmap"][1, 0, 2] = np.log(9), np.log(1.5)  # 0.9 and 0.6
    maps["center_offset"][:, 0, 1] = [[0.25, 0.5], [0.75, 0.75]]
    maps["keypoint_offset"][0, 0, 1], maps["keypoint_offset"][1] = 0.5, 9
    maps["box_size"][0, 0, 1], maps["box_size"][1, 0, 2] = [4, 6], [6, 6]
    maps["keypoint_heatmap"][0, 0, 1, 0], maps["keypoint_heatmap"][1, 0, 2, 2] = 3, 3
    maps["keypoint_regression"][0, 0, 1] = [1, 2, 3, 4, 5, 6]
    maps["keypoint_regression"][1, 0, 2] = [10, 20, 30, 40, 50, 60]
    found = {head: ops.convert_to_numpy(v)[0, 0, 1] for head, v in average_mirrored(maps, np.array([2, 1, 0])).items()}
    np.testing.assert_allclose(found["center_heatmap"], np.log(3), rtol=1e-5)  # of 0.75
    np.testing.assert_allclose(found["keypoint_heatmap"], [3, 0, 0], atol=1e-5)
    np.testing.assert_allclose(found["center_offset"], [0.25, 0.5])
    np.testing.assert_allclose(found["keypoint_offset"], 0.5)
    np.testing.assert_allclose(found["box_size"], [5, 6])
    np.testing.assert_allclose(
        found["keypoint_regression"],
        [(1 + 0.75 - 50) / 2, (2 + 60) / 2, (3 + 0.75 - 30) / 2, (4 + 40) / 2, (5 + 0.75 - 10) / 2, (6 + 20) / 2],
    )


def one_pass(*objects):
    """Decoded arrays of one image: per object score, left edge of its 10 x 10 box, class, and its keypoint's x and score."""
    scores, x, classes, points, point_scores = np.array(objects, float).T
    boxes = np.stack([x, 0 * x, x + 10, 0 * x + 10], axis=-1)
    return {
        "boxes": boxes[None],
        "scores": scores[None],
        "class_ids": classes[None].astype(int),
        "keypoints": np.stack([points, 0 * points], -1)[None, :, None],
        "keypoint_scores": point_scores[None, :, None],
        "keypoint_deviations": 2 * point_scores[None, :, None],
    }


def test_merge_by_hand():
    """An object of both passes, one of a pass alone, one of another class in the same place, and an empty row."""
    first = one_pass((0.6, 0, 0, 3, 0.5), (0.4, 50, 0, 55, 0.2), (0.0, 0, 0, 9, 0.9))
    second = one_pass((0.8, 1, 0, 3.5, 0.25), (0.3, 0, 1, 5, 0.5), (0.0, 0, 0, 9, 0.9))
    found = merge([first, second], 4)
    np.testing.assert_allclose(found["scores"], [[0.7, 0.2, 0.15, 0]])  # shares of two passes
    assert found["class_ids"].tolist() == [[0, 0, 1, 0]]
    x = (0.6 * 0 + 0.8 * 1) / 1.4
    np.testing.assert_allclose(found["boxes"][0, :3, 0], [x, 50, 0])
    np.testing.assert_allclose(found["keypoints"][0, :3, 0, 0], [(4 * 3 + 3.5) / 5, 55, 5])  # squares of the scores: 4 to 1
    np.testing.assert_allclose(found["keypoint_scores"][0, 0], (4 * 0.5 + 0.25) / 5)
    np.testing.assert_allclose(found["keypoint_deviations"][0, 0], (4 * 1 + 0.5) / 5)
    assert found["boxes"].shape == (1, 4, 4) and not found["boxes"][0, 3].any()
    assert merge([first, second], 1)["scores"].shape == (1, 1)


def test_merge_knows_objects_by_their_keypoints():
    """Two of a class in one place: each finds its own partner. A point that another pass has elsewhere is not averaged in."""
    first = one_pass((0.9, 0, 0, 2, 0.5), (0.6, 0, 0, 8, 0.5))
    second = one_pass((0.5, 0.5, 0, 8, 0.5), (0.4, 0.5, 0, 2, 0.5))
    found = merge([first, second], 4)
    np.testing.assert_allclose(found["scores"], [[0.65, 0.55, 0, 0]])
    np.testing.assert_allclose(found["keypoints"][0, :2, 0, 0], [2, 8])
    found = merge([one_pass((0.9, 0, 0, 2, 0.3)), one_pass((0.8, 0, 0, 9, 0.5))], 1)
    assert found["keypoints"][0, 0, 0].tolist() == [9, 0] and found["keypoint_scores"][0, 0].tolist() == [0.5]


def test_merge_without_keypoints():
    names = ("boxes", "scores", "class_ids")
    passes = [{name: one[name] for name in names} for one in (one_pass((0.6, 0, 0, 0, 0)), one_pass((0.6, 2, 0, 0, 0)))]
    found = merge(passes, 2)
    assert (
        set(found) == set(names) and found["boxes"][0, 0].tolist() == [1, 0, 11, 10] and found["scores"].tolist() == [[0.6, 0]]
    )


def test_resizing_is_the_letterbox_one():
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3)).astype(np.uint8)
    expected, _, _ = letterbox_image(image, (28, 20))
    found = np.einsum("yi,ijc,xj->yxc", _resampling_weights(40, 20, 0.5), image.astype(float), _resampling_weights(56, 28, 0.5))
    np.testing.assert_allclose(found, expected, atol=0.51)  # rounding
    expected, _, _ = letterbox_image(image, (98, 70))
    found = np.einsum(
        "yi,ijc,xj->yxc", _resampling_weights(40, 70, 1.75), image.astype(float), _resampling_weights(56, 98, 1.75)
    )
    np.testing.assert_allclose(found, expected, atol=2.6)  # OpenCV counts in 1/32 pixel


@pytest.fixture(scope="module")
def model():
    return build_model(SCHEMA, backbone=Hourglass(4, (6, 6), (1, 1), 1), image_size=(64, 48))


@pytest.mark.once
def test_one_size_without_a_mirror_is_the_model_itself(model):
    images = np.random.default_rng(1).integers(0, 256, (2, 48, 64, 3)).astype(np.uint8)
    inputs = {"image": images, "valid_size": np.array([[64, 40], [50, 48]], "float32")}
    expected = model.predict_on_batch(inputs)
    found = AugmentedDetector(model).predict_on_batch(inputs)
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-3)


def test_flip_and_scale_in_detect(model):
    """Mirrored images give mirrored boxes; both kinds run through `detect`, on sizes the network can halve."""
    flip = AugmentedDetector(model, **read_augmentations("flip"))
    image = np.random.default_rng(2).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    straight, mirrored = (r.detections for r in detect(flip, [image, image[:, ::-1]]))
    assert len(straight) > 5
    # With a canvas that is full, mirroring the input swaps the two halves of the average: the center cells are mirrored.
    np.testing.assert_allclose([d.score for d in straight[:5]], [d.score for d in mirrored[:5]], atol=1e-4)
    both = AugmentedDetector(model, flip=True, scales=(0.5, 1.0, 1.5))
    assert both.image_size == (96, 72)
    (result,) = detect(both, [image])
    boxes = np.array([d.box_xyxy for d in result.detections])
    assert len(boxes) <= 100 and boxes.min() >= 0 and boxes[:, 2].max() <= 64.001 and boxes[:, 3].max() <= 48.001
    assert [d.score for d in result] == sorted((d.score for d in result), reverse=True)
    assert next(d for d in result if d.class_name == "fish").keypoint_deviations.shape == (3,)


@pytest.mark.parametrize("size", [(64, 48), (48, 64), (64, 40), (64, 64)])
def test_no_pass_stretches_the_picture(size):
    """Whatever sides the network can halve: both axes get smaller alike, and one pass is the model's own size."""
    model = build_model(SCHEMA, backbone=Hourglass(2, (4, 4), (1, 1), stacks=1, head_channels=4), image_size=size)
    augmented = AugmentedDetector(model, scales=read_augmentations("scale")["scales"])
    for one in augmented._passes:
        sides = [weights.any(axis=1).sum() for weights in (one.columns, one.rows)]
        assert sides == pytest.approx([one.factor * side for side in augmented.image_size], abs=1)
        assert all(len(weights) % model.multiple == 0 for weights in (one.columns, one.rows))
    assert size in [(len(one.columns), len(one.rows)) for one in augmented._passes]


@pytest.mark.once
def test_scales_agree_on_where_things_are(model):
    """Half the size and back: what a pass finds lies in pixels of the canvas."""
    half = AugmentedDetector(model, scales=(0.5, 1.0))
    small = half._passes[0]
    found = small.predict_on_batch({"image": np.zeros((1, 48, 64, 3), np.uint8), "valid_size": np.array([[64, 48.0]])})
    assert np.asarray(found["boxes"])[..., 2].max() <= 64 and np.asarray(found["boxes"])[..., 2].max() > 32


@pytest.mark.parametrize(
    "arguments, words",
    [({"scales": ()}, "at least one"), ({"scales": (0.0, 1.0)}, "at least one above 0")],
)
def test_wrong_arguments(model, arguments, words):
    with pytest.raises(ValueError, match=words):
        AugmentedDetector(model, **arguments)


def test_refused():
    with pytest.raises(ValueError, match="tta: found 'flap'.*did you mean 'flip'"):
        read_augmentations("scale, flap")
    assert read_augmentations(["flip"]) == {"flip": True, "scales": (1.0,)}
    with pytest.raises(ValueError, match="found a object, expected a CenterNet"):
        AugmentedDetector(object())
    sided = Schema((ObjectClass("mouse", 1, ("paw1LH", "nose"), flip_source="unpaired"),))
    model = build_model(sided, backbone=Hourglass(4, (4, 4), (1, 1), 1), image_size=16)
    with pytest.raises(ValueError, match=r"flip: found classes \['mouse'\].*flip_pairs"):
        AugmentedDetector(model, flip=True)
    AugmentedDetector(model, scales=(1.0, 2.0))  # which mirrors nothing
