"""Tells pictures that look alike by 64 bits each: copies, resized or recompressed ones, neighbouring frames of a video."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

SIDE = 32  # pixels of the thumbnail whose frequencies are compared
SHARED_FROM = 8  # pictures; fewer have too little in common
PAIRS_AT_ONCE = 1 << 22  # comparisons held in memory at a time: 32 MB


def _pick_low_frequencies() -> np.ndarray:
    """Where the 64 lowest frequencies of a perceptual hash stand in the flattened transform, without the mean."""
    u, v = np.divmod(np.arange(SIDE * SIDE), SIDE)
    return np.lexsort((u, u + v))[1:65]


LOW_FREQUENCIES = _pick_low_frequencies()


def perceptual_hash(image: np.ndarray) -> np.uint64:
    """Hashes a picture into 64 bits that change little when it is resized, recompressed or brightened, and much otherwise.

    Each bit says whether one of the 64 lowest frequencies (cosine transform of the gray picture at 32 x 32) is above their
    median. How many bits of two hashes differ is their distance: copies are 0 to 4 apart, unrelated pictures
    about 32. It does not survive mirroring, turning or cropping. A picture of one colour has hash 0.

    Args:
        image: (H, W, 3) uint8 RGB, at least one pixel.
    """
    return hash_thumbnail(make_thumbnail(image))


def make_thumbnail(image: np.ndarray) -> np.ndarray:
    """The gray picture of 32 x 32 that perceptual hashes are made of, uint8, from (H, W, 3) uint8 RGB."""
    return cv2.cvtColor(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)


def hash_thumbnail(gray: np.ndarray) -> np.uint64:
    """The perceptual hash of a picture of which there is the thumbnail (32, 32)."""
    waves = cv2.dct(gray.astype(np.float32)).ravel()[LOW_FREQUENCIES]
    waves[np.abs(waves) < 1e-2] = 0  # rounding, where a picture has no such wave
    return np.packbits(waves > np.median(waves)).view(np.uint64)[0]


def most_alike(asked: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each thumbnail the one whose picture is most like it, beyond what all of them have in common.

    What the pictures share, such as a plain background, is their mean, and says nothing: of `SHARED_FROM` pictures or more it
    is taken off before they are compared. Compares all with all: 20,000 pictures take some seconds.

    Args:
        asked, known: (N, 32, 32) and (M, 32, 32). Where both are one array, no picture is its own.

    Returns:
        (N,) int64 positions in `known`, -1 without any, and (N,) the correlation with it, -1 to 1; copies have 0.995 and more.
    """
    parts = (asked,) if asked is known else (asked, known)
    pictures = [part.reshape(len(part), SIDE * SIDE).astype(np.float32) for part in parts]
    everything = np.concatenate(pictures)
    common = everything.mean(0) if len(everything) >= SHARED_FROM else 0
    rest = [part - common for part in pictures]
    rest = [part - part.mean(1, keepdims=True) for part in rest]
    rest = [part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-6) for part in rest]
    found, likeness = np.full(len(asked), -1), np.full(len(asked), -1.0)
    step = max(PAIRS_AT_ONCE // max(len(known), 1), 1)
    for start in range(0, len(asked) if len(known) else 0, step):
        alike = rest[0][start : start + step] @ rest[-1].T
        lines = np.arange(len(alike))
        if asked is known:
            alike[lines, start + lines] = -1
        found[start + lines], likeness[start + lines] = alike.argmax(1), alike.max(1)
    return found, likeness


def group_hashes(hashes: Sequence[np.uint64] | np.ndarray, max_distance: int) -> np.ndarray:
    """Groups hashes of pictures that look alike, directly or over others in between (as the frames of a slow video do).

    Args:
        hashes: (N,) of `perceptual_hash`.

    Returns:
        (N,) int64: the number of each picture's group, 0, 1, ... in the order in which they first occur.
    """
    distinct, where = np.unique(np.asarray(hashes, np.uint64).ravel(), return_inverse=True)
    group = np.arange(len(distinct))
    for pairs in _near_pairs(distinct, max_distance):
        # The smallest number spreads along the pairs until nothing changes.
        while (group[pairs[:, 0]] != group[pairs[:, 1]]).any():
            low = group[pairs].min(1)
            np.minimum.at(group, group[pairs].max(1), low)
            group = _follow_chains(group)
    _, first, number = np.unique(group[where], return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[number]


def _near_pairs(hashes: np.ndarray, max_distance: int) -> Iterator[np.ndarray]:
    """The pairs (P, 2) of perceptual hashes that are near each other, of a few rows at a time."""
    step = max(PAIRS_AT_ONCE // max(len(hashes), 1), 1)
    for start in range(0, len(hashes), step):
        rows = hashes[start : start + step, None] ^ hashes[None, start:]
        first, second = np.nonzero(np.bitwise_count(rows) <= max_distance)
        pairs = np.stack([first, second], 1)[first < second] + start
        yield pairs


def _follow_chains(group: np.ndarray) -> np.ndarray:
    """Points every perceptual hash of a group at the end of its chain."""
    while (group[group] != group).any():
        group = group[group]
    return group
