"""What a training run leaves behind: one folder with settings, schema, versions, log, models, numbers and pictures."""

import csv
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from centerkp.labels.records import Record
from centerkp.schema import Schema
from centerkp.settings.training import TrainSettings
from centerkp.training.run_images import KeptImages, read_images, write_images
from centerkp.writing import WriteGuard, hold_folder, refuse_place, replacing, write_json

_PACKAGES = ("centerkp", "keras", "tensorflow", "jax", "numpy", "opencv-python-headless", "albumentations", "pycocotools")


def free_folder(path: Path) -> Path:
    """The path of a run folder itself if nothing is there, else with the first free number behind it."""
    free, number = path, 2
    while free.exists():
        free, number = path.with_name(f"{path.name}-{number}"), number + 1
    return free


def _find_versions() -> dict[str, str | None]:
    """Versions of Python, the backend and packages, for the run folder."""
    import keras  # which only training needs, and takes seconds to read

    versions: dict[str, str | None] = {"python": platform.python_version(), "platform": platform.platform()}
    versions["backend"] = keras.backend.backend()
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return versions


class RunFolder:
    """Names the files of a run and writes them so that a killed process leaves whole files only.

    Args:
        writes: False in the processes that train with the one that writes.
    """

    def __init__(self, path: str | Path, writes: bool = True):
        self.path, self.writes = Path(path), writes
        self.settings = self.path / "settings.json"
        self.images = self.path / "images.json"
        self.scores = self.path / "best.json"
        self.log = self.path / "log.csv"
        self.best = self.path / "best.keras"
        self.last = self.path / "last.keras"
        self.metrics = self.path / "metrics.json"
        self.predictions = self.path / "predictions.json"
        self.post_mortem = self.path / "post_mortem.json"
        self.report = self.path / "report.json"
        self.page = self.path / "report.html"
        self.versions = self.path / "versions.json"
        self.schema = self.path / "schema.json"
        self.pictures = self.path / "pictures"
        self.worst = self.pictures / "worst"
        self.tensorboard = self.path / "tensorboard"

    @classmethod
    def name(cls, settings: TrainSettings) -> "RunFolder":
        """Where a new run goes; without a given name runs/NAME-OF-THE-DATA, numbered if it is taken."""
        return cls(settings.run or free_folder(Path("runs") / settings.data_name))

    @classmethod
    def create(cls, settings: TrainSettings) -> "RunFolder":
        """Makes a new run folder, under the name that `name` gives.

        Raises:
            FileExistsError, ValueError: as `refuse_taken`.
        """
        while True:
            folder = cls.name(settings)
            folder.refuse_taken()
            try:
                folder.path.mkdir(parents=True, exist_ok=bool(settings.run))
                return folder
            except FileExistsError:  # another run has just taken the name
                if settings.run:
                    raise

    def refuse_taken(self, reads: Iterable[str | Path] = ()) -> None:
        """Lets a folder pass in which a new run can be written; raises where it holds a run or what a run reads.

        Args:
            reads: files that the run reads, under whatever names.

        Raises:
            FileExistsError: it already holds a run, or files that a run would write.
            ValueError: a run would write over one that it reads.
            NotADirectoryError, PermissionError: it is a file, lies in one, or cannot be written to.
        """
        refuse_place(self.path)
        files = (self.settings, self.images, self.scores, self.log, self.best, self.last, self.metrics, self.predictions)
        others = (self.schema, self.versions, self.report, self.page)
        WriteGuard(reads, overwrite=True).check([*files, *others])
        if self.settings.exists():
            raise FileExistsError(f"{self.path}: already holds a run; continue it with --resume, or choose another --run.")
        own = (self.best, self.last, self.log, self.metrics, self.predictions, self.page)
        taken = [p.name for p in own if p.exists()]
        if taken:
            raise FileExistsError(f"{self.path}: found {', '.join(taken)}, expected a folder of its own; choose another --run.")

    def hold(self) -> AbstractContextManager[None]:
        """Inside, no other process trains into this run folder, but those that belong to the one that writes.

        Raises:
            FileNotFoundError: there is no such folder.
            ValueError: another one does; names it.
        """
        if not self.path.is_dir():
            where = "" if self.writes else ", which process 0 has made; all have to see the same"
            raise FileNotFoundError(f"{self.path}: no such folder; expected that of a run{where}.")
        if not self.writes:
            return nullcontext()
        return hold_folder(self.path, "wait for it to end, or stop it first")

    def write_start(self, settings: TrainSettings, schema: Schema, train: Sequence[Record], val: Sequence[Record]) -> None:
        """Writes what it takes to do the same run again: images, schema, versions, and last the settings."""
        if not self.writes:
            return
        write_images(self.images, train, val)
        write_json(self.schema, schema.get_config(), indent=2)
        if not self.versions.exists():  # a resumed run keeps those it began with
            write_json(self.versions, _find_versions(), indent=2)
        self.write_settings(settings)

    def write_settings(self, settings: TrainSettings) -> None:
        """Writes the settings of a run, by which it counts as begun; their paths lead to the data from any folder.

        On how many machines and devices it trains is left out: it may go on with others.
        """
        own: dict[str, Any] = {"run": str(self.path), "devices": None, "hosts": None, "num_hosts": None, "host_id": None}
        write_json(self.settings, replace(settings, **own).anchor().to_dict(), indent=2)

    def read_images(self) -> KeptImages | None:
        """Which images of the run train and which validate; None in folders of earlier versions."""
        return read_images(self.images)

    def write_best(self, scores: Mapping[int, float], validation: str) -> None:
        """Writes best.json: scores of the models that were best, by epoch, on the validation set of this digest."""
        if not self.writes:
            return
        write_json(self.scores, {"validation": validation, "scores": {str(epoch): score for epoch, score in scores.items()}})

    def read_best(self, validation: str, epochs: int) -> dict[int, float] | None:
        """The scores in best.json until so many epochs; None when missing, or of another validation set."""
        try:
            content = json.loads(self.scores.read_text(encoding="utf-8"))
            scores = {int(epoch): float(score) for epoch, score in content["scores"].items()}
            known = content["validation"] == validation
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        return {epoch: score for epoch, score in scores.items() if epoch <= epochs} if known else None

    def read_settings(self) -> TrainSettings:
        """The settings that the run was started with; FileNotFoundError when this is no run folder."""
        return TrainSettings.read(self.settings)

    def read_log(self) -> list[dict[str, float]]:
        """The rows of the run's log.csv as numbers; empty cells are left out.

        Raises:
            ValueError: it holds something else.
        """
        if not self.log.exists():
            return []
        try:
            with open(self.log, newline="", encoding="utf-8") as file:
                rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
            return [row | {k: int(row[k]) for k in ("epoch", "best") if k in row} for row in rows if row["epoch"] > 0]
        except (ValueError, TypeError, KeyError, csv.Error) as error:
            raise ValueError(
                f"{self.log}: found no numbers ({error}), expected a row of them for each epoch; mend it or move it away."
            ) from None

    def write_log(self, rows: list[dict[str, float]]) -> None:
        """Writes all rows of the run's log.csv; a column that some rows lack stays empty there."""
        if not self.writes:
            return
        columns = list(dict.fromkeys(key for row in rows for key in row))
        with replacing(self.log) as part, open(part, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
