"""What drawn objects are made of: outlines in colours, and the points that have names."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from centerkp.demo.shapes import circle


@dataclass(frozen=True)
class Figure:
    """An instance before it is placed, about 1 long, x to the right and y down.

    `parts` are outlines (n, 2) from the lowest to the topmost, each with the number of its colour; HOLE cuts through to the
    background. `points` (k, 2) stand in the order of the kind's keypoints. `turn` is the largest turn from upright in degrees.
    """

    parts: list[tuple[np.ndarray, int]]
    points: np.ndarray
    turn: float = 180.0


HOLE = -1
TONES = 4  # colours of a figure: 0 its main one


def limb(a: ArrayLike, b: ArrayLike, start: float, end: float) -> np.ndarray:
    """Outline of a drawn figure's limb: straight from a to b, round ends, half as wide as `start` at a and `end` at b."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    along = (b - a) / max(float(np.hypot(*(b - a))), 1e-6)
    turn = np.linspace(0, np.pi, 7)[:, None]
    across = np.array([-along[1], along[0]])
    far = b + end / 2 * (across * np.cos(turn) + along * np.sin(turn))
    near = a - start / 2 * (across * np.cos(turn) + along * np.sin(turn))
    return np.concatenate([far, near])


def oval(center: ArrayLike, length: float, width: float, along: ArrayLike = (0.0, 1.0)) -> np.ndarray:
    """Outline of an ellipse, to build drawn figures of, whose `length` lies along a direction."""
    ahead = np.asarray(along, float)
    ahead = ahead / max(float(np.hypot(*ahead)), 1e-6)
    ring = circle(0.5, 25)[:-1]
    across = np.array([-ahead[1], ahead[0]])
    return np.asarray(center) + ring[:, :1] * length * ahead + ring[:, 1:] * width * across


def vary(rng: np.random.Generator, value: float, spread: float = 0.12) -> float:
    """A measure of a drawn figure, times a random factor near 1 (log-normal of width `spread`)."""
    return float(value * np.exp(rng.normal(0, spread)))


def direction(degrees: float) -> np.ndarray:
    """The unit vector (2,) along which part of a figure points: to the right at 0, down at 90 degrees."""
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])


def turned(vector: np.ndarray, degrees: float) -> np.ndarray:
    """The vector (2,) along a part of a figure, turned clockwise on the picture by so many degrees."""
    c, s = direction(degrees)
    return np.array([c * vector[0] - s * vector[1], s * vector[0] + c * vector[1]])


def faced(figure: Figure, rng: np.random.Generator) -> Figure:
    """The drawn figure or, half of the time, its mirror image; the names stay with its parts."""
    if rng.random() < 0.5:
        return figure
    mirror = np.array([-1.0, 1.0])
    return Figure([(outline * mirror, tone) for outline, tone in figure.parts], figure.points * mirror, figure.turn)
