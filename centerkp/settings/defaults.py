"""What a run's settings are where the user says nothing and the backbone or its weights decide."""

from typing import Any

from centerkp.weights.addresses import COCO_ARCHIVES

# What a backbone starts from where nothing is said; the others start from random weights.
STARTS = dict.fromkeys(COCO_ARCHIVES, "coco") | dict.fromkeys(
    ("efficientnet_lite0_fpn", "hourglass_10", "hourglass_20"), "drawn"
)
# Highest learning rates by what the weights are; a model of any kind counts as trained.
RATES = {"none": 1e-3, "imagenet": 1e-3, "drawn": 1e-3, "trained": 2.5e-4}
STARTING_WORDS = ("auto", "coco", *(word for word in RATES if word != "trained"))  # what --weights takes besides paths
VECTOR_RATE = 8.0
# At the zoo's 0.1 the vectors of an object that is mirrored at random stay at their mean, which is nothing, until the network
# knows which way it faces, and it has little reason to find out; and boxes get exact three times as slowly.
LIGHT_LOSSES = "box_size=0.3,keypoint_regression=0.4"


def find_defaults(backbone: str, weights: str, stacks: int | None) -> dict[str, Any]:
    """The defaults, by name, of settings that follow from a run's backbone, its stacks and its weights."""
    light = backbone == "efficientnet_lite0_fpn"
    start = STARTS.get(backbone, "none") if weights == "auto" else weights
    if weights == "auto" and start == "drawn" and (stacks or 1) > 1:
        start = "none"  # the packaged networks have one
    kind = start if start in RATES else "trained"
    return {
        "weights": start,
        "batch_size": 4 if light else 8,
        "learning_rate": RATES[kind],
        "vector_rate": VECTOR_RATE if kind in ("imagenet", "drawn") else 1.0,
        "loss_weights": LIGHT_LOSSES if light else None,
        "freeze": "filters" if light and start != "none" else "none",
    }
