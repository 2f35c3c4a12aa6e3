"""How the network sees pictures where nobody says it: the size of its input, by objects and pictures, or tiles of them."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from centerkp.geometry import fit_canvas
from centerkp.heads import LARGE_ENOUGH, SMALLEST
from centerkp.images.tiling import Tiling, fit_tile
from centerkp.labels.records import Record
from centerkp.model.backbones import find_backbone
from centerkp.settings.training import TrainSettings
from centerkp.settings.values import read_canvas
from centerkp.wording import name_canvas

USUAL_SIDE = {"efficientnet_lite0_fpn": 320}  # the input's longer side where objects are large enough in it; 512 for others
MOST_TIMES = {"hourglass_104": 1}  # the usual side is the longest: this network's memory was reckoned by it; 2 for others
TOO_SMALL = 8  # pixels of the input below which the smallest objects want tiles
STEP = 64  # between longer sides
CLEARLY = 0.9


def choose_canvas(settings: TrainSettings, records: Sequence[Record]) -> tuple[TrainSettings, list[str]]:
    """Chooses a run's input by its backbone, the sizes of the objects and the shapes of the images, where nobody says it.

    Objects of a few grid cells are found late and told badly: in the same time a larger input teaches more, though its steps
    are as many times fewer as each of them takes longer. Where no input is large enough, pictures are cut into tiles. And a
    square leaves two fifths of every step to the black beside pictures of 16:9.

    Returns:
        The settings, and lines: what was chosen and why, or that a given size does not suit the images.
    """
    shapes = [(record.width, record.height) for record in records]
    if settings.image_size is not None:
        return settings, [] if settings.tile else _describe_misfit(settings.image_size, shapes)
    usual, multiple = USUAL_SIDE.get(settings.backbone, 512), find_backbone(settings.backbone).multiple
    longest = usual * MOST_TIMES.get(settings.backbone, 2)
    sizes, lengths = _measure_objects(records)
    share = float(np.percentile(sizes / lengths, SMALLEST)) if len(sizes) else 1.0
    lines = []
    if settings.tile is None and share * longest < TOO_SMALL and (tile := fit_tile(sizes, lengths, usual)):
        settings, lines = replace(settings, tile=tile), [_explain_tile(tile, usual, share * longest, longest, shapes)]
    if settings.tile:
        line = f"image size: {usual}, square as tiles are (--image-size decides otherwise)"
        return replace(settings, image_size=usual), [*lines, line]
    side = _enlarge(usual, share, max(STEP, multiple), min(longest, max(map(max, shapes))))
    width, height = fit_canvas(shapes, side, multiple, settings.rotation)
    return replace(settings, image_size=name_canvas(width, height)), [_explain_size(width, height, usual, share * usual)]


def _measure_objects(records: Sequence[Record]) -> tuple[np.ndarray, np.ndarray]:
    """How large objects are, the root of their boxes' area, and their pictures' longer sides, (N,) in pixels; crowds aside."""
    boxes = [record.boxes_xyxy[~record.is_crowd] for record in records]
    lengths = np.repeat([max(record.width, record.height) for record in records], [len(own) for own in boxes])
    corners = np.concatenate(boxes).reshape(-1, 4)
    return np.sqrt(np.prod(corners[:, 2:] - corners[:, :2], axis=1)), lengths.astype(float)


def _enlarge(usual: int, share: float, step: int, most: int) -> int:
    """The longer side, from `usual` on, in which objects of this share of it are large enough; hardly above `most`."""
    wanted = min(LARGE_ENOUGH / max(share, 1e-9), most)
    return max(usual, step * math.ceil(wanted / step))


def _explain_tile(tile: int, usual: int, small: float, longest: int, shapes: Sequence[tuple[int, int]]) -> str:
    counts = sorted({len(Tiling(tile).cut(width, height, (usual, usual))) for width, height in shapes})
    many = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
    why = f"one object in {100 // SMALLEST} is smaller than {small:.1f} pixels even at {longest}"
    what = f"a picture is seen in tiles of {tile} pixels, {many} of them"
    return f"tile: {tile}, because {why}: {what} (--tile 0 shows it whole)"


def _explain_size(width: int, height: int, usual: int, small: float) -> str:
    """The line on an input of this size: why, and what else; `small` is how large the smallest objects are at the usual one."""
    size, enlarged = name_canvas(width, height), max(width, height) > usual
    pixels = f"{small:.0f}" if small >= TOO_SMALL else f"{max(small, 0.1):.1f}"
    reasons = [f"at {usual} one object in {100 // SMALLEST} is smaller than {pixels} pixels"] if enlarged else []
    reasons += [f"the images are {'wider than high' if width > height else 'higher than wide'}"] if width != height else []
    if not reasons:
        return f"image size: {size}, by default, because no narrower one suits the shapes of the images and their turns"
    work = f"{width * height / usual**2:.0%} of the work of {usual}x{usual}"
    other = f"--image-size {usual} " + ("is quicker, and shows them smaller" if enlarged else "suits any shape")
    return f"image size: {size}, because {' and '.join(reasons)}: {work} ({other})"


def _describe_misfit(size: int | str, sizes: Sequence[tuple[int, int]]) -> list[str]:
    """A line where a given input shows half of the images or more clearly smaller than a square of its longer side would."""
    canvas = read_canvas(size)
    shown = [min(canvas[0] / width, canvas[1] / height) * max(width, height) / max(canvas) for width, height in sizes]
    share = float(np.median(shown or [1]))
    if share >= CLEARLY:
        return []
    what = f"half of the images have there {share:.0%} of the size that they have at {max(canvas)}x{max(canvas)}, or less"
    return [f"{size} was given and does not have the images' shape: {what}"]
