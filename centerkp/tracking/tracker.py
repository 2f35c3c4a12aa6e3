"""Identity over a video: the same object keeps its number from frame to frame, also when it is hidden for some of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from centerkp.results import DEFAULT_SCORE, Detection
from centerkp.schema import Schema
from centerkp.tracking.association import assign
from centerkp.tracking.motion import Motion
from centerkp.tracking.smoothing import Smoother

PATIENCE = 1.0  # seconds that an object is waited for
BRIEF = 0.3  # seconds that one is waited for which was seen in one frame alone, as false detections are
FOLLOWED = 0.5  # share of the least score down to which a detection may continue an object that is known
MOST, MOST_LOW = 1.2, 0.8  # what a pair may cost, and one whose detection has a low score
FRESH = 0.3  # seconds since an object was seen in which a detection with a low score may be it


@dataclass(eq=False)
class _Track:
    """One object followed over a video."""

    number: int
    class_id: int
    motion: Motion
    smoother: Smoother
    sightings: int = 1
    missed: int = 0  # frames in a row in which it was not found

    def is_awaited(self) -> bool:
        """Whether the tracked object may still come back; one frame without it ends nothing, however far apart frames are."""
        return self.missed < 2 or self.motion.unseen <= (PATIENCE if self.sightings > 1 else BRIEF) + 1e-6


class Tracker:
    """Numbers the objects of one video, and smooths their places if asked to.

    Every object of a class is expected where a Kalman filter says, and the detections are assigned to those of their class so
    that the costs have the least sum (`association.assign`): first those with good scores, where objects should have gone,
    then detections with low scores, to objects that were there just now (ByteTrack, Zhang et al. 2022), and last good ones, to
    objects that may have stayed where they were. A good one that is left over is a new object; a low one is left out. A number
    is never given twice. Objects that are not found are waited for `PATIENCE` seconds.

    Args:
        schema: of the detections.
        least_scores: from which on an object counts; one for all classes, or (C,) in the schema's order. Detections down to
            `FOLLOWED` of it should be given to the tracker as well.
        smooth: box and keypoints are smoothed over time, see `Smoother`.
    """

    def __init__(self, schema: Schema, least_scores: float | Sequence[float] = DEFAULT_SCORE, *, smooth: bool = False):
        self.schema, self.smooth = schema, smooth
        self.least_scores = np.broadcast_to(np.asarray(least_scores, np.float64), schema.num_classes)
        self._tracks: list[_Track] = []
        self._count = 0

    def update(self, detections: Sequence[Detection], seconds: float) -> tuple[list[Detection], list[int]]:
        """Takes a frame's detections; gives those that are objects, in the same order, and the track number of each, from 1.

        Args:
            detections: of one frame, any number.
            seconds: time of the frame, rising from call to call by any steps.
        """
        for track in self._tracks:
            track.motion.predict(seconds)
        # Whoever was waited for long enough by the frame before is forgotten, also if there is no frame in between.
        self._tracks = [track for track in self._tracks if track.is_awaited()]
        good = [d.score >= self.least_scores[d.class_id] for d in detections]
        owners: dict[int, _Track] = {}
        self._continue(detections, [row for row, one in enumerate(good) if one], owners, lambda track: True, MOST)
        low = [row for row, d in enumerate(detections) if self._is_low(d)]
        self._continue(detections, low, owners, _is_known_and_fresh, MOST_LOW)
        rest = [row for row, one in enumerate(good) if one and row not in owners]
        self._continue(detections, rest, owners, lambda track: track.sightings > 1, MOST, where_seen=True)
        found = {id(track) for track in owners.values()}
        for track in self._tracks:
            track.missed = 0 if id(track) in found else track.missed + 1
        for row, one in enumerate(good):
            if one and row not in owners:
                owners[row] = self._begin(detections[row], seconds)
        rows = sorted(owners)
        kept = [owners[row].smoother.smooth(detections[row], seconds) if self.smooth else detections[row] for row in rows]
        return kept, [owners[row].number for row in rows]

    def _continue(
        self,
        detections: Sequence[Detection],
        rows: Sequence[int],
        owners: dict[int, _Track],
        may: Callable[[_Track], bool],
        most: float,
        where_seen: bool = False,
    ) -> None:
        """Gives some of the detections to tracked objects that have none yet, and moves these there."""
        taken = {id(track) for track in owners.values()}
        tracks = [track for track in self._tracks if id(track) not in taken and may(track)]
        motions, class_ids = [track.motion for track in tracks], [track.class_id for track in tracks]
        chosen = [detections[row] for row in rows]
        for which, column in assign(motions, class_ids, chosen, self.schema, most, where_seen):
            owners[rows[column]] = track = tracks[which]
            track.motion.correct(chosen[column])
            track.sightings += 1

    def _begin(self, detection: Detection, seconds: float) -> _Track:
        """A new tracked object."""
        self._count += 1
        self._tracks.append(_Track(self._count, detection.class_id, Motion.begin(detection, seconds), Smoother()))
        return self._tracks[-1]

    def _is_low(self, detection: Detection) -> bool:
        """Whether a detection's score makes it no object, but may continue a tracked one."""
        least = self.least_scores[detection.class_id]
        return FOLLOWED * least <= detection.score < least


def _is_known_and_fresh(track: _Track) -> bool:
    """Whether a detection with a low score may be this tracked object."""
    return track.sightings > 1 and (track.motion.unseen <= FRESH or track.missed == 0)
