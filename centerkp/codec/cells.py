"""Grid cells as encoding, decoding and the losses address them."""

import numpy as np
from keras import ops

from centerkp.heads import STRIDE, Tensor


def valid_cells(valid_size: Tensor, map_size: tuple[int, int]) -> Tensor:
    """Which cells of the grid hold the picture and not the canvas's padding right of and below it: 1 there, else 0.

    Args:
        valid_size: (B, 2) width and height of the picture in input pixels.
        map_size: (H, W) in cells.

    Returns:
        (B, H, W, 1) float32.
    """
    height, width = map_size
    limit = ops.ceil(ops.cast(valid_size, "float32") / STRIDE)
    rows = ops.cast(ops.arange(height, dtype="float32") < limit[:, 1:], "float32")
    columns = ops.cast(ops.arange(width, dtype="float32") < limit[:, :1], "float32")
    return (rows[:, :, None] * columns[:, None])[..., None]


def number_cells(index: Tensor, count: int) -> Tensor:
    """Cells (B, N) of grids of `count` cells each, numbered on from grid to grid of the batch."""
    return index + ops.arange(ops.shape(index)[0], dtype="int32")[:, None] * count


def take_cells(values: Tensor, index: Tensor) -> Tensor:
    """Rows of a map (B, H, W, channels) at the flattened grid cells `index` (B, N): (B, N, channels)."""
    height, width, channels = values.shape[1:]
    return ops.take(ops.reshape(values, (-1, channels)), number_cells(index, height * width), axis=0)


def take_patches(values: Tensor, index: Tensor, side: int) -> Tensor:
    """What a convolution `side` wide reads of a map (B, H, W, channels) at its cells `index` (B, N), with zeros beyond the map.

    Row by row: (B, N, side * side * channels).
    """
    width, channels = values.shape[2:]
    before, columns = (side // 2, side // 2), width + side - 1
    padded = ops.pad(values, [(0, 0), before, before, (0, 0)])
    near = np.add.outer(np.arange(side) * columns, np.arange(side)).reshape(-1).astype("int32")
    place = (index // width * columns + index % width)[..., None] + near
    found = take_cells(padded, ops.reshape(place, (-1, index.shape[1] * side * side)))
    return ops.reshape(found, (-1, index.shape[1], side * side * channels))


def mark_cells(index: Tensor, weight: Tensor, count: int) -> Tensor:
    """In which of `count` cells a grid has something of a weight (B, N) above 0, by its `index` (B, N): (B, count), 1 or 0."""
    there = ops.reshape(ops.cast(weight > 0, "float32"), (-1,))
    cells = ops.reshape(number_cells(index, count), (-1,))
    found = ops.segment_sum(there, cells, ops.shape(index)[0] * count)
    return ops.reshape(ops.cast(found > 0, "float32"), (-1, count))


def take_pairs(values: Tensor, index: Tensor) -> Tensor:
    """Pairs x, y of a map (B, H, W, 2n) of cells: those at `index` (B, N), counted as cell * n + pair, as (B, N, 2)."""
    height, width, channels = values.shape[1:]
    return take_cells(ops.reshape(values, (-1, height, width * channels // 2, 2)), index)
