import numpy as np
import pytest
from keras import ops

from centerkp.model.cost import CONVOLUTIONS, measure_reach
from centerkp.weights.start import build_model

SMALL = {
    "hourglass": {"stem_channels": 1, "channels": (1, 1), "blocks": (1, 1), "stacks": 1},
    "mobilenet": {
        "stem_channels": 2,
        "stages": [[3, 1, 2, 1, 1], [3, 1, 2, 2, 2], [5, 1, 2, 2, 2]],
        "taps": [1],
        "last_channels": 2,
        "pyramid_channels": [2, 2],
        "head_channels": 2,
    },
    "resnet_v1": {"stem_channels": 2, "channels": [2, 2], "blocks": [1, 1], "pyramid_channels": [2, 2], "head_channels": 2},
    "resnet_v2": {"stem_channels": 2, "channels": [2, 2], "blocks": [1, 1], "upsample_channels": [2], "head_channels": 2},
}


@pytest.mark.parametrize("kind", SMALL)
def test_reach_is_what_a_cell_answers_to(kind):
    """With kernels that take means, every input pixel inside the receptive field moves the cell, and none outside does."""
    model = build_model(num_classes=1, backbone={"kind": kind} | SMALL[kind], image_size=128)
    for layer in model.layers:
        for weight in layer.weights if isinstance(layer, CONVOLUTIONS) else ():
            if len(weight.shape) == 4:
                weight.assign(ops.full(weight.shape, 1 / np.prod(weight.shape[:-1])))
    reach = measure_reach(model)
    images = np.full((129, 128, 128, 3), 200, np.uint8)  # the last one plain, the others with a lighter column each
    images[np.arange(128), :, np.arange(128)] = 250
    cells = ops.convert_to_numpy(model(images)[-1]["center_heatmap"])[:, 16, 16, 0]
    changed = abs(cells[:-1] - cells[-1]) > 1e-6
    columns = np.flatnonzero(changed)
    assert columns[-1] - columns[0] + 1 <= reach <= columns[-1] - columns[0] + 1 + 8  # the upsampled cell's own position
