"""How far a model usually is from the labels, measured on all of them, since most are right: what a label is suspected by."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from centerkp.evaluation.keypoint_error import match_greedily, match_objects
from centerkp.geometry import box_ious
from centerkp.labels.records import Record
from centerkp.results import Detection
from centerkp.schema import Schema

LEAST_SCORE = 0.05  # of detections that are looked at
BINS = 20  # of scores from 0 to 1
PRIOR = 5  # detections that a bin of scores has besides its own, right as often as their score says
FEW = 8  # points or boxes below which the scatter of the model is not measured
MIN_BOX_SCATTER = 0.05  # of a side: what nobody would call wrong
NEAR = 0.2  # overlap from which what is left over on both sides may be one object, its box labelled far too large or small

Pair = tuple[Record, int, Detection]  # an object of a record, and its detection


@dataclass(frozen=True, eq=False)
class Usual:
    """What is usual between the labels and a model's detections.

    Args:
        trust: (BINS,) share of detections with such a score that are labelled; `point_trust` of keypoints with such a
            score that lie near their label.
        point_scatter: (K,) root mean square distance of a keypoint from its label, as a share of the object's size (as OKS
            sigmas are), what the model and the hand scatter together.
        edge_offsets, edge_scatter: (C, 4) median, and standard deviation, of (label - detection) / side for a box's corners.
    """

    trust: np.ndarray
    point_trust: np.ndarray
    point_scatter: np.ndarray
    edge_offsets: np.ndarray
    edge_scatter: np.ndarray

    def trust_in(self, score: float) -> float:
        """How probably a detection of such a score is what a careful person would label, 0 to 1."""
        return float(_look_up(self.trust, score))

    def point_doubts(self, points_xy: np.ndarray, seen: np.ndarray, size: float, d: Detection, own: slice) -> np.ndarray:
        """(n,) how probably each labelled point of an object is wrong, against those of a detection; 0 where not `seen`.

        It is 1 - OKS with a sigma that allows for the model's own scatter, times the trust in the point that was found.
        """
        ratio = np.linalg.norm(points_xy - d.keypoints_xy, axis=-1) / size / self.point_scatter[own]
        return np.where(seen, (1 - np.exp(-(ratio**2) / 8)) * _look_up(self.point_trust, d.keypoint_scores), 0)

    def box_doubt(self, record: Record, n: int, box_xyxy: np.ndarray) -> float:
        """How far the worst edge of an object's box is beyond what is usual, 0 to 1, against a box found."""
        class_id = int(record.class_ids[n])
        ratio = (_edge_offsets(record.boxes_xyxy[n], box_xyxy) - self.edge_offsets[class_id]) / self.edge_scatter[class_id]
        return float(1 - np.exp(-np.square(ratio).max() / 8))


def measure_usual(
    records: Sequence[Record], detections: Sequence[Sequence[Detection]], matches: Sequence[np.ndarray], schema: Schema
) -> Usual:
    """Measures what is usual; few wrong labels among many right ones change it little.

    Args:
        matches: of each image's objects the index of their detection, -1 for none.
    """
    pairs, hits = [], []
    for record, found, match in zip(records, detections, matches, strict=True):
        pairs += [(record, n, found[i]) for n, i in enumerate(match) if i >= 0]
        hits += [(d.score, i in match) for i, d in enumerate(found)]
    scatter, near = _measure_points(pairs, schema)
    return Usual(_share_by_score(hits), _share_by_score(near), scatter, *_measure_edges(pairs, schema))


def _measure_points(pairs: Sequence[Pair], schema: Schema) -> tuple[np.ndarray, list[tuple[float, bool]]]:
    """`point_scatter` of what is usual, and of all labelled points the score of that found, and whether it is near."""
    scored = [[] for _ in range(schema.num_keypoints)]
    for record, n, d in pairs:
        own = schema.keypoint_slice(d.class_id)
        away = np.linalg.norm(record.keypoints_xy[n, own] - d.keypoints_xy, axis=-1) / object_size(record, n)
        for k in np.flatnonzero(record.visibility[n, own]):
            scored[own.start + k].append((d.keypoint_scores[k], away[k]))
    # Half of what is Gaussian in both directions lies within 0.83 times the root of its mean square.
    medians = [np.median(one, axis=0)[1] / 0.83 if len(one) >= FEW else 0.0 for one in scored]
    scatter = np.hypot(np.array(medians).reshape(-1), schema.oks_sigmas)
    return scatter, [(score, away <= 3 * scatter[k]) for k, one in enumerate(scored) for score, away in one]


def _measure_edges(pairs: Sequence[Pair], schema: Schema) -> tuple[np.ndarray, np.ndarray]:
    """`edge_offsets` and `edge_scatter` of what is usual, (C, 4) each."""
    offsets, scatter = np.zeros((schema.num_classes, 4)), np.full((schema.num_classes, 4), MIN_BOX_SCATTER)
    for class_id in range(schema.num_classes):
        edges = np.array([_edge_offsets(r.boxes_xyxy[n], d.box_xyxy) for r, n, d in pairs if d.class_id == class_id])
        if len(edges) >= FEW:
            offsets[class_id] = np.median(edges, 0)
            # Of what is Gaussian four fifths are within 1.28; the boxes of a model have more that are far off, which count.
            widest = np.quantile(np.abs(edges - offsets[class_id]), 0.8, axis=0) / 1.28
            scatter[class_id] = np.maximum(widest, MIN_BOX_SCATTER)
    return offsets, scatter


def match_labels(record: Record, found: Sequence[Detection]) -> np.ndarray:
    """(N,) for each labelled object the index of its detection of the same class, -1 for none and for crowds.

    As in evaluation, and then what is left over on both sides at much less overlap: boxes may be labelled wrong.
    """
    matches = match_objects(record, found)
    if found and len(matches):
        ious = box_ious(record.boxes_xyxy, np.stack([d.box_xyxy for d in found]))
        ious[(record.class_ids[:, None] != np.array([d.class_id for d in found])) | record.is_crowd[:, None]] = 0
        ious[matches >= 0] = 0
        ious[:, matches[matches >= 0]] = 0
        matches = np.maximum(matches, match_greedily(ious, [d.score for d in found], NEAR))
    return matches


def object_size(record: Record, n: int) -> float:
    """The size of a labelled object in pixels as OKS takes it, the root of its area."""
    return float(np.sqrt(max(float(record.areas[n]), 1.0)))


def _edge_offsets(label: np.ndarray, found: np.ndarray) -> np.ndarray:
    """(4,) how far the edges of a labelled box are from those of one found, as shares of its sides."""
    return (label - found) / np.tile(np.maximum(found[2:] - found[:2], 1), 2)


def _share_by_score(scored: Sequence[tuple[float, bool]]) -> np.ndarray:
    """(BINS,) share of what is right by score, which does not fall as scores rise (pools adjacent violators)."""
    scores, right = np.array(scored, float).reshape(-1, 2).T
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    counts, rights = np.bincount(bins, minlength=BINS), np.bincount(bins, right, BINS)
    pools: list[np.ndarray] = []  # of what is right, of all, and of bins
    for pool in np.column_stack([rights + PRIOR * (np.arange(BINS) + 0.5) / BINS, counts + PRIOR, np.ones(BINS)]):
        while pools and pools[-1][0] * pool[1] > pool[0] * pools[-1][1]:
            pool = pool + pools.pop()
        pools.append(pool)
    return np.repeat([pool[0] / pool[1] for pool in pools], [int(pool[2]) for pool in pools])


def _look_up(shares: np.ndarray, scores: np.ndarray | float) -> np.ndarray:
    """Shares of what is right at such scores, between the middles of the bins on a line."""
    return np.interp(scores, (np.arange(BINS) + 0.5) / BINS, shares)
