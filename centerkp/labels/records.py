"""Records: what every stage after reading trusts, whatever the labels were read from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from centerkp import geometry
from centerkp.images.packed import PackedImage
from centerkp.images.reading import choose_levels
from centerkp.images.sensors import Levels
from centerkp.labels.annotations import Annotations
from centerkp.labels.faults import Remarks
from centerkp.labels.image_files import Measured, fit_to_image_files
from centerkp.schema import Schema

ROUNDING = 0.01  # pixels over the border that come from rounded numbers, not from a label outside the image


@dataclass(frozen=True, eq=False)
class Record:
    """One image and its objects, in pixels of the upright image of `width` x `height`.

    N objects, 0 for an image without any: `boxes_xyxy` (N, 4) float32 inside the image, with positive area; `class_ids`
    (N,) int32 in schema order; `keypoints_xy` (N, K, 2) float32 on the schema's flat axis, 0 where not labelled;
    `visibility` (N, K) uint8, 0 not labelled or another class's keypoint, 1 or 2 as in the file; `is_crowd` (N,) bool;
    `areas` (N,) float32 as in the file, the box's where it has none; `annotation_ids` (N,) int64. `levels` is what `read_image`
    takes for black and white.
    """

    image_id: int
    path: Path | PackedImage
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
    levels: Levels | None = None


@dataclass(frozen=True, eq=False)
class LeftOutImage:
    """An image that a COCO file lists and that is no record: as its `Record` would name it."""

    image_id: int
    path: Path | PackedImage
    file_name: str


@dataclass(frozen=True, eq=False)
class Dataset:
    """What a COCO file holds: its schema, a record for each usable image, and a line for all that was mended or left out.

    `left_out` are the images without a record, since their files or sizes cannot be used. `files` are the label files that
    were read, also those in a folder.
    """

    path: Path
    schema: Schema
    records: tuple[Record, ...]
    notes: tuple[str, ...]
    left_out: tuple[LeftOutImage, ...] = ()
    files: tuple[Path, ...] = ()

    @property
    def reads(self) -> list[Path]:
        """The files of labels and pictures that a dataset was read from, and that nothing may be written over."""
        images = [*(record.path for record in self.records), *(image.path for image in self.left_out)]
        return [*self.files, *(path for path in images if isinstance(path, Path))]


@dataclass(eq=False)
class Images:
    """The images of a dataset as columns; `sizes` is (n, 2) width and height as written, 0 where nothing usable is."""

    ids: list[int]
    names: list[str]
    paths: Sequence[Any]  # of `Path` or `PackedImage`
    sizes: np.ndarray


def build_dataset(
    schema: Schema,
    images: Images,
    annotations: Annotations,
    remarks: Remarks,
    *,
    check_images: bool,
    stretch: str | None = None,
    measured: Measured | None = None,
    point_box: float | None = None,
) -> Dataset:
    """Builds a record for every usable image: fits the labels to its file, mends them, and notes what is mended or left out.

    Args:
        stretch: as in `images.reading.choose_levels`; None leaves pictures of more than 8 bits as they are.
        measured: what `measure_image_files` gave for the images, where that was done before.
        point_box: as in `make_boxes`.

    Raises:
        ValueError: no image is usable.
    """
    image_rows = annotations.image_rows
    levels = choose_levels(stretch, images.paths) if stretch else None
    if levels:
        remarks.add_sentence(
            f"pictures of more than 8 bits: {levels.black:.7g} is black and {levels.white:.7g} white, stretched"
        )
    written = images.names, images.paths, images.sizes
    sizes, scales = fit_to_image_files(*written, image_rows, check_images, remarks, levels, measured)
    if not sizes.any():
        found = "found no usable image, expected at least one; mend the images or their entries"
        raise ValueError("\n    ".join([f"{remarks.path}: {found}:", *remarks.sentences]))
    records = tuple(_build_records(images, sizes, scales, annotations, remarks, levels, point_box))
    unusable = np.flatnonzero(sizes[:, 0] <= 0).tolist()
    left_out = tuple(LeftOutImage(images.ids[row], images.paths[row], images.names[row]) for row in unusable)
    return Dataset(remarks.path, schema, records, remarks.sentences, left_out)


def _build_records(
    images: Images,
    sizes: np.ndarray,
    scales: np.ndarray,
    annotations: Annotations,
    remarks: Remarks,
    levels: Levels | None,
    point_box: float | None,
) -> list[Record]:
    """A record for each usable image, with its annotations; `sizes` is 0 for images that were left out."""
    usable = sizes[:, 0] > 0
    order = np.argsort(annotations.image_rows, kind="stable")
    order = order[usable[annotations.image_rows[order]]]
    own = Annotations(**{name: column[order] for name, column in vars(annotations).items()})
    before = np.bincount(own.image_rows, minlength=len(usable))
    image_rows, columns = _make_record_arrays(own, sizes[own.image_rows], scales[own.image_rows], remarks, point_box)
    starts = np.searchsorted(image_rows, np.arange(len(usable) + 1))
    is_empty = usable & (np.diff(starts) == 0)
    remarks.add_note("image", int((is_empty & (before == 0)).sum()), "no annotations, kept as negatives")
    remarks.add_note("image", int((is_empty & (before > 0)).sum()), "all annotations left out, kept as negatives")
    records = []
    for row in np.flatnonzero(usable).tolist():
        width, height = sizes[row].astype(int).tolist()
        arrays: dict[str, Any] = {name: column[starts[row] : starts[row + 1]] for name, column in columns.items()}
        records.append(Record(images.ids[row], images.paths[row], images.names[row], width, height, **arrays, levels=levels))
    return records


def _make_record_arrays(
    a: Annotations, sizes: np.ndarray, scales: np.ndarray, remarks: Remarks, point_box: float | None
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The arrays of all records in one: annotations in pixels of the image files, boxes inside and with an area.

    Returns:
        The image rows of the annotations that are kept, and the arrays of `Record`, all images in one.
    """
    xy = a.keypoints_xy * scales[:, None]
    outside = (a.visibility > 0) & ((xy < -ROUNDING) | (xy > sizes[:, None] + ROUNDING)).any(-1)
    xy = np.clip(xy, 0, sizes[:, None])
    visibility = np.where(outside, 0, a.visibility).astype(np.uint8)
    labelled = visibility > 0
    whole = a.boxes_xywh * np.tile(scales, 2)
    whole[:, 2:] += whole[:, :2]
    boxes = np.clip(whole, 0, np.tile(sizes, 2)).astype(np.float32)
    spans = make_boxes(xy, labelled, sizes, point_box).astype(np.float32)
    usable, rebuilt = geometry.box_areas(boxes) > 0, geometry.box_areas(spans) > 0
    reached_over = usable & (np.abs(boxes - whole) > ROUNDING).any(1)
    boxes = np.where(usable[:, None], boxes, spans)
    areas = (a.areas * scales.prod(1)).astype(np.float32)
    kept, lacking = usable | rebuilt, areas <= 0
    areas = np.where(lacking, geometry.box_areas(boxes), areas)
    remarks.add_note("keypoint", int(outside.sum()), "outside the image, read as not labelled")
    remarks.add_note("annotation", int(reached_over.sum()), "box reached over the image border, clipped")
    made, several = rebuilt & ~usable, labelled.sum(1) > 1
    margin = f"with a margin of {geometry.POINT_MARGIN:.0%} of their longer side"
    remarks.add_note("annotation", int((made & several).sum()), f"no usable box, made around the labelled keypoints {margin}")
    single = f"no usable box, one of --point-box {point_box} made around the only labelled keypoint"
    remarks.add_note("annotation", int((made & ~several).sum()), single)
    remarks.add_note("annotation", int((kept & lacking).sum()), "'area' missing or zero, the box's area used")
    _note_left_out(a.ids, whole, kept, remarks)
    columns = {
        "boxes_xyxy": boxes,
        "class_ids": a.class_ids.astype(np.int32),
        "keypoints_xy": np.where(labelled[..., None], xy, 0).astype(np.float32),
        "visibility": visibility,
        "is_crowd": a.is_crowd,
        "areas": areas,
        "annotation_ids": a.ids,
    }
    return a.image_rows[kept], {name: column[kept] for name, column in columns.items()}


def make_boxes(points: np.ndarray, labelled: np.ndarray, sizes: np.ndarray, point_box: float | None) -> np.ndarray:
    """Boxes for records of objects that have none: around their keypoints, `geometry.POINT_MARGIN` beyond, inside the image.

    Args:
        points, labelled: (N, K, 2) and (N, K) bool; sizes: (N, 2) of the images.
        point_box: the side of the square around a single place, in pixels, or below 1 as a share of the image's longer side;
            None for none.

    Returns:
        (N, 4) xyxy, without area where there is nothing to make a box of.
    """
    spans = geometry.span_points(points, labelled)
    longer = (spans[:, 2:] - spans[:, :2]).max(1)
    reach = geometry.POINT_MARGIN * longer
    if point_box:
        side = point_box if point_box >= 1 else point_box * sizes.max(1)
        reach = np.where(longer == 0, side / 2, reach)
    some = np.isfinite(longer)
    grown = np.where(some[:, None], spans + np.outer(np.where(some, reach, 0), [-1, -1, 1, 1]), 0)
    return np.clip(grown, 0, np.tile(sizes, 2))


def _note_left_out(ids: np.ndarray, boxes: np.ndarray, kept: np.ndarray, remarks: Remarks) -> None:
    """Notes the annotations that are in no record since their box cannot be used, with their ids."""
    missing, flat = np.isnan(boxes).any(1), (boxes[:, 2:] <= boxes[:, :2]).any(1)
    for why, mask in (("missing", missing), ("of zero or negative size", flat), ("outside the image", ~missing & ~flat)):
        left_out = ids[mask & ~kept]
        remarks.add_note("annotation", len(left_out), f"box {why}, left out; the ids", left_out)
