"""How fast a detector is on this machine."""

import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from centerkp.images.sensors import Levels
from centerkp.images.tiling import Tiling
from centerkp.inference.detector import Detector
from centerkp.schema import Schema


@dataclass(frozen=True)
class Speed:
    """What was measured: `network` images/s of the network alone, and `seconds` for the whole pass over all `images`.

    Where pictures are cut, `network` is of their tiles.

    The network's is the median of its steps of `batch_size` images of `image_size` (width, height), without the first one.
    """

    network: float
    batch_size: int
    image_size: tuple[int, int]
    images: int
    seconds: float
    is_tiled: bool = False

    def describe(self) -> str:
        """The speed of a detector in one line: images a second, batch and size."""
        parts = "tiles" if self.is_tiled else "images"
        return (
            f"{self.network:.1f} {parts}/s (network alone, {self.batch_size} at a time at {self.image_size[0]}x"
            f"{self.image_size[1]}; the pass over {self.images} images with reading and start-up took {self.seconds:.1f} s)"
        )


@dataclass(eq=False)
class TimedDetector:
    """A detector that notes how long each step took; the first step of a batch size, which may compile, is not counted."""

    detector: Detector
    times: dict[int, list[float]] = field(default_factory=dict)
    last: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def schema(self) -> Schema:
        """The schema of the detector whose speed is measured."""
        return self.detector.schema

    @property
    def image_size(self) -> tuple[int, int]:
        """The input size (width, height) of the detector whose speed is measured."""
        return self.detector.image_size

    @property
    def levels(self) -> Levels | None:
        """What is black and white for the detector whose speed is measured, in pictures of more than 8 bits."""
        return getattr(self.detector, "levels", None)

    @property
    def tiling(self) -> Tiling | None:
        """How pictures are cut for the detector whose speed is measured."""
        return getattr(self.detector, "tiling", None)

    def predict_on_batch(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What the detector finds in a batch; waits for it and keeps the time it took."""
        size, started = len(inputs["image"]), time.perf_counter()
        found = {name: np.asarray(values) for name, values in self.detector.predict_on_batch(inputs).items()}
        seconds, known = time.perf_counter() - started, size in self.times
        self.times.setdefault(size, []).extend([seconds] * known)
        self.last = inputs
        return found

    def measure(self, images: int, seconds: float) -> Speed:
        """The speed after a pass over `images` in so many seconds; a last step is repeated when none counted yet."""
        if not any(self.times.values()):
            self.predict_on_batch(self.last)
        size = max(self.times, key=lambda n: len(self.times[n]))
        return Speed(size / median(self.times[size]), size, self.image_size, images, seconds, self.tiling is not None)


def describe_machine() -> str:
    """The machine on which speed is measured: processor and cores, and accelerators that Keras sees, in a few words."""
    import keras

    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
        processor = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), processor)
    devices = [d for d in keras.distribution.list_devices() if not d.lower().startswith("cpu")]
    return ", ".join([processor, f"{os.cpu_count()} cores", *devices])
