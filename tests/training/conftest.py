"""A run that is small and quick enough to be interrupted, broken and prolonged at will."""

import pytest
from quick import run_eagerly

from centerkp.settings.training import TrainSettings
from centerkp.training import train as training


@pytest.fixture
def eagerly():
    with pytest.MonkeyPatch.context() as patch:
        run_eagerly(patch)
        yield


@pytest.fixture
def make_settings(demo, tmp_path, monkeypatch, eagerly):
    """Settings of a run on the module's `demo`; its network is the smallest there is."""
    monkeypatch.setattr(training, "start_model", lambda schema, settings, console: training.build_probe(schema, settings))
    fixed = {"coco": str(demo.train_json), "val": str(demo.val_json), "run": str(tmp_path / "run"), "backbone": "hourglass_10",
             "image_size": "40x32", "batch_size": 2, "threads": 1, "precision": "float32"}  # fmt: skip
    return lambda **values: TrainSettings(**fixed | values)
