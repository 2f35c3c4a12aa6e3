import keras
import numpy as np
import pytest
from keras import ops

from centerkp.model.cost import measure_reach
from centerkp.weights.start import build_model


@pytest.fixture(scope="module")
def model():
    return build_model(
        num_classes=1, backbone={"stem_channels": 1, "channels": (1, 1), "blocks": (1, 1), "stacks": 1}, image_size=128
    )


def test_reach_is_what_a_cell_answers_to(model):
    """With convolutions that take means, every input pixel inside the receptive field moves the cell, and none outside does."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            layer.kernel.assign(ops.full(layer.kernel.shape, 1 / np.prod(layer.kernel.shape[:-1])))
    reach = measure_reach(model)
    plain = np.full((1, 128, 128, 3), 200, np.float32)
    changed = []
    for column in range(128):
        image = plain.copy()
        image[:, :, column] = 250
        maps = model(np.concatenate([plain, image]))[-1]["center_heatmap"]
        here, there = np.asarray(maps)[:, 16, 16, 0]
        changed.append(abs(here - there) > 1e-6)
    columns = np.flatnonzero(changed)
    assert columns[-1] - columns[0] + 1 <= reach <= columns[-1] - columns[0] + 1 + 8  # the upsampled cell's own position
