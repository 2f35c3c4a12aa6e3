import keras
import numpy as np
import pytest

import centerkp
from centerkp.images.sensors import Levels
from centerkp.model.center_net import CenterNet, load_model, save_model
from centerkp.model.hourglass import Hourglass
from centerkp.results import Thresholds
from centerkp.schema import Schema
from centerkp.weights.convert import keep_stacks
from centerkp.weights.start import build_model

SPEC = Hourglass(4, (8, 8), (1, 1), stacks=2, head_channels=8)
SCHEMA = Schema.generic(2, [3, 0])


def make_batch(count=4, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 32, 48, 3)).astype("uint8")
    low = rng.uniform(0, 16, (count, 2, 2))
    truth = {
        "boxes_xyxy": np.concatenate([low, low + rng.uniform(6, 16, (count, 2, 2))], axis=-1).astype("float32"),
        "class_ids": np.tile(np.array([0, 1], "int32"), (count, 1)),
        "object_weights": np.ones((count, 2), "float32"),
        "is_crowd": np.zeros((count, 2), "float32"),
        "keypoints_xy": rng.uniform(0, 32, (count, 2, 3, 2)).astype("float32"),
        "visibility": np.full((count, 2, 3), 2, "int32"),
        "valid_size": np.tile(np.array([48, 32], "float32"), (count, 1)),
    }
    return images, truth


def test_fit_predict_save_load(tmp_path):
    """The whole life of a model, with bit-identical predictions at the end."""
    images, truth = make_batch()
    model = build_model(SCHEMA, backbone=SPEC, image_size=(48, 32))
    model.compile(optimizer=keras.optimizers.AdamW(1e-3))
    history = model.fit(images, truth, epochs=2, batch_size=2, validation_data=(images, truth), verbose=0).history
    heads = {"center_heatmap", "center_offset", "box_size", "keypoint_heatmap", "keypoint_offset", "keypoint_regression"}
    assert set(history) == {*heads, "loss", *(f"val_{h}" for h in heads), "val_loss"}
    weighted = sum(model.loss_weights[head] * history[head][-1] for head in heads)
    assert history["loss"][-1] == pytest.approx(weighted, rel=1e-5)
    assert history["loss"][1] < history["loss"][0]

    before = model.predict({"image": images, "valid_size": truth["valid_size"]}, verbose=0)
    assert {k: v.shape for k, v in before.items()} == {
        "boxes": (4, 100, 4), "scores": (4, 100), "class_ids": (4, 100),
        "keypoints": (4, 100, 3, 2), "keypoint_scores": (4, 100, 3), "keypoint_deviations": (4, 100, 3),
    }  # fmt: skip
    model.save(tmp_path / "m.keras")
    loaded = centerkp.load_model(tmp_path / "m.keras")
    assert loaded.schema == SCHEMA and loaded.image_size == (48, 32) and loaded.backbone == SPEC
    after = loaded.predict({"image": images, "valid_size": truth["valid_size"]}, verbose=0)
    for key, value in before.items():
        np.testing.assert_array_equal(after[key], value)


def test_predict_takes_bare_images_of_any_type_and_batch_size():
    images, _ = make_batch(3)
    model = build_model(SCHEMA, backbone=SPEC, image_size=(48, 32))
    whole = model.predict(images, verbose=0)
    np.testing.assert_allclose(model.predict(images.astype("float64"), verbose=0)["scores"], whole["scores"], atol=1e-6)
    one = model.predict(images[1:2], verbose=0)
    np.testing.assert_allclose(one["boxes"][0], whole["boxes"][1], atol=1e-3)


def test_predict_leaves_out_the_padding():
    images, _ = make_batch(2)
    model = build_model(SCHEMA, backbone=SPEC, image_size=(48, 32))
    found = model.predict({"image": images, "valid_size": np.array([[20, 32], [48, 32]], "float32")}, verbose=0)
    real = found["scores"][0] > 0
    assert 0 < real.sum() < 100 and found["boxes"][0][real][:, 2].max() <= 20


def test_detector_without_keypoints(monkeypatch):
    """Its step is traced once, though nobody gave the optimizer its variables before."""
    traced, step = [], CenterNet.train_step
    monkeypatch.setattr(CenterNet, "train_step", lambda *args: traced.append(args) or step(*args))
    images, truth = make_batch()
    truth |= {"keypoints_xy": truth["keypoints_xy"][:, :, :0], "visibility": truth["visibility"][:, :, :0]}
    model = centerkp.build_model(num_classes=2, backbone=SPEC, image_size=(48, 32))
    model.compile("adam")
    assert set(model.fit(images, truth, verbose=0).history) == {"loss", "center_heatmap", "center_offset", "box_size"}
    assert len(traced) == 1
    assert set(model.predict(images, verbose=0)) == {"boxes", "scores", "class_ids"}


def test_thresholds_and_levels_are_saved_with_the_model(tmp_path):
    model = build_model(SCHEMA, backbone=SPEC, image_size=16)
    assert model.thresholds is None
    assert model.levels is None
    model.thresholds, model.levels = Thresholds(0.25, (0.125, 0.25), (21, 0)), Levels(7500, 7560.5)
    save_model(model, tmp_path / "m.keras")
    loaded = load_model(tmp_path / "m.keras")
    assert loaded.thresholds == model.thresholds and loaded.thresholds.guessed == [1]
    assert loaded.levels == model.levels == keep_stacks(loaded, 1).levels
    one, both = (keep_stacks(loaded, stacks).thresholds for stacks in (1, 2))
    assert one is None and both == model.thresholds  # of the last stack's scores


def test_quick_start_counts():
    model = centerkp.build_model(num_classes=2, num_keypoints=5, backbone=SPEC, image_size=16)
    assert model(np.zeros((1, 16, 16, 3)))[0]["keypoint_regression"].shape == (1, 4, 4, 20)


def test_mixed_precision_keeps_the_heads_in_float32():
    model = build_model(SCHEMA, backbone=SPEC, image_size=16, dtype=None)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = build_model(SCHEMA, backbone=SPEC, image_size=16)
    finally:
        keras.config.set_dtype_policy("float32")
    assert mixed.get_layer("stem_conv").compute_dtype == "bfloat16" and model.get_layer("stem_conv").compute_dtype == "float32"
    assert {keras.backend.standardize_dtype(v.dtype) for v in mixed(np.zeros((1, 16, 16, 3)))[0].values()} == {"float32"}


def test_heatmaps_start_at_one_tenth():
    maps = build_model(SCHEMA, backbone=SPEC, image_size=16)(np.full((1, 16, 16, 3), 117.0))[-1]
    for head in ("center_heatmap", "keypoint_heatmap"):
        assert float(keras.ops.mean(keras.ops.sigmoid(maps[head]))) == pytest.approx(0.1, abs=0.1)


@pytest.mark.parametrize(
    "size, words", [(60, "56 or 64"), (1, "use 8"), ((64, 30), "height: found 30.*24 or 32"), (-8, "use 8")]
)
def test_sizes_that_cannot_be_halved(size, words):
    with pytest.raises(ValueError, match=words):
        build_model(num_classes=1, backbone="hourglass_10", image_size=size)


def test_images_that_cannot_be_halved():
    model = build_model(num_classes=1, backbone=SPEC, image_size=16)
    with pytest.raises(ValueError, match="Image width: found 20, expected a multiple of 8 for this backbone; use 16 or 24"):
        model(np.zeros((1, 16, 20, 3)))


@pytest.mark.parametrize(
    "arguments, words",
    [({}, "num_classes"), ({"schema": SCHEMA, "num_classes": 2}, "leave them out"),
     ({"schema": SCHEMA, "mask_rule": "x"}, "labelled"),
     ({"schema": SCHEMA, "loss_weights": {"center": 1}}, "center_heatmap"), ({"num_classes": 0}, "at least one class")],
)  # fmt: skip
def test_wrong_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        build_model(**({"backbone": SPEC, "image_size": 16} | arguments))


def test_load_model_refuses_other_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_model(tmp_path / "no.keras")
    (tmp_path / "junk.keras").write_bytes(b"junk")
    with pytest.raises(ValueError, match="not a readable centerkp model"):
        load_model(tmp_path / "junk.keras")
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "other.keras")
    with pytest.raises(ValueError, match="expected a CenterNet"):
        load_model(tmp_path / "other.keras")


def test_fit_without_truth_dictionary():
    model = build_model(SCHEMA, backbone=SPEC, image_size=(48, 32))
    model.compile("adam")
    with pytest.raises(ValueError, match="padded ground truth"):
        model.fit(np.zeros((2, 32, 48, 3)), np.zeros((2, 1)), verbose=0)
