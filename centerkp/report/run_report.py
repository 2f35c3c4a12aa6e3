"""report.json: what a run tells of itself that stands in none of its other files, for its page."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from centerkp.evaluation.tables import TextTable
from centerkp.labels.records import Record
from centerkp.report.run_page import WHOLE
from centerkp.report.training_data import count_dataset, count_images, describe_keypoints
from centerkp.schema import Schema
from centerkp.writing import write_json


@dataclass
class RunReport:
    """What a run tells of itself besides settings, log and numbers; a resumed one goes on with it.

    Args:
        asked: names of the settings that were given; None in runs of earlier versions, which did not keep them.
        choices: the lines on settings that were chosen, "name: value, because ...".
        notes, tables: what was understood of the data and the network, the tables as `TextTable` has them.
        evaluation, evaluated: the numbers of the newest evaluation, and which model they are of.
        worst: the validation images that went worst in it, each with `caption` and, by title, its `files` in the run folder.
        seconds: by what they were spent on, see `report.run_page.PARTS`.
        state, error: as in `report.run_page.RunFacts`.
    """

    asked: list[str] | None = None
    choices: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tables: list[dict[str, Any]] = field(default_factory=list)
    evaluation: dict[str, Any] = field(default_factory=dict)
    evaluated: str = ""
    worst: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    state: str = ""
    error: str = ""

    def __post_init__(self) -> None:
        self._since = monotonic()

    @classmethod
    def start(cls, asked: list[str], started: float) -> "RunReport":
        """The report of a new run, with the names of the settings that were given, before anything was chosen."""
        report = cls(asked)
        report._since = started
        return report

    @classmethod
    def read(cls, path: Path, started: float | None = None) -> "RunReport":
        """The report that a run has kept; an empty one where there is none, as in folders of earlier versions.

        Args:
            started: from when on its time goes on, by `monotonic`.

        Raises:
            ValueError: the file is damaged.
        """
        try:
            report = cls(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else cls()
        except (ValueError, TypeError, RecursionError):
            raise ValueError(
                f"{path}: found no report of a run, expected what training writes; delete it, and the page does without."
            ) from None
        report._since = started or monotonic()
        return report

    def note_data(self, train: Sequence[Record], val: Sequence[Record], schema: Schema, notes: Sequence[str]) -> None:
        """Takes what was understood of the data into the report, in place of what a resumed run knew."""
        tables = [*count_dataset(train, val, schema), describe_keypoints(schema)]
        self.notes, self.tables = [count_images(train, val), *notes], [asdict(table) for table in tables]

    def note_given(self, *names: str) -> None:
        """Takes settings for given from now on, whatever was said of them in the report before, as where a run is prolonged."""
        self.choices = [line for line in self.choices if line.partition(": ")[0].replace(" ", "_") not in names]
        if self.asked is not None:
            self.asked = list(dict.fromkeys([*self.asked, *names]))

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Adds the time that is spent inside to a part of the run's, of which the report tells."""
        started = monotonic()
        try:
            yield
        finally:
            self.add_seconds(part, monotonic() - started)

    def add_seconds(self, part: str, seconds: float) -> None:
        """Adds seconds to a part of the run's time."""
        self.seconds[part] = self.seconds.get(part, 0.0) + seconds

    def write(self, path: Path) -> None:
        """Writes the report of the run, with the time up to now."""
        now = monotonic()
        self.add_seconds(WHOLE, now - self._since)
        self._since = now
        write_json(path, asdict(self), indent=1)


def to_table(content: Mapping) -> TextTable:
    """A table of the run's report as it was before it was written."""
    return TextTable(content["title"], tuple(content["headings"]), tuple(map(tuple, content["rows"])))
