import numpy as np
import pytest
import reference
from keras import ops

from centerkp.codec.decode import DecodeOptions, decode, find_candidates
from centerkp.schema import Schema

OPTIONS = DecodeOptions(max_objects=30)


def run(golden, pred, schema, tasks, valid_size=None, **options):
    maps = {head: reference.read_head(golden, f"{pred}/pred", head, tasks) for head in reference.HEADS}
    found = decode(maps, schema.keypoint_mask, DecodeOptions(max_objects=30, **options), valid_size)
    return {k: ops.convert_to_numpy(v) for k, v in found.items()}


CASES = {  # case: (case whose maps it uses, schema, tasks)
    "multi": ("multi", reference.SCHEMA, ("task_a", "task_b")),
    "multi_clip": ("multi", reference.SCHEMA, ("task_a", "task_b")),
    "multi_no_class_b": ("multi_no_class_b", reference.SCHEMA, ("task_a", "task_b")),
    "one_task_three_classes": ("one_task_three_classes", Schema.generic(3, [5, 0, 0]), ("task_a",)),
    "single": ("single", Schema.generic(1, 5), ("task_a",)),
    "single_clip": ("single", Schema.generic(1, 5), ("task_a",)),
}


@pytest.mark.parametrize("case", CASES)
def test_golden(case):
    """Every detection of the reference, image by image; its boxes and points are shares of the true image shape.

    The reference keeps centers in the padding (its mask compares cells with pixels), so it sees the whole canvas as valid.
    """
    golden = reference.load("postprocess")
    pred, schema, tasks = CASES[case]
    size = golden[f"{case}/true_image_shapes"][:, 1::-1].astype("float32")
    clip = case.endswith("_clip")
    found = run(golden, pred, schema, tasks)
    out = {k: golden[f"{case}/out/detection_{k}"] for k in ("scores", "classes", "boxes", "keypoints", "keypoint_scores")}
    if (
        case == "multi_no_class_b"
    ):  # the reference loses all points when its last task finds nothing; listed in the other order it does not
        out |= {k: golden[f"{case}/out_tasks_reversed/detection_{k}"] for k in ("keypoints", "keypoint_scores")}
    for image in (0, 1):
        scale = np.tile(size[image], 2)
        np.testing.assert_allclose(found["scores"][image], out["scores"][image], atol=1e-6)
        np.testing.assert_array_equal(found["class_ids"][image], out["classes"][image])
        boxes = np.clip(found["boxes"][image], 0, scale)
        np.testing.assert_allclose(boxes, reference.turn(out["boxes"][image]) * scale, atol=1e-3)
        points, scores = found["keypoints"][image], found["keypoint_scores"][image]
        if clip:
            outside = ((points < 0) | (points > size[image])).any(-1)
            points, scores = np.clip(points, 0, size[image]), np.where(outside, 0, scores)
        np.testing.assert_allclose(points, out["keypoints"][image][..., ::-1] * size[image], atol=1e-3)
        np.testing.assert_allclose(scores, out["keypoint_scores"][image], atol=1e-6)


def test_clip_keypoints_inside_decode():
    golden = reference.load("postprocess")
    size = golden["multi_clip/true_image_shapes"][:, 1::-1].astype("float32")
    pred, schema, tasks = CASES["multi_clip"]
    found = run(golden, pred, schema, tasks, clip_keypoints=True)  # the first image fills the canvas
    np.testing.assert_allclose(
        found["keypoints"][0], golden["multi_clip/out/detection_keypoints"][0][..., ::-1] * size[0], atol=1e-3
    )
    np.testing.assert_allclose(found["keypoint_scores"][0], golden["multi_clip/out/detection_keypoint_scores"][0], atol=1e-6)


def test_center_mask_of_the_reference():
    """Its mask compares cell numbers with pixels: the same as ours for an image four times as large."""
    golden = reference.load("postprocess")
    case = "multi_tiny_true_shape"
    size = golden[f"{case}/true_image_shapes"][:, 1::-1].astype("float32")
    found = run(golden, case, reference.SCHEMA, ("task_a", "task_b"), valid_size=size * 4)
    np.testing.assert_allclose(found["scores"], golden[f"{case}/out/detection_scores"], atol=1e-6)
    np.testing.assert_array_equal(found["class_ids"], golden[f"{case}/out/detection_classes"])


def test_centers_in_the_padding_are_not_detections():
    golden = reference.load("postprocess")
    size = golden["multi/true_image_shapes"][:, 1::-1].astype("float32")  # (72, 100) in the second image
    found = run(golden, "multi", reference.SCHEMA, ("task_a", "task_b"), valid_size=size)
    real = found["scores"][1] > 0
    boxes = found["boxes"][1][real]
    assert 0 < real.sum() and (boxes[:, 2] <= 72).all() and (boxes[:, 3] <= 100).all()
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    assert (center[:, 0] <= 72).all() and (center[:, 1] <= 100).all()
    everywhere = run(golden, "multi", reference.SCHEMA, ("task_a", "task_b"))
    assert (everywhere["scores"][1] >= found["scores"][1] - 1e-7).all() and (everywhere["scores"][1] > found["scores"][1]).any()


def hand_maps(points_logit=2.0):
    """One object of 8 x 4 cells centered in cell (x 6, y 5), one keypoint: vector to (8, 5), candidate at (9.25, 5.5)."""
    maps = {
        "center_heatmap": np.full((1, 16, 16, 1), -9.0),
        "center_offset": np.zeros((1, 16, 16, 2)),
        "box_size": np.zeros((1, 16, 16, 2)),
        "keypoint_heatmap": np.full((1, 16, 16, 1), -9.0),
        "keypoint_offset": np.zeros((1, 16, 16, 2)),
        "keypoint_regression": np.zeros((1, 16, 16, 2)),
    }
    maps["center_heatmap"][0, 5, 6] = 3
    maps["center_offset"][0, 5, 6] = 0.5, 0.25
    maps["box_size"][0, 5, 6] = 8, 4
    maps["keypoint_regression"][0, 5, 6] = 2, 0
    maps["keypoint_heatmap"][0, 5, 9] = points_logit
    maps["keypoint_offset"][0, 5, 9] = 0.25, 0.5
    return {k: v.astype("float32") for k, v in maps.items()}


def decode_one(maps, **options):
    found = decode(maps, np.ones((1, 1), bool), DecodeOptions(max_objects=3, **options))
    return {k: ops.convert_to_numpy(v)[0, 0] for k, v in found.items()}


def test_by_hand():
    found = decode_one(hand_maps())
    np.testing.assert_allclose(found["boxes"], [10, 13, 42, 29])  # ((6.5 -+ 4), (5.25 -+ 2)) * 4
    assert found["scores"] == pytest.approx(1 / (1 + np.exp(-3)))
    np.testing.assert_allclose(found["keypoints"], [[37, 22]])  # the candidate, 1.35 cells from the vector's end
    assert found["keypoint_scores"][0] == pytest.approx(1 / (1 + np.exp(-2)))


@pytest.mark.parametrize(
    "options, logit",
    [({"search_scale": 0.1}, 2.0), ({"box_scale": 0.5}, 2.0), ({"candidate_score": 0.9}, 2.0), ({}, -4.0)],
    ids=["too far", "outside the box", "threshold", "weak peak"],
)
def test_unmatched_keypoints_stay_where_the_vector_points(options, logit):
    found = decode_one(hand_maps(logit), unmatched_score=0.07, **options)
    np.testing.assert_allclose(found["keypoints"], [[32, 20]])
    assert found["keypoint_scores"][0] == pytest.approx(0.07)


def find_two(maps, **options):
    """The scores of the two best objects, and the number of candidates with a score."""
    options = DecodeOptions(max_objects=3, **options)
    scores = ops.convert_to_numpy(decode(maps, np.ones((1, 1), bool), options)["scores"])[0, :2]
    return scores, int((ops.convert_to_numpy(find_candidates(maps, options)[1]) > 0.5).sum())


def test_centers_and_keypoints_have_windows_of_their_own():
    """Two centers and two candidates, each pair two cells apart: a window of 5 hides the lower one, in its own maps alone."""
    maps = hand_maps()
    maps["center_heatmap"][0, 5, 8] = 2.5
    maps["keypoint_heatmap"][0, 5, 11] = 1.5
    scores, candidates = find_two(maps)
    assert (scores > 0.9).all() and candidates == 2
    scores, candidates = find_two(maps, center_kernel=5)
    assert scores[1] < 0.1 and candidates == 2
    scores, candidates = find_two(maps, keypoint_kernel=5)
    assert (scores > 0.9).all() and candidates == 1


def test_files_from_before_there_were_two_windows():
    """What they moved together stays together."""
    old = {"max_objects": 7, "peak_kernel": 5}
    assert DecodeOptions.from_config(old) == DecodeOptions(max_objects=7, center_kernel=5, keypoint_kernel=5)
    assert DecodeOptions.from_config({}) == DecodeOptions()


def test_few_candidates():
    maps = hand_maps()
    maps["keypoint_heatmap"][0, 1, 1] = 5.0  # a better peak far away takes the only candidate place
    assert decode_one(maps, candidates=1)["keypoint_scores"][0] == pytest.approx(0.1)


def test_ignored_classes_are_never_found():
    """Not even where they are the best, and those they hid are found in their place."""
    maps = hand_maps() | {"center_heatmap": np.full((1, 16, 16, 3), -9.0, "float32")}
    maps["center_heatmap"][0, 5, 6] = 1, 8, 2
    mask = np.array([[True], [False], [False]])
    found = decode(maps, mask, DecodeOptions(max_objects=2))
    assert ops.convert_to_numpy(found["class_ids"])[0].tolist() == [1, 2]
    found = decode(maps, mask, DecodeOptions(max_objects=2, ignored_classes=[1]))
    assert ops.convert_to_numpy(found["class_ids"])[0].tolist() == [2, 0]
    everything = decode(maps, mask, DecodeOptions(max_objects=768, ignored_classes=[1]))
    scores, classes = (ops.convert_to_numpy(everything[k])[0] for k in ("scores", "class_ids"))
    assert not np.any(classes[scores > 0] == 1)


def test_no_keypoints_and_tiny_map():
    maps = {k: v[:, :2, :2] for k, v in hand_maps().items() if not k.startswith("keypoint")}
    found = decode(maps, np.zeros((1, 0), bool))
    assert set(found) == {"boxes", "scores", "class_ids"} and found["scores"].shape == (1, 4)


def test_boxes_around_keypoints():
    """Where labels' boxes are frames around keypoints, so are the boxes found, if every keypoint of the object has a peak.

    And if the network's box is alike: else one of the peaks is of something else.
    """
    schema = Schema.generic(3, [2, 2, 0])
    maps = {"center_heatmap": (16, 3), "center_offset": (16, 2), "box_size": (16, 2), "keypoint_heatmap": (16, 4)}
    maps |= {"keypoint_offset": (16, 8), "keypoint_regression": (16, 8)}
    maps = {head: np.zeros((1, side, side, count), "float32") for head, (side, count) in maps.items()}
    maps["center_heatmap"] -= 9
    maps["keypoint_heatmap"] -= 9
    maps["box_size"] += 6
    for class_id, (x, y) in enumerate([(4, 4), (10, 4), (4, 11)]):
        maps["center_heatmap"][0, y, x, class_id] = 4 - class_id
    for point, (x, y) in enumerate([(3, 3), (6, 4), (9, 4), (12, 6)]):
        maps["keypoint_heatmap"][0, y, x, point] = 3
        center = np.array([(4, 4), (10, 4)][point // 2])
        maps["keypoint_regression"][0, center[1], center[0], 2 * point : 2 * point + 2] = np.array([x, y]) - center

    def find(*margins, width=64):
        options, size = DecodeOptions(max_objects=3, box_margins=margins), np.float32([[width, 64]])
        found = decode(maps, schema.keypoint_mask, options, size)
        return ops.convert_to_numpy(found["boxes"])[0].tolist()

    seen = [[4, 4, 28, 28], [28, 4, 52, 28], [4, 32, 28, 56]]
    assert find() == find(None, None, None) == seen
    # Points at (12, 12) and (24, 16), (36, 16) and (48, 24): the longer sides are 12; what leaves the image is cut off.
    assert find(0.5, None, None) == [[6, 6, 30, 22], *seen[1:]]
    assert find(None, 0.5, 1.0) == [seen[0], [30, 10, 54, 30], seen[2]]
    assert find(None, 0.5, 1.0, width=50)[1] == [30, 10, 50, 30]
    assert find(0.0, 2.0, 1.0) == seen  # an overlap of 0.08 and of 0.25
    maps["keypoint_heatmap"][0, 6, 12, 3] = -9
    assert find(0.5, 0.5, None) == [[6, 6, 30, 22], *seen[1:]]
