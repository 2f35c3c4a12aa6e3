"""Loggers of a run: TensorBoard, Weights & Biases and MLflow, which one callback gives the numbers of its log and pictures."""

import logging
import os
import time
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import keras
import numpy as np

from centerkp.console import import_extra
from centerkp.settings.training import TrainSettings
from centerkp.training.callbacks import draw_validation
from centerkp.training.run import Run

PICTURES = 4  # validation images for the loggers, after every evaluation
PROJECT = "centerkp"  # of Weights & Biases, and the experiment of MLflow


class Logger(Protocol):
    """A program that shows the course of a run; `place` says to people where what it is given goes."""

    place: str

    def __init__(self, run: Run) -> None:
        """Opens the logger for a run; a resumed one goes on in the same place."""

    def write(self, numbers: Mapping[str, float], pictures: Mapping[str, np.ndarray], epoch: int) -> None:
        """Gives the logger what an epoch came to; pictures are (h, w, 3) uint8 RGB."""

    def close(self, finished: bool) -> None:
        """Closes the logger of a run that has finished, or was interrupted."""


class TensorBoard:
    """The logger that writes files of events for TensorBoard into the run folder."""

    def __init__(self, run: Run) -> None:
        from tensorboardX import SummaryWriter

        self.place = str(run.folder.tensorboard)
        # A name of its own: that of a file has the second in it, and a file of the same second would be written over.
        self.writer = SummaryWriter(self.place, filename_suffix=f".{uuid4().hex[:8]}")

    def write(self, numbers: Mapping[str, float], pictures: Mapping[str, np.ndarray], epoch: int) -> None:
        """Writes an epoch's scalars and pictures for TensorBoard."""
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, epoch)
        for name, picture in pictures.items():
            self.writer.add_image(name, picture, epoch, dataformats="HWC")
        self.writer.flush()

    def close(self, finished: bool) -> None:
        """Closes TensorBoard's file."""
        self.writer.close()


class WeightsAndBiases:
    """The logger for Weights & Biases: offline in the run folder, unless WANDB_MODE says otherwise."""

    def __init__(self, run: Run) -> None:
        import wandb

        folder = run.folder.path / "wandb"
        os.environ.setdefault("WANDB_CACHE_DIR", str(folder / "cache"))  # else it leaves logs in the user's home
        mode: Any = os.environ.get("WANDB_MODE", "offline")
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT), name=run.folder.path.name, dir=str(folder.parent), mode=mode,
            id=_keep_id(folder, lambda: uuid4().hex), resume="allow", reinit="create_new", config=run.settings.to_dict(),
            settings=wandb.Settings(silent=True, console="off"),
        )  # fmt: skip
        self.run.define_metric("*", step_metric="epoch")  # steps of its own would have to rise, also after --resume
        self.make_image = wandb.Image
        self.place = f"{folder} ({mode})"

    def write(self, numbers: Mapping[str, float], pictures: Mapping[str, np.ndarray], epoch: int) -> None:
        """Gives Weights & Biases the numbers and pictures of an epoch."""
        images = {name: self.make_image(picture) for name, picture in pictures.items()}
        self.run.log({**numbers, **images, "epoch": epoch})

    def close(self, finished: bool) -> None:
        """Ends the run of Weights & Biases."""
        self.run.finish(exit_code=0 if finished else 1)


class MLflow:
    """The logger for MLflow: a database in the run folder, unless MLFLOW_TRACKING_URI names a server."""

    def __init__(self, run: Run) -> None:
        from mlflow.tracking import MlflowClient

        for name in ("mlflow", "alembic"):  # they tell how they make the tables
            logging.getLogger(name).setLevel(logging.WARNING)
        folder = (run.folder.path / "mlflow").absolute()
        folder.mkdir(exist_ok=True)
        self.server = os.environ.get("MLFLOW_TRACKING_URI")
        self.place = self.server or f"sqlite:///{(folder / 'mlflow.db').as_posix()}"
        self.client = MlflowClient(tracking_uri=self.place)
        self.id = _keep_id(folder, lambda: self._create(run, folder))
        self.client.update_run(self.id, status="RUNNING")

    def _create(self, run: Run, folder: Path) -> str:
        """Makes a run of MLflow with the settings of ours: its id."""
        from mlflow.entities import Param

        where = None if self.server else (folder / "pictures").as_uri()
        known = self.client.get_experiment_by_name(PROJECT)
        experiment = known.experiment_id if known else self.client.create_experiment(PROJECT, artifact_location=where)
        created = self.client.create_run(experiment, run_name=run.folder.path.name).info.run_id
        self.client.log_batch(created, params=[Param(k, str(v)) for k, v in run.settings.to_dict().items()])
        return created

    def write(self, numbers: Mapping[str, float], pictures: Mapping[str, np.ndarray], epoch: int) -> None:
        """Gives MLflow the numbers and pictures of an epoch."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self.client.log_batch(self.id, [Metric(name, float(value), now, epoch) for name, value in numbers.items()])
        for name, picture in pictures.items():
            self.client.log_image(self.id, picture, key=name, step=epoch)

    def close(self, finished: bool) -> None:
        """Ends the run of MLflow."""
        self.client.set_terminated(self.id, "FINISHED" if finished else "KILLED")


# With the package that each needs.
LOGGERS: dict[str, tuple[type[Logger], str]] = {
    "tensorboard": (TensorBoard, "tensorboardX"),
    "wandb": (WeightsAndBiases, "wandb"),
    "mlflow": (MLflow, "mlflow"),
}


def _keep_id(folder: Path, create: Callable[[], str]) -> str:
    """What a logger calls the run, kept in its folder so that a resumed run goes on under the same name."""
    path = folder / "id.txt"
    if not path.exists():
        folder.mkdir(exist_ok=True)
        path.write_text(create(), encoding="utf-8")
    return path.read_text(encoding="utf-8")


def require_loggers(settings: TrainSettings) -> None:
    """Raises FileNotFoundError with the remedy where the package of a logger that the settings name is not installed."""
    for name in settings.loggers:
        import_extra(LOGGERS[name][1], name)


class RunLog(keras.callbacks.Callback):
    """Gives the loggers of a run the numbers of every epoch and, after evaluations, validation images beside predictions.

    One that fails on the way, for its server or a full disk, is left out from then on, which is no reason to end the run. As a
    context it closes them.

    Raises:
        ValueError: a logger cannot be opened.
    """

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run
        self.loggers: dict[str, Logger] = {}
        for name in run.settings.loggers if run.folder.writes else ():
            try:
                self.loggers[name] = LOGGERS[name][0](run)
            except Exception as error:
                self.close(finished=False)
                raise ValueError(f"--log {name}: could not be opened ({error}); leave it out, or mend that.") from error
            run.console.print(f"log: {name} in {self.loggers[name].place}", soft_wrap=True)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        self.close(finished=kind is None)

    def close(self, finished: bool) -> None:
        """Closes all loggers of a run that has finished, or was interrupted."""
        for name, logger in list(self.loggers.items()):
            self._attempt(name, logger.close, finished)

    def on_epoch_end(self, epoch: int, logs: Mapping | None = None) -> None:
        """Gives the loggers the epoch's row of the log and, after an evaluation, pictures."""
        pictures = {}
        if self.loggers and "score" in logs:
            pairs = islice(zip(self.run.val_records, self.run.detections, strict=True), PICTURES)
            drawn = (draw_validation(record, found, self.model) for record, found in pairs)
            pictures = {f"validation/{number}": picture for number, picture in enumerate(drawn)}
        for name, logger in list(self.loggers.items()):
            self._attempt(name, logger.write, logs, pictures, epoch + 1)

    def _attempt(self, name: str, action: Callable, *values: Any) -> None:
        """Does something with a logger, which is left out from then on if it fails."""
        try:
            action(*values)
        except Exception as error:
            del self.loggers[name]
            self.run.console.print(f"log: {name} failed ({error}); the run goes on without it", soft_wrap=True)
