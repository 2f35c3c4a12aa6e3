"""An exported OpenVINO model as a detector."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from centerkp.console import import_extra
from centerkp.runtimes.artefact import CANVAS, OUTPUTS, TO_SOURCE, VALID_SIZE, AnySizeDetector, Description, in_batches

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
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": COMPUTED_IN[self.description.precision]}
        self._outputs = OUTPUTS if self.schema.num_keypoints else OUTPUTS[:3]
        self._compile = partial(core.compile_model, device_name=device, config=hints)
        self._images: Any = None  # what takes images of any size, compiled when the first one comes
        self._rows = self.description.batch or 1  # of known shape, which takes less time than any number at once
        canvases = start_at_canvas(model, self._rows, self.image_size)
        self._canvases = canvases and self._compile(canvases)

    def run_images(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Runs the compiled OpenVINO model on images (B, H, W, 3) of any size -> objects in their pixels."""
        if self._images is None:
            self._images = self._compile(self.path)
        return self._read(self._images(image, share_inputs=True))

    def run_canvas(self, image: np.ndarray, valid_size: np.ndarray) -> dict[str, np.ndarray]:
        """Runs OpenVINO on canvases (B, S_h, S_w, 3) from where they are letterboxed on -> objects in their pixels."""
        if self._canvases is None:
            return super().run_canvas(image, valid_size)
        return in_batches(lambda *rows: self._read(self._canvases(rows, share_inputs=True)), self._rows, image, valid_size)

    def _read(self, found: Any) -> dict[str, np.ndarray]:
        """The outputs of a compiled OpenVINO model by name."""
        return {name: found[name] for name in self._outputs}


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
    starts = {CANVAS: ops.convert(image, "f32"), VALID_SIZE: valid_size, TO_SOURCE: ops.constant(np.ones(2, np.float32))}
    for name, start in starts.items():
        for reader in made[name].get_target_inputs():
            reader.replace_source_output(start.output(0))
    return openvino.Model(model.get_results(), [image, valid_size], "canvas")
