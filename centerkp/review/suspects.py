"""Labels that are probably wrong: what a model found there in their place, and how sure that is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from centerkp.geometry import box_areas, box_ious, shared_areas
from centerkp.labels.records import Record
from centerkp.results import Detection
from centerkp.review.usual import LEAST_SCORE, Usual, match_labels, measure_usual, object_size
from centerkp.schema import ObjectClass, Schema

SAME = 0.5  # overlap of boxes that are at the same place
LEAST_POINT = 0.1  # score of a keypoint that is proposed
KINDS = {
    "missing": "not labelled", "twice": "labelled twice", "class": "of another class", "exchanged": "points exchanged",
    "points": "points far off", "box": "box too large, too small or off",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Label:
    """An object as it should be labelled: its class, `box_xyxy` (4,), and the n points of its class with their visibility."""

    class_id: int
    box_xyxy: np.ndarray
    points_xy: np.ndarray
    visibility: np.ndarray


@dataclass(frozen=True, eq=False)
class Suspect:
    """A label that is probably wrong, or an object that nobody labelled.

    Args:
        row: of its image among the records.
        index: of the object in its record; None where it is not labelled.
        kind: one of `KINDS`.
        score: how probably the label is wrong, 0 to 1, comparable across kinds.
        reason: a few words for the user.
        found: what the model found there.
        proposal: what to put in its place; None: delete it.
    """

    row: int
    index: int | None
    kind: str
    score: float
    reason: str
    found: Detection
    proposal: Label | None


def find_suspects(
    records: Sequence[Record], detections: Sequence[Sequence[Detection]], schema: Schema, least: float = 0.1
) -> list[Suspect]:
    """The labels that are probably wrong, the most probable first; one suspect for each label at most.

    The score is the trust in what the model found, which is how often detections of such a score are labelled, times how far
    the label is from that beyond what is usual between this model and these labels.

    Args:
        detections: of each record's image; the lower their scores may be, the better.
        least: score of a suspect from which it is told.
    """
    kept = [[d for d in found if d.score >= LEAST_SCORE] for found in detections]
    matches = [match_labels(record, found) for record, found in zip(records, kept, strict=True)]
    usual = measure_usual(records, kept, matches, schema)
    suspects: dict[tuple, Suspect] = {}
    for row, (record, found, match) in enumerate(zip(records, kept, matches, strict=True)):
        for number, suspect in enumerate(_Image(row, record, found, match, usual, schema).judge()):
            key = (row, number, None) if suspect.index is None else (row, None, suspect.index)
            if suspect.score >= least and (key not in suspects or suspect.score > suspects[key].score):
                suspects[key] = suspect
    return sorted(suspects.values(), key=lambda s: -s.score)


@dataclass(frozen=True, eq=False)
class _Image:
    """One image whose labels are judged: its labels, what was found, and which of that is which label."""

    row: int
    record: Record
    found: Sequence[Detection]
    matches: np.ndarray
    usual: Usual
    schema: Schema

    def judge(self) -> Iterator[Suspect]:
        """All that is suspicious about the labels of the image, also several things about one label."""
        if not self.found:
            return
        boxes, overlap = np.stack([d.box_xyxy for d in self.found]), np.zeros((0, len(self.found)))
        if len(self.record.class_ids):
            overlap = box_ious(self.record.boxes_xyxy, boxes)
        yield from self._judge_missing(boxes, overlap)
        yield from self._judge_repeated()
        for n in np.flatnonzero(~self.record.is_crowd).tolist():
            yield from self._judge_class(n, overlap[n])
            if self.matches[n] >= 0:
                yield from self._judge_points(n, self.found[self.matches[n]])
                yield from self._judge_box(n, self.found[self.matches[n]])

    def _suspect(self, index: int | None, kind: str, score: float, reason: str, found: Detection, to: Label | None) -> Suspect:
        return Suspect(self.row, index, kind, float(score), reason, found, to)

    def _judge_missing(self, boxes: np.ndarray, overlap: np.ndarray) -> Iterator[Suspect]:
        """Objects that nobody labelled: found where no label of any class is, each once, and not in a crowd."""
        crowds = self.record.boxes_xyxy[self.record.is_crowd]
        inside = shared_areas(crowds, boxes).max(0, initial=0) / np.maximum(box_areas(boxes), 1e-9)
        most = overlap.max(0, initial=0)
        free = (most < SAME) & (inside < SAME)
        free[self.matches[self.matches >= 0]] = False
        taken: list[int] = []
        for i in sorted(np.flatnonzero(free).tolist(), key=lambda i: -self.found[i].score):
            if not taken or box_ious(boxes[i : i + 1], boxes[taken]).max() < SAME:
                taken.append(i)
                d = self.found[i]
                score = self.usual.trust_in(d.score) * (1 - most[i])
                yield self._suspect(None, "missing", score, f"{d.class_name} not labelled", d, _as_label(d))

    def _judge_repeated(self) -> Iterator[Suspect]:
        """Objects that are labelled twice: two labels at one place, also of two classes, where the model finds one object."""
        record = self.record
        trust = [self.usual.trust_in(self.found[i].score) if i >= 0 else 0.0 for i in self.matches]
        shared = box_ious(record.boxes_xyxy, record.boxes_xyxy)
        for pair in combinations(np.flatnonzero(~record.is_crowd).tolist(), 2):
            kept, more = sorted(pair, key=lambda n: -trust[n])
            if shared[pair] >= SAME and self.matches[kept] >= 0:
                score = trust[kept] * (1 - trust[more]) * shared[pair]
                yield self._suspect(more, "twice", score, "labelled twice", self.found[self.matches[kept]], None)

    def _judge_class(self, n: int, overlap: np.ndarray) -> Iterator[Suspect]:
        """An object of another class: the model finds that, and not the class of the label."""
        others = [
            i for i, d in enumerate(self.found)
            if overlap[i] >= SAME and d.class_id != self.record.class_ids[n] and i not in self.matches
        ]  # fmt: skip
        if others:
            d = self.found[max(others, key=lambda i: self.found[i].score)]
            own = self.usual.trust_in(self.found[self.matches[n]].score) if self.matches[n] >= 0 else 0.0
            name = self.schema.classes[int(self.record.class_ids[n])].name
            score = self.usual.trust_in(d.score) * (1 - own)
            to = Label(d.class_id, self.record.boxes_xyxy[n], *_points_of(d))
            yield self._suspect(n, "class", score, f"labelled {name}, looks like {d.class_name}", d, to)

    def _judge_points(self, n: int, d: Detection) -> Iterator[Suspect]:
        """Points that are far off, or exchanged: the found ones fit far better in another order."""
        own, kind = self.schema.keypoint_slice(d.class_id), self.schema.classes[d.class_id]
        points, seen, size = self.record.keypoints_xy[n, own], self.record.visibility[n, own], object_size(self.record, n)
        doubts = self.usual.point_doubts(points, seen > 0, size, d, own)
        worst, box, names = doubts.max(initial=0), self.record.boxes_xyxy[n], np.array(kind.keypoints)
        if not worst:
            return
        best = None
        for order in _list_orders(kind, np.flatnonzero(doubts > worst / 4)):
            gone = doubts - self.usual.point_doubts(points[order], seen[order] > 0, size, d, own)
            moved = order != np.arange(len(order))
            if gone.sum() > worst / 2 * (seen[moved] > 0).sum() and (best is None or gone.sum() > best[0]):
                best = gone.sum(), f"{', '.join(names[moved])} exchanged", Label(d.class_id, box, points[order], seen[order])
        trust = self.usual.trust_in(d.score)
        if best:
            yield self._suspect(n, "exchanged", trust * worst, best[1], d, best[2])
        else:
            far = doubts >= worst / 2
            to = Label(d.class_id, box, np.where(far[:, None], d.keypoints_xy, points), seen)
            yield self._suspect(n, "points", trust * worst, f"{', '.join(names[far])} far off", d, to)

    def _judge_box(self, n: int, d: Detection) -> Iterator[Suspect]:
        """A box that is larger or smaller than usual around what was found, or beside it."""
        label = self.record.boxes_xyxy[n]
        score = self.usual.trust_in(d.score) * self.usual.box_doubt(self.record, n, d.box_xyxy)
        ratio = float(box_areas(label[None])[0] / max(box_areas(d.box_xyxy[None])[0], 1e-9))
        what = "too large" if ratio > 1.15 else "too small" if ratio < 1 / 1.15 else "off"
        own = self.schema.keypoint_slice(d.class_id)
        to = Label(d.class_id, d.box_xyxy, self.record.keypoints_xy[n, own], self.record.visibility[n, own])
        yield self._suspect(n, "box", score, f"box {what}", d, to)


def _list_orders(kind: ObjectClass, far: np.ndarray) -> Iterator[np.ndarray]:
    """The orders in which points may have been exchanged: all sides, the sides of a pair, and any two of those `far` off."""
    pairs = [[pair] for pair in dict.fromkeys((*kind.flip_pairs, *combinations(far.tolist(), 2)))]
    for chosen in [list(kind.flip_pairs)] * bool(kind.flip_pairs) + pairs:
        order = np.arange(len(kind.keypoints))
        for a, b in chosen:
            order[a], order[b] = b, a
        yield order


def _as_label(d: Detection) -> Label:
    """What was found as it would be labelled; points that are not sure are left to the user."""
    return Label(d.class_id, d.box_xyxy, *_points_of(d))


def _points_of(d: Detection) -> tuple[np.ndarray, np.ndarray]:
    """The points of a detection, and which of them to propose as visible (2)."""
    return d.keypoints_xy, np.where(d.keypoint_scores >= LEAST_POINT, 2, 0)
