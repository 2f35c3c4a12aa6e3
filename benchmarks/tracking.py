"""How well objects of videos keep their numbers, and how calm and how late smoothed points are, on clips with known identities.

    python benchmarks/tracking.py [--seeds 4]

Clips are drawn in `clips.py`: objects that cross, are hidden, leave and come, under several frame rates and a poor detector.
Compares `centerkp.tracking` with numbering by distance alone, and writes `benchmarks/TRACKING.md`. The constants of the tracker
were chosen on other seeds (from 100).
"""

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from clips import KINDS, Shot, make_clip
from identity import Seen, measure_identity
from page import paragraph, table
from scipy.optimize import linear_sum_assignment

from centerkp.demo.shapes import DEMO_SCHEMA
from centerkp.results import Detection
from centerkp.tracking.smoothing import Smoother
from centerkp.tracking.tracker import FOLLOWED, Tracker

PAGE = Path(__file__).with_name("TRACKING.md")
LEAST = 0.5  # score of an object
Numbered = tuple[list[Detection], list[int]]


class ByDistance:
    """What `infer --track` did until November 2026: the least sum of distances from where objects are expected, by frames."""

    def __init__(self, fps: float):
        self.fps, self.tracks, self.count = fps, [], 0

    def update(self, detections: Sequence[Detection], seconds: float) -> Numbered:
        index = round(seconds * self.fps)
        found = [d for d in detections if d.score >= LEAST]
        self.tracks = [track for track in self.tracks if index - track["seen"] <= 30]
        boxes = np.array([d.box_xyxy for d in found], float).reshape(-1, 4)
        centers, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, np.sqrt(np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(1), 1))
        costs = np.full((len(self.tracks), len(found)), 1e6)
        for row, track in enumerate(self.tracks):
            expected = track["center"] + track["velocity"] * (index - track["seen"])
            cost = np.linalg.norm(centers - expected, axis=1) / np.sqrt(track["side"] * sides)
            cost += np.abs(np.log(sides / track["side"])) / 2
            near = cost <= 0.8 + 0.05 * (index - track["seen"] - 1)
            may = near & np.array([d.class_id == track["class_id"] for d in found], bool)
            costs[row, may] = cost[may]
        numbers = [0] * len(found)
        for row, column in zip(*linear_sum_assignment(costs), strict=True):
            if costs[row, column] < 1e6:
                track = self.tracks[row]
                step = (centers[column] - track["center"]) / max(index - track["seen"], 1)
                track["velocity"] = 0.5 * step + 0.5 * track["velocity"] if track["moved"] else step
                track |= {"center": centers[column], "side": sides[column], "seen": index, "moved": True}
                numbers[column] = track["number"]
        for column, number in enumerate(numbers):
            if not number:
                self.count += 1
                numbers[column] = self.count
                fresh = {"number": self.count, "class_id": found[column].class_id, "velocity": np.zeros(2), "moved": False}
                self.tracks.append(fresh | {"center": centers[column], "side": sides[column], "seen": index})
        return found, numbers


TRACKERS: dict[str, Callable] = {
    "distance": lambda rules: ByDistance(rules.fps),
    "ours": lambda rules: Tracker(DEMO_SCHEMA, LEAST),
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--seeds", type=int, default=4)
    options = parser.parse_args(arguments)
    jobs = [(kind, seed) for kind in KINDS for seed in range(options.seeds)]
    with ProcessPoolExecutor() as pool:
        rows = list(pool.map(measure_clip, jobs))
    PAGE.write_text(format_page(rows, options.seeds), encoding="utf-8")
    return 0


def measure_clip(job: tuple[str, int]) -> dict:
    """The numbers of one clip: identity by tracker, seconds a frame, and what smoothing does."""
    kind, seed = job
    shots = make_clip(kind, seed)
    row: dict = {"kind": kind}
    for name, make in TRACKERS.items():
        tracker, began = make(KINDS[kind]), time.process_time()
        found = [tracker.update(give(shot), shot.seconds) for shot in shots]
        seconds = (time.process_time() - began) / len(shots)
        row[name] = measure_identity([see_truth(shot) for shot in shots], [see_found(*one) for one in found])
        row[name]["ms"] = 1000 * seconds
    row["smooth"] = measure_smoothing(shots, found)  # the last tracker's, which is ours
    return row


def give(shot: Shot) -> list[Detection]:
    return [d for d in shot.found if d.score >= FOLLOWED * LEAST]


def see_truth(shot: Shot) -> Seen:
    return _see([(t.number, t.class_id, t.box_xyxy) for t in shot.truth])


def see_found(found: Sequence[Detection], numbers: Sequence[int]) -> Seen:
    return _see([(number, d.class_id, d.box_xyxy) for d, number in zip(found, numbers, strict=True)])


def _see(rows: list[tuple]) -> Seen:
    numbers, class_ids, boxes = ([row[i] for row in rows] for i in range(3))
    return Seen(np.array(numbers, int), np.array(class_ids, int), np.array(boxes, float).reshape(-1, 4))


def measure_smoothing(shots: Sequence[Shot], found: Sequence[Numbered]) -> np.ndarray | None:
    """(2, 3): without and with smoothing the points' error, their trembling (the change of the error from frame to frame), both
    medians in box sides, and their lag in seconds: how far they lie behind, along their speed. None without enough objects.
    """
    smoothers: dict[int, Smoother] = defaultdict(Smoother)
    calm = [
        ([smoothers[n].smooth(d, shot.seconds) for d, n in zip(*one, strict=True)], one[1])
        for shot, one in zip(shots, found, strict=True)
    ]
    rows = [_measure_points(shots, one) for one in (found, calm)]
    return None if None in rows else np.array(rows)


def _measure_points(shots: Sequence[Shot], numbered: Sequence[Numbered]) -> tuple[float, float, float] | None:
    ways: dict = {}
    for shot, one in zip(shots, numbered, strict=True):
        for found, number in zip(*one, strict=True):
            near = [t for t in shot.truth if t.class_id == found.class_id and len(t.keypoints_xy)]
            near = [t for t in near if np.abs(t.box_xyxy - found.box_xyxy).mean() < 0.25 * _side(t)]
            if near:
                best = min(near, key=lambda t: np.abs(t.box_xyxy - found.box_xyxy).sum())
                ways.setdefault((number, best.number), []).append((shot.seconds, best, found))
    errors, trembling, behind, driven = [], [], 0.0, 0.0
    for way in (way for way in ways.values() if len(way) > 20):
        side = np.median([_side(t) for _, t, _ in way])
        truth = np.array([t.keypoints_xy for _, t, _ in way]) / side
        off = np.array([found.keypoints_xy for _, _, found in way]) / side - truth
        speed = np.gradient(truth, np.array([seconds for seconds, _, _ in way]), axis=0)
        errors.append(np.median(np.linalg.norm(off, axis=-1)))
        trembling.append(np.median(np.linalg.norm(np.diff(off, axis=0), axis=-1)))
        behind, driven = behind - (off * speed).sum(), driven + (speed**2).sum()
    return (float(np.mean(errors)), float(np.mean(trembling)), behind / driven) if errors else None


def _side(truth) -> float:
    return float(np.sqrt((truth.box_xyxy[2:] - truth.box_xyxy[:2]).prod()))


def format_page(rows: list[dict], seeds: int) -> str:
    lines, calm = [], []
    for kind in [*KINDS, "mean"]:
        own = [row for row in rows if kind in (row["kind"], "mean")]
        mean = {name: {key: np.mean([row[name][key] for row in own]) for key in own[0][name]} for name in TRACKERS}
        cells = [f"{mean[name]['switches']:.1f}" for name in TRACKERS]
        cells += [f"{mean[name][key]:.3f}" for key in ("IDF1", "HOTA") for name in TRACKERS]
        cells += [f"{mean['distance']['objects']:.0f}", *(f"{mean[name]['ids']:.0f}" for name in TRACKERS)]
        lines.append([kind, *cells, f"{mean['ours']['ms']:.2f}"])
        smooth = [row["smooth"] for row in own if row["smooth"] is not None]
        if smooth:
            raw, calmed = np.mean(smooth, axis=0)
            pairs = [f"{a:.3f} -> {b:.3f}" for a, b in zip(raw[:2], calmed[:2], strict=True)]
            calm.append([kind, *pairs, "" if kind in ("standing", "mean") else f"{1000 * (calmed[2] - raw[2]):.0f} ms"])
    intro = (
        f"Written by `python benchmarks/tracking.py --seeds {seeds}`: means over {seeds} drawn clips of 8 seconds of each "
        "kind, with planted noise, misses and false detections. `distance` is what `infer --track` did before, which joins "
        "what is nearest to where it is expected; `ours` is `centerkp.tracking`. `switches` counts how often an object had "
        "another number than before; IDF1 and HOTA, from 0 to 1, also count what was not found and what was found falsely. "
        "`ids` is how many numbers were given: of false detections each gets one. `ms` is processor time a frame."
    )
    header = ["kind", "switches: distance", "ours", "IDF1: distance", "ours", "HOTA: distance", "ours"]
    header += ["objects", "ids: distance", "ours", "ms"]
    smoothing = (
        "The points of tracked objects as found -> with `--smooth`, against the drawn ones: medians of their error and of its "
        "change from frame to frame, in box sides, and how much later they are, along their way."
    )
    text = f"# Numbers that objects of videos keep\n\n{paragraph(intro)}\n\n{table(header, lines)}\n\n## Smoothing\n\n"
    return text + f"{paragraph(smoothing)}\n\n{table(['kind', 'error', 'trembling', 'lag'], calm)}\n"


if __name__ == "__main__":
    sys.exit(main())
