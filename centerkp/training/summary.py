"""What training understood of the data, printed before the first step: nothing is guessed in silence."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from centerkp.doctor.check import check_dataset
from centerkp.labels.counts import LabelCounts, count_labels
from centerkp.labels.faults import SHOWN
from centerkp.labels.rarity import repeat_factors
from centerkp.labels.records import Record
from centerkp.schema import ObjectClass, Schema

MAX_OUT_OF_REACH = 0.1  # share of objects; a few large ones are found in part
_FLIP_SOURCES = {
    "json": "from the JSON",
    "flag": "as given",
    "names": "read from the names",
    "places": "sides read from the names, partners from the places",
    "none": "no keypoint has a side",
    "unpaired": "names look sided but no partner was found: images are NOT mirrored; give flip_pairs",
    "sided": "places show sides: images are NOT mirrored; give flip_pairs",
    "few": "too few objects to show sides: images are NOT mirrored; give flip_pairs",
}
_SIGMA_SOURCES = {
    "json": "from the JSON",
    "flag": "as given",
    "coco": "COCO's, because the names are COCO's",
    "guess": "a guess; set oks_sigmas in the JSON for fair keypoint AP",
}


def print_dataset(
    console: Console, train: Sequence[Record], val: Sequence[Record], schema: Schema, notes: Sequence[str]
) -> None:
    """Prints what training understood: images, objects, labelled points, flip pairs, OKS sigmas, and their sources."""
    counts, held = count_labels(train, schema), count_labels(val, schema)
    console.print(f"{len(train)} training images, {len(val)} validation images", style="bold")
    for note in notes:
        console.print(f"  {note}", style="yellow")
    console.print(_class_table(schema, counts, held))
    if schema.num_keypoints:
        console.print(_keypoint_table(schema, counts, held))
    grid = Table.grid(padding=(0, 2))
    for kind in schema.classes:
        if kind.keypoints:
            grid.add_row(Text(f" {kind.name}", "bold"), "flip pairs", Text(_describe_flips(kind)))
            grid.add_row("", "OKS sigmas", Text(_describe_sigmas(kind)))
    if schema.num_keypoints:
        console.print(grid)


def warn_of_labels(console: Console, coco: str | Path, val: str | Path | None = None) -> None:
    """Before training, prints a line for every kind of trouble that the doctor suspects in the labels.

    Raises:
        ValueError: labels that mean something else than the format says, such as boxes written as corners.
    """
    findings = check_dataset(coco, val=val, open_images=False).findings
    for finding in findings:
        if finding.is_misread:
            file = val if finding.part else coco
            raise ValueError(
                f"{file}: found {finding.headline}; training would be in vain, write a mended copy with: "
                f"centerkp check {file} --fix mended.json"
            )
    doubts = [finding for finding in findings if finding.level == "suspicious"]
    for finding in doubts:
        console.print(f"  {finding.headline}", style="yellow")
    if doubts:
        console.print(f"  To see where, and what to do: centerkp check {coco}", style="yellow", soft_wrap=True)


def warn_of_reach(console: Console, records: Sequence[Record], image_size: int, reach: int) -> None:
    """Before training, a line when many objects are longer than one cell sees: no training mends that."""
    scales = [np.full(len(r.boxes_xyxy), image_size / max(r.width, r.height)) for r in records]
    boxes = np.concatenate([r.boxes_xyxy for r in records])
    lengths = np.concatenate(scales) * (boxes[:, 2:] - boxes[:, :2]).max(1)
    share = float((lengths > reach).mean()) if len(lengths) else 0.0
    if share > MAX_OUT_OF_REACH:
        console.print(
            f"{share:.0%} of the objects are longer than the {reach} pixels that this network sees around a point (the median "
            f"is {np.median(lengths):.0f}): take a deeper --backbone or a smaller --image-size.",
            style="yellow",
        )  # fmt: skip


def tell_rare_classes(console: Console, records: Sequence[Record], schema: Schema, are_weighted: bool) -> None:
    """Before training, a line on classes that are on few images: how much more often these are shown, or could be."""
    factors = repeat_factors(count_labels(records, schema).images)
    rare = [f"{name} x{factor:.1f}" for name, factor in zip(schema.class_names, factors, strict=True) if factor > 1]
    if rare:
        some = ", ".join(rare[:SHOWN]) + (", ..." if len(rare) > SHOWN else "")
        does = "shows" if are_weighted else "would show"
        console.print(f"rare classes: --weight-classes {does} their images more often: {some}", soft_wrap=True)


def _class_table(schema: Schema, counts: LabelCounts, held: LabelCounts) -> Table:
    """Images and objects by class as training understood them, a table of its summary of the data."""
    table = Table("class", "category id", "train objects", "in images", "val objects", box=None, header_style="dim")
    for column in table.columns[1:]:
        column.justify = "right"
    for i, kind in enumerate(schema.classes):
        crowds = f" (+{counts.crowds[i]} crowds)" if counts.crowds[i] else ""
        numbers = f"{counts.objects[i]}{crowds}", str(counts.images[i]), str(held.objects[i])
        table.add_row(kind.name, str(kind.category_id), *numbers)
    return table


def _keypoint_table(schema: Schema, counts: LabelCounts, held: LabelCounts) -> Table:
    """Labelled points by keypoint as training understood them, a table of its summary of the data."""
    table = Table("keypoint", "labelled", "visible", "hidden", "share", "val", box=None, header_style="dim")
    for column in table.columns[1:]:
        column.justify = "right"
    for class_id in range(schema.num_classes):
        own, objects = schema.keypoint_slice(class_id), counts.objects[class_id]
        for k in range(own.start, own.stop):
            share = f"{counts.labelled[k] / objects:.0%}" if objects else "-"
            numbers = counts.labelled[k], counts.visible[k], counts.occluded[k], share, held.labelled[k]
            table.add_row(schema.keypoint_names[k], *map(str, numbers))
    return table


def _describe_flips(kind: ObjectClass) -> str:
    """Where a class's flip pairs came from, for the summary before training."""
    names = ", ".join(f"{kind.keypoints[a]} <-> {kind.keypoints[b]}" for a, b in kind.flip_pairs) or "none"
    return f"{names} ({_FLIP_SOURCES[kind.flip_source]})"


def _describe_sigmas(kind: ObjectClass) -> str:
    """Where a class's OKS sigmas came from, for the summary before training."""
    same = len(set(kind.oks_sigmas)) == 1
    values = f"{kind.oks_sigmas[0]:g} each" if same else ", ".join(
        f"{k} {s:g}" for k, s in zip(kind.keypoints, kind.oks_sigmas, strict=True)
    )  # fmt: skip
    return f"{values} ({_SIGMA_SOURCES[kind.sigma_source]})"
