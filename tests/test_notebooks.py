"""The notebooks run from top to bottom, one after another, with settings small enough for a test."""

import os
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
NAMES = [
    "1_look_at_your_data.ipynb",
    "2_train.ipynb",
    "3_predict_and_export.ipynb",
    "4_how_a_keypoint_is_learned.ipynb",
    "5_from_an_export_to_a_model.ipynb",
]
MAX_BYTES = 1_500_000  # of a stored notebook with its pictures
TINY = {
    "1_look_at_your_data.ipynb": {"IMAGES": 8, "IMAGE_SIZE": 64},
    "2_train.ipynb": {"IMAGES": 8, "IMAGE_SIZE": 64, "EPOCHS": 1},
    "3_predict_and_export.ipynb": {"IMAGES": 8},
    "4_how_a_keypoint_is_learned.ipynb": {},
    "5_from_an_export_to_a_model.ipynb": {"IMAGES": 8, "IMAGE_SIZE": 64, "FOLD_EPOCHS": 1, "EPOCHS": 1},
}


def set_parameters(book: nbformat.NotebookNode, values: dict) -> nbformat.NotebookNode:
    """Replaces the values in the cell that is tagged as the one with the parameters."""
    (cell,) = [cell for cell in book.cells if "parameters" in cell.metadata.get("tags", ())]
    for name, value in values.items():
        cell.source, count = re.subn(rf"^{name} = .*$", f"{name} = {value!r}", cell.source, flags=re.MULTILINE)
        assert count == 1, f"{name} is no parameter"
    return book


def execute(name: str, folder: Path, **values) -> str:
    """Runs a notebook in `folder`, raising at the first cell that fails; returns all text that it printed."""
    book = set_parameters(nbformat.read(NOTEBOOKS / name, as_version=4), values)
    NotebookClient(book, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    return "\n".join(output.get("text", "") for output in outputs)


COMMAND = f"""#!{sys.executable}
import sys

import pytest
from centerkp.cli import main

if sys.argv[1] == "train":  # a few steps
    from quick import run_eagerly

    run_eagerly(pytest.MonkeyPatch())
sys.exit(main())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    command = tmp_path_factory.mktemp("bin") / "centerkp"
    command.write_text(COMMAND)
    command.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        patch.setenv("MPLBACKEND", "agg")
        yield tmp_path_factory.mktemp("notebooks")


@pytest.mark.long
def test_notebooks_run(folder):
    """In one test, since each takes up what the one before left behind."""
    texts = {name: execute(name, folder, **TINY[name]) for name in NAMES}
    for name, text in texts.items():
        assert "error:" not in text and "Traceback" not in text, f"{name}:\n{text}"
    assert "pliers" in texts[NAMES[0]]
    assert (folder / "data" / "demo" / "mended.json").exists()
    assert (folder / "runs" / "train" / "best.keras").exists()
    assert (folder / "runs" / "model.onnx").exists()
    for out in ("found", "found_onnx"):
        assert (folder / "runs" / out / "predictions.json").exists()
    assert "the farthest 0.00" in texts[NAMES[3]]
    assert "1 pliers with left and right exchanged" in texts[NAMES[4]] and "suspects show one" in texts[NAMES[4]]
    for name in ("photos_review/report.html", "photos.onnx", "photos_found/predictions.json"):
        assert (folder / "runs" / name).exists()


@pytest.mark.parametrize("name", NAMES)
def test_notebooks_are_stored_with_their_outputs(name):
    """Executed as they stand, in order, without an error, with pictures, small, and without anybody's folders."""
    path = NOTEBOOKS / name
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert all(output.output_type != "error" for output in outputs)
    assert any({"image/jpeg", "image/png"} & set(output.get("data", ())) for output in outputs)
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/home/|/root/|/work/|/tmp/|error:", text)
    assert len(text) < MAX_BYTES
