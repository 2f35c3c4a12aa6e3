"""SavedModel: images of any size in, objects in their own pixels out, for TensorFlow Serving and whatever runs TensorFlow."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from centerkp.export.fold import FoldedNetwork
from centerkp.runtimes.artefact import DESCRIPTION, Description

SAVED_MODEL_PRECISIONS = ("fp32", "bf16", "fp16")  # TensorFlow has no 8-bit convolutions on processors


def write_saved_model(network: FoldedNetwork, path: str | Path, *, precision: str = "fp32", batch: int | None = None) -> Path:
    """Writes the network with letterboxing and decoding as a SavedModel folder.

    The signature `serving_default` takes `image` (B, H, W, 3) uint8 RGB, all images of a batch of one size, whatever it is. Its
    outputs are in pixels of those images: `boxes` (B, M, 4) xyxy, `scores` (B, M) in descending order, `class_ids` (B, M)
    int32, and for a schema with keypoints `keypoints` (B, M, K, 2) and `keypoint_scores` (B, M, K), both 0 for the keypoints
    of other classes. Rows with score 0 are empty.

    The signature `canvas` takes images that are letterboxed already, (B, S_h, S_w, 3) uint8, and `valid_size` (B, 2) float32,
    the width and height of the picture inside its padding; its outputs are in pixels of the canvas.

    `schema.json` in the folder, and the same in `assets/`, says what the numbers of classes and keypoints mean.

    Args:
        network: from `fold`, in the type that belongs to the precision; its image size is the canvas images are fitted into.
        precision: "fp32", "bf16" or "fp16", the type of weights and computation; normalisation, the heads' last convolutions
            and decoding are float32 always.
        batch: images per call, None for any number.

    Raises:
        ValueError: Keras does not run on TensorFlow.
    """
    require_tensorflow("SavedModel")
    import tensorflow as tf

    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    description = Description.of(network, "saved_model", precision, batch)
    description.write(path / DESCRIPTION)
    width, height = network.image_size
    canvas = tf.TensorSpec((batch, height, width, 3), tf.uint8, "image")
    module = tf.Module(name="centerkp")
    module.weights = [variable.value for variable in network.variables]
    module.description = tf.saved_model.Asset(str(path / DESCRIPTION))
    module.detect = tf.function(
        _detect_images(network), input_signature=[tf.TensorSpec((batch, None, None, 3), tf.uint8, "image")]
    )
    module.canvas = tf.function(
        detect_canvas(network), input_signature=[canvas, tf.TensorSpec((batch, 2), tf.float32, "valid_size")]
    )
    signatures = {"serving_default": module.detect, "canvas": module.canvas}
    tf.saved_model.save(module, str(path), signatures=signatures)
    return path


def detect_canvas(network: FoldedNetwork) -> Callable:
    """What a SavedModel is traced from: canvases (B, S_h, S_w, 3) uint8, valid_size (B, 2) -> objects in canvas pixels."""

    def detect(image: Any, valid_size: Any) -> dict[str, Any]:
        return network.decode(network(keras.ops.cast(image, "float32")), valid_size)

    return detect


def _detect_images(network: FoldedNetwork) -> Callable:
    """The function that a SavedModel traces: images (B, H, W, 3) uint8 of any size -> objects in their own pixels."""
    import tensorflow as tf

    def detect(image: Any) -> dict[str, Any]:
        canvas, valid_size, scale = _letterbox_in_tensorflow(image, network.image_size)
        found = network.decode(network(canvas), tf.broadcast_to(valid_size, (tf.shape(image)[0], 2)))
        found["boxes"] = found["boxes"] / tf.tile(scale, [2])
        if "keypoints" in found:
            found["keypoints"] = found["keypoints"] / scale
        return found

    return detect


def _letterbox_in_tensorflow(image: Any, size: tuple[int, int]) -> tuple[Any, Any, Any]:
    """Letterboxing inside a SavedModel: what `images.reading.letterbox_image` does, in TensorFlow, for equal-sized images.

    Returns:
        Canvases (B, S_h, S_w, 3) float32; the (width, height) of the picture inside, (2,) float32; and the factors of x and y.
    """
    import tensorflow as tf

    limit = tf.constant(size, tf.float64)
    source = tf.cast(tf.shape(image)[2:0:-1], tf.float64)  # width, height
    scaled = tf.round(tf.reduce_min(limit / source) * source)  # halves to even, as in Python
    fitted = tf.clip_by_value(scaled, 1.0, limit)
    width, height = tf.unstack(tf.cast(fitted, tf.int32))
    # The one resizing of TensorFlow whose pixel i samples position i: no half-pixel shift, last row and column repeated.
    resized = tf.raw_ops.ResizeBilinear(images=image, size=[height, width], align_corners=False, half_pixel_centers=False)
    # Whole numbers, as the images that the network was trained on.
    canvas = tf.pad(tf.round(resized), [[0, 0], [0, size[1] - height], [0, size[0] - width], [0, 0]])
    canvas = tf.ensure_shape(canvas, (None, size[1], size[0], 3))
    return canvas, tf.cast(fitted, tf.float32), tf.cast(fitted / source, tf.float32)


def require_tensorflow(name: str) -> None:
    """Raises ValueError unless Keras runs on TensorFlow, whose SavedModel this format is or is made from."""
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"{name}: found Keras running on {keras.backend.backend()}, expected TensorFlow, which writes this format; set "
            "KERAS_BACKEND=tensorflow for this command."
        )
