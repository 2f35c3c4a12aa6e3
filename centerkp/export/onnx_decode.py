"""What stands behind the network in an ONNX file: maps -> objects.

The same steps in the same order as `centerkp.codec.decode`, in ONNX operators.
"""

import numpy as np

from centerkp.codec.decode import FAR, LIKENESS, DecodeOptions, fill_margins
from centerkp.export.onnx_cells import MappedCells, unsqueeze
from centerkp.export.onnx_layers import Graph
from centerkp.heads import STRIDE


def write_decode(
    graph: Graph,
    maps: dict[str, str],
    map_size: tuple[int, int],
    keypoint_mask: np.ndarray,
    options: DecodeOptions,
    valid_size: str,
    to_source: str,
    cells: MappedCells | None = None,
) -> dict[str, str]:
    """Writes ONNX nodes that turn the maps (B, channels, H, W) of `{head: name}` into objects in source pixels.

    Args:
        map_size: (H, W).
        keypoint_mask: (C, K) bool.
        valid_size, to_source: see `onnx_letterbox.Letterboxed`.
        cells: what knows the heads that have no map here; by default all have one.

    Returns:
        Names by output: boxes (B, M, 4), scores (B, M), class_ids (B, M) int32, and with K > 0 keypoints (B, M, K, 2),
        keypoint_scores (B, M, K).
    """
    graph.scope = "decode"
    cells = cells or MappedCells(graph, maps, map_size, keypoint_mask.shape[1])
    return _Decoder(graph, maps, map_size, keypoint_mask, options, valid_size, cells).write(to_source)


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
        cells: MappedCells,
    ) -> None:
        self.graph, self.options, self.keypoint_mask, self.maps, self.heads = graph, options, keypoint_mask, maps, cells
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
        cell = self._cells_xy(index)  # (B, M, 2)
        center = g("Add", cell, self.heads.read("center_offset", index))
        half = g("Mul", g("Max", self.heads.read("box_size", index), 0.0), 0.5)
        extent = np.array([[[self.width, self.height]]], np.float32)
        low, high = (g("Min", g("Max", g(sign, center, half), 0.0), extent) for sign in ("Sub", "Add"))
        limit = g("Reshape", self.valid_size, np.array([-1, 1, 2]))
        scale = g("Reshape", to_source, np.array([-1, 1, 2]))
        corners = [self._clip(g("Mul", corner, float(STRIDE)), limit) for corner in (low, high)]
        found = {"scores": scores, "class_ids": g.cast(class_ids, "int32")}
        if self.keypoints:
            own = g("Gather", self.keypoint_mask.astype(np.float32), class_ids)  # (B, M, K)
            points, point_scores, snapped = self._snap_keypoints(index, cell, low, high)
            points = g("Mul", points, float(STRIDE))  # (B, M, K, 2)
            if self.options.box_margins:
                corners = self._frame_keypoints(points, snapped, own, class_ids, corners, limit)
            if self.options.clip_keypoints:
                clipped = g("Min", g("Max", points, 0.0), unsqueeze(g, limit, 2))
                moved = g("ReduceMax", g("Abs", g("Sub", clipped, points)), axes=[3], keepdims=0)
                point_scores = g("Where", g("Equal", moved, 0.0), point_scores, 0.0)
                points = clipped
            found["keypoints"] = g("Mul", g("Mul", points, unsqueeze(g, scale, 2)), unsqueeze(g, own, 3))
            found["keypoint_scores"] = g("Mul", point_scores, own)
        return {"boxes": g("Concat", *(g("Mul", corner, scale) for corner in corners), axis=2)} | found

    def _clip(self, corner: str, limit: str) -> str:
        """ONNX nodes that move corners (B, M, 2) into the picture."""
        return self.graph("Min", self.graph("Max", corner, 0.0), limit)

    def _find_centers(self) -> tuple[str, str, str]:
        """ONNX nodes for scores, cells and classes, (B, M) each, of the best center peaks inside the picture."""
        g = self.graph
        limit = g("Ceil", g("Div", g("Reshape", self.valid_size, np.array([-1, 1, 1, 2])), float(STRIDE)))
        columns, rows = (g("Gather", limit, np.array([axis]), axis=3) for axis in (0, 1))
        row = np.arange(self.height, dtype=np.float32).reshape(1, 1, -1, 1)
        column = np.arange(self.width, dtype=np.float32).reshape(1, 1, 1, -1)
        inside = g("And", g("Less", row, rows), g("Less", column, columns))
        scores = g("Mul", g("Sigmoid", self.maps["center_heatmap"]), g.cast(inside, "float"))
        if self.options.ignored_classes:
            wanted = np.isin(np.arange(self.classes), self.options.ignored_classes, invert=True).astype(np.float32)
            scores = g("Mul", scores, wanted.reshape(1, -1, 1, 1))
        # Cells before classes, as the Keras decoder counts, so that equal scores come in the same order.
        peaks = g("Transpose", self._keep_peaks(scores, self.options.center_kernel), perm=[0, 2, 3, 1])
        best, place = self._take_best(peaks)
        index = g("Div", place, np.array(self.classes))
        return best, index, g("Sub", place, g("Mul", index, np.array(self.classes)))

    def _keep_peaks(self, scores: str, side: int) -> str:
        """ONNX nodes that do what `codec.decode.keep_peaks` does."""
        g = self.graph
        before, after = (side - 1) // 2, side // 2
        highest = g("MaxPool", scores, kernel_shape=[side, side], strides=[1, 1], pads=[before, before, after, after])
        return g("Where", g("Less", g("Abs", g("Sub", scores, highest)), 1e-6), scores, 0.0)

    def _take_best(self, peaks: str) -> tuple[str, str]:
        """ONNX nodes for the best centers (B, M) of peaks (B, H, W, C), and where they stand among all of them.

        In two steps, which come to the same, also in the order of equal values: the M blocks of neighbours with the largest
        maxima hold the M largest values.
        """
        g, length = self.graph, self.cells * self.classes
        block = choose_block(length, self.count, length)
        if not block:
            return g("TopK", g("Reshape", peaks, np.array([0, length])), np.array([self.count]), outputs=2, axis=1)
        blocks = g("Reshape", peaks, np.array([0, length // block, block]))
        chosen = self._choose_blocks(g("ReduceMax", blocks, axes=[2], keepdims=0), self.count, 1)
        held = g("GatherND", blocks, unsqueeze(g, chosen, 2), batch_dims=1)
        return self._choose_within(held, chosen, [], self.count, block)

    def _take_best_each(self, peaks: str) -> tuple[str, str]:
        """ONNX nodes for every keypoint's best candidates (B, K, P) of peaks (B, K, H, W), and their cells, as `_take_best`."""
        g = self.graph
        block = choose_block(self.cells, self.candidates, self.width)
        if not block:
            flat = g("Reshape", peaks, np.array([0, self.keypoints, self.cells]))
            return g("TopK", flat, np.array([self.candidates]), outputs=2, axis=2)
        maxima = g("MaxPool", peaks, kernel_shape=[1, block], strides=[1, block])
        maxima = g("Reshape", maxima, np.array([0, self.keypoints, self.cells // block]))
        chosen = self._choose_blocks(maxima, self.candidates, 2)
        # Picked while the channels are last, as convolutions give them: moving all of the map would take longer.
        flat = g("Reshape", g("Transpose", peaks, perm=[0, 2, 3, 1]), np.array([0, self.cells * self.keypoints]))
        first = g("Mul", unsqueeze(g, chosen, 3), np.array(block * self.keypoints))
        own = np.arange(self.keypoints).reshape(-1, 1, 1) + self.keypoints * np.arange(block)
        held = g("GatherND", flat, unsqueeze(g, g("Add", first, own), 4), batch_dims=1)
        return self._choose_within(held, chosen, [self.keypoints], self.candidates, block)

    def _choose_blocks(self, maxima: str, count: int, axis: int) -> str:
        """ONNX nodes for the numbers of the `count` blocks with the largest maxima, in the order in which they stand."""
        _, chosen = self.graph("TopK", maxima, np.array([count]), outputs=2, axis=axis)
        return self.graph("TopK", chosen, np.array([count]), outputs=2, axis=axis, largest=0)[0]

    def _choose_within(self, held: str, chosen: str, rows: list[int], count: int, block: int) -> tuple[str, str]:
        """ONNX nodes for the `count` largest values (B, ..., count) in the blocks that were chosen, and where they stand."""
        g, axis = self.graph, len(rows) + 1
        flat = g("Reshape", held, np.array([0, *rows, count * block]))
        best, place = g("TopK", flat, np.array([count]), outputs=2, axis=axis)
        number = g("Div", place, np.array(block))
        first = g("Mul", g("Sub", g("GatherElements", chosen, number, axis=axis), number), np.array(block))
        return best, g("Add", first, place)

    def _cells_xy(self, index: str) -> str:
        """ONNX nodes for column and row of cells (...) on a new last axis, as float."""
        return self.graph("Concat", *(self.graph("Unsqueeze", v, np.array([-1])) for v in self._columns_rows(index)), axis=-1)

    def _columns_rows(self, index: str) -> tuple[str, str]:
        """ONNX nodes for the column of cells and for their row, as float."""
        g = self.graph
        row = g("Div", index, np.array(self.width))
        column = g("Sub", index, g("Mul", row, np.array(self.width)))
        return g.cast(column, "float"), g.cast(row, "float")

    def _find_candidates(self) -> tuple[str, str]:
        """ONNX nodes for positions (B, K, P, 2) in cells and scores (B, K, P) of every keypoint's best peaks."""
        g = self.graph
        peaks = self._keep_peaks(g("Sigmoid", self.maps["keypoint_heatmap"]), self.options.keypoint_kernel)
        scores, index = self._take_best_each(peaks)
        return g("Add", self._cells_xy(index), self.heads.read_own("keypoint_offset", index)), scores

    def _snap_keypoints(self, index: str, cell: str, low: str, high: str) -> tuple[str, str, str]:
        """ONNX nodes that move points (B, M, K, 2) to their nearest candidates by the rules; scores, which moved (B, M, K)."""
        g, options = self.graph, self.options
        vectors = self.heads.read("keypoint_regression", index)
        vectors = g("Reshape", vectors, np.array([0, self.count, self.keypoints, 2]))
        regressed = g("Add", unsqueeze(g, cell, 2), vectors)
        positions, scores = self._find_candidates()
        nearest, least = self._find_nearest(regressed, positions, scores)
        position = g("GatherND", positions, unsqueeze(g, nearest, 3), batch_dims=2)  # (B, K, M, 2)
        position = g("Transpose", position, perm=[0, 2, 1, 3])
        score, least = (g("Transpose", one, perm=[0, 2, 1]) for one in (g("GatherElements", scores, nearest, axis=2), least))
        center = unsqueeze(g, g("Mul", g("Add", low, high), 0.5), 2)
        half = g("Mul", g("Sub", high, low), options.box_scale / 2)
        excess = g("Sub", g("Abs", g("Sub", position, center)), unsqueeze(g, half, 2))
        inside = g("LessOrEqual", g("ReduceMax", excess, axes=[3], keepdims=0), 0.0)
        reach = g("Mul", g("ReduceMax", half, axes=[2], keepdims=1), options.search_scale * 2)  # (B, M, 1)
        near = g("And", inside, g("LessOrEqual", least, reach))
        snapped = g("And", near, g("GreaterOrEqual", score, options.candidate_score))
        points = g("Where", unsqueeze(g, snapped, 3), position, regressed)
        return points, g("Where", snapped, score, options.unmatched_score), snapped

    def _frame_keypoints(
        self, points: str, snapped: str, own: str, class_ids: str, corners: list[str], limit: str
    ) -> list[str]:
        """ONNX nodes that do what `codec.decode` does with `box_margins`, to `corners` (B, M, 2) twice, in input pixels."""
        g = self.graph
        foreign = g("Sub", 1.0, own)
        away = unsqueeze(g, g("Mul", foreign, FAR), 3)
        low = g("ReduceMin", g("Add", points, away), axes=[2], keepdims=0)
        high = g("ReduceMax", g("Sub", points, away), axes=[2], keepdims=0)
        margins = unsqueeze(g, g("Gather", fill_margins(self.options.box_margins, self.keypoint_mask), class_ids), 2)
        reach = g("Mul", margins, g("ReduceMax", g("Sub", high, low), axes=[2], keepdims=1))  # (B, M, 1)
        seen = g("ReduceMin", g("Max", g.cast(snapped, "float"), foreign), axes=[2], keepdims=1)
        frame = [self._clip(corner, limit) for corner in (g("Sub", low, reach), g("Add", high, reach))]
        framed = g("And", g("And", g("Greater", seen, 0.0), g("GreaterOrEqual", margins, 0.0)), self._are_alike(frame, corners))
        return [g("Where", framed, around, corner) for around, corner in zip(frame, corners, strict=True)]

    def _are_alike(self, ours: list[str], theirs: list[str]) -> str:
        """ONNX nodes that do what `codec.decode._are_alike` does, of corners (B, M, 2) twice: (B, M, 1)."""
        g = self.graph
        shared = g("Max", *(one[0] for one in (ours, theirs))), g("Min", *(one[1] for one in (ours, theirs)))
        sides = [g("Max", g("Sub", high, low), 0.0) for low, high in (shared, ours, theirs)]
        area, *areas = (g("Mul", *(g("Gather", one, np.array([axis]), axis=2) for axis in (0, 1))) for one in sides)
        return g("GreaterOrEqual", area, g("Mul", g("Sub", g("Add", *areas), area), LIKENESS))

    def _find_nearest(self, regressed: str, positions: str, scores: str) -> tuple[str, str]:
        """ONNX nodes for the number of each point's nearest candidate that counts, and its distance: (B, K, M) each."""
        g = self.graph
        # Candidates that do not count are moved far away.
        away = g("Where", g("GreaterOrEqual", scores, self.options.candidate_score), 0.0, FAR)
        squares = []
        for axis in (0, 1):
            own = g("Gather", g("Transpose", regressed, perm=[0, 2, 1, 3]), np.array([axis]), axis=3)  # (B, K, M, 1)
            theirs = g("Add", g("Gather", positions, np.array(axis), axis=3), away)  # (B, K, P)
            difference = g("Sub", own, unsqueeze(g, theirs, 2))
            squares.append(g("Mul", difference, difference))
        square = g("Add", *squares)  # (B, K, M, P)
        least = g("ReduceMin", square, axes=[3], keepdims=1)
        # The first that is nearest: the largest of numbers that fall.
        falling = np.arange(self.candidates, 0, -1, dtype=np.float32)
        first = g("ReduceMax", g("Where", g("LessOrEqual", square, least), falling, 0.0), axes=[3], keepdims=0)
        nearest = g.cast(g("Sub", float(self.candidates), first), "int64")
        return nearest, g("Sqrt", g("Reshape", least, np.array([0, 0, -1])))


def choose_block(length: int, count: int, whole: int) -> int:
    """How many neighbours make a block where the largest `count` of `length` values are found by blocks; 0 where they are not.

    `whole` must be a multiple of it. Of all blocks' maxima and of all values in `count` blocks there are then about as many.
    """
    block = 1 << max(length // count, 1).bit_length() // 2
    while whole % block:
        block //= 2
    return block if block >= 4 else 0
