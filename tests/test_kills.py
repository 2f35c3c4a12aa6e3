"""Killed at any moment and at any file operation, then resumed or repeated: nothing is lost, and nothing is half written.

`CENTERKP_KILLS=40 pytest tests/test_kills.py` kills every command as often, the suite only a few times. Half of the kills hit
right before a file operation, spread over all there are, the others at random moments.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import checkpoints
import cv2
import numpy as np
import pytest
import squares
from same_run import assert_same_run

import centerkp
from centerkp.demo.scenes import write_demo
from centerkp.labels.splitting import PARTS
from centerkp.model.center_net import save_model
from centerkp.schema import Schema
from centerkp.training.run_folder import RunFolder

TESTS = Path(__file__).parent
KILLS = int(os.environ.get("CENTERKP_KILLS", 0))
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
ARCHIVE = "centernet_tiny_kpts.tar.gz"


@dataclass(frozen=True)
class Case:
    """A command and what is true of it.

    Args:
        prepare: makes the folder it starts from.
        command: its arguments, there.
        check: looks at (folder, finished folder) after a kill: what stands there is whole, and of one make.
        compare: looks at (folder, finished folder) after the repetition.
        again: its arguments after a kill, from the folder.
        few: kills in the suite.
    """

    prepare: Callable[[Path], None]
    command: list[str]
    check: Callable[[Path, Path], None]
    compare: Callable[[Path, Path], None]
    again: Callable[[Path], list[str]] | None = None
    few: int = 0


def start(folder, arguments, number=0, sent=0, seconds=None):
    """Exit code, what it said on stderr, and how long it took, in a folder; the signal comes at an operation or a moment."""
    line = [sys.executable, str(TESTS / "kill_at.py"), str(folder), str(number), str(int(sent)), *arguments]
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    began = time.monotonic()
    process = subprocess.Popen(
        line, cwd=folder, env=os.environ | {"PYTHONPATH": path}, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    if seconds is not None:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(sent)
    said = process.communicate(timeout=600)[1]
    return process.returncode, said, time.monotonic() - began


def read_tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def same_bytes(*names):
    def compare(folder, whole):
        for name in names:
            assert (folder / name).read_bytes() == (whole / name).read_bytes(), name

    return compare


# split: over an earlier one with another seed


def prepare_split(folder):
    write_demo(folder / "data", num_train=8, num_val=1, num_test=1, size=(64, 64))
    (folder / "out").mkdir()
    for name in PARTS:
        (folder / "out" / f"train_{name}.json").write_text('"earlier"')


def check_split(folder, whole):
    """All of the earlier one, or files of the new one alone: never images on both sides."""
    found = {p.name: p.read_text() for p in (folder / "out").iterdir() if not p.name.startswith("part-")}
    earlier = {name for name, text in found.items() if text == '"earlier"'}
    assert found.keys() == earlier or not earlier
    for name in found.keys() - earlier:
        assert found[name] == (whole / "out" / name).read_text(), name


# check --fix


def prepare_check(folder):
    write_demo(folder / "data", num_train=4, num_val=1, num_test=1, size=(64, 64))
    path = folder / "data" / "train.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["id"] = "first"
    path.write_text(json.dumps(content))
    (folder / "fixed.json").write_text('"earlier"')


def check_check(folder, whole):
    assert (folder / "fixed.json").read_bytes() in (b'"earlier"', (whole / "fixed.json").read_bytes())
    page = folder / "report.html"
    assert not page.exists() or page.read_text().rstrip().endswith("</html>")


# infer: pictures and a video


def prepare_infer(folder):
    for i in range(5):
        squares.write_png(folder / "in" / f"{i}.png", ("red", 10 + i, 20, 12), ("green", 60, 50, 9))
    squares.write_clip(folder / "in" / "clip.avi", [squares.draw(("red", 5 + i, 30, 12)) for i in range(20)])


def check_infer(folder, whole):
    """What was finished before a signal is all there; every file is whole."""
    for path in (folder / "out" / "images").glob("[0-9].png"):
        assert path.read_bytes() == (whole / "out" / "images" / path.name).read_bytes()
    for path in (folder / "out" / "videos").glob("clip.mp4"):
        assert cv2.VideoCapture(str(path)).read()[0]
    path = folder / "out" / "predictions.json"
    if path.exists():
        content, full = (json.loads((f / "out" / "predictions.json").read_text()) for f in (folder, whole))
        assert content["images"] == full["images"][: len(content["images"])]
        assert content["annotations"] == full["annotations"][: len(content["annotations"])]
        for image in content["images"]:
            assert "video" in image or (folder / "out" / "images" / image["file_name"]).exists()


# train


def prepare_train(folder):
    write_demo(folder / "data", num_train=8, num_val=1, num_test=1, size=(96, 80))


TRAIN = ["train", "--coco", "data/train.json", "--val-fraction", "0.25", "--run", "run", "--backbone", "hourglass_10",
         "--image-size", "32", "--batch-size", "2", "--epochs", "3", "--eval-every", "2", "--threads", "1",
         "--precision", "float32", "--save-every", "0.001s"]  # fmt: skip


def resume_train(folder):
    return ["train", "--resume", "run"] if (folder / "run" / "settings.json").exists() else TRAIN


def check_train(folder, whole):
    run = RunFolder(folder / "run")
    for path in (run.best, run.last):
        if path.exists():
            centerkp.load_model(path)
    assert [row["epoch"] for row in run.read_log()] == list(range(1, 1 + len(run.read_log())))
    for name in ("settings", "schema", "versions", "images", "best", "metrics", "predictions"):
        path = run.path / f"{name}.json"
        assert not path.exists() or json.loads(path.read_text())


def compare_train(folder, whole):
    assert_same_run(RunFolder(folder / "run"), RunFolder(whole / "run"))
    same_bytes("run/metrics.json", "run/predictions.json", "run/schema.json")(folder, whole)


# export


def prepare_export(folder):
    save_model(centerkp.build_model(Schema.generic(1, 2), backbone="hourglass_10", image_size=32), folder / "best.keras")


def check_export(name):
    """No artefact, or a whole one that the comparison had passed; its numbers are its own."""

    def check(folder, whole):
        if (folder / name).exists():
            centerkp.load_detector(folder / name)

    return check


def compare_export(name, report):
    def compare(folder, whole):
        centerkp.load_detector(folder / name)
        assert json.loads((folder / report).read_text())["passed"]

    return compare


# download, by the parts of a checkpoint that is fetched, unpacked and ported


def check_download(folder, whole):
    for path in (folder / "weights").glob("*.keras"):
        if not path.name.startswith("part-"):
            centerkp.load_model(path)
    archive = folder / "weights" / ARCHIVE
    assert not archive.exists() or archive.read_bytes() == (whole / "weights" / ARCHIVE).read_bytes()


def compare_download(folder, whole):
    same_bytes(f"weights/{ARCHIVE}", f"weights/{ARCHIVE}.sha256")(folder, whole)
    ours, theirs = (centerkp.load_model(f / "weights" / "centernet_tiny_kpts.keras") for f in (folder, whole))
    for a, b in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_array_equal(a, b)


SPLIT = ["split", "data/train.json", "--test", "0.2", "--out", "out", "--overwrite"]
CHECK = ["check", "data/train.json", "--fix", "fixed.json", "--html", "report.html", "--overwrite"]
INFER = ["infer", "in", "--weights", "squares", "--csv", "--out", "out", "--batch-size", "2"]
CASES = {
    "split": Case(prepare_split, SPLIT, check_split, same_bytes(*(f"out/train_{name}.json" for name in PARTS)), few=3),
    "check": Case(prepare_check, CHECK, check_check, same_bytes("fixed.json"), few=2),
    "infer": Case(prepare_infer, INFER, check_infer, same_bytes("out/predictions.json", "out/predictions.csv"), few=2),
    "train": Case(prepare_train, TRAIN, check_train, compare_train, resume_train, few=1),
    "download": Case(lambda folder: None, ["download"], check_download, compare_download, few=1),
}
ARTEFACTS = {"onnx": "best.onnx", "openvino": "best.xml", "saved_model": "best_saved_model", "litert": "best.tflite"}
CASES |= {
    f"export-{format}": Case(
        prepare_export,
        ["export", "best.keras", "--format", format],
        check_export(name),
        compare_export(name, f"{name}/export.json" if format == "saved_model" else f"{name}.export.json"),
    )
    for format, name in ARTEFACTS.items()
}


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if KILLS or case.few])
def test_killed_and_repeated(name, tmp_path, monkeypatch):
    case, chance = CASES[name], random.Random(name)
    template, whole = tmp_path / "template", tmp_path / "whole"
    template.mkdir()
    case.prepare(template)
    with ExitStack() as stack:
        if name == "download":
            checkpoints.write_checkpoint(tmp_path / "s" / "ckpt-0", checkpoints.make_variables(checkpoints.coco_shapes()))
            data = checkpoints.pack(tmp_path / "s", tmp_path / ARCHIVE).read_bytes()
            server = stack.enter_context(checkpoints.serve({ARCHIVE: data}))
            monkeypatch.setenv("CENTERKP_WEIGHTS_URL", server.address(ARCHIVE))
        inputs = read_tree(template)
        shutil.copytree(template, whole)
        code, said, seconds = start(whole, case.command)
        operations = int(said.splitlines()[-1].split()[0])
        finished = read_tree(whole)
        assert code in (0, 1) and operations > 1, said
        kills = KILLS or case.few
        for kill in range(kills):
            sent = SIGNALS[(kill // 2 if KILLS else kill) % 3]
            place = {"seconds": chance.uniform(0.2, 1) * seconds}
            if kill % 2 == 0:
                place = {"number": 1 + (kill * operations // kills + chance.randrange(operations) * (not KILLS)) % operations}
            folder = tmp_path / "killed"
            shutil.copytree(template, folder)
            ended, said, _ = start(folder, case.command, sent=sent, **place)
            where = f"{name}, {sent.name} at {place}: exit code {ended}\n{said}"
            print(where)
            assert ended in (-sent, 128 + sent, code), where
            if ended == 128 + sent:
                assert "Traceback" not in said and not [p for p in folder.rglob("part-*")], where
            left = read_tree(folder)
            outputs = {n for n in finished if finished[n] != inputs.get(n)}
            assert {n: left.get(n) for n in inputs.keys() - outputs} == {n: inputs[n] for n in inputs.keys() - outputs}, where
            case.check(folder, whole)
            again, said, _ = start(folder, case.again(folder) if case.again else case.command)
            assert again == code, f"{where}\nrepeated: {said}"
            assert read_tree(folder).keys() == finished.keys(), where
            case.compare(folder, whole)
            shutil.rmtree(folder)
