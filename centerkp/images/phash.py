"""Tells pictures that look alike by 64 bits each: copies, resized or recompressed ones, neighbouring frames of a video."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

SIDE = 32  # pixels of the thumbnail whose frequencies are compared
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
    gray = cv2.cvtColor(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    waves = cv2.dct(gray.astype(np.float32)).ravel()[LOW_FREQUENCIES]
    waves[np.abs(waves) < 1e-2] = 0  # rounding, where a picture has no such wave
    return np.packbits(waves > np.median(waves)).view(np.uint64)[0]


def nearest_hashes(asked: np.ndarray, known: np.ndarray, max_distance: int) -> np.ndarray:
    """For each perceptual hash the position of the one whose picture looks most like it.

    Compares all with all: 20,000 pictures take a second.

    Args:
        asked, known: (N,) and (M,) uint64 of `perceptual_hash`. Where both are one array, no picture is its own.

    Returns:
        (N,) int64 positions in `known`, the first of several; -1 where all differ in more than `max_distance` of 64 bits.
    """
    found = np.full(len(asked), -1)
    step = max(PAIRS_AT_ONCE // max(len(known), 1), 1)
    for start in range(0, len(asked) if len(known) else 0, step):
        distances = np.bitwise_count(asked[start : start + step, None] ^ known)
        lines = np.arange(len(distances))
        if asked is known:
            distances[lines, start + lines] = 65
        best = distances.argmin(1)
        found[start + lines] = np.where(distances[lines, best] <= max_distance, best, -1)
    return found


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
