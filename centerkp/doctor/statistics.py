"""Numbers of a dataset: how much of what there is, how large objects are at the training size, and which size suits them."""

import math
from dataclasses import dataclass

import numpy as np

from centerkp.doctor.findings import Finding
from centerkp.doctor.reader import Reading
from centerkp.doctor.settled_labels import Labels, make_object_finding
from centerkp.geometry import fit_canvas
from centerkp.heads import LARGE_ENOUGH, SMALLEST, STRIDE, USUAL_OBJECTS, choose_max_objects
from centerkp.images.tiling import fit_tile
from centerkp.labels.faults import SHOWN
from centerkp.labels.rarity import repeat_factors
from centerkp.schema import Schema
from centerkp.wording import count_of, name_canvas

SMALL_CELLS = 2  # an object smaller than so many cells has hardly a place on the grid
SIZES = range(320, 1025, 64)  # longer sides that are suggested, from the light network's usual one on
SHARE = 0.01  # of objects that may be too small or share a cell
Canvas = tuple[int, int]  # (width, height) of the network's input
EDGES = (0, 8, 16, 32, 64, 128, 256, 512, 1024)  # of the histogram, in input pixels


@dataclass(frozen=True, eq=False)
class Statistics:
    """What the tables show; C classes, K flat keypoints, crowd regions counted apart.

    `objects`, `crowds`, `images` (C,); `occluded`, `visible` (K,); `histogram` (C, bins) objects by the square root of
    their box's area in input pixels, between `EDGES`; `small` and `shared` are shares of all objects at `image_size`;
    `suggested_size` is a longer side and `suggested_input` the same in the images' shape, where one can be
    suggested; `fullest` is how many objects and crowds the fullest image has.
    """

    objects: np.ndarray
    crowds: np.ndarray
    images: np.ndarray
    occluded: np.ndarray
    visible: np.ndarray
    histogram: np.ndarray
    median_side: np.ndarray
    small: float
    shared: float
    image_size: Canvas
    suggested_size: int | None
    suggested_input: Canvas
    fullest: int


def measure_labels(labels: Labels, image_size: Canvas) -> Statistics:
    """The statistics of a dataset: counts of labels, and their sizes in an input of `image_size` (width, height)."""
    count, usable = labels.schema.num_classes, labels.has_box
    single, crowd = usable & ~labels.is_crowd, usable & labels.is_crowd
    sides, classes = input_sides(labels, image_size), labels.class_ids
    bins = np.digitize(sides, EDGES[1:-1])
    histogram = np.zeros((count, len(EDGES) - 1), np.int64)
    measured = single & np.isfinite(sides)
    np.add.at(histogram, (classes[measured], bins[measured]), 1)
    pairs = np.unique(np.stack([labels.image_rows[usable], classes[usable]], 1), axis=0)
    own = [single & (classes == class_id) for class_id in range(count)]
    seen = labels.visibility[single]
    suggested = suggest_size(labels)
    medians = [np.median(sides[mask & measured]) if (mask & measured).any() else np.nan for mask in own]
    return Statistics(
        objects=np.array([mask.sum() for mask in own]),
        crowds=np.bincount(classes[crowd], minlength=count),
        images=np.bincount(pairs[:, 1], minlength=count),
        occluded=(seen == 1).sum(0),
        visible=(seen == 2).sum(0),
        histogram=histogram,
        median_side=np.array(medians),
        small=_share_of(is_small(labels, image_size), measured),
        shared=_share_of(shares_cell(labels, image_size), measured),
        image_size=image_size,
        suggested_size=suggested,
        suggested_input=_shape_input(labels, suggested) if suggested else image_size,
        fullest=int(np.bincount(labels.image_rows[usable]).max(initial=0)),
    )


def check_statistics(labels: Labels, reading: Reading, statistics: Statistics) -> list[Finding]:
    """Findings from the statistics: objects too small for the grid, and the image size that would suit them."""
    image_size, suggested = statistics.image_size, statistics.suggested_size
    wanted = name_canvas(*statistics.suggested_input)
    boxes = _input_boxes(labels, image_size)

    def tell(title: str, mask: np.ndarray, remedy: str) -> list[Finding]:
        where = np.flatnonzero(mask)

        def sides(n: int) -> str:
            width, height = boxes[where[n], 2:] - boxes[where[n], :2]
            return f"{width:.1f} x {height:.1f} pixels at {name_canvas(*image_size)}"

        return make_object_finding(labels, reading, "advice", title, where, sides, noun="object", remedy=remedy)

    measured = int(statistics.objects.sum())
    # An input of another shape than the pictures may have longer sides, and show them smaller.
    larger = (
        suggested is not None and np.nanmedian(_scales(labels, statistics.suggested_input) / _scales(labels, image_size)) > 1
    )
    remedy = f"train with --image-size {wanted}" if larger else "no image size helps: the pictures hold no more; cut them up"
    if tile := suggest_tile(labels, image_size):
        # The tile suits this input alone: the light network's usual one is smaller, and training fits its own tile to that.
        given = f"--tile {tile} --image-size {max(image_size)}"
        remedy = f"the pictures are large: train with {given}, whose tiles of {tile} pixels fill the input"
    if not (larger or tile) and max(statistics.small, statistics.shared) <= SHARE:
        remedy = "few; look whether they are labelled on purpose"
    at = "{}x{}".format(*image_size)
    small, of_all = is_small(labels, image_size), f"at {at} (of {count_of(measured, 'object')})"
    findings = tell(f"smaller than {SMALL_CELLS} cells of {STRIDE} pixels {of_all}", small, remedy)
    title = f"share the cell of their center with another object {of_all}: one of them cannot be found"
    remedy = remedy if larger or tile else "objects in one place: check that none is labelled twice"
    findings += tell(title, shares_cell(labels, image_size), remedy)
    if statistics.fullest > USUAL_OBJECTS:
        room = choose_max_objects(statistics.fullest, labels.schema.num_keypoints)
        title = f"in the fullest image; training makes room for {room} (--max-objects decides otherwise)"
        findings.append(Finding("note", title, statistics.fullest, "object"))
    if suggested is not None and suggested < max(image_size) and not small.any():
        share = math.prod(statistics.suggested_input) / math.prod(image_size)
        remedy = f"--image-size {wanted} may do: {share:.0%} of the pixels a step; fine keypoints gain from the larger one"
        title = f"large at {at}, and nearly all still {LARGE_ENOUGH} pixels or more at {suggested}"
        findings.append(Finding("note", title, measured, "object", remedy))
    return findings


def check_rare_classes(schema: Schema, statistics: Statistics) -> list[Finding]:
    """A finding about classes on so few images, beside the commonest, that training should show those more often."""
    factors, images = repeat_factors(statistics.images), statistics.images
    rare = np.flatnonzero(factors > 1)
    if not len(rare):
        return []
    common = int(images.argmax())
    title = f"rare: on less than a quarter of the images that '{schema.class_names[common]}' is on ({images[common]})"
    places = tuple(f"'{schema.class_names[i]}' on {count_of(int(images[i]), 'image')}" for i in rare[:SHOWN])
    remedy = f"label more, or train with --weight-classes, which shows theirs up to {factors.max():.1f} times as often"
    return [Finding("advice", title, len(rare), "category", remedy, places)]


def input_sides(labels: Labels, image_size: Canvas) -> np.ndarray:
    """(N,) how large objects are: the square root of each box's area in input pixels; NaN without box or image size."""
    boxes = _input_boxes(labels, image_size)
    return np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))


def is_small(labels: Labels, image_size: Canvas) -> np.ndarray:
    """Statistics, (N,) bool: objects too small at this image size, under `SMALL_CELLS` cells, crowd regions aside."""
    return ~labels.is_crowd & (np.nan_to_num(input_sides(labels, image_size), nan=np.inf) < SMALL_CELLS * STRIDE)


def shares_cell(labels: Labels, image_size: Canvas) -> np.ndarray:
    """Statistics, (N,) bool: objects whose center falls into another's grid cell at this image size."""
    boxes = _input_boxes(labels, image_size)
    known = np.isfinite(boxes).all(1) & ~labels.is_crowd & ~labels.is_repeated
    x, y = np.floor((boxes[known, :2] + boxes[known, 2:]) / 2 / STRIDE).astype(np.int64).T
    side = max(image_size) // STRIDE + 1
    # One number for each cell of each image: many times as fast as comparing rows.
    _, where, counts = np.unique((labels.image_rows[known] * side + y) * side + x, return_inverse=True, return_counts=True)
    shared = np.zeros(len(labels.rows), bool)
    shared[np.flatnonzero(known)] = counts[where] > 1
    return shared


def suggest_size(labels: Labels) -> int | None:
    """The smallest image size that by the dataset's statistics shows objects well; None without any.

    Well is: all but `SMALLEST` % of them of `LARGE_ENOUGH` or more, by which training chooses its input too, and hardly one
    under `SMALL_CELLS` or sharing its cell. Not larger than the pictures, which hold no more than they do.
    """
    measured = np.isfinite(input_sides(labels, (SIZES[0], SIZES[0]))) & ~labels.is_crowd
    if not measured.any():
        return None
    native = float(np.percentile(labels.sizes[measured].max(1), 90))
    for size in SIZES:
        square = (size, size)
        well = np.percentile(input_sides(labels, square)[measured], SMALLEST) >= LARGE_ENOUGH
        trouble = max(_share_of(is_small(labels, square), measured), _share_of(shares_cell(labels, square), measured))
        if size >= native or (well and trouble <= SHARE):
            return size
    return SIZES[-1]


def _shape_input(labels: Labels, side: int) -> Canvas:
    """The input of this longer side that has the shape of the labelled images; all backbones but the deepest two take it."""
    _, first = np.unique(labels.image_rows, return_index=True)
    sizes = labels.sizes[first]
    return fit_canvas(sizes[(sizes > 0).all(1)], side, SIZES.step)


def suggest_tile(labels: Labels, image_size: Canvas) -> int | None:
    """The side of tiles that show small objects of large pictures well at an image size; None where the whole picture does.

    No size of the input shows them well, and a picture has more than two tiles on its longer side.
    """
    side = max(image_size)
    sides = input_sides(labels, (side, side))
    measured = np.isfinite(sides) & ~labels.is_crowd
    lengths = labels.sizes[measured].max(1)
    if not measured.any() or suggest_size(labels) < SIZES[-1] or np.percentile(lengths, 90) < 2 * SIZES[-1]:
        return None
    return fit_tile(sides[measured] * lengths / side, lengths, side)


def _input_boxes(labels: Labels, image_size: Canvas) -> np.ndarray:
    """(N, 4) the labels' boxes in pixels of the letterboxed input, to measure them by; NaN where unknown."""
    return labels.boxes_xyxy * _scales(labels, image_size)[:, None]


def _scales(labels: Labels, image_size: Canvas) -> np.ndarray:
    """(N,) input pixels for each pixel of the labels' pictures; NaN where their size or the box is unknown."""
    known = labels.has_box & (labels.sizes > 0).all(1)
    return (image_size / np.where(known[:, None], labels.sizes, np.nan)).min(axis=1, initial=np.inf)


def _share_of(mask: np.ndarray, among: np.ndarray) -> float:
    """Which part of the objects `among` some is in the mask, 0 to 1, for the dataset's statistics."""
    return float((mask & among).sum() / max(among.sum(), 1))
