"""How much there is to learn from: counts records' objects and labelled keypoints, and refuses classes without any."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from centerkp.labels.records import Record
from centerkp.schema import Schema
from centerkp.wording import count_of


@dataclass(frozen=True, eq=False)
class LabelCounts:
    """How much there is to learn from: per class (C,) and per flat keypoint (K,), all whole numbers.

    `images` counts the images with an object or a crowd region of the class. `objects` and the points, `occluded`
    (visibility 1) and `visible` (visibility 2), leave crowd regions out, which do not train.
    """

    objects: np.ndarray
    crowds: np.ndarray
    images: np.ndarray
    occluded: np.ndarray
    visible: np.ndarray

    @property
    def labelled(self) -> np.ndarray:
        """How many labelled points of each keypoint train, (K,): occluded and visible ones."""
        return self.occluded + self.visible


def count_labels(records: Iterable[Record], schema: Schema) -> LabelCounts:
    """Counts records' objects, crowds, images and labelled points, for the summary before training."""
    objects, crowds, images = (np.zeros(schema.num_classes, np.int64) for _ in range(3))
    occluded, visible = (np.zeros(schema.num_keypoints, np.int64) for _ in range(2))
    for record in records:
        single = ~record.is_crowd
        objects += np.bincount(record.class_ids[single], minlength=schema.num_classes)
        crowds += np.bincount(record.class_ids[~single], minlength=schema.num_classes)
        images[np.unique(record.class_ids)] += 1
        occluded += (record.visibility[single] == 1).sum(0)
        visible += (record.visibility[single] == 2).sum(0)
    return LabelCounts(objects, crowds, images, occluded, visible)


def require_labels(records: Iterable[Record], schema: Schema) -> None:
    """Refuses to train a class that names keypoints but has no labelled one; classes without keypoint names always pass.

    Raises:
        ValueError: names every such class and what to check.
    """
    counts, empty = count_labels(records, schema), []
    for class_id, kind in enumerate(schema.classes):
        if kind.keypoints and not counts.labelled[schema.keypoint_slice(class_id)].any():
            number = count_of(int(counts.objects[class_id]), "object")
            found = f"{number}, all keypoints with visibility 0" if counts.objects[class_id] else "no objects"
            empty.append(f"'{kind.name}' (category id {kind.category_id}: {found})")
    if empty:
        raise ValueError(
            f"Training data: found no labelled keypoint for {', '.join(empty)}, expected one or more for each class that names "
            "keypoints; check that this is the right file, that annotations use this category id and that their visibility is "
            "1 or 2, or take the class or its keypoint names out of 'categories'."
        )
