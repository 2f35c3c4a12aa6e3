"""Settings of a training run: defaults < file < flags; an unknown name is an error with a suggestion."""

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

from centerkp.evaluation.monitors import MONITORS
from centerkp.heads import FREEZABLE
from centerkp.training.values import read_keypoint_map, read_time
from centerkp.weights.addresses import COCO_ARCHIVES
from centerkp.wording import quote, suggest

PATHS = (
    "coco", "images", "val", "val_images", "tfrecord", "label_map", "val_tfrecord", "run", "weights", "augmentation",
)  # fmt: skip
# Those of the data, which may be elsewhere when a run is resumed.
DATA_PATHS = tuple(name for name in PATHS if name not in ("run", "weights"))
# What a backbone starts from where nothing is said; the others start from random weights.
STARTS = dict.fromkeys(COCO_ARCHIVES, "coco") | {"efficientnet_lite0_fpn": "drawn"}
# Highest learning rates by what the weights are; a model of any kind counts as trained.
RATES = {"none": 1e-3, "imagenet": 1e-3, "drawn": 1e-3, "trained": 2.5e-4}
STARTING_WORDS = ("auto", "coco", *(word for word in RATES if word != "trained"))  # what --weights takes besides paths
VECTOR_RATE = 8.0
# At the zoo's 0.1 the vectors of an object that is mirrored at random stay at their mean, which is nothing, until the network
# knows which way it faces, and it has little reason to find out; and boxes get exact three times as slowly.
LIGHT_LOSSES = "box_size=0.3,keypoint_regression=0.4"


def _setting(default: Any, text: str, *, choices: tuple = (), name: str = "", repeat: bool = False) -> Any:
    """A field of the settings with its help text; `name` is its value's in the help, a `repeat` flag joins by commas."""
    return field(default=default, metadata={"help": text, "choices": choices, "name": name, "repeat": repeat})


@dataclass(frozen=True)
class TrainSettings:
    """Everything a training run depends on besides the data and the random numbers of the machine.

    The same names are the flags of `train.py` (with dashes) and the keys of `settings.json`.
    """

    coco: str = _setting("", "COCO-format JSON with the training annotations", name="JSON")
    images: str | None = _setting(None, "folder of the training images; by default found beside the JSON", name="DIR")
    val: str | None = _setting(None, "COCO JSON for validation; by default a share of --coco is kept back", name="JSON")
    val_images: str | None = _setting(None, "folder of the validation images; by default as for training", name="DIR")
    tfrecord: str | None = _setting(
        None, "in place of --coco: TFRecords of the Object Detection API, as 'train.record-?????-of-00010'", name="PATTERN"
    )
    label_map: str | None = _setting(
        None, "label_map.pbtxt of the records, or the COCO JSON, which also has flip pairs and OKS sigmas", name="FILE"
    )
    val_tfrecord: str | None = _setting(None, "in place of --val: TFRecords for validation", name="PATTERN")
    val_fraction: float = _setting(0.2, "share of images kept back for validation when there is no --val")
    run: str | None = _setting(None, "run folder to write; by default runs/NAME-OF-THE-JSON, numbered", name="DIR")

    backbone: str = _setting(
        "auto",
        "network: hourglass_104 (two stacks), _52, _32, _20 or _10, efficientnet_lite0_fpn, mobilenetv2_fpn, resnet50_v1_fpn "
        "or resnet50_v2; 'auto' is hourglass_104 where an accelerator has the memory for it, else efficientnet_lite0_fpn",
        name="NAME",
    )
    weights: str = _setting(
        "auto",
        "what to start from: 'coco' (the model zoo's, fetched once into weights/), a .keras file or a COCO checkpoint, moved "
        "by name; 'imagenet' (features of photographs, installed) or 'drawn' (those with a pyramid and heads that were trained "
        "on drawn objects, installed); 'none' for random weights; 'auto' is drawn for efficientnet_lite0_fpn, none for "
        "hourglass_10 to _52 and coco for the others, which the zoo has",
        name="FILE",
    )
    map_keypoint: str | None = _setting(
        None, "keypoints that take the weights of others, as snout=nose,paw=left_wrist", name="OWN=THEIRS", repeat=True
    )
    stacks: int | None = _setting(None, "use the first so many hourglasses alone, with their own trained heads", name="N")
    image_size: int | None = _setting(
        None, "side of the square network input in pixels; by default 320 for efficientnet_lite0_fpn, else 512", name="PIXELS"
    )
    epochs: int | None = _setting(
        None,
        "times to go through the training images; by default what 2,000 steps come to, more of them for more than 100 images "
        "(4,000 for 400, 20,000 for 10,000), and 12 to 300 in all; with --time as many as fit",
        name="EPOCHS",
    )
    time: str | None = _setting(
        None,
        "how long the command takes, as 90s, 30m or 1h30m, all from its start to its last picture; learning rate and "
        "evaluations are laid out for what fits, the last epoch may stay unfinished, --epochs may end it before; --resume goes "
        "on for the time that was left at the last save, and takes no other",
        name="TIME",
    )
    batch_size: int | None = _setting(None, "images per step; by default 4 for efficientnet_lite0_fpn, else 8")
    precision: str = _setting(
        "auto",
        "number format of the computation; 'auto' is mixed_bfloat16 where the machine is faster in it",
        choices=("auto", "float32", "mixed_bfloat16", "mixed_float16"),
    )

    learning_rate: float | None = _setting(
        None,
        "highest learning rate (AdamW), reached after warm-up, then cosine to 2 %; by default 0.001 from random weights or "
        "installed ones and 0.00025 from trained models",
    )
    vector_rate: float | None = _setting(
        None,
        "factor of the learning rate for the last layers of the heads that give lengths (box_size, keypoint_regression), whose "
        "numbers of up to 50 would take a thousand steps to grow; by default 8 from installed weights, else 1",
    )
    warmup: float = _setting(0.1, "share of all steps over which the learning rate rises")
    weight_decay: float = _setting(1e-3, "AdamW weight decay, not applied to biases and normalisation")
    clip_norm: float = _setting(10.0, "largest norm of the gradient")
    ema: float = _setting(0.99, "decay of the moving average of the weights that is evaluated and kept; 0 turns it off")
    bn_momentum: float = _setting(0.9, "share of old statistics BatchNormalization keeps each step (the zoo has 0.1)")
    loss_weights: str | None = _setting(
        None,
        "weights of loss terms that differ from the zoo's, as box_size=0.2,keypoint_regression=0.1; by default "
        f"{LIGHT_LOSSES} for efficientnet_lite0_fpn and none for the others",
        name="WEIGHTS",
    )
    freeze: str = _setting(
        "auto",
        "what does not train: all of the trunk down to a stride, 'filters' for all of it but the 1x1 convolutions below stride "
        "8, 'backbone' for everything but the heads; 'auto' is filters for trained efficientnet_lite0_fpn, else none",
        choices=("auto", *FREEZABLE),
    )
    freeze_bn: bool = _setting(False, "train no BatchNormalization and keep its statistics, also after --unfreeze-at")
    unfreeze_at: int = _setting(
        0, "epochs after which what is frozen trains as well, with a warm-up and cosine of its own; 0 for never", name="EPOCHS"
    )

    flip: bool = _setting(True, "mirror images, swapping left and right keypoints")
    flip_pairs: str | None = _setting(
        None, "keypoints that swap in a mirror, as left_ear:right_ear,l_paw:r_paw ('none': nothing swaps)", name="PAIRS"
    )
    scale: tuple[float, float] = _setting((0.6, 1.4), "range of random size relative to the fitted image", name="A,B")
    rotation: float = _setting(15.0, "largest random turn in degrees")
    translation: float = _setting(0.1, "largest random shift as a share of the image")
    color: bool = _setting(True, "vary brightness, contrast, hue and saturation")
    augmentation: str | None = _setting(
        None, "Albumentations pipeline saved by albumentations.save, in place of --color", name="FILE"
    )

    oks_sigmas: str | None = _setting(None, "OKS sigmas of keypoints: one number, or name=0.05,other=0.1", name="SIGMAS")
    monitor: str = _setting(
        "mean", "what best.keras is chosen by; mean is that of box AP and keypoint AP", choices=tuple(MONITORS)
    )
    eval_every: int | None = _setting(
        None,
        "epochs between evaluations on the validation images; by default 5, with --time as many as take a tenth of it, but 3 "
        "to 20 of them where so many epochs end in it",
        name="EPOCHS",
    )
    patience: int | None = _setting(
        None,
        "evaluations in a row without a higher score after which the run ends; by default it goes on to its last epoch",
        name="N",
    )
    seed: int = _setting(0, "of the split, the weights, the order of images and the augmentation")
    threads: int | None = _setting(None, "threads that prepare images; by default one per core")
    check_images: bool = _setting(True, "decode every image once at the start, to find unreadable ones")
    tensorboard: bool = _setting(False, "write scalars and pictures for TensorBoard into the run folder")

    def __post_init__(self) -> None:
        for one in fields(self):
            object.__setattr__(self, one.name, _check_type(one.name, one.type, getattr(self, one.name)))
            choices = one.metadata["choices"]
            if choices and getattr(self, one.name) not in choices:
                raise ValueError(f"{one.name}: found '{getattr(self, one.name)}', expected one of {list(choices)}.")
        for name in ("image_size", "epochs", "batch_size", "eval_every", "patience"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name}: found {getattr(self, name)}, expected 1 or more.")
        for name in ("val_fraction", "warmup", "ema", "bn_momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: found {getattr(self, name)}, expected a number from 0 to below 1.")
        for name in ("learning_rate", "vector_rate"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise ValueError(f"{name}: found {getattr(self, name)}, expected a number above 0.")
        if self.time is not None:
            read_time(self.time)
        if self.unfreeze_at and (self.freeze == "none" or not 0 < self.unfreeze_at < (self.epochs or math.inf)):
            raise ValueError(
                f"unfreeze_at: found {self.unfreeze_at} with freeze '{self.freeze}' and epochs {self.epochs}, expected an "
                "epoch between the first and the last, and something frozen until then (--freeze backbone or stem)."
            )
        for one, other in (("coco", "tfrecord"), ("val", "val_tfrecord")):
            if getattr(self, one) and getattr(self, other):
                raise ValueError(f"settings: found {one} and {other}, expected one of the two; both name the same images.")
        if self.label_map and not (self.tfrecord or self.val_tfrecord):
            raise ValueError("settings: found label_map without tfrecord, expected both; a COCO JSON names its classes itself.")
        read_keypoint_map(self.map_keypoint)

    @classmethod
    def from_dict(cls, values: Mapping, where: str = "settings") -> "TrainSettings":
        """Training settings by name; those not given keep their defaults, unknown ones raise ValueError."""
        if not isinstance(values, Mapping):
            raise ValueError(f'{where}: found {quote(values)}, expected settings by name, as in {{"epochs": 100}}.')
        known = [f.name for f in fields(cls)]
        for name in values:
            if name not in known:
                raise ValueError(f"{where}: unknown setting '{name}'{suggest(name, known)}.")
        return cls(**values)

    @classmethod
    def read(cls, path: str | Path) -> "TrainSettings":
        """The settings in a run's `settings.json`; their paths follow the data if moved together with the run."""
        from centerkp.labels.relocate import follow

        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file; expected the settings.json of a run.")
        try:
            settings = cls.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: {error}") from None
        if not (settings.run and os.path.isabs(settings.run)):
            return settings
        given = {name: getattr(settings, name) for name in PATHS if name != "run"}
        moved: dict[str, Any] = {n: follow(v, settings.run, path.parent) for n, v in given.items() if v and os.path.isabs(v)}
        return replace(settings, **moved)

    def resolve(self) -> "TrainSettings":
        """The settings with every default that depends on others decided, as a run keeps them in settings.json.

        What depends on the machine is decided by `choice.choose`, and what depends on the data by `choice.choose_epochs`.
        """
        light = self.backbone == "efficientnet_lite0_fpn"
        weights = STARTS.get(self.backbone, "none") if self.weights == "auto" else self.weights
        kind = weights if weights in RATES else "trained"
        freeze = "filters" if light and weights != "none" else "none"
        return replace(
            self,
            weights=weights,
            image_size=self.image_size or (320 if light else 512),
            batch_size=self.batch_size or (4 if light else 8),
            learning_rate=self.learning_rate or RATES[kind],
            vector_rate=self.vector_rate or (VECTOR_RATE if kind in ("imagenet", "drawn") else 1.0),
            loss_weights=LIGHT_LOSSES if self.loss_weights is None and light else self.loss_weights,
            freeze=freeze if self.freeze == "auto" else self.freeze,
            eval_every=self.eval_every or (None if self.time else 5),
        )

    def anchor(self) -> "TrainSettings":
        """The settings with absolute paths, as a run keeps them: they lead to the data from any folder."""
        given = {name: getattr(self, name) for name in PATHS}
        is_path = {n: v for n, v in given.items() if v and "://" not in v and not (n == "weights" and v in STARTING_WORDS)}
        absolute: dict[str, Any] = {name: os.path.abspath(value) for name, value in is_path.items()}
        return replace(self, **absolute)

    @property
    def data_name(self) -> str:
        """What the training data are called, for the name of the run folder."""
        name = re.split(r"[-_.]?\?|[*\[]", Path(self.coco or self.tfrecord or "").name)[0]
        return Path(name).stem or "records"

    def to_dict(self) -> dict:
        """The settings by name as JSON has them, pairs as lists, for settings.json."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


_KINDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", tuple: "two numbers"}


def _check_type(name: str, kind: Any, value: Any) -> Any:
    """A setting's value as the type of its field; raises ValueError when it is another, as after a slip in settings.json."""
    optional = isinstance(kind, UnionType)
    kind = get_args(kind)[0] if optional else get_origin(kind) or kind
    if value is None and optional:
        return None
    if kind is str and isinstance(value, os.PathLike):
        value = os.fspath(value)
    if kind is tuple:
        fits = isinstance(value, list | tuple) and len(value) == 2 and all(_is_number(v) for v in value)
    elif kind is float:
        fits = _is_number(value)
    else:
        fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if fits:
        return tuple(value) if kind is tuple else value
    raise ValueError(f"{name}: found {quote(value)}, expected {_KINDS[kind]}{' or null' if optional else ''}.")


def _is_number(value: Any) -> bool:
    """Whether a setting's value is a finite int or float, and no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
