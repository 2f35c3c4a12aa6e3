"""How exactly each keypoint can be placed, measured on images that several people have annotated."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from centerkp.geometry import box_ious
from centerkp.images.kinds import real_path
from centerkp.labels.coco import read_coco, read_label_file
from centerkp.labels.faults import Remarks
from centerkp.labels.image_files import write_sizes
from centerkp.labels.records import Dataset, Record
from centerkp.labels.relocate import relocate_names
from centerkp.schema import Schema
from centerkp.wording import count_of
from centerkp.writing import WriteGuard, write_json

MIN_IOU = 0.5  # of the boxes of two annotators, to be the same object
FAR = 4  # times the median difference: no hand is that unsteady (1 in 65,000), so it was another point that was meant


@dataclass(frozen=True, eq=False)
class Sigmas:
    """OKS sigmas estimated from repeated annotation, on the flat keypoint axis (K,).

    `values` is NaN where nothing could be measured. `objects` counts the objects behind each value, `differences` what remains
    of their points once one of each is taken as given (equal to `objects` for two annotators); the standard error of a value
    is about value / (2 * sqrt(differences)). Both hold the sums of a left/right pair, which share one value.
    """

    schema: Schema
    images: int
    values: np.ndarray
    objects: np.ndarray
    differences: np.ndarray
    notes: tuple[str, ...]


def read_annotators(paths: Sequence[str | Path], images_dir: str | Path | None = None) -> list[Dataset]:
    """Reads one COCO file for each annotator, to estimate sigmas from; all with the same categories and keypoints.

    Raises:
        FileNotFoundError, ValueError: as `read_coco`, or there is one file only.
    """
    if len(paths) < 2:
        raise ValueError(f"sigmas: found {count_of(len(paths), 'file')}, expected one for each of two or more annotators.")
    first = read_coco(paths[0], images_dir=images_dir, check_images=False)
    others = [read_coco(p, images_dir=images_dir, schema=first.schema, check_images=False) for p in paths[1:]]
    return [first, *others]


def estimate_sigmas(annotators: Sequence[Dataset]) -> Sigmas:
    """Estimates OKS sigmas from images that several annotators labelled independently.

    The definition is COCO's (https://cocodataset.org/#keypoints-eval): sigma_i^2 = E[d_i^2 / s^2], where d_i is the distance
    in pixels, in the plane, between where an annotator puts keypoint i and where it truly is, and s^2 is the object's area in
    pixels (the `area` of the annotations, the box's where there is none; the mean of the annotators). OKS then takes
    exp(-d^2 / (2 s^2 k^2)) with k = 2 sigma.

    The true place is not known, so the deviations from the annotators' mean are summed, and the sum is divided by n - 1 for
    n annotators of a point (the usual unbiased variance). For two annotators at distance D this is D^2 / 2, since the
    difference of two independent placements has twice the variance of one: sigma_i = sqrt(mean(D^2 / s^2) / 2). All points
    count alike over objects: sigma_i^2 = sum of squares / sum of (n - 1). Keypoints that swap in a mirror share one value, as
    in COCO, from the objects of both.

    Images are matched by file, or else by name. Objects are matched to those of the first annotator, class by class, the
    largest overlap of boxes first, at least 0.5; crowds are left out. Only points that two or more annotators labelled count.

    Args:
        annotators: datasets of one schema, one for each annotator, as `read_annotators` reads them.

    Raises:
        ValueError: no image, or no keypoint of one object, was annotated twice, or all coordinates are the same (a copy).
    """
    schema, remarks = annotators[0].schema, Remarks(annotators[0].path)
    clusters = _match_records(annotators, remarks)
    spreads, lonely = [], 0
    for records in clusters:
        for rows in match_annotated_objects(records):
            lonely += (rows >= 0).sum() < 2
            spreads += _measure_spreads(records, rows)
    remarks.add_note("object", int(lonely), "of the first annotator found by nobody else, left out")
    if not any(spread.square for spread in spreads):
        found = "the same coordinates everywhere, as in a copy," if spreads else "no keypoint of one object labelled twice"
        raise ValueError(
            f"{annotators[0].path}: found {found} in {count_of(len(clusters), 'shared image')}, expected independent "
            "annotations of the same objects by two or more people; check that these are the right files."
        )
    keypoints, squares, free = (np.array([getattr(s, name) for s in spreads]) for name in ("keypoint", "square", "free"))
    sums = [np.bincount(keypoints, w, schema.num_keypoints) for w in (squares, free, np.ones(len(spreads)))]
    order = schema.flip_permutation
    squares, differences, objects = (np.where(order == np.arange(len(order)), s, s + s[order]) for s in sums)
    values = np.sqrt(np.divide(squares, differences, out=np.zeros(len(order)), where=differences > 0))
    _note_large_differences(spreads, schema, remarks)
    values[values == 0] = np.nan
    return Sigmas(schema, len(clusters), values, objects.astype(int), differences.astype(int), remarks.sentences)


def write_sigmas(
    path: str | Path, sigmas: Sigmas, out: str | Path, *, images_dir: str | Path | None = None, overwrite: bool = False
) -> Path:
    """Writes a copy of a COCO file whose categories carry the sigmas as `oks_sigmas`, three digits each.

    A keypoint without a measured sigma keeps the one that the schema had for it.

    Raises:
        FileExistsError: `out` is there already.
        FileNotFoundError, ValueError: as `read_coco`.
    """
    out = Path(out)
    source = read_label_file(path, images_dir)
    WriteGuard([*source.files, *source.images.paths], overwrite).check([out])
    values = np.where(np.isnan(sigmas.values), sigmas.schema.oks_sigmas, sigmas.values)
    categories = []
    for category in source.content["categories"]:
        class_id = sigmas.schema.class_id(str(category["name"]))
        names = sigmas.schema.classes[class_id].keypoints
        own = dict(zip(names, values[sigmas.schema.keypoint_slice(class_id)], strict=True))
        ordered = [float(f"{own[str(name)]:.3g}") for name in category.get("keypoints") or []]
        categories.append(category | ({"oks_sigmas": ordered} if ordered else {}))
    images = write_sizes(source.content["images"], source.images.paths, source.images.sizes)
    names = relocate_names([image["file_name"] for image in images], source.images.paths, out)
    images = [image | {"file_name": name} for image, name in zip(images, names, strict=True)]
    return write_json(out, source.content | {"images": images, "categories": categories})


def _match_records(annotators: Sequence[Dataset], remarks: Remarks) -> list[list[Record | None]]:
    """For each image that several annotators labelled: their records, None where an annotator does not have it."""
    columns, first = [list(annotators[0].records)], annotators[0].records
    for other in annotators[1:]:
        partners = max(
            (_match_by_key(first, other.records, key) for key in _KEYS), key=lambda found: sum(r is not None for r in found)
        )
        resized = [
            r is not None and (r.width, r.height) != (own.width, own.height) for r, own in zip(partners, first, strict=True)
        ]
        remarks.add_note("image", sum(resized), f"of another size in {other.path.name}, left out")
        columns.append([None if skip else r for r, skip in zip(partners, resized, strict=True)])
    clusters = [list(records) for records in zip(*columns, strict=True) if any(records[1:])]
    if not clusters:
        some = [d.records[0].file_name for d in annotators]
        raise ValueError(
            f"{annotators[0].path}: found no image that another file holds too (the first names: {some}), expected the same "
            "images annotated again; give their names alike."
        )
    return clusters


_KEYS: tuple[Callable[[Any], object], ...] = (
    lambda record: real_path(record.path),
    lambda record: record.file_name.replace("\\", "/").removeprefix("./"),
    lambda record: record.path.name,
)


def _match_by_key(first: Sequence[Record], other: Sequence[Record], key: Callable[[Record], object]) -> list[Record | None]:
    """The other annotator's record of each image by a key; a key that stands twice on either side fits none."""
    sides = []
    for records in (first, other):
        seen: dict[object, Record | None] = {}
        for record in records:
            seen[key(record)] = None if key(record) in seen else record
        sides.append(seen)
    return [sides[1].get(key(record)) if sides[0][key(record)] else None for record in first]


def match_annotated_objects(records: Sequence[Record | None]) -> np.ndarray:
    """Which objects of several annotators are one: (N, annotators) places in their records, -1 for none, no crowds."""
    first = records[0]
    rows = np.full((len(first.class_ids), len(records)), -1)
    rows[:, 0] = np.arange(len(first.class_ids))
    for column, other in enumerate(records):
        if column == 0 or other is None:
            continue
        overlap = box_ious(first.boxes_xyxy, other.boxes_xyxy)
        allowed = (first.class_ids[:, None] == other.class_ids) & ~first.is_crowd[:, None] & ~other.is_crowd
        overlap[~allowed] = 0
        while overlap.size and overlap.max() >= MIN_IOU:
            a, b = np.unravel_index(overlap.argmax(), overlap.shape)
            rows[a, column] = b
            overlap[a], overlap[:, b] = 0, 0
    return rows[~first.is_crowd]


class _Spread(NamedTuple):
    """How far one keypoint of one object was placed apart: squared deviations from the mean, as a share of the area."""

    keypoint: int
    square: float  # summed over the annotators
    free: int  # annotators - 1
    image: str


def _measure_spreads(records: Sequence[Record | None], rows: np.ndarray) -> list[_Spread]:
    """How far apart annotators placed each keypoint of one object; `rows` is its place in each record, -1 for none."""
    held = [(record, row) for record, row in zip(records, rows, strict=True) if row >= 0]
    area = np.mean([record.areas[row] for record, row in held])
    points = np.array([record.keypoints_xy[row] for record, row in held], np.float64)  # (n, K, 2)
    labelled = np.array([record.visibility[row] for record, row in held]) > 0
    spreads = []
    for k in np.flatnonzero(labelled.sum(0) > 1):
        own = points[labelled[:, k], k]
        square = ((own - own.mean(0)) ** 2).sum() / area
        spreads.append(_Spread(int(k), float(square), len(own) - 1, held[0][0].file_name))
    return spreads


def _note_large_differences(spreads: Sequence[_Spread], schema: Schema, remarks: Remarks) -> None:
    """Notes differences between annotators that are too large to come from an unsteady hand."""
    keypoints = np.array([spread.keypoint for spread in spreads])
    sizes = np.sqrt([spread.square / spread.free for spread in spreads])
    medians = {k: np.median(sizes[keypoints == k]) for k in set(keypoints.tolist())}
    ratios = np.array([size / max(medians[k], 1e-9) for k, size in zip(keypoints.tolist(), sizes, strict=True)])
    far = np.argsort(-ratios)[: (ratios > FAR).sum()]
    names = [f"{schema.keypoint_names[keypoints[i]]} in {spreads[i].image}" for i in far]
    text = f"more than {FAR} times the keypoint's median, which raises its sigma; swapped labels?"
    remarks.add_note("difference", len(far), text, names)
