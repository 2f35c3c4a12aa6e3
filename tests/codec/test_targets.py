import numpy as np
import pytest
import reference
from keras import ops

from centerkp.codec.targets import NEIGHBOURS, gaussian_radius, gaussian_sigma, render_targets
from centerkp.schema import Schema


@pytest.fixture(scope="module")
def golden():
    return reference.load("train_math")


@pytest.fixture(scope="module")
def render(golden):
    truth = reference.read_truth(golden)

    def run(mask_rule="zoo_2021", **changes):
        targets = render_targets(
            truth | changes, reference.SCHEMA, (32, 32), mask_rule=mask_rule, keypoint_std=reference.KEYPOINT_STD
        )
        return {k: {n: ops.convert_to_numpy(a) for n, a in v.items()} if isinstance(v, dict) else ops.convert_to_numpy(v)
                for k, v in targets.items()}  # fmt: skip

    return run


def test_radius_and_sigma_table(golden):
    sides = golden["sigma/h"], golden["sigma/w"]
    np.testing.assert_allclose(ops.convert_to_numpy(gaussian_radius(*sides)), golden["sigma/radius"], rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(gaussian_sigma(*sides)), golden["sigma/sigma"], rtol=1e-6)


def test_heatmaps(golden, render):
    targets = render()
    np.testing.assert_allclose(targets["center_heatmap"], golden["target/object_center"], atol=1e-6)
    theirs = np.concatenate([golden["target/task_a/heatmap"], golden["target/task_b/heatmap"]], axis=-1)
    np.testing.assert_allclose(targets["keypoint_heatmap"], theirs, atol=1e-6)
    for ours, reference_map in (
        (targets["center_heatmap"], golden["target/object_center"]),
        (targets["keypoint_heatmap"], theirs),
    ):
        assert np.array_equal(ours == 1, reference_map == 1)  # the focal loss takes exactly these for positives
    counts = np.concatenate([golden[f"target/task_{t}/num_instances_per_keypoint"] for t in "ab"], axis=-1)
    np.testing.assert_array_equal(targets["keypoint_counts"], counts)


def test_box_targets(golden, render):
    targets = render()
    weight = golden["target/box/weights"]
    np.testing.assert_array_equal(targets["box_size"]["weight"].ravel(), weight)
    real = weight > 0
    index = golden["target/box/indices"]
    np.testing.assert_array_equal(targets["box_size"]["index"].ravel()[real], (index[:, 1] * 32 + index[:, 2])[real])
    for head, name in (("box_size", "height_width"), ("center_offset", "offset")):
        ours, theirs = targets[head]["value"].reshape(-1, 2), golden[f"target/box/{name}"][:, ::-1]
        np.testing.assert_allclose(ours[real], theirs[real], atol=1e-5)


@pytest.mark.parametrize("head", ["offset", "regression"])
def test_vectors_to_keypoints(golden, render, head):
    ours = render()[f"keypoint_{head}"]
    ours = {k: v.reshape(2, 6, 8, 29, *v.shape[2:]) for k, v in ours.items()}
    for task, own in (("task_a", slice(0, 5)), ("task_b", slice(5, 8))):
        weight = golden[f"target/{task}/{head}_weights"].reshape(2, 6, -1, 29)
        np.testing.assert_array_equal(ours["weight"][:, :, own], weight)
        index = golden[f"target/{task}/{head}_indices"].reshape(2, 6, -1, 29, 4)
        flat = (index[..., 1] * 32 + index[..., 2]) * 8 + index[..., 3] + own.start
        real = weight > 0
        np.testing.assert_array_equal(ours["index"][:, :, own][real], flat[real])
        value = golden[f"target/{task}/{head}"].reshape(2, 6, -1, 29, 2)[..., ::-1]
        np.testing.assert_allclose(ours["value"][:, :, own][real], value[real], atol=2e-5)


def test_zoo_masks(golden, render):
    inside = golden["target/valid_pixel_weights"][..., None]
    np.testing.assert_array_equal(render()["center_mask"], np.repeat(inside, 3, axis=-1))
    theirs = np.concatenate([golden["target/task_a/valid_mask"], golden["target/task_b/valid_mask"]], axis=-1)
    np.testing.assert_array_equal(render("zoo_2021")["keypoint_mask"], theirs * inside)
    by_task = [golden["target_2020/task_a/valid_mask"]] * 5 + [golden["target_2020/task_b/valid_mask"]] * 3
    np.testing.assert_array_equal(render("zoo_2020")["keypoint_mask"], np.stack(by_task, axis=-1) * inside)


def small_truth(**changes):
    """Two overlapping objects of one class with two keypoints on a 64 x 64 image; the second lacks its second keypoint."""
    truth = {
        "boxes_xyxy": [[[8, 8, 40, 40], [16, 16, 56, 56]]],
        "class_ids": [[0, 0]],
        "object_weights": [[1, 1]],
        "keypoints_xy": [[[[12, 12], [36, 36]], [[20, 20], [0, 0]]]],
        "visibility": [[[2, 1], [2, 0]]],
        "valid_size": [[64, 64]],
    } | changes
    integer = ("class_ids", "visibility")
    return {k: np.asarray(v, "int32" if k in integer else "float32") for k, v in truth.items()}


def test_labelled_rule_silences_only_the_missing_point_of_its_own_object():
    schema = Schema.generic(2, [2, 1])
    mask = ops.convert_to_numpy(render_targets(small_truth(visibility=[[[2, 1, 0], [2, 0, 0]]],
                                keypoints_xy=[[[[12, 12], [36, 36], [0, 0]], [[20, 20], [0, 0], [0, 0]]]]),
                                schema, (16, 16))["keypoint_mask"])[0]  # fmt: skip
    assert mask[..., 0].all() and mask[..., 2].all()  # labelled everywhere, and another class's point
    assert mask[9, 9, 1] == 1  # the first object's labelled point at (36, 36) lies inside the second's box
    assert mask[13, 13, 1] == 0 and mask[4, 4, 1] == 0  # the rest of that box, up to its edge
    assert mask[3, 3, 1] == 1 and mask[14, 14, 1] == 1  # outside it
    old = ops.convert_to_numpy(
        render_targets(small_truth(), Schema.generic(1, 2), (16, 16), mask_rule="zoo_2021")["keypoint_mask"]
    )
    assert old[0, 9, 9, 1] == 0  # the reference loses that labelled point


def test_crowds_are_neither_positive_nor_negative():
    schema = Schema.generic(1, 2)
    targets = render_targets(small_truth(is_crowd=[[0, 1]], object_weights=[[1, 1]]), schema, (16, 16))
    heatmap, mask = (ops.convert_to_numpy(targets[k])[0] for k in ("center_heatmap", "center_mask"))
    assert heatmap.max() == 1 and heatmap[9, 9, 0] < 1 and (heatmap == 1).sum() == 1
    assert (mask[4:14, 4:14] == 0).all() and mask.sum() == 256 - 100
    assert ops.convert_to_numpy(targets["keypoint_mask"])[0, 13, 13].max() == 0
    assert ops.convert_to_numpy(targets["box_size"]["weight"]).tolist() == [[1, 0]]


def test_no_objects_and_no_keypoints():
    truth = small_truth(object_weights=[[0, 0]], boxes_xyxy=np.zeros((1, 2, 4)), visibility=np.zeros((1, 2, 2)))
    targets = render_targets(truth, Schema.generic(1, 2), (16, 16))
    assert float(ops.max(targets["center_heatmap"])) == 0 and float(ops.min(targets["keypoint_mask"])) == 1
    plain = render_targets(small_truth(), Schema.generic(3), (16, 16))
    assert set(plain) == {"center_heatmap", "center_mask", "center_offset", "box_size"}


def test_neighbours_are_the_29_cells_row_by_row():
    assert len(NEIGHBOURS) == 29 and NEIGHBOURS[0].tolist() == [0, -3] and NEIGHBOURS[-1].tolist() == [0, 3]
    assert NEIGHBOURS[14].tolist() == [0, 0]


def test_unknown_mask_rule():
    with pytest.raises(ValueError, match="zoo_2021"):
        render_targets(small_truth(), Schema.generic(1, 2), (16, 16), mask_rule="zoo")
