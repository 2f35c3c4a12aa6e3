"""Training steps and an evaluation at given batch sizes, in a process of its own that may run out of memory.

`batch_search` starts it and reads from its output which sizes it has come through.
"""

import json
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

FULL = 3  # the exit code when a library has said that the memory is full
STEPS = 2  # of each size: the second has the optimizer's variables from its beginning
GPU_RESERVE = 5 * 10**8  # bytes of an accelerator that stay free


def main() -> int:
    """Reads a job from the input, tries its batch sizes one after another and prints each that fits; 0, or `FULL`."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")  # where memory ends, the kernel is to end this process first
    from centerkp.samples.memory import MEMORY_ERRORS, share_addresses

    share_addresses()
    job = json.loads(sys.stdin.read())
    try:
        try_sizes(job)
    except Exception as error:
        if isinstance(error, MemoryError) or MEMORY_ERRORS.search(f"{type(error).__name__}: {error}"):
            return FULL
        raise
    return 0


def try_sizes(job: dict) -> None:
    """Trains and evaluates a fresh model of a run's settings on pixels and objects by chance, at each batch size."""
    import keras
    from rich.console import Console

    from centerkp.schema import Schema
    from centerkp.settings.training import TrainSettings
    from centerkp.training.optimizer import make_optimizer
    from centerkp.training.train import start_model

    settings = replace(TrainSettings.from_dict(job["settings"]), batch_size=1, weights="none").resolve()
    keras.config.set_dtype_policy(settings.precision)
    model = start_model(Schema.from_config(job["schema"]), settings, Console(quiet=True))
    model.freeze("none" if settings.unfreeze_at else settings.freeze, settings.freeze_bn)
    model.save_memory(settings.accumulate, settings.remat)
    model.compile(make_optimizer(settings, 1000))
    on_processor = all(name.startswith("cpu") for name in keras.distribution.list_devices())
    reserve = None if on_processor else keras.ops.zeros(GPU_RESERVE, "int8")
    for size in job["sizes"]:
        try_size(model, size, settings.accumulate, job["objects"])
        print(size, flush=True)
    del reserve


def try_size(model: Any, size: int, parts: int, objects: int) -> None:
    """Trains and evaluates a model on batches of one size as a run does, for the memory that this takes."""
    from centerkp.training.optimizer import averaged_weights

    for make in (model.make_train_function, model.make_test_function, model.make_predict_function):
        make(force=True)  # a graph of this size alone, as in a run
    for _ in range(STEPS):
        model.train_on_batch(*make_batch(model, size * parts, objects))
    images, truth = make_batch(model, size, objects)
    with averaged_weights(model):
        model.test_on_batch(images, truth)
        model.predict_on_batch({"image": images, "valid_size": truth["valid_size"]})


def make_batch(model: Any, size: int, objects: int) -> tuple[Any, dict]:
    """A batch to try: images of random pixels, each with so many objects of the first class around its middle."""
    import numpy as np

    width, height = model.image_size
    images = np.random.default_rng(0).integers(0, 256, (size, height, width, 3), dtype="uint8")
    points = model.schema.num_keypoints
    box = np.array([width / 4, height / 4, width / 2, height / 2], "float32")
    truth = {
        "boxes_xyxy": np.tile(box, (size, objects, 1)),
        "class_ids": np.zeros((size, objects), "int32"),
        "object_weights": np.ones((size, objects), "float32"),
        "is_crowd": np.zeros((size, objects), "float32"),
        "keypoints_xy": np.full((size, objects, points, 2), width / 3, "float32"),
        "visibility": np.full((size, objects, points), 2, "int32"),
        "valid_size": np.tile(np.array([width, height], "float32"), (size, 1)),
    }
    return images, truth


if __name__ == "__main__":
    sys.exit(main())
