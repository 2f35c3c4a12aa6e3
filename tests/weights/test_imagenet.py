"""The packaged ImageNet weights, proved by what they say of photographs, through the trunk that detectors have."""

import time
from importlib.util import find_spec
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

from centerkp.model.backbones import BACKBONES
from centerkp.weights import imagenet

NAME = "efficientnet_lite0_fpn"
# Photographs in scikit-image's wheel, and ImageNet's classes: espresso; tabby, tiger cat, Egyptian cat; moped.
PHOTOGRAPHS = {
    "coffee.png": ({967}, 0.9),
    "chelsea.png": ({281, 282, 285}, 0.9),
    "motorcycle_left.png": ({665}, 0.4),
    "motorcycle_right.png": ({665}, 0.4),
}


@pytest.fixture(scope="module")
def tensors():
    return imagenet.read_imagenet(NAME)


@pytest.fixture(scope="module")
def classifier(tensors):
    """The detector's own normalisation and trunk under the file's classifier."""
    spec = BACKBONES[NAME]
    image = keras.Input((224, 224, 3))
    normalise = keras.layers.Normalization(mean=spec.mean, variance=[s * s for s in spec.std])
    end = spec.build_trunk(normalise(image), 0.9)[-1]
    x = keras.layers.Conv2D(1280, 1, use_bias=False, name="head_conv")(end)
    x = keras.layers.BatchNormalization(epsilon=1e-3, name="head_bn")(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU(6.0)(x))
    model = keras.Model(image, keras.layers.Dense(1000, activation="softmax", name="classes")(x))
    imagenet.assign_trunk(model, spec, tensors)
    imagenet.assign_conv(model.get_layer("head_conv"), tensors, "_conv_head")
    imagenet.assign_norm(model.get_layer("head_bn"), tensors, "_bn1")
    model.get_layer("classes").set_weights([tensors["_fc.weight"].T, tensors["_fc.bias"]])
    return model


def test_photographs_are_recognised(classifier):
    folder = Path(find_spec("skimage").submodule_search_locations[0]) / "data"
    images = [cv2.resize(cv2.imread(str(folder / name)), (224, 224), interpolation=cv2.INTER_AREA) for name in PHOTOGRAPHS]
    found = classifier.predict(np.stack(images)[..., ::-1].astype("float32"), verbose=0)
    for scores, (name, (classes, least)) in zip(found, PHOTOGRAPHS.items(), strict=True):
        assert set(np.argsort(scores)[::-1][: len(classes)]) == classes, name
        assert scores[list(classes)].sum() > least, name


def test_every_number_of_the_trunk_is_used(classifier, tensors):
    """All tensors of the file find their layers, but for the counters of steps; all trunk variables find their tensors."""
    trunk = [v for layer in classifier.layers if layer.name.startswith(("stem", "stride")) for v in layer.weights]
    assert imagenet.assign_trunk(classifier, BACKBONES[NAME], tensors) == len(trunk) == 240
    own = [name for name in tensors if not name.endswith("num_batches_tracked")]
    assert len(own) == 240 + 5 + 2  # the classifier's convolution, its normalisation, and its last layer


def test_read_in_under_a_second():
    started = time.perf_counter()
    imagenet.read_imagenet(NAME)
    assert time.perf_counter() - started < 1


def test_missing_parts_are_named(classifier, tensors, monkeypatch):
    fewer = {name: value for name, value in tensors.items() if name != "_blocks.9._bn1.bias"}
    with pytest.raises(ValueError, match="no tensor _blocks.9._bn1.bias"):
        imagenet.assign_trunk(classifier, BACKBONES[NAME], fewer)
    with pytest.raises(ValueError, match=r"_conv_stem has shape \(3, 3, 1, 32\), expected \(3, 3, 3, 32\)"):
        imagenet.assign_trunk(classifier, BACKBONES[NAME], tensors | {"_conv_stem.weight": tensors["_conv_stem.weight"][:, :1]})
    with pytest.raises(ValueError, match="backbone hourglass_10, expected one of"):
        imagenet.read_imagenet("hourglass_10")
    monkeypatch.setitem(imagenet.FILES, NAME, imagenet.FILES[NAME]._replace(package="no_such_package"))
    with pytest.raises(FileNotFoundError, match="pip install no-such-package"):
        imagenet.read_imagenet(NAME)
