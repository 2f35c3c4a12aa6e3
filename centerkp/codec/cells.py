"""Grid cells as encoding, decoding and the losses address them."""

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


def take_cells(values: Tensor, index: Tensor) -> Tensor:
    """Rows of a map (B, H, W, channels) at the flattened grid cells `index` (B, N): (B, N, channels)."""
    height, width, channels = values.shape[1:]
    first = ops.arange(ops.shape(values)[0], dtype="int32")[:, None] * (height * width)
    return ops.take(ops.reshape(values, (-1, channels)), index + first, axis=0)


def take_pairs(values: Tensor, index: Tensor) -> Tensor:
    """Pairs x, y of a map (B, H, W, 2n) of cells: those at `index` (B, N), counted as cell * n + pair, as (B, N, 2)."""
    height, width, channels = values.shape[1:]
    return take_cells(ops.reshape(values, (-1, height, width * channels // 2, 2)), index)
