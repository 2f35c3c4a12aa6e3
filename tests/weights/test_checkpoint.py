"""The names of a checkpoint: a bijection with ours, however the file spells them, and clear words when something is wrong."""

import re
import tarfile

import checkpoints
import keras
import numpy as np
import pytest
import reference
import weights_recipe

from centerkp.model.hourglass import Hourglass
from centerkp.schema import Schema
from centerkp.weights.checkpoint import open_checkpoint
from centerkp.weights.checkpoint_structure import check_complete, read_structure
from centerkp.weights.convert import port_checkpoint
from centerkp.weights.start import build_model
from centerkp.weights.zoo_sources import Task, weight_sources

TASKS = {0: Task("task_a", 5), 1: Task("task_b", 3)}


def expected_shapes(model, tasks):
    return {s.key: s.shape for sources in weight_sources(model, tasks).values() for s in sources}


def port(path, schema=reference.SCHEMA, scratch=None):
    with open_checkpoint(path, scratch) as checkpoint:
        structure = read_structure(checkpoint)
        return port_checkpoint(checkpoint, structure, schema, dict(enumerate(structure.tasks)), 128)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Variables of small_tiny2, its prefix as TensorFlow wrote it, and the model ported from there."""
    prefix = checkpoints.write_small("small_tiny2", tmp_path_factory.mktemp("tiny"))
    with open_checkpoint(prefix) as checkpoint:
        variables = {key: checkpoint.read(key) for key in checkpoint.shapes}
    return variables, prefix, port(prefix)


def check_equal(model, expected):
    for ours, theirs in zip(model.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs), err_msg=ours.path)


def test_several_tasks_fill_each_variable_once(tiny):
    """Every cell of a variable has one source, or lies outside the blocks of a last convolution, where zeros belong."""
    model = tiny[2]
    sources = weight_sources(model, TASKS)
    assert {s.key: s.shape for parts in sources.values() for s in parts} == {k: v.shape for k, v in tiny[0].items()}
    for variable in model.weights:
        if variable.path.startswith("normalise"):
            continue
        filled = np.zeros(variable.shape, int)
        for source in sources[variable.path]:
            filled[source.where] += 1
        block_diagonal = len(sources[variable.path]) > 1 and filled.ndim == 4 and filled.shape[0] == 1
        assert filled.max() == 1 and (block_diagonal or filled.min() == 1), variable.path
        if block_diagonal:
            assert not keras.ops.convert_to_numpy(variable)[filled == 0].any()


def test_layers_counted_with_those_that_have_no_weights(tiny, tmp_path):
    """`layer-0` and `layer-2` in place of `layer_with_weights-0` and `-1`."""
    plain = {"layer_with_weights-0": "layer-0", "layer_with_weights-1": "layer-2"}
    renamed = {re.sub("layer_with_weights-.", lambda match: plain[match[0]], key): v for key, v in tiny[0].items()}
    assert set(renamed) != set(tiny[0])
    check_equal(port(checkpoints.write_checkpoint(tmp_path / "ckpt-0", renamed)), tiny[2])


def test_training_checkpoint_with_an_optimizer(tiny, tmp_path):
    """As a training of the user leaves it: another root, slots of the optimizer, the step; the latest of several is taken."""
    more = {f"{k}/.OPTIMIZER_SLOT/optimizer/m": v for k, v in list(tiny[0].items())[:5]}
    more |= {"optimizer/learning_rate": np.float32(1), "step": np.int64(7)}
    checkpoints.write_checkpoint(tmp_path / "run" / "ckpt-9", {k: v * 0 for k, v in tiny[0].items()})
    checkpoints.write_checkpoint(tmp_path / "run" / "ckpt-10", tiny[0] | more)
    check_equal(port(tmp_path / "run"), tiny[2])
    check_equal(port(tmp_path / "run" / "ckpt-10.index"), tiny[2])


@pytest.mark.long
def test_saved_model_by_other_names(tiny, tmp_path):
    """A SavedModel has the root `_model` and stores a variable under the shortest way to it, here through a list of all."""
    import tensorflow as tf

    class Node(tf.Module):
        pass

    root = Node()
    root._model = Node()
    for key, value in tiny[0].items():
        node = root._model
        *parts, leaf = key.removeprefix("model/").replace(".S", "/").split("/")
        if parts[0] == "_prediction_head_dict":
            parts = [parts[0], "/".join(parts[1:-2]), *parts[-2:]]
        for part in parts:
            if not hasattr(node, part):
                setattr(node, part, Node())
            node = getattr(node, part)
        setattr(node, leaf, tf.Variable(value))
    root._model._feature_extractor.all_of_them = list(root._model._feature_extractor.variables)
    folder = tmp_path / "NAME" / "saved_model"
    tf.saved_model.save(root, str(folder))
    keys = tf.train.load_checkpoint(str(folder / "variables" / "variables")).get_variable_to_shape_map()
    assert any("all_of_them" in key for key in keys) and not any(key.startswith("model/") for key in keys)
    check_equal(port(folder), tiny[2])
    check_equal(port(folder / "variables" / "variables"), tiny[2])


def test_archive_with_nothing_but_a_saved_model(tiny, tmp_path):
    """Its variables are taken when there is no checkpoint beside it; what was unpacked is gone afterwards."""
    renamed = {key.replace("model/", "_model/", 1): value for key, value in tiny[0].items()}
    checkpoints.write_checkpoint(tmp_path / "NAME" / "saved_model" / "variables" / "variables", renamed)
    with tarfile.open(tmp_path / "NAME.tar.gz", "w:gz", compresslevel=1) as tar:
        tar.add(tmp_path / "NAME", "NAME")
    check_equal(port(tmp_path / "NAME.tar.gz", scratch=tmp_path), tiny[2])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["NAME", "NAME.tar.gz"]


def test_one_offset_for_all_keypoints(tiny, tmp_path):
    """A task trained with per_keypoint_offset off has two channels of offset, which stand for each of its keypoints."""
    key = "model/_prediction_head_dict/task_a.Skeypoint.Soffset/{}/layer_with_weights-1/{}"
    shared = {key.format(i, leaf): tiny[0][key.format(i, leaf)][..., :2] for i in (0, 1) for leaf in ("kernel", "bias")}
    prefix = checkpoints.write_checkpoint(tmp_path / "ckpt-0", tiny[0] | shared)
    with open_checkpoint(prefix) as checkpoint:
        assert [task.shared_offset for task in read_structure(checkpoint).tasks] == [True, False]
    bias = keras.ops.convert_to_numpy(port(prefix).get_layer("stack1_keypoint_offset").bias)
    np.testing.assert_array_equal(bias[:10].reshape(5, 2), np.tile(shared[key.format(1, "bias")][::-1], (5, 1)))
    np.testing.assert_array_equal(bias[10:], keras.ops.convert_to_numpy(tiny[2].get_layer("stack1_keypoint_offset").bias)[10:])


KERNEL = "model/_feature_extractor/_network/hourglass_network/1/inner_block/0/encoder_block1/1/conv/kernel"


def drop(variables, part):
    for key in [key for key in variables if part in key]:
        del variables[key]


def add_other_head(variables):
    variables |= {k.replace("task_b.Skeypoint.S", "segmentation.S"): v for k, v in variables.items() if "task_b" in k}


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda v: v.pop(KERNEL), ["1 of 872 variables are missing", KERNEL, "(3, 3, 16, 16)"]),
        (
            lambda v: v.update({KERNEL: np.zeros((3, 3, 16, 17), "float32")}),
            ["1 of 872 variables differ", KERNEL, "found float32 (3, 3, 16, 17), expected float32 (3, 3, 16, 16)"],
        ),
        (lambda v: v.update({KERNEL: v[KERNEL].astype("float16")}), ["1 of 872 variables differ", "float16"]),
        (
            lambda v: v.update({"model/_other/kernel": np.zeros(3, "f")}),
            ["1 variables belong to no part", "model/_other/kernel"],
        ),
        (lambda v: drop(v, "task_b.Skeypoint.Soffset"), ["task 'task_b' without", "Soffset"]),
        (lambda v: drop(v, "box.Sscale"), ["missing: ['box.Sscale']"]),
        (add_other_head, ["unknown: ['segmentation.Sheatmap'"]),
        (lambda v: drop(v, "/downsample_input/conv_block/"), ["downsample_input/conv_block"]),
    ],
    ids=["missing", "shape", "dtype", "unknown", "task", "head", "other head", "stem"],
)
def test_incomplete_checkpoints(tiny, tmp_path, change, words):
    variables = dict(tiny[0])
    change(variables)
    with pytest.raises(ValueError) as caught:
        port(checkpoints.write_checkpoint(tmp_path / "ckpt-0", variables))
    for word in [str(tmp_path), *words]:
        assert word in str(caught.value)


FEATURES = "model/_feature_extractor"


@pytest.mark.parametrize(
    "keys, words",
    [
        ([f"{FEATURES}/classification_backbone/stem/kernel", "model/_box_predictor/_base_tower/0/kernel"], "EfficientDet"),
        (["model/_first_stage_box_predictor/kernel"], "Faster R-CNN"),
        ([f"{FEATURES}/_network/resnet/kernel", "model/_prediction_head_dict/object_center/0/kernel"], "another backbone"),
        (["layer_with_weights-0/kernel"], "plain Keras"),
        (["x"], "unknown model"),
    ],
)
def test_checkpoints_of_other_models(tmp_path, keys, words):
    prefix = checkpoints.write_checkpoint(tmp_path / "ckpt-0", {key: np.zeros(3, "float32") for key in keys})
    with pytest.raises(ValueError, match=f"{words}.*expected a CenterNet-Hourglass"):
        port(prefix)


def test_no_checkpoint_there(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="found no checkpoint.*ckpt-0.index"):
        port(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="no such archive, folder or checkpoint"):
        port(tmp_path / "nothing")


def test_damaged_data_file(tiny, tmp_path):
    """Cut off, the graph at its end is gone; with wrong bytes inside, TensorFlow's own check sum notices."""
    prefix = checkpoints.write_checkpoint(tmp_path / "ckpt-0", tiny[0])
    data = prefix.with_name("ckpt-0.data-00000-of-00001")
    whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="fetch it again"):
        port(prefix)
    data.write_bytes(whole[:1000000] + bytes(100) + whole[1000100:])
    with pytest.raises(ValueError, match="model/.* cannot be read.*fetch it again"):
        port(prefix)
    data.unlink()
    with pytest.raises(ValueError, match="fetch it again"):
        port(prefix)


def test_check_complete_counts_all(tiny):
    with open_checkpoint(tiny[1]) as checkpoint:
        expected = dict.fromkeys(list(checkpoint.shapes)[:3], (1, 2, 3))
        with pytest.raises(ValueError, match="3 of 3 variables differ"):
            check_complete(checkpoint, expected, Hourglass())


def test_recipe_and_structure_of_other_widths(tmp_path):
    """Heads of different widths, and a backbone that has no name."""
    heads = ("center_heatmap", "center_offset", "box_size", "keypoint_heatmap", "keypoint_offset", "keypoint_regression")
    spec = Hourglass(4, (8, 12), (2, 3), 1, 8, dict(zip(heads, (4, 6, 8, 10, 5, 7), strict=True)))
    schema = Schema.generic(2, [3, 0])
    model = build_model(schema, backbone=spec, image_size=32)
    shapes = expected_shapes(model, {0: Task("t.1", 3)})
    variables = {key: weights_recipe.make_variable(key + checkpoints.SUFFIX, shape) for key, shape in shapes.items()}
    ported = port(checkpoints.write_checkpoint(tmp_path / "ckpt-0", variables), schema)
    assert ported.backbone == spec
