"""Reads TFRecords of the Object Detection API into records; the images stay where they are until they are needed."""

import logging
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from centerkp.images.reading import read_image_size
from centerkp.labels.annotations import Annotations
from centerkp.labels.faults import Remarks
from centerkp.labels.records import Dataset, Images, build_dataset
from centerkp.schema import OksSigmas, Schema
from centerkp.sides import FlipPairs
from centerkp.symmetry.verdict import settle_sides
from centerkp.tfrecord.classes import RecordLabels, Unusable, read_record_labels
from centerkp.tfrecord.writer import StoredImage, import_tensorflow, open_tfrecord
from centerkp.wording import quote

_SHARD = re.compile(r"(.*)-(\d{5,})-of-(\d{5,})(.*)", re.DOTALL)
_SIDES = "xmin", "ymin", "xmax", "ymax"


@dataclass(eq=False)
class _RecordRow:
    """One record: `size` is 0 where it does not say, `objects` has the columns of `Annotations` for its own objects."""

    image: StoredImage
    source_id: str
    size: tuple[int, int]
    objects: dict[str, np.ndarray]


def read_tfrecords(
    pattern: str | Path,
    label_map: str | Path | None = None,
    *,
    schema: Schema | None = None,
    flip_pairs: FlipPairs = None,
    oks_sigmas: OksSigmas = None,
    check_images: bool = True,
) -> Dataset:
    """Reads TFRecords as `read_coco` reads a JSON: the same records, notes and refusals.

    Every file is read through once for the labels. Of the images only the places are kept, see `StoredImage`. The order is that
    in which `write_tfrecords` was given them: the first of each shard, then the second, and so on.

    Args:
        pattern: a file, or a pattern such as "train.record-?????-of-00010"; also on remote storage that TensorFlow reads.
        label_map: label_map.pbtxt, or the COCO JSON, which knows flip pairs, OKS sigmas and skeletons as well. May be left out
            when there is a schema.
        schema: the training schema, to read validation records: classes and keypoints are matched by name.
        flip_pairs, oks_sigmas: as in `Schema.from_coco`.
        check_images: decodes every image once; see `read_coco`.

    Raises:
        FileNotFoundError: no file fits, or there is no such label map.
        ValueError: the files are no TFRecords of the Object Detection API, shards are missing, they contradict themselves or
            the label map, or no image is usable.
    """
    labels = read_record_labels(label_map, schema, flip_pairs, oks_sigmas)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        shards = list(pool.map(partial(_read_shard, labels=labels), _find_shards(str(pattern))))
    found: list[Any] = [row for row in chain.from_iterable(zip_longest(*shards)) if row is not None]
    remarks = Remarks(Path(pattern), "consistent TFRecords")
    for row, one in enumerate(found):
        if isinstance(one, Unusable):
            remarks.add_fault("record", [row], one.kind, one.remedy, lambda row: f"{found[row].where}: {found[row].found}")
    remarks.raise_faults()
    if not found:
        raise ValueError(f"{pattern}: found no records, the files are empty; expected one for each image, write them again.")
    images, annotations = _make_columns(found, remarks)
    if schema is None:
        labels.schema, notes = settle_sides(labels.schema, vars(annotations))
        for note in notes:
            remarks.add_sentence(note.sentence)
    return build_dataset(labels.schema, images, annotations, remarks, check_images=check_images)


def _make_columns(rows: Sequence[_RecordRow], remarks: Remarks) -> tuple[Images, Annotations]:
    """The images and annotations of all records of the TFRecords as columns."""
    ids = [int(row.source_id) if re.fullmatch(r"\d{1,18}", row.source_id) else None for row in rows]
    if None in ids or len(set(ids)) < len(ids):
        remarks.add_note("image", len(ids), "'image/source_id' no number or not unique, numbered in their order")
        ids = list(range(1, len(ids) + 1))
    counts = [len(row.objects["areas"]) for row in rows]
    columns = {key: np.concatenate([row.objects[key] for row in rows]) for key in rows[0].objects}
    annotations = Annotations(np.arange(1, sum(counts) + 1), np.repeat(np.arange(len(rows)), counts), **columns)
    stored = [row.image for row in rows]
    return Images(ids, [image.name for image in stored], stored, np.array([row.size for row in rows], np.float64)), annotations


def _find_shards(pattern: str) -> list[str]:
    """The TFRecord files that a pattern names; refuses an incomplete set of shards."""
    gfile = import_tensorflow().io.gfile
    files = [pattern] if gfile.exists(pattern) else sorted(gfile.glob(pattern))
    files = [file for file in files if not file.endswith(".part") and not gfile.isdir(file)]
    if not files:
        raise FileNotFoundError(f"{pattern}: found no such files, expected TFRecords; check the path, and quote the pattern.")
    groups = defaultdict(set)
    for match in filter(None, map(_SHARD.fullmatch, files if files != [pattern] else [])):
        groups[match[1], match[3], match[4]].add(int(match[2]))
    for (stem, count, suffix), found in groups.items():
        missing = sorted(set(range(int(count))) - found)
        if missing:
            names = f"{stem}-{missing[0]:05d}-of-{count}{suffix}{' and others' if len(missing) > 1 else ''}"
            raise ValueError(
                f"{pattern}: found {len(found)} of {int(count)} shards, expected also {names}; copy them all, or name one file "
                "alone."
            )
    return files


def _read_shard(file: str, labels: RecordLabels) -> list[_RecordRow | Unusable]:
    """The records of one TFRecord file, and why for those that cannot be used."""
    tensorflow = import_tensorflow()
    from google.protobuf.message import DecodeError  # comes with TensorFlow

    with open_tfrecord(file) as opened:
        if opened.read(2) == b"\x1f\x8b":
            raise ValueError(f"{file}: found gzip, expected records as they are; unpack it with gunzip.")
    # Deprecated, and warns of it, but it needs no device, and with it the place of each record is known.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    offset, rows = 12, []  # 8 bytes of length and 4 of checksum stand before a record, 4 of checksum behind it
    try:
        for data in tensorflow.compat.v1.io.tf_record_iterator(file):
            features = tensorflow.train.Example.FromString(data).features.feature
            encoded = b"".join(_feature_values(features, "image/encoded", "bytes")[:1])
            name = _feature_text(features, "image/filename") or f"record at byte {offset - 12}"
            image = StoredImage(file, offset + data.find(encoded), len(encoded), name)
            rows.append(_read_record(image, features, labels))
            offset += len(data) + 16
    except (tensorflow.errors.OpError, DecodeError) as error:
        found = str(error).splitlines()[0]
        raise ValueError(f"{file}: found a damaged TFRecord, or none ({found}), expected whole ones; copy it again.") from None
    return rows


def _feature_values(features: Mapping, key: str, kind: str) -> Sequence:
    """The values of one feature of a TFRecord's record; empty where it has none."""
    return getattr(features[key], f"{kind}_list").value if key in features else []


def _feature_text(features: Mapping, key: str) -> str:
    """The first value of one feature of a TFRecord's record as text."""
    return b"".join(_feature_values(features, key, "bytes")[:1]).decode("utf-8", "replace")


def _read_record(image: StoredImage, features: Mapping, labels: RecordLabels) -> _RecordRow | Unusable:
    """One record read from a TFRecord, its size looked up in its image where it does not say; or why it is unusable."""
    try:
        if not image.length:
            raise Unusable("records without 'image/encoded'", "write the encoded image into each", "no image")
        sides = [_feature_values(features, f"image/{side}", "int64")[:1] for side in ("width", "height")]
        width, height = (side[0] if side and side[0] > 1 else 0 for side in sides)  # 1 is the API's word for unknown
        written = (width, height) if width and height else (0, 0)
        size = written if all(written) else _measure_stored_image(image)
        objects = _read_record_objects(features, np.array(size, np.float64), labels)
    except Unusable as unusable:
        unusable.where = str(image)
        return unusable
    return _RecordRow(
        image, _feature_text(features, "image/source_id"), (width, height) if width and height else (0, 0), objects
    )


def _measure_stored_image(image: StoredImage) -> tuple[int, int]:
    """The (width, height) of an image in a TFRecord, from its header."""
    try:
        return read_image_size(image)
    except ValueError as error:
        remedy = "write 'image/width' and 'image/height', or another image"
        raise Unusable("records without a size, whose image cannot be read", remedy, str(error)) from None


def _read_record_objects(features: Mapping, size: np.ndarray, labels: RecordLabels) -> dict[str, np.ndarray]:
    """The objects of one record of a TFRecord as columns of `Annotations`, in pixels of `size` (2,)."""
    corners = [_feature_values(features, f"image/object/bbox/{side}", "float") for side in _SIDES]
    texts = [text.decode("utf-8", "replace") for text in _feature_values(features, "image/object/class/text", "bytes")]
    ids = _feature_values(features, "image/object/class/label", "int64")
    flags = [_feature_values(features, f"image/object/{key}", "int64") for key in ("is_crowd", "group_of")]
    areas = _feature_values(features, "image/object/area", "float")
    count = len(corners[0])
    if {count} != {len(c) for c in corners} | {len(texts or ids)} | {len(v) for v in (*flags, areas) if len(v)}:
        found = f"{[len(c) for c in corners]} box sides, {len(texts or ids)} classes, {len(areas)} areas"
        raise Unusable("lists of objects that differ in length", "write one entry for each object", found)
    boxes = restore_pixels(_refuse_pixels(np.array(corners, np.float32).reshape(4, count).T), np.tile(size, 2))
    class_ids = [labels.class_id(texts[i] if texts else "", ids[i] if i < len(ids) else None) for i in range(count)]
    xy, visibility = _read_record_keypoints(features, class_ids, labels)
    return {
        "class_ids": np.array(class_ids, np.int64),
        "boxes_xywh": np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1),
        "areas": np.array(areas, np.float64) if len(areas) else np.zeros(count),
        "is_crowd": np.any([np.array(v, bool) if len(v) else np.zeros(count, bool) for v in flags], axis=0),
        "keypoints_xy": restore_pixels(xy, size),
        "visibility": visibility,
    }


def _read_record_keypoints(features: Mapping, class_ids: list[int], labels: RecordLabels) -> tuple[np.ndarray, np.ndarray]:
    """A TFRecord's points (N, K, 2) from 0 to 1, 0 where not labelled, and their visibility (N, K)."""
    schema, key = labels.schema, "image/object/keypoint/"
    axes = [_feature_values(features, key + axis, "float") for axis in "xy"]
    texts = tuple(text.decode("utf-8", "replace") for text in _feature_values(features, key + "text", "bytes"))
    visibility = np.array(_feature_values(features, key + "visibility", "int64"), np.int64)
    total = len(axes[0])
    if len(axes[1]) != total or len(visibility) not in (0, total) or len(texts) not in (0, total):
        found = f"{total} x, {len(axes[1])} y, {len(visibility)} visibilities, {len(texts)} texts"
        raise Unusable("lists of keypoints that differ in length", "write one entry for each keypoint", found)
    points = np.array(axes, np.float32).reshape(2, total).T
    # As the API reads them: what has no number is not labelled, nor is what is neither 1 nor 2.
    visibility = visibility if len(visibility) else np.full(total, 2)
    visibility = np.where(np.isfinite(points).all(1) & np.isin(visibility, (1, 2)), visibility, 0)
    points = _refuse_pixels(np.where(visibility[:, None] > 0, points, 0))
    xy = np.zeros((len(class_ids), schema.num_keypoints, 2), np.float32)
    flat = np.zeros((len(class_ids), schema.num_keypoints), np.uint8)
    for row, (class_id, own) in enumerate(zip(class_ids, _share_out_keypoints(total, class_ids, schema), strict=True)):
        if schema.classes[class_id].keypoints and own.stop > own.start:
            layout = labels.layout(class_id, own.stop - own.start, texts[own])
            xy[row, schema.keypoint_slice(class_id)] = points[own][layout]
            flat[row, schema.keypoint_slice(class_id)] = visibility[own][layout]
    return xy, flat


def _share_out_keypoints(total: int, class_ids: list[int], schema: Schema) -> list[slice]:
    """Which points of a TFRecord's record belong to which object: the same number for each, or its class's."""
    counts = [len(schema.classes[class_id].keypoints) for class_id in class_ids]
    same, rest = divmod(total, max(len(class_ids), 1))
    if not rest and (same >= max(counts, default=0) or not total):
        counts = [same] * len(class_ids)
    elif sum(counts) != total:
        remedy = "write as many for every object as all classes have together, zeros where they are not labelled"
        found = f"{total} points for {len(class_ids)} objects with {counts} keypoints"
        raise Unusable("keypoints that cannot be shared out among the objects", remedy, found)
    ends = np.cumsum(counts, dtype=int).tolist()
    return [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]


def _refuse_pixels(coordinates: np.ndarray) -> np.ndarray:
    """Coordinates of a TFRecord's record; refuses it where they are not from 0 to 1."""
    usable = np.abs(coordinates) < 4  # objects may reach over the border, but not by far
    if not usable.all():
        remedy = "divide x by the width and y by the height of the image"
        raise Unusable("coordinates that are not from 0 to 1", remedy, quote(coordinates[~usable].tolist()))
    return coordinates


def restore_pixels(shares: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Coordinates of a TFRecord, from 0 to 1 in float32 (..., n), as the pixels they were written from, float64.

    A float32 hardly ever holds x / width exactly. What comes back is the number with the fewest decimals, three at most, among
    those that would have given the same float32: labels that were written with so many come back as they were.
    """
    exact = shares.astype(np.float64) * size
    doubt = 0.51 * (np.spacing(np.abs(shares)) * size + np.spacing(np.abs(exact).astype(np.float32)))
    pixels = exact
    for digits in (3, 2, 1, 0):
        rounded = np.round(exact, digits)
        pixels = np.where(np.abs(rounded - exact) <= doubt, rounded, pixels)
    return pixels
