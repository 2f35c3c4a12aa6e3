"""A search for settings: trainings with values that Optuna proposes, ended where they lag behind, and the best of them."""

import gc
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

import keras
from rich.console import Console
from rich.table import Table

from centerkp.console import import_extra, make_console
from centerkp.distribution.hosts import require_one_process
from centerkp.settings.training import TrainSettings
from centerkp.training.choice import choose
from centerkp.training.run_folder import RunFolder
from centerkp.training.train import train
from centerkp.trials.ranges import Range
from centerkp.wording import count_of
from centerkp.writing import WriteGuard, hold_folder, refuse_place, write_json

WARM_UP = 4  # trials before one is measured by the others
SHOWN = 10  # trials in the table
BY_MACHINE = ("backbone", "precision", "batch_size")  # what is chosen by the machine where nobody says it


@dataclass(frozen=True)
class SearchResult:
    """Where the search is, the settings of its best trial, and its score on the validation images."""

    folder: Path
    settings: TrainSettings
    score: float


class EndWhereBehind(keras.callbacks.Callback):
    """Tells Optuna each score of a trial, and ends the trial when it is below the median of the others at that epoch."""

    def __init__(self, trial: Any) -> None:
        super().__init__()
        self.trial, self.has_ended = trial, False

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Reports an evaluation, and ends the trial where Optuna says so."""
        if "score" in logs and not self.model.stop_training:
            self.trial.report(logs["score"], epoch + 1)
            self.has_ended = self.model.stop_training = self.trial.should_prune()


def search_settings(
    settings: TrainSettings,
    ranges: Sequence[Range],
    *,
    trials: int,
    seconds: float | None = None,
    started: float | None = None,
    console: Console | None = None,
) -> SearchResult:
    """Trains with one set of values after another, in run folders trial_1, trial_2, ... of `settings.run`.

    The same call goes on with a search that was interrupted: what had been tried is known, and the trial under way is resumed.

    Args:
        trials: how many there are to be in all.
        seconds: no trial is begun that would not end by then, if it took as long as the longest; from `started` on.

    Raises:
        ValueError, FileNotFoundError: as `train`, where the first trial fails; or the folder holds another search, there are
            no trials, or a trial would be several models.
    """
    require_one_process(settings, "tune")
    if trials < 1:
        raise ValueError(f"trials: found {trials}, expected 1 or more.")
    if settings.folds and not settings.fold:
        raise ValueError(
            f"tune: found {settings.folds} folds, expected one model a trial; leave --folds out, or say with --fold which "
            "share of the images all trials are judged on."
        )
    started = monotonic() if started is None else started
    console, folder = console or make_console(), Path(settings.run)
    optuna, kept = import_extra("optuna", "tune"), folder / "trials.json"
    refuse_place(folder)
    WriteGuard(settings.reads, overwrite=True).check([kept, folder / "best_settings.json"])
    settings, choices = choose(_take_chosen(settings, kept))
    for line in choices:
        console.print(line)
    about = {"settings": settings.anchor().to_dict(), "ranges": [repr(one) for one in ranges]}
    rows = _read_rows(kept, about)
    folder.mkdir(parents=True, exist_ok=True)
    with hold_folder(folder, "wait for it to end, or stop it first"):
        study, longest, begun = _open_study(optuna, rows, ranges, settings.seed), 0.0, monotonic()
        while len(rows) < trials and (not rows or not seconds or begun + longest < started + seconds):
            rows.append(_try_values(optuna, study, folder / f"trial_{len(rows) + 1}", settings, ranges, console))
            write_json(kept, about | {"trials": rows})
            gc.collect()
            longest, begun = max(longest, monotonic() - begun), monotonic()
        return _sum_up(rows, settings, console)


def _take_chosen(settings: TrainSettings, kept: Path) -> TrainSettings:
    """The settings with what a search that was begun has chosen by its machine, which may be another or busier one now."""
    try:
        known = json.loads(kept.read_text(encoding="utf-8"))["settings"]
        return replace(settings, **{name: known[name] for name in BY_MACHINE if getattr(settings, name) in (None, "auto")})
    except (OSError, ValueError, TypeError, KeyError):
        return settings  # there is none, or `_read_rows` says what is wrong with it


def _read_rows(kept: Path, about: dict[str, Any]) -> list[dict]:
    """The trials of a search that was begun before; none of a new one.

    Raises:
        ValueError: they are of other settings or ranges, or damaged.
    """
    if not kept.exists():
        return []
    try:
        content = json.loads(kept.read_text(encoding="utf-8"))
        same, rows = {name: content[name] for name in about} == about, list(content["trials"])
    except (ValueError, TypeError, KeyError):
        raise ValueError(f"{kept}: found no list of trials, expected that of a search; move it away.") from None
    if not same:
        raise ValueError(f"{kept}: found other settings or ranges, expected those of this search; choose another --run.")
    return rows


def _open_study(optuna: Any, rows: Sequence[dict], ranges: Sequence[Range], seed: int) -> Any:
    """The search as Optuna knows it, which is told what has been tried."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed + len(rows))  # resumed, it is not to draw the same again
    pruner = optuna.pruners.MedianPruner(n_startup_trials=WARM_UP)
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    distributions = {one.name: one.make_distribution(optuna) for one in ranges}
    for row in rows:
        scores = {int(epoch): score for epoch, score in row["scores"].items()}
        state = optuna.trial.TrialState[row["state"]]
        about = {"params": row["values"], "distributions": distributions, "intermediate_values": scores}
        study.add_trial(optuna.trial.create_trial(state=state, value=row["score"], **about))
    return study


def _try_values(
    optuna: Any, study: Any, folder: Path, settings: TrainSettings, ranges: Sequence[Range], console: Console
) -> dict[str, Any]:
    """One trial of the search: draws values, trains with them, tells Optuna the score; what is kept of it."""
    one = RunFolder(folder)
    begun = one.read_settings() if one.settings.exists() else None
    if begun:
        study.enqueue_trial({name.name: getattr(begun, name.name) for name in ranges})
    trial = study.ask({range_.name: range_.make_distribution(optuna) for range_ in ranges})
    console.print(f"\n{folder.name}: {_describe(trial.params)}", style="bold")
    watch, state, score = EndWhereBehind(trial), "COMPLETE", None
    try:
        own = begun or replace(settings, **trial.params, run=str(folder))
        result = train(own, resume=folder if begun else None, console=console, callbacks=[watch])
        score = result.evaluation.score(settings.monitor)
        state = "PRUNED" if watch.has_ended else state
    except ValueError as error:  # values that do not go together, or with which it diverged
        if not study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)):
            raise
        state = "FAIL"
        console.print(f"{folder.name} failed: {error}", style="yellow")
    study.tell(trial, score if state == "COMPLETE" else None, state=optuna.trial.TrialState[state])
    scores = {row["epoch"]: row["score"] for row in one.read_log() if "score" in row}
    return {"run": folder.name, "state": state, "score": score, "values": trial.params, "scores": scores}


def _sum_up(rows: Sequence[dict], settings: TrainSettings, console: Console) -> SearchResult:
    """Writes the best settings that the search has found, and prints a table of its trials, the best first."""
    folder = Path(settings.run)
    scored = sorted(
        (row for row in rows if row["score"] is not None), key=lambda row: (row["state"] == "PRUNED", -row["score"])
    )
    best = scored[0]
    chosen = replace(settings, **best["values"])
    write_json(folder / "best_settings.json", chosen.anchor().to_dict(), indent=2)
    table = Table("trial", "score", "", "values", box=None, header_style="dim")
    for row in scored[:SHOWN]:
        early = "ended early" if row["state"] == "PRUNED" else ""
        table.add_row(row["run"], f"{row['score']:.3f}", early, _describe(row["values"]))
    console.print()
    console.print(table)
    failed = len(rows) - len(scored)
    console.print(count_of(len(rows), "trial") + (f", {failed} of them failed" if failed else ""))
    for name, path in (("trials", folder / "trials.json"), ("best settings", folder / "best_settings.json")):
        console.print(f"{name:>13}: {path}", soft_wrap=True)
    return SearchResult(folder, chosen, best["score"])


def _describe(values: dict[str, Any]) -> str:
    """The values of a trial in words."""
    return ", ".join(f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items())
