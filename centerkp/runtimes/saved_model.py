"""An exported SavedModel folder as a detector, run by TensorFlow."""

from pathlib import Path

import numpy as np

from centerkp.console import import_quietly
from centerkp.runtimes.artefact import DESCRIPTION, AnySizeDetector, Description


class SavedModelDetector(AnySizeDetector):
    """Runs a SavedModel folder written by `centerkp export`; see `ArtefactDetector`.

    A SavedModel is a program: load only what you trust.

    Raises:
        ValueError: not a readable SavedModel, or not one of centerkp's.
    """

    def __init__(self, path: str | Path):
        tf = import_quietly("tensorflow")
        path = Path(path)
        super().__init__(path, Description.from_json((path / DESCRIPTION).read_bytes(), path))
        try:
            self._loaded = tf.saved_model.load(str(path))
            self._canvas, self._images = (self._loaded.signatures[name] for name in ("canvas", "serving_default"))
        except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
            raise ValueError(
                f"{path}: found a SavedModel that TensorFlow does not load ({str(error).splitlines()[0]}), expected one "
                "written by centerkp export; export the model again."
            ) from None

    def run_canvas(self, image: np.ndarray, valid_size: np.ndarray) -> dict[str, np.ndarray]:
        """Runs a SavedModel's signature for canvases (B, S_h, S_w, 3) -> objects in their pixels."""
        import tensorflow as tf

        found = self._canvas(image=tf.constant(image), valid_size=tf.constant(valid_size))
        return {name: values.numpy() for name, values in found.items()}

    def run_images(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Runs a SavedModel's signature for images of any size -> objects in their pixels."""
        import tensorflow as tf

        return {name: values.numpy() for name, values in self._images(image=tf.constant(image)).items()}
