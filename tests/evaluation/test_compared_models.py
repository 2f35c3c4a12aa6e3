import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from squares import SCHEMA, SQUARES, SquareDetector, write_dataset

from centerkp.cli import main
from centerkp.cli.eval import evaluate_models
from centerkp.evaluation import compared_models as models
from centerkp.evaluation.compared_models import name_models
from centerkp.model.center_net import save_model
from centerkp.model.hourglass import Hourglass
from centerkp.schema import ObjectClass, Schema
from centerkp.weights.start import build_model


@pytest.fixture
def squares(monkeypatch):
    """Every model finds the squares, but those whose name has "blind" in it, which miss the green ones."""

    def load(path, **options):
        detector = SquareDetector()
        if "missing" in str(path):
            raise FileNotFoundError(f"{path}: no such file.")
        if "blind" in str(path):
            whole = detector.predict_on_batch
            detector.predict_on_batch = lambda inputs: (f := whole(inputs)) | {"scores": f["scores"] * (f["class_ids"] == 0)}
        return detector

    monkeypatch.setattr(models, "load_for_use", load)


def run(names, coco, out, **options):
    file = io.StringIO()
    results = evaluate_models(names, coco, out, console=Console(file=file, width=80), **options)
    return results, file.getvalue()


def widest(text):
    return max(len(line) for line in text.splitlines() if not line.startswith("written: "))  # paths are not broken


@pytest.mark.parametrize("score", [50, -0.1, float("nan")])
def test_a_least_score_that_no_object_has_is_refused(tmp_path, squares, score):
    with pytest.raises(ValueError, match="score: found .*, expected a number from 0 to 1"):
        run(["missing"], write_dataset(tmp_path / "data"), tmp_path / "out", min_score=score)


def test_numbers_files_and_page_of_one_model(tmp_path, squares):
    (result,), text = run(["runs/a/best.keras"], write_dataset(tmp_path / "data", shift=3), tmp_path / "out")
    assert result.evaluation.box["AP"] == pytest.approx(1) and result.evaluation.all_keypoints["median_px"] == pytest.approx(3)
    assert result.evaluation.per_keypoint["red/corner"]["p95_share"] == pytest.approx(3 / 30 - 0.05 * (3 / 30 - 3 / 40))
    assert widest(text) <= 80 and "3 images, 3 annotated objects" in text
    for part in (
        "AR100 100 detections",
        "corner",
        "0.050 guess",
        "Confusion",
        "1: best.keras",
        "images/s",
        "Speed measured here",
    ):
        assert part in text
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    numbers = metrics["models"]["best.keras"]
    assert numbers["box"] == result.evaluation.box and numbers["model"] == "runs/a/best.keras"
    assert numbers["speed"]["network"] > 0 and numbers["speed"]["images"] == 3 and metrics["coco"].endswith("val.json")
    with open(tmp_path / "out" / "curves.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    pck = {float(r["x"]): float(r["y"]) for r in rows if r["curve"] == "PCK within" and r["class"] == "red"}
    assert pck[0.05] == 0 and pck[0.08] == 0.5 and pck[0.11] == 1
    assert {r["curve"] for r in rows} >= {"boxes precision at recall", "keypoints f1 at score", "boxes recall at score"}
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<img ") == 6 and page.count("<svg") == 5 and "two.png" in page and "ground truth" in page
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["curves.csv", "metrics.json", "report.html"]


def test_the_worst_image_comes_first(tmp_path, squares):
    results, _ = run(["blind.keras"], write_dataset(tmp_path), tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert 0 < page.index("two.png: 1 of 2 objects missed, quality 0.50") < page.index("one.png")
    assert results[0].evaluation.confusion["counts"] == [[2, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_models_side_by_side(tmp_path, squares):
    results, text = run(["runs/a/best.keras", "runs/blind/best.keras"], write_dataset(tmp_path), tmp_path / "out")
    assert [r.name for r in results] == ["a", "blind"]
    assert results[0].records is results[1].records and results[1].evaluation.box["AP"] == pytest.approx(0.5)
    assert "boxes 1" in text and "1: a, " in text and "2: blind, " in text and widest(text) <= 80
    assert set(json.loads((tmp_path / "out" / "metrics.json").read_text())["models"]) == {"a", "blind"}
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<img ") == 9 and '<td class="best">1.000</td>' in page
    assert "two.png: a: 2 objects found, quality 1.00; blind: 1 of 2 objects missed" in page


def test_without_page_and_with_other_sigmas(tmp_path, squares):
    coco = write_dataset(tmp_path / "data", shift=3)
    (strict,), _ = run(["a.keras"], coco, tmp_path / "out", html=False, oks_sigmas=0.01)
    (lax,), text = run(["a.keras"], coco, tmp_path / "out", html=False, oks_sigmas={"corner": 0.5, "middle": 0.5})
    assert not (tmp_path / "out" / "report.html").exists() and "0.500 given" in text and "a guess" not in text
    assert strict.evaluation.keypoints["AP"] < 0.2 and lax.evaluation.keypoints["AP"] == pytest.approx(1)


def test_a_detector_without_keypoints_and_images_without_objects(tmp_path, monkeypatch):
    class GreenDetector(SquareDetector):
        schema = Schema((ObjectClass("green", 7),))

        def predict_on_batch(self, inputs):
            found = super().predict_on_batch(inputs)
            found["scores"] *= found["class_ids"] == 1
            return {k: found[k] for k in ("boxes", "scores")} | {"class_ids": np.zeros_like(found["class_ids"])}

    monkeypatch.setattr(models, "load_for_use", lambda path, **options: GreenDetector())
    coco = write_dataset(tmp_path / "data")
    content = json.loads(coco.read_text())
    content["categories"] = content["categories"][1:]
    content["annotations"] = [a for a in content["annotations"] if a["category_id"] == 7]
    coco.write_text(json.dumps(content))
    (result,), text = run(["a.onnx"], coco, tmp_path / "out")
    assert result.evaluation.box["AP"] == pytest.approx(1) and "OKS" not in text and "PCK" not in text
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Error by keypoint" not in page and page.count("<svg") == 2
    content["annotations"] = []
    coco.write_text(json.dumps(content))
    (result,), text = run(["a.onnx"], coco, tmp_path / "empty")
    assert result.evaluation.box["AP"] is None and "has no annotated objects here" in text
    assert "two.png: 1 false" in (tmp_path / "empty" / "report.html").read_text()


def test_an_image_that_cannot_be_read_stops_the_evaluation(tmp_path, squares):
    coco = write_dataset(tmp_path / "data")
    whole = (tmp_path / "data" / "two.png").read_bytes()
    (tmp_path / "data" / "two.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"two\.png.*would not be those of the whole dataset"):
        run(["a.keras"], coco, tmp_path / "out", check_images=False)
    assert not (tmp_path / "out").exists()


def test_nothing_measured_is_lost(tmp_path, squares, monkeypatch):
    """The terminal goes away (`| head`), or the disk is full: the other half of the results is there."""
    coco = write_dataset(tmp_path / "data", shift=3)

    class Gone(Console):
        def print(self, *objects, **options):
            if "annotated objects" in str(objects):  # the first line of the results
                raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        evaluate_models(["a.keras"], coco, tmp_path / "out", console=Gone())
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["curves.csv", "metrics.json", "report.html"]

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(models, "write_metrics", full)
    console = Console(record=True, width=80)
    with pytest.raises(OSError, match="No space left"):
        evaluate_models(["a.keras"], coco, tmp_path / "out", console=console)
    assert "COCO's numbers" in console.export_text()


def test_names_tell_models_apart():
    assert name_models(["runs/a/best.keras"]) == ["best.keras"]
    assert name_models(["runs/a/best.keras", "runs/a/last.keras"]) == ["best.keras", "last.keras"]
    assert name_models(["runs/a/best.keras", "other/b/best.keras"]) == ["a", "b"]
    assert name_models(["x/run/best.keras", "y/run/best.keras"]) == ["x/run/best.keras", "y/run/best.keras"]
    assert name_models(["/m.keras", "m.onnx", "coco"]) == ["m.keras", "m.onnx", "coco"]
    assert name_models(["."]) == [Path.cwd().name] and name_models(["..", "m.keras"]) == [Path.cwd().parent.name, "m.keras"]
    assert name_models(["m.keras", "m.keras"]) == ["m.keras (1)", "m.keras (2)"]


def test_the_command_on_a_keras_file(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    coco = write_dataset(tmp_path / "data")
    (tmp_path / "pictures").mkdir()
    for name in SQUARES:
        (tmp_path / "data" / name).rename(tmp_path / "pictures" / name)
    model = tmp_path / "run" / "best.keras"
    model.parent.mkdir()
    save_model(build_model(SCHEMA, backbone=Hourglass(4, (8, 8), (1, 1), 1), image_size=64), model)
    arguments = [
        "eval",
        str(model),
        "--coco",
        str(coco),
        "--images",
        str(tmp_path / "pictures"),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main([*arguments, "--tta", "flip", "--score", "0.2"]) == 0
    printed = capsys.readouterr().out
    assert "COCO's numbers" in printed and "detections of score 0.200 or more" in printed and "report.html" in printed
    assert 'src="data:image/jpeg' in (tmp_path / "out" / "report.html").read_text()
    assert main([*arguments[:2], "--coco", str(tmp_path / "no.json")]) == 2
    assert main(["eval", str(tmp_path / "no.keras"), "--coco", str(coco)]) == 2
    assert main([*arguments, "--tta", "flop"]) == 2 and "expected some of ['flip', 'scale']" in capsys.readouterr().err
    other = json.loads(coco.read_text())
    other["categories"].append({"id": 9, "name": "blue"})
    other["annotations"][0]["category_id"] = 9
    coco.write_text(json.dumps(other))
    assert main(arguments) == 2 and "'blue'" in capsys.readouterr().err
