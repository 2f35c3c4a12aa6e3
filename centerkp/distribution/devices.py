"""The devices of this machine: what they are, how many of them train, and how quick they are."""

import shutil
import subprocess
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from centerkp.heads import Tensor
from centerkp.settings.training import TrainSettings
from centerkp.wording import count_of

TURNS = 6  # of the types whose convolutions are timed
LONG_ENOUGH = 0.01  # seconds, many times those that a call itself takes


def choose_devices(settings: TrainSettings, local: Sequence[Any], count: int) -> tuple[int, str]:
    """How many of this machine's devices train, in a run of so many processes, and a line of why where it is a choice.

    Args:
        local: the devices that are there.

    Raises:
        ValueError: there are fewer than the settings ask for, or the batch cannot be shared out among all.
    """
    there, kind = len(local), local[0].platform
    if settings.devices is None:
        chosen = there if count > 1 else 1
    else:
        chosen = there if settings.devices == "all" else int(settings.devices)
    if chosen > there:
        raise ValueError(
            f"devices: found {count_of(there, kind)} here, expected {chosen}; take --devices {there}, or --devices all. "
            f"Virtual ones of a CPU are made by XLA_FLAGS=--xla_force_host_platform_device_count={chosen}."
        )
    if count > 1:
        why = f"{count} processes of {count_of(chosen, kind)} each"
    elif settings.devices is None:
        why = f"there are {count_of(there, kind)}, and nobody asked for more (--devices all trains on them together)"
    else:
        why = f"of {count_of(there, kind)}, as asked for"
    line = f"devices: {chosen * count}, {'because ' if settings.devices is None and count == 1 else ''}{why}"
    return chosen, "" if there == count == 1 else line


def check_shares(settings: TrainSettings, devices: int) -> None:
    """Raises ValueError where a run cannot be shared out among so many devices."""
    if devices == 1:
        return
    if settings.batch_size == 0 or settings.batch_size % devices:
        found = settings.batch_size or "auto"
        nearest = -(-(settings.batch_size or 1) // devices) * devices
        raise ValueError(
            f"batch_size: found {found} on {devices} devices, expected a multiple of their number, as all take the same share "
            f"of it; take --batch-size {nearest}."
        )


def require_jax(settings: TrainSettings) -> None:
    """Raises ValueError where more devices than one are asked for on a backend on which Keras does not train on several."""
    if settings.devices not in (None, 1) and keras.backend.backend() != "jax":
        raise ValueError(
            f"devices: found '{settings.devices}' on the {keras.backend.backend()} backend, expected 1 there; Keras trains on "
            "several with JAX: set KERAS_BACKEND=jax."
        )


def find_accelerator() -> tuple[str, float | None] | None:
    """For the choice of a backbone: name and memory in GB of the first device that is no processor; None if unknown."""
    device = next((name for name in keras.distribution.list_devices() if not name.lower().startswith("cpu")), None)
    if device is None:
        return None
    if keras.backend.backend() == "jax":
        import jax

        stats = jax.local_devices()[0].memory_stats() or {}
        if "bytes_limit" in stats:
            return device, stats["bytes_limit"] / 1e9
    return device, _ask_nvidia()


def _ask_nvidia() -> float | None:
    """Memory in GB of the smallest GPU that nvidia-smi lists, None without any."""
    tool = shutil.which("nvidia-smi")
    if not tool:
        return None
    command = [tool, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    return min((int(line) * 2**20 / 1e9 for line in listed if line.isdigit()), default=None)


def measure_convolutions(*dtypes: str) -> list[float]:
    """Seconds of a 3x3 convolution as the heads have them, and of its gradient, in each of these types.

    Processors without instructions for bfloat16 may take as long as in float32 for the one, and 25 times as long for the other.
    Devices that are through with four images sooner than Python with the call are given more.
    """
    for images in (4, 32, 256):
        seconds = _time_convolutions(images, dtypes)
        if seconds[0] >= LONG_ENOUGH:
            break
    return seconds


def _time_convolutions(images: int, dtypes: Sequence[str]) -> list[float]:
    """The measurement for so many images at once: the fastest of a few turns of all types.

    What else the machine does for a moment slows all types, not the one being timed.
    """
    drawn = [np.random.default_rng(0).random(shape, np.float32) for shape in ((images, 80, 80, 48), (3, 3, 48, 48))]
    maps_and_kernels = [[ops.cast(one, dtype) for one in drawn] for dtype in dtypes]

    def convolve(maps: Tensor, kernel: Tensor) -> float:
        started = time.perf_counter()
        for there_or_back in (ops.conv, ops.conv_transpose):
            float(there_or_back(maps, kernel, padding="same")[0, 0, 0, 0])  # waits for backends that only queue it
        return time.perf_counter() - started

    return [min(times) for times in zip(*([convolve(*one) for one in maps_and_kernels] for _ in range(TURNS)), strict=True)]
