"""Several training runs side by side on one page: their numbers, the settings in which they differ, and their curves."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from centerkp.evaluation.compared_models import name_models
from centerkp.report.evaluation_parts import HEADLINES, add_comparison, add_keypoint_errors, list_headlines
from centerkp.report.page import Page
from centerkp.report.run_page import RunFacts, describe_state, list_times, measure_run
from centerkp.report.training_curves import add_compared_curves, find_best
from centerkp.wording import count_of, format_duration

OWN = ("run",)  # settings that always differ and say nothing


def write_runs_page(runs: Sequence[RunFacts], path: str | Path) -> Path:
    """Writes the HTML page of several training runs side by side and returns its path."""
    if len({run.name for run in runs}) < len(runs):  # fold_1 of several, or ann of several folders
        runs = [replace(run, name=name) for run, name in zip(runs, name_models([run.path for run in runs]), strict=True)]
    page = Page(count_of(len(runs), "training run"), ", ".join(run.path for run in runs), "report")
    page.add_section("Final numbers", "Of each run's best model, or of its newest evaluation where it has not finished.")
    _add_numbers(page, runs)
    page.add_section("Differences of settings", "All other settings are the same.")
    _add_differences(page, runs)
    page.add_section("Curves")
    add_compared_curves(page, {run.name: run.rows for run in runs})
    evaluations = {run.name: run.evaluation for run in runs if run.evaluation and run.evaluation.per_keypoint}
    if evaluations:
        add_keypoint_errors(page, evaluations)
    timed = [run for run in runs if run.seconds]
    if timed:
        page.add_section("Time by part")
        columns = [list_times(run.seconds) for run in timed]
        rows = [(part, *(format_duration(column[part]) for column in columns)) for part in columns[0]]
        page.add_table(("", *(run.name for run in timed)), rows)
    return page.write(path)


def _add_numbers(page: Page, runs: Sequence[RunFacts]) -> None:
    """The table of the runs with their scores, their length and where they stand."""
    rows = []
    for run in runs:
        numbers = list_headlines(run.evaluation) if run.evaluation else ["-"] * len(HEADLINES)
        best = find_best(run.rows)
        rows.append((run.name, *numbers, str(best or "-"), format_duration(measure_run(run)), describe_state(run)))
    headings = ("run", *HEADLINES, "best epoch", "time", "state")
    add_comparison(page, headings, rows, text_columns=[len(headings) - 1])


def _add_differences(page: Page, runs: Sequence[RunFacts]) -> None:
    """The table of the settings in which the runs differ."""
    names = [name for name in dict.fromkeys(name for run in runs for name in run.values) if name not in OWN]
    rows = [(name, *(run.values.get(name, "-") for run in runs)) for name in names]
    rows = [row for row in rows if len(set(row[1:])) > 1]
    if not rows:
        page.add_text("There are none.")
        return
    page.add_table(("setting", *(run.name for run in runs)), rows, text_columns=range(1, len(runs) + 1))
