"""Tools, tubes, plates and other rigid or jointed things as figures.

Each function takes the random numbers of a breed, which fix proportions and parts, and those of an instance.
"""

from itertools import pairwise

import numpy as np

from centerkp.demo.figures import HOLE, TONES, Figure, direction, faced, limb, oval, vary
from centerkp.demo.shapes import bezier, circle, ribbon


def draw_tongs(genome: np.random.Generator, rng: np.random.Generator) -> Figure:
    """A utensil with two crossed arms around a pivot: points at both handles, the pivot and both jaws."""
    jaw, handle = vary(rng, genome.uniform(0.25, 0.5)), vary(rng, genome.uniform(0.4, 0.6))
    thick, bow, rings = genome.uniform(0.04, 0.09), genome.uniform(0.0, 0.15), bool(genome.integers(0, 2))
    angle = rng.uniform(4, 35)
    arms, ends = [], {}
    for hand in (-1, 1):  # the arm whose jaw is on this side
        tip = jaw * direction(-90 + hand * angle)
        end = handle * direction(90 + hand * angle)
        bent = end / 2 + (-hand * bow, 0)
        arms += [
            (limb((0, 0), tip, thick, thick * 0.3), 0),
            (ribbon(bezier(np.array([(0, 0), bent, end]), 10), np.full(10, thick / 2)), 1),
        ]
        if rings:
            arms += [(oval(end, 0.2, 0.15, end), 1), (oval(end, 0.12, 0.08, end), HOLE)]
        ends[hand] = tip, end
    if rng.random() < 0.5:
        arms = arms[len(arms) // 2 :] + arms[: len(arms) // 2]
    parts = [*arms, (oval((0, 0), thick * 1.3, thick * 1.3), 0), (oval((0, 0), thick * 0.5, thick * 0.5), 3)]
    return Figure(parts, np.array([ends[1][1], ends[-1][1], (0, 0), ends[-1][0], ends[1][0]]))


def draw_compass(genome: np.random.Generator, rng: np.random.Generator) -> Figure:
    """A pair of compasses: two legs that spread from an apex."""
    angle, thick, bow = rng.uniform(6, 40), genome.uniform(0.04, 0.08), genome.uniform(-0.1, 0.15)
    parts, tips = [], []
    for hand in (-1, 1):
        tip = direction(90 - hand * angle)
        line = bezier(np.array([(0, 0), tip / 2 + (hand * bow, 0), tip]), 12)
        parts.append((ribbon(line, np.linspace(thick / 2, thick / 5, 12)), 0))
        tips.append(tip)
    return Figure([*parts, (oval((0, -0.01), 0.14, 0.1), 1)], np.array([(0, 0), *tips]))


def draw_rod(genome: np.random.Generator, rng: np.random.Generator) -> Figure:
    """A turned tool or tube: sections of their own widths and colours along an axis; points at both ends and the borders."""
    count = 3
    lengths = genome.uniform(0.6, 2.5, count) * np.exp(rng.normal(0, 0.15, count))
    lengths /= lengths.sum()
    widths = genome.uniform(0.05, 0.34, (count, 2)) * np.exp(rng.normal(0, 0.12))
    tones = genome.permutation(TONES)[np.arange(count) % TONES]
    borders = np.concatenate([[0], np.cumsum(lengths)]) - 0.5
    parts = []
    for (y0, y1), (w0, w1), tone in zip(pairwise(borders), widths, tones, strict=True):
        parts.append((np.array([(-w0 / 2, y0), (w0 / 2, y0), (w1 / 2, y1), (-w1 / 2, y1)]), int(tone)))
    return Figure(parts, np.stack([np.zeros(count + 1), borders], 1))


def draw_chain(genome: np.random.Generator, rng: np.random.Generator) -> Figure:
    """A jointed utensil: a base and links that turn against each other, with a point at every joint."""
    count = 4
    lengths, thick = genome.uniform(0.6, 1.2, count), genome.uniform(0.1, 0.22)
    angle, points = -90 + rng.normal(0, 25), [np.zeros(2)]
    for length in lengths:
        points.append(points[-1] + length / count * direction(angle))
        angle += rng.uniform(-75, 75)
    widths = np.linspace(thick, thick * genome.uniform(0.3, 0.8), count + 1)
    parts = [(oval((0, 0.02), thick * 1.4, thick * 2.2), 3)]
    for number, (a, b) in enumerate(pairwise(points)):
        parts.append((limb(a, b, widths[number] * 0.8, widths[number + 1] * 0.8), number % 2))
    parts += [(oval(p, w * 0.75, w * 0.75), 2) for p, w in zip(points[1:-1], widths[1:-1], strict=True)]
    return Figure(parts, np.array(points))


def draw_card(genome: np.random.Generator, rng: np.random.Generator) -> Figure:
    """A card, a flat thing with four corners in perspective; what is printed on it says which corner is which."""
    shape = genome.uniform(0.5, 1.0)
    corners = np.array([(-shape, -1), (shape, -1), (shape, 1), (-shape, 1)]) / 2 + rng.normal(0, 0.05, (4, 2))

    def at(x: float, y: float) -> np.ndarray:
        top, bottom = corners[0] + x * (corners[1] - corners[0]), corners[3] + x * (corners[2] - corners[3])
        return top + y * (bottom - top)

    parts = [(corners, 0)]
    for number in range(int(genome.integers(2, 4))):
        x, y = genome.uniform(0.05, 0.5, 2)
        w, h = genome.uniform(0.15, 0.45, 2)
        parts.append((np.array([at(x, y), at(x + w, y), at(x + w, y + h), at(x, y + h)]), 1 + number % 3))
    return Figure(parts, corners)


def draw_plate(genome: np.random.Generator, rng: np.random.Generator) -> Figure:
    """A plate, cut sheet or leaf: an outline with unequal tips, a point at each, and perhaps a hole with one in its middle."""
    count = int(genome.integers(3, 7))
    angles = (np.arange(count) + genome.uniform(-0.3, 0.3, count)) / count * 360 + rng.normal(0, 3, count)
    reach = genome.uniform(0.28, 0.6, count) * np.exp(rng.normal(0, 0.08, count))
    waist, round_ = genome.uniform(0.35, 0.9), bool(genome.integers(0, 2))
    tips = reach[:, None] * np.stack([np.cos(np.radians(angles)), np.sin(np.radians(angles))], 1)
    outline = []
    for tip, after in zip(tips, np.roll(tips, -1, 0), strict=True):
        dent = (tip + after) / 2 * waist
        outline.append(bezier([tip, dent, dent, after], 9)[:-1] if round_ else np.array([tip, dent]))
    parts, points = [(np.concatenate(outline), 0)], [*tips]
    if genome.random() < 0.6:
        center = genome.uniform(-0.08, 0.08, 2)
        parts.append((center + circle(genome.uniform(0.05, 0.1), 20), HOLE if genome.random() < 0.5 else 1))
        points.append(center)
    return faced(Figure(parts, np.array(points)), rng)


def draw_hand(genome: np.random.Generator, rng: np.random.Generator) -> Figure:
    """A fork- or hand-like utensil: fingers, prongs or petals of unequal lengths that fan out of a palm on a stem."""
    count = 4
    lengths = genome.uniform(0.25, 0.5, count) * np.exp(rng.normal(0, 0.08, count))
    spread, thick = genome.uniform(60, 150) * rng.uniform(0.75, 1.2), genome.uniform(0.06, 0.11)
    palm = genome.uniform(0.2, 0.32)
    parts, tips = [(limb((0, 0.0), (0, 0.5), palm * 0.6, palm * 0.5), 1)], []
    for angle, length in zip(np.linspace(-spread / 2, spread / 2, count) - 90, lengths, strict=True):
        along = direction(angle + rng.normal(0, 5))
        tips.append(along * (palm * 0.4 + length))
        parts += [(limb(along * palm * 0.25, tips[-1], thick, thick * 0.75), 0)]
        parts += [(oval(tips[-1], thick * 0.7, thick * 0.5, along), 2)]
    parts.append((oval((0, 0), palm, palm * 1.1), 0))
    return faced(Figure(parts, np.array([(0, 0.5), (0, 0), *tips])), rng)


def draw_box(genome: np.random.Generator, rng: np.random.Generator) -> Figure:
    """A rigid block seen from a corner: three faces, a point at each of the seven corners in sight."""
    sides = np.exp(genome.uniform(-0.5, 0.5, 3)) * np.exp(rng.normal(0, 0.12, 3)) * 0.45
    axes = np.array([direction(20 + rng.normal(0, 12)), direction(160 + rng.normal(0, 12)), (0.0, 1.0)]) * sides[:, None]
    right, left, down = axes[0] * (1, -1), axes[1] * (1, -1), axes[2]  # from the corner that is nearest
    near, far = np.zeros(2), right + left
    faces = [(near, right, right + down, down), (near, left, left + down, down), (near, right, far, left)]
    parts = [(np.array(face), tone) for tone, face in enumerate(faces)]
    corners = np.array([near, right, far, left, down, right + down, left + down])
    return Figure(parts, corners, turn=60)
