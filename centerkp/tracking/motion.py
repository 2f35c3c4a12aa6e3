"""Where a tracked object will be: a Kalman filter whose noise is in sides of the object's box and whose time is in seconds."""

from dataclasses import dataclass

import numpy as np

from centerkp.results import Detection

NOISE = 0.03  # standard deviation of a found center, in box sides
AGILITY = 6.0  # spectral density of accelerations, in squared box sides per second cubed
FIRST_SPEED = 1.5  # standard deviation of the speed of an object that has been seen once, in box sides per second
NEWNESS = 0.5  # weight of the newest size, and of the newest places of the points about the center


@dataclass(eq=False)
class Motion:
    """A tracked object's place, speed and shape, and how sure they are.

    The center moves with a constant velocity that white noise disturbs (SORT, Bewley et al. 2016), x and y alike, so that one
    2 x 2 covariance serves both; frames may be any time apart. Width, height and the points about the center are not
    extrapolated: what turns or comes closer does not go on so.

    Attributes:
        seconds: the time that everything holds for.
        center, velocity: (2,) in pixels, and pixels per second.
        sides: (2,) width and height.
        points: (n, 2) keypoints, from the center.
        last_center: (2,) where it was really found last, at `seen` seconds.
        variances: of place, of both, of speed; in box sides and seconds.
    """

    seconds: float
    center: np.ndarray
    velocity: np.ndarray
    sides: np.ndarray
    points: np.ndarray
    last_center: np.ndarray
    seen: float
    variances: tuple[float, float, float]

    @classmethod
    def begin(cls, detection: Detection, seconds: float) -> "Motion":
        """The motion of an object that a track begins with: it stands, as far as anybody knows."""
        center, sides, points = measure(detection)
        first = (NOISE**2, 0.0, FIRST_SPEED**2)
        return cls(seconds, center, np.zeros(2), sides, points, center, seconds, first)

    @property
    def unseen(self) -> float:
        """Seconds since the tracked object was found last."""
        return self.seconds - self.seen

    def predict(self, seconds: float) -> None:
        """Moves a track on to another time, at which it gets less sure."""
        passed = seconds - self.seconds
        place, both, speed = self.variances
        self.variances = (
            place + 2 * passed * both + passed**2 * speed + AGILITY * passed**3 / 3,
            both + passed * speed + AGILITY * passed**2 / 2,
            speed + AGILITY * passed,
        )
        self.center, self.seconds = self.center + self.velocity * passed, seconds

    def correct(self, detection: Detection) -> None:
        """Takes up where a tracked object was found, at the time that was predicted."""
        center, sides, points = measure(detection)
        place, both, speed = self.variances
        gain, gain_of_speed = place / (place + NOISE**2), both / (place + NOISE**2)
        error = center - self.center
        self.center, self.velocity = self.center + gain * error, self.velocity + gain_of_speed * error
        self.variances = ((1 - gain) * place, (1 - gain) * both, speed - gain_of_speed * both)
        self.sides = self.sides + NEWNESS * (sides - self.sides)
        self.points = self.points + NEWNESS * (points - self.points)
        self.last_center, self.seen = center, self.seconds


def measure(detection: Detection) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What tracking compares of a detection: center (2,), sides (2,) of 1 pixel or more, and points (n, 2) from the center."""
    box = np.asarray(detection.box_xyxy, np.float64)
    center = (box[:2] + box[2:]) / 2
    return center, np.maximum(box[2:] - box[:2], 1.0), np.asarray(detection.keypoints_xy, np.float64).reshape(-1, 2) - center
