"""An exported `.onnx` file as a detector, run by ONNX Runtime."""

from pathlib import Path

import numpy as np

from centerkp.console import import_extra
from centerkp.runtimes.artefact import AnySizeDetector, Description


class OnnxDetector(AnySizeDetector):
    """Runs an `.onnx` file written by `centerkp export`; see `ArtefactDetector`.

    Raises:
        FileNotFoundError: ONNX Runtime is not installed.
        ValueError: not an ONNX file, or not one of centerkp's.
    """

    def __init__(self, path: str | Path):
        runtime = import_extra("onnxruntime", "onnx")
        runtime.disable_telemetry_events()  # also where it was imported before centerkp
        path = Path(path)
        try:
            # Only what the installed runtime offers by itself, best first.
            self._session = runtime.InferenceSession(str(path), providers=runtime.get_available_providers())
        except Exception as error:
            raise ValueError(
                f"{path}: found a file that ONNX Runtime does not load ({error}), expected one written by centerkp export; "
                "export again."
            ) from None
        text = self._session.get_modelmeta().custom_metadata_map.get("centerkp", "")
        self._outputs = [one.name for one in self._session.get_outputs()]
        super().__init__(path, Description.from_json(text, path))

    def run_images(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Runs the ONNX Runtime session on images (B, H, W, 3) of any size -> objects in their pixels."""
        return dict(zip(self._outputs, self._session.run(None, {"image": image}), strict=True))
