"""Deals records into folds, each of which is held out once: every class in proportion, what belongs together in one fold."""

from collections.abc import Iterable
from operator import attrgetter
from pathlib import Path

import numpy as np

from centerkp.labels.faults import Remarks
from centerkp.labels.records import Record
from centerkp.labels.splitting import assign_groups, count_objects, group_files, sum_groups


def deal_folds(
    records: Iterable[Record], folds: int, seed: int, group_by: str, path: Path
) -> tuple[list[list[Record]], tuple[str, ...]]:
    """Deals records into folds, the same way for the same images and seed in any order, and says what was kept together.

    Every fold has about as many images, and objects of every class, as the others, as far as the groups allow.

    Args:
        group_by: what keeps images in one fold, as in `split_coco`: "phash", "folder" or a regular expression.
        path: of the dataset, for messages.

    Raises:
        ValueError: there are fewer groups than folds.
    """
    records = sorted(records, key=attrgetter("image_id"))
    remarks = Remarks(path)
    groups = group_files([r.file_name for r in records], [r.path for r in records], group_by, remarks)
    places = assign_groups(sum_groups(count_objects(records), groups), np.full(folds, 1 / folds), seed)[groups]
    dealt = [[r for r, place in zip(records, places, strict=True) if place == fold] for fold in range(folds)]
    return dealt, remarks.sentences
