"""An exported OpenVINO model as a detector."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Any

import numpy as np

from centerkp.console import import_extra
from centerkp.runtimes.artefact import CANVAS, OUTPUTS, TO_SOURCE, VALID_SIZE, AnySizeDetector, Description

# Said in words for each precision, because the runtime would take bfloat16 by itself wherever the processor has it.
COMPUTED_IN = {"fp32": "f32", "fp16": "f32", "bf16": "bf16", "int8": "f32"}


class OpenVinoDetector(AnySizeDetector):
    """Runs an `.xml` and `.bin` written by `centerkp export`; see `ArtefactDetector`.

    Args:
        device: as OpenVINO names it: "CPU", "GPU", "NPU", "AUTO".

    Raises:
        FileNotFoundError: OpenVINO is not installed, or the `.bin` is not beside the `.xml`.
        ValueError: not an OpenVINO model, or not one of centerkp's.
    """

    batches_at_once = 2  # whose pictures are detected one by one, as a part of the processor becomes free

    def __init__(self, path: str | Path, device: str = "CPU"):
        openvino = import_extra("openvino", "openvino")
        path = Path(path)
        if not path.with_suffix(".bin").is_file():
            raise FileNotFoundError(f"{path}: found no {path.stem}.bin beside it, expected the weights there; copy both files.")
        core = openvino.Core()
        try:
            model = core.read_model(path)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ValueError(
                f"{path}: found a file that OpenVINO does not load ({reason}), expected one written by centerkp export; "
                "export again."
            ) from None
        text = model.get_rt_info("centerkp").value if "centerkp" in model.get_rt_info() else ""
        super().__init__(path, Description.from_json(text, path))
        hints = {"INFERENCE_PRECISION_HINT": COMPUTED_IN[self.description.precision]}
        self._outputs = OUTPUTS if self.schema.num_keypoints else OUTPUTS[:3]
        self._compile = partial(_compile, core, device, hints)
        self._images: Any = None  # what takes images of any size, compiled when the first one comes
        # One canvas at a time is of known shape, which takes less time than any number at once.
        self._model = start_at_canvas(model, 1, self.image_size)
        self._canvases: Any = None  # what takes them, compiled when the first ones come
        self._lock = Lock()

    def run_images(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Runs the compiled OpenVINO model on images (B, H, W, 3) of any size -> objects in their pixels."""
        with self._lock:
            if self._images is None:
                self._images = _Stream(self._compile(self.path, "LATENCY"))
        [found] = self._images.run([(image,)])
        return {name: found[name] for name in self._outputs}

    def run_canvas(self, image: np.ndarray, valid_size: np.ndarray) -> dict[str, np.ndarray]:
        """Runs OpenVINO on canvases (B, S_h, S_w, 3) from where they are letterboxed on -> objects in their pixels."""
        if self._model is None:
            return super().run_canvas(image, valid_size)
        with self._lock:
            if self._canvases is None or len(image) > 1 and not isinstance(self._canvases, _Streams):
                hint, kind = ("THROUGHPUT", _Streams) if len(image) > 1 else ("LATENCY", _Stream)
                self._canvases = kind(self._compile(self._model, hint))
            canvases = self._canvases
        found = canvases.run([(image[row : row + 1], valid_size[row : row + 1]) for row in range(len(image))])
        return {name: np.concatenate([one[name] for one in found]) for name in self._outputs}


class _Stream:
    """A compiled OpenVINO model that works on one input with the whole processor: the shortest wait, as for a camera."""

    def __init__(self, compiled: Any):
        self._compiled, self._lock = compiled, Lock()

    def run(self, inputs: Sequence[Sequence[np.ndarray]]) -> list[Any]:
        """The outputs for each of some inputs."""
        with self._lock:  # it has one set of outputs
            return [self._compiled(one, share_inputs=True) for one in inputs]


class _Streams:
    """A compiled OpenVINO model that works on several inputs, each with a part of the processor: the most pictures a second.

    The parts need not wait for each other at the end of every layer.
    """

    def __init__(self, compiled: Any):
        count = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._free: SimpleQueue = SimpleQueue()
        for _ in range(count):
            self._free.put(compiled.create_infer_request())
        self._threads = ThreadPoolExecutor(count)

    def run(self, inputs: Sequence[Sequence[np.ndarray]]) -> list[Any]:
        """The outputs for each of some inputs, in order; several threads may ask at the same time."""
        return list(self._threads.map(self._run_one, inputs))

    def _run_one(self, one: Sequence[np.ndarray]) -> Any:
        """The outputs for one input, by whichever part of the processor is free."""
        request = self._free.get()
        try:
            return request.infer(one, share_inputs=True)
        finally:
            self._free.put(request)


def _compile(core: Any, device: str, hints: dict[str, str], model: Any, hint: str) -> Any:
    """Compiles an OpenVINO model for the "LATENCY" of one picture or the "THROUGHPUT" of many."""
    return core.compile_model(model, device_name=device, config=hints | {"PERFORMANCE_HINT": hint})


def start_at_canvas(model: Any, rows: int, size: tuple[int, int]) -> Any:
    """The part of an OpenVINO model behind its letterbox, for so many canvases of (width, height); None for earlier files.

    It takes canvases (rows, S_h, S_w, 3) uint8 and the (rows, 2) width and height of the pictures on them. The model that it is
    cut from is of no more use.
    """
    openvino = import_extra("openvino", "openvino")
    made = {name: output for op in model.get_ops() for output in op.outputs() for name in output.get_names()}
    if not {CANVAS, VALID_SIZE, TO_SOURCE} <= made.keys():
        return None
    ops, types = openvino.opset13, openvino.Type
    image = ops.parameter([rows, size[1], size[0], 3], types.u8, name="image")
    valid_size = ops.parameter([rows, 2], types.f32, name="valid_size")
    # By rows of bytes, as the normalisation behind it goes, so that it becomes one step with that.
    floats = ops.convert(ops.reshape(image, [rows, size[1], size[0] * 3], special_zero=False), "f32")
    canvas = ops.reshape(floats, [rows, size[1], size[0], 3], special_zero=False)
    starts = {CANVAS: canvas, VALID_SIZE: valid_size, TO_SOURCE: ops.constant(np.ones(2, np.float32))}
    for name, start in starts.items():
        for reader in made[name].get_target_inputs():
            reader.replace_source_output(start.output(0))
    return openvino.Model(model.get_results(), [image, valid_size], "canvas")
