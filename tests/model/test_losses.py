import keras
import numpy as np
import pytest
import reference
from keras import ops

from centerkp.codec.targets import render_targets
from centerkp.model.losses import DEFAULT_WEIGHTS, compute_losses, focal_loss

CLASS_WEIGHTS = (1.0, 0.5, 1.0)  # the goldens' task weights


@pytest.fixture(scope="module")
def golden():
    return reference.load("train_math")


def read_stacks(golden):
    return [{head: reference.read_head(golden, "pred", head, suffix=f"/{i}") for head in reference.HEADS} for i in (0, 1)]


def losses_of(golden, stacks, case, mask_rule):
    truth = reference.read_truth(golden)
    if case == "all_weights_zero":
        truth["object_weights"] = np.zeros_like(truth["object_weights"])
    if case == "no_keypoints":
        truth["visibility"] = np.zeros_like(truth["visibility"])
    targets = render_targets(truth, reference.SCHEMA, (32, 32), mask_rule=mask_rule, keypoint_std=reference.KEYPOINT_STD)
    return compute_losses(stacks, targets, reference.SCHEMA.keypoint_mask, CLASS_WEIGHTS)


@pytest.mark.parametrize("mask_rule, prefix", [("zoo_2021", "loss"), ("zoo_2020", "loss_2020")])
@pytest.mark.parametrize("case", ["main", "all_weights_zero", "no_keypoints"])
def test_golden_losses(golden, case, mask_rule, prefix):
    terms = losses_of(golden, read_stacks(golden), case, mask_rule)
    for head, theirs in reference.HEADS.items():
        names = [f"task_a/{theirs}", f"task_b/{theirs}"] if theirs.startswith("keypoint/") else [theirs]
        expected = sum(golden[f"{prefix}/{case}/Loss/{name}"] for name in names)
        assert DEFAULT_WEIGHTS[head] * float(terms[head]) == pytest.approx(float(expected), rel=2e-5, abs=1e-6), head
    total = golden.get(f"{prefix}/{case}/total")
    if total is not None:
        assert sum(DEFAULT_WEIGHTS[h] * float(v) for h, v in terms.items()) == pytest.approx(float(total), rel=2e-5)


def test_golden_gradients(golden):
    """The gradient of the total with respect to every map of both stacks."""
    stacks = read_stacks(golden)
    names = [(i, head) for i in (0, 1) for head in stacks[i]]
    values = [stacks[i][head] for i, head in names]

    def total(values):
        maps = [{}, {}]
        for (i, head), value in zip(names, values, strict=True):
            maps[i][head] = value
        return sum(DEFAULT_WEIGHTS[h] * v for h, v in losses_of(golden, maps, "main", "zoo_2021").items())

    if keras.backend.backend() == "jax":
        import jax

        gradients = jax.grad(total)([ops.convert_to_tensor(v) for v in values])
    else:
        import tensorflow as tf

        tensors = [tf.convert_to_tensor(v) for v in values]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            loss = total(tensors)
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(loss, tensors)]
    for (i, head), gradient in zip(names, gradients, strict=True):
        expected = reference.read_head(golden, "grad", head, suffix=f"/{i}")
        np.testing.assert_allclose(np.asarray(gradient), expected, atol=1e-5 * np.abs(expected).max(), err_msg=f"{head} {i}")


def test_focal_by_hand():
    loss = ops.convert_to_numpy(focal_loss(np.zeros(3, "float32"), np.array([1, 0, 0.5], "float32")))  # p = 0.5
    np.testing.assert_allclose(loss, np.log(2) * np.array([0.25, 0.25, 0.25 / 16]), rtol=1e-6)
    extreme = ops.convert_to_numpy(focal_loss(np.array([-100, 100], "float32"), np.array([1, 0], "float32")))
    np.testing.assert_allclose(extreme, -((1 - 1e-4) ** 2) * np.log(1e-4), rtol=1e-3)  # finite at any logit
