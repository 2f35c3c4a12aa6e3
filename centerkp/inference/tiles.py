"""Pictures much larger than the network's input: cut into tiles that overlap, and what is found in them becomes one result."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from centerkp import geometry
from centerkp.images.reading import letterbox_image
from centerkp.inference.detect import to_source
from centerkp.inference.rivals import group_rivals

MARGIN = 0.25  # of an overlap that a tile leaves to its neighbour: what lies there is whole in the other one, or nearly so


@dataclass(frozen=True)
class Tile:
    """A window of a picture, in its pixels.

    `area_xyxy` is where the middles of its objects lie: endless at the picture's borders, else to `MARGIN` from its own. Areas
    of neighbours overlap, since both may see the same middle a pixel apart.
    """

    x: int
    y: int
    width: int
    height: int
    area_xyxy: tuple[float, float, float, float]


@dataclass(frozen=True)
class Tiling:
    """How pictures are cut.

    Args:
        size: the longer side of a tile in pixels of the picture, 16 or more; the network sees it at its input size.
        overlap: share of a tile's side that it has in common with the next, 0 to 0.9. What is no larger than the overlap is
            whole in at least one tile.

    Raises:
        ValueError: a number lies outside its range.
    """

    size: int
    overlap: float = 0.2

    def __post_init__(self) -> None:
        if self.size < 16:
            raise ValueError(f"--tile: found {self.size}, expected 16 pixels or more, some times the size of the objects.")
        if not 0 <= self.overlap <= 0.9:
            raise ValueError(f"--overlap: found {self.overlap}, expected a share of a tile's side from 0 to 0.9.")

    def cut(self, width: int, height: int, input_size: Sequence[int]) -> list[Tile]:
        """The tiles of a picture, of the shape of the network's input (width, height); a smaller picture is one tile."""
        sides = [round(self.size * side / max(input_size)) for side in input_size]
        columns, rows = (self._cut_axis(length, side) for length, side in zip((width, height), sides, strict=True))
        return [
            Tile(x, y, min(sides[0], width), min(sides[1], height), (left, top, right, bottom))
            for y, top, bottom in rows
            for x, left, right in columns
        ]

    def _cut_axis(self, length: int, side: int) -> list[tuple[int, float, float]]:
        """The start of each tile along an axis, and from where to where the middles of its objects lie."""
        count = 1 if length <= side else int(np.ceil((length - side) / (side * (1 - self.overlap)) - 1e-9)) + 1
        starts = np.round(np.linspace(0, max(length - side, 0), count)).astype(int).tolist()
        margins = [MARGIN * (start + side - following) for start, following in pairwise(starts)]
        lows = [-np.inf, *(start + margin for start, margin in zip(starts[1:], margins, strict=True))]
        highs = [*(start + side - margin for start, margin in zip(starts, margins, strict=False)), np.inf]
        return list(zip(starts, lows, highs, strict=True))


def read_tiling(tile: int | None, overlap: float | None) -> Tiling | None:
    """The tiling that `--tile` and `--overlap` ask for; ValueError where there is an overlap of nothing."""
    if tile is None and overlap is not None:
        raise ValueError(f"--overlap: found {overlap} without --tile, expected the size of the tiles that are to overlap.")
    return None if tile is None else Tiling(tile) if overlap is None else Tiling(tile, overlap)


class TiledDetector:
    """A detector that `detect` shows the tiles of every picture in place of the picture."""

    def __init__(self, detector: Any, tiling: Tiling):
        self.detector, self.tiling = detector, tiling
        self.schema, self.image_size = detector.schema, detector.image_size
        self.thresholds, self.levels = getattr(detector, "thresholds", None), getattr(detector, "levels", None)

    def predict_on_batch(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """What the detector finds in a batch of tiles."""
        return self.detector.predict_on_batch(inputs)

    def find_objects(self, image: np.ndarray, rows: int) -> dict[str, np.ndarray]:
        """The objects of one picture (height, width, 3) uint8, found tile by tile, `rows` of them in a step.

        Returns:
            Arrays as `codec.decode.decode` gives them for one image, in pixels of the picture; a row for each object.
        """
        tiles = self.tiling.cut(image.shape[1], image.shape[0], self.image_size)
        found = []
        for start in range(0, len(tiles), rows):
            chosen = tiles[start : start + rows]
            found += zip(chosen, self._look(image, chosen, rows), strict=True)
        return join_tiles(found)

    def _look(self, image: np.ndarray, tiles: Sequence[Tile], rows: int) -> Iterator[dict[str, np.ndarray]]:
        """Shows tiles of a picture to the network in one step; the objects of each in pixels of the picture."""
        width, height = self.image_size
        canvases, sizes = np.zeros((rows, height, width, 3), np.uint8), np.full((rows, 2), (width, height), np.float32)
        scale, affines = max(width, height) / self.tiling.size, []
        for row, tile in enumerate(tiles):
            # What is smaller than a tile is shown no larger for it: objects are to look as in all others.
            across, down = min(round(tile.width * scale), width), min(round(tile.height * scale), height)
            pixels = image[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]
            canvas, affine, sizes[row] = letterbox_image(pixels, (max(across, 1), max(down, 1)))
            canvases[row, : canvas.shape[0], : canvas.shape[1]] = canvas
            affines.append(geometry.compose(geometry.translation(-tile.x, -tile.y), affine))
        decoded = self.predict_on_batch({"image": canvases, "valid_size": sizes})
        decoded = {name: np.asarray(values) for name, values in decoded.items()}
        for row, affine in enumerate(affines):
            kept = decoded["scores"][row] > 0
            yield to_source({name: values[row][kept] for name, values in decoded.items()}, affine)


def join_tiles(found: Sequence[tuple[Tile, Mapping[str, np.ndarray]]]) -> dict[str, np.ndarray]:
    """The objects of all tiles of a picture, each once.

    Of objects that are one and the same by the rule of test-time augmentation (class, overlap and keypoints, see `rivals`),
    that stays which lies deepest in its tile, where the least of it is cut off.
    """
    parts, sources, depths = [], [], []
    for number, (tile, objects) in enumerate(found):
        depth = _measure_depth(tile, objects["boxes"])
        kept = depth >= 0
        parts.append({name: values[kept] for name, values in objects.items()})
        sources.append(np.full(kept.sum(), number))
        depths.append(depth[kept])
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    depth = np.concatenate(depths)
    groups = group_rivals(joined, np.concatenate(sources))
    return {name: values[[max(group, key=depth.__getitem__) for group in groups]] for name, values in joined.items()}


def _measure_depth(tile: Tile, boxes_xyxy: np.ndarray) -> np.ndarray:
    """(N,) how far the middles of boxes (N, 4) are from the end of a tile's area, in pixels; negative outside of it."""
    middles, area = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2, np.asarray(tile.area_xyxy)
    return np.minimum(middles - area[:2], area[2:] - middles).min(axis=1)
