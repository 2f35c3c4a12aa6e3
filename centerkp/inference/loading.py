"""A detector for use: which model, on which device, in which number format."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from rich.console import Console

from centerkp.export.artefact import find_artefact, load_detector
from centerkp.inference import Detector

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


def find_newest_model(folder: str | Path = "runs") -> Path:
    """The `best.keras` of the newest training run below a folder.

    Raises:
        FileNotFoundError: there is none.
    """
    found = sorted(Path(folder).glob("**/best.keras"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise FileNotFoundError(
            f"{folder}: found no run with a best.keras, expected one of train.py; name a model with --weights, "
            "as --weights coco for the model zoo's."
        )
    return found[-1]


def load_for_use(
    weights: str | Path,
    *,
    image_size: int | Sequence[int] | None = None,
    stacks: int | None = None,
    device: str | None = None,
    precision: str | None = None,
    tta: str | None = None,
    console: Console | None = None,
) -> Detector:
    """Loads a detector as `export.artefact.load_detector` does, and says where and how it computes.

    Args:
        device: "cpu", "gpu", "gpu:1" and what else Keras's backend has; by default the backend's choice.
        precision: number format of the network's computation, one of `PRECISIONS`; the decoded numbers are float32.
        tta: "flip", "scale" or "flip,scale": looks at every image more than once, see `augmented`.

    Raises:
        FileNotFoundError, ValueError: as `load_detector`; also a device that is not there, an unknown precision, or either of
            them for an exported artefact, which has its own.
    """
    options = {"image_size": image_size, "stacks": stacks, "console": console}
    if device is None and precision is None and tta is None:
        return load_detector(weights, **options)
    if find_artefact(weights) is not None:
        raise ValueError(
            f"{weights}: found --device, --precision or --tta for an exported model, expected a .keras file; an export "
            "computes as it was made, leave them out."
        )
    if precision not in (None, *PRECISIONS):
        raise ValueError(f"precision: found '{precision}', expected one of {list(PRECISIONS)}.")
    import keras

    from centerkp.augmented import augment, read_augmentations

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

    def predict_on_batch(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """What the detector's does."""
        import keras

        with keras.device(self.device):
            return self.detector.predict_on_batch(inputs)
