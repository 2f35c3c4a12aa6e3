"""Numbers and pictures of a run as TensorBoard, Weights & Biases and MLflow have kept them, without a network."""

import json
import time
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from rich.console import Console

from centerkp.settings.checks import LOGGERS
from centerkp.settings.training import TrainSettings
from centerkp.training import loggers
from centerkp.training.callbacks import LateEvaluation
from centerkp.training.loggers import RunLog, require_loggers
from centerkp.training.run import Run
from centerkp.training.run_folder import RunFolder

ROWS = ({"epoch": 1, "loss": 2.5}, {"epoch": 2, "loss": 1.5, "score": 0.25})


@pytest.fixture
def make_run(tmp_path, monkeypatch):
    """A run that has two validation images; its folder is the same each time, as when it is resumed."""
    monkeypatch.setattr(loggers, "draw_validation", lambda record, found, model: np.full((8, 9, 3), 200, np.uint8))
    for name in ("WANDB_MODE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "run").mkdir()
    folder, console = RunFolder(tmp_path / "run"), Console(record=True, width=200)
    return lambda log: Run(
        None, (), ("a", "b"), TrainSettings(log=log, epochs=2), folder, 0.0, console, detections=[[], []]
    )  # fmt: skip


def train(run, rows, fails=False):
    """What `fit` does with the loggers, an epoch for each row."""
    with RunLog(run) as log:
        log.set_model(SimpleNamespace())
        for row in rows:
            log.on_epoch_end(row["epoch"] - 1, dict(row))
        if fails:
            raise KeyboardInterrupt


def train_interrupted(run):
    """Twice: the second time is a resumed run."""
    with pytest.raises(KeyboardInterrupt):
        train(run, ROWS[:1], fails=True)
    train(run, ROWS[1:])


def test_tensorboard(make_run):
    run = make_run("tensorboard")
    train_interrupted(run)
    written = b"".join(path.read_bytes() for path in sorted(run.folder.tensorboard.iterdir()))
    assert written.count(b"loss") == 2 and written.count(b"score") == 1 and b"validation/1" in written


def test_mlflow_keeps_one_run_in_the_run_folder(make_run):
    from mlflow.tracking import MlflowClient

    run = make_run("mlflow")
    train_interrupted(run)
    client = MlflowClient(tracking_uri=f"sqlite:///{run.folder.path / 'mlflow' / 'mlflow.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name == "centerkp"]
    (kept,) = client.search_runs([experiment.experiment_id])
    assert kept.info.status == "FINISHED" and kept.info.run_name == "run" and kept.data.params["epochs"] == "2"
    assert [(m.step, m.value) for m in client.get_metric_history(kept.info.run_id, "loss")] == [(1, 2.5), (2, 1.5)]
    assert len(list((run.folder.path / "mlflow" / "pictures").rglob("*.png"))) == 2


def test_wandb_keeps_one_run_offline_in_the_run_folder(make_run):
    run = make_run("wandb")
    train_interrupted(run)
    folder = run.folder.path / "wandb"
    identity = (folder / "id.txt").read_text()
    first, second = sorted(folder.glob(f"offline-run-*/run-{identity}.wandb"))
    end = time.monotonic() + 10  # a process of its own writes them, which need not have come to the last lines
    while b"score" not in second.read_bytes() and time.monotonic() < end:
        time.sleep(0.05)
    assert b"loss" in first.read_bytes() and b"score" not in first.read_bytes()
    assert b"loss" in second.read_bytes() and b"score" in second.read_bytes()
    assert len(list(folder.rglob("*.png"))) == 2
    assert "(offline)" in run.console.export_text()


def test_a_logger_that_fails_does_not_end_the_run(make_run, monkeypatch):
    def full(self, *_):
        raise OSError("disk full")

    monkeypatch.setattr(loggers.TensorBoard, "write", full)
    run = make_run("tensorboard")
    train(run, ROWS)
    text = run.console.export_text()
    assert text.count("log: tensorboard failed (disk full); the run goes on without it") == 1


def test_one_that_cannot_be_opened_ends_it_before_the_first_step(make_run, monkeypatch):
    monkeypatch.setattr(loggers.MLflow, "__init__", lambda self, run: 1 / 0)
    closed = []
    monkeypatch.setattr(loggers.TensorBoard, "close", lambda self, finished: closed.append(finished))
    with pytest.raises(ValueError, match="--log mlflow: could not be opened .division by zero"):
        RunLog(make_run("tensorboard,mlflow"))
    assert closed == [False]


def test_names_and_packages(monkeypatch):
    assert TrainSettings(tensorboard=True, log="wandb, tensorboard,wandb").loggers == ["tensorboard", "wandb"]
    assert tuple(loggers.LOGGERS) == LOGGERS and TrainSettings().loggers == []
    with pytest.raises(ValueError, match="log: found 'wandd', expected .* did you mean 'wandb'"):
        TrainSettings(log="mlflow,wandd")
    monkeypatch.setitem(loggers.LOGGERS, "wandb", (None, "wandb_that_is_not_there"))
    with pytest.raises(FileNotFoundError, match="pip install 'centerkp.wandb.'"):
        require_loggers(TrainSettings(log="wandb"))


def test_the_epoch_after_which_a_callback_ends_the_run_is_evaluated():
    """Keras hands one dictionary from callback to callback: what comes later is given all numbers."""
    model = SimpleNamespace(stop_training=False)
    asked = []
    end = SimpleNamespace(evaluate_late=lambda epoch: asked.append(epoch) or {"score": 0.5})
    ending = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(model, "stop_training", epoch == 2))
    seen = []
    last = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(json.dumps(logs)))
    one = keras.callbacks.CallbackList([ending, LateEvaluation(end), last], model=model)
    for epoch in range(3):
        one.on_epoch_end(epoch, {"loss": 1.0})
    assert asked == [2] and seen[-2:] == ['{"loss": 1.0}', '{"loss": 1.0, "score": 0.5}']
