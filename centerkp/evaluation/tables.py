"""Evaluations as tables: the same cells for the terminal and for a page, of one model or of several side by side."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from rich.console import Console
from rich.table import Table
from rich.text import Text

from centerkp.console import make_console
from centerkp.evaluation.average_precision import BOX_NUMBERS
from centerkp.evaluation.evaluate import Evaluation
from centerkp.evaluation.keypoint_error import PCK_SHARES
from centerkp.wording import cut_table

SHOWN_SHARES = (0.02, 0.05, 0.1, 0.2, 0.3)  # of the PCK curve
SHOWN_CLASSES = 6  # a larger confusion matrix does not fit a terminal
SHOWN_MISTAKES = 12
_SIGMA_SOURCES = {"json": "JSON", "flag": "given", "coco": "COCO", "guess": "guess"}
_MEANINGS = {
    "AP": "mean of IoU 0.50 to 0.95",
    "AP50": "at IoU 0.50",
    "AP75": "at IoU 0.75",
    "APs": "small, area to 32 x 32",
    "APm": "medium, to 96 x 96",
    "APl": "large",
    "AR1": "1 detection per image",
    "AR10": "10 detections",
    "ARs": "small",
    "ARm": "medium",
    "ARl": "large",
}
# Where COCO's two evaluations measure the same; OKS has no small objects, and one limit of 20 detections.
_OKS_NAMES = {"AP": "AP", "AP50": "AP50", "AP75": "AP75", "APm": "APm", "APl": "APl", "AR100": "AR", "ARm": "ARm", "ARl": "ARl"}
_LEGEND = (
    "PCK@0.1: share of labelled points found within 0.1 of the box's longer side.\n"
    "Errors: median and 95th percentile over the objects found, in pixels and as a\n"
    "share of their size (the square root of the annotated area)."
)
GUESS = "OKS sigmas that are a guess decide the AP of keypoints: set oks_sigmas in the JSON's categories for a fair one."

Evaluations = Mapping[str, Evaluation]  # by the name of the model


@dataclass(frozen=True)
class TextTable:
    """A table of finished texts; a row of one cell is a heading over the rows that follow; `rest` says what is not in it."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    rest: str = ""

    def to_rich(self) -> Table:
        """The table for the terminal, without the title: rich would break it to the table's width."""
        table = Table(box=None, pad_edge=False)
        table.add_column(Text(self.headings[0]), overflow="fold")
        for heading in self.headings[1:]:
            table.add_column(Text(heading), justify="right", no_wrap=True)
        for row in self.rows:
            first = Text(row[0], style="bold" if len(row) == 1 else "")
            table.add_row(first, *(Text(cell) for cell in row[1:]))
        return table


def print_evaluation(evaluation: Evaluation, console: Console | None = None) -> None:
    """Prints the tables that training shows: overall, by class, by keypoint, and notes; in 80 columns."""
    models = {"": evaluation}
    tables = [overall_table(evaluation), class_table(models, cut=True)]
    tables += [keypoint_table(models, cut=True)] if evaluation.per_keypoint else []
    print_tables(tables, console or make_console())
    print_notes(models, console or make_console())


def print_tables(tables: Sequence[TextTable], console: Console) -> None:
    """Prints evaluation tables with an empty line after each."""
    for table in tables:
        console.print(Text(table.title, style="bold"))
        console.print(table.to_rich())
        if table.rest:
            console.print(Text(table.rest, style="dim"))
        console.print()


def print_notes(evaluations: Evaluations, console: Console) -> None:
    """Prints below the tables what their columns mean, and each model's notes; a note of all of them once."""
    lines = [_LEGEND] if any(e.per_keypoint for e in evaluations.values()) else []
    for line in [*lines, *(f"Note: {note}" if note != GUESS else note for note in collect_notes(evaluations))]:
        console.print(Text(line))


def collect_notes(evaluations: Evaluations) -> list[str]:
    """Notes of evaluations below the tables, each once, with the models it is for; a guess of OKS sigmas comes first."""
    guessed = any("guess" in e.sigma_sources.values() for e in evaluations.values())
    notes: dict[str, list[str]] = {}
    for name, evaluation in evaluations.items():
        for note in evaluation.notes:
            notes.setdefault(note, []).append(name)
    shared = [n if len(owners) == len(evaluations) else f"{', '.join(owners)}: {n}" for n, owners in notes.items()]
    return [GUESS] * guessed + shared


def overall_table(evaluation: Evaluation) -> TextTable:
    """The few numbers of one model's evaluation as a table of two lines."""
    has_keypoints = bool(evaluation.keypoints_per_class)
    keys = ("AP", "AP50", "AP75", "APs", "APm", "APl")
    rows = [("boxes", *(share(evaluation.box[key]) for key in (*keys, "AR100")))]
    if has_keypoints:  # COCO has no OKS AP of small objects
        cells = [share(evaluation.keypoints.get(key)) for key in (*keys, "AR")]
        rows = [(*rows[0], ""), ("keypoints (OKS)", *cells, share(evaluation.pck))]
    title = f"Images: {evaluation.images}, annotated objects: {sum(evaluation.objects.values())}"
    return TextTable(title, ("", *keys, "AR", *["PCK@0.1"] * has_keypoints), tuple(rows))


def number_table(evaluations: Evaluations) -> TextTable:
    """A table of COCO's twelve box numbers of evaluations and those of OKS; a model named "" is not in the headings."""
    with_points = any(e.keypoints_per_class for e in evaluations.values())
    kinds = ("boxes", "OKS") if with_points else ("boxes",)
    rows, most = [], max(e.max_detections for e in evaluations.values())
    for key in BOX_NUMBERS:
        cells = []
        for e in evaluations.values():
            cells += [share(e.box[key]), *[share(e.keypoints.get(_OKS_NAMES.get(key, "")))] * with_points]
        shown = key.replace("100", str(most))
        rows.append((f"{shown:<5} {_MEANINGS.get(key, f'{most} detections')}", *cells))
    headings = [f"{kind} {name}".strip() for name in evaluations for kind in kinds]
    return TextTable("COCO's numbers, all classes", ("", *headings), tuple(rows))


def class_table(evaluations: Evaluations, cut: bool = False) -> TextTable:
    """A table of AP and PCK of evaluations by class; of many classes the worst alone, if it is to be cut."""
    with_points = any(e.keypoints_per_class for e in evaluations.values())

    def cells(e: Evaluation, name: str) -> tuple[str, ...]:
        numbers = e.keypoints_per_class.get(name, {})
        points = [share(numbers.get(key)) for key in ("AP", "AP50", "AP75")] + [share(e.pck_per_class.get(name))]
        return (str(e.objects.get(name, "-")), share(e.box_per_class.get(name)), *points * with_points)

    headings = ("objects", "box AP", *("OKS AP", "OKS AP50", "OKS AP75", "PCK@0.1") * with_points)
    names, rest = _cut_names(
        _join_names(evaluations, "objects"), cut, [e.box_per_class for e in evaluations.values()], "classes", "box AP"
    )
    return TextTable("By class", ("", *headings), _make_rows(evaluations, names, cells), rest)


def keypoint_table(evaluations: Evaluations, cut: bool = False) -> TextTable:
    """A table of errors of evaluations and OKS sigmas by keypoint, class by class; the worst alone, if it is to be cut."""
    kinds = _join_names(evaluations, "sigmas")
    known = {k: list(dict.fromkeys(n for e in evaluations.values() for n in e.sigmas.get(k, ()))) for k in kinds}
    pck = [{name: numbers["pck"] for name, numbers in e.per_keypoint.items()} for e in evaluations.values()]
    names, rest = _cut_names([f"{k}/{n}" for k in kinds for n in known[k]], cut, pck, "keypoints", "PCK@0.1")
    rows: list[tuple[str, ...]] = []
    for kind in kinds:
        shown = [name for name in known[kind] if f"{kind}/{name}" in names]
        rows += [(kind,), *_make_rows(evaluations, shown, partial(_keypoint_cells, kind=kind), "  ")] if shown else []
    headings = ("points", "PCK@0.1", "med. px", "95 %", "of size", "95 %", "OKS sigma")
    return TextTable("By keypoint", ("", *headings), tuple(rows), rest)


def _keypoint_cells(e: Evaluation, keypoint: str, kind: str) -> tuple[str, ...]:
    """The table cells of one keypoint in an evaluation: labelled points, PCK, errors, OKS sigma."""
    numbers = e.per_keypoint.get(f"{kind}/{keypoint}")
    if numbers is None:
        return ("-",) * 7
    pixels = [f"{numbers[k]:.1f}" if numbers[k] is not None else "-" for k in ("median_px", "p95_px")]
    shares = [f"{numbers[k]:.1%}" if numbers[k] is not None else "-" for k in ("median_share", "p95_share")]
    sigma = f"{e.sigmas[kind][keypoint]:.3f} {_SIGMA_SOURCES.get(e.sigma_sources[kind], e.sigma_sources[kind])}"
    return (str(numbers["labelled"]), share(numbers["pck"]), *pixels, *shares, sigma)


def pck_table(evaluations: Evaluations, cut: bool = False) -> TextTable:
    """A table of the PCK of evaluations at a few shares of the box's longer side, of many classes the worst, if cut."""
    places = [PCK_SHARES.index(s) for s in SHOWN_SHARES]

    def cells(e: Evaluation, name: str) -> tuple[str, ...]:
        curve = e.curves["pck"].get(name)
        return tuple(share(curve[i] if curve else None) for i in places)

    names = list(dict.fromkeys(name for e in evaluations.values() for name in e.curves["pck"]))
    grades = [e.pck_per_class for e in evaluations.values()]
    own, rest = _cut_names(names[1:], cut, grades, "classes", "PCK@0.1")
    names = own if len(names) == 2 else [*names[:1], *own]  # of a single class, all classes say nothing new
    return TextTable(
        "PCK: share of the points found within a share of the box's longer side",
        ("within", *(f"{s:g}" for s in SHOWN_SHARES)),
        _make_rows(evaluations, names, cells),
        rest,
    )


def threshold_table(evaluations: Evaluations, cut: bool = False) -> TextTable:
    """A table of the score thresholds with the best F1, for boxes at IoU 0.5 and for keypoints at OKS 0.5.

    Of many classes the worst alone, if it is to be cut.
    """
    kinds = ["boxes", "keypoints"] if any(e.keypoints_per_class for e in evaluations.values()) else ["boxes"]

    def cells(e: Evaluation, name: str) -> tuple[str, ...]:
        best = [e.best_f1[kind].get(name, {}) for kind in kinds]
        return tuple(share(b.get(key)) for b in best for key in ("threshold", "precision", "recall", "f1"))

    names = list(dict.fromkeys(name for e in evaluations.values() for name in e.best_f1["boxes"]))
    grades = [{name: best["f1"] for name, best in e.best_f1["boxes"].items()} for e in evaluations.values()]
    own, rest = _cut_names(names[1:], cut, grades, "classes", "F1 of boxes")
    names = own if len(names) == 2 else [*names[:1], *own]
    headings = [(short, "prec.", "recall", "F1") for short in ("boxes", "OKS")[: len(kinds)]]
    title = f"Score threshold with the best F1 (boxes at IoU 0.5{', OKS at 0.5' * (len(kinds) > 1)})"
    return TextTable(title, ("", *(h for group in headings for h in group)), _make_rows(evaluations, names, cells), rest)


def confusion_table(evaluation: Evaluation, model: str = "", most: int = SHOWN_CLASSES) -> TextTable:
    """A table of what was annotated (rows) and detected there (columns); of many classes the commonest mistakes alone."""
    names, counts = evaluation.confusion["names"], evaluation.confusion["counts"]
    rows_say, columns_say = [*names[:-1], "nothing"], [*names[:-1], "missed"]
    where = f" of {model}" if model else ""
    title = f"Confusion{where}, detections of score {evaluation.confusion['min_score']:.3f} or more"
    if len(names) - 1 <= most:
        cells = [[str(count) for count in row] for row in counts]
        cells[-1][-1] = ""  # what was neither there nor detected cannot be counted
        rows = [(name, *row) for name, row in zip(rows_say, cells, strict=True)]
        return TextTable(title, ("annotated", *columns_say), tuple(rows))
    mistakes = [(counts[i][j], i, j) for i in range(len(names)) for j in range(len(names)) if i != j and counts[i][j]]
    mistakes = sorted(mistakes, key=lambda m: -m[0])[:SHOWN_MISTAKES]
    rows = [(f"{rows_say[i]} -> {columns_say[j]}", str(count)) for count, i, j in mistakes]
    return TextTable(f"{title}: the commonest mistakes", ("annotated -> detected", "objects"), tuple(rows))


def share(value: float | None) -> str:
    """A number from 0 to 1 as evaluation tables write it: three decimals, or a dash for None."""
    return "-" if value is None else f"{value:.3f}"


def _join_names(evaluations: Evaluations, field: str) -> list[str]:
    """The names for the rows of a table that all models' evaluations have in a field, each once."""
    return list(dict.fromkeys(name for e in evaluations.values() for name in getattr(e, field)))


def _cut_names(
    names: list[str], cut: bool, grades: Sequence[Mapping[str, float | int | None]], noun: str, by: str
) -> tuple[list[str], str]:
    """The names for the rows of a table, all or those of the lowest mean grades of the models, and a line on the others."""
    if not cut:
        return names, ""
    known = {name: [grade for g in grades if (grade := g.get(name)) is not None] for name in names}
    means = [sum(values) / len(values) if values else None for values in known.values()]
    rows, rest = cut_table(means, f"{noun}, those with the lowest {by}", "metrics.json has all")
    return [names[row] for row in rows], rest


def _make_rows(
    evaluations: Evaluations, names: Sequence[str], cells: Callable[[Evaluation, str], tuple[str, ...]], indent: str = ""
) -> tuple[tuple[str, ...], ...]:
    """Rows of an evaluation table for each name; with several models the name as a heading and a row for each."""
    rows = []
    for name in names:
        if len(evaluations) == 1:
            (evaluation,) = evaluations.values()
            rows.append((indent + name, *cells(evaluation, name)))
        else:
            rows.append((indent + name,))
            rows += [(f"{indent}  {model}", *cells(e, name)) for model, e in evaluations.items()]
    return tuple(rows)
