"""What a run's settings are where the user says nothing and the backbone or its weights decide."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from centerkp.geometry import fit_canvas
from centerkp.settings.values import read_canvas
from centerkp.weights.addresses import COCO_ARCHIVES
from centerkp.wording import name_canvas

# What a backbone starts from where nothing is said; the others start from random weights.
STARTS = dict.fromkeys(COCO_ARCHIVES, "coco") | {"efficientnet_lite0_fpn": "drawn"}
# Highest learning rates by what the weights are; a model of any kind counts as trained.
RATES = {"none": 1e-3, "imagenet": 1e-3, "drawn": 1e-3, "trained": 2.5e-4}
STARTING_WORDS = ("auto", "coco", *(word for word in RATES if word != "trained"))  # what --weights takes besides paths
VECTOR_RATE = 8.0
CLEARLY = 0.9
# At the zoo's 0.1 the vectors of an object that is mirrored at random stay at their mean, which is nothing, until the network
# knows which way it faces, and it has little reason to find out; and boxes get exact three times as slowly.
LIGHT_LOSSES = "box_size=0.3,keypoint_regression=0.4"


def find_defaults(backbone: str, weights: str, *, timed: bool) -> dict[str, Any]:
    """The defaults, by name, of settings that follow from a run's backbone, its weights and whether it is timed."""
    light = backbone == "efficientnet_lite0_fpn"
    start = STARTS.get(backbone, "none") if weights == "auto" else weights
    kind = start if start in RATES else "trained"
    return {
        "weights": start,
        "batch_size": 4 if light else 8,
        "learning_rate": RATES[kind],
        "vector_rate": VECTOR_RATE if kind in ("imagenet", "drawn") else 1.0,
        "loss_weights": LIGHT_LOSSES if light else None,
        "freeze": "filters" if light and start != "none" else "none",
        "eval_every": None if timed else 5,
    }


def choose_image_size(
    backbone: str, multiple: int, sizes: Sequence[tuple[int, int]], rotation: float = 0.0
) -> tuple[int | str, str]:
    """The network's input where nobody gives it, as the setting has it, and a line that says why.

    A square leaves two fifths of every step to the black beside pictures of 16:9.

    Args:
        sizes: (width, height) of the images, upright; none where tiles of them are seen, which are square.
        rotation: the largest random turn in degrees.
    """
    side = 320 if backbone == "efficientnet_lite0_fpn" else 512
    if not sizes:
        return side, f"image size: {side}, square as tiles are (--image-size decides otherwise)"
    width, height = fit_canvas(sizes, side, multiple, rotation)
    size = name_canvas(width, height)
    if width == height:
        return size, f"image size: {size}, by default, because no narrower one suits the shapes of the images and their turns"
    shape = "wider than high" if width > height else "higher than wide"
    work = f"{width * height / side**2:.0%} of the work of {side}x{side}"
    return size, f"image size: {size}, because the images are {shape}: {work} (--image-size {side} suits any shape)"


def describe_misfit(size: int | str, sizes: Sequence[tuple[int, int]]) -> list[str]:
    """A line where a given input shows half of the images or more clearly smaller than a square of its longer side would."""
    canvas = read_canvas(size)
    shown = [min(canvas[0] / width, canvas[1] / height) * max(width, height) / max(canvas) for width, height in sizes]
    share = float(np.median(shown or [1]))
    if share >= CLEARLY:
        return []
    what = f"half of the images have there {share:.0%} of the size that they have at {max(canvas)}x{max(canvas)}, or less"
    return [f"{size} was given and does not have the images' shape: {what}"]
