"""How pictures that are much larger than the network's input are cut into tiles, in training and in use."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from centerkp.wording import quote

OVERLAP = 0.2  # share of a tile's side that neighbours have in common where nobody says it
STEP = 32  # of the sizes of tiles that are suggested
SHOWN_SIZE = 16  # pixels of the input that nearly all objects should be large in tiles, four grid cells
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
        size: the longer side of a tile in pixels of the picture, 16 to 65536; the network sees it at its input size.
        overlap: share of a tile's side that it has in common with the next, 0 to 0.9. What is no larger than the overlap is
            whole in at least one tile.

    Raises:
        ValueError: a number lies outside its range.
    """

    size: int
    overlap: float = OVERLAP

    def __post_init__(self) -> None:
        if not 16 <= self.size <= 65536:
            raise ValueError(f"--tile: found {self.size}, expected 16 to 65536 pixels, some times the size of the objects.")
        if not 0 <= self.overlap <= 0.9:
            raise ValueError(f"--overlap: found {self.overlap}, expected a share of a tile's side from 0 to 0.9.")

    def __str__(self) -> str:
        return f"tiles of {self.size} pixels that overlap by {self.overlap:.0%}"

    @classmethod
    def of(cls, size: int | None, overlap: float = OVERLAP) -> "Tiling | None":
        """Tiles of a size that may be left out: None for None and for 0, whole pictures."""
        return cls(size, overlap) if size else None

    @classmethod
    def from_config(cls, config: Any) -> "Tiling | None":
        """The tiles of the list [size, overlap] in a model file of anybody's making; None for None.

        Raises:
            ValueError: it is no such list.
        """
        if config is None:
            return None
        if (
            not isinstance(config, list)
            or len(config) != 2
            or type(config[0]) is not int
            or type(config[1]) not in (int, float)
        ):
            raise ValueError(f"tiling: found {quote(config)}, expected the size of tiles and their overlap")
        return cls(*config)

    def get_config(self) -> list[float]:
        """The list [size, overlap] of the tiles, as JSON can hold it."""
        return [self.size, self.overlap]

    def scale(self, input_size: Sequence[int]) -> float:
        """Pixels of the network's input (width, height) for each of the picture's."""
        return max(input_size) / self.size

    def sides(self, input_size: Sequence[int]) -> tuple[int, int]:
        """Width and height of a tile in pixels of the picture: the shape of the network's input (width, height)."""
        width, height = (round(side / self.scale(input_size)) for side in input_size)
        return width, height

    def cut(self, width: int, height: int, input_size: Sequence[int]) -> list[Tile]:
        """The tiles of a picture, of the shape of the network's input (width, height); a smaller picture is one tile."""
        sides = self.sides(input_size)
        columns, rows = (self._cut_axis(length, side) for length, side in zip((width, height), sides, strict=True))
        return [
            Tile(x, y, min(sides[0], width), min(sides[1], height), (left, top, right, bottom))
            for y, top, bottom in rows
            for x, left, right in columns
        ]

    def pick(self, image: np.ndarray, input_size: Sequence[int]) -> np.ndarray:
        """The one of a picture's tiles with the most contrast, as an example of what the network sees."""
        tiles = self.cut(image.shape[1], image.shape[0], input_size)
        parts = (image[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width] for tile in tiles)
        return max(parts, key=lambda part: part[::4, ::4].std())

    def _cut_axis(self, length: int, side: int) -> list[tuple[int, float, float]]:
        """The start of each tile along an axis, and from where to where the middles of its objects lie."""
        count = 1 if length <= side else int(np.ceil((length - side) / (side * (1 - self.overlap)) - 1e-9)) + 1
        starts = np.round(np.linspace(0, max(length - side, 0), count)).astype(int).tolist()
        margins = [MARGIN * (start + side - following) for start, following in pairwise(starts)]
        lows = [-np.inf, *(start + margin for start, margin in zip(starts[1:], margins, strict=True))]
        highs = [*(start + side - margin for start, margin in zip(starts, margins, strict=False)), np.inf]
        return list(zip(starts, lows, highs, strict=True))


def fit_tile(sizes: np.ndarray, lengths: np.ndarray, input_side: int) -> int | None:
    """The side of tiles in which nearly all objects are large enough and no larger than the overlap of tiles.

    None where tiles are no use: they would be shown larger than twice, the pictures have hardly two on a side, or the large
    objects want tiles so large that the small ones are not half as large there as they should be.

    Args:
        sizes: (N,) how large objects are, the root of their box's area, in pixels of their pictures.
        lengths: (N,) the longer sides of these pictures.
        input_side: of the network's input, in pixels.
    """
    low, high = np.percentile(sizes, [5, 95])
    tile = STEP * round(max(input_side * low / SHOWN_SIZE, high / OVERLAP) / STEP)
    most = min(np.percentile(lengths, 90) / 2, 2 * input_side * low / SHOWN_SIZE + STEP)
    return tile if input_side / 2 <= tile < most else None
