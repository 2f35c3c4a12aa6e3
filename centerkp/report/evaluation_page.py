"""One or several evaluated models as a page: numbers, curves, errors by keypoint, and the worst images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from centerkp.drawing.pictures import draw_detections, draw_record
from centerkp.evaluation.compared_models import ModelResult
from centerkp.evaluation.curves import ALL_CLASSES, RECALLS, SCORES
from centerkp.evaluation.evaluate import Evaluation
from centerkp.evaluation.image_quality import measure_image
from centerkp.evaluation.keypoint_error import PCK_SHARES
from centerkp.evaluation.speed import describe_machine
from centerkp.evaluation.tables import (
    GUESS,
    class_table,
    collect_notes,
    confusion_table,
    number_table,
    threshold_table,
)
from centerkp.images.reading import read_image
from centerkp.labels.content import Paths, name_paths
from centerkp.report.charts import Line, draw_lines
from centerkp.report.evaluation_parts import (
    HEADLINES,
    SMALL_PRINT,
    add_comparison,
    add_keypoint_errors,
    add_text_table,
    list_headlines,
)
from centerkp.report.page import Finding, Page, Picture
from centerkp.report.style import SERIES

_KINDS = ("boxes", "keypoints")
WORST = 24  # images shown
MATRIX_CLASSES = 30  # a larger confusion matrix is a list of its commonest mistakes
PCK_END = 0.3  # where its curve has said what it can


def write_evaluation_page(results: Sequence[ModelResult], coco: Paths, path: str | Path) -> Path:
    """Writes the HTML page of one or several models evaluated on the same dataset and returns its path."""
    evaluations = {r.name: r.evaluation for r in results}
    first = results[0].evaluation
    count = "one model" if len(results) == 1 else f"{len(results)} models"
    page = Page(
        f"Evaluation on {name_paths(coco).name}",
        f"{count}, {first.images} images, {sum(first.objects.values())} annotated objects. "
        + "; ".join(r.path for r in results),
        "eval",
    )
    page.add_section("Overview")
    _add_overview(page, results)
    notes = collect_notes(evaluations)
    if notes:
        page.add_findings([Finding("warning" if note == GUESS else "note", note) for note in notes])
    page.add_section("Average precision", "Boxes are compared by IoU, keypoints by OKS with the sigmas listed below.")
    add_text_table(page, number_table(evaluations if len(results) > 1 else {"": first}))
    add_text_table(page, class_table(evaluations))
    _add_curves(page, results)
    if any(e.per_keypoint for e in evaluations.values()):
        add_keypoint_errors(page, evaluations)
    _add_confusion(page, results)
    _add_worst_images(page, results)
    return page.write(path)


def _add_overview(page: Page, results: Sequence[ModelResult]) -> None:
    """The first part of the evaluation page: what was measured, and the main numbers."""
    headings = (*HEADLINES, "speed")
    cells = [list_headlines(r.evaluation) + [f"{r.speed.network:.1f} /s" if r.speed else "-"] for r in results]
    if len(results) == 1:
        tiles = zip(headings, cells[0], (*SMALL_PRINT, "network alone"), strict=True)
        page.add_tiles([tile for tile in tiles if tile[1] != "-"])
    else:
        add_comparison(page, ("model", *headings), [(r.name, *row) for r, row in zip(results, cells, strict=True)])
    lines = [f"{r.name}: {r.describe()}" for r in results]
    if any(r.speed for r in results):
        lines.insert(0, f"Speed measured on the machine that made this page, {describe_machine()}.")
    page.add_text("\n\n".join(lines), muted=True)


def _add_curves(page: Page, results: Sequence[ModelResult]) -> None:
    """Precision and recall, and PCK, as charts of the evaluation page."""
    page.add_section("Curves", "Precision and recall count a box as found at IoU 0.5, and keypoints at OKS 0.5.")
    names, series = _choose_series(results)
    charts = []
    for kind in _KINDS:
        lines = [Line(RECALLS, _precision_line(e, kind, name), n) for n, (e, name) in enumerate(series)]
        if any(np.isfinite(line.y).any() for line in lines):
            svg = draw_lines(lines, x_label="recall", y_label="precision")
            charts.append((f"{kind.capitalize()}: precision and recall", svg, "The area under the line is AP50."))
    pck = [Line(PCK_SHARES, _line_numbers(e.curves["pck"].get(name), len(PCK_SHARES)), n) for n, (e, name) in enumerate(series)]
    if any(np.isfinite(line.y).any() for line in pck):
        svg = draw_lines(pck, x_label="share of the box's longer side", y_label="PCK", x_end=PCK_END, percent_x=True)
        charts.append(
            ("PCK", svg, "Share of labelled keypoints found within the distance; those of missed objects count as wrong.")
        )
    page.add_charts(charts, names if len(names) > 1 else ())
    _add_score_curves(page, results)
    add_text_table(page, threshold_table({r.name: r.evaluation for r in results}))


def _choose_series(results: Sequence[ModelResult]) -> tuple[list[str], list[tuple[Evaluation, str]]]:
    """What charts of evaluations draw: a line for each model, or, of one model alone, for each class while colours last."""
    if len(results) > 1:
        return [r.name for r in results], [(r.evaluation, ALL_CLASSES) for r in results]
    e = results[0].evaluation
    names = [name for name, count in e.objects.items() if count]
    if not 1 < len(names) < len(SERIES):
        return [ALL_CLASSES], [(e, ALL_CLASSES)]
    return [ALL_CLASSES, *names], [(e, name) for name in (ALL_CLASSES, *names)]


def _add_score_curves(page: Page, results: Sequence[ModelResult]) -> None:
    """Precision, recall and F1 over the score threshold, as charts of the evaluation page."""
    charts, several = [], len(results) > 1
    numbers = ("f1",) if several else ("f1", "precision", "recall")
    for kind in _KINDS:
        lines = []
        for r in results:
            curves, best = r.evaluation.curves[kind]["score"][ALL_CLASSES], r.evaluation.best_f1[kind][ALL_CLASSES]
            mark = None if best["f1"] is None else (best["threshold"], best["f1"])
            for number in numbers:
                lines.append(
                    Line(SCORES, _line_numbers(curves[number], len(SCORES)), len(lines), mark if number == "f1" else None)
                )
        if any(line.mark for line in lines):
            svg = draw_lines(lines, x_label="least score", y_label="F1" if several else "")
            charts.append(
                (f"{kind.capitalize()}: score threshold", svg, "All classes with one threshold; the dot is the best F1.")
            )
    page.add_charts(charts, [r.name for r in results] if several else ["F1", "precision", "recall"])


def _precision_line(e: Evaluation, kind: str, name: str) -> np.ndarray:
    """(101,) precision of a class for the evaluation page's chart, or the mean over classes; NaN where there is none."""
    curves = e.curves[kind]["precision_at_recall"]
    known = [values for values in curves.values() if values] if name == ALL_CLASSES else [curves.get(name)]
    return np.mean(known, axis=0) if known and known[0] else np.full(len(RECALLS), np.nan)


def _line_numbers(values: Sequence[float | None] | None, count: int) -> np.ndarray:
    """The numbers of a curve as a chart of the evaluation page draws them, NaN where nothing decides them."""
    return np.array(values, float) if values else np.full(count, np.nan)


def _add_confusion(page: Page, results: Sequence[ModelResult]) -> None:
    """The section of the evaluation page on confused classes."""
    page.add_section(
        "Confusion", "Rows say what was annotated, columns what was detected there (IoU 0.5); shades are shares of their row."
    )
    for r in results:
        counts = np.array(r.evaluation.confusion["counts"], float)
        shades = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        shades[-1] = 0  # false detections have no whole that they are a share of
        table = confusion_table(r.evaluation, r.name if len(results) > 1 else "", most=MATRIX_CLASSES)
        add_text_table(page, table, shades if len(table.headings) == counts.shape[1] + 1 else None)


def _add_worst_images(page: Page, results: Sequence[ModelResult]) -> None:
    """The images of the evaluation page that went worst; an image's quality is the mean over the models."""
    measured = []
    for r in results:
        least = r.evaluation.confusion["min_score"]
        measured.append(
            [measure_image(rec, found, r.schema, least) for rec, found in zip(r.records, r.detections, strict=True)]
        )
    quality = np.mean([[m.quality for m in one] for one in measured], axis=0)
    order = [int(i) for i in np.argsort(quality, kind="stable")[:WORST]]
    pictures = []
    for i in order:
        record = results[0].records[i]
        image = read_image(record.path, record.levels)
        truth = (record.boxes_xyxy, record.class_ids, record.keypoints_xy, record.visibility)
        images, titles = [draw_record(image, *truth, results[0].schema, close_up=True)], ["ground truth"]
        for r in results:
            shown = [d for d in r.detections[i] if d.score >= r.evaluation.confusion["min_score"]]
            images.append(draw_detections(image, shown, r.schema, close_up=True))
            titles.append("prediction" if len(results) == 1 else r.name)
        said = [
            m[i].describe() if len(results) == 1 else f"{r.name}: {m[i].describe()}"
            for r, m in zip(results, measured, strict=True)
        ]
        pictures.append(Picture(images, f"{record.file_name}: {'; '.join(said)}", titles))
    page.add_section(
        "The worst images",
        "Quality is the mean over an image's objects and false detections: the OKS of an object found, the IoU where it has no "
        "labelled keypoints, 0 for one missed or taken for another class and for a false detection.",
    )
    page.add_pictures(pictures, cell_width=230 * (1 + len(results)))
    page.add_legend(results[0].schema)
