"""A run on tiles of large pictures: what is learned is their size, and whoever uses the model sees it so without being told."""

import cv2
import numpy as np
import pytest

import centerkp
from centerkp.demo.scenes import write_demo
from centerkp.images.tiling import Tiling
from centerkp.inference.model_loading import load_for_use
from centerkp.runtimes.artefact import Description
from centerkp.training.run_folder import RunFolder
from centerkp.training.train import train


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return write_demo(tmp_path_factory.mktemp("data") / "demo", num_train=4, num_val=2, num_test=1, size=(240, 200))


def test_run_on_tiles(make_settings, tmp_path, capsys):
    """The model remembers them; validation looks at all tiles, so that objects are found where whole pictures have none."""
    train(make_settings(epochs=1, tile=96))
    folder = RunFolder(tmp_path / "run")
    assert "seen in tiles of 96 pixels that overlap by 20%" in " ".join(capsys.readouterr().out.split())
    model = centerkp.load_model(folder.best)
    assert model.tiling == Tiling(96) and folder.read_settings().tile == 96
    assert Description.of(model, "onnx", "fp32", None).to_dict()["tiling"] == [96, 0.2]
    picture = np.zeros((200, 240, 3), np.uint8)
    shown = []
    predict, model.predict_on_batch = model.predict_on_batch, lambda x: shown.append(len(x["image"])) or predict(x)
    centerkp.predict(model, [picture], batch_size=12)
    centerkp.predict(model, [picture], batch_size=12, tile=0)
    assert shown == [12, 1]  # 4 x 3 tiles, and the whole
    assert load_for_use(folder.best, tile=0).tiling is None
    assert load_for_use(folder.best, overlap=0.3).tiling == Tiling(96, 0.3)
    batch = cv2.imread(str(folder.pictures / "first_batch.jpg"))
    assert batch is not None
