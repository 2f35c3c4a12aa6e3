"""The labels of a file as they are meant, in pixels of the upright images, and what had to be mended for it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from centerkp import geometry
from centerkp.doctor.findings import Finding, make_finding
from centerkp.doctor.reader import Reading, faultless_rows
from centerkp.labels.records import ROUNDING, make_boxes
from centerkp.schema import Schema


@dataclass(eq=False)
class Frames:
    """Each image's upright size, and how the JSON's coordinates get there; n images.

    `sizes` (n, 2) width and height, 0 where unknown; `scales` (n, 2) factors; `turns` (n,) the EXIF orientation of images
    that were labelled as stored, else 1; `lost` (n,) images whose labels have no place: missing, unreadable, another shape.
    """

    sizes: np.ndarray
    scales: np.ndarray
    turns: np.ndarray
    lost: np.ndarray

    @classmethod
    def as_written(cls, reading: Reading) -> "Frames":
        """The frames to settle labels in where no image was looked at: the JSON's own sizes, nothing scaled or turned."""
        count = reading.num_images
        return cls(reading.sizes.copy(), np.ones((count, 2)), np.ones(count, np.int64), np.zeros(count, bool))


@dataclass(eq=False)
class Labels:
    """N annotations of images and classes that the file holds; K flat keypoints. Masks say what was found and mended.

    `rows` (N,) is each one's place in the file. `boxes_xyxy` (N, 4) float64 lie inside the image, NaN where there is none;
    `points_xy` (N, K, 2) and `visibility` (N, K) are as they are meant; `whole_xyxy` and `whole_xy` before they were cut off.
    """

    schema: Schema
    rows: np.ndarray
    ids: np.ndarray
    image_rows: np.ndarray
    class_ids: np.ndarray
    is_crowd: np.ndarray
    areas: np.ndarray
    boxes_xyxy: np.ndarray
    whole_xyxy: np.ndarray
    points_xy: np.ndarray
    whole_xy: np.ndarray
    visibility: np.ndarray
    sizes: np.ndarray  # (N, 2) of each one's image
    is_turned: np.ndarray
    outside: np.ndarray  # (N, K) labelled keypoints outside the image
    missing: np.ndarray  # boxes
    flat: np.ndarray
    away: np.ndarray
    clipped: np.ndarray
    rebuilt: np.ndarray  # boxes that the reader makes around the keypoints
    point_box: float | None

    @property
    def has_box(self) -> np.ndarray:
        """(N,) bool: labels with a box of positive area inside the image, rebuilt ones included."""
        return np.isfinite(self.boxes_xyxy).all(1)

    @cached_property
    def is_repeated(self) -> np.ndarray:
        """(N,) bool: labels that repeat an earlier one of the image number by number; crowd regions aside."""
        keys = np.nan_to_num(np.column_stack([self.image_rows, self.class_ids, self.boxes_xyxy]))
        order = np.lexsort(keys.T)  # stable: of equal rows the earlier one comes first
        starts = np.concatenate([[True], (keys[order][1:] != keys[order][:-1]).any(1)])[: len(order)]
        first = np.empty(len(order), np.int64)
        first[order] = order[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))]
        same = (self.points_xy == self.points_xy[first]).all((1, 2)) & (self.visibility == self.visibility[first]).all(1)
        return self.has_box & ~self.is_crowd & same & (first != np.arange(len(first)))


def make_object_finding(
    labels: Labels,
    reading: Reading,
    level: str,
    title: str,
    objects: np.ndarray,
    detail: Callable[[int], str] | None = None,
    **more: Any,
) -> list[Finding]:
    """A list of one finding about some of the N settled labels, or of none when there are none; `more` as in `make_finding`.

    Args:
        objects: their numbers 0 to N - 1; one may stand repeatedly.
        detail: what to say of one after its id; asked with the place in `objects`.
    """
    rows, images = labels.rows[objects], labels.image_rows[objects]

    def place(n: int) -> str:
        name = reading.label_annotation(int(rows[n]))
        return f"{name}: {detail(n)}" if detail else name

    numbers = range(len(rows))
    return make_finding(level, title, numbers, place=place, image_row=lambda n: int(images[n]), entry=rows.__getitem__, **more)


def settle_labels(reading: Reading, frames: Frames, point_box: float | None = None) -> Labels:
    """Works out what labels mean, in pixels of the upright images, as the reader does; `point_box` as in `make_boxes`."""
    a = reading.annotations
    rows = np.flatnonzero(faultless_rows(reading))
    rows = rows[~frames.lost[a.image_rows[rows]]]
    images = a.image_rows[rows]
    sizes, scales = frames.sizes[images], frames.scales[images]
    limits = np.where(sizes > 0, sizes, np.inf)
    boxes = np.concatenate([a.boxes_xywh[rows, :2], a.boxes_xywh[rows, :2] + a.boxes_xywh[rows, 2:]], 1)
    missing, flat = np.isnan(boxes).any(1), (boxes[:, 2:] <= boxes[:, :2]).any(1)
    points, visibility = a.keypoints_xy[rows], a.visibility[rows]
    turns = frames.turns[images]
    turn_labels(boxes, points, turns, sizes)
    whole, whole_xy = boxes * np.tile(scales, 2), points * scales[:, None]
    outside = (visibility > 0) & ((whole_xy < -ROUNDING) | (whole_xy > limits[:, None] + ROUNDING)).any(-1)
    labelled = (visibility > 0) & ~outside
    points = np.where(labelled[..., None], np.clip(whole_xy, 0, limits[:, None]), 0)
    inside = np.clip(whole, 0, np.tile(limits, 2))
    usable = ~flat & _has_area(inside)
    spans = make_boxes(points, labelled, limits, point_box)
    rebuilt = ~usable & _has_area(spans)
    inside = np.where(usable[:, None], inside, np.where(rebuilt[:, None], spans, np.nan))
    return Labels(
        schema=reading.schema,
        rows=rows,
        ids=a.ids[rows],
        image_rows=images,
        class_ids=a.class_ids[rows],
        is_crowd=a.is_crowd[rows],
        areas=a.areas[rows] * scales.prod(1),
        boxes_xyxy=inside,
        whole_xyxy=whole,
        points_xy=points,
        whole_xy=whole_xy,
        visibility=np.where(outside, 0, visibility).astype(np.uint8),
        sizes=sizes,
        is_turned=turns > 1,
        outside=outside,
        missing=missing,
        flat=flat & ~missing,
        away=~usable & ~missing & ~flat,
        clipped=usable & (np.abs(np.nan_to_num(inside - whole)) > ROUNDING).any(1),
        rebuilt=rebuilt,
        point_box=point_box,
    )


def _has_area(boxes: np.ndarray) -> np.ndarray:
    """(N,) bool: settled labels whose box has an area, in the precision of the records."""
    return geometry.box_areas(np.nan_to_num(boxes.astype(np.float32), posinf=0, neginf=0)) > 0


def turn_labels(boxes: np.ndarray, points: np.ndarray, turns: np.ndarray, sizes: np.ndarray) -> None:
    """Settles, in place, labels that were made on stored pictures: turns them; `sizes` are those of the upright ones."""
    for turn in np.unique(turns[turns > 1]):
        own = turns == turn
        stored = (sizes[own][:, ::-1] if turn >= 5 else sizes[own])[:, None]
        corners = turn_points(boxes[own].reshape(-1, 2, 2), stored, turn)
        boxes[own] = np.concatenate([corners.min(1), corners.max(1)], 1)
        points[own] = turn_points(points[own], stored, turn)


def turn_points(points: np.ndarray, stored_size: np.ndarray, orientation: int) -> np.ndarray:
    """Settles labels' points (..., 2) of a stored picture: where they are in the upright one of EXIF orientation 1 to 8."""
    x, y = points[..., 0], points[..., 1]
    right, down = stored_size[..., 0] - x, stored_size[..., 1] - y
    pairs = {1: (x, y), 2: (right, y), 3: (right, down), 4: (x, down), 5: (y, x), 6: (down, x), 7: (down, right), 8: (y, right)}
    return np.stack(pairs[int(orientation)], -1)
