"""Writes settled labels back into a COCO file's content: boxes, keypoints and sizes in the frame of the files."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from centerkp import geometry
from centerkp.doctor.findings import Finding
from centerkp.doctor.look import Images
from centerkp.doctor.reader import Reading, faultless_rows
from centerkp.doctor.settled_labels import Frames, Labels, settle_labels
from centerkp.labels.relocate import relocate_names


def mend_labels(
    reading: Reading,
    labels: Labels | None,
    frames: Frames,
    *,
    boxes_from_keypoints: bool = False,
    drop: bool = False,
    names: Mapping[int, str] | None = None,
) -> tuple[dict, list[Finding]]:
    """Writes settled labels into a mended copy of the content, and says what was changed.

    Args:
        boxes_from_keypoints: write a box around the labelled keypoints where there is no usable one.
        drop: leave out what training could not use: annotations with faults or without a box, and images that are missing,
            unreadable or of another shape.
        names: of `name_images`.
    """
    if labels is not None and not drop:
        labels, frames = _hold_faulty_images(reading, labels, frames)
    content = {name: list(entries) if isinstance(entries, list) else entries for name, entries in reading.content.items()}
    changes: list[Finding] = []
    _write_sizes(content, reading, frames, changes)
    for row, name in (names or {}).items():
        content["images"][row] = content["images"][row] | {"file_name": name}
    _add_change(changes, len(names or {}), "image", "'file_name' written as the way from the new JSON to the file")
    gone = set()
    if labels is not None:
        _write_boxes(content, reading, labels, boxes_from_keypoints, changes)
        _write_points(content, reading, labels, changes)
        again = labels.rows[labels.is_repeated]
        gone |= set(again.tolist())
        _add_change(changes, len(again), "annotation", "objects labelled twice, the second one left out")
    images = set(np.flatnonzero(frames.lost).tolist()) if drop else set()
    if drop:
        dropped = _unusable_annotations(reading, labels, images) - gone
        _add_change(changes, len(dropped), "annotation", "could not be used, left out")
        _add_change(changes, len(images), "image", "could not be used, left out")
        gone |= dropped
    if drop and len(gone) == len(content["annotations"]):
        raise ValueError("--drop: found no label that could be used, expected one or more to keep; see the findings.")
    content["annotations"] = [entry for row, entry in enumerate(content["annotations"]) if row not in gone]
    content["images"] = [entry for row, entry in enumerate(content["images"]) if row not in images]
    if drop:
        _drop_categories(content, changes)
    return content, changes


def _drop_categories(content: dict, changes: list[Finding]) -> None:
    """Leaves out of the content written back what no class can learn: categories without annotations, names never labelled."""
    used, labelled = set(), set()
    for entry in content["annotations"]:
        used.add(entry.get("category_id"))
        vector = entry.get("keypoints")
        if isinstance(vector, list) and any(isinstance(v, int) and v > 0 for v in vector[2::3]) and not entry.get("iscrowd"):
            labelled.add(entry.get("category_id"))
    kept, nameless = [], 0
    for category in content["categories"]:
        if category.get("id") not in used:
            continue
        if category.get("keypoints") and category.get("id") not in labelled:
            nameless += 1
            # The mark of labels that a tool gathered is about the keypoints, and goes with them.
            about_points = "keypoints", "skeleton", "flip_pairs", "oks_sigmas", "gathered"
            category = {k: v for k, v in category.items() if k not in about_points}
        kept.append(category)
    _add_change(changes, len(content["categories"]) - len(kept), "category", "used by no annotation, left out")
    _add_change(changes, nameless, "category", "keypoints of which none is labelled, taken out of the category")
    content["categories"] = kept


def name_images(reading: Reading, images: Images, out: Path) -> dict[int, str]:
    """Row -> the image's name to write back where the JSON has another: one that leads to its file from a JSON at `out`."""
    rows = [row for row, path in enumerate(images.paths) if path is not None]
    names = relocate_names([reading.names[row] for row in rows], [images.paths[row] for row in rows], out)
    return {row: name for row, name in zip(rows, names, strict=True) if name != reading.names[row]}


def _hold_faulty_images(reading: Reading, labels: Labels, frames: Frames) -> tuple[Labels, Frames]:
    """Leaves labels as written on images of another size while one has a fault, which could not move with them."""
    known = reading.annotations.image_rows >= 0
    faulty = reading.annotations.image_rows[known & ~faultless_rows(reading)]
    moved = (frames.scales != 1).any(1) | (frames.turns != 1) | (frames.sizes != reading.sizes).any(1)
    held = np.isin(np.arange(reading.num_images), faulty) & moved & (reading.sizes > 0).all(1)
    if not held.any():
        return labels, frames
    sizes, scales = (np.where(held[:, None], own, other) for own, other in ((reading.sizes, frames.sizes), (1, frames.scales)))
    frames = Frames(sizes, scales, np.where(held, 1, frames.turns), frames.lost)
    return settle_labels(reading, frames, labels.point_box), frames


def _add_change(changes: list[Finding], count: int, noun: str, title: str) -> None:
    """Adds to `changes` what was written back into the COCO content, unless nothing was."""
    if count:
        changes.append(Finding("mendable", title, int(count), noun))


def _write_sizes(content: dict, reading: Reading, frames: Frames, changes: list[Finding]) -> None:
    """Writes the images' settled sizes back into the content, and leaves out masks that fitted another size."""
    usable = ~frames.lost & (frames.sizes > 0).all(1)
    rows = np.flatnonzero(usable & (frames.sizes != reading.sizes).any(1))
    for row in rows:
        width, height = frames.sizes[row].astype(int).tolist()
        content["images"][row] = content["images"][row] | {"width": width, "height": height}
    _add_change(changes, len(rows), "image", "width and height written as the file has them")
    if reading.annotations is None:
        return
    moved = (frames.scales != 1).any(1) | (frames.turns != 1)
    rows = [
        row
        for row, image in enumerate(reading.annotations.image_rows.tolist())
        if image >= 0 and moved[image] and content["annotations"][row].get("segmentation")
    ]
    for row in rows:
        content["annotations"][row] = {k: v for k, v in content["annotations"][row].items() if k != "segmentation"}
    _add_change(changes, len(rows), "annotation", "'segmentation' left out, it fits the picture of another size")


def _write_boxes(content: dict, reading: Reading, labels: Labels, from_points: bool, changes: list[Finding]) -> None:
    """Writes the settled labels' boxes and areas back into the content where they changed."""
    usable = labels.has_box & (~labels.rebuilt | from_points)
    xywh = np.concatenate([labels.boxes_xyxy[:, :2], labels.boxes_xyxy[:, 2:] - labels.boxes_xyxy[:, :2]], 1).round(3)
    before = reading.annotations.boxes_xywh[labels.rows]
    changed = usable & ~(np.abs(np.nan_to_num(before, nan=-1e9) - xywh) < 2e-3).all(1)
    areas = np.where(labels.areas > 0, labels.areas, geometry.box_areas(np.nan_to_num(labels.boxes_xyxy)))
    # An area is the object's, not its box's: it stays, unless it was missing or the picture's size is another.
    new_area = (usable | (labels.areas > 0)) & ~np.isclose(areas, reading.annotations.areas[labels.rows])
    for index in np.flatnonzero(changed | new_area):
        row = int(labels.rows[index])
        entry = dict(content["annotations"][row])
        if changed[index]:
            entry["bbox"] = xywh[index].tolist()
        if new_area[index]:
            entry["area"] = round(float(areas[index]), 3)
        content["annotations"][row] = entry
    kinds = (
        (labels.rebuilt, "box written around the keypoints"),
        (labels.is_turned, "box turned as EXIF turns the picture"),
        (labels.clipped, "box cut off at the image border"),
    )
    for mask, title in kinds:
        _add_change(changes, (changed & mask).sum(), "annotation", title)
        changed = changed & ~mask
    _add_change(changes, changed.sum(), "annotation", "box moved with the image's size")
    _add_change(changes, new_area.sum(), "annotation", "'area' written")


def _write_points(content: dict, reading: Reading, labels: Labels, changes: list[Finding]) -> None:
    """Writes the settled labels' keypoints back into the content where they changed."""
    before = reading.annotations.keypoints_xy[labels.rows]
    moved = ((np.abs(labels.whole_xy - before) > 1e-6).any(-1) & (labels.visibility > 0)).any(1)
    changed = labels.outside.any(1) | moved
    for index in np.flatnonzero(changed):
        row, class_id = int(labels.rows[index]), int(labels.class_ids[index])
        own = labels.schema.keypoint_slice(class_id)
        seen = labels.visibility[index, own]
        if own.stop > own.start:
            triples = np.column_stack([labels.points_xy[index, own].round(3), seen]).tolist()
            vector = [v for x, y, s in triples for v in (x, y, int(s))]
            known = {"keypoints": vector, "num_keypoints": int((seen > 0).sum())}
            content["annotations"][row] = content["annotations"][row] | known
    _add_change(changes, labels.outside.sum(), "keypoint", "outside the image, written as not labelled")
    _add_change(changes, moved.sum(), "annotation", "keypoints moved with the picture")


def _unusable_annotations(reading: Reading, labels: Labels | None, images: set[int]) -> set[int]:
    """Rows that the mended copy leaves out: no known image or class, faults, an image left out, or no box."""
    if labels is None:
        return set()
    kept = zip(labels.rows[labels.has_box].tolist(), labels.image_rows[labels.has_box].tolist(), strict=True)
    return set(range(len(reading.annotations.ids))) - {row for row, image in kept if image not in images}
