"""A training run as one page: how good, how it came there, what it was told and what it understood, and how to do it again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

from centerkp.evaluation.evaluate import Evaluation
from centerkp.evaluation.tables import GUESS, TextTable, class_table, collect_notes
from centerkp.images.reading import read_image
from centerkp.report.evaluation_parts import HEADLINES, SMALL_PRINT, add_keypoint_errors, add_text_table, list_headlines
from centerkp.report.page import Bar, Finding, Page, Picture
from centerkp.report.training_curves import add_training_curves, find_best
from centerkp.wording import count_of, format_duration

# The parts of a run's time, in the order of its page; what is left of the whole is REST.
PARTS = {
    "data": "steps waiting for images",
    "steps": "steps",
    "building": "first steps, which build the graph",
    "evaluation": "evaluations",
    "saving": "saving models and log",
    "report": "this page and its pictures",
}
WHOLE, REST = "whole", "start and all else"
HELD_UP = 0.1  # share of the steps' time spent waiting for images from which something should be done
LONG = 24  # letters of a cell from which it may break into lines
MANY_ROWS = 30  # of a table that is folded when it has more


@dataclass(frozen=True, eq=False)
class RunFacts:
    """What the page of a training run is made of, in plain values; what a run does not have is empty.

    Args:
        name, path: of the run folder.
        state: "training", "finished", "interrupted", "stopped" by `error`, or "unfinished" where nobody knows why.
        values: every setting by name, as text.
        differences: name, value, default and reason of the settings that are not at their default.
        rows: of log.csv.
        notes, tables: what was understood of the data and the network before the first step.
        evaluation, evaluated: the newest numbers, and which model they are of; `evaluation` is None before there are any.
        pictures: caption, and by title the files of the images that belong together; `are_worst` says whether they were
            chosen as those that went worst.
        seconds: by `PARTS`, and of the `WHOLE` run.
        command: which does the same again.
    """

    name: str
    path: str
    state: str
    error: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    differences: Sequence[tuple[str, str, str, str]] = ()
    rows: Sequence[Mapping[str, float]] = ()
    notes: Sequence[str] = ()
    tables: Sequence[TextTable] = ()
    evaluation: Evaluation | None = None
    evaluated: str = ""
    pictures: Sequence[tuple[str, Mapping[str, Path]]] = ()
    are_worst: bool = True
    seconds: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""


def write_run_page(facts: RunFacts, path: str | Path) -> Path:
    """Writes the HTML page of one training run, whole or not at all, and returns its path."""
    page = Page(f"Training run {facts.name}", f"{describe_state(facts).capitalize()}. {facts.path}", "report")
    page.add_section("Overview")
    _add_overview(page, facts)
    if facts.rows:
        page.add_section("Curves")
        add_training_curves(page, facts.rows)
    if facts.evaluation:
        models = {"": facts.evaluation}
        if facts.evaluation.per_keypoint:
            add_keypoint_errors(page, models)
    if facts.pictures:
        _add_pictures(page, facts)
    if facts.notes or facts.tables:
        page.add_section("What was understood of the data")
        page.add_text("\n\n".join(facts.notes))
        for table in facts.tables:
            _add_folding_table(page, table)
    page.add_section("Settings", "Those that are not at their default. All stand in settings.json.")
    page.add_entries([(f"{name} = {value}", _explain(default, why)) for name, value, default, why in facts.differences])
    if facts.seconds:
        _add_time(page, facts.seconds)
    page.add_section("To do it again")
    page.add_code(facts.command)
    page.add_table(("package", "version"), list(facts.versions.items()), text_columns=(1,))
    return page.write(path)


def describe_state(facts: RunFacts) -> str:
    """Where a run stands, for its page, as in "finished after 30 epochs"."""
    words = {"training": "in training,", "stopped": "stopped by an error", "unfinished": "not finished,"}
    when = f"after {count_of(len(facts.rows), 'epoch')}" if facts.rows else "before the end of the first epoch"
    return f"{words.get(facts.state, facts.state)} {when}"


def measure_run(facts: RunFacts) -> float:
    """Seconds that a run has taken, for its page: all that was measured, or those of its epochs, which earlier runs noted."""
    return facts.seconds.get(WHOLE) or sum(row.get("seconds", 0) for row in facts.rows)


def _add_overview(page: Page, facts: RunFacts) -> None:
    """The first part of the run's page: its numbers, what is wrong, and its classes."""
    e, best = facts.evaluation, find_best(facts.rows)
    tiles = list(zip(HEADLINES, list_headlines(e), SMALL_PRINT, strict=True)) if e else []
    planned = facts.values.get("epochs", "-")
    more = [f"of {planned}" if planned.isdecimal() and int(planned) != len(facts.rows) else "", f"best: {best}" if best else ""]
    tiles.append(("epochs", str(len(facts.rows)), ", ".join(filter(None, more))))
    if measure_run(facts):
        what = "with start and evaluations" if facts.seconds else "of the epochs"
        tiles.append(("time", format_duration(measure_run(facts)), what))
    page.add_tiles([tile for tile in tiles if tile[1] != "-"])
    findings = []
    if facts.state == "stopped":
        findings.append(Finding("error", facts.error, remedy=_resume(facts)))
    elif facts.state in ("interrupted", "unfinished"):
        findings.append(Finding("warning", f"The run was {describe_state(facts)}.", remedy=_resume(facts)))
    elif facts.state == "training":
        findings.append(Finding("note", "The run goes on, and writes this page anew after each evaluation."))
    if facts.rows and find_share_held_up(facts.seconds) > HELD_UP:
        findings.append(_blame_data(facts.seconds))
    notes = collect_notes({"": e}) if e else []
    findings += [Finding("warning" if note == GUESS else "note", note) for note in notes]
    if not e:
        findings.append(Finding("note", "The model has not been evaluated yet: there are no scores so far."))
    page.add_findings(findings)
    if e:
        page.add_text(f"Numbers of {facts.evaluated} on {count_of(e.images, 'validation image')}.", muted=True)
        add_text_table(page, class_table({"": e}))


def _resume(facts: RunFacts) -> str:
    """How to go on with the run of the page."""
    return f"Go on with: centerkp train --resume {quote(facts.path)}"


def _explain(default: str, reason: str) -> str:
    """Why a setting of the run's page is not at its default, and what that is."""
    return reason if default == "-" else f"{reason} (default: {default})"


def _add_pictures(page: Page, facts: RunFacts) -> None:
    """The section of the run's page with validation images, the annotated beside the found objects."""
    shown = []
    for caption, files in facts.pictures:
        there = {title: path for title, path in files.items() if path.is_file()}
        if there:
            shown.append(Picture([read_image(path) for path in there.values()], caption, list(there)))
    if facts.are_worst:
        page.add_section(
            "The images that went worst",
            f"By {facts.evaluated}. Quality is the mean over an image's objects and false detections: the OKS of an object "
            "found, the IoU where it has no labelled keypoints, 0 for one missed or taken for another class and for a false "
            "detection.",
        )
    else:
        page.add_section("Validation images", "The first ones, annotations beside predictions.")
    page.add_pictures(shown, cell_width=460)


def _add_folding_table(page: Page, table: TextTable) -> None:
    """A table of the run's page, folded when it is long."""
    if not table.rows:
        return
    widest = [max((len(row[c]) for row in table.rows if len(row) > c), default=0) for c in range(len(table.headings))]
    texts = [c for c, width in enumerate(widest) if width > LONG]
    if len(table.rows) <= MANY_ROWS:
        page.add_table(table.headings, table.rows, caption=table.title, text_columns=texts)
        return
    with page.folded(f"{table.title}, {len(table.rows)} rows"):
        page.add_table(table.headings, table.rows, text_columns=texts)


def list_times(seconds: Mapping[str, float]) -> dict[str, float]:
    """A run's seconds by part in the words of its page, with the rest of the whole."""
    parts = {text: seconds.get(name, 0.0) for name, text in PARTS.items()}
    return parts | {REST: max(seconds.get(WHOLE, 0.0) - sum(parts.values()), 0.0)}


def find_share_held_up(seconds: Mapping[str, float]) -> float:
    """The share of the steps' time that they waited for images, as the run's page says it."""
    waited = seconds.get("data", 0.0)
    return waited / max(waited + seconds.get("steps", 0.0), 1e-9)


def _add_time(page: Page, seconds: Mapping[str, float]) -> None:
    """The section of the run's page on its time, and what holds it up."""
    page.add_section("Time by part")
    whole, parts = max(seconds.get(WHOLE, 0.0), 1e-9), list_times(seconds).items()
    page.add_bars([(text, [Bar(value, f"{format_duration(value)}, {value / whole:.0%}")]) for text, value in parts])
    if find_share_held_up(seconds) > HELD_UP:
        page.add_findings([_blame_data(seconds)])
    elif seconds.get("steps"):
        page.add_text(
            f"The images are ready in time: the steps waited {find_share_held_up(seconds):.1%} of their time for them."
        )


def _blame_data(seconds: Mapping[str, float]) -> Finding:
    """The finding of the run's page that the images hold up its steps."""
    return Finding(
        "warning",
        f"The steps waited for images {find_share_held_up(seconds):.0%} of their time.",
        remedy="Images are read, decoded and augmented on the processor while the step before runs. --cache ram keeps "
        "them decoded in memory; copies on a local disk that are reduced to twice --image-size are read sooner; more "
        "processor cores (--threads) do more at a time.",
    )
