"""Which maps the network predicts, and how many channels each has: the contract between data, codec and model."""

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


def head_channels(schema: Schema) -> dict[str, int]:
    """`{head: channels}` of a network in the order in which heads are built; without keypoints the first three only.

    Channel order inside a head: x before y, width before height; keypoint heads hold x0, y0, x1, y1, ...
    """
    heads = {"center_heatmap": schema.num_classes, "center_offset": 2, "box_size": 2}
    count = schema.num_keypoints
    if count:
        heads |= {"keypoint_heatmap": count, "keypoint_offset": 2 * count, "keypoint_regression": 2 * count}
    return heads
