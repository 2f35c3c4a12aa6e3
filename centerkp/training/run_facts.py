"""A run folder -> what its page is made of: also of runs that go on, that broke off, and of earlier versions."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from centerkp.evaluation.evaluate import Evaluation
from centerkp.evaluation.tables import TextTable
from centerkp.report.run_page import RunFacts
from centerkp.report.run_report import RunReport, to_table
from centerkp.report.settings_text import explain_settings, format_command, format_value
from centerkp.report.training_curves import find_best
from centerkp.report.training_data import count_images, describe_keypoints
from centerkp.schema import Schema
from centerkp.training.run_folder import RunFolder

PICTURES = 12  # of a run that has not chosen the worst


def read_facts(folder: RunFolder) -> RunFacts:
    """What the page of a run shows, from the files in its folder.

    Raises:
        FileNotFoundError: it is no run folder.
        ValueError: one of its files is damaged; names it.
    """
    settings, report, rows = folder.read_settings(), RunReport.read(folder.report), folder.read_log()
    versions = {name: str(text) for name, text in _read_json(folder.versions).items() if text}
    numbers, best = report.evaluation or _read_json(folder.metrics), find_best(rows)
    try:
        evaluation = Evaluation.from_dict(numbers) if numbers else None
    except ValueError as error:
        raise ValueError(f"{folder.metrics if not report.evaluation else folder.report}: {error}") from None
    try:
        notes, tables = [*map(str, report.notes)], [to_table(table) for table in report.tables]
        worst = [(one["caption"], {title: folder.worst / name for title, name in one["files"].items()}) for one in report.worst]
    except (TypeError, KeyError, AttributeError):
        raise ValueError(f"{folder.report}: found a damaged report, expected what training writes; delete it.") from None
    if not tables:
        notes, tables = _describe_kept(folder)
    notes += _describe_losses(folder)
    first = sorted((folder.pictures / "validation").glob("*.jpg"))[:PICTURES]
    return RunFacts(
        name=folder.path.absolute().name,
        path=str(folder.path),
        state=report.state or ("finished" if folder.metrics.is_file() else "unfinished"),
        error=report.error,
        values={f.name: format_value(getattr(settings, f.name)) for f in fields(settings)},
        differences=explain_settings(settings, report.asked, report.choices),
        rows=rows,
        notes=notes,
        tables=tables,
        evaluation=evaluation,
        evaluated=report.evaluated or ("the folds' models" if not best else f"best.keras, epoch {best}"),
        pictures=worst or [(path.name, {"annotations beside predictions": path}) for path in first],
        are_worst=bool(worst),
        seconds=report.seconds,
        versions=versions,
        command=format_command(settings, versions.get("backend", "tensorflow")),
    )


def _describe_kept(folder: RunFolder) -> tuple[list[str], list[TextTable]]:
    """What a run of an earlier version still says of its data: the number of images, classes and keypoints."""
    kept, config = folder.read_images(), _read_json(folder.schema)
    notes = [count_images(kept.train, kept.val)] if kept else []
    if not config:
        return notes, []
    try:
        schema = Schema.from_config(config)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{folder.schema}: found no schema ({error}), expected what training writes; delete it.") from None
    rows = tuple((kind.name, str(kind.category_id), str(len(kind.keypoints))) for kind in schema.classes)
    classes = TextTable("Classes", ("class", "category id", "keypoints"), rows)
    return notes, [classes, describe_keypoints(schema)] if schema.num_keypoints else [classes]


def _describe_losses(folder: RunFolder) -> list[str]:
    """What post_mortem.json says of each loss of a run that was no longer a number, in a line."""
    if not folder.post_mortem.is_file():
        return []
    try:
        entries = json.loads(folder.post_mortem.read_text(encoding="utf-8"))
        return [f"epoch {one['epoch']}, step {one['step']}: the loss was no longer a number; {one['cause']}" for one in entries]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError(f"{folder.post_mortem}: found no post-mortem, expected what training writes; delete it.") from None


def _read_json(path: Path) -> dict[str, Any]:
    """The content of one of a run's JSON files, empty where there is none; ValueError when it is damaged."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: found no JSON object, expected what training writes; copy it back, or delete it.")
    return content
