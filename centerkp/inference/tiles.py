"""Pictures much larger than the network's input: looked at tile by tile, and what is found becomes one result."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from centerkp import geometry
from centerkp.images.reading import letterbox_image
from centerkp.images.tiling import Tile, Tiling
from centerkp.inference.detector import Detector
from centerkp.inference.rivals import group_rivals
from centerkp.results import to_source

MIN_OVERLAP = 0.3  # of boxes that two tiles give one object: less than elsewhere, as it may be cut off in one of them
LEAST_SCORE = 0.001  # of objects in a tile: hundreds of tiles give their hundred each, of which nearly all are nothing


def choose_tiling(stored: Tiling | None, tile: int | None, overlap: float | None) -> Tiling | None:
    """The tiling that `--tile` and `--overlap` ask for, else that which a model was trained with; 0 asks for none.

    Raises:
        ValueError: a number cannot be, or there is an overlap of nothing.
    """
    if overlap is not None and not (tile or (tile is None and stored)):
        raise ValueError(f"--overlap: found {overlap} without --tile, expected the size of the tiles that are to overlap.")
    if tile == 0 or (tile is None and stored is None):
        return None
    stored = stored or Tiling(tile)
    return Tiling(tile or stored.size, stored.overlap if overlap is None else overlap)


def detect_tiles(detector: Detector, tiling: Tiling, image: np.ndarray, rows: int) -> dict[str, np.ndarray]:
    """The objects of one picture (height, width, 3) uint8, found tile by tile, `rows` of them in a step.

    Returns:
        Arrays as `codec.decode.decode` gives them for one image, in pixels of the picture; a row for each object.
    """
    tiles = tiling.cut(image.shape[1], image.shape[0], detector.image_size)
    steps = (tiles[start : start + rows] for start in range(0, len(tiles), rows))
    return join_tiles(pair for chosen in steps for pair in _detect_step(detector, tiling, image, chosen, rows))


def _detect_step(
    detector: Detector, tiling: Tiling, image: np.ndarray, tiles: Sequence[Tile], rows: int
) -> Iterator[tuple[Tile, dict[str, np.ndarray]]]:
    """Shows tiles of a picture to the network in one step; each with its objects in pixels of the picture."""
    width, height = detector.image_size
    canvases, sizes = np.zeros((rows, height, width, 3), np.uint8), np.full((rows, 2), (width, height), np.float32)
    scale, affines = tiling.scale(detector.image_size), []
    for row, tile in enumerate(tiles):
        # What is smaller than a tile is shown no larger for it: objects are to look as in all others.
        across, down = min(round(tile.width * scale), width), min(round(tile.height * scale), height)
        pixels = image[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]
        canvas, affine, sizes[row] = letterbox_image(pixels, (max(across, 1), max(down, 1)))
        canvases[row, : canvas.shape[0], : canvas.shape[1]] = canvas
        affines.append(geometry.compose(geometry.translation(-tile.x, -tile.y), affine))
    decoded = detector.predict_on_batch({"image": canvases, "valid_size": sizes})
    decoded = {name: np.asarray(values) for name, values in decoded.items()}
    for row, (tile, affine) in enumerate(zip(tiles, affines, strict=True)):
        kept = decoded["scores"][row] >= LEAST_SCORE
        yield tile, to_source({name: values[row][kept] for name, values in decoded.items()}, affine)


def join_tiles(found: Iterable[tuple[Tile, Mapping[str, np.ndarray]]]) -> dict[str, np.ndarray]:
    """The objects of all tiles of a picture, each once.

    Of objects that are one and the same by the rule of test-time augmentation (class, overlap and keypoints, see `rivals`),
    that stays which lies deepest in its tile, where the least of it is cut off. Each tile is compared with what those before it
    gave, of which no two are compared again: they were found to be two, whatever they overlap. All pairs of a large picture
    would fill the memory, too.
    """
    joined: dict[str, np.ndarray] = {}
    depths = np.zeros(0)
    for tile, objects in found:
        depth, known = _measure_depth(tile, objects["boxes"]), len(depths)
        kept = depth >= 0
        new = {name: values[kept] for name, values in objects.items()}
        joined = {name: np.concatenate([joined[name], new[name]]) for name in new} if joined else new
        depths = np.append(depths, depth[kept])
        near = np.flatnonzero(_lie_inside(tile, joined["boxes"]))
        groups = group_rivals({name: values[near] for name, values in joined.items()}, near >= known, MIN_OVERLAP)
        stays = np.ones(len(depths), bool)
        for group in (near[rows] for rows in groups if len(rows) > 1):
            stays[group] = group == group[depths[group].argmax()]
        joined = {name: values[stays] for name, values in joined.items()}
        depths = depths[stays]
    return joined


def _lie_inside(tile: Tile, boxes_xyxy: np.ndarray) -> np.ndarray:
    """(N,) bool: whether the middles of boxes (N, 4) lie in a tile."""
    middles = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2 - (tile.x, tile.y)
    return np.all((middles >= 0) & (middles <= (tile.width, tile.height)), axis=1)


def _measure_depth(tile: Tile, boxes_xyxy: np.ndarray) -> np.ndarray:
    """(N,) how far the middles of boxes (N, 4) are from the end of a tile's area, in pixels; negative outside of it."""
    middles, area = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2, np.asarray(tile.area_xyxy)
    return np.minimum(middles - area[:2], area[2:] - middles).min(axis=1)
