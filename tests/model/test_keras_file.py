"""Model files come from strangers: what is refused, before any of it runs."""

import ast
import json
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from centerkp.inference.scores import choose_least_scores
from centerkp.model.center_net import load_model
from centerkp.model.hourglass import Hourglass
from centerkp.weights.start import build_model

PACKAGE = Path(__file__).parents[2] / "centerkp"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A compiled model in bfloat16 with an optimizer schedule: all that a centerkp file ever holds."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_model(num_classes=1, num_keypoints=2, backbone=Hourglass(4, (4, 4), (1, 1), 1), image_size=16)
    finally:
        keras.config.set_dtype_policy("float32")
    schedule = keras.optimizers.schedules.CosineDecay(1e-3, 10)
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.AdamW(schedule, use_ema=True)))
    model.optimizer.build(model.trainable_variables)
    path = tmp_path_factory.mktemp("models") / "good.keras"
    model.save(path)
    return path


def change(source, target, edit, **members):
    """A copy of a model file with another configuration, and with further members."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                config = json.loads(data)
                data = json.dumps(edit(config) or config)
            new.writestr(name, data)
        for name, data in members.items():
            new.writestr(name, data)
    return target


def test_our_own_files_pass(good):
    model = load_model(good)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert set(model.predict_on_batch(np.zeros((1, 16, 16, 3)))) >= {"boxes", "keypoint_deviations"}


FOREIGN = {
    "lambda layer": {"module": "keras.layers", "class_name": "Lambda", "config": {"name": "x"}, "registered_name": "Lambda"},
    "lambda": {"class_name": "__lambda__", "config": {"value": ["4wEA", None, None]}},
    "registered class": {"module": "evil", "class_name": "Step", "config": {}, "registered_name": "evil>Step"},
    "class of a module": {"module": "evil_module", "class_name": "Step", "config": {}, "registered_name": None},
    "function": {"module": "builtins", "class_name": "function", "config": "exec", "registered_name": "function"},
    "function of an allowed module": {"module": "keras.optimizers", "class_name": "function", "config": "get"},
    "registered name on a known class": {"module": "keras.optimizers", "class_name": "Adam", "registered_name": "evil>Adam"},
    "another model": {"module": "keras", "class_name": "Sequential", "config": {"layers": []}, "registered_name": None},
    "no class name": {"module": "evil", "registered_name": "evil>Step"},
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("place", ["dtype", "optimizer", "schedule", "metrics"])
def test_foreign_code_is_refused(good, tmp_path, kind, place, monkeypatch):
    """In every place where Keras would build an object; the module that it names is not even imported."""
    (tmp_path / "evil_module.py").write_text("raise SystemExit('ran')\n")
    monkeypatch.syspath_prepend(tmp_path)

    def edit(config):
        if place == "dtype":
            config["config"]["dtype"] = FOREIGN[kind]
        elif place == "schedule":
            config["compile_config"]["optimizer"]["config"]["inner_optimizer"]["config"]["learning_rate"] = FOREIGN[kind]
        else:
            config["compile_config"][place] = FOREIGN[kind] if place == "optimizer" else [[FOREIGN[kind]]]

    path = change(good, tmp_path / "bad.keras", edit)
    with pytest.raises(ValueError, match="bad.keras: found .*could run code .* do not trust it") as caught:
        load_model(path)
    name = FOREIGN[kind].get("registered_name") or FOREIGN[kind]["class_name"]
    assert name in str(caught.value) and "evil_module" not in sys.modules


def test_other_models_are_refused_by_name(tmp_path):
    """Also one that Keras itself would load and run: a Lambda that was saved, a registered class."""

    @keras.saving.register_keras_serializable(package="evil")
    class Step(keras.layers.Layer):
        def call(self, x):
            return x

    for layer in (keras.layers.Lambda(lambda x: x), Step()):
        path = tmp_path / "other.keras"
        keras.Sequential([keras.Input((2,)), layer]).save(path)
        with pytest.raises(ValueError, match="other.keras: found a Sequential, expected a CenterNet"):
            load_model(path)


def no_change(config):
    return None


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda good, path: change(good, path, no_change, **{"model.weights.npz": b""}), r"also holds \['model.weights.npz'\]"),
        (lambda good, path: change(good, path, no_change, **{"assets/../../x": b""}), "also holds"),
        (lambda good, path: change(good, path, lambda c: [c]), "not a readable centerkp model"),
        (
            lambda good, path: change(good, path, lambda c: c | {"class_name": "function"}),
            "found a function, expected a CenterNet",
        ),
        (lambda good, path: change(good, path, lambda c: {"x": "y" * 10_000_001}), "config.json is too long"),
        (lambda good, path: path.write_bytes(good.read_bytes()[:-30]), "not a readable centerkp model"),
        (lambda good, path: path.write_bytes(b""), "not a readable centerkp model"),
        (lambda good, path: zipfile.ZipFile(path, "w").close(), r"its members are \[\]"),
    ],
    ids=["npz", "path", "list", "function", "long", "cut off", "empty", "empty zip"],
)
def test_damaged_files(good, tmp_path, make, words):
    make(good, tmp_path / "m.keras")
    with pytest.raises(ValueError, match=words):
        load_model(tmp_path / "m.keras")


def test_other_endings(good, tmp_path):
    """Keras would read old formats by their ending, which know no safe mode."""
    (tmp_path / "m.h5").write_bytes(good.read_bytes())
    with pytest.raises(ValueError, match="ends in .keras"):
        load_model(tmp_path / "m.h5")


def test_nothing_unpickles():
    """No module that makes objects of a file's bytes, and NumPy's own way to do so nowhere allowed."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {n.split(".")[0] for n in names} & {"pickle", "marshal", "dill", "joblib", "shelve", "cloudpickle"}, path
            if isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "safe_mode"):
                assert isinstance(node.value, ast.Constant) and node.value.value is (node.arg == "safe_mode"), path
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec"), path
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("enable_unsafe_deserialization"):
                raise AssertionError(path)


def test_files_of_earlier_versions_load_and_predict_as_they_did():
    """Written by version 0.1 before its modules moved into rooms; other processors round the last digits otherwise."""
    golden = Path(__file__).parents[1] / "golden"
    model, known = load_model(golden / "version_0_1.keras"), np.load(golden / "version_0_1.npz")
    assert model.thresholds is None and set(choose_least_scores(model).values) == {0.3}
    found = model.predict(known["image"], verbose=0)
    assert set(found) == set(known) - {"image"} and len(set(known["scores"].ravel())) > 1
    for name, values in found.items():
        np.testing.assert_allclose(values, known[name], rtol=1e-4, atol=1e-4, err_msg=name)
