"""Nothing phones home: every command in a process that may not look up a name or open a connection, with a HOME of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import checkpoints
import pytest

from centerkp.cli.commands import COMMANDS as NAMES

TESTS = Path(__file__).parent
# The hook sees what Python does, whichever module asks; what it refuses is written down, since telemetry hides its errors.
CHILD = """
import os, sys, traceback

def refuse(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], str):
        return  # a file of this machine, by which Weights & Biases talks to the process that writes for it
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.connect", "socket.sendto", "urllib.Request"):
        with open(os.environ["CALLS"], "a") as file:
            file.write(f"{event} {arguments[:2]} {traceback.format_stack(limit=3)[0]}")
        raise OSError("refused")

sys.addaudithook(refuse)
"""
COMMANDS = """
import json, shlex, signal
from functools import partial
from dataclasses import replace
import centerkp.demo.scenes as scenes
import pytest
import uvicorn
from centerkp.cli import demo, main
from quick import run_eagerly

run_eagerly(pytest.MonkeyPatch())
small = scenes.write_demo("data", num_train=4, num_val=2, num_test=2, size=(96, 80))
again = json.load(open("data/train.json"))
for one in again["annotations"]:
    one["keypoints"] = [v + 1 if i % 3 < 2 and v else v for i, v in enumerate(one.get("keypoints", ()))]
json.dump(again, open("data/again.json", "w"))
scenes.write_demo = lambda folder: small

async def start_and_end(server, sockets):
    await start(server, sockets)
    signal.raise_signal(signal.SIGTERM)

start = uvicorn.Server.startup
uvicorn.Server.startup = start_and_end
demo.SETTINGS = replace(demo.SETTINGS, backbone="hourglass_10", image_size=32, batch_size=2, log="tensorboard,wandb,mlflow")
for command in json.load(open("commands.json")):
    code = main(shlex.split(command))
    assert code in (0, None) or command.startswith(("check", "export")) and code in (1, 2), (command, code)
"""
# Variables that others than users set, and by which these packages would behave otherwise than at home.
HEEDED = ("XDG_", "NNCF_", "NO_ALBU", "CI", "KERAS_HOME", "WANDB_", "MLFLOW_", "RAY_", "DO_NOT_TRACK")
EVERY = [
    "demo --epochs 1 --run run",
    "train --resume run",
    "tune --coco data/train.json --weights run/best.keras --image-size 32 --epochs 1 --batch-size 4 --trials 1 --run tuned",
    "report run",
    "infer data/images --weights run/best.keras --tta flip",
    "eval run/best.keras --coco data/val.json",
    "export run/best.keras --format openvino --precision int8 --calibrate data/images --out m.xml",
    "export run/best.keras --format litert --out m.tflite",
    "export run/best.keras --format onnx --out m.onnx",
    "infer data/images --weights m.onnx",
    "bulk data/images --weights m.onnx --out bulk",
    "serve m.onnx --port 0",
    "check data/train.json --html check.html",
    "review run/best.keras --coco data/train.json",
    "show data/train.json --targets --augment",
    "split data/train.json --val 0.5 --out halves",
    "merge data/train.json data/val.json --out merged.json",
    "import data/train.json imported.json",
    "export-labels data/train.json yolo",
    "sigmas data/train.json data/again.json",
    "label-map data/train.json",
    "tfrecord write data/train.json train.record",
    "convert hg10 converted.keras --coco named.json",
]


def run(code, folder):
    home = folder / "home"
    home.mkdir()
    calls = folder / "calls"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(HEEDED)}
    environment |= {"HOME": str(home), "CALLS": str(calls), "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stdout + done.stderr
    left = sorted(p.relative_to(home).as_posix() for p in home.rglob("*") if p.is_file())
    return left, calls.read_text() if calls.exists() else ""


@pytest.mark.long
def test_every_command(tmp_path):
    checkpoints.write_small("small_hg10", tmp_path / "hg10")
    points = {"a": [*"12345"], "b": [*"123"], "c": []}
    categories = [{"id": i, "name": name, "keypoints": points[name]} for i, name in enumerate(points, 1)]
    (tmp_path / "named.json").write_text(json.dumps({"images": [], "annotations": [], "categories": categories}))
    (tmp_path / "commands.json").write_text(json.dumps(EVERY))
    assert {command.split()[0].replace("-", "_") for command in EVERY} == set(NAMES)
    left, calls = run(CHILD + COMMANDS, tmp_path)
    assert calls == ""
    # ONNX Runtime reports from native code, which the hook does not see, but keeps its reports in HOME until they are sent.
    assert [name for name in left if not name.startswith((".keras/keras.json", ".cache/matplotlib/"))] == []
