"""Golden arrays of TensorFlow's CenterNet, turned into this package's conventions (x before y, width before height)."""

from pathlib import Path

import numpy as np

from centerkp.schema import ObjectClass, Schema

GOLDEN = Path(__file__).parent / "golden"
# Two classes with keypoints and one without; the reference calls the first two "tasks".
SCHEMA = Schema(
    (
        ObjectClass("class_a", 1, ("a_head", "a_left", "a_right", "a_tail", "a_mid")),
        ObjectClass("class_b", 2, ("b_tip", "b_left", "b_right")),
        ObjectClass("class_c", 3),
    )
)
KEYPOINT_STD = np.array([0.5, 0.8, 0.8, 1.2, 1.0, 0.3, 1.0, 1.0], np.float32)
SIZE = 128
HEADS = {
    "center_heatmap": "object_center",
    "center_offset": "box/offset",
    "box_size": "box/scale",
    "keypoint_heatmap": "keypoint/heatmap",
    "keypoint_offset": "keypoint/offset",
    "keypoint_regression": "keypoint/regression",
}


def load(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return {key: arrays[key] for key in arrays}


def turn(values: np.ndarray) -> np.ndarray:
    """(..., 2n) with y before x -> x before y."""
    return values.reshape(*values.shape[:-1], -1, 2)[..., ::-1].reshape(values.shape)


def read_head(arrays: dict, prefix: str, head: str, tasks=("task_a", "task_b"), suffix: str = "") -> np.ndarray:
    """One of our heads: the reference's tasks side by side on the flat keypoint axis."""
    theirs = HEADS[head]
    if theirs.startswith("keypoint/"):
        values = np.concatenate([arrays[f"{prefix}/{task}/{theirs}{suffix}"] for task in tasks], axis=-1)
    else:
        values = arrays[f"{prefix}/{theirs}{suffix}"]
    return values if head.endswith("heatmap") else turn(values)


def read_truth(arrays: dict) -> dict[str, np.ndarray]:
    """The padded ground truth of the training goldens, in pixels of the 128 x 128 input."""
    images = [{k: arrays[f"gt/{i}/{k}"] for k in ("boxes", "classes", "weights", "keypoints")} for i in (0, 1)]
    boxes, classes, weights, points = (np.stack([image[k] for image in images]) for k in images[0])
    labelled = ~np.isnan(points[..., 0])
    return {
        "boxes_xyxy": turn(boxes) * SIZE,
        "class_ids": classes.argmax(-1).astype("int32"),
        "object_weights": weights,
        "keypoints_xy": np.nan_to_num(points[..., ::-1]) * SIZE,
        "visibility": labelled.astype("int32") * 2,
        "valid_size": arrays["true_image_shapes"][:, 1::-1].astype("float32"),
    }
