"""The commands and the Python of README and docs/ run, page by page, where what they speak of is; or it is said why not."""

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from doc_pages import PAGES, name_of, own_words, read_blocks, read_commands
from quick import run_eagerly
from tool_files import write_deeplabcut, write_yolo

from centerkp.cli import main
from centerkp.demo.scenes import write_demo

CHEAP = ["--image-size", "64", "--backbone", "hourglass_10", "--batch-size", "4", "--epochs", "1"]  # to train in seconds
NOT_RUN = {
    r"^(make|python3 -m venv|\. |pip install)": "installs, or runs all tests, this one too",
    r"^docker": "a server's image from the network; the SavedModel that it serves is run in tests/export",
    r"^centerkp demo": "draws and trains its whole dataset; the notebooks' test and tests/demo run its parts",
    r"train\.py (--coco ann\.json( --time 30m)?$|--resume|--tfrecord|--coco (data|project)|.*--(tile|weights) )":
        "trains as the one run that the folder here begins with; each flag has its tests in tests/training",
    r"--folds": "several trainings; tests/trials",
    r"^KERAS_BACKEND=jax": "another backend, devices and machines; tests/distribution",
    r"--weights coco|^centerkp convert": "weights from the network; tests/weights has the same from a server of its own",
    r"^centerkp review runs/folds": "needs folds; review of one model runs in tests/review",
    r"--accept": "needs suspects that somebody accepted; tests/review",
    r"infer\.py (0|rtsp:)": "a camera; tests/inference has streams",
    r"^centerkp bulk": "starts a Ray of its own; tests/bulk",
    r"^centerkp serve|^curl .*127\.0\.0\.1:8000": "a server that runs until it is told to end; tests/serving",
    r"^(trtexec|npm) |^python -m http\.server$": "programs of others, for a GPU and for browsers; the page says what was run",
    r"--format (openvino|litert|saved_model)": "minutes of conversion; tests/export",
    r"^python infer\.py photos/ --tile|infer\.py photos/ clip\.mp4|--weights runs/ann/best\.keras photos/":
        "the same as others with a flag or a source more; tests/inference",
}  # fmt: skip
NOT_RUN_PYTHON = {
    "8501/v1/models": "asks TensorFlow Serving",
    "8000/predict": "asks centerkp serve; tests/serving",
}
OUTCOMES = {"check": (0, 1)}  # 1: something is to be looked at


def write_people(folder: Path) -> None:
    """The same pictures as two people labelled them, and the halves of a week."""
    labels = json.loads((folder / "ann.json").read_text())
    rng = np.random.default_rng(0)
    for name in ("anna", "ben"):
        for one in labels["annotations"]:
            if one.get("keypoints"):
                points = np.reshape(one["keypoints"], (-1, 3)).astype(float)
                points[:, :2] += rng.normal(0, 0.5, (len(points), 2)) * (points[:, 2:] > 0)
                one["keypoints"] = points.ravel().tolist()
        (folder / f"{name}.json").write_text(json.dumps(labels))
    for name, images in (("monday", labels["images"][::2]), ("tuesday", labels["images"][1::2])):
        ids = {image["id"] for image in images}
        own = [one for one in labels["annotations"] if one["image_id"] in ids]
        (folder / f"{name}.json").write_text(json.dumps(labels | {"images": images, "annotations": own}))


def write_video(folder: Path) -> None:
    """A clip, and labelled frames of two videos by their names."""
    labels = json.loads((folder / "ann.json").read_text())
    writer = cv2.VideoWriter(str(folder / "clip.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, (128, 96))
    for number, image in enumerate(labels["images"]):
        pixels = cv2.imread(str(folder / image["file_name"]))
        image["file_name"] = f"images/video{number % 4}_{number}.jpg"
        cv2.imwrite(str(folder / image["file_name"]), pixels)
        if number < 4:
            writer.write(pixels)
    writer.release()
    (folder / "video.json").write_text(json.dumps(labels))


def write_pictures(folder: Path) -> None:
    """The pictures that nobody labelled, under the names that pages give them."""
    found = sorted((folder / "images").glob("test_*.jpg"))
    for name in ("photos/one.jpg", "photos/two.jpg", "clip_01.jpg", "photo.jpg", "shots/a/b.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), cv2.imread(str(found[len(name) % len(found)])))
    (folder / "list.txt").write_text("photo.jpg\nphotos\n")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A folder with labels, pictures, a trained model, an export, and predictions."""
    folder = tmp_path_factory.mktemp("workshop")
    files = write_demo(folder / "demo", 12, 8, 4, size=(128, 96))
    shutil.copytree(files.images_dir, folder / "images")
    for name, path in (("ann", files.train_json), ("val", files.val_json)):
        shutil.copy(path, folder / f"{name}.json")
    write_people(folder)
    write_video(folder)
    write_pictures(folder)
    (folder / "project").mkdir()
    write_deeplabcut(folder / "project")
    (folder / "records").mkdir()
    write_yolo(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_eagerly(patch)
        assert main(["train", "--coco", "ann.json", "--val", "val.json", "--run", "runs/ann", *CHEAP]) == 0
        assert main(["export", "runs/ann/best.keras", "--format", "onnx", "--out", "model.onnx"]) == 0
    for name in ("a", "b"):
        shutil.copytree(folder / "runs" / "ann", folder / "runs" / name)
    found = json.loads((folder / "runs" / "ann" / "predictions.json").read_text())
    (folder / "results.json").write_text(json.dumps(found["annotations"]))
    return folder


@pytest.fixture
def place(workshop, tmp_path, monkeypatch):
    """A copy of the workshop, in which a page may write what it likes."""
    shutil.copytree(workshop, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    run_eagerly(monkeypatch)
    return tmp_path / "here"


def reasons_for(command: str) -> list[str]:
    return [pattern for pattern in NOT_RUN if re.search(pattern, command)]


@pytest.mark.parametrize("page", [page for page in PAGES if any(not reasons_for(c) for c in read_commands(page))], ids=name_of)
def test_commands_run(page, place):
    if page.name == "judge.md":  # what infer left
        (place / "predictions").mkdir()
        shutil.copy("runs/ann/predictions.json", "predictions")
    for command in dict.fromkeys(read_commands(page)):
        if reasons_for(command):
            continue
        words = [
            word
            for part in own_words(command)
            for word in (sorted(map(str, Path().glob(part))) if "runs/*" in part else [part])
        ]
        if page.name == "deploy.md" and "best.onnx" in words and words[0] != "export":
            assert (place / "best.onnx").exists()  # by the page's own export
        assert _run(words) in OUTCOMES.get(words[0], (0,)), f"{name_of(page)}: {command}"


def _run(words: list[str]) -> int:
    try:
        return main(words)
    except SystemExit as done:  # of an argument that answers by itself
        return done.code


def test_every_reason_is_needed():
    commands = [command for page in PAGES for command in read_commands(page)]
    for pattern in NOT_RUN:
        assert any(re.search(pattern, command) for command in commands), pattern
    blocks = [block for page in PAGES for block in read_blocks(page, "python")]
    for mark in NOT_RUN_PYTHON:
        assert any(mark in block for block in blocks), mark


@pytest.mark.parametrize("page", [page for page in PAGES if read_blocks(page, "python")], ids=name_of)
def test_python_runs(page, place):
    """The blocks of a page one after another, in the same names, the network as small as a test needs it."""
    if page.name in ("deploy.md", "recipes.md"):  # what the command before exports
        shutil.copy("model.onnx", "best.onnx")
    names = {"__name__": "page"}
    for block in read_blocks(page, "python"):
        if any(mark in block for mark in NOT_RUN_PYTHON):
            continue
        small = block.replace("image_size=256", "image_size=64").replace("(256, 256)", "(64, 64)")
        small = small.replace("epochs=1, image_size=64)", "epochs=1, image_size=64, backbone='hourglass_10')")
        exec(compile(small, name_of(page), "exec"), names)
