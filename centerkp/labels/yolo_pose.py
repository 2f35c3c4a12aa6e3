"""Writes records as a YOLO-pose dataset: data.yaml, images as they are, and a text file for each."""

import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from centerkp.geometry import box_areas
from centerkp.labels.records import Record
from centerkp.schema import Schema
from centerkp.wording import count_of
from centerkp.writing import part_folder, refuse_place, unwritable

AREA_ROUNDING = 0.01  # by which an area that is the box's may differ from it


def write_yolo(out: str | Path, parts: Mapping[str, Sequence[Record]], schema: Schema) -> list[str]:
    """Writes a YOLO-pose dataset as Ultralytics reads it, all at once, into a folder that is not there yet.

    Every object has as many keypoints as the class with the most, zeros behind its own; `kpt_names` says which are used.
    Crowd regions are left out, as there is no word for them.

    Args:
        parts: "train" and perhaps "val" with their records, all of `schema`.

    Returns:
        Notes on what the format cannot say.

    Raises:
        FileExistsError: there is something of that name.
    """
    out = Path(out)
    refuse_place(out.parent)
    if os.path.lexists(out):
        raise FileExistsError(f"{out}: found something of this name, expected a new folder to write; choose another name.")
    counts = [len(kind.keypoints) for kind in schema.classes]
    try:
        with part_folder(out) as folder:
            _write_files(folder, parts, schema, max(counts))
            os.rename(folder, out)
    except OSError as error:
        raise unwritable(out, error) from None
    return _list_losses([record for records in parts.values() for record in records], schema)


def _list_losses(records: Sequence[Record], schema: Schema) -> list[str]:
    """Notes on what records and schema say that a YOLO-pose dataset cannot."""
    counts = [len(kind.keypoints) for kind in schema.classes]
    crowds = sum(int(record.is_crowd.sum()) for record in records)
    notes = [f"{count_of(crowds, 'crowd region')}: left out, YOLO has none"] if crowds else []
    if any(counts) and not schema.can_flip:
        notes.append("what swaps in a mirror: not known, so 'flip_idx' is left out; without it nothing is mirrored")
    elif any(counts) and _join_flips(schema, max(counts)) is None:
        notes.append("what swaps in a mirror: left out, YOLO has one 'flip_idx' for all classes, and theirs differ")
    told = [
        *["skeletons"] * any(kind.skeleton for kind in schema.classes),
        *["OKS sigmas"] * any(kind.sigma_source in ("json", "flag") for kind in schema.classes),
    ]
    notes += [f"{' and '.join(told)}: left out, YOLO has none"] if told else []
    own = sum(
        int((~np.isclose(record.areas, box_areas(record.boxes_xyxy), rtol=AREA_ROUNDING) & ~record.is_crowd).sum())
        for record in records
    )
    return notes + ([f"{count_of(own, 'object')}: area left out, YOLO has that of the box alone"] if own else [])


def _write_files(folder: Path, parts: Mapping[str, Sequence[Record]], schema: Schema, count: int) -> None:
    """Writes all files of a YOLO-pose dataset into a folder; objects get `count` keypoints."""
    for part, records in parts.items():
        for kind in ("images", "labels"):
            (folder / kind / part).mkdir(parents=True)
        for record, name in zip(records, _name_files(records), strict=True):
            path = Path(str(record.path))  # labels of a JSON name files
            shutil.copy(path, folder / "images" / part / f"{name}{path.suffix}")
            (folder / "labels" / part / f"{name}.txt").write_text(_format_rows(record, schema, count))
    text = yaml.safe_dump(_describe(parts, schema, count), sort_keys=False, allow_unicode=True)
    (folder / "data.yaml").write_text(text, encoding="utf-8")


def _name_files(records: Sequence[Record]) -> list[str]:
    """The name without ending under which each image is written: its own, or with its id where several have the same.

    Names that differ in case only are the same, as they are one file on many systems.
    """
    counts = Counter(record.path.stem.casefold() for record in records)
    used, names = {stem for stem, count in counts.items() if count == 1}, []
    for record in records:
        name = stem = record.path.stem
        if counts[stem.casefold()] > 1:
            tried = (f"{stem}_{record.image_id}{f'_{n}' if n else ''}" for n in range(len(records) + 1))
            name = next(one for one in tried if one.casefold() not in used)
            used.add(name.casefold())
        names.append(name)
    return names


def _format_rows(record: Record, schema: Schema, count: int) -> str:
    """The label file of YOLO for one image: class, center and size of the box, keypoints, as shares of the image's sides."""
    size, lines = np.array([record.width, record.height], np.float64), []
    for row in np.flatnonzero(~record.is_crowd):
        low, high = record.boxes_xyxy[row].reshape(2, 2)
        own = schema.keypoint_slice(record.class_ids[row])
        places = record.keypoints_xy[row, own] / size
        points = np.concatenate([places, record.visibility[row, own, None]], 1)
        padded = np.zeros((count, 3))
        padded[: len(points)] = points
        box = [*(low + high) / 2 / size, *(high - low) / size]
        numbers = [*(f"{n:.8g}" for n in box), *(f"{n:.8g}" for n in padded.ravel())]
        lines.append(" ".join([str(int(record.class_ids[row])), *numbers]) + "\n")
    return "".join(lines)


def _describe(parts: Mapping, schema: Schema, count: int) -> dict:
    """What stands in the data.yaml of a YOLO-pose dataset."""
    content: dict[str, Any] = {part: f"images/{part}" for part in parts}
    content["val"] = content.get("val", content["train"])  # Ultralytics asks for one
    content["names"] = dict(enumerate(schema.class_names))
    if count:
        names = {number: [*kind.keypoints, *[""] * (count - len(kind.keypoints))] for number, kind in enumerate(schema.classes)}
        content |= {"kpt_shape": [count, 3], "kpt_names": names}
        if flips := _join_flips(schema, count):
            content["flip_idx"] = flips
    return content


def _join_flips(schema: Schema, count: int) -> list[int] | None:
    """Which place swaps with which in a mirror for all classes of a YOLO-pose dataset; None where unknown or contradictory."""
    if not schema.can_flip:
        return None
    flips: list[int | None] = [None] * count
    for class_id in range(schema.num_classes):
        own = schema.keypoint_slice(class_id)
        for place, partner in enumerate(schema.flip_permutation[own] - own.start):
            if flips[place] not in (None, partner):
                return None
            flips[place] = int(partner)
    return [place if partner is None else partner for place, partner in enumerate(flips)]
