"""Reading TensorFlow 2 checkpoints of CenterNet models: which variables there are, and of what network."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from centerkp.console import import_quietly
from centerkp.weights.archive import open_files
from centerkp.weights.zoo_layers import EXTRACTOR, NETWORK, PYRAMID, TRUNK
from centerkp.weights.zoo_sources import HEADS

SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_LEAVES = {"kernel", "depthwise_kernel", "pointwise_kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance"}
_HOURGLASS_NAMES = _LEAVES | {
    "downsample_input", "conv_block", "residual_block", "conv", "norm", "skip", "hourglass_network", "encoder_block1",
    "encoder_block2", "inner_block", "decoder_block", "output_conv", "intermediate_conv1", "intermediate_conv2",
    "intermediate_residual",
}  # fmt: skip
_BOOKKEEPING = (GRAPH, "save_counter")
# What other models of the same API call their parts.
_OTHER_MODELS = {
    "_first_stage": "a Faster R-CNN",
    "_box_predictor": "an SSD, RetinaNet or EfficientDet",
    "_prediction_head_dict": "a CenterNet with another backbone",
    "FeatureExtractor/": "a TensorFlow 1 model",
    "layer_with_weights-": "a plain Keras model",
}


class Checkpoint:
    """The variables of a CenterNet checkpoint under the names that `centerkp.weights.zoo_sources` uses.

    `shapes` is `{key: shape}`, with those that belong to the model but to no known part of it; `types` likewise. `others`
    counts the entries that are not of the model, `{what they are: how many}`. `path` names the checkpoint in messages.
    """

    def __init__(self, prefix: Path, pipeline: Path | None = None, path: str | Path | None = None):
        try:
            tf = import_quietly("tensorflow")  # the only reader of the format
        except ImportError:
            raise ValueError(
                f"{path or prefix}: found no TensorFlow, which alone reads checkpoints; convert it on a machine that has it "
                "(centerkp convert) and copy the .keras file."
            ) from None
        self.path, self.pipeline = Path(path or prefix), pipeline
        try:
            self._reader = tf.train.load_checkpoint(str(prefix))
            shapes, types = self._reader.get_variable_to_shape_map(), self._reader.get_variable_to_dtype_map()
            self._keys = self._find_names({k for k in shapes if k.endswith(SUFFIX) and ".OPTIMIZER_SLOT" not in k})
        except (tf.errors.OpError, ValueError, IndexError, RuntimeError) as error:
            raise ValueError(
                f"{self.path}: not readable as a TensorFlow checkpoint ({_first_line(error)}); fetch it again."
            ) from None
        if not any(key.startswith((f"{NETWORK}/hourglass_network/0/encoder", TRUNK)) for key in self._keys):
            raise ValueError(
                f"{self.path}: found {_describe_keys(shapes)} with {len(shapes)} variables such as {min(shapes, key=len)}, "
                f"expected a CenterNet-Hourglass with variables such as "
                f"{NETWORK}/hourglass_network/0/encoder_block1/0/conv/kernel, or a CenterNet of a ResNet or MobileNet with "
                f"variables such as {TRUNK}0/kernel; give an archive whose name begins with centernet_hg104, "
                "centernet_resnet or centernet_mobilenet, or your own training of one."
            )
        named = set(self._keys.values())
        self.others = Counter(_describe_other(key) for key in shapes if key not in named and not key.startswith(_BOOKKEEPING))
        self.shapes = {key: tuple(shapes[name]) for key, name in self._keys.items()}
        self.types = {key: types[name].name for key, name in self._keys.items()}

    def read(self, key: str) -> np.ndarray:
        """The value of a variable of the TensorFlow checkpoint; ValueError when the file is damaged there."""
        import tensorflow as tf

        try:
            return self._reader.get_tensor(self._keys[key])
        except (tf.errors.OpError, IndexError, RuntimeError) as error:
            raise ValueError(
                f"{self.path}: {key} cannot be read ({_first_line(error)}); the file is damaged, fetch it again."
            ) from None

    def _find_names(self, raw: set[str]) -> dict[str, str]:
        """Our key of each variable -> the TensorFlow checkpoint's own."""
        names = {name: key for name, key in self._walk_graph().items() if key in raw}
        part = r"(.*?)((?:_feature_extractor/(?:_network|_base_model|_feature_extractor_model)|_prediction_head_dict)/.+)"
        parts = {key: re.fullmatch(part, key) for key in raw}
        roots = Counter(match[1] for match in parts.values() if match)
        root = roots.most_common(1)[0][0] if roots else None
        taken = set(names.values())
        for key in sorted(raw - taken) if root is not None else ():
            if key.startswith(root):
                names.setdefault(_plain_name("model/" + key.removeprefix(root)), key)
        return names

    def _walk_graph(self) -> dict[str, str]:
        """Our keys from the checkpoint's graph of objects: a SavedModel may name a variable by any way to it."""
        from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

        if not self._reader.has_tensor(GRAPH):
            return {}
        nodes = TrackableObjectGraph.FromString(self._reader.get_tensor(GRAPH)).nodes
        children = [{child.local_name: child.node_id for child in node.children} for node in nodes]
        model = next((c for c in children if {"_feature_extractor", "_prediction_head_dict"} <= c.keys()), None)
        if model is None:
            return {}
        found = {}

        def walk(node: int, name: str, allowed: Callable[[str], Any]) -> None:
            for attribute in nodes[node].attributes:
                found[_plain_name(name + SUFFIX)] = attribute.checkpoint_key
            for child, index in children[node].items():
                if allowed(child):
                    walk(index, f"{name}/{child}", allowed)

        extractor = children[model["_feature_extractor"]]
        if "_network" in extractor:
            walk(extractor["_network"], NETWORK, lambda name: name in _HOURGLASS_NAMES or name.isdigit())
        for part in (TRUNK, PYRAMID):
            # One layer deep: the model of the pyramid holds that of the trunk as its first layer.
            part, layer = part.rsplit("/", 1)
            place = extractor.get(part.removeprefix(f"{EXTRACTOR}/"))
            for child, index in children[place].items() if place is not None else ():
                if re.fullmatch(rf"{layer}\d+", child):
                    walk(index, f"{part}/{child}", _LEAVES.__contains__)
        for head, index in children[model["_prediction_head_dict"]].items():
            walk(index, f"{HEADS}/{escape(head)}", lambda name: name in _LEAVES or re.fullmatch(r"\d+|layer[\w-]*-\d+", name))
        return found


@contextmanager
def open_checkpoint(path: str | Path, scratch: Path | None = None) -> Iterator[Checkpoint]:
    """The CenterNet checkpoint in an archive, a folder, a SavedModel, or at a prefix; see `archive.open_files`.

    Raises:
        FileNotFoundError: no checkpoint is there.
        ValueError: it is damaged, or of another model; says of which.
    """
    with open_files(path, scratch) as files:
        yield Checkpoint(files.prefix, files.pipeline, path)


def escape(name: str) -> str:
    """A name as it stands in a checkpoint's keys: "box/scale" -> "box.Sscale"."""
    return name.replace(".", "..").replace("/", ".S")


def _plain_name(key: str) -> str:
    """A checkpoint's key without suffix, a head's layers counted as those with weights: convolution 0, convolution 1."""
    if key.startswith(HEADS):
        key = re.sub(r"/layer-(\d+)/", lambda match: f"/layer_with_weights-{int(match[1]) // 2}/", key)
    return key.removesuffix(SUFFIX)


def _describe_other(key: str) -> str:
    """What a checkpoint's entry is that does not belong to the model: "optimizer state", "step"."""
    return "optimizer state" if ".OPTIMIZER_SLOT" in key or key.startswith("optimizer/") else key.split("/")[0]


def _describe_keys(keys: Collection[str]) -> str:
    """What kind of model a checkpoint seems to be by its keys, for the error of one that is none of ours."""
    return next((text for part, text in _OTHER_MODELS.items() if any(part in key for key in keys)), "an unknown model")


def _first_line(error: Exception) -> str:
    """The first line of an error of TensorFlow's checkpoint reader."""
    return (str(getattr(error, "message", "") or error).splitlines() or [type(error).__name__])[0]
