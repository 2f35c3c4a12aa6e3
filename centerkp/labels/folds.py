"""Splits records in two, or deals them into folds: every class in proportion, what belongs together on one side."""

from collections.abc import Iterable, Sequence
from operator import attrgetter
from pathlib import Path

import numpy as np

from centerkp.labels.faults import Remarks
from centerkp.labels.records import Record
from centerkp.labels.splitting import assign_groups, group_files, sum_groups


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


def split_records(records: Iterable[Record], fraction: float, seed: int) -> tuple[list[Record], list[Record]]:
    """Splits records into training and validation, the same way for the same images and seed in any order.

    Shared out as `split_coco` does: both sides keep the balance of the classes, have at least one record and come ordered by
    image id; what few images show is in training first, and ids that share a file are on one side.

    Args:
        fraction: the validation share, between 0 and 1.

    Raises:
        ValueError: fewer than two records, or a fraction outside (0, 1).
    """
    records = sorted(records, key=attrgetter("image_id"))
    if len(records) < 2:
        raise ValueError(f"split_records: found {len(records)} images, expected at least 2 to split; give a validation file.")
    if not 0 < fraction < 1:
        raise ValueError(f"split_records: found the validation fraction {fraction}, expected one between 0 and 1; try 0.2.")
    counts = count_objects(records)
    groups = group_files([r.file_name for r in records], [r.path for r in records], None, Remarks(Path()))
    parts = assign_groups(sum_groups(counts, groups), np.array([1 - fraction, fraction]), seed)[groups]
    alone = np.bincount(groups)[groups] == 1
    movable = alone | (parts.min() == parts.max())
    _trim_validation(parts, counts, movable, min(max(round(fraction * len(records)), 1), len(records) - 1))
    sides = [[record for record, part in zip(records, parts, strict=True) if part == side] for side in (0, 1)]
    return sides[0], sides[1]


def _trim_validation(parts: np.ndarray, counts: np.ndarray, movable: np.ndarray, number: int) -> None:
    """Makes good, in place, what the split's rounding of every class left over or took: `number` records are held back.

    Those of the `movable` (n,) move whose rarest class is the most common; what only one record shows stays in training.
    """
    holds = counts > 0
    rarity = np.where(holds, holds.sum(0), len(parts)).min(1)
    for row in np.flatnonzero(movable)[np.argsort(-rarity[movable], kind="stable")]:
        surplus = int(parts.sum()) - number
        if not surplus:
            return
        is_last = surplus < 0 and parts.any() and (holds[row] & (holds[parts == 0].sum(0) == 1)).any()
        if parts[row] == (surplus > 0) and not is_last:
            parts[row] = surplus < 0


def count_objects(records: Sequence[Record]) -> np.ndarray:
    """(records, C) objects of each class that occurs, crowd regions left out: what a split of records shares out."""
    counts = np.zeros((len(records), 1 + max((int(r.class_ids.max(initial=0)) for r in records), default=0)), np.int64)
    for row, record in enumerate(records):
        np.add.at(counts[row], record.class_ids[~record.is_crowd], 1)
    return counts
