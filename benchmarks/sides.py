"""How often the places of keypoints show the right thing about their sides, by the number of pictures.

    python benchmarks/sides.py [--trials 200] [FOLDER/train.json ...]

Draws objects with nameless points (p1, p2, ...), one a picture, and asks `centerkp.symmetry` as training does. COCO files that
are given are asked, too, their names replaced, in random parts of so many pictures. Writes `benchmarks/SIDES.md`.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from page import paragraph, seconds_text, table

from centerkp.demo.kinds import KINDS, Kind
from centerkp.demo.shapes import DEMO_SCHEMA, SKETCHES
from centerkp.geometry import apply_to_points, rotation
from centerkp.schema import ObjectClass, Schema
from centerkp.symmetry.verdict import settle_sides

# Kinds of the pictures without end: pairs of those that have sides, () for those that occur with their mirror images.
KIND_PAIRS = {
    "above": ((1, 2),),
    "person": ((3, 7), (4, 8), (5, 9), (6, 10)),
    "tongs": ((0, 1), (3, 4)),
    "compass": ((1, 2),),
} | dict.fromkeys(("beside", "bird", "rod", "chain", "snake", "plate", "hand"), ())
# Of public sets, by class: None where all objects face one way.
FILE_PAIRS = {"mouse_bottom_view": ((0, 3), (1, 2)), "mouse": ((1, 2),), "mouse_side_view": None}
COUNTS, PAGE = (10, 30, 100), Path(__file__).with_name("SIDES.md")
NOISE, HIDDEN = 0.015, 0.1  # of the object's size; share of points that are not labelled
Draw = Callable[[np.random.Generator], np.ndarray]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("files", nargs="*", type=Path, help="COCO files to ask, too")
    parser.add_argument("--trials", type=int, default=200)
    options = parser.parse_args(arguments)
    lines, seconds = [], []
    for name, truth, pairs, draw in list_cases():
        cells = []
        for count in COUNTS:
            streams = [np.random.default_rng((count, trial)) for trial in range(options.trials)]
            answers = [ask(*draw_objects(draw, count, rng), pairs) for rng in streams]
            cells.append(describe(Counter(answer for answer, _ in answers)))
            seconds += [duration for _, duration in answers]
        lines.append((name, truth, *cells))
        print(*lines[-1], sep=" | ", flush=True)
    for path in options.files:
        lines += list(ask_file(path, max(options.trials // 10, 1)))
    write_page(lines, options.trials, float(np.median(seconds)))
    return 0


def list_cases() -> list[tuple[str, str, tuple[tuple[int, int], ...], Draw]]:
    """The drawn cases: name, what is right, the pairs that swap, and a function that draws one object's points (k, 2)."""
    plate = np.array([(-2, -1), (2, -1), (2, 1), (-2, 1)], float)
    pliers = DEMO_SCHEMA.classes[0].flip_pairs
    cases = [
        ("plate, corners, upright", "swap", ((0, 1), (2, 3)), lambda rng: turn(vary(plate, rng), rng, 12)),
        ("bar, two ends, upright", "swap", ((0, 1),), lambda rng: turn(plate[:2], rng, 20)),
        ("pliers of the demonstration", "swap", pliers, lambda rng: turn(SKETCHES[0](rng).keypoints_xy, rng, 60)),
    ]
    for number, limit in ((1, 180), (4, 180), (8, 20), (20, 180)):
        what = "turned freely" if limit == 180 else "upright"
        shape, pairs = make_symmetric(number)
        draw = lambda rng, shape=shape, limit=limit: turn(vary(shape, rng), rng, limit)  # noqa: E731
        cases.append((f"symmetric, {len(shape)} points, {what}", "swap", pairs, draw))
        if number == 4:
            flipped = lambda rng, draw=draw: draw(rng) * (1, 1 if rng.random() < 0.5 else -1)  # noqa: E731
            cases.append(("the same, lying on either face", "mirror", (), flipped))
    odd = np.random.default_rng(5).normal(size=(7, 2)) * (2, 1)
    cases.append(("side view, 7 points, always facing left", "no mirror", (), lambda rng: turn(vary(odd, rng), rng, 15)))
    for share in (0.5, 0.8):
        sides = lambda rng, share=share: turn(vary(odd, rng) * (1 if rng.random() < share else -1, 1), rng, 15)  # noqa: E731
        cases.append((f"the same, {share:.0%} facing left", "mirror", (), sides))
    cases.append(("screwdriver of the demonstration", "mirror", (), lambda rng: turn(SKETCHES[1](rng).keypoints_xy, rng, 60)))
    cases.append(("rod, two ends, turned freely", "mirror", (), lambda rng: turn(plate[:2], rng, 180)))
    for kind in KINDS:
        if kind.name in KIND_PAIRS:
            pairs = KIND_PAIRS[kind.name]
            cases.append((f"{kind.name}, drawn without end", "swap" if pairs else "mirror", pairs, partial(draw_kind, kind)))
    return sorted(cases, key=lambda case: ("swap", "no mirror", "mirror").index(case[1]))


def draw_kind(kind: Kind, rng: np.random.Generator) -> np.ndarray:
    """The points of one of the kinds that are drawn without end, turned as far as it is there."""
    figure = kind.sketch(rng)
    return turn(figure.points, rng, figure.turn)


def make_symmetric(number: int) -> tuple[np.ndarray, tuple[tuple[int, int], ...]]:
    """A shape with so many pairs beside an axis and a third as many points on it, in random order; and its pairs."""
    rng = np.random.default_rng(number)
    left, middle = rng.uniform((0.3, -2), (1, 2), (number, 2)), max(number // 3, 2)
    axis = np.stack([np.zeros(middle), np.linspace(-2, 2, middle)], 1)
    order = rng.permutation(2 * number + middle)
    places = np.argsort(order)
    pairs = tuple(sorted(tuple(sorted((int(places[i]), int(places[number + i])))) for i in range(number)))
    return np.concatenate([left, left * (-1, 1), axis])[order], pairs


def vary(shape: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The shape seen at a slant and stretched a little."""
    return shape @ (np.eye(2) + rng.normal(0, 0.08, (2, 2))).T


def turn(shape: np.ndarray, rng: np.random.Generator, limit: float) -> np.ndarray:
    """The shape turned by up to so many degrees either way."""
    return apply_to_points(rotation(rng.uniform(-limit, limit)), shape)


def draw_objects(draw: Draw, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points (count, k, 2) of objects as people label them, and which are labelled (count, k)."""
    points = np.stack([draw(rng) for _ in range(count)])
    size = np.ptp(points, axis=1).max(1)[:, None, None]
    points = 100 * (points + NOISE * size * rng.normal(size=points.shape)) / size + 200
    return points, rng.random(points.shape[:2]) >= HIDDEN


def ask(points: np.ndarray, labelled: np.ndarray, pairs: tuple) -> tuple[str, float]:
    """What `settle_sides` makes of one class of nameless points, and the seconds it takes."""
    schema = Schema((ObjectClass("thing", 1, tuple(f"p{i + 1}" for i in range(points.shape[1]))),))
    count = len(points)
    labels = {
        "class_ids": np.zeros(count, int),
        "is_crowd": np.zeros(count, bool),
        "keypoints_xy": points,
        "visibility": labelled,
    }
    started = time.perf_counter()
    found, notes = settle_sides(schema, labels)
    seconds = time.perf_counter() - started
    if found.can_flip:
        return "mirrored", seconds
    wanted = ",".join(f"p{a + 1}:p{b + 1}" for a, b in pairs)
    remedy = notes[0].remedy
    if "LEFT:RIGHT" in remedy:
        return "not mirrored", seconds
    if "not sure" in remedy:
        return "pairs not all sure", seconds
    return "right pairs" if f"--flip-pairs {wanted};" in remedy else "other pairs", seconds


def ask_file(path: Path, trials: int) -> Iterator[tuple]:
    """Lines of the table for the classes of a COCO file, their names replaced, in random parts of it."""
    content = json.loads(path.read_text(encoding="utf-8"))
    for category in content["categories"]:
        own = [a for a in content["annotations"] if a["category_id"] == category["id"]]
        pairs = FILE_PAIRS.get(category["name"], ())
        truth = "no mirror" if pairs is None else "swap" if pairs else "mirror"
        vectors = np.array([a["keypoints"] for a in own], float).reshape(len(own), -1, 3)
        cells = []
        for count in COUNTS:
            answers: Counter = Counter()
            for trial in range(trials):
                rows = np.random.default_rng(trial).permutation(len(own))[:count]
                answers[ask(vectors[rows, :, :2], vectors[rows, :, 2] > 0, pairs or ())[0]] += 1
            cells.append(describe(answers))
        yield f"{path.parent.name}: {category['name']}", truth, *cells


def describe(answers: Counter) -> str:
    """How often which answer was given, the most frequent first."""
    total = answers.total()
    return ", ".join(f"{100 * count / total:.3g}% {answer}" for answer, count in answers.most_common())


def write_page(lines: list[tuple], trials: int, seconds: float) -> None:
    """The page with the table of all cases."""
    text = f"""Made by `python benchmarks/sides.py`. Objects with nameless points (p1, p2, ...), one in each picture, labelled
    with an error of {NOISE:.1%} of their size, {HIDDEN:.0%} of the points not labelled; {trials} draws of each case, a tenth of
    that for files: random parts of so many objects, or all there are. The second column says what is right: "swap", images may
    be mirrored only if certain pairs swap; "no mirror", there are no such pairs; "mirror", nothing swaps. Answers: "mirrored"
    without a swap, or not mirrored, with or without a proposal of pairs; "not all sure" are proposals that name points to be
    looked at. "Mirrored" under "swap" or "no mirror" would teach wrong labels; any other answer under "mirror" costs an
    augmentation. Wrong pairs harm only who confirms them: places alone never make anything swap. A verdict on a class took
    {seconds_text(seconds)} (median of all draws)."""
    header = ("objects", "right is", *(f"{count} pictures" for count in COUNTS))
    PAGE.write_text(f"# Sides of keypoints by their places\n\n{paragraph(text)}\n\n{table(header, lines)}\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
