"""What training understood of the data, printed before the first step: nothing is guessed in silence."""

from collections.abc import Sequence, Sized
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from centerkp.doctor.check import check_dataset
from centerkp.evaluation.tables import TextTable
from centerkp.labels.counts import LabelCounts, count_labels
from centerkp.labels.faults import SHOWN
from centerkp.labels.rarity import repeat_factors
from centerkp.labels.records import Record
from centerkp.schema import ObjectClass, Schema
from centerkp.wording import count_of

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
    console.print(count_images(train, val), style="bold")
    for note in notes:
        console.print(f"  {note}", style="yellow")
    for table in count_dataset(train, val, schema):
        console.print(table.to_rich())
    grid = Table.grid(padding=(0, 2))
    for name, flips, sigmas in describe_keypoints(schema).rows:
        grid.add_row(Text(f" {name}", "bold"), "flip pairs", Text(flips))
        grid.add_row("", "OKS sigmas", Text(sigmas))
    if schema.num_keypoints:
        console.print(grid)


def count_images(train: Sized, val: Sized) -> str:
    """How many images a run trains and validates on, as its summary begins."""
    return f"{count_of(len(train), 'training image')}, {count_of(len(val), 'validation image')}"


def count_dataset(train: Sequence[Record], val: Sequence[Record], schema: Schema) -> list[TextTable]:
    """Tables of the summary before training: objects by class, and labelled points by keypoint if there are any."""
    counts, held = count_labels(train, schema), count_labels(val, schema)
    tables = [_class_table(schema, counts, held)]
    return tables + [_keypoint_table(schema, counts, held)] if schema.num_keypoints else tables


def describe_keypoints(schema: Schema) -> TextTable:
    """Where the flip pairs and OKS sigmas of every class with keypoints came from, for the summary before training."""
    rows = [(kind.name, _describe_flips(kind), _describe_sigmas(kind)) for kind in schema.classes if kind.keypoints]
    return TextTable("Flip pairs and OKS sigmas", ("class", "flip pairs", "OKS sigmas"), tuple(rows))


def warn_of_labels(console: Console, coco: str | Path, val: str | Path | None = None) -> list[str]:
    """Before training, prints and returns a line for every kind of trouble that the doctor suspects in the labels.

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
    doubts = [finding.headline for finding in findings if finding.level == "suspicious"]
    lines = [*doubts, f"To see where, and what to do: centerkp check {coco}"] if doubts else []
    for line in lines:
        console.print(f"  {line}", style="yellow", soft_wrap=line not in doubts)
    return lines


def warn_of_reach(console: Console, records: Sequence[Record], image_size: int, reach: int) -> list[str]:
    """Before training, prints and returns a line when many objects are longer than one cell sees: no training mends that."""
    scales = [np.full(len(r.boxes_xyxy), image_size / max(r.width, r.height)) for r in records]
    boxes = np.concatenate([r.boxes_xyxy for r in records])
    lengths = np.concatenate(scales) * (boxes[:, 2:] - boxes[:, :2]).max(1)
    share = float((lengths > reach).mean()) if len(lengths) else 0.0
    if share <= MAX_OUT_OF_REACH:
        return []
    line = (
        f"{share:.0%} of the objects are longer than the {reach} pixels that this network sees around a point (the median "
        f"is {np.median(lengths):.0f}): take a deeper --backbone or a smaller --image-size."
    )
    console.print(line, style="yellow")
    return [line]


def tell_rare_classes(console: Console, records: Sequence[Record], schema: Schema, are_weighted: bool) -> list[str]:
    """Before training, prints and returns a line on classes of few images: how much oftener these are shown, or could be."""
    factors = repeat_factors(count_labels(records, schema).images)
    rare = [f"{name} x{factor:.1f}" for name, factor in zip(schema.class_names, factors, strict=True) if factor > 1]
    if not rare:
        return []
    some = ", ".join(rare[:SHOWN]) + (", ..." if len(rare) > SHOWN else "")
    line = f"rare classes: --weight-classes {'shows' if are_weighted else 'would show'} their images more often: {some}"
    console.print(line, soft_wrap=True)
    return [line]


def _class_table(schema: Schema, counts: LabelCounts, held: LabelCounts) -> TextTable:
    """Images and objects by class as training understood them, a table of its summary of the data."""
    rows = []
    for i, kind in enumerate(schema.classes):
        crowds = f" (+{counts.crowds[i]} crowds)" if counts.crowds[i] else ""
        numbers = f"{counts.objects[i]}{crowds}", str(counts.images[i]), str(held.objects[i])
        rows.append((kind.name, str(kind.category_id), *numbers))
    return TextTable("Objects", ("class", "category id", "train objects", "in images", "val objects"), tuple(rows))


def _keypoint_table(schema: Schema, counts: LabelCounts, held: LabelCounts) -> TextTable:
    """Labelled points by keypoint as training understood them, a table of its summary of the data."""
    rows = []
    for class_id in range(schema.num_classes):
        own, objects = schema.keypoint_slice(class_id), counts.objects[class_id]
        for k in range(own.start, own.stop):
            share = f"{counts.labelled[k] / objects:.0%}" if objects else "-"
            numbers = counts.labelled[k], counts.visible[k], counts.occluded[k], share, held.labelled[k]
            rows.append((schema.keypoint_names[k], *map(str, numbers)))
    return TextTable("Labelled points", ("keypoint", "labelled", "visible", "hidden", "share", "val"), tuple(rows))


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
