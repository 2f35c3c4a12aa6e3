"""Two real checkpoints of two keypoint tasks and three classes, with what the reference computes from them.

`small_hg10` is the reference's hourglass_10; `small_tiny2` has the topology of hourglass_104, two stacks and all, and few
channels.
"""

import checkpoints
import numpy as np
import pytest
import reference
from keras import ops
from training_step import run_training_step

from centerkp.model.backbones import name_backbone
from centerkp.model.hourglass import Hourglass
from centerkp.model.losses import DEFAULT_WEIGHTS
from centerkp.weights.checkpoint import open_checkpoint
from centerkp.weights.checkpoint_structure import read_structure
from centerkp.weights.convert import port_checkpoint
from centerkp.weights.zoo_sources import weight_sources

TASKS = ("task_a", "task_b")
STACKS = {"small_hg10": 1, "small_tiny2": 2}


class Ported:
    """A ported checkpoint beside the reference's arrays."""

    def __init__(self, name, folder):
        self.name, self.golden = name, reference.load(name)
        prefix = checkpoints.write_small(name, folder)
        with open_checkpoint(prefix) as checkpoint:
            self.structure = read_structure(checkpoint)
            self.tasks = dict(enumerate(self.structure.tasks))
            self.model = port_checkpoint(checkpoint, self.structure, reference.SCHEMA, self.tasks, reference.SIZE)


@pytest.fixture(scope="module", params=list(STACKS))
def ported(request, tmp_path_factory):
    return Ported(request.param, tmp_path_factory.mktemp(request.param))


def draw_image(name, size):
    image = reference.draw_synth() if name == "synth" else reference.load("small_hg10")["input/real"]
    return reference.letterbox(image, size)


@pytest.mark.once
def test_structure_is_read_from_the_keys(ported):
    spec = ported.structure.backbone
    assert [(t.name, t.keypoints, t.shared_offset) for t in ported.structure.tasks] == [
        ("task_a", 5, False),
        ("task_b", 3, False),
    ]
    assert ported.structure.num_classes == 3 and spec.hidden_channels("box_size") == 256
    assert spec.hidden_channels("keypoint_heatmap") == 512  # two tasks side by side
    if ported.name == "small_hg10":
        assert name_backbone(spec) == "hourglass_10" and spec.stacks == 1
    else:
        assert spec == Hourglass(8, (16, 16, 24, 24, 24, 32), (2, 2, 2, 2, 2, 4), 2, 16, spec.head_channels)


@pytest.mark.parametrize("image", ["synth", "real"])
def test_heads_of_all_stacks(ported, image):
    stacks = ported.model(draw_image(image, reference.SIZE))
    assert len(stacks) == STACKS[ported.name]
    for i, stack in enumerate(stacks):
        for head, values in stack.items():
            expected = reference.read_head(ported.golden, f"{image}/pred", head, TASKS, f"/{i}")
            np.testing.assert_allclose(ops.convert_to_numpy(values), expected, atol=1e-4, rtol=0, err_msg=f"{head} {i}")


@pytest.mark.parametrize("image", ["synth", "real"])
def test_detections(ported, image):
    """The thirty of the reference, box by box and point by point, in shares of the true image size."""
    golden = ported.golden
    maps = ported.model(draw_image(image, reference.SIZE))[-1]
    found = {k: ops.convert_to_numpy(v)[0] for k, v in ported.model.decode(maps).items()}
    scale = golden[f"{image}/true_shape"][0, 1::-1].astype("float32")
    reference.check_detections(found, {k: golden[f"{image}/post/detection_{k}"][0] for k in reference.DETECTIONS}, scale)


def make_batch(ported):
    golden = ported.golden
    size = int(golden["train/input_size"])
    images = np.concatenate([draw_image("synth", size), draw_image("real", size)])
    return images, reference.read_truth(reference.load("train_math"), size, golden["train/true_shapes"])


@pytest.fixture(scope="module")
def step(ported):
    """One step with the reference's momentum of 0.1; the weights are those of the checkpoint again afterwards."""
    config = ported.model.get_config() | {"bn_momentum": 0.1}
    model = type(ported.model).from_config(config)
    for ours, theirs in zip(model.weights, ported.model.weights, strict=True):
        ours.assign(theirs)
    return model, run_training_step(model, *make_batch(ported))


def test_training_losses(ported, step):
    total, terms, stacks, _, _ = step[1]
    for head, theirs in reference.HEADS.items():
        names = [f"{task}/{theirs}" for task in TASKS] if theirs.startswith("keypoint/") else [theirs]
        expected = sum(float(ported.golden[f"train/loss/Loss/{name}"]) for name in names)
        assert DEFAULT_WEIGHTS[head] * float(terms[head]) == pytest.approx(expected, rel=2e-5), head
    assert total == pytest.approx(float(ported.golden["train/total"]), rel=2e-5)


def test_training_predictions(ported, step):
    """Normalised by the statistics of the batch. Of small_tiny2 every fourth row and column is kept."""
    for i, stack in enumerate(step[1][2]):
        for head, values in stack.items():
            expected = reference.read_head(ported.golden, "train/pred", head, TASKS, f"/{i}")
            values = ops.convert_to_numpy(values)
            thinned = [values, *(values[:, k::4, k::4] for k in range(4))]
            closest = min(np.abs(t - expected).max() for t in thinned if t.shape == expected.shape)
            assert closest < 5e-4 * max(1.0, np.abs(expected).std()), (head, i, closest)


def test_gradients(ported, step):
    """Norm and sum of every checkpoint variable's gradient.

    Within three times what the reference's own move by when the input gets noise of 1e-5, or 3e-4 where that is less, since
    ReLU and the absolute error have kinks.
    """
    golden = ported.golden
    gradients = step[1][3]
    ours = {}
    for path, sources in weight_sources(step[0], ported.tasks).items():
        for source in sources:
            if path in gradients:
                ours[source.key] = gradients[path][source.where]  # the turns keep norms and sums
    keys = [str(key).removesuffix(checkpoints.SUFFIX) for key in golden["train/grad_keys"]]
    assert set(keys) == set(ours)
    tolerances = np.maximum(3 * golden["train/grad_rel_change_input_noise_1e-5"], 3e-4)
    for key, norm, total, tolerance in zip(keys, golden["train/grad_norm"], golden["train/grad_sum"], tolerances, strict=True):
        gradient = ours[key].astype("float64")
        assert np.linalg.norm(gradient) == pytest.approx(norm, rel=tolerance, abs=1e-7), key
        assert gradient.sum() == pytest.approx(total, rel=0, abs=tolerance * norm * np.sqrt(gradient.size) + 1e-6), key


def test_moving_statistics(ported, step):
    # The deep levels of small_tiny2 normalise over eight numbers, behind a hundred layers that do so.
    tolerance = {"small_hg10": 1e-4, "small_tiny2": 2e-3}[ported.name]
    after = step[1][4]
    count = 0
    for path, sources in weight_sources(step[0], ported.tasks).items():
        name = f"train/after/{sources[0].key}{checkpoints.SUFFIX}"
        if name in ported.golden:
            expected = ported.golden[name]
            np.testing.assert_allclose(
                after[path], expected, rtol=tolerance, atol=tolerance * np.abs(expected).max(), err_msg=name
            )
            count += 1
    assert count == sum(name.startswith("train/after/") for name in ported.golden) > 20
