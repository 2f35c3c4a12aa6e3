"""What stands behind the network in an ONNX file: maps -> objects.

The same steps in the same order as `centerkp.codec.decode`, in ONNX operators.
Layout is (B, channels, cells) here, because the maps come as (B, channels, H, W).
"""

import numpy as np

from centerkp.codec.decode import FAR, DecodeOptions
from centerkp.export.onnx_layers import Graph
from centerkp.heads import HEATMAP_HEADS, STRIDE


def write_decode(
    graph: Graph,
    maps: dict[str, str],
    map_size: tuple[int, int],
    keypoint_mask: np.ndarray,
    options: DecodeOptions,
    valid_size: str,
    to_source: str,
) -> dict[str, str]:
    """Writes ONNX nodes that turn the maps (B, channels, H, W) of `{head: name}` into objects in source pixels.

    Args:
        map_size: (H, W).
        keypoint_mask: (C, K) bool.
        valid_size, to_source: see `onnx_letterbox.Letterboxed`.

    Returns:
        Names by output: boxes (B, M, 4), scores (B, M), class_ids (B, M) int32, and with K > 0 keypoints (B, M, K, 2),
        keypoint_scores (B, M, K).
    """
    graph.scope = "decode"
    return _Decoder(graph, maps, map_size, keypoint_mask, options, valid_size).write(to_source)


class _Decoder:
    """Writes the decoding into an ONNX graph, one method for each of its steps."""

    def __init__(
        self,
        graph: Graph,
        maps: dict[str, str],
        map_size: tuple[int, int],
        keypoint_mask: np.ndarray,
        options: DecodeOptions,
        valid_size: str,
    ) -> None:
        self.graph, self.options, self.keypoint_mask = graph, options, keypoint_mask
        # The bounds mean nothing but to OpenVINO, which rounds what a convolution returns to bfloat16 unless a step in float32,
        # as the decoder's are, belongs to the convolution.
        self.maps = {
            head: tensor if head in HEATMAP_HEADS else graph("Clip", tensor, 0.0 if head == "box_size" else -FAR, FAR)
            for head, tensor in maps.items()
        }
        self.height, self.width = map_size
        self.cells = self.height * self.width
        self.classes, self.keypoints = keypoint_mask.shape
        self.count = min(options.max_objects, self.cells * self.classes)
        self.candidates = min(options.candidates, self.cells)
        self.valid_size = valid_size

    def write(self, to_source: str) -> dict[str, str]:
        """Writes all steps of decoding into the ONNX graph and returns the names of the outputs."""
        g = self.graph
        scores, index, class_ids = self._find_centers()
        cell = self._cells_xy(index, 1)  # (B, 2, M)
        center = g("Add", cell, self._take_at_cells("center_offset", index))
        half = g("Mul", self._take_at_cells("box_size", index), 0.5)
        extent = np.array([[[self.width], [self.height]]], np.float32)
        low, high = (g("Min", g("Max", g(sign, center, half), 0.0), extent) for sign in ("Sub", "Add"))
        limit = g("Reshape", self.valid_size, np.array([1, 2, 1]))
        scale = g("Reshape", to_source, np.array([1, 2, 1]))
        corners = (g("Mul", g("Min", g("Mul", corner, float(STRIDE)), limit), scale) for corner in (low, high))
        boxes = g("Transpose", g("Concat", *corners, axis=1), perm=[0, 2, 1])
        found = {"boxes": boxes, "scores": scores, "class_ids": g.cast(class_ids, "int32")}
        if self.keypoints:
            own = g("Gather", self.keypoint_mask.astype(np.float32), class_ids)  # (B, M, K)
            points, point_scores = self._snap_keypoints(index, cell, low, high)
            points = g("Mul", points, float(STRIDE))  # (B, K, 2, M)
            if self.options.clip_keypoints:
                clipped = g("Min", g("Max", points, 0.0), limit)
                moved = g("ReduceMax", g("Abs", g("Sub", clipped, points)), axes=[2], keepdims=0)
                point_scores = g("Where", g("Equal", moved, 0.0), point_scores, 0.0)
                points = clipped
            points = g("Transpose", g("Mul", points, scale), perm=[0, 3, 1, 2])
            found["keypoints"] = g("Mul", points, g("Unsqueeze", own, np.array([3])))
            found["keypoint_scores"] = g("Mul", g("Transpose", point_scores, perm=[0, 2, 1]), own)
        return found

    def _find_centers(self) -> tuple[str, str, str]:
        """ONNX nodes for scores, cells and classes, (B, M) each, of the best center peaks inside the picture."""
        g = self.graph
        limit = g("Ceil", g("Div", self.valid_size, float(STRIDE)))
        columns, rows = (g("Gather", limit, np.array(axis)) for axis in (0, 1))
        row = np.arange(self.height, dtype=np.float32).reshape(1, 1, -1, 1)
        column = np.arange(self.width, dtype=np.float32).reshape(1, 1, 1, -1)
        inside = g("And", g("Less", row, rows), g("Less", column, columns))
        scores = g("Mul", g("Sigmoid", self.maps["center_heatmap"]), g.cast(inside, "float"))
        if self.options.ignored_classes:
            wanted = np.isin(np.arange(self.classes), self.options.ignored_classes, invert=True).astype(np.float32)
            scores = g("Mul", scores, wanted.reshape(1, -1, 1, 1))
        # Cells before classes, as the Keras decoder counts, so that equal scores come in the same order.
        flat = g(
            "Reshape",
            g("Transpose", self._keep_peaks(scores, self.options.center_kernel), perm=[0, 2, 3, 1]),
            np.array([0, self.cells * self.classes]),
        )
        best, place = g("TopK", flat, np.array([self.count]), outputs=2, axis=1)
        index = g("Div", place, np.array(self.classes))
        return best, index, g("Sub", place, g("Mul", index, np.array(self.classes)))

    def _keep_peaks(self, scores: str, side: int) -> str:
        """ONNX nodes that do what `codec.decode.keep_peaks` does."""
        g = self.graph
        before, after = (side - 1) // 2, side // 2
        highest = g("MaxPool", scores, kernel_shape=[side, side], strides=[1, 1], pads=[before, before, after, after])
        return g("Where", g("Less", g("Abs", g("Sub", scores, highest)), 1e-6), scores, 0.0)

    def _cells_xy(self, index: str, axis: int) -> str:
        """ONNX nodes for column and row of cells (..., N) on a new axis, as float."""
        g = self.graph
        row = g("Div", index, np.array(self.width))
        column = g("Sub", index, g("Mul", row, np.array(self.width)))
        return g("Concat", *(g("Unsqueeze", g.cast(v, "float"), np.array([axis])) for v in (column, row)), axis=axis)

    def _take_at_cells(self, head: str, index: str) -> str:
        """ONNX nodes that take all channels of a map at cells `index` (B, M): (B, channels, M)."""
        g, channels = self.graph, 2 * self.keypoints if head.startswith("keypoint") else 2
        flat = g("Reshape", self.maps[head], np.array([0, channels, self.cells]))
        index = g("Expand", g("Unsqueeze", index, np.array([1])), np.array([1, channels, 1]))
        return g("GatherElements", flat, index, axis=2)

    def _find_candidates(self) -> tuple[str, str]:
        """ONNX nodes for positions (B, K, 2, P) in cells and scores (B, K, P) of every keypoint's best peaks."""
        g = self.graph
        peaks = self._keep_peaks(g("Sigmoid", self.maps["keypoint_heatmap"]), self.options.keypoint_kernel)
        flat = g("Reshape", peaks, np.array([0, self.keypoints, self.cells]))
        scores, index = g("TopK", flat, np.array([self.candidates]), outputs=2, axis=2)
        offsets = g("Reshape", self.maps["keypoint_offset"], np.array([0, self.keypoints, 2, self.cells]))
        pairs = g("Expand", g("Unsqueeze", index, np.array([2])), np.array([1, 1, 2, 1]))
        return g("Add", self._cells_xy(index, 2), g("GatherElements", offsets, pairs, axis=3)), scores

    def _snap_keypoints(self, index: str, cell: str, low: str, high: str) -> tuple[str, str]:
        """ONNX nodes that move points (B, K, 2, M) to their nearest candidates by the rules; scores (B, K, M)."""
        g, options = self.graph, self.options
        vectors = g("Reshape", self._take_at_cells("keypoint_regression", index), np.array([0, self.keypoints, 2, self.count]))
        regressed = g("Add", g("Unsqueeze", cell, np.array([1])), vectors)
        positions, scores = self._find_candidates()
        difference = g("Sub", g("Unsqueeze", regressed, np.array([4])), g("Unsqueeze", positions, np.array([3])))
        squares = g("ReduceSum", g("Mul", difference, difference), np.array([2]), keepdims=0)
        distance = g("Sqrt", squares)  # (B, K, M, P)
        counts = g("GreaterOrEqual", g("Unsqueeze", scores, np.array([2])), options.candidate_score)
        distance = g("Where", counts, distance, FAR)
        nearest = g("ArgMin", distance, axis=3, keepdims=0)  # (B, K, M)
        least = g("ReduceMin", distance, axes=[3], keepdims=0)
        pairs = g("Expand", g("Unsqueeze", nearest, np.array([2])), np.array([1, 1, 2, 1]))
        position = g("GatherElements", positions, pairs, axis=3)  # (B, K, 2, M)
        score = g("GatherElements", scores, nearest, axis=2)

        center = g("Unsqueeze", g("Mul", g("Add", low, high), 0.5), np.array([1]))
        half = g("Mul", g("Sub", high, low), options.box_scale / 2)
        excess = g("Sub", g("Abs", g("Sub", position, center)), g("Unsqueeze", half, np.array([1])))
        inside = g("LessOrEqual", g("ReduceMax", excess, axes=[2], keepdims=0), 0.0)
        reach = g("Mul", g("ReduceMax", half, axes=[1], keepdims=1), options.search_scale * 2)  # (B, 1, M)
        near = g("And", inside, g("LessOrEqual", least, reach))
        snapped = g("And", near, g("GreaterOrEqual", score, options.candidate_score))
        points = g("Where", g("Unsqueeze", snapped, np.array([2])), position, regressed)
        return points, g("Where", snapped, score, options.unmatched_score)
