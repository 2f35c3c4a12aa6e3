"""A machine with JAX and without TensorFlow: the whole line in a process that cannot import TensorFlow."""

import math
import os
import subprocess
import sys

import pytest
from quick import XLA_FLAGS

from centerkp.demo.scenes import write_demo
from centerkp.training.run_folder import RunFolder

CODE = """
import sys
from importlib.machinery import PathFinder

find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name.split(".")[0] == "tensorflow" else find(name, *rest)
from centerkp.cli import main

code = main(sys.argv[1:])
assert "tensorflow" not in sys.modules
sys.exit(code)
"""


def run(*arguments):
    environment = os.environ | {"KERAS_BACKEND": "jax", "XLA_FLAGS": XLA_FLAGS}
    return subprocess.run(
        [sys.executable, "-c", CODE, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=400
    )


@pytest.mark.long
def test_train_resume_and_infer(tmp_path):
    """With a part that trains from the second epoch on."""
    demo = write_demo(tmp_path / "demo", num_train=6, num_val=2, num_test=2, size=(96, 80))
    folder = RunFolder(tmp_path / "run")
    done = run("train", "--coco", demo.train_json, "--val", demo.val_json, "--backbone", "hourglass_10", "--image-size", 32,
               "--batch-size", 3, "--epochs", 2, "--eval-every", 1, "--freeze", "backbone", "--unfreeze-at", 1,
               "--run", folder.path)  # fmt: skip
    assert done.returncode == 0 and "frozen: backbone; " in done.stdout, done.stdout + done.stderr
    rows = folder.read_log()
    assert [row["epoch"] for row in rows] == [1, 2] and math.isfinite(rows[1]["loss"]) and "box_ap" in rows[1]
    again = run("train", "--resume", folder.path)  # killed after the last epoch: only the end is done again
    assert again.returncode == 0 and folder.read_log() == rows, again.stdout + again.stderr
    out = tmp_path / "out"
    found = run("infer", "--weights", folder.best, "--out", out, *sorted(demo.images_dir.glob("test_*.jpg")))
    assert found.returncode == 0 and (out / "predictions.json").exists(), found.stdout + found.stderr
