"""An exported `.tflite` file as a detector, run by LiteRT or by TensorFlow Lite."""

import os
import zipfile
import zlib
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from centerkp.console import native_silence
from centerkp.runtimes.artefact import DESCRIPTION, MAX_DESCRIPTION, ArtefactDetector, Description


class LiteRtDetector(ArtefactDetector):
    """Runs a `.tflite` file written by `centerkp export`; see `ArtefactDetector`.

    Raises:
        FileNotFoundError: neither LiteRT nor TensorFlow is installed.
        ValueError: not a readable `.tflite` file, or not one of centerkp's.
    """

    def __init__(self, path: str | Path):
        path = Path(path)
        super().__init__(path, _read_tflite_description(path))
        try:
            with native_silence():
                self._interpreter = _find_interpreter()(model_path=str(path), num_threads=os.cpu_count())
                self._interpreter.allocate_tensors()
            self._run = self._interpreter.get_signature_runner()
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"{path}: found a file that LiteRT does not load ({error}), expected one written by centerkp export; "
                "export again."
            ) from None

    def run_canvas(self, image: np.ndarray, valid_size: np.ndarray) -> dict[str, np.ndarray]:
        """Runs the LiteRT interpreter on canvases (B, S_h, S_w, 3) -> objects in their pixels."""
        return self._run(image=image, valid_size=valid_size)


def _read_tflite_description(path: Path) -> Description:
    """The description that is packed into a `.tflite` file."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(DESCRIPTION).file_size > MAX_DESCRIPTION:
                raise KeyError
            text = archive.read(DESCRIPTION)
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, RuntimeError):
        raise ValueError(
            f"{path}: found no {DESCRIPTION} inside, expected a whole .tflite file written by centerkp export; export the "
            "model again."
        ) from None
    return Description.from_json(text, path)


def _find_interpreter() -> Any:
    """The class that runs `.tflite` files: LiteRT's small package's, else the one inside TensorFlow."""
    for module, name in (("ai_edge_litert.interpreter", "Interpreter"), ("tensorflow", "lite")):
        try:
            found = getattr(import_module(module), name)
        except ModuleNotFoundError:
            continue
        return getattr(found, "Interpreter", found)
    raise FileNotFoundError("LiteRT: found no package that runs .tflite files; run: pip install ai-edge-litert.")
