"""Settings of a training run: defaults < file < flags; an unknown name is an error with a suggestion."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from centerkp.evaluation.monitors import MONITORS
from centerkp.heads import FREEZABLE
from centerkp.settings.checks import AUTO, check_combinations, check_ranges, check_type
from centerkp.settings.defaults import LIGHT_LOSSES, find_defaults
from centerkp.settings.fields import (
    of_augmentation,
    of_data,
    of_evaluation,
    of_learning,
    of_length,
    of_machine,
    of_output,
    of_start,
)
from centerkp.settings.paths import Paths, anchor_paths, follow_paths, list_reads, name_data
from centerkp.wording import quote, suggest


@dataclass(frozen=True)
class TrainSettings:
    """Everything a training run depends on besides the data and the random numbers of the machine.

    The same names are the flags of `train.py` (with dashes) and the keys of `settings.json`.
    """

    coco: Paths = of_data("", "COCO-format JSON with the training annotations; several are joined as by 'merge'", name="JSON")
    images: Paths = of_data(None, "folder of the images, once or for each JSON; by default found beside the JSON", name="DIR")
    val: Paths = of_data(None, "COCO JSON for validation, or several; by default a share of --coco is kept back", name="JSON")
    val_images: Paths = of_data(None, "folder of the validation images; by default as for training", name="DIR")
    tfrecord: str | None = of_data(
        None, "in place of --coco: TFRecords of the Object Detection API, as 'train.record-?????-of-00010'", name="PATTERN"
    )
    label_map: str | None = of_data(None, "label_map.pbtxt of the records, or the COCO JSON, which says more", name="FILE")
    val_tfrecord: str | None = of_data(None, "in place of --val: TFRecords for validation", name="PATTERN")
    val_fraction: float = of_data(0.2, "share of images kept back for validation when there is no --val")
    stretch: str | None = of_data(
        None,
        "which numbers are black and white in pictures of more than 8 bits, as 7500,7560; without them, or as 'auto', the "
        "range that the training images use; the model keeps and predicts with them (by default all, as 0,65535 for 16 bits)",
        name="LOW,HIGH",
        alone="auto",
    )
    check_images: bool = of_data(True, "decode every image once at the start, to find unreadable ones")
    flip_pairs: str | None = of_data(
        None,
        "keypoints that swap in a mirror, as left_ear:right_ear,l_paw:r_paw ('none': nothing swaps); by default those of the "
        "JSON, else read from the names; where these tell none and places show sides, images are not mirrored",
        name="PAIRS",
        repeat=True,
    )
    oks_sigmas: str | None = of_data(None, "OKS sigmas: one number, or name=0.05,other=0.1", name="SIGMAS", repeat=True)
    point_box: float | None = of_data(
        None,
        "side of the box made around objects of one keypoint that have neither box nor mask, in pixels, or below 1 as a share "
        "of the image's longer side; by default they are left out",
        name="SIZE",
    )
    tile: int | None = of_data(
        None, "side of tiles that large pictures are cut into, 0: none; by default where objects are too small", name="PIXELS"
    )
    seed: int = of_data(0, "of the split, the weights, the order of images and the augmentation")

    backbone: str = of_start(
        "auto",
        "network: hourglass_104 (two stacks), _52, _32, _20 or _10, efficientnet_lite0_fpn, mobilenetv2_fpn, resnet50_v1_fpn "
        "or resnet50_v2; 'auto' is hourglass_104 where an accelerator has the memory for it, else efficientnet_lite0_fpn",
        name="NAME",
    )
    weights: str = of_start(
        "auto",
        "what to start from: 'coco' (the model zoo's, fetched once into weights/), a .keras file or a COCO checkpoint, moved "
        "by name; 'imagenet' (features of photographs, installed) or 'drawn' (those with a pyramid and heads that were trained "
        "on drawn objects, installed); 'none' for random weights; 'auto' is drawn for efficientnet_lite0_fpn, hourglass_10 and "
        "_20, none for hourglass_32 and _52 and coco for the others, which the zoo has",
        name="FILE",
    )
    map_keypoint: str | None = of_start(
        None, "keypoints that take the weights of others, as snout=nose,paw=left_wrist", name="OWN=THEIRS", repeat=True
    )
    stacks: int | None = of_start(None, "use the first so many hourglasses alone, with their own trained heads", name="N")
    image_size: int | str | None = of_start(
        None,
        "side of the network's input in pixels, or width and height, as 320x192; by default 320 for efficientnet_lite0_fpn, "
        "else 512, up to twice that (not hourglass_104) where objects are small, the shorter one as nearly all images allow",
        name="PIXELS",
    )
    max_objects: int | None = of_start(
        None, "objects that the model finds in an image at most; by default 100, or half as many again as the fullest image has"
    )
    box_margins: str | None = of_start(
        None,
        "boxes are frames around keypoints, by class so far beyond them as 0.1 of their longer side, as 0.1,none; by default "
        "where labelled boxes are",
        name="SHARES",
    )

    epochs: int | None = of_length(
        None,
        "times to go through the training images; by default what 2,000 steps come to, more of them for more than 100 images "
        "(4,000 for 400, 20,000 for 10,000), and 12 to 300 in all; with --time as many as fit",
        name="EPOCHS",
    )
    time: str | None = of_length(
        None,
        "how long the command takes, as 90s, 30m or 1h30m, all from its start to its last picture; learning rate and "
        "evaluations are laid out for what fits, the last epoch may stay unfinished, --epochs may end it before; --resume goes "
        "on for the time that was left at the last save, and with --time prolongs a run that has ended",
        name="TIME",
    )
    patience: int | None = of_length(None, "evaluations in a row without a higher score that end the run", name="N")

    batch_size: int | None = of_machine(
        None,
        "images that are computed at once, by all devices together; by default 4 for efficientnet_lite0_fpn, else 8; 'auto' "
        "tries which most fit the memory and leave 10 steps an epoch, and takes the learning rate times the square root of how "
        "many times the default they are, 2 times at most",
        words={"auto": AUTO},
    )
    accumulate: int = of_machine(
        1,
        "batches that make one step, for batches that do not fit: equal to one so many times as large, but that "
        "BatchNormalization sees each by itself",
    )
    remat: bool = of_machine(
        False,
        "train in less memory and more time: most of what layers give is computed a second time instead of kept; it helps with "
        "TensorFlow, and with JAX on accelerators",
    )
    precision: str = of_machine(
        "auto",
        "number format of the computation; 'auto' is mixed_bfloat16 where the machine is faster in it",
        choices=("auto", "float32", "mixed_bfloat16", "mixed_float16"),
    )
    cache: str = of_machine(
        "auto",
        "'ram' keeps decoded images in memory, as many as fit into half of what is free, 'none' decodes them anew each time; "
        "'auto' keeps them once reading takes a fifth of a step's time",
        choices=("auto", "ram", "none"),
    )
    threads: int | None = of_machine(None, "threads that prepare images; by default one per core")
    devices: int | str | None = of_machine(
        None, "accelerators here that train together, on JAX: a number or 'all'; by default 1, with --hosts all", name="N"
    )
    hosts: str | None = of_machine(None, "process 0 of several that train together, as node1:1234", name="ADDRESS")
    num_hosts: int | None = of_machine(None, "how many processes train together; all are started with the same flags", name="N")
    host_id: int | None = of_machine(None, "which of them this one is, from 0 on; process 0 alone writes the run", name="N")

    learning_rate: float | None = of_learning(
        None,
        "highest learning rate (AdamW), reached after warm-up, then cosine to 2 %; by default 0.001 from random weights or "
        "installed ones and 0.00025 from trained models",
    )
    vector_rate: float | None = of_learning(
        None,
        "factor of the learning rate for the last layers of the heads that give lengths (box_size, keypoint_regression), whose "
        "numbers of up to 50 would take a thousand steps to grow; by default 8 from installed weights, else 1",
    )
    warmup: float = of_learning(0.1, "share of all steps over which the learning rate rises")
    weight_decay: float = of_learning(1e-3, "AdamW weight decay, not applied to biases and normalisation")
    clip_norm: float = of_learning(10.0, "largest norm of the gradient")
    ema: float = of_learning(0.99, "decay of the moving average of the weights that is evaluated and kept; 0 turns it off")
    bn_momentum: float = of_learning(0.9, "share of old statistics BatchNormalization keeps each step (the zoo has 0.1)")
    loss_weights: str | None = of_learning(
        None,
        "weights of loss terms that differ from the zoo's, as box_size=0.2,keypoint_regression=0.1; by default "
        f"{LIGHT_LOSSES} for efficientnet_lite0_fpn and none for the others",
        name="WEIGHTS",
        repeat=True,
    )
    weight_classes: bool = of_learning(
        False,
        "show images of rare classes more often: of one on a 16th as many images as the commonest, twice as often, and so on "
        "with the square root, from a quarter on",
    )
    freeze: str = of_learning(
        "auto",
        "what does not train: all of the trunk down to a stride, 'filters' for all of it but the 1x1 convolutions below stride "
        "8, 'backbone' for everything but the heads; 'auto' is filters for trained efficientnet_lite0_fpn, else none",
        choices=("auto", *FREEZABLE),
    )
    freeze_bn: bool = of_learning(False, "train no BatchNormalization and keep its statistics, also after --unfreeze-at")
    unfreeze_at: int = of_learning(
        0, "epochs after which what is frozen trains as well, with a warm-up and cosine of its own; 0 for never", name="EPOCHS"
    )

    flip: bool = of_augmentation(True, "mirror images, swapping left and right keypoints")
    scale: tuple[float, float] = of_augmentation((0.6, 1.4), "range of random size relative to the fitted image", name="A,B")
    rotation: float = of_augmentation(15.0, "largest random turn in degrees")
    translation: float = of_augmentation(0.1, "largest random shift as a share of the image")
    color: bool = of_augmentation(True, "vary brightness, contrast, hue and saturation")
    augmentation: str | None = of_augmentation(
        None, "Albumentations pipeline saved by albumentations.save, in place of --color", name="FILE"
    )

    monitor: str = of_evaluation(
        "mean", "what best.keras is chosen by; mean is that of box AP and keypoint AP", choices=tuple(MONITORS)
    )
    eval_every: int | str | None = of_evaluation(
        None,
        "epochs between evaluations on the validation images, or the time, as 10m, that is over at the end of an epoch; by "
        "default 5 epochs or 100 steps, with --time a tenth of it, but 3 to 20 evaluations where so many epochs end in it",
        name="EPOCHS",
    )

    folds: int | None = of_evaluation(
        None,
        "train so many models (5 is usual), each without a share of the images and judged on it: mean and spread of every "
        "number, and predictions for all images; by default one model",
        name="N",
    )
    fold: int | None = of_evaluation(None, "train only the model without this share, of 1 to --folds; by default all", name="N")
    group_by: str | None = of_evaluation(
        None, "what keeps images in one fold: 'folder', a regular expression, or by default 'phash', their looks", name="RULE"
    )

    run: str | None = of_output(None, "run folder to write; by default runs/NAME-OF-THE-JSON, numbered", name="DIR")
    save_every: str | None = of_output(
        None,
        "how often last.keras, from which --resume goes on, is saved within an epoch; it also is after epochs and when a "
        "signal such as Ctrl-C comes; by default every 10m, all more seldom where it would take over a hundredth of the time",
        name="TIME",
    )
    log: str | None = of_output(
        None,
        "show numbers and pictures of the run in tensorboard, wandb (offline, unless WANDB_MODE=online is set) or mlflow (a "
        "database in the run folder, unless MLFLOW_TRACKING_URI names a server); may be given several times, by default none",
        name="LOGGER",
        repeat=True,
    )
    tensorboard: bool = of_output(False, "the same as --log tensorboard")

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            value = one.metadata["words"].get(value, value) if isinstance(value, str) else value
            value = check_type(one.name, one.type, value)
            choices = one.metadata["choices"]
            if choices and value not in choices:
                raise ValueError(f"{one.name}: found '{value}', expected one of {list(choices)}.")
            object.__setattr__(self, one.name, value)
        check_ranges(self)
        check_combinations(self)

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
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file; expected the settings.json of a run.")
        try:
            settings = cls.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: {error}") from None
        if not (settings.run and os.path.isabs(settings.run)):
            return settings
        return replace(settings, **follow_paths(settings, path.parent))

    def resolve(self) -> "TrainSettings":
        """The settings with every default that depends on others decided, as a run keeps them in settings.json.

        What depends on the machine is decided by `choice.choose`, and what on the data by its other functions: until then the
        image size may be None. A batch size of `AUTO` stays, and the learning rate that depends on it.
        """
        defaults = find_defaults(self.backbone, self.weights, self.stacks)
        if self.batch_size == AUTO:
            del defaults["learning_rate"]
        return replace(self, **{name: value for name, value in defaults.items() if getattr(self, name) in (None, "auto")})

    def anchor(self) -> "TrainSettings":
        """The settings with absolute paths, as a run keeps them: they lead to the data from any folder."""
        return replace(self, **anchor_paths(self))

    @property
    def reads(self) -> list[str]:
        """The files of labels and settings that a run reads, and that nothing may be written over."""
        return list_reads(self.coco, self.val, self.label_map, self.augmentation)

    @property
    def loggers(self) -> list[str]:
        """Names of the loggers that the settings ask for, each once."""
        named = [name.strip() for name in (self.log or "").split(",") if name.strip()]
        return list(dict.fromkeys(["tensorboard"] * self.tensorboard + named))

    @property
    def decode(self) -> dict[str, int]:
        """How the settings have a model decode other than by default: with room for so many objects, if they say it."""
        return dict.fromkeys(("max_objects", "candidates"), self.max_objects) if self.max_objects else {}

    @property
    def step_images(self) -> int:
        """Images of a training step, which may have several batches."""
        return self.batch_size * self.accumulate

    @property
    def data_name(self) -> str:
        """What the training data are called, for the name of the run folder."""
        return name_data(self.coco or self.tfrecord)

    def to_dict(self) -> dict:
        """The settings by name as JSON has them, pairs as lists, for settings.json."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
