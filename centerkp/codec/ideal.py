"""Targets -> maps: the answer of a network that has learned everything, to hold encoding and decoding together."""

import numpy as np

from centerkp.codec.targets import NEIGHBOURS

_ON_PEAK = int(np.flatnonzero((NEIGHBOURS == 0).all(axis=1))[0])


def ideal_maps(targets: dict, schema) -> dict[str, np.ndarray]:
    """NumPy targets of `render_targets` as the maps that decode back into the objects, heat maps as logits.

    Objects that share a grid cell overwrite each other, as they must: one cell holds one answer.
    """
    batch, height, width, _ = targets["center_heatmap"].shape
    maps = {}
    for head in ("center_heatmap", "keypoint_heatmap"):
        if head in targets:
            p = np.clip(targets[head].astype(np.float64), 1e-7, 1 - 1e-7)
            maps[head] = np.log(p / (1 - p)).astype(np.float32)
    for head in ("center_offset", "box_size"):
        maps[head] = _scatter(targets[head], (batch, height, width, 2))
    if schema.num_keypoints:
        shape = (batch, height, width, 2 * schema.num_keypoints)
        for head in ("keypoint_offset", "keypoint_regression"):
            own_cell = {
                k: v.reshape(batch, -1, len(NEIGHBOURS), *v.shape[2:])[:, :, _ON_PEAK] for k, v in targets[head].items()
            }
            maps[head] = _scatter(own_cell, shape)
    return maps


def _scatter(target: dict, shape: tuple[int, ...]) -> np.ndarray:
    pairs = np.zeros((shape[0], int(np.prod(shape[1:])) // 2, 2), np.float32)
    for image in range(shape[0]):
        real = target["weight"][image] > 0
        pairs[image, target["index"][image][real]] = target["value"][image][real]
    return pairs.reshape(shape)
