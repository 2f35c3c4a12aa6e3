"""Heads at few cells against heads on whole maps, and BatchNormalization against Keras's: the same steps."""

import keras
import numpy as np
import pytest
from model.test_accumulation import SCHEMA, compare, make_batch

from centerkp.heads import head_channels
from centerkp.model import center_net, sparse_heads
from centerkp.model.center_net import CenterNet
from centerkp.model.hourglass import Hourglass
from centerkp.model.mobilenet import MobileNet
from centerkp.model.normalization import BatchNormalization

WIDTHS = {head: 3 + i for i, head in enumerate(head_channels(SCHEMA))}
HOURGLASS = Hourglass(2, (4, 4), (1, 1), stacks=2, head_channels=WIDTHS)


def train(spec=HOURGLASS, **memory):
    keras.utils.set_random_seed(0)
    model = CenterNet(SCHEMA, spec, 32)
    model.save_memory(**memory)
    model.compile(keras.optimizers.SGD(1.0))
    losses = model.train_on_batch(*make_batch(), return_dict=True)
    if keras.backend.backend() == "jax":
        model.jax_state_sync()
    return [losses], [keras.ops.convert_to_numpy(v) for v in model.variables]


@pytest.fixture(scope="module")
def whole():
    """By Keras's own way through the network, with all heads on whole maps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(center_net, "draw_training_network", lambda *_: None)
        return train()


@pytest.mark.parametrize("few", [pytest.param(1, marks=pytest.mark.once), 8, pytest.param(64, marks=pytest.mark.once)])
def test_same_step_at_few_cells(few, whole, monkeypatch):
    """As many as the map has, which are enough; an eighth, and a single cell, which are not."""
    counts = []
    find = sparse_heads.ops.top_k
    monkeypatch.setattr(sparse_heads, "FEW", few)
    monkeypatch.setattr(sparse_heads.ops, "top_k", lambda x, k: counts.append(k) or find(x, k))
    compare(whole, train())
    assert set(counts) == {64 // few}


@pytest.mark.once
def test_separable_heads_stay_whole():
    """They are quick as they are: where all are, a training step computes the maps that the model gives."""
    stages = ((3, 1, 8, 1, 1), (3, 2, 12, 3, 2), (3, 2, 16, 3, 2))
    spec = MobileNet(stem_channels=8, stages=stages, taps=(1,), last_channels=0, pyramid_channels=(16, 8), head_channels=8)
    model = CenterNet(SCHEMA, spec, 32)
    assert all(model.backbone.depthwise_filters(head) for head in WIDTHS)
    assert set(sparse_heads.draw_training_network(model, remat=False)(np.zeros((1, 32, 32, 3), "float32"))) == set(WIDTHS)


@pytest.mark.parametrize("trainable", [True, False])
def test_normalization_is_that_of_keras(trainable):
    """Outputs, all gradients and the statistics of both, by a loss to which every value matters differently."""
    rng = np.random.default_rng(0)
    x, factors = rng.normal(3, 2, (2, 5, 7, 4)).astype("float32"), rng.normal(0, 1, (5, 7, 4)).astype("float32")

    def step(kind):
        keras.utils.set_random_seed(0)
        image = keras.Input((5, 7, 4))
        # The layer below learns by what comes through.
        y = kind(momentum=0.8, epsilon=1e-3, name="bn", trainable=trainable)(keras.layers.Conv2D(4, 1, name="below")(image))
        model = keras.Model(image, keras.ops.square(y) * factors)
        model.compile(keras.optimizers.SGD(0.1), loss=lambda _, y: y)
        loss = model.train_on_batch(x, np.zeros(len(x)))
        if keras.backend.backend() == "jax":
            model.jax_state_sync()
        return [loss, *(keras.ops.convert_to_numpy(v) for v in model.variables)]

    for mine, yours in zip(step(BatchNormalization), step(keras.layers.BatchNormalization), strict=True):
        np.testing.assert_allclose(mine, yours, rtol=1e-4, atol=1e-5)
