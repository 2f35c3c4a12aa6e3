"""Small models with numbers like a trained one's, for the tests of all formats."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def small_model():
    """Two stacks, three classes with 3, 0 and 2 keypoints, 96 x 64 pixels, every weight of its own; maps of moderate size."""
    return make_model(stacks=2)


# One small network of every other kind, with all that its kind consists of: strides, both paddings, shortcuts, several filters.
KINDS = ("mobilenet", pytest.param("resnet_v1", marks=pytest.mark.long), "resnet_v2")


@pytest.fixture(scope="session", params=KINDS)
def kind_model(request):
    """The same with another backbone, one of each kind; with so many objects that a little noise leaves none out."""
    from centerkp.model.backbones import find_backbone

    stages = [[3, 1, 8, 1, 1], [3, 2, 12, 3, 2], [5, 2, 12, 2, 2], [3, 1, 16, 2, 2]]
    fields = {
        "mobilenet": {
            "stem_channels": 8,
            "stages": stages,
            "taps": [1, 2],
            "last_channels": 24,
            "pyramid_channels": [16, 12, 8],
            "separable_heads": 2,
        },
        "resnet_v1": {"stem_channels": 8, "channels": [4, 6], "blocks": [2, 1], "pyramid_channels": [8, 8]},
        "resnet_v2": {"stem_channels": 8, "channels": [4, 6, 8], "blocks": [2, 2, 1], "upsample_channels": [12, 8]},
    }[request.param]
    return make_model(backbone=find_backbone({"kind": request.param, "head_channels": 8} | fields), max_objects=300)


@pytest.fixture(scope="session")
def tiny_model():
    """The same with one stack, where the network itself matters less than the time to trace it."""
    return make_model(stacks=1)


@pytest.fixture(scope="session")
def network(small_model):
    """The small model as it is written."""
    from centerkp.export.fold import fold

    return fold(small_model)


def make_model(stacks=1, backbone=None, max_objects=20):
    import keras

    from centerkp.model.center_net import CenterNet
    from centerkp.model.hourglass import Hourglass
    from centerkp.schema import Schema

    keras.utils.set_random_seed(7)
    rng = np.random.default_rng(7)
    spec = backbone or Hourglass(4, (8, 12), (1, 1), stacks=stacks, head_channels=8)
    known = {"overall": 0.25, "scores": [0.125, 0.5, 0.25], "objects": [40, 25, 0]}
    decode = {"max_objects": max_objects, "candidates": 20}
    model = CenterNet(Schema.generic(3, [3, 0, 2]), spec, (96, 64), decode=decode, thresholds=known)
    for weight in model.weights:
        if "moving_variance" in weight.path or "gamma" in weight.path:
            weight.assign(rng.uniform(0.5, 2, weight.shape))
        elif "moving_mean" in weight.path or "beta" in weight.path:
            weight.assign(rng.normal(0, 0.5, weight.shape))
    noise = rng.uniform(0, 255, (1, 64, 96, 3)).astype("float32")
    if backbone:
        # Statistics that belong to the numbers, or most cells of a deep network of ReLUs are alike.
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 0.0
        model(noise, training=True)
    for stack, maps in enumerate(model(noise)):
        for head, values in maps.items():
            layer = model.get_layer(f"stack{stack}_{head}")
            layer.kernel.assign(layer.kernel * (2 if "size" in head else 1) / np.std(np.asarray(values)))
            if head == "box_size":
                layer.bias.assign([6.0, 5.0])
    return model


@pytest.fixture(scope="session")
def pictures():
    """Four drawn pictures: smaller than the small model's canvas, larger, wide and high."""
    from centerkp.demo.scenes import draw_scene

    rng = np.random.default_rng(3)
    return [draw_scene(rng, size, 2)[0] for size in ((100, 64), (130, 121), (301, 66), (64, 200))]


@pytest.fixture(scope="session")
def inputs(pictures):
    """The pictures letterboxed, as one batch."""
    from centerkp.images.reading import letterbox_image

    canvases, _, sizes = zip(*(letterbox_image(picture, (96, 64)) for picture in pictures), strict=True)
    return {"image": np.stack(canvases), "valid_size": np.float32(sizes)}
