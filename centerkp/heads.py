"""Which maps the network predicts, how many channels each has, and for how many objects: what data, codec and model share."""

import math
from typing import Any

from centerkp.schema import Schema

Tensor = Any  # an array of the backend at hand or one of NumPy: what `keras.ops` takes and returns
MAX_SIDE = 16384  # of the images that a model is made for
STRIDE = 4  # input pixels per grid cell, fixed by the stem
# Parts of a network that can be kept from training: the first layers, all of the trunk down to a stride, all of the trunk but
# the 1x1 convolutions below stride 8, all but the heads.
FREEZABLE = ("none", "stem", "stride4", "stride8", "stride16", "stride32", "filters", "backbone")
VECTOR_HEADS = ("box_size", "keypoint_regression")  # lengths of any size; the offsets are parts of a cell
HEATMAP_HEADS = ("center_heatmap", "keypoint_heatmap")
USUAL_OBJECTS = 100  # of an image, as in the zoo and in COCO
# Pixels of the input that all but the smallest objects should be large, and how many in a hundred those are: where more are
# smaller, a larger input taught more in the same time (benchmarks/SIZES.md).
LARGE_ENOUGH, SMALLEST = 24, 5
MAX_OBJECTS = 5000
MAX_WEIGHT = 10**6  # of a term of the loss
MAX_MARGIN = 10.0  # of boxes around keypoints, in shares of the keypoints' longer side
# Pairs of an object and a candidate of a keypoint that decoding compares in an image, some 16 bytes each: as many as a model
# gets by itself, and as many as anybody may ask for.
PAIRS, MAX_PAIRS = 10**7, 10**8


def head_channels(schema: Schema) -> dict[str, int]:
    """`{head: channels}` of a network in the order in which heads are built; without keypoints the first three only.

    Channel order inside a head: x before y, width before height; keypoint heads hold x0, y0, x1, y1, ...
    """
    heads = {"center_heatmap": schema.num_classes, "center_offset": 2, "box_size": 2}
    count = schema.num_keypoints
    if count:
        heads |= {"keypoint_heatmap": count, "keypoint_offset": 2 * count, "keypoint_regression": 2 * count}
    return heads


def fitting_objects(num_keypoints: int, pairs: int) -> int:
    """How many objects, and as many candidates of each keypoint, decoding can compare in so many pairs."""
    return min(math.isqrt(pairs // num_keypoints), MAX_OBJECTS) if num_keypoints else MAX_OBJECTS


def choose_max_objects(fullest: int, num_keypoints: int) -> int:
    """How many objects of an image a model should be able to find that has `fullest` in its fullest one.

    100, and for more than 66 half as many again, in tens: what scores higher and is none should take no object's place. Not so
    many that decoding would take much memory.
    """
    wanted = 10 * math.ceil(0.15 * fullest)
    return max(USUAL_OBJECTS, min(wanted, fitting_objects(num_keypoints, PAIRS)))


def require_max_objects(max_objects: int, num_keypoints: int) -> None:
    """Raises ValueError where somebody asks for more objects of an image than decoding has memory for."""
    most = fitting_objects(num_keypoints, MAX_PAIRS)
    if max_objects > most:
        what = f"found {max_objects}, expected at most {most}"
        raise ValueError(f"max_objects: {what}; to decode more objects of {num_keypoints} keypoints would fill the memory.")


def map_size(image_size: tuple[int, int]) -> tuple[int, int]:
    """(H, W) of a CenterNet's maps for images of (width, height)."""
    return image_size[1] // STRIDE, image_size[0] // STRIDE
