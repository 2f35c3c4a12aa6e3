"""The log of a training run as charts: its scores, and every loss term in training and on the validation images."""

from collections.abc import Mapping, Sequence

from centerkp.report.charts import Line, draw_curves
from centerkp.report.page import Page

Rows = Sequence[Mapping[str, float]]  # of a run's log, an epoch each; what an epoch does not have is missing

SCORES = {"box_ap": "box AP", "keypoint_ap": "keypoint AP", "pck": "PCK@0.1", "score": "score"}
_NO_CURVES = ("epoch", "seconds", "best")
_SIDES = ("training", "validation")


def add_training_curves(page: Page, rows: Rows) -> None:
    """Adds the curves of one training run to its page: all scores in one chart, then a chart for each term with both sides."""
    scores = {name: _make_line(rows, name, n) for n, name in enumerate(_choose_scores(rows))}
    best = find_best(rows)
    if scores:
        caption = f"The dots are those of best.keras, epoch {best}." if best else ""
        svg = draw_curves(list(scores.values()), x_label="epoch")
        page.add_charts([("Scores on the validation images", svg, caption)], [SCORES[name] for name in scores])
    charts = []
    for name in _list_terms(rows):
        lines = [_make_line(rows, key, n) for n, key in enumerate((name, f"val_{name}"))]
        charts.append((_describe_term(name), draw_curves(lines, x_label="epoch"), ""))
    page.add_charts(charts, _SIDES if any(key.startswith("val_") for row in rows for key in row) else ())


def add_compared_curves(page: Page, runs: Mapping[str, Rows]) -> None:
    """Adds the training curves of several runs, by name, over each other: a chart for each score and each side of each term."""
    every = [row for rows in runs.values() for row in rows]
    titles = {name: SCORES[name] for name in SCORES if any(name in row for row in every)}
    for name in _list_terms(every):
        there = [key for key in (name, f"val_{name}") if any(key in row for row in every)]
        titles |= {
            key: f"{_describe_term(name)}{f', {side}' * len(there[1:])}" for key, side in zip(there, _SIDES, strict=False)
        }
    charts = []
    for key, title in titles.items():
        lines = [_make_line(rows, key, n) for n, rows in enumerate(runs.values())]
        charts.append((title, draw_curves(lines, x_label="epoch"), ""))
    page.add_charts(charts, list(runs))


def find_best(rows: Rows) -> int | None:
    """The epoch of a training run's best model, None where none was evaluated."""
    return next((int(row["epoch"]) for row in reversed(rows) if row.get("best")), None)


def _describe_term(name: str) -> str:
    """What a curve of training is called above its chart."""
    return name.replace("_", " ")


def _choose_scores(rows: Rows) -> list[str]:
    """The scores that a training run's chart shows; the one that chose the best model only where it is none of the others."""
    there = [name for name in SCORES if any(name in row for row in rows)]
    return [n for n in there if n != "score" or all(any(row.get(m) != row.get(n) for row in rows) for m in there if m != n)]


def _list_terms(rows: Rows) -> list[str]:
    """The columns of a training log that are no scores, the loss first and the learning rate last; those of validation once."""
    names = dict.fromkeys(key.removeprefix("val_") for row in rows for key in row)
    terms = [name for name in names if name not in SCORES and name not in _NO_CURVES]
    return sorted(terms, key=lambda name: (name == "learning_rate", name != "loss"))


def _make_line(rows: Rows, name: str, series: int) -> Line:
    """A column of a training log as a line over the epochs that have it, with a dot at the best epoch where it is a score."""
    points = [(row["epoch"], row[name]) for row in rows if name in row]
    marks = [(row["epoch"], row[name]) for row in rows if row.get("best") and name in row and name in SCORES]
    x, y = zip(*points, strict=True) if points else ((), ())
    return Line(x, y, series, marks[-1] if marks else None)
