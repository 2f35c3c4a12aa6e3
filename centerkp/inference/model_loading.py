"""A detector for use: which model, on which device, in which number format."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from centerkp.console import import_quietly
from centerkp.heads import require_max_objects
from centerkp.inference.detector import Detector, find_room
from centerkp.inference.tiles import choose_tiling
from centerkp.runtimes.artefact import RUNNERS, find_artefact, refuse_unverified
from centerkp.weights.trained import find_model

if TYPE_CHECKING:
    from centerkp.model.center_net import CenterNet

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


def find_newest_model(folder: str | Path = "runs", flag: str = "--weights ") -> Path:
    """The model to use by default: `best.keras` of the newest training run below a folder; `flag` stands before another.

    Raises:
        FileNotFoundError: there is none.
    """
    found = sorted(Path(folder).glob("**/best.keras"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise FileNotFoundError(
            f"{folder}: found no run with a best.keras, expected one of train.py; name a model"
            f"{flag and ' with '}{flag.strip()}, as {flag}coco for the model zoo's."
        )
    return found[-1]


def load_detector(
    path: str | Path,
    *,
    image_size: int | Sequence[int] | None = None,
    stacks: int | None = None,
    backbone: str | None = None,
    max_objects: int | None = None,
    console: Console | None = None,
    unverified: bool = False,
) -> Detector:
    """Loads a detector: a `.keras` file, the folder of a run, "coco", a checkpoint of the model zoo, or an exported artefact.

    Artefacts are a SavedModel folder, `.onnx`, OpenVINO's `.xml`, `.tflite`. Whatever comes back has `.schema`, `.image_size`
    (width, height) and `.predict_on_batch`, see `CenterNet`.

    Args:
        image_size: side or (width, height) of the network's input; by default the model's own. An artefact has one size.
        stacks: uses only so many of a Keras model's hourglasses, with their own heads.
        backbone: which of the zoo's models "coco" is, by default hourglass_104.
        max_objects: lets a Keras model find so many objects in an image, where it finds fewer. An artefact has its number.
        unverified: loads an artefact also before it was compared with Keras.

    Raises:
        FileNotFoundError: nothing is there, or the package that runs the format is not.
        ValueError: not a model, one that failed its comparison with Keras, or a size, stacks or number of objects that an
            artefact does not have.
    """
    if max_objects is not None and max_objects < 1:
        raise ValueError(f"max_objects: found {max_objects}, expected 1 or more.")
    path = find_model(path)
    place = find_artefact(path)
    if place is None:
        model = _load_keras(path, image_size, stacks, backbone, console)
        if max_objects:
            make_room(model, max_objects)
        return model
    if not unverified:
        refuse_unverified(place)
    module, name = RUNNERS["" if place.is_dir() else place.suffix.lower()]
    detector = getattr(import_module(module), name)(place)
    if image_size is not None:
        wanted = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        if wanted != tuple(detector.image_size):
            raise ValueError(
                f"{place}: found image size {wanted[0]} x {wanted[1]} asked for, expected {detector.image_size[0]} x "
                f"{detector.image_size[1]}, the one it was exported for; leave it out, or export again."
            )
    require_room(detector, max_objects)
    for name, value in (("stacks", stacks), ("backbone", backbone)):
        if value is not None:
            raise ValueError(
                f"{place}: found {name}={value} asked for an artefact, expected a .keras file; export again with it."
            )
    return detector


def _load_keras(
    path: str | Path, image_size: int | Sequence[int] | None, stacks: int | None, backbone: str | None, console: Console | None
) -> "CenterNet":
    """Loads a Keras model to detect with from a `.keras` file, "coco" or a checkpoint, with fewer stacks where asked."""
    import_quietly("keras")
    from centerkp.weights.convert import keep_stacks
    from centerkp.weights.start import load_weights

    model = load_weights(path, image_size, console, backbone=backbone)
    return model if stacks is None or stacks == model.backbone.stacks else keep_stacks(model, stacks)


def make_room(model: "CenterNet", max_objects: int) -> None:
    """Lets a loaded model find so many objects in an image, and candidates of each keypoint for them, where it finds fewer.

    Raises:
        ValueError: there is no memory for so many.
    """
    require_max_objects(max_objects, model.schema.num_keypoints)
    options = model.decode_options
    most = {name: max(max_objects, getattr(options, name)) for name in ("max_objects", "candidates")}
    model.decode_options = replace(options, **most)
    model.predict_function = None  # whose graph has the numbers in it


def require_room(detector: Detector, max_objects: int | None) -> None:
    """Raises ValueError where more objects of an image are asked for than a detector gives."""
    room = find_room(detector)
    if max_objects and room and max_objects > room:
        raise ValueError(
            f"--max-objects: found {max_objects}, expected at most {room}, as many as this model gives; leave it out, or use "
            f"the .keras file, or export that again with --max-objects {max_objects}."
        )


def load_for_use(
    weights: str | Path,
    *,
    image_size: int | Sequence[int] | None = None,
    stacks: int | None = None,
    backbone: str | None = None,
    max_objects: int | None = None,
    device: str | None = None,
    precision: str | None = None,
    tta: str | None = None,
    tile: int | None = None,
    overlap: float | None = None,
    console: Console | None = None,
) -> Detector:
    """Loads a detector as `load_detector` does, and says where and how it computes: device, precision, augmentation, tiles.

    Args:
        tile: looks at tiles of every picture of so many pixels, see `images.tiling.Tiling`, or at whole pictures for 0; by
            default as in the model's training.
        overlap: of neighbouring tiles, a share of them.
        device: "cpu", "gpu", "gpu:1" and what else Keras's backend has; by default the backend's choice.
        precision: number format of the network's computation, one of `PRECISIONS`; the decoded numbers are float32.
        tta: "flip", "scale" or "flip,scale": looks at every image more than once, see `augmented`.

    Raises:
        FileNotFoundError, ValueError: as `load_detector`; also a device that is not there, an unknown precision, or either of
            them for an exported artefact, which has its own.
    """
    options: dict[str, Any] = {"image_size": image_size, "stacks": stacks, "backbone": backbone, "console": console}
    options["max_objects"] = max_objects
    if device is None and precision is None and tta is None:
        detector: Any = load_detector(weights, **options)
    else:
        detector = _load_as_asked(weights, device, precision, tta, options)
    if tile is not None or overlap is not None:
        detector.tiling = choose_tiling(getattr(detector, "tiling", None), tile, overlap)
    return detector


def _load_as_asked(
    weights: str | Path, device: str | None, precision: str | None, tta: str | None, options: Mapping[str, Any]
) -> Detector:
    """Loads a Keras model that computes on a device, in a number format, or looks at every image more than once."""
    if find_artefact(weights) is not None:
        raise ValueError(
            f"{weights}: found --device, --precision or --tta for an exported model, expected a .keras file; an export "
            "computes as it was made, leave them out."
        )
    if precision not in (None, *PRECISIONS):
        raise ValueError(f"precision: found '{precision}', expected one of {list(PRECISIONS)}.")
    keras: Any = import_quietly("keras")
    from centerkp.inference.augmented import augment, read_augmentations

    read_augmentations(tta or "")  # said before the weights are loaded
    name = device and _find_device(device)
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy(precision or before)
        with keras.device(name) if name else nullcontext():
            detector = load_detector(weights, **options)
    finally:
        keras.config.set_dtype_policy(before)
    detector = augment(detector, tta)
    return OnDevice(detector, name) if name else detector


def _find_device(name: str) -> str:
    """Keras's name of the device that a user names "cpu", "gpu" or "gpu:1"; ValueError when it is not there."""
    import keras

    # Where there is a GPU, the list of all devices leaves the processor out.
    listed = [*keras.distribution.list_devices("cpu"), *keras.distribution.list_devices()]
    known = list(dict.fromkeys(str(device).lower() for device in listed))
    wanted = name.lower() if ":" in name else f"{name.lower()}:0"
    if wanted not in known:
        raise ValueError(
            f"device: found '{name}', expected one of {known}; a GPU that is missing here needs the [gpu] installation."
        )
    return wanted


class OnDevice:
    """A detector whose every step runs on one device; the choice of a device holds for a thread only."""

    def __init__(self, detector: Detector, device: str):
        self.detector, self.device = detector, device
        self.schema, self.image_size = detector.schema, detector.image_size
        self.thresholds, self.levels = getattr(detector, "thresholds", None), getattr(detector, "levels", None)
        options = getattr(detector, "decode_options", detector)  # those of a `CenterNet`, whose tiles may be left out later
        self.max_objects, self.tiling = getattr(options, "max_objects", None), getattr(detector, "tiling", None)
        self.thresholds_note = getattr(detector, "thresholds_note", "")

    def predict_on_batch(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """What the loaded detector finds in a batch, computed on the device that was chosen for it."""
        import keras

        with keras.device(self.device):
            return self.detector.predict_on_batch(inputs)
