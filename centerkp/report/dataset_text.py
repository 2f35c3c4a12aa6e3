"""The doctor's report on a terminal: verdict, findings, then the numbers of the dataset."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from centerkp.doctor.check import Checkup
from centerkp.doctor.findings import Finding
from centerkp.doctor.look import describe_looks
from centerkp.doctor.statistics import EDGES, Statistics
from centerkp.doctor.verdict import verdict
from centerkp.schema import Schema
from centerkp.wording import count_of, cut_table, name_canvas

TITLES = {
    "unusable": "training would stop here",
    "mendable": "wrong, and mended by --fix",
    "suspicious": "perhaps wrong, look at the pictures",
    "advice": "advice",
    "note": "good to know",
}
MISREAD = "training would stop here until --fix has mended it"
VAL_MENDABLE = "wrong in the validation file, and mended by 'centerkp check' of that file with --fix"
_STYLES = {"unusable": "bold red", "mendable": "yellow", "suspicious": "magenta", "advice": "cyan", "note": "dim"}
_SHOWN = {"unusable": 5, "mendable": 3, "suspicious": 3, "advice": 2, "note": 0}  # places of each finding
_BLOCKS = " ▁▂▃▄▅▆▇█"


def print_checkup(console: Console, checkup: Checkup) -> None:
    """Prints what the doctor found, the most important first, and the tables of classes and keypoints."""
    console.print(Text(str(checkup.path), "bold"))
    for line in describe_dataset(checkup):
        console.print(line)
    console.print(Text(f"\n{verdict(checkup.findings)}", "bold"))
    for title, findings in groupby(checkup.findings, _finding_title):
        first, *others = findings
        console.print(Text(f"\n{title.capitalize()}", _STYLES[first.level]))
        for finding in (first, *others):
            _print_finding(console, finding)
    if checkup.statistics is not None:
        _print_tables(console, checkup.schema, checkup.statistics)


def print_mended(console: Console, out: str, changes: Sequence[Finding]) -> None:
    """Prints what the doctor's mended copy has otherwise than the original."""
    console.print(Text(f"\nwrote {out}", "bold"), soft_wrap=True)
    for change in changes:
        console.print(f"  {change.headline}")
    if not changes:
        console.print("  nothing had to be mended")


def _finding_title(finding: Finding) -> str:
    """The title under which a finding is printed; --fix writes the training file alone."""
    if finding.is_misread:
        return MISREAD
    return VAL_MENDABLE if finding.level == "mendable" and finding.part else TITLES[finding.level]


def describe_dataset(checkup: Checkup) -> list[str]:
    """The size of the doctor's dataset in a line or two of text."""
    if checkup.reading is None:
        return []
    lines = [count_of(checkup.reading.num_images, "image")]
    if checkup.statistics is not None:
        statistics, schema = checkup.statistics, checkup.schema
        crowds = f" and {count_of(int(statistics.crowds.sum()), 'crowd')}" if statistics.crowds.any() else ""
        objects = f"{count_of(int(statistics.objects.sum()), 'object')}{crowds}"
        lines[0] += f", {objects} of {count_of(schema.num_classes, 'class')}, {count_of(schema.num_keypoints, 'keypoint')}"
    if checkup.images.looks:
        lines.append(f"on disk: {describe_looks(checkup.images.looks)}")
    return lines


def _print_finding(console: Console, finding: Finding) -> None:
    """Prints one of the doctor's findings with its places and its remedy."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=2)
    grid.add_column(overflow="fold")
    grid.add_row(Text("*", _STYLES[finding.level]), Text(finding.headline))
    shown = finding.places[: _SHOWN[finding.level]]
    for place in shown:
        grid.add_row("", Text(place, "dim"))
    if shown and finding.count > len(shown):
        grid.add_row("", Text(f"and {max(len(finding.rows), len(finding.places), len(shown)) - len(shown)} more", "dim"))
    if finding.remedy:
        grid.add_row("", Text(f"-> {finding.remedy}"))
    console.print(grid)


def _print_tables(console: Console, schema: Schema, statistics: Statistics) -> None:
    """Prints the doctor's tables of classes and of keypoints."""
    at = name_canvas(*statistics.image_size)
    table = Table("class", "objects", "images", "median side", f"sides at {at}", box=None, header_style="dim")
    for column in table.columns[1:4]:
        column.justify = "right"
    counts = [int(count) or None for count in statistics.objects]
    shown, rest = cut_table(counts, "classes, those with the fewest objects", "--html shows all")
    for class_id in shown:
        kind = schema.classes[class_id]
        crowds = f" (+{statistics.crowds[class_id]} crowds)" if statistics.crowds[class_id] else ""
        median = statistics.median_side[class_id]
        table.add_row(
            Text(kind.name),
            f"{statistics.objects[class_id]}{crowds}",
            str(statistics.images[class_id]),
            "-" if np.isnan(median) else f"{median:.0f} px",
            draw_blocks(statistics.histogram[class_id]),
        )
    console.print()
    console.print(table)
    if rest:
        console.print(Text(f" {rest}", "dim"))
    steps = " ".join(str(edge) for edge in EDGES[1:-1])
    suggested = f"; suggested --image-size {name_canvas(*statistics.suggested_input)}" if statistics.suggested_size else ""
    console.print(Text(f" sides under {steps} px and more{suggested}", "dim"))
    if schema.num_keypoints:
        console.print()
        table, rest = _keypoint_table(schema, statistics)
        console.print(table)
        if rest:
            console.print(Text(f" {rest}", "dim"))


def _keypoint_table(schema: Schema, statistics: Statistics) -> tuple[Table, str]:
    """The doctor's printed table of keypoints, of many those with the fewest labels, and a line on the others."""
    table = Table("keypoint", "labelled", "visible", "hidden", "share", box=None, header_style="dim")
    for column in table.columns[1:]:
        column.justify = "right"
    owners = schema.keypoint_mask.argmax(axis=0).tolist()
    labelled = (statistics.visible + statistics.occluded).tolist()
    used = [count if statistics.objects[c] else None for count, c in zip(labelled, owners, strict=True)]
    shown, rest = cut_table(used, "keypoints, those with the fewest labels", "--html shows all")
    for k in shown:
        table.add_row(Text(schema.keypoint_names[k]), *keypoint_cells(statistics, k, owners[k]))
    return table, rest


def keypoint_cells(statistics: Statistics, keypoint: int, class_id: int) -> list[str]:
    """A keypoint as the doctor counted it, in texts: labelled, visible, hidden, and the share of the class's objects."""
    visible, hidden, objects = statistics.visible[keypoint], statistics.occluded[keypoint], statistics.objects[class_id]
    share = f"{(visible + hidden) / objects:.0%}" if objects else "-"
    return [str(visible + hidden), str(visible), str(hidden), share]


def draw_blocks(counts: np.ndarray) -> str:
    """A histogram in text, of one block character a bin; what is there at all is never empty."""
    top = max(int(counts.max(initial=0)), 1)
    return "".join(_BLOCKS[0 if not n else max(1, round(8 * n / top))] for n in counts)
