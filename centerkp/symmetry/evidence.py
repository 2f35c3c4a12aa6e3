"""Whether shapes and their mirror images are of one kind: tests without a model, and the share of objects against it."""

from dataclasses import dataclass
from itertools import product

import numpy as np

EXACT = 12  # of so many objects all ways to mirror some are tried
DRAWS = 2000  # of more a sample of the ways


@dataclass(frozen=True)
class Evidence:
    """How sure it is that mirror images of shapes are no such shapes, and for how many it does not hold.

    `chance` is the probability to find them so unlike when each object could as well be its mirror image; `minority` the
    share of objects that are more like the mirror images of the others than like the others.
    """

    chance: float
    minority: float


def weigh_excess(excess: np.ndarray) -> Evidence:
    """What the excess (N, N) of whole shapes over their mirror images shows; mirroring an object turns a row and a column."""
    ways = _list_ways(len(excess))
    sums = ((ways @ excess) * ways).sum(1)
    return Evidence(float((sums >= sums[0] - 1e-9).mean()), _find_minority(excess))


def weigh_orders(orders: np.ndarray) -> Evidence:
    """What orders of few points (N, T) of -1, 0 (not labelled) and 1 show, which a mirror turns round: the clearest of them.

    The chance is that of finding any of the T so clear.
    """
    counts = np.abs(orders).sum(0)
    clear = np.abs(_list_ways(len(orders)) @ orders) / np.sqrt(np.maximum(counts, 1))
    clearest = int(clear[0].argmax())
    against = (counts[clearest] - abs(orders[:, clearest].sum())) / 2
    return Evidence(float((clear.max(1) >= clear[0].max() - 1e-9).mean()), float(against / max(counts[clearest], 1)))


def _list_ways(count: int) -> np.ndarray:
    """Ways to mirror some of so many objects as rows of 1 and -1 (mirrored), the first mirrors none.

    If each object occurs as often as its mirror image, all ways are alike, and the share of ways that show as much as the first
    is the chance to find it: a randomisation test, right for any number of objects.
    """
    if count <= EXACT:
        return np.array([(1, *rest) for rest in product((1, -1), repeat=count - 1)], float)
    ways = np.random.default_rng(0).choice((-1.0, 1.0), (DRAWS, count))
    ways[0] = 1
    return ways


def _find_minority(excess: np.ndarray) -> float:
    """The smaller share of two sides, of which objects on one side look alike and mirrored ones like those on the other."""
    leading = np.where(np.linalg.eigh(excess)[1][:, -1] >= 0, 1.0, -1.0)
    sides = [_improve_sides(excess, start) for start in (np.ones(len(excess)), leading)]
    best = max(sides, key=lambda side: side @ excess @ side)
    return float(min((best > 0).mean(), (best < 0).mean()))


def _improve_sides(excess: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Moves objects to the other side, one after the other, as long as that brings together what is alike."""
    while True:
        gains = sides * (excess @ sides)
        worst = int(gains.argmin())
        if gains[worst] >= -1e-9:
            return sides
        sides = np.where(np.arange(len(sides)) == worst, -sides, sides)
