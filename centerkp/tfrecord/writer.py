"""Writes records as TFRecords of the Object Detection API: sharded, images as they are, coordinates from 0 to 1."""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, BinaryIO

import cv2
import numpy as np

from centerkp.console import import_quietly
from centerkp.formats.label_map import label_ids
from centerkp.images.reading import plain_format, read_image
from centerkp.labels.records import Record
from centerkp.schema import Schema
from centerkp.writing import WriteGuard, claim_part

# The keys and types of the Object Detection API's own writer for COCO; those of keypoints where a dataset has any.
FEATURES = {
    "image/encoded": "bytes",
    "image/format": "bytes",
    "image/filename": "bytes",
    "image/source_id": "bytes",
    "image/key/sha256": "bytes",
    "image/height": "int64",
    "image/width": "int64",
    "image/object/bbox/xmin": "float",
    "image/object/bbox/xmax": "float",
    "image/object/bbox/ymin": "float",
    "image/object/bbox/ymax": "float",
    "image/object/class/text": "bytes",
    "image/object/class/label": "int64",
    "image/object/is_crowd": "int64",
    "image/object/area": "float",
    "image/object/keypoint/x": "float",
    "image/object/keypoint/y": "float",
    "image/object/keypoint/visibility": "int64",
    "image/object/keypoint/num": "int64",
    "image/object/keypoint/text": "bytes",
}
_PATTERN = re.compile(r"(?P<stem>.*)-\?+-of-(?P<count>\d+)(?P<suffix>[^/\\]*)", re.DOTALL)


@dataclass(frozen=True)
class StoredImage:
    """An encoded image inside a TFRecord, read from there when its pixels are needed; `read_image` takes it like a path.

    `file` may be an address that `tf.io.gfile` reads, such as gs://bucket/name; `offset` and `length` are bytes.
    """

    file: str
    offset: int
    length: int
    name: str

    def __str__(self) -> str:
        return f"{self.file}: {self.name}"

    @property
    def stem(self) -> str:
        """The name of an image in a TFRecord without folders and ending, as of a path."""
        return PureWindowsPath(self.name).stem

    def read_bytes(self) -> bytes:
        """The encoded image, read from its place in the TFRecord.

        Raises:
            ValueError: the file has become shorter.
        """
        with open_tfrecord(self.file) as file:
            file.seek(self.offset)
            data = file.read(self.length)
        if len(data) != self.length:
            raise ValueError(f"{self}: found {len(data)} bytes, expected {self.length}; the file changed, read it again.")
        return data


def open_tfrecord(file: str) -> BinaryIO:
    """Opens a TFRecord file for reading bytes, from the disk or from remote storage."""
    return import_tensorflow().io.gfile.GFile(file, "rb") if "://" in file else open(file, "rb")


def import_tensorflow() -> Any:
    """TensorFlow, which reads and writes TFRecords; ValueError with the remedy where it is not installed."""
    try:
        return import_quietly("tensorflow")
    except ImportError:
        raise ValueError(
            "TFRecords: found no package tensorflow, which reads and writes them, expected it beside the other backend; "
            "install it with pip install tensorflow, or train on the COCO JSON."
        ) from None


def name_shards(out: str) -> list[str]:
    """The TFRecord files that "train.record-?????-of-00010" stands for; any other name is one file.

    Raises:
        ValueError: a pattern of another form.
    """
    match = _PATTERN.fullmatch(out)
    if match and int(match["count"]):
        count = int(match["count"])
        return [f"{match['stem']}-{i:05d}-of-{count:05d}{match['suffix']}" for i in range(count)]
    if match or "?" in out or "*" in out:
        raise ValueError(
            f"{out}: found no pattern of shards, expected a file name, or one that ends as -?????-of-00010 (in quotes, so "
            "that the shell leaves it alone)."
        )
    return [out]


def check_shards(out: str | Path, reads: Iterable[str | Path] = (), overwrite: bool = False) -> list[str]:
    """The TFRecord files that `name_shards` says, after `WriteGuard` allowed them; it knows no remote storage.

    Raises:
        ValueError, FileExistsError, OSError: a pattern that is none, or as `WriteGuard.check`.
    """
    files = name_shards(str(out))
    remote = [file for file in files if "://" in file]
    if not remote:
        WriteGuard(reads, overwrite).check(files)
    elif not overwrite and any(import_tensorflow().io.gfile.exists(file) for file in remote):
        raise FileExistsError(f"{out}: found files of this name; choose another name, or replace with --overwrite.")
    return files


def write_tfrecords(
    out: str | Path, records: Sequence[Record], schema: Schema, *, overwrite: bool = False, threads: int | None = None
) -> tuple[list[str], int]:
    """Writes records as the Object Detection API's TFRecords do, record i into shard i modulo their number.

    Image files are copied byte for byte when every decoder shows them alike; others (turned by EXIF, WebP, 16 bits, ...) are
    stored as PNG, pixel for pixel what `read_image` gives. All shards appear together at the end, or none.

    Args:
        out: "train.record-?????-of-00010" for ten shards, any other name for one file.
        overwrite: replace files that exist.

    Returns:
        The files, and how many images were stored as PNG.

    Raises:
        FileExistsError: a file exists.
        ValueError: a pattern that is none, more shards than records, or an image that cannot be read.
        OSError: the files cannot be written.
    """
    gfile = import_tensorflow().io.gfile
    files = check_shards(out, [record.path for record in records if isinstance(record.path, Path)], overwrite)
    if len(files) > len(records):
        raise ValueError(f"{out}: found {len(files)} shards for {len(records)} images, expected at most one per image.")
    parts: list[str] = []
    try:
        if "://" in files[0]:
            gfile.makedirs(os.path.dirname(files[0]))
        parts += [f"{file}.part" if "://" in file else str(claim_part(Path(file))) for file in files]
        with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
            shares = (records[i :: len(files)] for i in range(len(files)))
            converted = sum(pool.map(_write_shard, parts, shares, [schema] * len(files)))
        for file in files[1:]:  # killed in between, some may be missing, but never do new ones stand beside old ones
            if gfile.exists(file):
                gfile.remove(file)
        for part, file in zip(parts, files, strict=True):
            gfile.rename(part, file, overwrite=True)
    except import_tensorflow().errors.OpError as error:
        raise OSError(f"{out}: could not be written ({error.message}); free some space, or choose another place.") from None
    finally:
        for part in parts:
            if gfile.exists(part):
                gfile.remove(part)
    return files, converted


def _write_shard(file: str, records: Sequence[Record], schema: Schema) -> int:
    """Writes records into one TFRecord file, and returns how many of their images became PNG."""
    converted = 0
    with import_tensorflow().io.TFRecordWriter(file) as writer:
        for record in records:
            data, encoding = _encode_image(record)
            converted += not encoding
            writer.write(make_example(record, schema, data, encoding or "png").SerializeToString())
    return converted


def _encode_image(record: Record) -> tuple[bytes, str | None]:
    """The bytes of an image to store in a TFRecord, and their format, None for a PNG made here."""
    encoding = plain_format(record.path)
    if encoding:
        return record.path.read_bytes(), encoding
    return cv2.imencode(".png", read_image(record.path, record.levels)[..., ::-1])[1].tobytes(), None


def make_example(record: Record, schema: Schema, data: bytes, encoding: str) -> Any:
    """The `tf.train.Example` of one record to write into a TFRecord, with the keys of `FEATURES`.

    N objects, K flat keypoints: keypoint lists have N * K entries, object after object, 0 where a point is not labelled or
    belongs to another class.

    Args:
        data: the encoded image, and its `encoding`, "jpeg" or "png".
    """
    boxes = record.boxes_xyxy / np.array([record.width, record.height] * 2, np.float64)
    ids = label_ids(schema)
    values = {
        "image/encoded": [data],
        "image/format": [encoding.encode()],
        "image/filename": [record.file_name.encode()],
        "image/source_id": [str(record.image_id).encode()],
        "image/key/sha256": [hashlib.sha256(data).hexdigest().encode()],
        "image/height": [record.height],
        "image/width": [record.width],
        "image/object/bbox/xmin": boxes[:, 0],
        "image/object/bbox/xmax": boxes[:, 2],
        "image/object/bbox/ymin": boxes[:, 1],
        "image/object/bbox/ymax": boxes[:, 3],
        "image/object/class/text": [schema.class_names[i].encode() for i in record.class_ids],
        "image/object/class/label": [ids[i] for i in record.class_ids],
        "image/object/is_crowd": record.is_crowd.astype(int),
        "image/object/area": record.areas,
    }
    if schema.num_keypoints:
        xy = record.keypoints_xy / np.array([record.width, record.height], np.float64)
        names = [name.encode() for kind in schema.classes for name in kind.keypoints]
        values |= {
            "image/object/keypoint/x": xy[..., 0].ravel(),
            "image/object/keypoint/y": xy[..., 1].ravel(),
            "image/object/keypoint/visibility": record.visibility.ravel(),
            "image/object/keypoint/num": (record.visibility > 0).sum(1),
            "image/object/keypoint/text": names * len(record.class_ids),
        }
    return _pack_features(values)


def _pack_features(values: Mapping[str, Any]) -> Any:
    """Columns of numbers or bytes as a `tf.train.Example` to write."""
    train = import_tensorflow().train
    lists = {"bytes": train.BytesList, "float": train.FloatList, "int64": train.Int64List}
    features = {
        key: train.Feature(**{f"{FEATURES[key]}_list": lists[FEATURES[key]](value=list(column))})
        for key, column in values.items()
    }
    return train.Example(features=train.Features(feature=features))
