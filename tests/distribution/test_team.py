"""One process and two train the same model, on JAX, with the smallest network there is.

`benchmarks/scale.py` holds more of both to the same numbers: several devices in each, one of them killed.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from quick import XLA_FLAGS

import centerkp
from centerkp.demo.scenes import write_demo
from centerkp.distribution.team import Team
from centerkp.distribution.validation import _weave
from centerkp.settings.training import TrainSettings
from centerkp.training.run_folder import RunFolder

WORKER = Path(__file__).with_name("worker.py")
FLAGS = ["--backbone", "hourglass_10", "--weights", "none", "--image-size", "32", "--batch-size", "4", "--epochs", "2",
         "--eval-every", "1", "--threads", "1", "--precision", "float32"]  # fmt: skip
STEPS = 2


def start(folder, demo, name, *flags, number=0):
    """A process of a training, what it says going into a file: the process, which images it has seen, and that file."""
    seen, said = folder / f"{name}{number}.jsonl", folder / f"{name}{number}.txt"
    data = ["--coco", str(demo.train_json), "--val", str(demo.val_json), "--run", str(folder / name)]
    root = str(Path(centerkp.__file__).parents[1])
    variables = os.environ | {"XLA_FLAGS": XLA_FLAGS, "KERAS_BACKEND": "jax", "PYTHONPATH": root}
    with open(said, "w") as file:
        process = subprocess.Popen(
            [sys.executable, str(WORKER), str(seen), *data, *FLAGS, *flags], env=variables, stdout=file, stderr=file
        )
    return process, seen, said


def free_port():
    with socket.socket() as one:
        one.bind(("localhost", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three processes side by side: most of their time goes into building graphs."""
    folder = tmp_path_factory.mktemp("runs")
    demo = write_demo(folder / "demo", num_train=9, num_val=6, num_test=1, size=(72, 64))
    together = ["--hosts", f"localhost:{free_port()}", "--num-hosts", "2", "--host-id"]
    started = {
        "alone": [start(folder, demo, "alone")],
        "hosts": [start(folder, demo, "hosts", *together, str(i), number=i) for i in range(2)],
    }
    processes = [one for some in started.values() for one in some]
    try:
        for process, _, said in processes:
            assert process.wait(timeout=600) == 0, said.read_text()[-2000:]
    finally:
        for process, *_ in processes:
            process.kill()
            process.wait()
    return {
        name: (RunFolder(folder / name), [read_seen(seen) for _, seen, _ in processes], [p[2].read_text() for p in processes])
        for name, processes in started.items()
    }


def read_seen(path):
    return {tuple(json.loads(line)) for line in path.read_text().splitlines()}


@pytest.mark.long
def test_the_same_losses_numbers_and_weights(runs):
    alone, other = runs["alone"][0], runs["hosts"][0]
    for ours, theirs in zip(alone.read_log(), other.read_log(), strict=True):
        del ours["seconds"], theirs["seconds"]
        assert theirs == pytest.approx(ours, rel=1e-5)
    ours, theirs = (json.loads(folder.metrics.read_text()) for folder in (alone, other))
    assert ours["box"] == theirs["box"] and ours["keypoints"] == theirs["keypoints"]
    for file in ("last", "best"):
        ours, theirs = (centerkp.load_model(getattr(folder, file)) for folder in (alone, other))
        for a, b in zip(ours.weights, theirs.weights, strict=True):
            np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=1e-4, err_msg=a.path)


@pytest.mark.long
def test_each_image_is_read_by_one_process(runs):
    (alone,), (first, second) = (runs[name][1] for name in ("alone", "hosts"))
    assert not first & second and first | second == alone and len(first) == len(second) == 2 * STEPS * 2


@pytest.mark.long
def test_the_first_alone_writes_and_prints(runs):
    folder, _, (first, second) = runs["hosts"]
    assert "report.html" in first and "devices: 2, 2 processes of 1 cpu each" in first
    told = [line for line in second.splitlines() if line.startswith("process 1 of 2 waits for process 0")]
    assert len(told) == 4 and "epoch" not in second and "error" not in second
    assert folder.page.exists() and not any(folder.path.glob("*.part"))


@pytest.mark.long
def test_where_a_run_trains_is_not_part_of_it(runs):
    """So that it goes on anywhere."""
    settings = runs["hosts"][0].read_settings()
    assert (settings.devices, settings.hosts, settings.num_hosts, settings.host_id) == (None, None, None, None)
    assert settings.batch_size == 4


def test_one_process_on_one_device_asks_nobody():
    with Team(TrainSettings()) as team:
        assert team.gather(3) == [3] and team.from_first(lambda: 4) == 4 and team.share == (0, 1)
        with team.together(None), team.apart(None), team.alone():
            pass


def test_what_was_dealt_out_is_in_its_order_again():
    items = list("abcdefgh")
    assert _weave([items[i::3] for i in range(3)]) == items and _weave([[], []]) == []
