"""Objects of a video as a detector gives them, for the tests of tracking."""

import numpy as np

from centerkp.results import Detection
from centerkp.schema import ObjectClass, Schema

SCHEMA = Schema((ObjectClass("thing", 1), ObjectClass("other", 2), ObjectClass("fish", 3, ("head", "tail"))))
FPS = 25


def found(x, y, side=20.0, class_id=0, score=0.9, turn=0.0):
    """An object; a fish has its points at the ends of its axis."""
    box = np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2], np.float32)
    kind, axis = SCHEMA.classes[class_id], side / 2 * np.array([np.cos(turn), np.sin(turn)])
    points = np.array([(x, y) + axis, (x, y) - axis]) if kind.keypoints else np.zeros((0, 2))
    return Detection(class_id, kind.name, kind.category_id, score, box, kind.keypoints, points, np.ones(len(points)))
