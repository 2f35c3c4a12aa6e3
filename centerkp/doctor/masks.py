"""The box of an object from its mask: COCO's polygons and run lengths, compressed or not."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from centerkp.labels.tables import is_number


def measure_mask(segmentation: Any, width: int | None = None, height: int | None = None) -> list[float] | None:
    """The smallest [x, y, width, height] around a COCO `segmentation`; None where it is none, damaged or empty.

    Run lengths are pixels of a mask of the image's size: those of another size than the image's, where that is known, have
    no place in it.
    """
    if is_of_other_size(segmentation, width, height):
        return None
    if isinstance(segmentation, list):
        rings = [ring for outline in (segmentation, *segmentation) if (ring := _read_ring(outline))]
        if not rings:
            return None
        xs, ys = ([value for ring in rings for value in ring[axis::2]] for axis in (0, 1))
        box = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
    elif isinstance(segmentation, Mapping):
        box = _measure_run_lengths(segmentation)
    else:
        return None
    return box if box and min(box[2:]) > 0 else None


def is_of_other_size(segmentation: Any, width: Any, height: Any) -> bool:
    """Whether a mask of run lengths says a size that is not its image's, whose sides are 0 or None where nobody says them."""
    size = segmentation.get("size") if isinstance(segmentation, Mapping) else None
    return bool(width and height and isinstance(size, list)) and list(size) != [height, width]


def _read_ring(outline: Any) -> list[float] | None:
    """The numbers x, y, x, y, ... of a polygon, which some tools write as pairs; None where it is none."""
    if isinstance(outline, list) and all(isinstance(point, list) and len(point) == 2 for point in outline):
        outline = [number for point in outline for number in point]
    is_ring = isinstance(outline, list) and len(outline) >= 6 and all(map(is_number, outline))
    return outline if is_ring else None


def _measure_run_lengths(mask: Mapping) -> list[float] | None:
    """The box around a mask of run lengths, column by column, in pixels; None where these do not fill its size."""
    from pycocotools import mask as coco_mask

    size, runs = mask.get("size"), mask.get("counts")
    if not (isinstance(size, list) and len(size) == 2 and all(type(side) is int and 0 < side < 2**15 for side in size)):
        return None
    if isinstance(runs, str):
        runs = _read_compressed(runs)
    # pycocotools has no errors for damaged ones.
    if not (isinstance(runs, list) and all(type(run) is int and run >= 0 for run in runs) and sum(runs) == size[0] * size[1]):
        return None
    return np.asarray(coco_mask.toBbox(coco_mask.frPyObjects({"size": size, "counts": runs}, *size)), float).tolist()


def _read_compressed(text: str) -> list[int]:
    """The run lengths of a mask in COCO's compressed form: 5 bits a letter, each but the first three as a difference."""
    runs: list[int] = []
    value, bits = 0, 0
    for letter in text:
        code = ord(letter) - 48
        value |= (code & 31) << bits
        bits += 5
        if code & 32:
            continue
        value -= (1 << bits) if code & 16 else 0
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, bits = 0, 0
    return runs
