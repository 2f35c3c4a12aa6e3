"""What can find objects in pictures: the one thing that all of detecting, evaluating and exporting asks of a model."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from centerkp.schema import Schema


class Detector(Protocol):
    """Anything that finds objects in batches: a `CenterNet`, one with test-time augmentation, or an exported artefact.

    `image_size` is the (width, height) of its input. `predict_on_batch` takes `{"image": (B, height, width, 3) uint8 RGB,
    "valid_size": (B, 2) float32 width and height of the picture inside its padding}` and returns what `codec.decode.decode`
    does. A `thresholds` may say from which scores on its objects count, see `scores`, and a `thresholds_note` more of them,
    `levels` what is black and white in pictures of more than 8 bits, see `images.sensors`, `tiling` that it looks at tiles of
    pictures, see `images.tiling`, and `max_objects` how many objects of an image it gives at most. With `batches_at_once` it is
    asked by so many threads at a time.
    """

    @property
    def schema(self) -> Schema:
        """The classes and keypoints that a detector can find."""

    @property
    def image_size(self) -> tuple[int, int]:
        """The (width, height) of the pictures that a detector takes."""

    def predict_on_batch(self, x: Mapping[str, np.ndarray], /) -> Mapping[str, Any]:
        """What a detector finds in letterboxed pictures, in pixels of the network's input, as `decode` gives it."""


def find_room(detector: Detector) -> int | None:
    """How many objects of an image a detector gives at most; None where nobody knows, as of tiles, which give so many each."""
    if getattr(detector, "tiling", None):
        return None
    options = getattr(detector, "decode_options", None)  # of a `CenterNet`
    return getattr(options or detector, "max_objects", None)
