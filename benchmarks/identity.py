"""How well numbers stand for objects over a clip: switches, IDF1 and HOTA, from the truth of every frame and what was numbered.

Switches as in CLEAR MOT (Bernardin and Stiefelhagen 2008), IDF1 after Ristani et al. 2016, HOTA after Luiten et al. 2021.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from centerkp.geometry import box_ious

OVERLAP = 0.5  # from which on a box is an object's, for switches and IDF1
LEVELS = np.arange(0.05, 0.96, 0.05)  # of overlap, for HOTA


@dataclass(frozen=True, eq=False)
class Seen:
    """One frame: numbers (n,), class ids (n,) and boxes (n, 4) of the truth or of what was found."""

    numbers: np.ndarray
    class_ids: np.ndarray
    boxes: np.ndarray


def measure_identity(truth: Sequence[Seen], found: Sequence[Seen]) -> dict[str, float]:
    """`switches`, `IDF1` and `HOTA` of one clip, and how many numbers were given (`ids`) for how many objects (`objects`)."""
    overlaps = [box_ious(t.boxes, f.boxes) * (t.class_ids[:, None] == f.class_ids) for t, f in zip(truth, found, strict=True)]
    return {
        "switches": float(_count_switches(truth, found, overlaps)),
        "IDF1": _find_idf1(truth, found, overlaps),
        "HOTA": _find_hota(truth, found, overlaps),
        "ids": float(len({n for f in found for n in f.numbers})),
        "objects": float(len({n for t in truth for n in t.numbers})),
    }


def _count_switches(truth: Sequence[Seen], found: Sequence[Seen], overlaps: Sequence[np.ndarray]) -> int:
    """How often an object has another number than when it was last found; who had one keeps it while it fits."""
    last, switches = {}, 0
    for t, f, overlap in zip(truth, found, overlaps, strict=True):
        kept = np.array([[last.get(a) == b for b in f.numbers] for a in t.numbers], float).reshape(overlap.shape)
        gain = np.where(overlap >= OVERLAP, overlap + 1000 * kept + 1, 0)
        for row, column in zip(*linear_sum_assignment(-gain), strict=True):
            if gain[row, column]:
                number, name = f.numbers[column], t.numbers[row]
                switches += last.get(name, number) != number
                last[name] = number
    return switches


def _find_idf1(truth: Sequence[Seen], found: Sequence[Seen], overlaps: Sequence[np.ndarray]) -> float:
    """The F1 of frames in which an object has the one number that suits it best over the whole clip."""
    pairs: Counter = Counter()
    for t, f, overlap in zip(truth, found, overlaps, strict=True):
        pairs.update((t.numbers[row], f.numbers[column]) for row, column in zip(*np.nonzero(overlap >= OVERLAP), strict=True))
    names, numbers = (sorted({pair[i] for pair in pairs}) for i in (0, 1))
    shared = np.zeros((len(names), len(numbers)))
    for (name, number), count in pairs.items():
        shared[names.index(name), numbers.index(number)] = count
    total = sum(len(t.numbers) for t in truth) + sum(len(f.numbers) for f in found)
    return float(2 * shared[linear_sum_assignment(-shared)].sum() / max(total, 1))


def _find_hota(truth: Sequence[Seen], found: Sequence[Seen], overlaps: Sequence[np.ndarray]) -> float:
    """The mean over levels of overlap of sqrt(accuracy of detection x accuracy of association)."""
    frames, given = (Counter(n for one in side for n in one.numbers) for side in (truth, found))
    together: Counter = Counter()
    for t, f, overlap in zip(truth, found, overlaps, strict=True):
        share = overlap / np.maximum(overlap.sum(0, keepdims=True) + overlap.sum(1, keepdims=True) - overlap, 1e-9)
        for row, column in zip(*np.nonzero(overlap), strict=True):
            together[t.numbers[row], f.numbers[column]] += share[row, column]
    matches: list[Counter] = [Counter() for _ in LEVELS]
    for t, f, overlap in zip(truth, found, overlaps, strict=True):
        near = np.array([[together[a, b] / (frames[a] + given[b] - together[a, b]) for b in f.numbers] for a in t.numbers])
        near = near.reshape(overlap.shape) * overlap
        for row, column in zip(*linear_sum_assignment(-near), strict=True):
            for level, counted in zip(LEVELS, matches, strict=True):
                if overlap[row, column] >= level - 1e-9:
                    counted[t.numbers[row], f.numbers[column]] += 1
    total, scores = frames.total() + given.total(), []
    for counted in matches:
        right = counted.total()
        associated = sum(n * n / (frames[a] + given[b] - n) for (a, b), n in counted.items()) / max(right, 1)
        scores.append(np.sqrt(right / max(total - right, 1) * associated))
    return float(np.mean(scores))
