"""Classes that are rare in a dataset, and how much more often their images should be seen for that."""

from collections.abc import Sequence

import numpy as np

from centerkp.labels.records import Record

RARE = 1 / 4  # of the images that the commonest class is on


def repeat_factors(images: np.ndarray) -> np.ndarray:
    """How often an image with an object of each class should be seen, against one without any rare class, (C,) of 1 or more.

    Repeat factors as in "LVIS: A Dataset for Large Vocabulary Instance Segmentation" (Gupta et al. 2019): the square root of
    how much rarer than the bound a class is. Their bound is a share of all images, for a thousand classes; here it is `RARE`.

    Args:
        images: (C,) on how many images each class is; a class without any is not rare but missing, and has factor 1.
    """
    bound = RARE * images.max(initial=0)
    return np.sqrt(np.maximum(bound / np.where(images > 0, images, np.inf), 1))


def weigh_images(records: Sequence[Record], num_classes: int) -> np.ndarray:
    """How often each record should be seen, (n,) of 1 or more: as often as its rarest class asks for."""
    holds = np.zeros((len(records), num_classes), bool)
    for row, record in enumerate(records):
        holds[row, record.class_ids[~record.is_crowd]] = True
    return np.where(holds, repeat_factors(holds.sum(0)), 1).max(1, initial=1)
