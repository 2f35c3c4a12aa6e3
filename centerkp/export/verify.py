"""An exported artefact compared with the Keras model it was made from: objects, size, speed."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from centerkp.export.accuracy import Accuracy, accuracy_table
from centerkp.images.reading import letterbox_image
from centerkp.inference.detector import Detector
from centerkp.model.center_net import CenterNet
from centerkp.results import to_source
from centerkp.schema import Schema

MIN_SCORE = 0.1  # of the objects that are compared
FEW_OBJECTS = 5  # with fewer of that score in all images, the best of each image are compared, whatever their score
BEST_OBJECTS = 10


@dataclass(frozen=True)
class Tolerance:
    """How far an artefact may be from Keras in float32.

    An object's corners and keypoints may differ by `pixels` and a `share` of the longer side of its box, its score by `score`.
    `outliers` is the share of objects and keypoints that may differ by more or be missing: a peak that is as high as its
    neighbour falls to the one or the other by the last digit.
    """

    pixels: float
    share: float
    score: float
    outliers: float


TOLERANCES = {
    "fp32": Tolerance(0.1, 0.001, 0.002, 0.01),
    "fp16": Tolerance(1.0, 0.01, 0.02, 0.03),
    "bf16": Tolerance(2.0, 0.04, 0.06, 0.1),
    "int8": Tolerance(4.0, 0.08, 0.15, 0.2),
}
# Images letterboxed inside the artefact differ by a grey level here and there, since kernels round differently.
LETTERBOX = Tolerance(0.5, 0.01, 0.01, 0.02)


@dataclass
class Differences:
    """What was compared, object by object: pixels, and `excess`, by how many times the tolerance was used up.

    `unmatched` counts objects of one side with `MIN_SCORE` that have no partner of their class at the other side.
    """

    objects: int = 0
    unmatched: int = 0
    boxes: list[float] = field(default_factory=list)
    keypoints: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    over: dict[str, int] = field(default_factory=lambda: {"boxes": 0, "keypoints": 0, "scores": 0})

    def failures(self, tolerance: Tolerance) -> list[str]:
        """One line for each kind of difference between artefact and Keras that is over the tolerance."""
        lines = []
        for name, count, total in (
            ("objects without a partner", self.unmatched, self.objects),
            *((f"{kind} that differ", self.over[kind], len(getattr(self, kind))) for kind in self.over),
        ):
            if count > tolerance.outliers * total:
                lines.append(f"{name}: {count} of {total}, allowed {tolerance.outliers:.0%}")
        if not all(np.isfinite(v) for kind in self.over for v in getattr(self, kind)):
            lines.append("a number that is not finite")
        return lines

    def to_dict(self) -> dict:
        """Numbers of objects compared, and for boxes, keypoints and scores the median and the largest difference."""
        found: dict[str, Any] = {"objects": self.objects, "unmatched": self.unmatched}
        for kind in self.over:
            values = getattr(self, kind)
            summary = {"median": float(np.median(values)), "largest": float(np.max(values))} if values else {}
            found[kind] = {"count": len(values), **summary, "over": self.over[kind]}
        return found


@dataclass(frozen=True)
class Verification:
    """What `verify` found. `failures` is empty when the artefact may be used.

    `latency`, `keras_latency`: median seconds for one image of the network's input size, in turns in the same run.
    """

    images: int
    canvas: Differences
    whole: Differences | None
    failures: list[str]
    latency: float
    keras_latency: float
    size: int
    tolerance: Tolerance

    def to_dict(self) -> dict:
        """What the comparison of an artefact with Keras found, as JSON can hold it."""
        return {
            "passed": not self.failures,
            "failures": self.failures,
            "images": self.images,
            "tolerance": asdict(self.tolerance),
            "differences": self.canvas.to_dict(),
            "differences_letterboxed_inside": self.whole and self.whole.to_dict(),
            "bytes": self.size,
            "latency_seconds": self.latency,
            "keras_latency_seconds": self.keras_latency,
            "speed_relative_to_keras": self.keras_latency / self.latency,
        }


def verify(detector: Any, model: CenterNet, images: Sequence[np.ndarray], precision: str, rounds: int = 7) -> Verification:
    """Runs an artefact and the model it was made from on the same images and compares what they find.

    Args:
        detector: the artefact's runner, see `artefact.ArtefactDetector`.
        model: the `CenterNet`, in float32.
        images: (H, W, 3) uint8 RGB, of any sizes.
        rounds: runs of each for the latency; fewer when they take long.
    """
    boxed = [letterbox_image(image, model.image_size) for image in images]
    inputs = [{"image": c[None], "valid_size": np.array([v], np.float32)} for c, _, v in boxed]
    expected = [first_row(model.predict_on_batch(one)) for one in inputs]
    tolerance = TOLERANCES[precision]
    canvas = compare(expected, _run_canvases(detector, inputs), model.schema, tolerance)
    failures = [f"canvas: {line}" for line in canvas.failures(tolerance)]
    whole = None
    if detector.takes_any_size:
        wide = Tolerance(*(a + b for a, b in zip(asdict(tolerance).values(), asdict(LETTERBOX).values(), strict=True)))
        found = [first_row(detector.run_images(image[None])) for image in images]
        back = [to_source(objects, affine) for objects, (_, affine, _) in zip(expected, boxed, strict=True)]
        scales = [1 / affine[0, 0] for _, affine, _ in boxed]
        whole = compare(back, found, model.schema, wide, scales)
        failures += [f"letterboxed inside: {line}" for line in whole.failures(wide)]
    seconds, keras_seconds = _time_in_turns(detector, model, inputs[0], rounds)
    size_on_disk = measure_size(detector.path)
    return Verification(len(images), canvas, whole, failures, seconds, keras_seconds, size_on_disk, tolerance)


def first_row(found: Mapping) -> dict[str, np.ndarray]:
    """The first image's objects of a batch that an artefact or the model returned."""
    return {name: np.asarray(values)[0] for name, values in found.items()}


def _run_canvases(detector: Detector, inputs: list[dict]) -> list[dict[str, np.ndarray]]:
    """What the artefact finds: two images together, so that a batch that mixes them up is noticed, the others alone."""
    together = inputs[:2]
    joined = {name: np.concatenate([one[name] for one in together]) for name in together[0]}
    found = {name: np.asarray(values) for name, values in detector.predict_on_batch(joined).items()}
    pair = [{name: values[i] for name, values in found.items()} for i in range(len(together))]
    return pair + [first_row(detector.predict_on_batch(one)) for one in inputs[2:]]


def compare(
    expected: Sequence[Mapping[str, np.ndarray]],
    found: Sequence[Mapping[str, np.ndarray]],
    schema: Schema,
    tolerance: Tolerance,
    scales: Sequence[float] | None = None,
) -> Differences:
    """Differences between the artefact's objects and Keras's by image; partners are the nearest boxes of a class.

    Args:
        expected, found: per image boxes (M, 4), scores (M,), class_ids (M,) and with keypoints keypoints (M, K, 2).
        scales: per image the pixels that count as one pixel of the tolerance; 1 by default.
    """
    enough = sum(int((e["scores"] >= MIN_SCORE).sum()) for e in expected) >= FEW_OBJECTS
    total = Differences()
    for i, (e, f) in enumerate(zip(expected, found, strict=True)):
        rows = np.flatnonzero(e["scores"] >= MIN_SCORE) if enough else np.flatnonzero(e["scores"] > 0)[:BEST_OBJECTS]
        pairs = _match_objects(e, f, rows)
        total.objects += len(rows)
        # A score a little below the limit at one side is no object lost, so partners may have any score.
        total.unmatched += _count_lost(e, f, rows, pairs, tolerance)
        sure = np.flatnonzero(f["scores"] >= MIN_SCORE + tolerance.score) if enough else np.zeros(0, int)
        total.unmatched += _count_lost(f, e, sure, _match_objects(f, e, sure), tolerance)
        for a, b in pairs:
            _add_pair(total, e, f, a, b, schema, tolerance, scales[i] if scales else 1.0)
    return total


def _add_pair(
    total: Differences,
    e: Mapping[str, np.ndarray],
    f: Mapping[str, np.ndarray],
    a: int,
    b: int,
    schema: Schema,
    tolerance: Tolerance,
    scale: float,
) -> None:
    """Adds how far two partners, an object of Keras and one of the artefact, are apart."""
    box = e["boxes"][a]
    allowed = tolerance.pixels * scale + tolerance.share * max(box[2] - box[0], box[3] - box[1])
    values = {"boxes": [float(np.abs(box - f["boxes"][b]).max())], "scores": [float(abs(e["scores"][a] - f["scores"][b]))]}
    own = schema.keypoint_slice(int(e["class_ids"][a]))
    if own.stop > own.start:
        values["keypoints"] = np.linalg.norm(e["keypoints"][a, own] - f["keypoints"][b, own], axis=-1).tolist()
    for kind, numbers in values.items():
        getattr(total, kind).extend(numbers)
        total.over[kind] += sum(not v <= (tolerance.score if kind == "scores" else allowed) for v in numbers)


def _count_lost(one: Mapping, other: Mapping, rows: np.ndarray, pairs: list, tolerance: Tolerance) -> int:
    """Objects without a partner, but for those behind the end of the other's list, which is full in crowded images."""
    end = other["scores"].min()
    limit = end + tolerance.score if end > 0 else 0.0
    matched = {a for a, _ in pairs}
    return sum(bool(one["scores"][row] >= limit) for row in rows if int(row) not in matched)


def _match_objects(one: Mapping, other: Mapping, rows: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of Keras's and the artefact's objects: best first, each takes the free one of its class nearest by corners."""
    free = other["scores"] > 0
    pairs = []
    for row in rows:
        box = one["boxes"][row]
        distance = np.abs(other["boxes"] - box).max(axis=1)
        distance[~free | (other["class_ids"] != one["class_ids"][row])] = np.inf
        nearest = int(np.argmin(distance))
        # Further than half its own side it is another object.
        if distance[nearest] <= max(box[2] - box[0], box[3] - box[1], 8.0) / 2:
            free[nearest] = False
            pairs.append((int(row), nearest))
    return pairs


def _time_in_turns(detector: Detector, model: CenterNet, one: dict, rounds: int, limit: float = 30.0) -> tuple[float, float]:
    """Median seconds of artefact and Keras model, in turns so that whatever else the machine does hits both alike."""
    seconds: tuple[list, list] = ([], [])
    for runner in (detector, model):
        runner.predict_on_batch(one)
    started = time.monotonic()
    while len(seconds[0]) < rounds and (len(seconds[0]) < 3 or time.monotonic() - started < limit):
        for runner, kept in zip((detector, model), seconds, strict=True):
            start = time.perf_counter()
            runner.predict_on_batch(one)
            kept.append(time.perf_counter() - start)
    return median(seconds[0]), median(seconds[1])


def measure_size(path: Path) -> int:
    """Bytes of an exported artefact: a folder with all in it, or a file with those of the same name and another ending."""
    files = path.rglob("*") if path.is_dir() else path.parent.glob(f"{path.stem}.*")
    return sum(file.stat().st_size for file in files if file.is_file() and file.suffix != ".json")


def differences_table(verification: Verification) -> Table:
    """The differences between artefact and Keras as a table for the terminal."""
    t = verification.tolerance
    table = Table("", "count", "median", "largest", "over", title="Differences from Keras float32", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for heading, found in (("letterboxed before", verification.canvas), ("letterboxed inside", verification.whole)):
        if found is None:
            continue
        if verification.whole:
            table.add_row(heading, style="bold")
        table.add_row("objects without a partner", str(found.objects), "", "", str(found.unmatched))
        for kind, label in (("boxes", "box corners, pixels"), ("keypoints", "keypoints, pixels"), ("scores", "scores")):
            values = getattr(found, kind)
            if values:
                numbers = f"{np.median(values):.4f}", f"{np.max(values):.4f}"
                table.add_row(label, str(len(values)), *numbers, str(found.over[kind]))
        table.add_section()
    table.caption = (
        f"over: more than {t.pixels:g} pixels + {t.share:.1%} of the object, {t.score:g} in score; allowed for {t.outliers:.0%}"
    )
    return table


def print_comparison(v: Verification, accuracy: Accuracy | None, name: str, console: Console) -> None:
    """An artefact, called `name`, beside the Keras model: differences, size, speed and what was measured of its accuracy."""
    console.print(differences_table(v))
    console.print(
        f"{name}: {v.size / 1e6:.1f} MB, {1000 * v.latency:.1f} ms an image; Keras float32: "
        f"{1000 * v.keras_latency:.1f} ms ({v.keras_latency / v.latency:.2f}x)",
    )
    if accuracy:
        console.print(accuracy_table(accuracy))
