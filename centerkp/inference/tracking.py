"""Identity over a video: the same object keeps its number from frame to frame, also when it is hidden for some of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from centerkp.results import Detection

REACH = 0.8  # how far from where it is expected an object may appear, in sides of its box
WIDENING = 0.05  # by which the reach grows with every frame in which the object was not seen
NEWNESS = 0.5  # weight of the newest step in the velocity
FAR = 1e6
PATIENCE = 30  # frames without a sighting


@dataclass
class _Track:
    """One object followed over a video: where it was seen last, and how it moved."""

    number: int
    class_id: int
    center: np.ndarray  # (2,), where it was seen last
    side: float  # square root of the box's area
    velocity: np.ndarray | None  # (2,) pixels per frame; None after one sighting
    seen: int  # position of the frame

    def expect(self, index: int) -> np.ndarray:
        """Where a tracked object's center will be in the frame at `index`, if it moves on as it did."""
        return self.center if self.velocity is None else self.center + self.velocity * (index - self.seen)


class Tracker:
    """Numbers objects over the frames of one video, by where each is expected to be if it moves on as it did.

    Every frame's detections are assigned to the known objects of their class so that the sum of distances, in units of the
    boxes' sides, is least; whoever is left over is a new object.

    Args:
        patience: frames without a sighting after which an object is forgotten.
    """

    def __init__(self, patience: int = PATIENCE):
        self.patience = patience
        self._tracks: list[_Track] = []
        self._count = 0

    def update(self, detections: Sequence[Detection], index: int) -> list[int]:
        """Takes a frame's detections and gives the track number of each, from 1.

        Args:
            index: position of the frame in the video, rising from call to call.
        """
        self._tracks = [track for track in self._tracks if index - track.seen <= self.patience]
        boxes = np.array([d.box_xyxy for d in detections], np.float64).reshape(-1, 4)
        centers, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, np.sqrt(np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(1), 1))
        costs = np.full((len(self._tracks), len(detections)), FAR)
        for row, track in enumerate(self._tracks):
            side = np.sqrt(track.side * sides)
            cost = np.linalg.norm(centers - track.expect(index), axis=1) / side + np.abs(np.log(sides / track.side)) / 2
            same = np.array([d.class_id == track.class_id for d in detections], bool)
            near = cost <= REACH + WIDENING * (index - track.seen - 1)
            costs[row, same & near] = cost[same & near]
        numbers = [0] * len(detections)
        for row, column in zip(*linear_sum_assignment(costs), strict=True):
            if costs[row, column] < FAR:
                self._move_track(self._tracks[row], centers[column], sides[column], index)
                numbers[column] = self._tracks[row].number
        for column, number in enumerate(numbers):
            if not number:
                self._count += 1
                numbers[column] = self._count
                kind = detections[column].class_id
                self._tracks.append(_Track(self._count, kind, centers[column], float(sides[column]), None, index))
        return numbers

    @staticmethod
    def _move_track(track: _Track, center: np.ndarray, side: float, index: int) -> None:
        """Moves a track, with its velocity, to the detection that was found to be its object."""
        step = (center - track.center) / max(index - track.seen, 1)
        track.velocity = step if track.velocity is None else NEWNESS * step + (1 - NEWNESS) * track.velocity
        track.center, track.side, track.seen = center, float(side), index
