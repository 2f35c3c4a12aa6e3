"""Clips with known identities: drawn tools that move, cross, are hidden, leave and come, and what a detector may give of them.

Every clip is a pure function of its kind and seed. The tools are those of the demonstration; where they lie and what covers
them is exact, and detections are that truth with planted noise, points far off, misses and false ones.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from centerkp.demo.shapes import DEMO_SCHEMA, SKETCHES, Sketch, render_silhouette
from centerkp.geometry import apply_to_points, compose, rotation, scaling, translation
from centerkp.results import Detection

SIZE = (640, 480)
COARSE = 4  # what is covered is counted on a map so many times smaller
MIN_INSIDE, MIN_SEEN = 0.5, 0.2  # shares of an object from which on it is one that should be found
SECONDS = 8.0


@dataclass(frozen=True, eq=False)
class Thing:
    """A tool on its way: `path` gives x, y in pixels and the turn in degrees at a time; it exists from `begin` to `end`."""

    number: int
    sketch: Sketch
    length: float
    path: Callable[[float], np.ndarray]
    begin: float = 0.0
    end: float = np.inf

    def affine(self, seconds: float) -> np.ndarray:
        x, y, turn = self.path(seconds)
        return compose(scaling(self.length, self.length), rotation(turn), translation(x, y))


@dataclass(frozen=True, eq=False)
class Shown:
    """The truth about one object in one frame: its number, class, box (4,) inside the picture, points (n, 2), share seen."""

    number: int
    class_id: int
    box_xyxy: np.ndarray
    keypoints_xy: np.ndarray
    seen: float


@dataclass(frozen=True, eq=False)
class Shot:
    """One frame: its time, its truth, and what a detector found."""

    seconds: float
    truth: list[Shown]
    found: list[Detection]


@dataclass(frozen=True)
class Kind:
    """How clips of a kind are: frames a second, objects, their speed in lengths a second, and what befalls them."""

    fps: float = 25.0
    count: tuple[int, int] = (3, 6)
    classes: int = 3
    speed: tuple[float, float] = (0.3, 1.5)
    turning: float = 0.3  # share of the speed by which the direction wanders
    spin: float = 40.0  # degrees a second at most
    bars: int = 0  # posts before the scene, behind which objects are hidden for a while
    coming: float = 0.0  # objects a second that come in at a border
    jitter: float = 0.0  # share of frames that are lost, as of a camera whose reader is busy
    shake: float = 0.0  # pixels by which the camera shakes
    misses: float = 0.03
    lapses: float = 0.1  # times a second that an object is not found for 0.2 to 0.8 seconds, as of blur
    false: float = 0.1  # false detections a frame
    noise: float = 0.02  # of corners and points, in box sides


KINDS = {
    "crossing": Kind(count=(5, 8), classes=2, speed=(0.8, 2.0)),
    "one class, crowded": Kind(count=(12, 16), classes=1, speed=(0.3, 1.2)),
    "hidden by posts": Kind(count=(5, 8), classes=1, bars=4, speed=(1.0, 2.5), turning=0.1),
    "coming and leaving": Kind(count=(1, 3), classes=2, coming=2.0, speed=(1.0, 2.5), turning=0.1),
    "sudden turns": Kind(count=(5, 8), classes=2, turning=2.0, speed=(0.8, 2.0), spin=120),
    "5 frames a second": Kind(fps=5, count=(4, 7), classes=2, speed=(0.4, 1.6)),
    "uneven times": Kind(count=(4, 7), classes=2, jitter=0.6, speed=(0.8, 2.5)),
    "shaking camera": Kind(count=(4, 7), classes=2, shake=6.0),
    "poor detector": Kind(count=(4, 7), classes=2, misses=0.2, lapses=0.3, false=0.8, noise=0.05),
    "fast": Kind(fps=12, classes=2, speed=(2.0, 4.5), coming=1.5, count=(1, 3), turning=0.15),
    "standing": Kind(count=(4, 7), classes=2, speed=(0.0, 0.02), turning=0.0, spin=0.5),
}


def make_clip(kind: str, seed: int, seconds: float = SECONDS) -> list[Shot]:
    """The frames of a clip, in order."""
    rules, rng = KINDS[kind], np.random.default_rng([list(KINDS).index(kind), seed])
    things, bars = _make_things(rules, rng, seconds), _make_bars(rules, rng)
    times = np.arange(0, seconds, 1 / rules.fps)
    times = times[(rng.random(len(times)) >= rules.jitter) | (times == 0)]
    shake = _wander(rng, len(times), rules.shake)
    flaws = _Flaws(rules, rng)
    shots = []
    for time, offset in zip(times, shake, strict=True):
        truth = show(things, bars, float(time), offset)
        shots.append(Shot(float(time), truth, flaws.detect(truth, float(time))))
    return shots


def show(things: list[Thing], bars: np.ndarray, seconds: float, offset: np.ndarray) -> list[Shown]:
    """The truth of a frame: later things lie over earlier ones, and bars over all."""
    width, height = (side // COARSE for side in SIZE)
    small = compose(scaling(1 / COARSE, 1 / COARSE))
    covered = np.zeros((height, width), bool)
    for x0, x1 in np.round(bars / COARSE).astype(int):
        covered[:, x0:x1] = True
    shown = []
    for thing in reversed(things):
        if not thing.begin <= seconds < thing.end:
            continue
        affine = compose(thing.affine(seconds), translation(*offset))
        outline = apply_to_points(affine, np.concatenate([o for part in thing.sketch.parts for o in part.outlines]))
        whole = np.concatenate([outline.min(0), outline.max(0)])
        box = np.clip(whole, 0, np.tile(SIZE, 2))
        if (box[2:] - box[:2]).prod() < MIN_INSIDE * (whole[2:] - whole[:2]).prod():
            continue
        mask = render_silhouette(thing.sketch, compose(affine, small), width, height)
        seen = (mask & ~covered).sum() / max(mask.sum(), 1)
        covered |= mask
        if seen >= MIN_SEEN:
            points = apply_to_points(affine, thing.sketch.keypoints_xy)
            shown.append(Shown(thing.number, thing.sketch.class_id, box, points, float(seen)))
    return shown[::-1]


def _make_things(rules: Kind, rng: np.random.Generator, seconds: float) -> list[Thing]:
    """Those that are there at the start, inside, and those that come in later from a border."""
    kinds = rng.permutation(3)[: rules.classes]
    starts = [None] * int(rng.integers(*rules.count, endpoint=True))
    starts += list(np.sort(rng.uniform(0, seconds, rng.poisson(rules.coming * seconds))))
    things = []
    for number, begin in enumerate(starts, 1):
        class_id = int(rng.choice(kinds))
        length = rng.uniform(50, 80) if class_id == 2 else rng.uniform(70, 150)
        sketch, speed = SKETCHES[class_id](rng), rng.uniform(*rules.speed) * length
        if begin is None:
            place, heading = rng.uniform((0.1, 0.1), (0.9, 0.9)) * SIZE, rng.uniform(0, 2 * np.pi)
        else:
            place, heading = _come_in(rng, length)
        path, end = _make_path(rules, rng, place, heading, speed, begin, seconds, length)
        things.append(Thing(number, sketch, length, path, begin or 0.0, end))
    return things


def _come_in(rng: np.random.Generator, length: float) -> tuple[np.ndarray, float]:
    """A place just outside the left or right border, and a heading into the picture."""
    left = rng.random() < 0.5
    place = np.array([-length / 2 if left else SIZE[0] + length / 2, rng.uniform(0.15, 0.85) * SIZE[1]])
    return place, rng.uniform(-0.4, 0.4) + (0 if left else np.pi)


def _make_path(
    rules: Kind,
    rng: np.random.Generator,
    place: np.ndarray,
    heading: float,
    speed: float,
    begin: float | None,
    seconds: float,
    length: float,
) -> tuple[Callable, float]:
    """A way through the picture; who was there from the start is turned back at borders, unless others come and go."""
    step, stays = 1 / 50, rules.coming == 0
    times = np.arange(begin or 0.0, seconds + step, step)
    ways, turn, spin = [], rng.uniform(-60, 60), rng.uniform(-rules.spin, rules.spin)
    velocity = speed * np.array([np.cos(heading), np.sin(heading)])
    for _ in times:
        ways.append((*place, turn))
        velocity = velocity + rng.normal(0, rules.turning * speed * np.sqrt(step), 2)
        velocity *= speed / max(np.linalg.norm(velocity), 1e-9) if rules.turning else 1.0
        place, turn = place + velocity * step, turn + spin * step
        if stays:
            out = ((place < 0.1 * np.array(SIZE)) & (velocity < 0)) | ((place > 0.9 * np.array(SIZE)) & (velocity > 0))
            velocity = np.where(out, -velocity, velocity)
    ways = np.array(ways)
    outside = np.any((ways[:, :2] < -2 * length) | (ways[:, :2] > np.array(SIZE) + 2 * length), axis=1)
    end = times[outside.argmax()] if outside.any() else np.inf
    return lambda at: np.array([np.interp(at, times, column) for column in ways.T]), float(end)


def _make_bars(rules: Kind, rng: np.random.Generator) -> np.ndarray:
    """(n, 2) left and right of upright posts."""
    places = (np.arange(rules.bars) + rng.uniform(0.3, 0.7, rules.bars)) * SIZE[0] / max(rules.bars, 1)
    return np.stack([places, places + rng.uniform(30, 60, rules.bars)], axis=1)


def _wander(rng: np.random.Generator, count: int, size: float) -> np.ndarray:
    """(count, 2) offsets that shake by about `size`, and keep near 0."""
    offsets, now = [], np.zeros(2)
    for _ in range(count):
        now = 0.6 * now + rng.normal(0, 0.8 * size, 2)
        offsets.append(now)
    return np.array(offsets)


class _Flaws:
    """What a detector makes of the truth."""

    def __init__(self, rules: Kind, rng: np.random.Generator):
        self.rules, self.rng = rules, rng
        # A thing in the background that now and then looks like an object.
        self.blind: dict[int, float] = {}  # until when an object is not found
        self.lure = (int(rng.integers(3)), rng.uniform((0.1, 0.1), (0.9, 0.9)) * SIZE, rng.uniform(40, 90))

    def detect(self, truth: list[Shown], seconds: float) -> list[Detection]:
        """The detections of a frame, best first; scores fall with what is hidden."""
        rng, rules, found = self.rng, self.rules, []
        for one in truth:
            if rng.random() < rules.lapses / rules.fps:
                self.blind[one.number] = seconds + rng.uniform(0.2, 0.8)
            if seconds < self.blind.get(one.number, 0) or rng.random() < rules.misses + 0.5 * max(0.6 - one.seen, 0):
                continue
            noise = rules.noise * (2 - one.seen) * np.sqrt((one.box_xyxy[2:] - one.box_xyxy[:2]).prod())
            box = one.box_xyxy + rng.normal(0, noise, 4)
            points = one.keypoints_xy + rng.normal(0, noise, one.keypoints_xy.shape)
            points[rng.random(len(points)) < 0.03] += rng.normal(0, 15 * noise, 2)
            score = np.clip(0.25 + 0.6 * one.seen + rng.normal(0, 0.12), 0.05, 0.99)
            found.append(self._describe(one.class_id, score, box, points))
        for _ in range(rng.poisson(rules.false)):
            place, side = rng.uniform((0, 0), SIZE), rng.uniform(30, 120)
            found.append(self._invent(int(rng.integers(3)), place, side))
        if rng.random() < rules.false:
            found.append(self._invent(*self.lure))
        return sorted(found, key=lambda d: -d.score)

    def _invent(self, class_id: int, place: np.ndarray, side: float) -> Detection:
        box = np.concatenate([place - side / 2, place + side / 2]) + self.rng.normal(0, 0.05 * side, 4)
        points = self.rng.uniform(box[:2], box[2:], (len(DEMO_SCHEMA.classes[class_id].keypoints), 2))
        return self._describe(class_id, self.rng.uniform(0.1, 0.6), box, points)

    @staticmethod
    def _describe(class_id: int, score: float, box: np.ndarray, points: np.ndarray) -> Detection:
        kind = DEMO_SCHEMA.classes[class_id]
        scores = np.full(len(points), 0.8, np.float32)
        return Detection(class_id, kind.name, kind.category_id, float(score), box, kind.keypoints, points, scores)
