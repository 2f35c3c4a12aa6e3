"""What a training run leaves behind: one folder with settings, schema, versions, log, models, numbers and pictures."""

import csv
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import keras

from centerkp.schema import Schema
from centerkp.training.settings import TrainSettings
from centerkp.writing import replacing, write_json

_PACKAGES = ("centerkp", "keras", "tensorflow", "jax", "numpy", "opencv-python-headless", "albumentations", "pycocotools")


def free_folder(path: Path) -> Path:
    """The path itself if nothing is there, else with the first free number behind it."""
    free, number = path, 2
    while free.exists():
        free, number = path.with_name(f"{path.name}-{number}"), number + 1
    return free


class RunFolder:
    """Names the files of a run and writes them so that a killed process leaves whole files only."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.settings = self.path / "settings.json"
        self.log = self.path / "log.csv"
        self.best = self.path / "best.keras"
        self.last = self.path / "last.keras"
        self.metrics = self.path / "metrics.json"
        self.predictions = self.path / "predictions.json"
        self.pictures = self.path / "pictures"
        self.tensorboard = self.path / "tensorboard"

    @classmethod
    def create(cls, settings: TrainSettings) -> "RunFolder":
        """A new folder for a run; without a given name runs/NAME-OF-THE-DATA, numbered if it is taken.

        Raises:
            FileExistsError: the named folder already holds a run.
        """
        if settings.run:
            folder = cls(settings.run)
            if folder.settings.exists():
                raise FileExistsError(
                    f"{folder.path}: already holds a run; continue it with --resume, or choose another --run."
                )
        else:
            folder = cls(free_folder(Path("runs") / settings.data_name))
        folder.path.mkdir(parents=True, exist_ok=True)
        return folder

    def write_start(self, settings: TrainSettings, schema: Schema) -> None:
        """Settings, schema and versions: what it takes to do the same again."""
        write_json(self.settings, settings.to_dict(), indent=2)
        write_json(self.path / "schema.json", schema.get_config(), indent=2)
        versions = {"python": platform.python_version(), "platform": platform.platform(), "backend": keras.backend.backend()}
        for package in _PACKAGES:
            try:
                versions[package] = version(package)
            except PackageNotFoundError:
                versions[package] = None
        write_json(self.path / "versions.json", versions, indent=2)

    def read_settings(self) -> TrainSettings:
        """The settings the run was started with; FileNotFoundError when this is no run folder."""
        return TrainSettings.read(self.settings)

    def read_log(self) -> list[dict[str, float]]:
        """The rows of log.csv as numbers; empty cells are left out."""
        if not self.log.exists():
            return []
        with open(self.log, newline="", encoding="utf-8") as file:
            return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]

    def write_log(self, rows: list[dict[str, float]]) -> None:
        """All rows of log.csv; a column that some rows lack stays empty there."""
        columns = list(dict.fromkeys(key for row in rows for key in row))
        with replacing(self.log) as part, open(part, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
