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


def draw_synth() -> np.ndarray:
    """The goldens' formula image, (480, 640, 3) uint8."""
    x, y = np.meshgrid(np.arange(640), np.arange(480))
    red = (7 * x + 3 * y + x * y // 11) % 256
    green = (128 + 100 * np.sin(x / 9) * np.cos(y / 13)).astype(int) % 256
    blue = 180 * ((x // 16 + y // 16) % 2) + (x * x + y) % 64
    return np.stack([red, green, blue], axis=-1).astype("uint8")


def letterbox(image: np.ndarray, size: int) -> np.ndarray:
    """(1, size, size, 3) float32: the reference's resize, plain bilinear without a half-pixel shift, padded right and below."""
    sampled = image.astype("float32")
    scale = size / max(image.shape[:2])
    for axis in (0, 1):
        old = image.shape[axis]
        new = round(scale * old)
        where = np.arange(new) * (old / new)
        low = np.floor(where).astype(int)
        high = np.minimum(low + 1, old - 1)
        share = np.expand_dims((where - low).astype("float32"), (1, 2) if axis == 0 else (0, 2))
        sampled = sampled.take(low, axis) * (1 - share) + sampled.take(high, axis) * share
    return np.pad(sampled, [(0, size - sampled.shape[0]), (0, size - sampled.shape[1]), (0, 0)])[None]


def read_truth(arrays: dict, size: int = SIZE, true_shapes: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """The padded ground truth of the training goldens, in pixels of the size x size input."""
    images = [{k: arrays[f"gt/{i}/{k}"] for k in ("boxes", "classes", "weights", "keypoints")} for i in (0, 1)]
    boxes, classes, weights, points = (np.stack([image[k] for image in images]) for k in images[0])
    labelled = ~np.isnan(points[..., 0])
    return {
        "boxes_xyxy": turn(boxes) * size,
        "class_ids": classes.argmax(-1).astype("int32"),
        "object_weights": weights,
        "keypoints_xy": np.nan_to_num(points[..., ::-1]) * size,
        "visibility": labelled.astype("int32") * 2,
        "valid_size": (arrays["true_image_shapes"] if true_shapes is None else true_shapes)[:, 1::-1].astype("float32"),
    }


DETECTIONS = ("scores", "classes", "boxes", "keypoints", "keypoint_scores")


def check_detections(found: dict, expected: dict, scale: np.ndarray, classes=None) -> None:
    """One image's decoded arrays against the reference's, matched by position, since scores may change ranks by 2e-7.

    Args:
        scale: width and height of the true image, by which the reference's boxes and points are divided.
        classes: only these class ids are looked for.
    """
    theirs = turn(expected["boxes"]) * np.tile(scale, 2)
    ours = np.clip(found["boxes"], 0, np.tile(scale, 2))
    for row, box in enumerate(theirs):
        kind = expected["classes"][row]
        if classes is not None and kind not in classes:
            continue
        rows = np.flatnonzero((found["class_ids"] == kind) & (np.abs(found["scores"] - expected["scores"][row]) < 1e-4))
        assert len(rows), f"no detection like {row}: class {kind}, score {expected['scores'][row]}"
        best = rows[np.abs(ours[rows] - box).max(-1).argmin()]
        np.testing.assert_allclose(ours[best], box, atol=2e-3 * max(scale) / SIZE, err_msg=f"box {row}")
        points = expected["keypoints"][row][:, ::-1] * scale
        np.testing.assert_allclose(found["keypoints"][best], points, atol=2e-3 * max(scale) / SIZE, err_msg=f"points {row}")
        np.testing.assert_allclose(
            found["keypoint_scores"][best], expected["keypoint_scores"][row], atol=1e-4, err_msg=f"{row}"
        )
