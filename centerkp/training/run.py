"""A run in training: what stays the same for all that fits it and happens around its steps, and its page."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import keras
from rich.console import Console

from centerkp.distribution.team import Team
from centerkp.evaluation.evaluate import Evaluation
from centerkp.labels.records import Record
from centerkp.model.center_net import CenterNet, save_model
from centerkp.report.run_page import write_run_page
from centerkp.report.run_report import RunReport
from centerkp.report.worst_images import clear_worst_images, write_worst_images
from centerkp.results import Detection
from centerkp.samples.cache import ImageCache, find_bound
from centerkp.samples.shared import SharedImages
from centerkp.settings.training import TrainSettings
from centerkp.training.run_facts import read_facts
from centerkp.training.run_folder import RunFolder
from centerkp.training.time_limit import TimeLimit


@dataclass(frozen=True)
class Run:
    """A model in training, its images and settings, and where the run is written.

    Args:
        started: when the command began, by `time.monotonic`.
        scores: of the models that were best until now, by epoch; those to come are added.
        callbacks: of the user, for the epochs and steps of `fit`.
        detections: on the validation images, as the last evaluation found them.
        report: what the run tells of itself on its page.
        team: those that train it; the first writes its folder.
    """

    model: CenterNet
    train_records: Sequence[Record]
    val_records: Sequence[Record]
    settings: TrainSettings
    folder: RunFolder
    started: float
    console: Console
    scores: dict[int, float] = field(default_factory=dict)
    callbacks: Sequence[keras.callbacks.Callback] = ()
    detections: list[list[Detection]] = field(default_factory=list)
    report: RunReport = field(default_factory=RunReport)
    team: Team = field(default_factory=Team)

    @property
    def steps(self) -> int:
        """Steps of an epoch of the run."""
        return max(len(self.train_records) // self.settings.step_images, 1)

    @cached_property
    def limit(self) -> TimeLimit | None:
        """What lays out a timed run; None for one that its epochs end."""
        if not self.settings.time:
            return None
        validation_steps = math.ceil(len(self.val_records) / self.settings.batch_size)
        return TimeLimit(self.settings, self.model.timed, self.started, validation_steps, self.team)

    @cached_property
    def cache(self) -> ImageCache | None:
        """What reads the run's training images, and may keep them; None where they are to be decoded anew each time."""
        if self.settings.cache == "none":
            return None
        bound, count = find_bound(), self.team.count
        shared = SharedImages.open(self.train_records, bound, self.team.gather) if count > 1 else None
        return ImageCache(bound // count, self.settings.cache == "ram", shared)

    def save_last(self) -> None:
        """Saves the model in training, and what is left of the time of a timed run."""
        if self.limit:
            self.model.timed = self.limit.to_dict()
        if self.folder.writes:
            with self.team.alone():
                save_model(self.model, self.folder.last)

    def has_ended(self) -> bool:
        """Whether there is nothing left to train: the epochs are done, the time is over, or the patience is out."""
        model, epochs = self.model, self.settings.epochs
        if model.unfinished:
            return False
        is_over = self.limit.is_over if self.limit else False
        return is_over or (epochs is not None and model.trained_epochs >= epochs) or self.is_stale(self.read_rows())

    def read_rows(self) -> list[dict[str, float]]:
        """The rows of the run's log, of the epochs that its model has seen to the end."""
        rows = self.team.from_first(self.folder.read_log)  # which others might still see as it was
        return [row for row in rows if row["epoch"] <= self.model.trained_epochs]

    def is_stale(self, rows: Sequence[Mapping[str, float]]) -> bool:
        """Whether the run's score has not risen in as many evaluations as its patience allows, by these rows of the log.

        Those while a part was frozen do not count, nor those before the run was prolonged: what comes after them has not yet
        been tried.
        """
        since = max(self.scores.keys() | {self.settings.unfreeze_at, self.model.schedule_start})
        later = sum("score" in row and row["epoch"] > since for row in rows)
        return bool(self.settings.patience) and later >= self.settings.patience

    def report_evaluation(
        self, state: str, evaluated: str, epoch: int, evaluation: Evaluation, detections: Sequence[Sequence[Detection]]
    ) -> None:
        """Rewrites the run's page with a new evaluation of the model of an epoch, called `evaluated`, and its worst images."""
        report, schema = self.report, self.model.schema
        if not self.folder.writes:
            return
        with report.measure("report"), self._surviving():
            report.worst = write_worst_images(self.folder.worst, self.val_records, detections, evaluation, schema, epoch)
            report.evaluation, report.evaluated = evaluation.to_dict(), evaluated
        self.write_page(state)

    def write_page(self, state: str, error: str = "") -> None:
        """Rewrites report.json and the run's page from all that stands in its folder."""
        if not self.folder.writes:
            return
        self.report.state, self.report.error = state, error
        with self.report.measure("report"), self._surviving():
            self.report.write(self.folder.report)
            clear_worst_images(self.folder.worst, self.report.worst)
            write_run_page(read_facts(self.folder), self.folder.page)

    @contextmanager
    def _surviving(self) -> Iterator[None]:
        """Inside, whatever goes wrong ends in a line: what only tells of a run must not end it."""
        try:
            yield
        except Exception as error:
            self.console.print(f"{self.folder.page.name}: could not be written anew ({error})", style="yellow", soft_wrap=True)
