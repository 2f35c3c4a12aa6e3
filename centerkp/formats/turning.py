"""The extents of rectangles and ellipses that another tool's user turned; angles are in radians, of either direction."""

from math import cos, hypot, sin

from centerkp.formats.gathering import Gathering

Pair = tuple[float, float]


def turn_rectangle(corners: tuple[Pair, Pair], angle: float, about: Pair, gathering: Gathering) -> list[Pair]:
    """The corners of a rectangle of another tool: the two that it was given by, or all four after a turn."""
    (x, y), (far_x, far_y) = corners
    if not angle:
        return [*corners]
    gathering.note("object", "a turned rectangle, the upright one around it taken")
    sides = [(across - about[0], down - about[1]) for across in (x, far_x) for down in (y, far_y)]
    return [(about[0] + a * cos(angle) - d * sin(angle), about[1] + a * sin(angle) + d * cos(angle)) for a, d in sides]


def turn_ellipse(center: Pair, radii: Pair, angle: float, gathering: Gathering) -> list[Pair]:
    """The corners of the extent of an ellipse of another tool, turned about its center."""
    (x, y), (across, down) = center, radii
    if angle:
        gathering.note("object", "a turned ellipse, the upright box around it taken")
        across, down = (
            hypot(across * cos(angle), down * sin(angle)),
            hypot(across * sin(angle), down * cos(angle)),
        )
    return [(x - across, y - down), (x + across, y + down)]
