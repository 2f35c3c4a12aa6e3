"""How good the detections are: COCO box AP, OKS AP class by class, PCK@0.1 and pixel errors, as numbers and as tables."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from centerkp.average_precision import (
    MAX_KEYPOINT_DETECTIONS,
    box_precision,
    build_coco,
    keypoint_precision,
    mean_over_classes,
)
from centerkp.config import MONITORS
from centerkp.keypoint_error import measure_keypoint_errors
from centerkp.results import Detection
from centerkp.schema import Schema

if TYPE_CHECKING:
    from centerkp.data.coco import Record

_SIZES = {"small": "APs", "medium": "APm", "large": "APl"}
_SIGMA_SOURCES = {"json": "the JSON", "flag": "given", "coco": "COCO", "guess": "a guess"}
_LEGEND = (
    "PCK@0.1: share of labelled points found within 0.1 of the box's longer side.\n"
    "Median error: over the objects found, in pixels and as a share of their size\n"
    "(the square root of the annotated area)."
)
_GUESS = "OKS sigmas that are a guess decide the AP of keypoints: set oks_sigmas in the JSON's categories for a fair one."


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` measured. A number that nothing in the data could decide is None, never 0 or -1.

    Args:
        box: AP, AP50, AP75, APs, APm, APl (small, medium, large objects), AR1, AR10, AR100, ARs, ARm, ARl, as in COCO.
        box_per_class: `{class: AP}`.
        keypoints: AP, AP50, AP75, APm, APl, AR, AR50, AR75, ARm, ARl with OKS, each the mean over the classes that have it.
        keypoints_per_class: the same ten numbers by class, for the classes that have keypoints.
        pck: PCK@0.1 over all labelled keypoints; `pck_per_class` by class that has keypoints.
        per_keypoint: by "class/keypoint": `pck`, `median_px`, `median_share` of the square root of the object's area,
            and the numbers of `labelled` keypoints and of those whose object was `matched`; see `centerkp.keypoint_error`.
        sigmas: `{class: {keypoint: OKS sigma}}`; `sigma_sources` says where a class's came from (see `ObjectClass`).
        images, objects: how many images, and how many annotated objects by class, crowds left out.
        notes: one line each: what could not be measured, and what was left out.
    """

    box: dict[str, float | None]
    box_per_class: dict[str, float | None]
    keypoints: dict[str, float | None]
    keypoints_per_class: dict[str, dict[str, float | None]]
    pck: float | None
    pck_per_class: dict[str, float | None]
    per_keypoint: dict[str, dict[str, float | int | None]]
    sigmas: dict[str, dict[str, float]]
    sigma_sources: dict[str, str]
    images: int
    objects: dict[str, int]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict:
        """Everything as JSON can hold it."""
        return asdict(self) | {"notes": list(self.notes)}

    def score(self, monitor: str = "mean") -> float:
        """One number to choose the best model by, 0 to 1.

        Args:
            monitor: "box_ap", "keypoint_ap", or "mean" of the two, which is box AP alone where there is no keypoint AP.

        Raises:
            ValueError: the monitor is unknown, or the annotations cannot decide it.
        """
        box_ap, keypoint_ap = self.box["AP"], self.keypoints["AP"]
        if monitor not in MONITORS:
            raise ValueError(f"monitor: found '{monitor}', expected one of {list(MONITORS)}.")
        if monitor == "keypoint_ap":
            values = [keypoint_ap]
        else:
            values = [box_ap] if monitor == "box_ap" or keypoint_ap is None else [box_ap, keypoint_ap]
        if None in values:
            missing = "labelled keypoints" if monitor == "keypoint_ap" else "annotated objects"
            raise ValueError(
                f"monitor '{monitor}': found no {missing} in the {self.images} evaluated images, expected at least one; "
                "evaluate on images that have them or choose another monitor."
            )
        return float(np.mean(values))

    def tables(self) -> list[Table]:
        """Tables for the terminal: overall, per class, and with keypoints per keypoint."""
        tables = [_overall_table(self), _class_table(self)]
        return [*tables, _keypoint_table(self)] if self.per_keypoint else tables


def evaluate(records: Sequence["Record"], detections: Sequence[Sequence[Detection]], schema: Schema) -> Evaluation:
    """Scores the detections of annotated images; the order of images does not matter.

    Detections of a class that has no annotated object count nowhere, as in COCO's evaluation; a note says how many. Detections
    with a coordinate or score that is not finite are left out and counted too, since pycocotools takes a NaN for a match.

    Args:
        records: the annotated images, each image id once.
        detections: for each record its detections, in pixels of the same upright image; empty lists are fine and score 0.

    Raises:
        ValueError: the two differ in length, an image id stands twice, or a detection does not fit the schema.
    """
    _check(records, detections, schema)
    finite = [[d for d in found if _is_finite(d)] for found in detections]
    left_out = sum(map(len, detections)) - sum(map(len, finite))
    truth, found = build_coco(records, finite, schema)
    box, box_per_class = box_precision(truth, found, schema)
    keypoints_per_class = keypoint_precision(truth, found, schema)
    errors = measure_keypoint_errors(records, finite, schema)
    own = {c.name: schema.keypoint_slice(i) for i, c in enumerate(schema.classes) if c.keypoints}
    objects = Counter(schema.class_names[i] for r in records for i in r.class_ids[~r.is_crowd])
    notes = _missing_notes(box, keypoints_per_class, objects, finite, schema) + _crowded_notes(records, schema)
    if left_out:
        notes.append(f"Detections left out because a coordinate or the score is not finite: {left_out}.")
    return Evaluation(
        box=box,
        box_per_class=box_per_class,
        keypoints=mean_over_classes(keypoints_per_class),
        keypoints_per_class=keypoints_per_class,
        pck=errors.summarize()["pck"],
        pck_per_class={name: errors.summarize(place)["pck"] for name, place in own.items()},
        per_keypoint={name: errors.summarize(slice(k, k + 1)) for k, name in enumerate(schema.keypoint_names)},
        sigmas={c.name: dict(zip(c.keypoints, c.oks_sigmas, strict=True)) for c in schema.classes if c.keypoints},
        sigma_sources={c.name: c.sigma_source for c in schema.classes if c.keypoints},
        images=len(records),
        objects={name: objects[name] for name in schema.class_names},
        notes=tuple(notes),
    )


def ground_truth_as_detections(records: Sequence["Record"], schema: Schema) -> list[list[Detection]]:
    """The annotations as if a perfect detector had found them: every object but the crowds, with score 1.

    Keypoints that are not labelled stand at the box centre with score 0.
    """
    return [[_as_detection(r, n, schema) for n in np.flatnonzero(~r.is_crowd)] for r in records]


def _as_detection(record: "Record", n: int, schema: Schema) -> Detection:
    class_id = int(record.class_ids[n])
    c, own = schema.classes[class_id], schema.keypoint_slice(class_id)
    box = record.boxes_xyxy[n]
    labelled = record.visibility[n, own] > 0
    return Detection(
        class_id=class_id,
        class_name=c.name,
        category_id=c.category_id,
        score=1.0,
        box_xyxy=box,
        keypoint_names=c.keypoints,
        keypoints_xy=np.where(labelled[:, None], record.keypoints_xy[n, own], (box[:2] + box[2:]) / 2),
        keypoint_scores=labelled.astype(np.float32),
    )


def _check(records: Sequence["Record"], detections: Sequence[Sequence[Detection]], schema: Schema) -> None:
    if len(records) != len(detections):
        raise ValueError(
            f"detections: found lists for {len(detections)} images, expected {len(records)}, one for each record; "
            "give an empty list for an image without detections."
        )
    repeated = [image_id for image_id, count in Counter(r.image_id for r in records).items() if count > 1]
    if repeated:
        raise ValueError(f"records: found image ids {repeated[:10]} more than once, expected each once; give every image once.")
    kinds = {(i, c.name, len(c.keypoints)) for i, c in enumerate(schema.classes)}
    for record, found in zip(records, detections, strict=True):
        for d in found:
            if (d.class_id, d.class_name, len(d.keypoints_xy)) not in kinds:
                raise ValueError(
                    f"image {record.image_id}: found a detection of class {d.class_id} '{d.class_name}' with "
                    f"{len(d.keypoints_xy)} keypoints, expected one of the classes {list(schema.class_names)} with "
                    "its own keypoints; evaluate with the schema of the model that made the detections."
                )


def _is_finite(d: Detection) -> bool:
    return bool(np.isfinite(d.score) and np.isfinite(d.box_xyxy).all() and np.isfinite(d.keypoints_xy).all())


def _missing_notes(
    box: Mapping, keypoints_per_class: Mapping, objects: Counter, detections: Sequence[Sequence[Detection]], schema: Schema
) -> list[str]:
    notes = []
    found = Counter(d.class_name for image in detections for d in image)
    for c in schema.classes:
        if not objects[c.name]:
            uncounted = f"; its detections count nowhere, {found[c.name]} in all" if found[c.name] else ""
            notes.append(f"'{c.name}' has no annotated objects here{uncounted}.")
        elif c.keypoints and keypoints_per_class[c.name]["AP"] is None:
            notes.append(f"'{c.name}' has no labelled keypoints here: no keypoint AP, no PCK.")
    missing = [size for size, key in _SIZES.items() if box[key] is None]
    if objects and missing:
        notes.append(f"No {' or '.join(missing)} objects here (COCO's limits: 32 x 32 and 96 x 96 pixels of area).")
    return notes


def _crowded_notes(records: Sequence["Record"], schema: Schema) -> list[str]:
    notes = []
    for class_id, c in enumerate(schema.classes):
        own = schema.keypoint_slice(class_id)
        counts = [int(((r.visibility[:, own] > 0).any(1) & ~r.is_crowd).sum()) for r in records]
        full = sum(count > MAX_KEYPOINT_DETECTIONS for count in counts)
        if full:
            limit = f"more than {MAX_KEYPOINT_DETECTIONS} objects of '{c.name}' with keypoints"
            notes.append(
                f"Images with {limit}: {full}; COCO counts no more detections, so that keypoint AP stays below 1 there."
            )
    return notes


def print_evaluation(evaluation: Evaluation, console: Console | None = None) -> None:
    """Prints the tables and notes; readable in a terminal of 80 columns."""
    console = console or Console()
    for table in evaluation.tables():
        console.print(table)
        console.print()
    lines = [_LEGEND] if evaluation.per_keypoint else []
    if "guess" in evaluation.sigma_sources.values():
        lines.append(_GUESS)
    for line in [*lines, *(f"Note: {note}" for note in evaluation.notes)]:
        console.print(Text(line))


def _overall_table(evaluation: Evaluation) -> Table:
    count = sum(evaluation.objects.values())
    has_keypoints = bool(evaluation.keypoints_per_class)
    headings = ["AP", "AP50", "AP75", *_SIZES, "AR"] + ["PCK@0.1"] * has_keypoints
    table = _table(f"Images: {evaluation.images}, annotated objects: {count}", "", headings)
    keys = ("AP", "AP50", "AP75", *_SIZES.values())
    table.add_row("boxes", *(_share(evaluation.box[key]) for key in (*keys, "AR100")))
    if has_keypoints:
        cells = [_share(evaluation.keypoints.get(key)) for key in (*keys, "AR")]  # COCO has no OKS AP of small objects
        table.add_row("keypoints (OKS)", *cells, _share(evaluation.pck))
    return table


def _class_table(evaluation: Evaluation) -> Table:
    headings = ["objects", "box AP"]
    if evaluation.keypoints_per_class:
        headings += ["OKS AP", "OKS AP50", "OKS AP75", "PCK@0.1"]
    table = _table("By class", "", headings)
    for name, count in evaluation.objects.items():
        numbers = evaluation.keypoints_per_class.get(name, {})
        keypoint_cells = [_share(numbers.get(key)) for key in ("AP", "AP50", "AP75")]
        cells = [
            str(count),
            _share(evaluation.box_per_class[name]),
            *keypoint_cells,
            _share(evaluation.pck_per_class.get(name)),
        ]
        table.add_row(Text(name), *cells[: len(headings)])
    return table


def _keypoint_table(evaluation: Evaluation) -> Table:
    table = _table("By keypoint", "", ["labelled", "PCK@0.1", "median px", "of size", "OKS sigma", "from"])
    for name, sigmas in evaluation.sigmas.items():
        source = evaluation.sigma_sources[name]
        table.add_row(Text(name, style="bold"))
        for keypoint, sigma in sigmas.items():
            numbers = evaluation.per_keypoint[f"{name}/{keypoint}"]
            found = numbers["median_px"] is not None
            table.add_row(
                Text(f"  {keypoint}"),
                str(numbers["labelled"]),
                _share(numbers["pck"]),
                f"{numbers['median_px']:.1f}" if found else "-",
                f"{numbers['median_share']:.1%}" if found else "-",
                f"{sigma:.3f}",
                _SIGMA_SOURCES.get(source, source),
            )
    return table


def _table(title: str, first: str, headings: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column(first, overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
