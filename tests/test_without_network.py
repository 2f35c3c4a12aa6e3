"""A machine without a network: from a COCO file to objects in a picture, by the defaults, in a process that opens no socket."""

import json
import os
import subprocess
import sys

import pytest

from centerkp.demo.scenes import write_demo
from centerkp.training.run_folder import RunFolder

CODE = """
import json, sys

def refuse(event, arguments):
    if event.startswith("socket.") and event not in ("socket.__new__", "socket.gethostname"):
        raise AssertionError(f"network: {event} {arguments}")

sys.addaudithook(refuse)
import pytest
from centerkp.cli import main
from quick import run_eagerly

run_eagerly(pytest.MonkeyPatch())
for command in json.loads(sys.argv[1]):
    if code := main(command):
        sys.exit(code)
"""


@pytest.mark.long
def test_train_and_infer_by_the_defaults(tmp_path):
    """No accelerator in this process: the light network, from features that came with the installation."""
    demo = write_demo(tmp_path / "demo", num_train=6, num_val=2, num_test=1, size=(96, 80))
    folder, out, photo = RunFolder(tmp_path / "run"), tmp_path / "out", str(next(demo.images_dir.glob("test_*.jpg")))
    train = ["train", "--coco", str(demo.train_json), "--epochs", "1", "--run", str(folder.path)]
    infer = ["infer", photo, "--weights", str(folder.best), "--out", str(out), "--score", "0.01"]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.path.dirname(__file__)}
    command = [sys.executable, "-c", CODE, json.dumps([train, infer])]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    settings = folder.read_settings()
    assert (settings.backbone, settings.weights, settings.freeze) == ("efficientnet_lite0_fpn", "drawn", "filters")
    assert settings.image_size == "320x256"
    text = " ".join(done.stdout.split())
    for words in ("backbone: efficientnet_lite0_fpn, because there is no accelerator here", "precision: ",
                  "image size: 320x256, because the images are wider than high: 80% of the work of 320x320",
                  "weights: drawn (by default)", "box_size and center_offset whole"):  # fmt: skip
        assert words in text, words
    assert (out / "predictions.json").exists()
