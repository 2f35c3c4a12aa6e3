"""The kinds of objects that are drawn without end, each with named points.

A kind has a few breeds, fixed by seeds: how many limbs, which proportions, which parts share a colour. Its instances vary in
shape, colour and pose. Points lie where appearance says so: at tips, joints, corners, ends of axes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from centerkp.demo.creatures import draw_above, draw_beside, draw_bird, draw_person, draw_snake
from centerkp.demo.figures import Figure
from centerkp.demo.utensils import (
    draw_box,
    draw_card,
    draw_chain,
    draw_compass,
    draw_hand,
    draw_plate,
    draw_rod,
    draw_tongs,
)
from centerkp.schema import ObjectClass, Schema


@dataclass(frozen=True)
class Kind:
    """A kind of object: how its instances are drawn, each after the proportions of one of `seeds`."""

    name: str
    draw: Callable[[np.random.Generator, np.random.Generator], Figure]
    seeds: tuple[int, ...]

    def sketch(self, rng: np.random.Generator) -> Figure:
        """An instance of this kind as a figure, after a random breed, 1 long and centered on the origin."""
        figure = self.draw(np.random.default_rng(self.seeds[rng.integers(len(self.seeds))]), rng)
        outlines = np.concatenate([outline for outline, _ in figure.parts])
        low, high = outlines.min(0), outlines.max(0)
        scale, middle = 1 / float((high - low).max()), (low + high) / 2
        parts = [((outline - middle) * scale, tone) for outline, tone in figure.parts]
        return Figure(parts, (figure.points - middle) * scale, figure.turn)


# The seeds were looked at: each is another breed of its kind, in which the points can be told from each other.
KINDS = (
    Kind("above", draw_above, (0, 1, 4, 5, 8, 9)),
    Kind("beside", draw_beside, (0, 1, 2, 3)),
    Kind("bird", draw_bird, (0, 1, 4, 6)),
    Kind("person", draw_person, (0, 1, 2)),
    Kind("tongs", draw_tongs, (0, 1, 2, 5)),
    Kind("compass", draw_compass, (0, 1, 2)),
    Kind("rod", draw_rod, (0, 1, 9)),
    Kind("chain", draw_chain, (0, 1, 2)),
    Kind("snake", draw_snake, (0, 1)),
    Kind("card", draw_card, (0,)),
    Kind("plate", draw_plate, (0,)),
    Kind("hand", draw_hand, (0,)),
    Kind("box", draw_box, (0,)),
)


def make_schema() -> Schema:
    """The schema of all kinds that are drawn without end, a class each, their keypoints named by number."""
    counts = [len(kind.sketch(np.random.default_rng(0)).points) for kind in KINDS]
    return Schema(
        tuple(
            ObjectClass(kind.name, number + 1, tuple(f"{kind.name}_{i}" for i in range(count)))
            for number, (kind, count) in enumerate(zip(KINDS, counts, strict=True))
        )
    )
