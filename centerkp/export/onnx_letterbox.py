"""What stands before the network in an ONNX file: letterboxing.

The same steps in the same order as `centerkp.images.reading.letterbox_image`, in ONNX operators.
"""

from dataclasses import dataclass

import numpy as np

from centerkp.export.onnx_layers import Graph


@dataclass(frozen=True)
class Letterboxed:
    """Names of tensors.

    Attributes:
        image: (B, S_h, S_w, 3) float32, whole numbers 0..255, black where the picture does not reach.
        valid_size: (2,) float32, width and height of the picture inside the canvas.
        to_source: (2,) float32, source pixels per pixel of the canvas, in x and y.
    """

    image: str
    valid_size: str
    to_source: str


def write_letterbox(graph: Graph, image: str, size: tuple[int, int]) -> Letterboxed:
    """Writes ONNX nodes that fit images (B, H, W, 3) uint8 of any size into the network's (width, height)."""
    graph.scope = "letterbox"
    old = graph("Gather", graph("Shape", image), np.array([2, 1]))  # (2,) width, height
    new = _fit_sides(graph, old, image, size)
    columns = _sample_axis(graph, old, new, 0, size[0])
    rows = _sample_axis(graph, old, new, 1, size[1])
    # Pixels are picked as bytes, before anything becomes float: a large photo costs no more than a small one.
    upper, lower = (_blend_columns(graph, graph("Gather", image, index, axis=1), columns) for index in (rows.low, rows.high))
    share = graph("Unsqueeze", rows.share, np.array([1, 2]))  # (S_h, 1, 1)
    blended = graph("Round", graph("Add", upper, graph("Mul", graph("Sub", lower, upper), share)))
    inside = graph("Mul", graph("Unsqueeze", rows.inside, np.array([1, 2])), graph("Unsqueeze", columns.inside, np.array([1])))
    canvases = graph("Mul", blended, inside, name="canvas")
    old_sides, new_sides = (graph.cast(sides, "float") for sides in (old, new))
    sides = graph("Identity", new_sides, name="valid_size")
    return Letterboxed(canvases, sides, graph("Div", old_sides, new_sides, name="to_source"))


def _fit_sides(graph: Graph, old: str, image: str, size: tuple[int, int]) -> str:
    """ONNX nodes for the sides (2,) of the picture inside the canvas, as `geometry.letterbox` rounds them.

    In whole numbers: a runtime that computes in bfloat16 knows no 341.
    """
    canvas = np.array(size)
    other = graph("Gather", graph("Shape", image), np.array([1, 2]))  # height, width
    scaled = graph("Mul", old, canvas[::-1])
    whole = graph("Div", scaled, other)
    rest = graph("Sub", scaled, graph("Mul", whole, other))
    twice = graph("Add", graph("Add", rest, rest), graph("Mod", whole, np.array(2)))  # halves go to the even number
    rounded = graph("Add", whole, graph.cast(graph("Greater", twice, other), "int64"))
    return graph("Min", graph("Max", rounded, np.array(1)), canvas)


@dataclass(frozen=True)
class _Axis:
    """Names, each (S,): the two source pixels of every pixel, the second one's share, and 1 inside the picture, else 0."""

    low: str
    high: str
    share: str
    inside: str


def _sample_axis(graph: Graph, old: str, new: str, axis: int, side: int) -> _Axis:
    """ONNX nodes that resize along one axis: source = target * old / new, in whole numbers, exact in every runtime."""
    old, new = (graph("Gather", sides, np.array([axis])) for sides in (old, new))
    target = np.arange(side)
    scaled = graph("Mul", old, target)
    source = graph("Div", scaled, new)
    rest = graph("Sub", scaled, graph("Mul", source, new))
    last = graph("Sub", old, np.array([1]))
    low = graph("Min", source, last)
    high = graph("Min", graph("Add", low, np.array([1])), last)
    share = graph("Div", graph.cast(rest, "float"), graph.cast(new, "float"))
    return _Axis(low, high, share, graph.cast(graph("Less", target, new), "float"))


def _blend_columns(graph: Graph, rows: str, columns: _Axis) -> str:
    """ONNX nodes that mix two columns of source pixels for each column of the canvas."""
    left, right = (graph.cast(graph("Gather", rows, index, axis=2), "float") for index in (columns.low, columns.high))
    share = graph("Unsqueeze", columns.share, np.array([1]))  # (S_w, 1)
    return graph("Add", left, graph("Mul", graph("Sub", right, left), share))
