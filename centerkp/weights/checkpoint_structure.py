"""What network a CenterNet checkpoint holds, by its variables' names and shapes, and whether it holds all of one."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from centerkp.model.backbone import Backbone
from centerkp.weights.checkpoint import Checkpoint
from centerkp.weights.zoo_layers import read_backbone, spare_keys
from centerkp.weights.zoo_sources import BOX_HEADS, HEADS, Task


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
