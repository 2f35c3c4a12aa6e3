"""Checks of settings, before anything is done with them: types, ranges, and what does not go together."""

import math
import os
from collections.abc import Sequence
from types import UnionType
from typing import TYPE_CHECKING, Any, get_args, get_origin

from centerkp.heads import MAX_WEIGHT, head_channels
from centerkp.images.sensors import Levels
from centerkp.images.tiling import Tiling
from centerkp.schema import Schema
from centerkp.settings.values import read_box_margins, read_canvas, read_keypoint_map, read_numbers, read_time
from centerkp.wording import quote, suggest

if TYPE_CHECKING:
    from centerkp.settings.training import TrainSettings

AUTO = 0  # the batch size that is still to be found
# What numbers may be at least and at most, where it is no share; those of the augmentation are those of `samples.augment`.
RANGES: dict[str, tuple[float, float]] = {
    "rotation": (0, 180), "translation": (0, 1), "seed": (0, 2**32 - 1), "weight_decay": (0, math.inf),
    "clip_norm": (0, 10**12), "threads": (0, math.inf), "stacks": (1, math.inf),
}  # fmt: skip
LOGGERS = ("tensorboard", "wandb", "mlflow")
HEADS = tuple(head_channels(Schema.generic(1, 1)))  # each has a term of the loss
_KINDS: dict[Any, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false", tuple: "two numbers"}
_KINDS[Sequence] = "a list of texts"


def check_type(name: str, kind: Any, value: Any) -> Any:
    """A setting's value as the type of its field; raises ValueError when it is another, as after a slip in settings.json.

    In a field that takes numbers and texts, the digits of a whole number are one, as a flag has them.
    """
    kinds = [get_origin(one) or one for one in (get_args(kind) if isinstance(kind, UnionType) else (kind,))]
    if value is None and type(None) in kinds:
        return None
    if str in kinds and isinstance(value, os.PathLike):
        value = os.fspath(value)
    if str in kinds and int in kinds and isinstance(value, str) and value.isdecimal():
        return int(value)
    if Sequence in kinds and isinstance(value, list | tuple) and value and all(isinstance(v, str | os.PathLike) for v in value):
        return tuple(map(os.fspath, value)) if len(value) > 1 else os.fspath(value[0])
    if any(_fits(one, value) for one in kinds):
        return tuple(value) if tuple in kinds else value
    expected = " or ".join(_KINDS.get(one, "null") for one in kinds)
    raise ValueError(f"{name}: found {quote(value)}, expected {expected}.")


def _fits(kind: type, value: Any) -> bool:
    """Whether a setting's value is of a type, where numbers are finite and no bools."""
    if kind is tuple:
        return isinstance(value, list | tuple) and len(value) == 2 and all(_fits(float, v) for v in value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return kind is not Sequence and isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def check_ranges(settings: "TrainSettings") -> None:
    """Raises ValueError where the value of one of the settings is out of its range, or not written as it should be."""
    counts = ("max_objects", "epochs", "batch_size", "accumulate", "eval_every", "patience", "folds", "fold")
    for name in (*counts, "devices", "num_hosts"):
        value = getattr(settings, name)
        if isinstance(value, int) and value < 1 and (name, value) != ("batch_size", AUTO):
            raise ValueError(f"{name}: found {value}, expected 1 or more.")
    Tiling.of(settings.tile)
    if settings.image_size is not None:
        read_canvas(settings.image_size)
    for name in ("val_fraction", "warmup", "ema", "bn_momentum"):
        if not 0 <= getattr(settings, name) < 1:
            raise ValueError(f"{name}: found {getattr(settings, name)}, expected a number from 0 to below 1.")
    for name in ("learning_rate", "vector_rate", "point_box"):
        if getattr(settings, name) is not None and not getattr(settings, name) > 0:
            raise ValueError(f"{name}: found {getattr(settings, name)}, expected a number above 0.")
    for name, (least, most) in RANGES.items():
        value = getattr(settings, name)
        if value is not None and not least <= value <= most:
            bound = f"{least} or more" if most == math.inf else f"a number from {least} to {most}"
            raise ValueError(f"{name}: found {value}, expected {bound}.")
    if not 0 < settings.scale[0] <= settings.scale[1]:
        raise ValueError(f"scale: found {settings.scale}, expected the smallest and the largest, both above 0, as 0.6,1.4.")
    for name in ("time", "eval_every", "save_every"):
        if isinstance(getattr(settings, name), str):
            read_time(getattr(settings, name), name)
    if isinstance(settings.devices, str) and settings.devices != "all":
        raise ValueError(f"devices: found '{settings.devices}', expected how many, or all.")
    if settings.stretch not in (None, "auto"):
        Levels.parse(settings.stretch)
    read_keypoint_map(settings.map_keypoint)
    read_box_margins(settings.box_margins)
    for head, weight in read_numbers(settings.loss_weights, "loss_weights").items():
        if head not in HEADS:
            raise ValueError(f"loss_weights: found '{head}', expected some of {', '.join(HEADS)}{suggest(head, HEADS)}.")
        if not 0 <= weight <= MAX_WEIGHT:
            raise ValueError(f"loss_weights: found {head}={weight:g}, expected a number from 0 to {MAX_WEIGHT}.")
    for name in settings.loggers:
        if name not in LOGGERS:
            raise ValueError(f"log: found '{name}', expected one or more of {', '.join(LOGGERS)}{suggest(name, LOGGERS)}.")


def check_combinations(settings: "TrainSettings") -> None:
    """Raises ValueError where settings are given together that exclude each other, or one without what it needs."""
    if settings.unfreeze_at and (settings.freeze == "none" or not 0 < settings.unfreeze_at < (settings.epochs or math.inf)):
        raise ValueError(
            f"unfreeze_at: found {settings.unfreeze_at} with freeze '{settings.freeze}' and epochs {settings.epochs}, expected "
            "an epoch between the first and the last, and something frozen until then (--freeze backbone or stem)."
        )
    if not (settings.val_fraction or settings.val or settings.val_tfrecord or settings.folds):
        raise ValueError("val_fraction: found 0 without val, expected a share above 0, or images to validate on (--val).")
    for one, folders in (("coco", "images"), ("val", "val_images")):
        files, given = (len(v) if isinstance(v, tuple) else 1 for v in (getattr(settings, one), getattr(settings, folders)))
        if given not in (1, files):
            raise ValueError(
                f"settings: found {given} {folders} for {files} {one}, expected one folder for all files, or one for each in "
                "their order."
            )
    for one, other in (("coco", "tfrecord"), ("val", "val_tfrecord")):
        if getattr(settings, one) and getattr(settings, other):
            raise ValueError(f"settings: found {one} and {other}, expected one of the two; both name the same images.")
    if settings.stretch and settings.tfrecord:
        raise ValueError("settings: found stretch and tfrecord, expected one of the two; records hold pictures of 8 bits.")
    if settings.label_map and not (settings.tfrecord or settings.val_tfrecord):
        raise ValueError("settings: found label_map without tfrecord, expected both; a COCO JSON names its classes itself.")
    if not settings.folds and (settings.fold or settings.group_by):
        raise ValueError("settings: found fold or group_by without folds, expected how many there are, as in --folds 5.")
    if settings.folds and (settings.val or settings.val_tfrecord):
        raise ValueError("settings: found folds and validation images, expected one of the two; folds are held out in turn.")
    if settings.folds and not (settings.folds > 1 and (settings.fold or 1) <= settings.folds):
        raise ValueError(f"settings: found fold {settings.fold} of {settings.folds} folds, expected one of two or more.")
    machines = (settings.hosts, settings.num_hosts, settings.host_id)
    if any(one is not None for one in machines) and not (None not in machines and 0 <= machines[2] < machines[1]):
        raise ValueError(
            f"settings: found hosts {machines[0]}, num_hosts {machines[1]} and host_id {machines[2]}, expected all three, as "
            "in --hosts node1:1234 --num-hosts 4 --host-id 2, with an id from 0 to below their number."
        )


def list_idle(settings: "TrainSettings") -> list[str]:
    """A sentence for each setting that was given and says nothing, because of another that was given or was not."""
    held_apart = " and ".join(name for name in ("val", "val_tfrecord", "folds") if getattr(settings, name))
    idle = {
        "images": "tfrecord" if settings.tfrecord else "",
        "point_box": "tfrecord" if settings.tfrecord else "",
        "val_images": "" if settings.val else "no val",
        "val_fraction": held_apart,
        "map_keypoint": "weights none" if settings.weights == "none" else "",
    }
    return [f"{name}: with {why} it has no effect" for name, why in idle.items() if why and _is_given(settings, name)]


def _is_given(settings: "TrainSettings", name: str) -> bool:
    """Whether a setting is another than by default."""
    return getattr(settings, name) != type(settings).__dataclass_fields__[name].default
