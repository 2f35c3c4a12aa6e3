"""An exported OpenVINO model as a detector."""

from pathlib import Path

import numpy as np

from centerkp.console import import_extra
from centerkp.runtimes.artefact import OUTPUTS, AnySizeDetector, Description

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
        self._model = core.compile_model(model, device, hints)

    def run_images(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Runs the compiled OpenVINO model on images (B, H, W, 3) of any size -> objects in their pixels."""
        found = self._model(image, share_inputs=True)
        return {name: found[name] for name in self._outputs}
