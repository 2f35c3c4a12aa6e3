"""Settings -> the images to train and to validate on; a run keeps which they are, and a resumed one goes on with the same."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from centerkp.doctor.trainable import read_dataset as read_coco_to_judge
from centerkp.doctor.trainable import read_train_and_val
from centerkp.labels.faults import Remarks
from centerkp.labels.folds import deal_folds, split_records
from centerkp.labels.records import Dataset, Record
from centerkp.schema import Schema
from centerkp.settings.checks import list_idle
from centerkp.settings.training import TrainSettings
from centerkp.settings.values import read_flip_pairs, read_sigmas
from centerkp.tfrecord.reader import read_tfrecords
from centerkp.writing import write_json

SHOWN = 3  # names in an error


@dataclass(frozen=True)
class KeptImages:
    """What a run remembers of its images: digests of their labels by (image id, name of the file), in the order of training.

    `weights` is its best model, with which a new run on other images would start.
    """

    weights: Path
    train: Mapping[tuple[int, str], str]
    val: Mapping[tuple[int, str], str]


def read_dataset(settings: TrainSettings) -> Dataset:
    """All images of a run but those of a validation file.

    Raises:
        FileNotFoundError, ValueError: as `read_train_and_val`.
    """
    return _read_datasets(settings)[0]


def _read_datasets(settings: TrainSettings) -> tuple[Dataset, Dataset | None]:
    """All images of a run, and those of its validation file, where there is one."""
    options: dict[str, Any] = {
        "check_images": settings.check_images,
        "flip_pairs": read_flip_pairs(settings.flip_pairs),
        "oks_sigmas": read_sigmas(settings.oks_sigmas),
    }
    held = None
    if settings.tfrecord:
        dataset = read_tfrecords(settings.tfrecord, settings.label_map, **options)
    else:
        options |= {"images_dir": settings.images, "stretch": settings.stretch, "point_box": settings.point_box}
        dataset, held = read_train_and_val(
            settings.coco, val=settings.val, val_images_dir=settings.val_images, is_split=not settings.val_tfrecord, **options
        )
    of_training: dict[str, Any] = {"schema": dataset.schema, "check_images": settings.check_images}
    if settings.val_tfrecord:
        held = read_tfrecords(settings.val_tfrecord, settings.label_map, **of_training)
    elif settings.val and not held:
        held = read_coco_to_judge(settings.val, images_dir=settings.val_images, **of_training)
    return dataset, held


def read_records(
    settings: TrainSettings, kept: KeptImages | None = None
) -> tuple[Schema, list[Record], list[Record], list[str]]:
    """A run's schema, training and validation records, and notes; the validation set is split off if none is given.

    Args:
        kept: the images of the run to go on with, which are taken in place of a new split.

    Raises:
        FileNotFoundError, ValueError: as `read_train_and_val`; or images of the run are gone.
    """
    dataset, held = _read_datasets(settings)
    notes = [*dataset.notes, *list_idle(settings)]
    if held:
        notes += [f"validation: {note}" for note in held.notes]
    elif not kept and not settings.folds:
        notes.append(f"validation: {settings.val_fraction:g} of the images, drawn with seed {settings.seed}")
    if kept:
        train, val, remarks = choose_kept(kept, dataset.records, held.records if held else None, dataset.path)
        notes += remarks.sentences
    elif held:
        train, val = list(dataset.records), list(held.records)
    elif settings.folds:
        folds, remarks = deal_settings(dataset, settings)
        notes += [*remarks, f"validation: fold {settings.fold} of {settings.folds}, dealt with seed {settings.seed}"]
        val = folds.pop(settings.fold - 1)
        train = [record for fold in folds for record in fold]
    else:
        train, val = split_records(dataset.records, settings.val_fraction, settings.seed)
    return dataset.schema, train, val, notes


def deal_settings(dataset: Dataset, settings: TrainSettings) -> tuple[list[list[Record]], tuple[str, ...]]:
    """The folds into which a run's images are dealt, and notes."""
    return deal_folds(dataset.records, settings.folds, settings.seed, settings.group_by or "phash", dataset.path)


def choose_kept(
    kept: KeptImages, records: Sequence[Record], held: Sequence[Record] | None, path: Path
) -> tuple[list[Record], list[Record], Remarks]:
    """The training and validation records of a run among those there are now, and what was added or has changed.

    Args:
        held: validation records of a file of their own, None when they are among `records`.

    Raises:
        ValueError: images are gone; without them the steps would be others, and the scores not comparable.
    """
    remarks = Remarks(path)
    pool = {image_key(record): record for record in records}
    val_pool = pool if held is None else {image_key(record): record for record in held}
    lost = [key[1] for side, there in ((kept.train, pool), (kept.val, val_pool)) for key in side if key not in there]
    if lost:
        number = len(kept.train) + len(kept.val)
        some = ", ".join(lost[:SHOWN]) + (", ..." if len(lost) > SHOWN else "")
        raise ValueError(
            f"{path}: found {number - len(lost)} images of the run, expected all {number}; not there any more, unreadable, or "
            f"with another id: {some}; put them back, or start a new run with --weights {kept.weights}."
        )
    train, val = [pool[key] for key in kept.train], [val_pool[key] for key in kept.val]
    for noun, chosen, digests in (("training image", train, kept.train), ("validation image", val, kept.val)):
        changed = [r.file_name for r in chosen if digest_labels(r) != digests[image_key(r)]]
        remarks.add_note(noun, len(changed), "with other labels than when the run began", changed)
    added = [key[1] for key in pool if key not in kept.train and (held is not None or key not in kept.val)]
    if held is not None:
        added += [key[1] for key in val_pool if key not in kept.val]
    rest = f"added since the run began, left out; start a new run with --weights {kept.weights} to use them"
    remarks.add_note("image", len(added), rest, added)
    return train, val, remarks


def digest_labels(record: Record) -> str:
    """16 hexadecimal digits for an image's size and all its labels, by which a resumed run sees changes."""
    digest = hashlib.blake2b(f"{record.width} {record.height} {len(record.class_ids)}".encode(), digest_size=8)
    for column in (record.boxes_xyxy, record.class_ids, record.keypoints_xy, record.visibility, record.is_crowd, record.areas):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def digest_records(records: Sequence[Record]) -> str:
    """16 hexadecimal digits for a whole set of images and labels, in any order, to tell validation sets apart."""
    rows = sorted((*image_key(record), digest_labels(record)) for record in records)
    return hashlib.blake2b(repr(rows).encode(errors="replace"), digest_size=8).hexdigest()


def write_images(path: Path, train: Sequence[Record], val: Sequence[Record]) -> None:
    """Writes which images a run trains and validates on, for `read_images`, and where their files are."""
    write_json(
        path, {"folder": os.path.abspath(path.parent), "train": [*map(_image_row, train)], "val": [*map(_image_row, val)]}
    )


def read_images(path: Path) -> KeptImages | None:
    """The images that a run has kept in its list; None when it has none, as before there was such a file.

    Raises:
        ValueError: the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        sides = [{(row["id"], row["name"]): row["labels"] for row in content[side]} for side in ("train", "val")]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError(
            f"{path}: found no list of images, expected which train and which validate; copy it back, or start a new run."
        ) from None
    return KeptImages(path.with_name("best.keras"), *sides)


def image_key(record: Record) -> tuple[int, str]:
    """What a resumed run knows an image by: id and name without folder, as neither is enough alone."""
    return int(record.image_id), Path(record.file_name).name


def _image_row(record: Record) -> dict:
    """An image as a run keeps it in its list of images."""
    number, name = image_key(record)
    file = os.path.abspath(record.path) if isinstance(record.path, Path) else None  # an image in a TFRecord has none
    return {"id": number, "name": name, "labels": digest_labels(record), "file": file}
