"""How detections hold up as the score threshold falls: precision, recall and F1, and the threshold with the best F1.

Hits and misses are those of COCO's own matching, boxes at IoU 0.5 and keypoints at OKS 0.5: detections are taken best first, so
leaving out the weaker ones changes no match of the stronger.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from pycocotools.cocoeval import COCOeval

ALL_CLASSES = "all classes"  # the name of what is pooled over them
SCORES = tuple(round(0.01 * i, 2) for i in range(101))  # thresholds of a score curve
RECALLS = SCORES  # where COCO asks for the precision
HAIR = 0.01  # of F1, by which no two thresholds are worth telling apart


@dataclass(frozen=True, eq=False)
class Ranking:
    """The detections of a class in all images, best first: `scores` (D,) and `hits` (D,) bool, and the number of `objects`.

    Detections on crowds and other objects that do not count are not among them.
    """

    scores: np.ndarray
    hits: np.ndarray
    objects: int


def rank_detections(evaluator: COCOeval, class_index: int) -> Ranking:
    """The ranking of one class after pycocotools evaluated it, at its lowest IoU or OKS and over all object sizes."""
    images, sizes = len(evaluator.params.imgIds), len(evaluator.params.areaRng)
    start = class_index * sizes * images
    found = [one for one in evaluator.evalImgs[start : start + images] if one is not None]
    ignored = [np.asarray(one["dtIgnore"][0], bool) for one in found]
    scores = [np.asarray(one["dtScores"], np.float64)[~skip] for one, skip in zip(found, ignored, strict=True)]
    hits = [np.asarray(one["dtMatches"][0])[~skip] > 0 for one, skip in zip(found, ignored, strict=True)]
    objects = sum(int(np.count_nonzero(np.asarray(one["gtIgnore"]) == 0)) for one in found)
    return _sort_ranking(scores, hits, objects)


def pool_rankings(rankings: Iterable[Ranking]) -> Ranking:
    """The detections of several classes in one ranking: what one threshold for all of them does."""
    rankings = [r for r in rankings if r.objects]  # COCO does not count detections of a class that is nowhere annotated
    return _sort_ranking([r.scores for r in rankings], [r.hits for r in rankings], sum(r.objects for r in rankings))


def best_threshold(ranking: Ranking) -> dict[str, float | None]:
    """The middle `threshold` of the widest range of scores whose F1 is highest, and `f1`, `precision` and `recall` there.

    All None if nothing was found. The range reaches from the last score that is in at its upper end to the first that is out at
    its lower end, and its F1 is within a `HAIR` of the highest.
    """
    if not ranking.hits.any():
        return dict.fromkeys(("threshold", "precision", "recall", "f1"))
    ends = np.flatnonzero(np.append(np.diff(ranking.scores) != 0, True))  # equal scores are in or out together
    hits, taken = np.cumsum(ranking.hits)[ends], ends + 1
    f1 = 2 * hits / (taken + ranking.objects)
    uppers = ranking.scores[ends]
    lowers = np.append(uppers[1:], 0.0)
    # Which of several thresholds of nearly one F1 comes out ahead is chance, the more so the fewer objects there are. In the
    # middle of the widest range of them a threshold stays good when other images shift the scores either way.
    turns = np.flatnonzero(np.diff(f1 >= f1.max() - HAIR, prepend=False, append=False))
    highs, lows = uppers[turns[::2]], lowers[turns[1::2] - 1]
    widest = int((highs - lows).argmax())
    threshold = (highs[widest] + lows[widest]) / 2
    best = int(np.count_nonzero(uppers >= threshold)) - 1
    return {
        "threshold": float(threshold),
        "precision": float(hits[best] / taken[best]),
        "recall": float(hits[best] / ranking.objects),
        "f1": float(f1[best]),
    }


def score_curve(ranking: Ranking) -> dict[str, list[float | None]]:
    """The curves of `precision`, `recall` and `f1` over the least score, at each of `SCORES`; None where undecided."""
    taken = np.searchsorted(-ranking.scores, -np.array(SCORES), side="right")
    hits = np.append(0, np.cumsum(ranking.hits))[taken]
    objects = ranking.objects
    return {
        "precision": [float(h / t) if t else None for h, t in zip(hits, taken, strict=True)],
        "recall": [float(h / objects) if objects else None for h in hits],
        "f1": [float(2 * h / (t + objects)) if objects else None for h, t in zip(hits, taken, strict=True)],
    }


def precision_at_recall(evaluator: COCOeval, class_index: int) -> list[float] | None:
    """The curve of COCO's interpolated precision at each of `RECALLS`, whose mean is AP50; None without objects."""
    precision = evaluator.eval["precision"][0, :, class_index, 0, -1]
    return None if precision[0] < 0 else precision.tolist()


def _sort_ranking(scores: list[np.ndarray], hits: list[np.ndarray], objects: int) -> Ranking:
    """Joins scores and hits of detections into one ranking for the curves, best first."""
    scores, hits = np.concatenate([np.zeros(0), *scores]), np.concatenate([np.zeros(0, bool), *hits])
    order = np.argsort(-scores, kind="stable")
    return Ranking(scores[order], hits[order], objects)
