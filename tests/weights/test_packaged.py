from pathlib import Path

import keras
import numpy as np
import pytest

from centerkp import Schema
from centerkp.model.backbone import is_within
from centerkp.weights import packaged
from centerkp.weights.start import build_from_weights, build_model, load_weights

SCHEMA = Schema.generic(2, [3, 1])


@pytest.fixture(scope="module")
def trained():
    """A model of another dataset, with numbers of its own in every variable."""
    model = build_model(num_classes=1, num_keypoints=2, backbone="hourglass_10", image_size=32)
    rng = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(rng.uniform(0.1, 0.5, variable.shape))
    return model


@pytest.fixture
def folder(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(packaged, "FOLDER", tmp_path)
    packaged.pack(trained, tmp_path / "hourglass_10.npz")
    return tmp_path


def numbers(model, layer: str) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable) for variable in model.get_layer(layer).weights]


def test_all_moves_but_what_classes_and_keypoints_own(trained, folder):
    schema = SCHEMA
    fresh = build_model(schema, backbone="hourglass_10", image_size=64)
    model, report = build_from_weights(schema, "drawn", backbone="hourglass_10", image_size=64)
    for layer in model.layers:
        head = model.find_head(layer.name)
        if not layer.weights or layer.name == "normalise":
            continue
        if head and head[1] not in ("center_offset", "box_size") and not layer.name.endswith("_hidden"):
            # Fresh: a bias as it begins, a kernel of its own shape.
            assert numbers(model, layer.name)[0].shape == numbers(fresh, layer.name)[0].shape
            assert not numbers(model, layer.name)[0].any()
            assert np.array_equal(numbers(model, layer.name)[1], numbers(fresh, layer.name)[1])
            continue
        for ours, theirs in zip(numbers(model, layer.name), numbers(trained, layer.name), strict=True):
            assert np.array_equal(ours, theirs.astype(np.float16).astype(np.float32)), layer.name
    assert report.lines() == [
        f"backbone {report.backbone}/{report.backbone} variables, box_size and center_offset whole",
        "center_heatmap: class_0 fresh, class_1 fresh",
        "keypoint heads: " + ", ".join(f"{name} fresh" for name in SCHEMA.keypoint_names),
    ]


def test_a_detector_without_keypoints_starts_as_well(folder, capsys):
    model = build_model(num_classes=3, backbone="hourglass_10", image_size=32, weights="drawn")
    assert "class_2 fresh" in capsys.readouterr().out
    assert model.schema.num_keypoints == 0


def test_what_does_not_fit_is_named(folder):
    with pytest.raises(ValueError, match=r"found backbone hourglass_52, expected one of \['hourglass_10'\]"):
        build_model(SCHEMA, backbone="hourglass_52", image_size=128, weights="drawn")
    own = {"stem_channels": 1, "channels": (1, 1), "blocks": (1, 1), "stacks": 1}
    with pytest.raises(ValueError, match="backbone of widths of its own"):
        build_model(SCHEMA, backbone=own, image_size=32, weights="drawn")
    with pytest.raises(ValueError, match="found no array for stack0_next_input_conv/kernel"):
        build_model(SCHEMA, backbone="hourglass_10", stacks=2, image_size=32, weights="drawn")
    with pytest.raises(ValueError, match="found no schema, expected a schema alone"):
        build_model(backbone="hourglass_10", image_size=32, weights="drawn")
    with pytest.raises(ValueError, match="found keypoints to take over"):
        build_model(SCHEMA, backbone="hourglass_10", image_size=32, weights="drawn", map_keypoint={"point_0": "tip"})
    with pytest.raises(ValueError, match="found features without a detector"):
        load_weights("drawn")


def test_files_fit_their_backbones(folder, monkeypatch):
    """What lies in the package, and the file made here."""
    installed = Path(packaged.__file__).with_name("drawn").glob("*.npz")
    for file in [*installed, folder / "hourglass_10.npz"]:
        monkeypatch.setattr(packaged, "FOLDER", file.parent)
        assert file.stat().st_size < 8e6
        model, report = build_from_weights(SCHEMA, "drawn", backbone=file.stem, image_size=64)
        assert report.backbone > 20
        with np.load(file, allow_pickle=False) as arrays:
            assert set(packaged._shared_variables(model)) == set(arrays)
            assert all(arrays[key].dtype == np.float16 and np.isfinite(arrays[key]).all() for key in arrays)


def test_a_trunk_that_knows_photographs_comes_with_them():
    """The packaged file has what lies over EfficientNet-Lite0; its trunk is ImageNet's."""
    features = build_model(SCHEMA, backbone="efficientnet_lite0_fpn", image_size=64, weights="imagenet")
    model = build_model(SCHEMA, backbone="efficientnet_lite0_fpn", image_size=64, weights="drawn")
    trunk = [layer.name for layer in model.layers if layer.weights and is_within(layer.name, "stride32")]
    assert len(trunk) > 90
    for name in trunk:
        for ours, theirs in zip(numbers(model, name), numbers(features, name), strict=True):
            assert np.array_equal(ours, theirs), name
    assert not np.array_equal(numbers(model, "pyramid_top")[0], numbers(features, "pyramid_top")[0])
