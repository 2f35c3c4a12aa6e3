"""Reads a COCO JSON: file -> tables -> annotations -> records. All checks happen here, everything after trusts them."""

from dataclasses import replace
from typing import Any

from centerkp.labels.content import Paths, release
from centerkp.labels.joining import open_label_files
from centerkp.labels.label_file import LabelFile, read_source, schema_of
from centerkp.labels.records import Dataset, build_dataset
from centerkp.schema import OksSigmas, Schema
from centerkp.sides import FlipPairs
from centerkp.symmetry.verdict import settle_sides


def read_coco(
    path: Paths,
    *,
    images_dir: Paths | None = None,
    schema: Schema | None = None,
    flip_pairs: FlipPairs = None,
    oks_sigmas: OksSigmas = None,
    check_images: bool = True,
    stretch: str | None = None,
) -> Dataset:
    """Reads a COCO JSON with its images, mends what is harmless and refuses the rest with a report of all faults.

    Args:
        path: one file, or several that are joined as `merge_coco` does.
        images_dir: where the images are, one folder for all files or one for each; without it beside the JSON, in its
            `images/` folder, or in `../images`.
        schema: the training schema, to read a validation file: categories are matched by name, keypoints by their names.
            Without it the schema is built from the file, with `flip_pairs` and `oks_sigmas` as in `Schema.from_coco`, and
            the places of keypoints have a say in what swaps (`settle_sides`).
        check_images: decodes every image once, compares its size with the JSON's, and leaves unreadable ones out. When
            False, the JSON's sizes are trusted, and only headers are read where it has none.
        stretch: what is black and white in pictures of more than 8 bits, as "7500,7560"; "auto" measures the range that they
            use. Without it they keep their whole range.

    Raises:
        FileNotFoundError: there is no such file or images folder.
        ValueError: the file is not COCO, contradicts itself or the schema, or no image is usable.
    """
    file = read_label_file(path, images_dir, schema, flip_pairs, oks_sigmas)
    release(file.content)
    return make_dataset(file, settle=schema is None, check_images=check_images, stretch=stretch)


def make_dataset(file: LabelFile, *, settle: bool, **options: Any) -> Dataset:
    """The records of a COCO file that was read; `settle` lets places decide on flip pairs, `options` as in `build_dataset`."""
    if settle:
        file.schema, notes = settle_sides(file.schema, vars(file.annotations))
        for note in notes:
            file.remarks.add_sentence(note.sentence)
    dataset = build_dataset(file.schema, file.images, file.annotations, file.remarks, **options)
    return replace(dataset, files=tuple(file.files))


def read_label_file(
    path: Paths,
    images_dir: Paths | None = None,
    schema: Schema | None = None,
    flip_pairs: FlipPairs = None,
    oks_sigmas: OksSigmas = None,
) -> LabelFile:
    """Reads a COCO file as `read_coco` does, and refuses what it does, but opens no image and changes nothing."""
    return read_source(open_label_files(path, images_dir), schema, flip_pairs, oks_sigmas)


def read_schema(
    path: Paths, images_dir: Paths | None = None, *, flip_pairs: FlipPairs = None, oks_sigmas: OksSigmas = None
) -> Schema:
    """The classes and keypoints of a COCO file alone; only of several files the images and annotations are looked at.

    Args:
        path, images_dir, flip_pairs, oks_sigmas: as in `read_coco`.

    Raises:
        FileNotFoundError, ValueError: as `read_coco`.
    """
    source = open_label_files(path, images_dir)
    return schema_of(source.path, source.content, flip_pairs, oks_sigmas)
