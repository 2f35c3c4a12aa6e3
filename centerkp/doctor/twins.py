"""Pictures of the validation set that training has seen, by their bytes or nearly: they make validation too good."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from centerkp.doctor.findings import PICTURES, Finding, make_finding
from centerkp.doctor.look import Look
from centerkp.doctor.reader import Reading
from centerkp.images.phash import nearest_hashes
from centerkp.wording import count_of

# Of 64 bits of the perceptual hash. Copies that were resized or compressed again are 0 to 4 apart; unrelated pictures of one
# series 16 and more; frames of one film, its animal moved, 8 to 16.
NEAR = 6
_GROUP = "split with 'centerkp split --group-by phash', which keeps twins on one side"


def check_twins(train: Sequence[Look], val: Sequence[Look], train_reading: Reading, val_reading: Reading) -> list[Finding]:
    """Findings about validation pictures that are in the training set too, as the same file or as nearly the same picture."""
    digests = {look.digest: row for row, look in enumerate(train) if look.digest}
    same = {row: digests[look.digest] for row, look in enumerate(val) if look.digest in digests}
    near = {v: t for v, t in near_twins(val, train).items() if v not in same}
    findings = []
    for how, pairs in (("the same file is in training", same), ("look nearly like an image of training", near)):

        def place(row: int, pairs: Mapping[int, int] = pairs) -> str:
            return f"{val_reading.label_image(row)} is like {train_reading.label_image(pairs[row])} of training"

        options: dict[str, Any] = dict(noun="image", remedy=f"validation is too good with them; {_GROUP}", place=place)
        found = make_finding("suspicious", f"{how} (of {count_of(len(val), 'image')})", sorted(pairs), **options)
        findings += [replace(f, part="val", pairs=tuple(pairs.items())[:PICTURES], twin_part="") for f in found]
    return findings


def check_neighbours(looks: Sequence[Look], reading: Reading) -> list[Finding]:
    """Findings about pictures that look nearly like another of the same file: a random split would put twins on both sides."""
    twins = near_twins(looks, looks)

    def place(row: int) -> str:
        return f"{reading.label_image(row)} is like {reading.label_image(twins[row])}"

    title = f"look nearly like another (of {count_of(len(looks), 'image')}), as neighbouring frames of a video do"
    found = make_finding("advice", title, sorted(twins), noun="image", remedy=f"before training, {_GROUP}", place=place)
    # Of two that are each other's twins, one pair is enough.
    once = [(a, b) for a, b in twins.items() if a < b or twins.get(b) != a]
    return [replace(f, pairs=tuple(once[:PICTURES])) for f in found]


def near_twins(asked: Sequence[Look], known: Sequence[Look]) -> dict[int, int]:
    """Row in `asked` -> row in `known` of the picture that is nearest to it, where one is near enough to be its twin.

    Pictures of one colour, whose hash says nothing, are nobody's twins; nor is a picture its own, where both are one list.
    """
    asked_rows, asked_hashes = _hashes_of(asked)
    known_rows, known_hashes = (asked_rows, asked_hashes) if asked is known else _hashes_of(known)
    found = nearest_hashes(asked_hashes, known_hashes, NEAR)
    return {int(asked_rows[n]): int(known_rows[found[n]]) for n in np.flatnonzero(found >= 0)}


def _hashes_of(looks: Sequence[Look]) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the pictures that have a perceptual hash, and the hashes, to find twins by."""
    hashes = np.array([look.phash for look in looks], np.uint64)
    return np.flatnonzero(hashes), hashes[hashes > 0]
