"""Reading TensorFlow 2 checkpoints of CenterNet models: which variables there are, and of what network."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from centerkp.console import import_quietly
from centerkp.model.backbone import Backbone
from centerkp.weights.archive import open_files
from centerkp.weights.zoo import BOX_HEADS, HEADS, Task
from centerkp.weights.zoo_layers import EXTRACTOR, NETWORK, PYRAMID, TRUNK, read_backbone, spare_keys

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
    """The variables of a CenterNet checkpoint under the names that `centerkp.weights.zoo` uses.

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


@dataclass(frozen=True)
class Structure:
    """What network a checkpoint holds: its backbone with the heads' hidden widths, its class channels, its keypoint tasks."""

    backbone: Backbone
    num_classes: int
    tasks: tuple[Task, ...]


def read_structure(checkpoint: Checkpoint) -> Structure:
    """Reads a checkpoint's network from names and shapes alone; one missing variable does not lead it astray.

    Raises:
        ValueError: a part is missing altogether, or there are heads that keypoint detection does not have.
    """
    shapes, where = checkpoint.shapes, str(checkpoint.path)
    hidden, channels = _read_heads(shapes, where)
    names = sorted({head.split(".Skeypoint.S")[0] for head in channels if ".Skeypoint.S" in head})
    tasks = tuple(_read_task(name, hidden, channels, where) for name in names)
    widths = {head: hidden[key] for head, key in BOX_HEADS.items()}
    for head in tasks[0].hidden if tasks else ():
        widths[head] = sum(task.hidden[head] for task in tasks)
    separable = any(key.startswith(HEADS) and key.endswith("/depthwise_kernel") for key in shapes)
    filters = {head: separable * (len(tasks) if head.startswith("keypoint") else 1) for head in widths}
    backbone = read_backbone(shapes, where, head_channels=_join_widths(widths), separable_heads=_join_widths(filters))
    return Structure(backbone, channels[BOX_HEADS["center_heatmap"]], tasks)


def _join_widths(numbers: dict[str, int]) -> int | dict[str, int]:
    """Hidden widths of a checkpoint's heads: one number where all have the same, else by head."""
    return numbers if len(set(numbers.values())) > 1 else next(iter(numbers.values()))


def _read_heads(shapes: Mapping[str, tuple], where: str) -> tuple[dict[str, int], dict[str, int]]:
    """Hidden width and channels of every head in a checkpoint, by its name there."""
    votes: dict[tuple[str, str], Counter] = {}
    for key, shape in shapes.items():
        match = re.fullmatch(rf"{HEADS}/([^/]+)/\d+/layer_with_weights-([01])/(?:(?:pointwise_)?kernel|bias)", key)
        if match and shape:
            votes.setdefault((match[1], match[2]), Counter())[shape[-1]] += 1
    widths = [{name: c.most_common(1)[0][0] for (name, part), c in votes.items() if part == wanted} for wanted in "01"]
    expected = [*BOX_HEADS.values(), *(f"TASK.Skeypoint.S{leaf}" for leaf in ("heatmap", "offset", "regression"))]
    other = [n for n in widths[1] if n not in expected[:3] and not re.search(r"\.Skeypoint\.S(heatmap|offset|regression)$", n)]
    missing = [n for n in expected[:3] if n not in widths[0] or n not in widths[1]]
    if other or missing:
        raise ValueError(
            f"{where}: found the heads {sorted(widths[1])}, expected {expected} (unknown: {other}, missing: {missing}); only "
            "models for boxes and keypoints can be converted."
        )
    return widths[0], widths[1]


def _read_task(name: str, hidden: Mapping[str, int], channels: Mapping[str, int], where: str) -> Task:
    """The keypoint task of a class as a checkpoint's shapes give it."""
    keys = {f"keypoint_{leaf}": f"{name}.Skeypoint.S{leaf}" for leaf in ("heatmap", "offset", "regression")}
    lacking = [key for key in keys.values() if key not in hidden or key not in channels]
    if lacking:
        raise ValueError(f"{where}: found the keypoint task '{name}' without {lacking}, expected all of {list(keys.values())}.")
    count = channels[keys["keypoint_heatmap"]]
    shared = channels[keys["keypoint_offset"]] == 2 != 2 * count
    return Task(name, count, {head: hidden[key] for head, key in keys.items()}, shared)


def describe_use(checkpoint: Checkpoint, backbone: Backbone) -> str:
    """How much of a checkpoint a model consists of, and what is left behind: the ImageNet classifier, an optimizer's state."""
    spare = spare_keys(backbone)
    left = Counter(spare[layer] for key in checkpoint.shapes if (layer := _layer_of(key)) in spare) + checkpoint.others
    count = len(checkpoint.shapes) + checkpoint.others.total()
    text = f"{count - left.total()} of {count} variables in place"
    return f"{text}; left behind: {', '.join(f'{what} ({n})' for what, n in sorted(left.items()))}" if left else text


def check_complete(checkpoint: Checkpoint, expected: Mapping[str, tuple[int, ...]], backbone: Backbone) -> None:
    """Checks that a checkpoint has every expected variable, in shape and float32, and no unknown one; ValueError else.

    Raises:
        ValueError: names the first one missing, of another shape or unknown, and how many there are.
    """
    found, where = checkpoint.shapes, checkpoint.path
    missing = [key for key in expected if key not in found]
    if missing:
        raise ValueError(
            f"{where}: {len(missing)} of {len(expected)} variables are missing, the first is {missing[0]} with shape "
            f"{expected[missing[0]]}; the checkpoint is incomplete or of another network, fetch it again."
        )
    for key, shape in expected.items():
        if (found[key], checkpoint.types[key]) != (shape, "float32"):
            wrong = sum((found[k], checkpoint.types[k]) != (s, "float32") for k, s in expected.items())
            raise ValueError(
                f"{where}: {wrong} of {len(expected)} variables differ, the first is {key}: found {checkpoint.types[key]} "
                f"{found[key]}, expected float32 {shape}; the checkpoint is of another network."
            )
    spare = spare_keys(backbone)
    unknown = sorted(key for key in set(found) - set(expected) if _layer_of(key) not in spare)
    if unknown:
        raise ValueError(
            f"{where}: {len(unknown)} variables belong to no part of the network, the first is {unknown[0]}, expected the "
            f"{len(expected)} of a CenterNet for boxes and keypoints only."
        )


def _layer_of(key: str) -> str:
    """The layer that a checkpoint's key belongs to."""
    return key.rsplit("/", 1)[0]
