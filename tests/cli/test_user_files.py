"""What belongs to the user, under every command: on a full disk, on a read-only one, and with an input as output."""

import hashlib
import json
import os
import re
import resource
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import checkpoints
import pytest
import squares
from coco_files import annotation, write_coco
from tool_files import write_deeplabcut, write_labelme, write_yolo

from centerkp.cli import main
from centerkp.schema import Schema

CATEGORIES = [{"id": 1, "name": "bee", "keypoints": ["head", "sting"]}, {"id": 2, "name": "fly"}]
NAMED = [{"id": 1, "name": "pliers", "keypoints": list("abcde")}, {"id": 2, "name": "nut", "keypoints": list("fgh")},
         {"id": 3, "name": "bolt"}]  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A tiny network and a small checkpoint of the Object Detection API."""
    from centerkp.weights.start import build_model

    folder = tmp_path_factory.mktemp("models")
    tiny = {"stem_channels": 1, "channels": (1, 1), "blocks": (1, 1), "stacks": 1}
    build_model(Schema.from_coco({"categories": CATEGORIES}), backbone=tiny, image_size=32).save(folder / "m.keras")
    checkpoint = checkpoints.write_small("small_hg10", folder / "hg10").parent.parent
    return SimpleNamespace(keras=folder / "m.keras", checkpoint=checkpoint)


@pytest.fixture()
def own(tmp_path, monkeypatch, models):
    """The user's folder: a dataset labelled twice, one with images of its own, a video, names for a checkpoint."""
    own = tmp_path / "own"
    monkeypatch.chdir(tmp_path)
    for name in ("a.json", "b.json"):
        points = {"keypoints": [10, 10 if name == "a.json" else 12, 2, 9, 9, 2], "num_keypoints": 2}
        objects = [annotation(n, n, **points) for n in (1, 2, 3)]
        write_coco(own / name, {f"{n}.png": [] for n in (1, 2, 3)}, CATEGORIES, annotations=objects)
    write_coco(own / "val" / "val.json", {"4.png": [1]}, CATEGORIES)
    (own / "videos").mkdir()
    squares.write_clip(own / "videos" / "c.mp4", squares.moving_square(3), "mp4v")
    (own / "names.json").write_text(json.dumps({"images": [{}], "annotations": [], "categories": NAMED}))
    for name in ("metrics.json", "schema.json", "suspects.json"):
        shutil.copy(own / "a.json", own / name)
    (own / "ended").mkdir()
    (own / "ended" / "settings.json").write_text(json.dumps({"coco": "a.json"}))
    shutil.copy(own / "a.json", own / "a.onnx")
    shutil.copy(own / "names.json", own / "names.keras")
    ticked = annotation(1, 1, keypoints=[10, 10, 2, 9, 9, 2], suspect="twice", reason="", score=1, accept=True, proposal=None)
    whole = json.loads((own / "a.json").read_text())
    (own / "ticked.json").write_text(json.dumps(whole | {"annotations": [ticked]}))
    return own


def digests(folder: Path) -> dict[Path, str]:
    """Of all files, hidden ones and those left half written included."""
    return {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


def commands(own: Path, out: Path, models) -> dict[str, list]:
    """Every command, with all that it can write going to `out`."""
    ann, images = own / "a.json", own / "images"
    return {
        "check": ["check", ann, "--html", out / "r.html", "--fix", out / "fixed.json"],
        "check html": ["check", ann, "--html", out / "r.html"],
        "review": ["review", models.keras, "--coco", ann, "--out", out],
        "review accept": ["review", "--coco", ann, "--accept", own / "ticked.json", "--fix", out / "fixed.json"],
        "show": ["show", ann, "--out", out / "s.png"],
        "split": ["split", ann, "--val", 0.4, "--out", out],
        "merge": ["merge", ann, own / "val" / "val.json", "--out", out / "all.json"],
        "import": ["import", ann, out / "i.json"],
        "export_labels": ["export-labels", ann, out / "yolo"],
        "sigmas": ["sigmas", ann, own / "b.json", "--out", out / "s.json"],
        "label_map": ["label-map", ann, out / "map.pbtxt"],
        "tfrecord": ["tfrecord", "write", ann, out / "x.record"],
        "convert": ["convert", models.checkpoint, out / "m.keras", "--coco", own / "names.json"],
        "export onnx": ["export", models.keras, "--format", "onnx", "--out", out / "m.onnx"],
        "export openvino": ["export", models.keras, "--format", "openvino", "--out", out / "m.xml"],
        "export litert": ["export", models.keras, "--format", "litert", "--out", out / "m.tflite"],
        "export saved_model": ["export", models.keras, "--format", "saved_model", "--out", out / "m"],
        "eval": ["eval", models.keras, "--coco", ann, "--out", out],
        "report": ["report", own / "ended", "--out", out / "page.html"],
        "report several": ["report", own / "ended", own / "ended", "--out", out / "page.html"],
        "infer": ["infer", images, "--weights", models.keras, "--out", out, "--csv"],
        "infer video": ["infer", own / "videos", "--weights", models.keras, "--out", out],
        "bulk": ["bulk", images, "--weights", models.keras, "--out", out],
        "train": ["train", "--coco", ann, "--val", own / "val" / "val.json", "--run", out / "run", "--weights", "none",
                  "--backbone", "hourglass_10", "--image-size", 32, "--epochs", 1, "--batch-size", 2],
        "train folds": ["train", "--coco", ann, "--folds", 2, "--group-by", r"(\d)", "--run", out / "run", "--weights", "none",
                        "--backbone", "hourglass_10", "--image-size", 32, "--epochs", 1, "--batch-size", 2],
        "tune": ["tune", "--coco", ann, "--val", own / "val" / "val.json", "--run", out / "tune", "--weights", "none",
                 "--trials", 1, "--backbone", "hourglass_10", "--image-size", 32, "--epochs", 1, "--batch-size", 2],
        "demo": ["demo", "--data", out / "demo", "--run", out / "run", "--epochs", 1],
    }  # fmt: skip


WRITE_NOTHING = {"serve"}
NAMES = list(commands(Path(), Path(), SimpleNamespace(keras=Path(), checkpoint=Path())))


def test_no_command_is_forgotten():
    from centerkp.cli.commands import COMMANDS, build_parser

    assert {name.split()[0] for name in NAMES} == set(COMMANDS) - WRITE_NOTHING
    for name in WRITE_NOTHING:
        assert not {"out", "overwrite", "html", "fix", "run"} & set(vars(build_parser().parse_args([name])))


def refused(command, capsys) -> str:
    """The one sentence with which a command ends."""
    assert main([str(part) for part in command]) == 2
    text = capsys.readouterr().err
    sentence = text.split("error: ")[-1].strip()
    assert "Traceback" not in text and "[Errno" not in text
    assert sentence.endswith(".") and len(sentence.splitlines()) == 1, text
    return sentence


@contextmanager
def read_only(folder: Path, monkeypatch):
    """For root, whom no mode stops, by the file system's own mark; where that has none, by what the system says when asked."""
    folder.chmod(0o555)
    marked = False
    if os.access(folder, os.W_OK):
        marked = bool(shutil.which("chattr")) and subprocess.run(["chattr", "+i", folder], capture_output=True).returncode == 0
    if os.access(folder, os.W_OK):
        real = os.access
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder and real(path, mode))
    try:
        yield
    finally:
        if marked:
            subprocess.run(["chattr", "-i", folder], check=True)
        folder.chmod(0o755)


@contextmanager
def full_disk(folder: Path):
    """A disk without a free byte at `folder`; who may not mount one gets a process that may not write one."""
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True
    )
    if mounted and mounted.returncode == 0:
        try:
            with open(folder / "filler", "wb", buffering=0) as file, pytest.raises(OSError):
                while True:
                    file.write(bytes(1024))
            yield
        finally:
            subprocess.run(["umount", folder], check=True)
    else:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("name", NAMES)
def test_on_a_read_only_folder(own, tmp_path, models, name, capsys, monkeypatch):
    before, out = digests(own), tmp_path / "out"
    out.mkdir()
    with read_only(out, monkeypatch):
        assert str(out) in refused(commands(own, out, models)[name], capsys)
    assert digests(own) == before and not digests(out)


@pytest.mark.parametrize("name", NAMES)
def test_on_a_full_disk(own, tmp_path, models, name, capsys):
    """Nothing half written stays, not even under a temporary name."""
    before, out = digests(own), tmp_path / "out"
    out.mkdir()
    with full_disk(out):
        sentence = refused(commands(own, out, models)[name], capsys)
        assert str(out) in sentence and re.search("could not be written|disk full", sentence)
        assert {p.name for p in digests(out)} <= {"filler", ".lock"}  # that of a run folder, empty
    assert digests(own) == before


OWN_INPUTS = {
    "check html annotations": ["check", "a.json", "--html", "a.json"],
    "check html validation": ["check", "a.json", "--val", "val/val.json", "--html", "val/val.json"],
    "check html image": ["check", "a.json", "--html", "images/1.png"],
    "check html validation image": ["check", "a.json", "--val", "val/val.json", "--html", "val/images/4.png"],
    "check fix annotations": ["check", "a.json", "--fix", "images/../a.json"],
    "check fix image": ["check", "a.json", "--fix", "images/2.png"],
    "review": ["review", "{keras}", "--coco", "suspects.json", "--out", "."],
    "review accept": ["review", "--coco", "a.json", "--accept", "ticked.json", "--fix", "a.json"],
    "review accepted": ["review", "--coco", "a.json", "--accept", "ticked.json", "--fix", "ticked.json"],
    "review image": ["review", "--coco", "a.json", "--accept", "ticked.json", "--fix", "images/1.png"],
    "show image": ["show", "a.json", "--out", "images/1.png"],
    "show annotations": ["show", "a.json", "--out", "a.json"],
    "merge": ["merge", "a.json", "val/val.json", "--out", "val/val.json"],
    "merge image": ["merge", "a.json", "val/val.json", "--out", "images/1.png"],
    "import": ["import", "a.json", "images/../a.json"],
    "import image": ["import", "a.json", "images/1.png"],
    "sigmas first": ["sigmas", "a.json", "b.json", "--out", "a.json"],
    "sigmas second": ["sigmas", "a.json", "b.json", "--out", "b.json"],
    "label_map": ["label-map", "a.json", "a.json"],
    "tfrecord annotations": ["tfrecord", "write", "a.json", "a.json"],
    "tfrecord image": ["tfrecord", "write", "a.json", "images/1.png"],
    "tfrecord label map": ["tfrecord", "write", "a.json", "new.record", "--label-map", "a.json"],
    "convert": ["convert", "{checkpoint}", "names.keras", "--coco", "names.keras"],
    "export": ["export", "{keras}", "--format", "onnx", "--coco", "a.onnx", "--out", "a.onnx"],
    "eval": ["eval", "{keras}", "--coco", "metrics.json", "--out", "."],
    "report": ["report", "ended", "--out", "ended/settings.json"],
    "train annotations": ["train", "--coco", "metrics.json", "--run", "."],
    "train folds": ["train", "--coco", "metrics.json", "--folds", "2", "--run", "."],
    "train validation": ["train", "--coco", "a.json", "--val", "schema.json", "--run", "."],
    "infer folder": ["infer", "images", "--weights", "{keras}", "--out", "."],
    "infer picture": ["infer", "images/1.png", "--weights", "{keras}", "--out", "."],
    "infer video": ["infer", "videos/c.mp4", "--weights", "{keras}", "--out", "."],
    "infer list": ["infer", "list.txt", "--weights", "{keras}", "--out", "."],
    "bulk": ["bulk", "images", "--weights", "{keras}", "--out", "images/found"],
}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", OWN_INPUTS)
def test_with_its_own_input_as_output(own, models, name, overwrite, capsys, monkeypatch):
    monkeypatch.chdir(own)
    (own / "list.txt").write_text("images/1.png\nimages/2.png\n")
    before = digests(own)
    command = [part.format(**{k: str(v) for k, v in vars(models).items()}) for part in OWN_INPUTS[name]]
    asked = ["--overwrite"] if overwrite and command[0] != "train" else []  # which never replaces anything
    sentence = refused([*command, *asked], capsys)
    # Images are known only when the JSON has been read; until then they are files that no earlier run wrote.
    assert "which are never changed" in sentence or ("no earlier run" in sentence and not overwrite)
    assert digests(own) == before


FOREIGN = {
    "check": "fixed.json", "check html": "r.html", "review": "suspects.json",
    "review accept": "fixed.json", "show": "s.png", "split": "a_val.json", "merge": "all.json",
    "sigmas": "s.json", "label_map": "map.pbtxt", "tfrecord": "x.record", "convert": "m.keras", "export onnx": "m.onnx",
    "export openvino": "m.bin", "export litert": "m.tflite", "export saved_model": "m", "eval": "report.html",
    "report": "page.html", "report several": "page.html",
    "bulk": "_manifest.parquet", "infer": "images/1.png", "infer video": "videos/c.mp4",
    "train": "run/settings.json", "train folds": "run/settings.json", "demo": "demo/notes.txt",
    "tune": "tune/trials.json", "import": "i.json", "export_labels": "yolo",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_over_a_file_that_nobody_but_the_user_wrote(own, tmp_path, models, name, capsys):
    """Said before anything is computed, so that no network need be there."""
    path = tmp_path / "out" / FOREIGN[name]
    path.parent.mkdir(parents=True)
    path.write_text("precious")
    before = digests(tmp_path)
    missing = SimpleNamespace(keras=own / "none.keras", checkpoint=own / "none")
    if not name.startswith("train"):  # which has its settings, but no network to read
        assert str(path) in refused(commands(own, tmp_path / "out", missing)[name], capsys) or name == "demo"
    else:
        refused(commands(own, tmp_path / "out", models)[name], capsys)
    assert digests(tmp_path) == before


@pytest.mark.parametrize("name", ["check html", "show", "label_map", "eval", "report", "infer", "infer video"])
def test_again_over_what_it_wrote_itself(own, tmp_path, models, name, capsys):
    """Reports and pictures are replaced by those of the next run, unasked."""
    for _ in range(2):
        assert main([str(part) for part in commands(own, tmp_path / "out", models)[name]]) in (0, 1)


@pytest.mark.parametrize("kind", ["labelme", "yolo", "yolo folder", "deeplabcut"])
@pytest.mark.parametrize("command", ["import", "check", "merge", "show", "tfrecord", "label-map", "label map of tfrecord"])
def test_label_files_in_a_folder_are_not_written_over(tmp_path, capsys, kind, command):
    """They are read as much as a single file is, which --overwrite spares too."""
    (folder := tmp_path / "data").mkdir()
    writers = {"labelme": write_labelme, "deeplabcut": write_deeplabcut}
    wrote = writers.get(kind, write_yolo)(folder)
    source = folder / "labels" if kind == "yolo folder" else wrote
    label = {"labelme": folder / "a.json", "deeplabcut": folder / "labeled-data" / "v" / "CollectedData_me.csv"}.get(kind)
    label = label or folder / "labels" / "train" / "a.txt"
    before, other = label.read_bytes(), write_labelme(tmp_path, name="other") / "other.json"
    record = tmp_path / "x.record"
    words = {
        "import": [command, source, label], "check": [command, source, "--fix", label],
        "merge": [command, source, other, "--out", label], "show": [command, source, "--out", label],
        "tfrecord": [command, "write", source, label], "label-map": [command, source, label],
        "label map of tfrecord": ["tfrecord", "write", source, record, "--label-map", label],
    }[command]  # fmt: skip
    assert main([*map(str, words), "--overwrite"]) == 2
    assert "found as output and among the files to read" in " ".join(capsys.readouterr().err.split())
    assert label.read_bytes() == before


def test_a_run_spares_the_labels_of_a_folder_too(tmp_path):
    """labelme names them as the pictures are, which may be the name of a run's file."""
    from centerkp.settings.training import TrainSettings
    from centerkp.training.run_folder import RunFolder

    folder = write_labelme(tmp_path / "data", name="schema")
    with pytest.raises(ValueError, match=r"schema\.json: found as output and among the files to read"):
        RunFolder(folder).refuse_taken(TrainSettings(coco=str(folder)).reads)
