"""Which runtime computes a `.keras` file, and the artefacts that are kept for it."""

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from centerkp.cli import main
from centerkp.console import make_console
from centerkp.demo.scenes import draw_scene
from centerkp.export import kept
from centerkp.export.kept import choose_runtime
from centerkp.images.saving import write_image
from centerkp.inference.detect import detect
from centerkp.inference.model_loading import load_detector


@pytest.fixture(scope="module")
def made(tiny_model, tmp_path_factory):
    """A model's file beside which an artefact has been made."""
    folder = tmp_path_factory.mktemp("made")
    tiny_model.save(folder / "best.keras")
    console = make_console(record=True, width=200)
    artefact = choose_runtime(folder / "best.keras", console=console)
    return folder, artefact, console.export_text()


@pytest.fixture
def run(made, tmp_path):
    """A copy of it that a test may change."""
    shutil.copytree(made[0], tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def says():
    """A console, and what was printed on it."""
    console = make_console(record=True, width=300)
    return console, console.export_text


@pytest.fixture
def never(monkeypatch):
    """Makes no artefact without a failure."""
    monkeypatch.setattr(kept, "_make", lambda *_: pytest.fail("an artefact was made"))


@pytest.fixture
def faster(run):
    """Its note says that the artefact was three times as fast, whatever this machine was busy with."""
    change_note(run, times_as_fast=3.0)
    return run


def change_note(run, **fields):
    note = run / "runtimes" / "best.xml.kept.json"
    note.write_text(json.dumps(json.loads(note.read_text()) | fields))


def test_it_is_made_once_compared_and_kept(made, tiny_model, inputs):
    folder, _, text = made
    assert "made a model for OpenVINO in" in text and "computed by" in text
    assert json.loads((folder / "runtimes" / "best.xml.export.json").read_text())["passed"]
    found = load_detector(folder / "runtimes" / "best.xml").predict_on_batch(inputs)
    np.testing.assert_allclose(found["scores"], np.asarray(tiny_model.predict_on_batch(inputs)["scores"]), atol=1e-4)


def test_the_kept_one_is_taken_also_for_one_picture(faster, says, never):
    assert choose_runtime(faster / "best.keras", pictures=1, console=says[0]) == faster / "runtimes" / "best.xml"
    assert "computed by OpenVINO, 3.0 times as fast as Keras" in says[1]()
    assert choose_runtime(str(faster / "best.keras"), "keras", console=says[0]) == str(faster / "best.keras")


def test_a_run_folder_has_one_too(faster, says, never):
    (faster / "settings.json").write_text("{}")
    assert choose_runtime(faster, console=says[0]) == faster / "runtimes" / "best.xml"


@pytest.mark.parametrize("change", ("other weights", "other version", "cut off", "lost", "no note", "half a note"))
def test_what_does_not_belong_to_the_file_is_made_anew(faster, says, monkeypatch, tiny_model, change):
    xml = faster / "runtimes" / "best.xml"
    if change == "other weights":
        weight = tiny_model.trainable_weights[0]
        before = weight.numpy()
        weight.assign(before + 1e-3)
        tiny_model.save(faster / "best.keras")
        weight.assign(before)
    elif change == "other version":
        monkeypatch.setattr(kept, "__version__", "99")
    elif change == "cut off":
        xml.with_suffix(".bin").write_bytes(b"half")
    elif change == "lost":
        xml.unlink()
    elif change == "half a note":
        change_note(faster, files={})
    else:
        (faster / "runtimes" / "best.xml.kept.json").write_text("[]")
    makes = []
    monkeypatch.setattr(kept, "_make", lambda place, _: makes.append(place.artefact) or {"failures": [], "times_as_fast": 2.0})
    assert choose_runtime(faster / "best.keras", console=says[0]) == xml and makes == [xml]


def test_few_pictures_are_not_worth_it(run, says, never):
    shutil.rmtree(run / "runtimes")
    assert choose_runtime(run / "best.keras", pictures=19, console=says[0]) == run / "best.keras"
    assert "computed by Keras; from 20 pictures on by OpenVINO (--runtime openvino: now)" in says[1]()
    assert not (run / "runtimes").exists()


def test_another_size_and_more_objects_have_artefacts_of_their_own(faster, says, monkeypatch):
    makes = []
    made = {"failures": [], "times_as_fast": 2.0, "max_objects": 500}
    monkeypatch.setattr(kept, "_make", lambda place, _: makes.append(place) or made)
    assert choose_runtime(faster / "best.keras", max_objects=20, console=says[0]).name == "best.xml" and not makes
    assert choose_runtime(faster / "best.keras", max_objects=500, console=says[0]).name == "best_500_objects.xml"
    assert choose_runtime(faster / "best.keras", image_size=128, console=says[0]).name == "best_128.xml"
    assert choose_runtime(faster / "best.keras", image_size=(128, 96), console=says[0]).name == "best_128x96.xml"
    assert choose_runtime(faster / "best.keras", "onnx", console=says[0]).name == "best.onnx"
    assert [(place.image_size, place.max_objects) for place in makes] == [
        (None, 500), (128, None), ((128, 96), None), (None, None)
    ]  # fmt: skip


def test_slower_and_different_ones_are_left_alone(run, says, never):
    change_note(run, times_as_fast=0.5)
    assert choose_runtime(run / "best.keras", console=says[0]) == run / "best.keras"
    assert choose_runtime(run / "best.keras", "openvino", console=says[0]) == run / "runtimes" / "best.xml"
    change_note(run, failures=["canvas: scores"])
    assert choose_runtime(run / "best.keras", console=says[0]) == run / "best.keras"
    assert "slower" in (text := says[1]()) and "found differences from Keras over the tolerance (canvas: scores)" in text
    with pytest.raises(ValueError, match="canvas: scores.*--runtime keras"):
        choose_runtime(run / "best.keras", "openvino", console=says[0])


def test_what_cannot_be_made_leaves_keras_to_it(run, says, monkeypatch):
    """Such as in a folder where nothing may be written, on a full disk, by a library that fails."""
    shutil.rmtree(run / "runtimes")
    (run / "runtimes").write_text("no folder")
    assert choose_runtime(run / "best.keras", console=says[0]) == run / "best.keras"
    assert "OpenVINO could not be used" in says[1]()
    with pytest.raises(OSError):
        choose_runtime(run / "best.keras", "openvino", console=says[0])
    monkeypatch.setattr(kept, "find_free_memory", lambda: {"resident": 1000})
    assert choose_runtime(run / "best.keras", console=says[0]) == run / "best.keras" and "memory" in says[1]()


def test_without_another_runtime_it_says_how_to_get_one(run, says, monkeypatch):
    monkeypatch.setattr(kept, "find_spec", lambda name: None if name in ("openvino", "onnxruntime") else find_spec(name))
    assert choose_runtime(run / "best.keras", console=says[0]) == run / "best.keras"
    assert "pip install 'centerkp[openvino]'" in says[1]()
    monkeypatch.setattr(kept, "find_spec", lambda name: None if name == "openvino" else find_spec(name))
    monkeypatch.setattr(kept, "_make", lambda place, _: {"failures": [], "times_as_fast": 2.0})
    assert choose_runtime(run / "best.keras", console=says[0]).name == "best.onnx"


def test_a_gpu_is_faster_than_both(run, says, never, monkeypatch):
    import keras

    monkeypatch.setattr(kept.sys, "platform", "win32")  # where Keras is asked
    monkeypatch.setattr(keras.distribution, "list_devices", lambda *_: ["gpu:0"])
    assert choose_runtime(run / "best.keras", console=says[0]) == run / "best.keras"


@pytest.mark.parametrize("name", ("coco", "model.onnx", "ckpt-0", "lost.keras"))
def test_what_is_no_keras_file_has_its_runtime(tmp_path, says, name):
    assert choose_runtime(name, console=says[0]) == name
    if name != "lost.keras":
        with pytest.raises(ValueError, match="--runtime: found openvino for .*expected a .keras file"):
            choose_runtime(name, "openvino", console=says[0])


def test_infer_takes_it_and_finds_what_keras_finds(faster, tmp_path, capsys):
    picture = draw_scene(np.random.default_rng(0), (120, 90), 2)[0]
    write_image(tmp_path / "a.png", picture, "test")
    found = {}
    for runtime in ("auto", "keras"):
        out = tmp_path / runtime
        line = ["infer", str(tmp_path / "a.png"), "--weights", str(faster / "best.keras"), "--score", "0.05", "--out", str(out)]
        assert main([*line, "--runtime", runtime]) == 0
        found[runtime] = json.loads((out / "predictions.json").read_text())["annotations"]
        assert ("computed by OpenVINO" in capsys.readouterr().out) == (runtime == "auto")
    assert len(found["auto"]) == len(found["keras"]) > 0
    for one, other in zip(*found.values(), strict=True):
        np.testing.assert_allclose(one["bbox"], other["bbox"], atol=0.1)
    assert main([*line, "--runtime", "openvino", "--tta", "flip"]) == 2
    assert "together with --tta" in capsys.readouterr().err


def test_several_batches_at_once_come_in_order(made, pictures):
    """Each picture is found as it is alone, whichever part of the processor was free for it."""
    detector = load_detector(made[0] / "runtimes" / "best.xml")
    alone = [next(iter(detect(detector, [picture], batch_size=1))) for picture in pictures]
    for batch_size in (2, 3, 8):
        found = list(detect(detector, pictures * 5, batch_size=batch_size))
        assert [one.name for one in found] == [f"image_{number}" for number in range(20)]
        for one, other in zip(found, alone * 5, strict=True):
            assert one.size == other.size and len(one.detections) == len(other.detections) > 0
            for mine, theirs in zip(one.detections, other.detections, strict=True):
                np.testing.assert_allclose(mine.box_xyxy, theirs.box_xyxy, atol=1e-3)


def test_the_kept_one_starts_without_keras(faster, tmp_path):
    """Whose import alone takes longer than the rest."""
    write_image(tmp_path / "a.png", draw_scene(np.random.default_rng(0), (120, 90), 2)[0], "test")
    code = (
        "import sys\n"
        "from centerkp.cli import main\n"
        "assert main(sys.argv[1:]) == 0\n"
        "assert not {'tensorflow', 'keras', 'jax'} & set(sys.modules)\n"
    )
    line = ["infer", str(tmp_path / "a.png"), "--weights", str(faster / "best.keras"), "--out", str(tmp_path / "out")]
    subprocess.run([sys.executable, "-c", code, *line], check=True, capture_output=True)
