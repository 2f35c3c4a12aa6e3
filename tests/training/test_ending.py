"""Runs that end before their last epoch: when the score no longer rises."""

import json

import pytest
from rich.console import Console

import centerkp
from centerkp.demo.scenes import write_demo
from centerkp.training.callbacks import EpochEnd
from centerkp.training.run_folder import RunFolder
from centerkp.training.settings import TrainSettings
from centerkp.training.train import train


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return write_demo(tmp_path_factory.mktemp("data") / "demo", num_train=8, num_val=3, num_test=1, size=(96, 80))


@pytest.fixture
def make_settings(demo, tmp_path):
    """Settings of a run of the smallest network, four steps an epoch."""
    fixed = {"coco": str(demo.train_json), "val": str(demo.val_json), "run": str(tmp_path / "run"), "backbone": "hourglass_10",
             "image_size": 32, "batch_size": 2, "threads": 1, "precision": "float32"}  # fmt: skip
    return lambda **values: TrainSettings(**fixed | values)


def test_patience_ends_a_run_also_when_it_was_interrupted(make_settings, tmp_path, monkeypatch):
    """The second evaluation is the best; with one after it the run is interrupted, with two it ends, and stays ended."""
    scores, console = iter((0.1, 0.3, 0.2, None, 0.3)), Console(record=True, width=200)
    settings, folder = make_settings(epochs=9, eval_every=1, patience=2), RunFolder(tmp_path / "run")

    def evaluate(self):
        score = next(scores)
        if score is None:
            raise KeyboardInterrupt
        return {"score": score}

    monkeypatch.setattr(EpochEnd, "_evaluate_model", evaluate)
    with pytest.raises(KeyboardInterrupt):
        train(settings, console=console)
    train(folder.read_settings(), resume=folder.path, console=console)
    assert "no higher score in 2 evaluations: the run ends, epoch 2 was its best (0.300)" in console.export_text()
    assert [row["epoch"] for row in folder.read_log()] == [1, 2, 3, 4] and folder.metrics.exists()
    assert centerkp.load_model(folder.best).trained_epochs == 2
    folder.metrics.unlink()
    train(folder.read_settings(), resume=folder.path, console=console)
    assert "the run had ended after 4 epochs" in console.export_text()
    assert [row["epoch"] for row in folder.read_log()] == [1, 2, 3, 4] and json.loads(folder.metrics.read_text())
