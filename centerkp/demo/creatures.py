"""Animals and people as figures: seen from above, from the side and from the front.

Each function takes the random numbers of a breed, which fix proportions and limbs, and those of an instance. Left and right are
geometry: seen from above with the front ahead, left is the left hand side. Figures seen from the side face either way.
"""

import numpy as np

from centerkp.demo.figures import TONES, Figure, direction, faced, limb, oval, turned, vary
from centerkp.demo.shapes import bezier, ribbon


def draw_above(genome: np.random.Generator, rng: np.random.Generator) -> Figure:
    """An animal from above: nose, ears or antennae, tail, and as many pairs of legs as its breed has, without points."""
    long, wide = vary(rng, genome.uniform(0.45, 0.65)), vary(rng, genome.uniform(0.16, 0.36))
    head, tail = vary(rng, genome.uniform(0.13, 0.24)), vary(rng, genome.uniform(0.2, 0.7))
    pairs, ears, sprawl = int(genome.integers(0, 4)), bool(genome.integers(0, 2)), genome.uniform(0.1, 0.3)
    bend = rng.normal(0, 0.12)
    spine = bezier([(0, 0), (0, -long / 3), (bend, -2 * long / 3), (1.8 * bend, -long)], 16)
    share = np.linspace(0, 1, 16)
    body = ribbon(spine, wide / 2 * (0.35 + 0.65 * np.sin(np.pi * np.clip(share * 0.85 + 0.08, 0, 1)) ** 0.7))
    facing = spine[-1] - spine[-3]
    facing = facing / np.hypot(*facing)
    facing = turned(facing, rng.normal(0, 15))
    neck, side = spine[-1], np.array([-facing[1], facing[0]])  # to the right of the animal
    nose = neck + facing * head * 1.25
    curl = rng.normal(0, 0.3, 2)
    tail_line = bezier([(0, 0.02), (curl[0] * 0.3, tail / 3), (curl[0], 2 * tail / 3), (curl[0] + curl[1], tail)], 16)
    parts = [(ribbon(tail_line, np.linspace(0.035, 0.010, 16)), 1)]
    for number in range(pairs):
        at = spine[int(round(3 + number * 9 / max(pairs - 1, 1)))]
        for hand in (-1, 1):
            swing = rng.uniform(-0.12, 0.12)
            foot = at + np.array([hand * (wide / 2 + sprawl), -0.06 + swing])
            knee = (at + foot) / 2 + (0, rng.uniform(-0.05, 0.02))
            parts += [(limb(at, knee, 0.07, 0.05), 2), (limb(knee, foot, 0.05, 0.035), 2)]
    parts.append((body, 0))
    parts.append((np.concatenate([oval(neck + facing * head * 0.4, head * 1.2, head, facing)[:13], [nose]]), 0))
    parts.append((oval(neck + facing * head * 0.45, head * 1.45, head * 0.9, facing), 0))
    parts.append((oval(nose - facing * 0.02, 0.05, 0.05), 3))
    tips = []
    for hand in (-1, 1):
        base = neck + facing * head * (0.25 if ears else 0.9) + side * hand * head * 0.42
        tip = base + side * hand * (0.05 if ears else 0.12) + facing * (-0.02 if ears else 0.2)
        parts.append((oval(base, 0.13, 0.11, tip - base) if ears else limb(base, tip, 0.02, 0.012), 1 if ears else 3))
        tips.append(base if ears else tip)
    return Figure(parts, np.array([nose, *tips, (0, 0), tail_line[-1]]))


def draw_beside(genome: np.random.Generator, rng: np.random.Generator) -> Figure:
    """A four-legged animal from the side; the far legs are darker, an elbow bends each."""
    long, deep = vary(rng, genome.uniform(0.45, 0.7)), vary(rng, genome.uniform(0.16, 0.3))
    leg, neck = vary(rng, genome.uniform(0.15, 0.5)), vary(rng, genome.uniform(0.1, 0.38))
    head, ear = vary(rng, genome.uniform(0.14, 0.24)), genome.uniform(0.06, 0.16)
    tail, rise = vary(rng, genome.uniform(0.15, 0.5)), genome.uniform(-50, 10) + rng.normal(0, 15)
    hip, shoulder = np.array([-long / 2, 0.0]), np.array([long / 2, rng.normal(0, 0.03)])
    crown = shoulder + neck * direction(-genome.uniform(20, 70) + rng.normal(0, 15))
    nose = crown + head * direction(genome.uniform(10, 45) + rng.normal(0, 12))
    top = crown + ear * direction(-110 + rng.normal(0, 12))
    out = direction(180 - rise)
    tail_line = bezier([hip, hip + out * tail * 0.4, hip + out * tail * 0.7 + (0, rng.normal(0, 0.1)), hip + out * tail], 12)
    legs, feet = {True: [], False: []}, {}
    for near in (False, True):
        for name, at, bend in (("fore", shoulder, 1), ("hind", hip, -1)):
            start = at + (-0.05 * bend, deep * 0.25)
            knee = start + leg * 0.5 * direction(90 + rng.normal(0, 20))
            foot = knee + leg * 0.55 * direction(90 + rng.normal(0, 14))
            toe = foot + (0.05, 0.0)
            legs[near] += [limb(start, knee, 0.13, 0.07), limb(knee, foot, 0.07, 0.045), limb(foot, toe, 0.045, 0.035)]
            feet[name, near] = foot
    middle = (hip + shoulder) / 2 + (0, rng.normal(0, 0.02))
    body = ribbon(bezier([hip, middle, middle, shoulder], 12), deep / 2 * np.array([0.8, *[1.0] * 10, 0.85]))
    parts = [(part, 2) for part in legs[False]]
    parts += [(ribbon(tail_line, np.linspace(0.04, 0.012, 12)), 0), (body, 0)]
    parts += [(limb(shoulder + (-0.04, -0.02), crown, deep * 0.75, head * 0.6), 0)]
    parts += [(part, 0) for part in legs[True]]
    parts += [(limb(crown, nose, head * 0.8, head * 0.35), 0), (limb(crown, top, 0.08, 0.02), 1), (oval(nose, 0.04, 0.04), 3)]
    parts += [(oval(crown + 0.35 * (nose - crown) + (0, -0.03), 0.03, 0.03), 3)]
    order = [("fore", True), ("fore", False), ("hind", True), ("hind", False)]
    points = np.array([nose, top, hip, tail_line[-1], *(feet[key] for key in order)])
    return faced(Figure(parts, points, turn=40), rng)


def draw_bird(genome: np.random.Generator, rng: np.random.Generator) -> Figure:
    """A bird or a fish, as a creature from the side: a body between a pointed head and a fanned end, and a wing or fin."""
    deep, head, swims = vary(rng, genome.uniform(0.25, 0.4)), genome.uniform(0.16, 0.22), bool(genome.integers(0, 2))
    crown = np.array([0.3, 0.0 if swims else -0.18 + rng.normal(0, 0.03)])
    beak = crown + (head * (0.5 if swims else 1.1), 0.02)
    tail = np.array([-0.48, rng.normal(0, 0.06)])
    wing = np.array([-0.15, rng.uniform(-0.45, 0.4)])
    foot = np.array([rng.normal(0, 0.04), deep / 2 + (0.06 if swims else 0.2)])
    fan = np.array([(-0.25, 0.0), tail + (0, -0.13), tail + (0.06, 0), tail + (0, 0.13)])
    parts = [(limb((0, deep * 0.3), foot, 0.12 if swims else 0.03, 0.03), 3), (fan, 1)]
    parts += [(oval((0, 0), 0.75, deep, (1, -0.15)), 0), (limb((0.15, -0.02), crown, deep * 0.6, head), 0)]
    parts += [(np.array([crown + (0, -head * 0.4), beak, crown + (0, head * 0.4)]), 1 if swims else 3)]
    parts += [(np.array([(0.12, -0.04), wing, (-0.14, 0.08)]), 2), (oval(crown + (0.03, -0.02), 0.04, 0.04), 3)]
    return faced(Figure(parts, np.array([beak, tail, wing, foot]), turn=60), rng)


def draw_person(genome: np.random.Generator, rng: np.random.Generator) -> Figure:
    """A person from the front, arms and legs bent at random."""
    wide, long = vary(rng, genome.uniform(0.14, 0.2)), vary(rng, genome.uniform(0.26, 0.34))
    neck, pelvis = np.array([rng.normal(0, 0.03), -long / 2]), np.array([0, long / 2])
    head = neck + 0.11 * direction(-90 + rng.normal(0, 15))
    parts, points = [], [head, neck, pelvis]
    for hand in (1, -1):  # the figure looks at the viewer: its left is on the right
        shoulder, hip = neck + (hand * wide / 2, 0.03), pelvis + (hand * wide / 4, 0)
        elbow = shoulder + 0.17 * direction(90 - hand * rng.uniform(-10, 110))
        palm = elbow + 0.16 * direction(90 - hand * rng.uniform(-60, 150))
        knee = hip + 0.22 * direction(90 - hand * rng.uniform(-10, 50))
        foot = knee + 0.22 * direction(90 - hand * rng.uniform(-30, 30))
        parts += [(limb(hip, knee, 0.1, 0.075), 1), (limb(knee, foot, 0.075, 0.05), 1), (oval(foot, 0.07, 0.05), 3)]
        parts += [(limb(shoulder, elbow, 0.075, 0.06), 0), (limb(elbow, palm, 0.055, 0.04), 2), (oval(palm, 0.055, 0.055), 2)]
        points += [elbow, palm, knee, foot]
    body = np.array([neck + (-wide / 2, 0.01), neck + (wide / 2, 0.01), pelvis + (wide / 3, 0.03), pelvis + (-wide / 3, 0.03)])
    parts += [(body, 0), (limb(neck, head, 0.05, 0.05), 2), (oval(head, 0.15, 0.12, head - neck), 2)]
    return Figure(parts, np.array(points), turn=60)


def draw_snake(genome: np.random.Generator, rng: np.random.Generator) -> Figure:
    """A snake, a smooth body with a head: points at both ends and the quarters between."""
    thick, tone = genome.uniform(0.05, 0.12), int(genome.integers(0, TONES))
    steps = np.cumsum(rng.normal(0, 22) / 10 + bezier(rng.normal(0, 9, (5, 1)), 41)[:, 0])
    line = np.cumsum(np.stack([np.cos(np.radians(steps)), np.sin(np.radians(steps))], 1), 0) / 41
    share = np.linspace(0, 1, 41)
    parts = [(ribbon(line, thick / 2 * (1 - share**3) + 0.008), 0)]
    parts += [(oval(line[0], thick * 1.9, thick * 1.4, line[0] - line[2]), tone)]
    return Figure(parts, line[[0, 10, 20, 30, 40]])
