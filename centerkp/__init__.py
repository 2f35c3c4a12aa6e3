"""Keypoint detection for your own objects: a COCO JSON and a folder of images in, a trained CenterNet-Hourglass out."""

from importlib import import_module

__version__ = "0.1.0"

# Loaded on first use, so that `import centerkp` stays light: no TensorFlow, no Keras, no network.
_HOMES = {
    "Schema": "centerkp.schema",
    "Detection": "centerkp.results",
    "CenterNet": "centerkp.model.center_net",
    "build_model": "centerkp.weights.start",
    "load_model": "centerkp.model.center_net",
    "load_detector": "centerkp.inference.loading",
    "predict": "centerkp.inference.predict",
    "detect": "centerkp.inference.detect",
    "Frame": "centerkp.inference.detect",
    "ImageResult": "centerkp.inference.image_result",
    "AugmentedDetector": "centerkp.inference.augmented",
}
__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'centerkp' has no attribute '{name}'; it has {__all__}.")
    return getattr(import_module(_HOMES[name]), name)


def __dir__():
    return sorted(__all__)
