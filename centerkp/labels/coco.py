"""Reads a COCO-format JSON into records: all checks happen here, everything after trusts them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import numpy as np

from centerkp.labels.annotations import Annotations, read_annotations
from centerkp.labels.faults import Faults, Table, read_categories, read_images
from centerkp.labels.files import find_paths, image_folders, read_json
from centerkp.labels.records import Dataset, Images, Record, build_dataset
from centerkp.schema import Schema
from centerkp.wording import count_of

__all__ = ["Dataset", "LabelCounts", "Record", "count_labels", "read_coco", "read_schema", "require_labels", "split_records"]


def read_coco(
    path: str | Path,
    *,
    images_dir: str | Path | None = None,
    schema: Schema | None = None,
    flip_pairs: Sequence[tuple[str, str]] | Mapping[str, Sequence] | None = None,
    oks_sigmas: float | Mapping[str, float] | None = None,
    check_images: bool = True,
) -> Dataset:
    """Reads a COCO dataset, mends what is harmless and refuses the rest with a report of all faults.

    Args:
        images_dir: where the images are; without it beside the JSON, in its `images/` folder, or in `../images`.
        schema: the training schema, to read a validation file: categories are matched by name, keypoints by their names.
            Without it the schema is built from the file, with `flip_pairs` and `oks_sigmas` as in `Schema.from_coco`.
        check_images: decodes every image once, compares its size with the JSON's, and leaves unreadable ones out. When
            False, the JSON's sizes are trusted, and only headers are read where it has none.

    Raises:
        FileNotFoundError: there is no such file or images folder.
        ValueError: the file is not COCO, contradicts itself or the schema, or no image is usable.
    """
    file = read_label_file(path, images_dir, schema, flip_pairs, oks_sigmas)
    return build_dataset(file.path, file.schema, file.images, file.annotations, check_images, file.notes)


@dataclass(eq=False)
class LabelFile:
    """A COCO file without faults, its images found but not opened: rows are places in the lists of `content`."""

    path: Path
    content: dict
    schema: Schema
    images: Images
    annotations: Annotations
    notes: list[str]


def read_label_file(
    path: str | Path, images_dir=None, schema: Schema | None = None, flip_pairs=None, oks_sigmas=None
) -> LabelFile:
    """Reads a COCO file as `read_coco` does, and refuses what it does, but opens no image."""
    path = Path(path)
    content, faults, notes = read_json(path), Faults(path), []
    categories = _read_categories(content, faults, notes)
    schema, places = match_schema(path, categories, schema, flip_pairs, oks_sigmas)
    table = Table(content, "images", faults, notes)
    ids, names, sizes = read_images(table)
    images = Images(ids, names, find_paths(table, names, image_folders(path, images_dir)), sizes)
    rows = {image_id: row for row, image_id in enumerate(ids) if image_id is not None}
    annotations = read_annotations(Table(content, "annotations", faults, notes), rows, names, places, schema)
    faults.raise_if_any()
    return LabelFile(path, content, schema, images, annotations, notes)


def read_schema(path: str | Path, *, flip_pairs=None, oks_sigmas=None) -> Schema:
    """The classes and keypoints of a COCO file alone; its images and annotations are not looked at.

    Args:
        flip_pairs, oks_sigmas: as in `Schema.from_coco`.

    Raises:
        FileNotFoundError, ValueError: as `read_coco`.
    """
    path = Path(path)
    return match_schema(path, _read_categories(read_json(path), Faults(path), []), None, flip_pairs, oks_sigmas)[0]


def _read_categories(content: Mapping, faults: Faults, notes: list[str]) -> list[dict]:
    categories = read_categories(Table(content, "categories", faults, notes))
    faults.raise_if_any()  # without classes nothing else can be judged
    return categories


def match_schema(path, categories, schema, flip_pairs, oks_sigmas) -> tuple[Schema, dict[int, tuple[int, list[int]]]]:
    """The schema, and for each category id its class id and the places of the class's keypoints in the file's vectors."""
    try:
        own = Schema.from_coco({"categories": categories}, flip_pairs=flip_pairs, oks_sigmas=oks_sigmas)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    schema = own if schema is None else schema
    strangers = [name for name in own.class_names if name not in schema.class_names]
    if strangers:
        raise ValueError(
            f"{path}: found the categories {strangers}, expected none but those of the training data "
            f"{list(schema.class_names)}; rename them in the file, or delete them with their annotations."
        )
    places = {}
    for kind in own.classes:
        class_id = schema.class_id(kind.name)
        names = schema.classes[class_id].keypoints
        if set(names) != set(kind.keypoints):
            raise ValueError(
                f"{path}: category '{kind.name}': found the keypoints {list(kind.keypoints)}, expected those of the training "
                f"data {list(names)} in any order; rename them in the file."
            )
        places[kind.category_id] = class_id, [kind.keypoints.index(name) for name in names]
    return schema, places


def split_records(records: Iterable[Record], fraction: float, seed: int) -> tuple[list[Record], list[Record]]:
    """Splits records into training and validation, the same way for the same images and seed in any order.

    Both sides keep the balance of the classes, have at least one record and come ordered by image id; a class that only
    one image shows stays in training.

    Args:
        fraction: the validation share, between 0 and 1.

    Raises:
        ValueError: fewer than two records, or a fraction outside (0, 1).
    """
    records = sorted(records, key=attrgetter("image_id"))
    if len(records) < 2:
        raise ValueError(f"split_records: found {len(records)} images, expected at least 2 to split; give a validation file.")
    if not 0 < fraction < 1:
        raise ValueError(f"split_records: found the validation fraction {fraction}, expected one between 0 and 1; try 0.2.")
    order = np.random.default_rng(seed).permutation(len(records))
    classes = 1 + max(int(record.class_ids.max(initial=-1)) for record in records)
    holds = np.zeros((len(records), classes + 1), bool)  # the last column: images without objects
    for row, index in enumerate(order):
        holds[row, records[index].class_ids if len(records[index].class_ids) else classes] = True
    is_val = np.zeros(len(records), bool)
    is_val[order] = _choose_validation(holds, fraction)
    sides = [[r for r, val in zip(records, is_val, strict=True) if val == side] for side in (False, True)]
    return sides[0], sides[1]


def _choose_validation(holds: np.ndarray, fraction: float) -> np.ndarray:
    """Which of the shuffled images (n, classes) are for validation, (n,) bool: shared out class by class, the rarest first."""
    totals, is_free, is_val = holds.sum(0), np.ones(len(holds), bool), np.zeros(len(holds), bool)
    for column in np.argsort(totals, kind="stable"):
        share = min(round(fraction * totals[column]), totals[column] - 1) - (holds[:, column] & is_val).sum()
        members = np.flatnonzero(holds[:, column] & is_free)
        is_val[members[: max(share, 0)]] = True
        is_free[members] = False
    # What rounding left over is made good with the images whose rarest class is the most common.
    surplus = int(is_val.sum()) - min(max(round(fraction * len(holds)), 1), len(holds) - 1)
    movable = np.flatnonzero(is_val == (surplus > 0))
    rarity = np.where(holds, totals, len(holds)).min(1)[movable]
    is_val[movable[np.argsort(-rarity, kind="stable")][: abs(surplus)]] = surplus < 0
    return is_val


@dataclass(frozen=True, eq=False)
class LabelCounts:
    """How much there is to learn from: per class (C,) and per flat keypoint (K,), all whole numbers.

    `images` counts the images with an object or a crowd region of the class. `objects` and the points, `occluded`
    (visibility 1) and `visible` (visibility 2), leave crowd regions out, which do not train.
    """

    objects: np.ndarray
    crowds: np.ndarray
    images: np.ndarray
    occluded: np.ndarray
    visible: np.ndarray

    @property
    def labelled(self) -> np.ndarray:
        """(K,) points that train."""
        return self.occluded + self.visible


def count_labels(records: Iterable[Record], schema: Schema) -> LabelCounts:
    """Counts objects, crowds, images and labelled points, for the summary before training."""
    objects, crowds, images = (np.zeros(schema.num_classes, np.int64) for _ in range(3))
    occluded, visible = (np.zeros(schema.num_keypoints, np.int64) for _ in range(2))
    for record in records:
        single = ~record.is_crowd
        objects += np.bincount(record.class_ids[single], minlength=schema.num_classes)
        crowds += np.bincount(record.class_ids[~single], minlength=schema.num_classes)
        images[np.unique(record.class_ids)] += 1
        occluded += (record.visibility[single] == 1).sum(0)
        visible += (record.visibility[single] == 2).sum(0)
    return LabelCounts(objects, crowds, images, occluded, visible)


def require_labels(records: Iterable[Record], schema: Schema) -> None:
    """Refuses to train a class that names keypoints but has no labelled one; classes without keypoint names always pass.

    Raises:
        ValueError: names every such class and what to check.
    """
    counts, empty = count_labels(records, schema), []
    for class_id, kind in enumerate(schema.classes):
        if kind.keypoints and not counts.labelled[schema.keypoint_slice(class_id)].any():
            number = count_of(int(counts.objects[class_id]), "object")
            found = f"{number}, all keypoints with visibility 0" if counts.objects[class_id] else "no objects"
            empty.append(f"'{kind.name}' (category id {kind.category_id}: {found})")
    if empty:
        raise ValueError(
            f"Training data: found no labelled keypoint for {', '.join(empty)}, expected one or more for each class that names "
            "keypoints; check that this is the right file, that annotations use this category id and that their visibility is "
            "1 or 2, or take the class or its keypoint names out of 'categories'."
        )
