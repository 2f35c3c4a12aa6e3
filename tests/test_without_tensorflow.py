"""A machine with JAX and without TensorFlow: the whole line in a process that cannot import TensorFlow."""

import os
import subprocess
import sys

from centerkp.data.demo import write_demo
from centerkp.run_folder import RunFolder

CODE = """
import sys
sys.modules["tensorflow"] = None  # importing it raises ImportError
from centerkp.cli import main
sys.exit(main(sys.argv[1:]))
"""


def run(*arguments):
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    return subprocess.run(
        [sys.executable, "-c", CODE, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=400
    )


def test_train_resume_and_infer(tmp_path):
    demo = write_demo(tmp_path / "demo", num_train=6, num_val=2, num_test=2, size=(96, 80))
    folder = RunFolder(tmp_path / "run")
    done = run("train", "--coco", demo.train_json, "--val", demo.val_json, "--backbone", "hourglass_10", "--image-size", 32,
               "--batch-size", 3, "--epochs", 2, "--eval-every", 1, "--run", folder.path)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rows = folder.read_log()
    assert [row["epoch"] for row in rows] == [1, 2] and rows[1]["loss"] < rows[0]["loss"] and "box_ap" in rows[1]
    folder.log.write_text("".join(folder.log.read_text().splitlines(True)[:2]))  # as if killed before the second row
    again = run("train", "--resume", folder.path)
    assert again.returncode == 0 and "continuing after epoch 2" in again.stdout, again.stdout + again.stderr
    out = tmp_path / "out"
    found = run("infer", "--weights", folder.best, "--out", out, *sorted(demo.images_dir.glob("test_*.jpg")))
    assert found.returncode == 0 and (out / "predictions.json").exists(), found.stdout + found.stderr
