import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from centerkp.cli import main
from centerkp.demo.scenes import write_demo
from centerkp.doctor.trainable import read_dataset
from centerkp.evaluation.speed import describe_machine
from centerkp.export import calibration as samples
from centerkp.export import formats
from centerkp.export.accuracy import measure_accuracy
from centerkp.export.calibration import find_pictures, spread
from centerkp.export.formats import FORMATS, export
from centerkp.inference.model_loading import load_detector
from centerkp.model.center_net import CenterNet, load_model
from centerkp.schema import Schema
from centerkp.settings.training import TrainSettings
from centerkp.training.train import read_records
from centerkp.writing import part_path, write_json


@pytest.fixture(scope="module")
def weights(tiny_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "best.keras"
    tiny_model.save(path)
    return path


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return write_demo(tmp_path_factory.mktemp("demo") / "demo", num_train=1, num_val=3, num_test=1, size=(120, 90))


def test_the_command_writes_compares_and_reports(weights, demo, tmp_path, capsys):
    out = tmp_path / "served" / "1"
    images = sorted(demo.images_dir.glob("val*"))
    assert main(["export", str(weights), "--format", "saved_model", "--out", str(out), "--calibrate", *map(str, images)]) == 0
    text = capsys.readouterr().out
    assert "Differences from Keras float32" in text and "letterboxed inside" in text and "verified:" in text
    assert max(map(len, text.splitlines())) <= 80 or not text.isascii()
    report = json.loads((out / "export.json").read_text())
    assert report["passed"] and report["differences"]["boxes"]["largest"] < 0.1 and report["image_size"] == [96, 64]
    assert report["latency_seconds"] > 0 and report["bytes"] > 10_000 and report["compared_on"] == "3 named ones"
    assert report["machine"].startswith(describe_machine()) and [p.name for p in out.parent.iterdir()] == ["1"]
    assert load_detector(out).schema.num_keypoints == 5


class Wrong:
    """An artefact that finds what Keras finds, three pixels to the right."""

    takes_any_size = False

    def __init__(self, path):
        self.path, self.model = path, load_model(path / "model.keras")
        self.schema, self.image_size = self.model.schema, self.model.image_size

    def predict_on_batch(self, inputs):
        found = {name: np.asarray(values) for name, values in self.model.predict_on_batch(inputs).items()}
        return found | {"boxes": found["boxes"] + np.float32([3, 0, 3, 0])}


def test_a_wrong_artefact_is_marked_and_the_old_one_stays(weights, tmp_path, monkeypatch, capsys):
    out = tmp_path / "m"
    out.mkdir()
    (out / "saved_model.pb").write_bytes(b"the old one")
    (out / "schema.json").write_text('{"made_by": "centerkp 0.1"}')

    def write_wrong(network, path, **options):
        path.mkdir()
        (path / "saved_model.pb").write_bytes(b"")
        (path / "schema.json").write_text("{}")
        shutil.copy(weights, path / "model.keras")

    monkeypatch.setitem(FORMATS, "saved_model", replace(FORMATS["saved_model"], write=write_wrong))
    load = formats.load_detector
    monkeypatch.setattr(formats, "load_detector", lambda p, **o: Wrong(p) if o.get("unverified") else load(p, **o))
    assert main(["export", str(weights), "--format", "saved_model", "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert "boxes that differ" in error and "do not use the files in" in error
    marked = tmp_path / "m.UNVERIFIED"
    assert json.loads((marked / "export.json").read_text())["passed"] is False
    with pytest.raises(ValueError, match=r"m\.UNVERIFIED"):
        load_detector(marked / "m")
    assert (out / "saved_model.pb").read_bytes() == b"the old one"


def test_a_writer_that_fails_leaves_nothing(weights, tmp_path, monkeypatch):
    def fail(network, path, **options):
        path.mkdir()
        (path / "half").write_bytes(b"x")
        raise OSError("disk full")

    monkeypatch.setitem(FORMATS, "saved_model", replace(FORMATS["saved_model"], write=fail))
    with pytest.raises(OSError, match="disk full"):
        export(weights, "saved_model", out=tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_labels_that_do_not_fit_are_refused_before_anything_is_written(weights, demo, tmp_path, monkeypatch):
    content = json.loads(demo.val_json.read_text())
    content["categories"] = [one | {"name": f"other {one['name']}"} for one in content["categories"]]
    coco = write_json(demo.val_json.with_name("other.json"), content)
    monkeypatch.setitem(FORMATS, "saved_model", replace(FORMATS["saved_model"], write=lambda *_, **__: pytest.fail("written")))
    with pytest.raises(ValueError, match="other"):
        export(weights, "saved_model", out=tmp_path / "m", coco=coco)
    assert list(tmp_path.iterdir()) == []


def test_average_precision_lost(demo):
    schema = Schema.from_coco(demo.val_json)
    model = CenterNet(schema, {"stem_channels": 4, "channels": [8, 8], "blocks": [1, 1], "stacks": 1}, 64)
    found = measure_accuracy(model, model, read_dataset(demo.val_json), demo.val_json, Console(quiet=True))
    assert found.images == 3 and found.lost("box_ap") == 0.0 and found.to_dict()["lost"]["keypoint_ap"] == 0.0


def test_an_image_that_becomes_unreadable_lowers_no_average_precision(tmp_path):
    demo = write_demo(tmp_path / "demo", num_train=1, num_val=2, num_test=1, size=(80, 64))
    schema = Schema.from_coco(demo.val_json)
    model = CenterNet(schema, {"stem_channels": 4, "channels": [8, 8], "blocks": [1, 1], "stacks": 1}, 64)

    class Breaking:
        """The model, whose first pass breaks an image for the second one."""

        schema, image_size = model.schema, model.image_size

        def predict_on_batch(self, inputs):
            sorted(demo.images_dir.glob("val*"))[-1].write_bytes(b"cut off")
            return model.predict_on_batch(inputs)

    with pytest.raises(ValueError, match="would not be those of the whole dataset"):
        measure_accuracy(model, Breaking(), read_dataset(demo.val_json), demo.val_json, Console(quiet=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "saved_model", "--precision", "int8"], r"'int8' for saved_model.*export to openvino or litert"),
        (["--format", "onnx", "--precision", "int8"], r"'int8' for onnx.*export to openvino or litert"),
        (["--format", "onnx", "--precision", "bf16"], r"'bf16' for onnx.*export to saved_model or openvino"),
        (["--format", "litert", "--precision", "bf16"], r"'bf16' for litert.*export to saved_model or openvino"),
        (["--format", "openvino", "--precision", "int8"], r"no images for openvino.*--calibrate photos/"),
        (["--format", "litert", "--precision", "int8"], r"no images for litert.*--calibrate photos/"),
        (["--format", "litert", "--batch", "dynamic"], r"'dynamic' for litert, expected '1'"),
        (["--format", "litert", "--out", "m.onnx"], r"ending '\.onnx' for litert, expected \.tflite"),
        (["--format", "saved_model", "--max-objects", "0"], r"max_objects: found 0, expected 1 or more"),
        (["--format", "saved_model", "--out", "."], r"already there and no exported model"),
        (["--format", "saved_model", "--image-size", "65"], r"image_size.*expected a multiple of 8"),
        (["--format", "saved_model", "--stacks", "3"], r"expected 1 to 1"),
        (["--format", "saved_model", "--calibrate", "nowhere"], r"nowhere: found no image"),
    ],
)
def test_refusals_say_what_to_do(weights, arguments, message, capsys, tmp_path, monkeypatch):

    monkeypatch.chdir(tmp_path)
    assert main(["export", str(weights), *arguments]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not list(weights.parent.glob("best_*"))


@pytest.mark.parametrize("format", FORMATS)
def test_a_precision_that_does_not_exist_is_refused_before_the_weights_are_looked_for(format):
    with pytest.raises(ValueError, match=rf"precision: found 'fp8' for {format}, expected one of .*; choose one of"):
        export("nowhere.keras", format, precision="fp8")


def test_what_stands_at_the_target_is_not_destroyed(weights, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    (tmp_path / "photos" / "saved_model.pb").write_bytes(b"someone else's")
    assert main(["export", str(weights), "--format", "saved_model", "--out", str(tmp_path / "photos")]) == 2
    assert "already there and no exported model" in capsys.readouterr().err
    assert (tmp_path / "photos" / "a.jpg").exists()


@pytest.mark.parametrize("format, name, others", [
    ("onnx", "m.onnx", ()), ("litert", "m.tflite", ()), ("openvino", "m.xml", ("m.bin",)),
    ("onnx", "m.onnx", ("m.onnx.export.json",)),
    ("onnx", "m.onnx", ("m.onnx.UNVERIFIED/notes.txt",)), ("saved_model", "m", ()),
])  # fmt: skip
def test_only_an_earlier_export_is_replaced_unasked(tmp_path, format, name, others):
    """Said before the weights are looked for, which are not there; with --overwrite anything but a folder is."""
    target = tmp_path / name
    for path in (target, *(tmp_path / other for other in others)):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"someone else's")
    with pytest.raises(FileExistsError, match=f"{name}.*: (found a file|found files|already there)"):
        export("nowhere.keras", format, out=target)
    with pytest.raises(FileExistsError if "/" in "".join(others) else FileNotFoundError):
        export("nowhere.keras", format, out=target, overwrite=True)
    description = "&quot;made_by&quot;: &quot;centerkp 0.1&quot;" if name == "m.xml" else '"made_by": "centerkp 0.1"'
    if format == "saved_model":
        target.unlink()
        target.mkdir()
        (target / "schema.json").write_text(description)
    elif not others or name == "m.xml":
        target.write_bytes(bytes(10**5) + description.encode() + bytes(10**5))
    else:
        return
    with pytest.raises(FileNotFoundError, match="nowhere.keras"):
        export("nowhere.keras", format, out=target)
    if format == "saved_model":
        (target / "notes.txt").touch()
        for overwrite in (False, True):
            with pytest.raises(FileExistsError, match="already there and no exported model"):
                export("nowhere.keras", format, out=target, overwrite=overwrite)


@pytest.mark.parametrize(
    "format, name", [("onnx", "m.onnx"), ("openvino", "m.xml"), ("litert", "m.tflite"), ("saved_model", "m")]
)
def test_what_a_killed_export_left_is_no_strangers(tmp_path, format, name):
    """Half of a file under a temporary name, and weights that were delivered before what they belong to."""
    workplace = tmp_path / f"{name}.UNVERIFIED"
    workplace.mkdir()
    for left in (name, f"{name}.export.json", part_path(Path(name)).name, part_path(Path(f"{name}.export.json")).name):
        (workplace / left).touch()
    with pytest.raises(FileNotFoundError, match="nowhere.keras"):
        export("nowhere.keras", format, out=tmp_path / name)
    if format == "openvino":
        (tmp_path / "m.bin").touch()
        with pytest.raises(FileExistsError, match=r"m\.bin: found a file"):
            export("nowhere.keras", format, out=tmp_path / name)
        for left in (name, "earlier"):
            (workplace / left).write_bytes(b'"made_by": "centerkp 0.1"')
            with pytest.raises(FileNotFoundError, match="nowhere.keras"):
                export("nowhere.keras", format, out=tmp_path / name)
            (workplace / left).write_bytes(b"")


def test_a_model_is_not_exported_onto_what_is_read(tmp_path):
    for reads in ({"coco": tmp_path / "m.onnx"}, {"calibrate": [tmp_path / "m.onnx"]}):
        (tmp_path / "m.onnx").write_bytes(b"x")
        with pytest.raises(ValueError, match="m.onnx: found as output and among the files to read"):
            export("nowhere.keras", "onnx", out=tmp_path / "m.onnx", overwrite=True, **reads)


def test_pictures_come_from_the_run_the_weights_lie_in(demo, tmp_path):
    pictures, origin = find_pictures(tmp_path / "best.keras", None, [], 2)
    assert len(pictures) == 2 and "drawn" in origin
    settings = {"coco": str(demo.train_json), "images": None, "val": str(demo.val_json), "val_images": None}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    pictures, origin = find_pictures(tmp_path / "best.keras", None, [], 2)
    assert len(pictures) == 2 and origin == str(demo.val_json) and pictures[0].shape == (90, 120, 3)
    assert len(find_pictures("coco", demo.val_json, [], 8)[0]) == 3


def test_pictures_are_those_that_the_run_keeps_a_list_of(demo, tmp_path):
    """Also after the folder moved together with the images; not what is gone."""
    shutil.copytree(demo.images_dir, tmp_path / "new" / "images")
    names = [path.name for path in sorted(demo.images_dir.iterdir())[:2]]
    rows = [{"file": str(tmp_path / "old" / "images" / name)} for name in [*names, "gone.jpg"]]
    (tmp_path / "new" / "run").mkdir()
    write_json(tmp_path / "new" / "run" / "images.json", {"folder": str(tmp_path / "old" / "run"), "train": [], "val": rows})
    pictures, origin = find_pictures(tmp_path / "new" / "run" / "best.keras", None, [], 8)
    assert len(pictures) == 2 and origin == f"the validation images of {tmp_path / 'new' / 'run'}"


def test_without_validation_images_of_its_own_those_the_run_held_back_are_taken(tmp_path, monkeypatch):
    demo = write_demo(tmp_path / "demo", num_train=8, num_val=1, num_test=1, size=(80, 64))
    settings = TrainSettings(coco=str(demo.train_json), val_fraction=0.4, seed=3, check_images=False)
    write_json(tmp_path / "settings.json", settings.to_dict())
    read = []
    monkeypatch.setattr(samples, "read_image", lambda path, levels: read.append(path))
    origin = find_pictures(tmp_path / "best.keras", None, [], 8)[1]
    assert read == [record.path for record in read_records(settings)[2]] and 0 < len(read) < 8
    assert origin == f"{demo.train_json}, those that the run held back"


def test_spread():
    assert spread(range(3), 5) == [0, 1, 2] and spread(np.arange(100), 3) == [0, 50, 99]


def test_int8_takes_the_training_images_of_the_run_by_itself(weights, demo, tmp_path, monkeypatch):
    class Written(Exception):
        pass

    def write(kind, network, place, **options):
        raise Written(len(options["samples"]))

    monkeypatch.setattr(formats, "_write_artefact", write)
    shutil.copy(weights, tmp_path / "best.keras")
    pictures = {part: sorted(demo.images_dir.glob(f"{part}*")) for part in ("train", "val")}
    rows = {part: [{"file": str(path)} for path in paths] for part, paths in pictures.items()}
    write_json(tmp_path / "images.json", {"folder": str(tmp_path), **rows})
    console = Console(record=True, width=300)
    with pytest.raises(Written, match="^1$"):
        export(tmp_path / "best.keras", "openvino", precision="int8", console=console)
    assert f"ranges from 1 training image of {tmp_path}" in console.export_text()
    with pytest.raises(Written, match="^3$"):  # those that are named come first
        export(tmp_path / "best.keras", "openvino", precision="int8", calibrate=pictures["val"], console=console)
