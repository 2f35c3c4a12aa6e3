"""What the best of several models can be chosen by."""

MONITORS = {"mean": "mean of box AP and keypoint AP", "box_ap": "box AP", "keypoint_ap": "keypoint AP"}
