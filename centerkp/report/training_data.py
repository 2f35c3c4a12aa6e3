"""What training understood of the data, printed before the first step: nothing is guessed in silence."""

from collections.abc import Sequence, Sized

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from centerkp.evaluation.tables import TextTable
from centerkp.labels.counts import LabelCounts, count_labels
from centerkp.labels.faults import SHOWN
from centerkp.labels.rarity import repeat_factors
from centerkp.labels.records import Record
from centerkp.schema import ObjectClass, Schema
from centerkp.wording import count_of, cut_table

MANY, SOME = 100, 2  # of more keypoints in all, so many flip pairs and sigmas of each class
_ALL = "report.html in the run has all"
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
    for table in count_dataset(train, val, schema, cut=True):
        console.print(table.to_rich())
        if table.rest:
            console.print(Text(table.rest, "dim"))
    grid = Table.grid(padding=(0, 2))
    table = describe_keypoints(schema, cut=True)
    for name, flips, sigmas in table.rows:
        grid.add_row(Text(f" {name}", "bold"), "flip pairs", Text(flips))
        grid.add_row("", "OKS sigmas", Text(sigmas))
    if schema.num_keypoints:
        console.print(grid)
    if table.rest:
        console.print(Text(table.rest, "dim"))


def count_images(train: Sized, val: Sized) -> str:
    """How many images a run trains and validates on, as its summary begins."""
    return f"{count_of(len(train), 'training image')}, {count_of(len(val), 'validation image')}"


def count_dataset(train: Sequence[Record], val: Sequence[Record], schema: Schema, cut: bool = False) -> list[TextTable]:
    """Tables of the summary before training: objects by class, and labelled points by keypoint if there are any.

    Of many the rarest alone, if they are to be cut.
    """
    counts, held = count_labels(train, schema), count_labels(val, schema)
    tables = [_class_table(schema, counts, held, cut)]
    return tables + [_keypoint_table(schema, counts, held, cut)] if schema.num_keypoints else tables


def describe_keypoints(schema: Schema, cut: bool = False) -> TextTable:
    """Where flip pairs and OKS sigmas of classes with keypoints came from, for the summary before training; cut if many."""
    kinds = [kind for kind in schema.classes if kind.keypoints]
    most = SOME if cut and schema.num_keypoints > MANY else schema.num_keypoints
    shown = kinds[:SHOWN] if cut and len(kinds) > 2 * SHOWN else kinds
    rest = f"{len(shown)} of {len(kinds)} classes with keypoints; {_ALL}" if len(shown) < len(kinds) else ""
    rows = [(kind.name, _describe_flips(kind, most), _describe_sigmas(kind, most)) for kind in shown]
    return TextTable("Flip pairs and OKS sigmas", ("class", "flip pairs", "OKS sigmas"), tuple(rows), rest)


def warn_of_reach(console: Console, records: Sequence[Record], image_size: tuple[int, int], reach: int) -> list[str]:
    """Before training, prints and returns a line when many objects are longer than one cell sees: no training mends that."""
    scales = [np.full((~r.is_crowd).sum(), min(image_size[0] / r.width, image_size[1] / r.height)) for r in records]
    boxes = np.concatenate([r.boxes_xyxy[~r.is_crowd] for r in records])
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


def _class_table(schema: Schema, counts: LabelCounts, held: LabelCounts, cut: bool) -> TextTable:
    """Images and objects by class as training understood them, a table of its summary of the data."""
    rows = []
    for i, kind in enumerate(schema.classes):
        crowds = f" (+{counts.crowds[i]} crowds)" if counts.crowds[i] else ""
        numbers = f"{counts.objects[i]}{crowds}", str(counts.images[i]), str(held.objects[i])
        rows.append((kind.name, str(kind.category_id), *numbers))
    used = [int(count) or None for count in counts.objects]
    shown, rest = cut_table(used, "classes, those with the fewest objects", _ALL) if cut else (range(len(rows)), "")
    headings = ("class", "category id", "train objects", "in images", "val objects")
    return TextTable("Objects", headings, tuple(rows[i] for i in shown), rest)


def _keypoint_table(schema: Schema, counts: LabelCounts, held: LabelCounts, cut: bool) -> TextTable:
    """Labelled points by keypoint as training understood them, a table of its summary of the data."""
    rows = []
    objects = counts.objects[schema.keypoint_mask.argmax(axis=0)]  # (K,) of each one's class
    for k, name in enumerate(schema.keypoint_names):
        share = f"{counts.labelled[k] / objects[k]:.0%}" if objects[k] else "-"
        numbers = counts.labelled[k], counts.visible[k], counts.occluded[k], share, held.labelled[k]
        rows.append((name, *map(str, numbers)))
    used = [int(n) if of else None for n, of in zip(counts.labelled, objects, strict=True)]
    shown, rest = cut_table(used, "keypoints, those with the fewest labels", _ALL) if cut else (range(len(rows)), "")
    headings = ("keypoint", "labelled", "visible", "hidden", "share", "val")
    return TextTable("Labelled points", headings, tuple(rows[k] for k in shown), rest)


def _describe_flips(kind: ObjectClass, most: int) -> str:
    """Where a class's flip pairs came from, for the summary before training."""
    names = _list_some([f"{kind.keypoints[a]} <-> {kind.keypoints[b]}" for a, b in kind.flip_pairs], most) or "none"
    return f"{names} ({_FLIP_SOURCES[kind.flip_source]})"


def _describe_sigmas(kind: ObjectClass, most: int) -> str:
    """Where a class's OKS sigmas came from, for the summary before training."""
    same = len(set(kind.oks_sigmas)) == 1
    values = f"{kind.oks_sigmas[0]:g} each" if same else _list_some(
        [f"{k} {s:g}" for k, s in zip(kind.keypoints, kind.oks_sigmas, strict=True)], most
    )  # fmt: skip
    return f"{values} ({_SIGMA_SOURCES[kind.sigma_source]})"


def _list_some(parts: Sequence[str], most: int) -> str:
    """The parts in a line of the summary before training; of more than `most` the first, and how many more there are."""
    return ", ".join(parts) if len(parts) <= most else ", ".join([*parts[:SOME], f"{len(parts) - SOME} more"])
