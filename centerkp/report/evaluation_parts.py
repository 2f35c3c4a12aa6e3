"""Parts on evaluated numbers that the pages of evaluations and of training runs share: first numbers, errors by keypoint."""

from collections.abc import Mapping, Sequence

import numpy as np

from centerkp.evaluation.evaluate import Evaluation
from centerkp.evaluation.tables import TextTable, keypoint_table, pck_table, share
from centerkp.report.page import Bar, Page

HEADLINES = ("box AP", "box AP50", "OKS AP", "PCK@0.1", "median error")
SMALL_PRINT = ("IoU 0.50 to 0.95", "IoU 0.50", "mean over classes", "of labelled points", "of points found")
MANY = 24  # keypoints; of more, the worst so many are shown and all of them folded


def list_headlines(e: Evaluation) -> list[str]:
    """The few numbers of an evaluation that its part of a page shows first, as texts in the order of `HEADLINES`."""
    pixels = e.all_keypoints["median_px"]
    numbers = [share(v) for v in (e.box["AP"], e.box["AP50"], e.keypoints["AP"], e.pck)]
    return [*numbers, "-" if pixels is None else f"{pixels:.1f} px"]


def add_comparison(
    page: Page, headings: Sequence[str], rows: Sequence[Sequence[str]], text_columns: Sequence[int] = ()
) -> None:
    """Adds a table of evaluated models or runs, a row each, to a page; of each of `HEADLINES` and of speed the best is bold."""
    best = []
    for c, heading in enumerate(headings):
        values = np.array([_read_number(row[c]) for row in rows]) if heading in (*HEADLINES, "speed") else np.zeros(0)
        if np.isfinite(values).any():
            top = np.nanmin(values) if heading == "median error" else np.nanmax(values)
            best += [(r, c) for r, value in enumerate(values) if value == top]
    page.add_table(headings, rows, text_columns=text_columns, best=best)


def add_text_table(page: Page, table: TextTable, shades: Sequence[Sequence[float]] | None = None) -> None:
    """Adds a table of the evaluation, as the terminal has it, to a page, with shades where given."""
    page.add_table(table.headings, table.rows, caption=table.title, shades=shades)


def add_keypoint_errors(page: Page, evaluations: Mapping[str, Evaluation]) -> None:
    """Adds the section on errors by keypoint of one or several evaluations, by name; of many keypoints the worst ones first."""
    page.add_section(
        "Error by keypoint",
        "Median error in pixels (full bar) and 95th percentile (pale bar), over the objects found. Shares are "
        "those of the square root of the object's area.",
    )
    names = {(kind, k): None for e in evaluations.values() for kind, own in e.sigmas.items() for k in own}
    bars = {name: [_error_bar(e.per_keypoint.get("/".join(name))) for e in evaluations.values()] for name in names}
    legend = list(evaluations) if len(evaluations) > 1 else ()
    if len(names) <= MANY:
        _add_all_keypoints(page, evaluations, bars, legend)
        return
    worst = sorted(names, key=lambda name: -max(np.nan_to_num([bar.value for bar in bars[name]], nan=-1)))[:MANY]
    page.add_text(f"The worst {MANY} of {len(names)} keypoints:")
    page.add_bars([(", ".join(name), bars[name]) for name in worst], legend)
    with page.folded(f"All {len(names)} keypoints"):
        _add_all_keypoints(page, evaluations, bars, legend)


def _add_all_keypoints(page: Page, evaluations: Mapping[str, Evaluation], bars: Mapping, legend: Sequence[str]) -> None:
    """Adds bars of all evaluated keypoints, under the names of their classes, and their numbers as tables."""
    rows: list = []
    for kind in dict.fromkeys(kind for kind, _ in bars):
        rows += [kind, *((keypoint, bars[own, keypoint]) for own, keypoint in bars if own == kind)]
    if any(np.isfinite(bar.value) for own in bars.values() for bar in own):
        page.add_bars(rows, legend)
    add_text_table(page, keypoint_table(evaluations))
    if any(e.curves["pck"] for e in evaluations.values()):  # kept numbers have none
        add_text_table(page, pck_table(evaluations))


def _error_bar(numbers: Mapping | None) -> Bar:
    """The evaluated errors of one keypoint as a bar."""
    if numbers is None or numbers["median_px"] is None:
        return Bar(np.nan, "-")
    text = f"{numbers['median_px']:.1f} px, 95 %: {numbers['p95_px']:.1f}"
    return Bar(numbers["median_px"], text, numbers["p95_px"])


def _read_number(text: str) -> float:
    """The number at the beginning of an evaluated number's text, NaN for a dash."""
    return np.nan if text == "-" else float(text.split()[0])
