"""Keypoint detection for your own objects: a COCO JSON and a folder of images in, a trained CenterNet-Hourglass out."""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Nothing here phones home. Said in one place, which runs before any of these packages can be imported by this one:
# Albumentations asks a server for its newest version, and waits for it where there is no network;
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
# ONNX Runtime sends the name, size and hashes of every model it opens, on Linux from 1.29 on;
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
# MLflow counts how it is used, and Weights & Biases sends its errors to its makers, whatever they are asked to log;
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["WANDB_ERROR_REPORTING"] = "false"
# Ray tells its makers on what machines it runs;
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# OpenVINO and NNCF report their use and leave ~/intel behind, but not where the package that does so is not to be found.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

# TensorFlow asks oneDNN for convolutions by itself only where a processor has AVX512_VNNI or newer, which most laptops lack:
# with AVX2 alone a training step of the light network takes 0.64 s instead of 0.80, of mobilenetv2_fpn 1.02 instead of 1.39.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# Loaded on first use, so that `import centerkp` stays light: no TensorFlow, no Keras, no network.
_HOMES = {
    "Schema": "centerkp.schema",
    "Detection": "centerkp.results",
    "CenterNet": "centerkp.model.center_net",
    "build_model": "centerkp.weights.start",
    "load_model": "centerkp.model.center_net",
    "load_detector": "centerkp.inference.model_loading",
    "predict": "centerkp.inference.predict",
    "detect": "centerkp.inference.detect",
    "Frame": "centerkp.inference.detect",
    "ImageResult": "centerkp.inference.image_result",
    "AugmentedDetector": "centerkp.inference.augmented",
}
__all__ = [*_HOMES, "__version__"]

if TYPE_CHECKING:  # the same for those who read types and run nothing
    from centerkp.inference.augmented import AugmentedDetector as AugmentedDetector
    from centerkp.inference.detect import Frame as Frame
    from centerkp.inference.detect import detect as detect
    from centerkp.inference.image_result import ImageResult as ImageResult
    from centerkp.inference.model_loading import load_detector as load_detector
    from centerkp.inference.predict import predict as predict
    from centerkp.model.center_net import CenterNet as CenterNet
    from centerkp.model.center_net import load_model as load_model
    from centerkp.results import Detection as Detection
    from centerkp.schema import Schema as Schema
    from centerkp.weights.start import build_model as build_model


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'centerkp' has no attribute '{name}'; it has {__all__}.")
    if "keras" in sys.modules:  # whoever imported it has heard its backend's greetings
        return getattr(import_module(_HOMES[name]), name)
    from centerkp.console import import_quietly

    return getattr(import_quietly(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
