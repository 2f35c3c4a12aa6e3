"""Objects -> maps: what the network should have answered, rendered in `keras.ops` on the training device.

Works in grid cells: input pixels / 4, cell index = floor, no half-cell shift. The rules are those of TensorFlow's CenterNet
(2021) for "Objects as Points" (Zhou et al. 2019, equations 1 to 4), and where this package differs by default it says so.
Memory: maps are kept as a running maximum over objects, so it grows as H x W x (C + K) plus M x K, never as M x K x H x W.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from keras import ops

from centerkp.codec.cells import valid_cells
from centerkp.heads import STRIDE, Tensor
from centerkp.schema import Schema

MASK_RULES = ("labelled", "zoo_2020", "zoo_2021")
MIN_IOU = 0.7  # of a box whose corner lies at the rim of the Gaussian, with the truth
OFFSET_RADIUS = 3
# The 29 cells (dx, dy) within OFFSET_RADIUS of a peak, row by row, all trained to point at it.
NEIGHBOURS = np.array([(x, y) for y in range(-3, 4) for x in range(-3, 4) if x * x + y * y <= OFFSET_RADIUS**2], np.int32)
# A Gaussian of radius r has sigma (2r + 1) / 6: three sigma is the window in which the paper's code draws a peak.
PEAK_WINDOW = float(np.exp(-4.5))


def gaussian_radius(height: Tensor, width: Tensor) -> Tensor:
    """How far a target box's corner may move in cells while it keeps `MIN_IOU` with the truth: the Gaussian's radius.

    The least of three cases. Each root is divided by 2 instead of 2a: CornerNet's slip, kept by the reference and by us.
    """
    total, area = height + width, height * width
    roots = []
    for a, b, c in (
        (1.0, -total, area * (1 - MIN_IOU) / (1 + MIN_IOU)),
        (4.0, -2 * total, (1 - MIN_IOU) * area),
        (4 * MIN_IOU, 2 * MIN_IOU * total, -(1 - MIN_IOU) * area),
    ):
        roots.append((-b + ops.sqrt(ops.maximum(b * b - 4 * a * c, 0.0))) / 2)
    return ops.minimum(ops.minimum(roots[0], roots[1]), roots[2])


def gaussian_sigma(height: Tensor, width: Tensor) -> Tensor:
    """Width of an object's Gaussian in the target heat maps, in cells: (2 * floor(radius) + 1) / 6, at least 1/6."""
    radius = ops.maximum(ops.floor(gaussian_radius(height, width)), 0.0)
    return (2 * radius + 1) / 6


def render_targets(
    truth: Mapping[str, Tensor],
    schema: Schema,
    map_size: tuple[int, int],
    *,
    mask_rule: str = "labelled",
    keypoint_std: Sequence[float] | np.ndarray | None = None,
) -> dict:
    """Renders padded ground truth of a batch into training targets.

    Args:
        truth: boxes_xyxy (B, M, 4), class_ids (B, M), object_weights (B, M), keypoints_xy (B, M, K, 2), visibility
            (B, M, K), valid_size (B, 2) as width and height, all in input pixels, and optionally is_crowd (B, M), and
            ignored_boxes (B, N, 4) with ignored_class_ids (B, N), inside which nothing of their class is learned, as in crowds.
            Weight 0 marks padding, as does a box without extent.
        map_size: (H, W) in cells.
        mask_rule: where an unlabelled keypoint silences its heat map, since it may well be in the picture:
            "labelled" (default) inside the box of its own object, but never within a labelled point's own peak;
            "zoo_2020" only objects of the class with no labelled point at all, in all the class's maps;
            "zoo_2021" in every box without that keypoint, boxes of other classes included.
        keypoint_std: (K,) width of each keypoint's Gaussian relative to its object's; by default 10 times its OKS sigma,
            which is the zoo's own ratio for COCO.

    Returns:
        `center_heatmap` and `center_mask` (B, H, W, C); with keypoints `keypoint_heatmap` and `keypoint_mask` (B, H, W, K),
        `keypoint_counts` (B, K); and for each of `center_offset`, `box_size` (N = M) and `keypoint_offset`,
        `keypoint_regression` (N = M * K * 29) a dictionary of `index` (B, N) into the flattened map, `value` (B, N, 2) in
        cells, and `weight` (B, N).
    """
    if mask_rule not in MASK_RULES:
        raise ValueError(f"mask_rule: found '{mask_rule}', expected one of {list(MASK_RULES)}.")
    height, width = map_size
    cells = _truth_to_cells(truth, schema)
    one_hot = ops.one_hot(cells["class_ids"], schema.num_classes, dtype="float32")  # (B, M, C)
    heatmap = render_gaussians(
        cells["center_cell"][:, :, None], cells["sigma"][:, :, None], one_hot * cells["weights"][..., None], map_size
    )
    silent_boxes, silent = cells["boxes"], one_hot * cells["is_crowd"][..., None]
    if "ignored_boxes" in truth and truth["ignored_boxes"].shape[1]:
        ignored = ops.one_hot(truth["ignored_class_ids"], schema.num_classes, dtype="float32")
        silent = ops.concatenate([ignored, silent], axis=1)
        silent_boxes = ops.concatenate([ops.cast(truth["ignored_boxes"], "float32") / STRIDE, silent_boxes], axis=1)
    inside = valid_cells(truth["valid_size"], map_size)
    center_mask = inside * _blank_boxes(silent_boxes, silent, map_size)
    index = cells["center_cell"][..., 1] * width + cells["center_cell"][..., 0]
    index, weights = _silence_outside(cells["center_cell"], index, cells["weights"], map_size)
    targets = {
        "center_heatmap": heatmap,
        "center_mask": center_mask,
        "center_offset": {"index": index, "value": cells["center"] - ops.floor(cells["center"]), "weight": weights},
        "box_size": {"index": index, "value": cells["size"], "weight": weights},
    }
    if schema.num_keypoints:
        std = schema.keypoint_std if keypoint_std is None else np.asarray(keypoint_std, np.float32)
        cells |= {"silent_boxes": silent_boxes, "silent": silent}
        targets |= _render_keypoints(cells, inside, schema, map_size, mask_rule, std)
    return targets


def _truth_to_cells(truth: Mapping[str, Tensor], schema: Schema) -> dict:
    """The truth in grid cells, to render targets from; keypoint weights are class membership x object weight x labelled."""
    boxes = ops.cast(truth["boxes_xyxy"], "float32") / STRIDE
    size = boxes[..., 2:] - boxes[..., :2]
    center = (boxes[..., :2] + boxes[..., 2:]) / 2
    weights = ops.cast(truth["object_weights"], "float32")
    class_ids = ops.cast(truth["class_ids"], "int32")
    crowd = truth.get("is_crowd")
    crowd = ops.zeros_like(weights) if crowd is None else ops.cast(crowd, "float32")
    cells = {
        "boxes": boxes,
        "size": size,
        "center": center,
        "center_cell": ops.cast(ops.floor(center), "int32"),
        "sigma": gaussian_sigma(size[..., 1], size[..., 0]),
        "weights": weights * (1 - crowd),
        "class_ids": class_ids,
        "is_crowd": crowd,
    }
    if schema.num_keypoints:
        points = ops.cast(truth["keypoints_xy"], "float32") / STRIDE
        own = ops.take(ops.convert_to_tensor(schema.keypoint_mask.astype("float32")), class_ids, axis=0)  # (B, M, K)
        labelled = ops.cast(ops.cast(truth["visibility"], "int32") > 0, "float32")
        cells |= {
            "points": points,
            "points_cell": ops.cast(ops.floor(points), "int32"),
            "own": own,
            "point_weights": own * labelled * cells["weights"][..., None],
        }
    return cells


def _render_keypoints(
    cells: Mapping[str, Tensor],
    inside: Tensor,
    schema: Schema,
    map_size: tuple[int, int],
    mask_rule: str,
    std: np.ndarray,
) -> dict:
    """The training targets of the keypoint heads: heat map, mask, counts, and sparse offsets and regression."""
    height, width = map_size
    count = schema.num_keypoints
    weights = cells["point_weights"]
    sigma = cells["sigma"][..., None] * ops.convert_to_tensor(std)
    heatmap = render_gaussians(cells["points_cell"], sigma, weights, map_size)
    blank = _blank_keypoints(cells, weights, schema, mask_rule)
    mask = _blank_boxes(cells["boxes"], blank, map_size, closed=mask_rule == "zoo_2020")
    if mask_rule == "labelled":
        mask = ops.maximum(mask, ops.cast(heatmap >= PEAK_WINDOW, "float32"))
        silent_points = ops.matmul(cells["silent"], ops.convert_to_tensor(schema.keypoint_mask.astype("float32")))
        mask = mask * _blank_boxes(cells["silent_boxes"], silent_points, map_size)
    channel = np.arange(count, dtype="int32")[:, None]  # (K, 1)
    # Both vectors point at the keypoint: one from the cells around the keypoint, one from those around the object's center.
    sparse = {}
    anchors = {"keypoint_offset": cells["points_cell"], "keypoint_regression": cells["center_cell"][:, :, None]}
    for head, anchor in anchors.items():
        cell = anchor[..., None, :] + NEIGHBOURS  # (B, M, K or 1, 29, 2)
        value = cells["points"][..., None, :] - ops.cast(cell, "float32")  # (B, M, K, 29, 2)
        index = (cell[..., 1] * width + cell[..., 0]) * count + channel
        index, weight = _silence_outside(cell, index, weights[..., None], map_size)
        sparse[head] = {
            "index": _flatten_targets(index),
            "value": _flatten_targets(value, 2),
            "weight": _flatten_targets(weight),
        }
    return sparse | {
        "keypoint_heatmap": heatmap,
        "keypoint_mask": mask * inside,
        "keypoint_counts": ops.floor(ops.sum(weights, axis=1)),
    }


def _blank_keypoints(cells: Mapping[str, Tensor], weights: Tensor, schema: Schema, mask_rule: str) -> Tensor:
    """Where an object silences a keypoint's target map inside its box, by `mask_rule`: 1 there, (B, M, K)."""
    missing = ops.cast(weights < 1e-3, "float32")
    if mask_rule == "zoo_2021":
        return missing
    if mask_rule == "labelled":
        return missing * cells["own"] * ops.cast(cells["weights"] > 0, "float32")[..., None]
    groups = ops.convert_to_tensor((schema.keypoint_mask.T.astype(int) @ schema.keypoint_mask.astype(int)).astype("float32"))
    none_labelled = ops.cast(ops.matmul(weights, groups) < 1e-3, "float32")
    real = ops.cast(ops.max(cells["size"], axis=-1) > 0, "float32")[..., None]  # padding has no extent
    return none_labelled * cells["own"] * real


def render_gaussians(points_cell: Tensor, sigma: Tensor, weights: Tensor, map_size: tuple[int, int]) -> Tensor:
    """Draws every point's Gaussian over the whole target heat map and keeps the maximum, one object at a time.

    Args:
        points_cell: (B, M, K, 2) integer cells x, y; K may be 1 when all channels share the point.
        sigma: (B, M, K) or (B, M, 1), in cells.
        weights: (B, M, K); a weight below 1 gives a lower peak, weight 0 no peak.

    Returns:
        (B, H, W, K) float32 in 0..1.
    """
    height, width = map_size
    points, spread = ops.cast(points_cell, "float32"), 2 * sigma * sigma
    rows, columns = (ops.arange(n, dtype="float32")[None, :, None] for n in map_size)

    def draw(i: Tensor, heatmap: Tensor) -> Tensor:
        point, s = points[:, i], spread[:, i][:, None]
        # exp(-(dx^2 + dy^2)) is the product of two one-dimensional curves, which are H + W numbers to compute.
        vertical = ops.exp(-ops.square(rows - point[:, None, :, 1]) / s)
        horizontal = ops.exp(-ops.square(columns - point[:, None, :, 0]) / s)
        peak = vertical[:, :, None] * horizontal[:, None] * weights[:, i][:, None, None]
        return ops.maximum(heatmap, peak)

    empty = ops.zeros((ops.shape(weights)[0], height, width, weights.shape[-1]))
    return _fold_objects(_count_used_rows(weights), draw, empty)


def _blank_boxes(boxes: Tensor, blank: Tensor, map_size: tuple[int, int], closed: bool = False) -> Tensor:
    """A mask of targets (B, H, W, K): 0 inside the boxes (B, M, 4) whose `blank` (B, M, K) is 1, else 1.

    The far edges belong to it if `closed`.
    """
    rows, columns = (ops.arange(n, dtype="float32")[None, :] for n in map_size)

    def within(axis: Tensor, low: Tensor, high: Tensor) -> Tensor:
        upper = axis <= high[:, None] if closed else axis < high[:, None]
        return ops.cast(ops.logical_and(axis >= low[:, None], upper), "float32")

    def cover(i: Tensor, mask: Tensor) -> Tensor:
        box = boxes[:, i]
        area = within(rows, box[:, 1], box[:, 3])[:, :, None] * within(columns, box[:, 0], box[:, 2])[:, None]
        return ops.minimum(mask, 1 - area[..., None] * blank[:, i][:, None, None])

    full = ops.ones((ops.shape(blank)[0], *map_size, blank.shape[-1]))
    return _fold_objects(_count_used_rows(blank), cover, full)


def _fold_objects(count: Tensor, step: Callable[[Tensor, Tensor], Tensor], maps: Tensor) -> Tensor:
    """Draws objects into target maps one after another: `step(i, maps)` for i = 0 .. count - 1."""

    def advance(i: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
        maps = step(i, maps)
        # No map exceeds 1, so this adds 1. That the next index needs this map keeps TensorFlow from running ten steps side by
        # side, which took six times the memory and was slower.
        return i + 1 + ops.cast(ops.reshape(maps, (-1,))[0] > 2, "int32"), maps

    first = ops.convert_to_tensor(0, "int32")
    return ops.while_loop(lambda i, _: i < count, advance, (first, maps))[1]


def _count_used_rows(weights: Tensor) -> Tensor:
    """How many leading objects of weights (B, M, K) have a target to render: rows behind the last non-zero one are padding."""
    used = ops.any(weights > 0, axis=(0, 2))
    return ops.max(ops.where(used, ops.arange(1, weights.shape[1] + 1, dtype="int32"), 0))


def _silence_outside(cell: Tensor, index: Tensor, weights: Tensor, map_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Gives target cells that lie outside the map the index 0 and the weight 0."""
    height, width = map_size
    x, y = cell[..., 0], cell[..., 1]
    inside = ops.logical_and(ops.logical_and(x >= 0, x < width), ops.logical_and(y >= 0, y < height))
    return ops.where(inside, index, 0), ops.where(inside, weights, 0.0)


def _flatten_targets(values: Tensor, trailing: int = 0) -> Tensor:
    """Sparse keypoint targets (B, M, K, 29, ...) as (B, M * K * 29, ...)."""
    length = int(np.prod(values.shape[1:4]))
    return ops.reshape(values, (-1, length, trailing) if trailing else (-1, length))
