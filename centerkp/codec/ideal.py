"""Targets -> maps: the answer of a network that has learned everything, to hold encoding and decoding together."""

import numpy as np

from centerkp.codec.targets import NEIGHBOURS
from centerkp.heads import STRIDE
from centerkp.schema import Schema

_ON_PEAK = int(np.flatnonzero((NEIGHBOURS == 0).all(axis=1))[0])


def ideal_maps(targets: dict, schema: Schema) -> dict[str, np.ndarray]:
    """The maps of an ideal network for NumPy targets of `render_targets`, which decode into the objects; heat maps as logits.

    Objects that share a grid cell overwrite each other, as they must: one cell holds one answer.
    """
    batch, height, width, _ = targets["center_heatmap"].shape
    maps = {}
    for head in ("center_heatmap", "keypoint_heatmap"):
        if head in targets:
            p = np.clip(targets[head].astype(np.float64), 1e-7, 1 - 1e-7)
            maps[head] = np.log(p / (1 - p)).astype(np.float32)
    for head in ("center_offset", "box_size"):
        maps[head] = _scatter_target(targets[head], (batch, height, width, 2))
    if schema.num_keypoints:
        shape = (batch, height, width, 2 * schema.num_keypoints)
        for head in ("keypoint_offset", "keypoint_regression"):
            own_cell = {
                k: v.reshape(batch, -1, len(NEIGHBOURS), *v.shape[2:])[:, :, _ON_PEAK] for k, v in targets[head].items()
            }
            maps[head] = _scatter_target(own_cell, shape)
    return maps


def count_shared_cells(boxes_xyxy: np.ndarray, keypoints_xy: np.ndarray, visibility: np.ndarray) -> tuple[int, int]:
    """What no ideal network can tell apart in an image: objects and keypoints in the grid cell of an earlier object's.

    A cell holds one answer. Counted are objects whose center shares its cell with an earlier one's, of whatever class, and
    labelled keypoints that share theirs with the same keypoint of an earlier object.

    Args:
        boxes_xyxy, keypoints_xy, visibility: (N, 4), (N, K, 2) in pixels of the network's input, and (N, K).
    """
    centers = np.floor((boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2 / STRIDE)
    rows, channels = np.nonzero(visibility)
    points = np.column_stack([np.floor(keypoints_xy[rows, channels] / STRIDE), channels])
    return len(centers) - len(np.unique(centers, axis=0)), len(points) - len(np.unique(points, axis=0))


def _scatter_target(target: dict, shape: tuple[int, ...]) -> np.ndarray:
    """A sparse target of rendering as the dense map (`shape`) that an ideal network would give."""
    pairs = np.zeros((shape[0], int(np.prod(shape[1:])) // 2, 2), np.float32)
    for image in range(shape[0]):
        real = target["weight"][image] > 0
        pairs[image, target["index"][image][real]] = target["value"][image][real]
    return pairs.reshape(shape)
