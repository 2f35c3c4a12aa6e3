"""Reads what training, evaluation and the like take: judged as `centerkp check` does, mended where nothing is in doubt."""

from dataclasses import replace
from typing import Any

import numpy as np

from centerkp.doctor.check import Checkup, check_dataset, check_one
from centerkp.doctor.settled_labels import turn_labels
from centerkp.doctor.verdict import require_trainable
from centerkp.images.oddities import describe_oddities
from centerkp.labels.coco import make_dataset
from centerkp.labels.content import Paths, list_words, name_paths, release
from centerkp.labels.label_file import LabelFile, read_source
from centerkp.labels.records import Dataset
from centerkp.labels.tables import read_integer
from centerkp.schema import OksSigmas, Schema
from centerkp.sides import FlipPairs
from centerkp.wording import count_of


def read_train_and_val(
    path: Paths,
    *,
    images_dir: Paths | None = None,
    val: Paths | None = None,
    val_images_dir: Paths | None = None,
    flip_pairs: FlipPairs = None,
    oks_sigmas: OksSigmas = None,
    check_images: bool = True,
    stretch: str | None = None,
    is_split: bool = True,
    point_box: float | None = None,
) -> tuple[Dataset, Dataset | None]:
    """Reads the COCO JSON to train on and the one to validate on, where there is one; `check_dataset` decides what is refused.

    Args:
        path, images_dir, flip_pairs, oks_sigmas, check_images, stretch: as in `read_coco`.
        val, val_images_dir, is_split, point_box: as in `check_dataset`.

    Returns:
        Datasets whose notes say what was mended, and what of the labels may be wrong.

    Raises:
        FileNotFoundError: there is no such file or images folder.
        ValueError: the files cannot be trained on; in the words of `centerkp check`, with the command that mends them.
    """
    folders: dict[str, Any] = {"images_dir": images_dir, "val": val, "val_images_dir": val_images_dir}
    checkup = check_dataset(path, **folders, open_images=check_images, stretch=stretch, is_split=is_split, point_box=point_box)
    require_trainable(path, checkup.findings, val)
    options: dict[str, Any] = {"check_images": check_images, "point_box": point_box}
    train = _make_dataset(checkup, flip_pairs=flip_pairs, oks_sigmas=oks_sigmas, stretch=stretch, **options)
    held = None
    if checkup.val is not None:
        levels = train.records[0].levels
        options |= {"schema": train.schema, "stretch": str(levels) if levels else None}
        held = _make_dataset(checkup.val, **options)
    told = (*train.notes, *(held.notes if held else ()))
    doubts = [f.headline for f in checkup.findings if f.level == "suspicious" and not any(f.title in note for note in told)]
    see = [f"To see where, and what to do: centerkp check {list_words(path)}"] if doubts else []
    return replace(train, notes=(*train.notes, *doubts, *see)), held


def read_dataset(
    path: Paths,
    *,
    images_dir: Paths | None = None,
    schema: Schema | None = None,
    check_images: bool = True,
    stretch: str | None = None,
) -> Dataset:
    """Reads a COCO JSON that nothing is to be learned from, as one to evaluate on; arguments and errors as of `read_coco`."""
    checkup = check_one(path, images_dir, (512, 512), check_images, stretch, for_training=False)
    require_trainable(path, checkup.findings)
    return _make_dataset(checkup, schema=schema, check_images=check_images, stretch=stretch)


def require_as_written(path: Paths, images_dir: Paths | None = None, check_images: bool = True) -> None:
    """Refuses a file of which training reads other labels than stand in it, where some of these are to be corrected.

    Raises:
        ValueError: something has to be mended first; names it, and the command that does.
    """
    checkup = check_one(path, images_dir, (512, 512), check_images, None, for_training=False)
    mended = [change.headline for change in checkup.changes if change.noun != "file"]
    swapped = _find_swapped(checkup, checkup.reading.sizes) if checkup.frames else np.zeros(0)
    mended += [f"{count_of(int(swapped.sum()), 'image')}: width and height exchanged"] if swapped.any() else []
    if mended:
        raise ValueError(
            f"{name_paths(path)}: found {'; '.join(mended[:3])}, expected labels as COCO has them, which can be corrected one "
            f"by one; mend them first: centerkp check {list_words(path)} --fix mended.json"
        )


def _make_dataset(
    checkup: Checkup,
    *,
    schema: Schema | None = None,
    flip_pairs: FlipPairs = None,
    oks_sigmas: OksSigmas = None,
    check_images: bool = True,
    stretch: str | None = None,
    point_box: float | None = None,
) -> Dataset:
    """The records of a file that the doctor found trainable, from its mended content and with its looks at the images."""
    reading, images = checkup.reading, checkup.images
    again = set(checkup.labels.rows[checkup.labels.is_repeated].tolist())
    file = _read_mended(checkup, again, schema, flip_pairs, oks_sigmas)
    reading.label_annotation = str  # which looks into the content
    release(file.content, reading.content, checkup.source.content)
    for change in checkup.changes:
        if change.noun != "file":
            file.remarks.add_note(change.noun, change.count, change.title)
    file.remarks.add_note("annotation", len(again), "labelled twice, all numbers alike, the second one left out")
    file.remarks.add_note("category", len(reading.unused), "used by no annotation, left out", reading.unused)
    _turn_labels(file, checkup)
    measured = None
    if check_images:
        odd = describe_oddities(
            (path.name, look.oddities) for path, look in zip(images.paths, images.looks, strict=True) if path
        )
        measured = [look.error or look.size for look in images.looks], odd
        stretch = str(images.levels) if images.levels else None
    options: dict[str, Any] = {"check_images": check_images, "stretch": stretch, "point_box": point_box}
    return make_dataset(file, settle=schema is None, measured=measured, **options)


def _read_mended(
    checkup: Checkup, again: set[int], schema: Schema | None, flip_pairs: FlipPairs, oks_sigmas: OksSigmas
) -> LabelFile:
    """Reads what the doctor made of a file's content, without categories that nothing uses and the objects `again`."""
    content = checkup.reading.content
    known = {kind.category_id for kind in checkup.reading.schema.classes}
    used = [entry for entry in content["categories"] if read_integer(entry.get("id")) in known]
    once = [entry for row, entry in enumerate(content["annotations"]) if row not in again]
    content = {**content, "categories": used, "annotations": once}
    return read_source(replace(checkup.source, content=content), schema, flip_pairs, oks_sigmas)


def _turn_labels(file: LabelFile, checkup: Checkup) -> None:
    """Turns, in place, the labels of pictures that were labelled without their EXIF rotation, or whose sides are exchanged."""
    frames, written = checkup.frames, file.images.sizes
    swapped = _find_swapped(checkup, written)
    turned, a = swapped & (frames.turns > 1), file.annotations
    boxes = np.concatenate([a.boxes_xywh[:, :2], a.boxes_xywh[:, :2] + a.boxes_xywh[:, 2:]], 1)
    turn_labels(boxes, a.keypoints_xy, frames.turns[a.image_rows], frames.sizes[a.image_rows])
    a.boxes_xywh[:] = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
    written[swapped] = frames.sizes[swapped]
    file.remarks.add_note("image", int(turned.sum()), "labelled without their EXIF rotation, labels turned with the picture")
    file.remarks.add_note("image", int((swapped & ~turned).sum()), "width and height exchanged, those of the file taken")


def _find_swapped(checkup: Checkup, written: np.ndarray) -> np.ndarray:
    """Which images (n,) have the sides of those that are written (n, 2) the other way round, as with labels before a turn."""
    frames = checkup.frames
    return ~frames.lost & (frames.sizes == written[:, ::-1]).all(1) & (frames.sizes != written).any(1)
