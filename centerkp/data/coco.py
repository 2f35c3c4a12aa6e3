"""Reads a COCO-format JSON into records: all checks happen here, everything after trusts them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import numpy as np

from centerkp import geometry
from centerkp.data.faults import Annotations, Faults, Table, add_note, count_of, read_annotations, read_categories
from centerkp.data.files import find_paths, fit_frames, image_folders, read_json
from centerkp.schema import Schema

ROUNDING = 0.01  # pixels over the border that come from rounded numbers, not from a label outside the image


@dataclass(frozen=True, eq=False)
class Record:
    """One image and its objects, in pixels of the upright image of `width` x `height`.

    N objects, 0 for an image without any: `boxes_xyxy` (N, 4) float32 inside the image, with positive area; `class_ids`
    (N,) int32 in schema order; `keypoints_xy` (N, K, 2) float32 on the schema's flat axis, 0 where not labelled;
    `visibility` (N, K) uint8, 0 not labelled or another class's keypoint, 1 or 2 as in the file; `is_crowd` (N,) bool;
    `areas` (N,) float32 as in the file, the box's where it has none; `annotation_ids` (N,) int64.
    """

    image_id: int
    path: Path
    file_name: str
    width: int
    height: int
    boxes_xyxy: np.ndarray
    class_ids: np.ndarray
    keypoints_xy: np.ndarray
    visibility: np.ndarray
    is_crowd: np.ndarray
    areas: np.ndarray
    annotation_ids: np.ndarray


@dataclass(frozen=True, eq=False)
class Dataset:
    """What a COCO file holds: its schema, a record for each usable image, and a line for all that was mended or left out."""

    path: Path
    schema: Schema
    records: tuple[Record, ...]
    notes: tuple[str, ...]


@dataclass(eq=False)
class _Images:
    """The list of images as columns; `sizes` is (n, 2) width and height of the JSON, 0 where it says nothing usable."""

    ids: list[int]
    names: list[str]
    paths: list[Path]
    sizes: np.ndarray


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
    path = Path(path)
    content, faults, notes = read_json(path), Faults(path), []
    categories = read_categories(Table(content, "categories", faults, notes))
    faults.raise_if_any()  # without classes nothing else can be judged
    schema, places = _match_schema(path, categories, schema, flip_pairs, oks_sigmas)
    images = _read_images(Table(content, "images", faults, notes), path, images_dir)
    rows = {image_id: row for row, image_id in enumerate(images.ids) if image_id is not None}
    annotations = read_annotations(Table(content, "annotations", faults, notes), rows, images.names, places, schema)
    faults.raise_if_any()
    sizes, scales = fit_frames(images.names, images.paths, images.sizes, annotations.image_rows, check_images, notes)
    if not sizes.any():
        report = "\n".join(f"    {note}" for note in notes)
        raise ValueError(f"{path}: found no usable image, expected at least one; mend the images or their entries:\n{report}")
    records = _build_records(images, sizes, scales, annotations, notes)
    return Dataset(path, schema, tuple(records), tuple(notes))


def _match_schema(path, categories, schema, flip_pairs, oks_sigmas) -> tuple[Schema, dict[int, tuple[int, list[int]]]]:
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


def _read_images(table: Table, path: Path, images_dir: str | Path | None) -> _Images:
    ids = table.integers("id")
    table.refuse_repeated(ids)
    names = [name if isinstance(name, str) else "" for name in table.column("file_name")]
    table.fault([r for r, n in enumerate(names) if not n], "file_name", "images without 'file_name'", "write the file's name")
    sides = [[side or 0 for side in table.integers(key, optional=True)] for key in ("width", "height")]
    sizes = np.array(sides, np.float64).T
    sizes[(sizes <= 0).any(1)] = 0
    return _Images(ids, names, find_paths(table, names, image_folders(path, images_dir)), sizes)


def _build_records(images: _Images, sizes, scales, annotations: Annotations, notes: list[str]) -> list[Record]:
    """Hands each usable image its mended annotations; `sizes` is 0 for images that were left out."""
    usable = sizes[:, 0] > 0
    order = np.argsort(annotations.image_rows, kind="stable")
    order = order[usable[annotations.image_rows[order]]]
    own = Annotations(**{name: column[order] for name, column in vars(annotations).items()})
    before = np.bincount(own.image_rows, minlength=len(usable))
    image_rows, columns = _mend(own, sizes[own.image_rows], scales[own.image_rows], notes)
    starts = np.searchsorted(image_rows, np.arange(len(usable) + 1))
    is_empty = usable & (np.diff(starts) == 0)
    add_note(notes, "image", int((is_empty & (before == 0)).sum()), "no annotations, kept as negatives")
    add_note(notes, "image", int((is_empty & (before > 0)).sum()), "all annotations left out, kept as negatives")
    records = []
    for row in np.flatnonzero(usable).tolist():
        width, height = sizes[row].astype(int).tolist()
        arrays = {name: column[starts[row] : starts[row + 1]] for name, column in columns.items()}
        records.append(Record(images.ids[row], images.paths[row], images.names[row], width, height, **arrays))
    return records


def _mend(a: Annotations, sizes, scales, notes: list[str]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Moves annotations into the frame of the files, `sizes` (N, 2), and makes every box lie inside with positive area.

    Returns:
        The image rows of the annotations that are kept, and the arrays of `Record`, all images in one.
    """
    xy = a.keypoints_xy * scales[:, None]
    outside = (a.visibility > 0) & ((xy < -ROUNDING) | (xy > sizes[:, None] + ROUNDING)).any(-1)
    xy = np.clip(xy, 0, sizes[:, None])
    visibility = np.where(outside, 0, a.visibility).astype(np.uint8)
    labelled = (visibility > 0)[..., None]
    whole = a.boxes_xywh * np.tile(scales, 2)
    whole[:, 2:] += whole[:, :2]
    boxes = np.clip(whole, 0, np.tile(sizes, 2)).astype(np.float32)
    low = np.where(labelled, xy, np.inf).min(1, initial=np.inf)
    high = np.where(labelled, xy, -np.inf).max(1, initial=-np.inf)
    spans = np.concatenate([low, high], axis=1).astype(np.float32)
    usable, rebuilt = geometry.box_areas(boxes) > 0, geometry.box_areas(spans) > 0
    reached_over = usable & (np.abs(boxes - whole) > ROUNDING).any(1)
    boxes = np.where(usable[:, None], boxes, spans)
    areas = (a.areas * scales.prod(1)).astype(np.float32)
    kept, lacking = usable | rebuilt, areas <= 0
    areas = np.where(lacking, geometry.box_areas(boxes), areas)
    add_note(notes, "keypoint", int(outside.sum()), "outside the image, read as not labelled")
    add_note(notes, "annotation", int(reached_over.sum()), "box reached over the image border, clipped")
    add_note(notes, "annotation", int((rebuilt & ~usable).sum()), "no usable box, rebuilt from the labelled keypoints")
    add_note(notes, "annotation", int((kept & lacking).sum()), "'area' missing or zero, the box's area used")
    _note_left_out(a.ids, whole, kept, notes)
    columns = {
        "boxes_xyxy": boxes,
        "class_ids": a.class_ids.astype(np.int32),
        "keypoints_xy": np.where(labelled, xy, 0).astype(np.float32),
        "visibility": visibility,
        "is_crowd": a.is_crowd,
        "areas": areas,
        "annotation_ids": a.ids,
    }
    return a.image_rows[kept], {name: column[kept] for name, column in columns.items()}


def _note_left_out(ids: np.ndarray, boxes: np.ndarray, kept: np.ndarray, notes: list[str]) -> None:
    missing, flat = np.isnan(boxes).any(1), (boxes[:, 2:] <= boxes[:, :2]).any(1)
    for why, mask in (("missing", missing), ("of zero or negative size", flat), ("outside the image", ~missing & ~flat)):
        left_out = ids[mask & ~kept]
        add_note(notes, "annotation", len(left_out), f"box {why}, left out; the ids", left_out)


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
