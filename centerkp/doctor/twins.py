"""Pictures of the validation set that training has seen, by their bytes or nearly: they make validation too good."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from centerkp.doctor.findings import PICTURES, Finding, make_finding
from centerkp.doctor.look import Look
from centerkp.doctor.reader import Reading
from centerkp.images.phash import SIDE, most_alike
from centerkp.wording import count_of

# Correlation of thumbnails without what all pictures have in common. Copies that were resized or compressed again have 0.997
# and more, those cut off by 2 % at the border 0.976; different objects on one plain background 0.94 at most, or 0.986 where
# they are of one form and lie within 10 pixels of each other.
COPY, NEAR = 0.995, 0.975
_GROUP = "split with 'centerkp split --group-by phash', which keeps twins on one side"


def check_twins(train: Sequence[Look], val: Sequence[Look], train_reading: Reading, val_reading: Reading) -> list[Finding]:
    """Findings about validation pictures that are in the training set too, as the same file or as nearly the same picture."""
    digests = {look.digest: row for row, look in enumerate(train) if look.digest}
    same = {row: digests[look.digest] for row, look in enumerate(val) if look.digest in digests}
    near = {v: found for v, found in near_twins(val, train).items() if v not in same}
    kinds = (
        ("suspicious", "the same file is in training", same),
        ("suspicious", "copies of an image of training", {v: t for v, (t, alike) in near.items() if alike >= COPY}),
        ("advice", "look nearly like an image of training", {v: t for v, (t, alike) in near.items() if alike < COPY}),
    )
    findings = []
    for level, how, pairs in kinds:

        def place(row: int, pairs: Mapping[int, int] = pairs) -> str:
            return f"{val_reading.label_image(row)} is like {train_reading.label_image(pairs[row])} of training"

        options: dict[str, Any] = dict(noun="image", remedy=f"validation is too good with them; {_GROUP}", place=place)
        found = make_finding(level, f"{how} (of {count_of(len(val), 'image')})", sorted(pairs), **options)
        findings += [replace(f, part="val", pairs=tuple(pairs.items())[:PICTURES], twin_part="") for f in found]
    return findings


def check_neighbours(looks: Sequence[Look], reading: Reading) -> list[Finding]:
    """Findings about pictures that look nearly like another of the same file: a random split would put twins on both sides."""
    twins = {row: other for row, (other, _) in near_twins(looks, looks).items()}

    def place(row: int) -> str:
        return f"{reading.label_image(row)} is like {reading.label_image(twins[row])}"

    title = f"look nearly like another (of {count_of(len(looks), 'image')}), as neighbouring frames of a video do"
    found = make_finding("advice", title, sorted(twins), noun="image", remedy=f"before training, {_GROUP}", place=place)
    # Of two that are each other's twins, one pair is enough.
    once = [(a, b) for a, b in twins.items() if a < b or twins.get(b) != a]
    return [replace(f, pairs=tuple(once[:PICTURES])) for f in found]


def near_twins(asked: Sequence[Look], known: Sequence[Look]) -> dict[int, tuple[int, float]]:
    """Row in `asked` -> row in `known` of the picture most like it, and how much, where that is enough to be its twin.

    Pictures of one colour are nobody's twins; nor is a picture its own, where both are one list.
    """
    asked_rows, asked_thumbnails = _thumbnails_of(asked)
    known_rows, known_thumbnails = (asked_rows, asked_thumbnails) if asked is known else _thumbnails_of(known)
    found, alike = most_alike(asked_thumbnails, known_thumbnails)
    return {int(asked_rows[n]): (int(known_rows[found[n]]), float(alike[n])) for n in np.flatnonzero(alike >= NEAR)}


def _thumbnails_of(looks: Sequence[Look]) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the pictures that have a thumbnail, and the thumbnails (n, 32, 32), to find twins by."""
    rows = [row for row, look in enumerate(looks) if look.thumbnail]
    pixels = np.frombuffer(b"".join(looks[row].thumbnail for row in rows), np.uint8)
    return np.array(rows, np.int64), pixels.reshape(len(rows), SIDE, SIDE)
