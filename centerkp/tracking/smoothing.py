"""Places that do not tremble from frame to frame: a low-pass filter that lets through what moves."""

import math
from dataclasses import replace

import numpy as np

from centerkp.results import Detection

CALM_CUTOFF = 1.0  # Hz, for what stands still
OPENING = 2.0  # Hz by which the cutoff rises for every box side per second that a point moves
SPEED_CUTOFF = 2.0  # Hz, of the speeds themselves


class Smoother:
    """Smooths box and keypoints of one tracked object over time, with the One Euro filter (Casiez, Roussel and Vogel 2012).

    Each corner and each point has a filter of its own, whose cutoff rises with its speed. Two things differ from the paper's:
    speeds count in box sides, so that it is the same for large and small objects, and the smoothed place moves on with the
    smoothed speed before it is corrected, without which what moves steadily would lag by its speed over 2 pi times the cutoff.
    Times are seconds, so that frame rates and gaps do not matter. A point that stands still stays where it is exactly.
    """

    def __init__(self) -> None:
        self._places: np.ndarray | None = None  # (2 + n, 2) corners and points, smoothed
        self._found: np.ndarray | None = None  # the same as they were found last
        self._speeds: np.ndarray | None = None  # (2 + n, 2) pixels per second, smoothed
        self._seconds = 0.0

    def smooth(self, detection: Detection, seconds: float) -> Detection:
        """The detection of a tracked object with its box and keypoints smoothed; scores and deviations are as found.

        Args:
            seconds: time of the frame, rising from call to call.
        """
        corners = np.asarray(detection.box_xyxy, np.float64).reshape(2, 2)
        found = np.concatenate([corners, np.asarray(detection.keypoints_xy, np.float64).reshape(-1, 2)])
        if self._places is None:
            self._places, self._speeds = found, np.zeros_like(found)
        elif (passed := seconds - self._seconds) > 0:
            side = math.sqrt(max(float((corners[1] - corners[0]).prod()), 1.0))
            speeds = (found - self._found) / passed
            self._speeds = self._speeds + _weight(SPEED_CUTOFF, passed) * (speeds - self._speeds)
            cutoff = CALM_CUTOFF + OPENING * np.linalg.norm(self._speeds, axis=1, keepdims=True) / side
            expected = self._places + self._speeds * passed
            self._places = expected + _weight(cutoff, passed) * (found - expected)
        self._found, self._seconds = found, seconds
        box, points = self._places[:2].ravel().astype(np.float32), self._places[2:].astype(np.float32)
        return replace(detection, box_xyxy=box, keypoints_xy=points)


def _weight(cutoff: float | np.ndarray, passed: float) -> float | np.ndarray:
    """The newest value's weight in a first-order low-pass filter of so many Hz, `passed` seconds after the last one."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff * passed))
