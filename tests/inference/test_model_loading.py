import os
import time

import keras
import numpy as np
import pytest

from centerkp.export.formats import export
from centerkp.inference.detect import detect
from centerkp.inference.detector import find_room
from centerkp.inference.model_loading import find_newest_model, load_detector, load_for_use, make_room, require_room
from centerkp.model.hourglass import Hourglass
from centerkp.schema import ObjectClass, Schema
from centerkp.weights.start import build_model

SCHEMA = Schema((ObjectClass("cup", 4, ("rim", "foot")), ObjectClass("lid", 9)))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.keras"
    keras.utils.set_random_seed(0)  # of one model in seven the mirrored scores differ by more than a test allows
    build_model(SCHEMA, backbone=Hourglass(4, (8, 8), (1, 1), 1), image_size=64).save(path)
    return path


def predict(detector):
    image = np.random.default_rng(0).integers(0, 256, (60, 50, 3), np.uint8)
    (result,) = detect(detector, [image], batch_size=1)
    assert not result.error
    return np.array([d.score for d in result.detections])


def count_rows(detector):
    width, height = detector.image_size
    found = detector.predict_on_batch({"image": np.zeros((1, height, width, 3), np.uint8), "valid_size": np.full((1, 2), 64.0)})
    return found["scores"].shape[1]


def test_device_and_precision(model):
    plain = load_for_use(model)
    moved = load_for_use(model, device="cpu", image_size=64)
    assert (moved.device, moved.image_size, moved.schema) == ("cpu:0", (64, 64), SCHEMA)
    np.testing.assert_allclose(predict(moved), predict(plain), atol=1e-6)
    before = keras.config.dtype_policy().name
    mirrored = load_for_use(model, tta="flip")
    assert 0 < np.abs(predict(mirrored)[:5] - predict(plain)[:5]).max() < 0.1
    half = load_for_use(model, precision="mixed_bfloat16")
    assert "mixed_bfloat16" in {layer.dtype_policy.name for layer in half.layers}
    assert keras.config.dtype_policy().name == before
    # Eight bits of mantissa: near, and not the same.
    assert 0 < np.abs(predict(half)[:5] - predict(plain)[:5]).max() < 0.02


def test_a_run_is_its_best_model(model, tmp_path):
    run = tmp_path / "runs" / "cups"
    run.mkdir(parents=True)
    (run / "settings.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"cups: found a run without best\.keras, .* expected .* --resume .*cups"):
        load_for_use(run)
    (run / "best.keras").symlink_to(model)
    for path, options in ((run, {}), (f"{run}/", {"tta": "flip"}), (os.path.relpath(run), {"device": "cpu"})):
        assert load_for_use(path, **options).schema == SCHEMA
    assert build_model(weights=run, backbone=Hourglass(4, (8, 8), (1, 1), 1), image_size=64).schema == SCHEMA
    made = export(run, "onnx", coco=None)
    assert made.path == run / "best.onnx"
    folds = tmp_path / "folds"
    for name in (".", "fold_1", "fold_2"):
        (folds / name).mkdir(exist_ok=True)
        (folds / name / "settings.json").write_text("{}")
        (folds / name / "best.keras").symlink_to(model)
    (folds / "best.keras").unlink()
    with pytest.raises(FileNotFoundError, match=r"folds: found a run with a model for each fold, .* as .*fold_1.best\.keras"):
        load_for_use(folds)
    assert load_for_use(folds / "fold_2").schema == SCHEMA


def test_room_for_more_objects(model):
    for options in ({}, {"tta": "scale"}, {"device": "cpu"}):
        plain, roomy = load_for_use(model, **options), load_for_use(model, max_objects=150, **options)
        assert (count_rows(plain), find_room(plain), count_rows(roomy), find_room(roomy)) == (100, 100, 150, 150)
        require_room(roomy, 150)
        with pytest.raises(ValueError, match="--max-objects: found 101, expected at most 100"):
            require_room(plain, 101)
    make_room(roomy.detector, 20)
    assert find_room(roomy.detector) == 150 and roomy.detector.decode_options.candidates == 150
    with pytest.raises(ValueError, match="found 9999, expected at most 5000"):
        make_room(roomy.detector, 9999)


def test_a_model_that_was_in_use_makes_room(model):
    detector = load_for_use(model)
    assert count_rows(detector) == 100
    make_room(detector, 200)
    assert count_rows(detector) == 200


def test_the_processor_beside_a_gpu(model, monkeypatch):
    """Keras lists it only where there is nothing better."""
    monkeypatch.setattr(keras.distribution, "list_devices", lambda kind=None: ["cpu:0"] if kind == "cpu" else ["gpu:0"])
    assert load_for_use(model, device="cpu").device == "cpu:0"
    with pytest.raises(ValueError, match=r"expected one of \['cpu:0', 'gpu:0'\]"):
        load_for_use(model, device="gpu:1")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"device": "gpu:7"}, r"device: found 'gpu:7', expected one of \['cpu:0'"),
        ({"tta": "flop"}, "tta: found 'flop', expected some of .*did you mean 'flip'"),
        ({"precision": "bfloat"}, r"precision: found 'bfloat', expected one of \['float32', 'mixed_bfloat16'"),
    ],
)
def test_what_is_not_there(model, options, message):
    with pytest.raises(ValueError, match=message):
        load_for_use(model, **options)


def test_an_export_computes_as_it_was_made(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"")
    with pytest.raises(ValueError, match="m.onnx: found --device, --precision or --tta for an exported model"):
        load_for_use(tmp_path / "m.onnx", device="cpu")


def test_newest_model(tmp_path):
    with pytest.raises(FileNotFoundError, match="runs: found no run with a best.keras, expected .*--weights"):
        find_newest_model(tmp_path / "runs")
    for name, age in (("a", 100), ("deep/b", 5), ("c", 50)):
        path = tmp_path / "runs" / name / "best.keras"
        path.parent.mkdir(parents=True)
        path.write_text("")
        os.utime(path, (time.time() - age,) * 2)
    assert find_newest_model(tmp_path / "runs") == tmp_path / "runs/deep/b/best.keras"


def test_keras_files_load_with_size_and_stacks(tmp_path):
    path = tmp_path / "m.keras"
    build_model(SCHEMA, backbone=Hourglass(4, (8, 8), (1, 1), 2), image_size=96).save(path)
    detector = load_detector(path, image_size=64, stacks=1)
    assert detector.image_size == (64, 64) and detector.backbone.stacks == 1
    assert detector.schema == SCHEMA
