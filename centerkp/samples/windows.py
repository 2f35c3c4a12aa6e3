"""Windows of large records: what the network is shown of a picture that is looked at tile by tile."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from centerkp import geometry
from centerkp.images.tiling import Tiling
from centerkp.labels.records import Record

MIN_VISIBLE = 0.25  # of an object's area: one of which a window holds less is not learned there; a crowd counts wherever it is
AROUND_OBJECTS = 0.7  # share of windows with an object in them; the others teach what is none
REACH = 0.4  # of a window's sides, how far from its middle that object may lie


def crop_record(record: Record, window: tuple[int, int, int, int]) -> Record:
    """What a window (x, y, width, height) holds of a record: its objects in the window's pixels, cut off at its borders.

    Keypoints outside are no longer labelled; the path stays that of the whole picture.
    """
    x, y, width, height = window
    corner = np.array([x, y], np.float32)
    boxes = record.boxes_xyxy - np.tile(corner, 2)
    clipped = geometry.clip_boxes(boxes, width, height).astype(np.float32)
    areas = geometry.box_areas(clipped)
    kept = np.where(record.is_crowd, areas > 0, areas >= MIN_VISIBLE * geometry.box_areas(boxes))
    points = record.keypoints_xy[kept] - corner
    labelled = (record.visibility[kept] > 0) & np.all((points >= 0) & (points <= (width, height)), axis=-1)
    return replace(
        record,
        width=width,
        height=height,
        boxes_xyxy=clipped[kept],
        class_ids=record.class_ids[kept],
        keypoints_xy=np.where(labelled[..., None], points, 0),
        visibility=np.where(labelled, record.visibility[kept], 0),
        is_crowd=record.is_crowd[kept],
        areas=record.areas[kept],
        annotation_ids=record.annotation_ids[kept],
    )


def draw_window(
    record: Record, tiling: Tiling, input_size: Sequence[int], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """A window (x, y, width, height) of a tile's size at a place by chance, mostly around one of the record's objects."""
    width, height = tiling.sides(input_size)
    width, height = min(width, record.width), min(height, record.height)
    near, spot = rng.random() < AROUND_OBJECTS, rng.random(2)
    chosen = int(rng.integers(max(len(record.boxes_xyxy), 1)))
    room = np.array([record.width - width, record.height - height])
    start = spot * room
    if near and len(record.boxes_xyxy):
        middle = record.boxes_xyxy[chosen].reshape(2, 2).mean(0)
        start = middle - np.array([width, height]) * (0.5 + REACH * (2 * spot - 1))
    x, y = np.clip(np.round(start), 0, room).astype(int).tolist()
    return x, y, width, height


def cut_records(records: Sequence[Record], tiling: Tiling | None, input_size: Sequence[int]) -> list[Record]:
    """The records of all tiles of large pictures, numbered, those without an object left out; without tiles as they are.

    Raises:
        ValueError: no tile holds enough of an object.
    """
    if tiling is None:
        return list(records)
    tiles = ((r, tile) for r in records for tile in tiling.cut(r.width, r.height, input_size))
    cut = (crop_record(record, (tile.x, tile.y, tile.width, tile.height)) for record, tile in tiles)
    kept = [record for record in cut if len(record.boxes_xyxy)]
    if records and not kept:
        raise ValueError(
            f"tile: found no object of which a tile of {tiling.size} pixels shows {MIN_VISIBLE:.0%}, expected some; take one "
            "of several times the objects' size, or --tile 0 for whole pictures."
        )
    return [replace(record, image_id=number) for number, record in enumerate(kept, 1)]
