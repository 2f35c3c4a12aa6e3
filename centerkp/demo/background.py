"""The bench on which the demonstration scenes lie, the things scattered on it, and the light in the room."""

from collections.abc import Callable

import cv2
import numpy as np

from centerkp import geometry
from centerkp.demo.shapes import cast_shadow


def draw_background(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """The bench of a demo scene with up to five things on it that are no objects of the dataset, (height, width, 3) uint8."""
    surface = _SURFACES[rng.integers(len(_SURFACES))](rng, width, height)
    canvas = np.clip(surface, 0, 255).astype(np.uint8)
    for _ in range(rng.integers(0, 6)):
        _CLUTTER[rng.integers(len(_CLUTTER))](rng, canvas)
    return canvas


def light_scene(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """The light on the bench of a demo scene, (height, width, 3) float32 around 1.

    It has a brightness, a tint, a gradient across the bench, and now and then the soft shadow of something outside.
    """
    light = _draw_ramp(rng, height, width) * np.float32(rng.uniform(0.05, 0.3)) + np.float32(rng.uniform(0.7, 1.05))
    if rng.random() < 0.3:
        shade = np.ones((height // 4, width // 4), np.float32)
        corners = rng.uniform(-0.2, 1.2, (3, 2)) * shade.shape[::-1]
        cv2.fillPoly(shade, [corners.astype(np.int32)], rng.uniform(0.55, 0.85))
        light *= cv2.resize(cv2.GaussianBlur(shade, (0, 0), 2), (width, height))
    return light[..., None] * rng.normal(1, 0.03, 3).astype(np.float32)


def _draw_ramp(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(height, width) float32 from 0 to 1 in a random direction: how light or a bench top's colour changes across the scene."""
    angle = rng.uniform(0, 2 * np.pi)
    across = np.linspace(-1, 1, width, dtype=np.float32) * np.float32(np.cos(angle))
    down = np.linspace(-1, 1, height, dtype=np.float32) * np.float32(np.sin(angle))
    return (across + down[:, None] + np.float32(1.5)) / 3


def _draw_wood(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """A bench top of wooden boards, the background of a demo scene."""
    grain = _draw_noise(rng, height, width, (height // 3, 3)) * 16 + _draw_noise(rng, height, width, (height // 12, 6)) * 14
    seams = np.zeros((height, 1), np.float32)
    board = int(rng.integers(60, 130))
    for y in range(int(rng.integers(board)), height, board):
        seams[y : y + 2] = -55
        grain[y:] += np.float32(rng.normal(0, 9))
    base = np.array([(176, 132, 86), (140, 98, 62), (202, 172, 130), (98, 72, 54)])[rng.integers(4)] * rng.uniform(0.9, 1.1)
    wood = (grain + seams)[..., None] * np.array([1, 0.85, 0.6], np.float32) + base.astype(np.float32)
    if rng.random() < 0.5:
        wood = cv2.resize(np.ascontiguousarray(wood.transpose(1, 0, 2)), (width, height))
    return wood


def _draw_stone(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """A bench top of speckled stone, the background of a demo scene."""
    spots = np.sum([_draw_noise(rng, height, width, (height // d, width // d)) * w for d, w in ((80, 18), (20, 10), (4, 8))], 0)
    return spots[..., None] + _dull_color(rng)


def _draw_gradient(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """A bench top that goes over from one dull colour to another, the background of a demo scene."""
    share = _draw_ramp(rng, height, width)[..., None]
    return _dull_color(rng) * share + _dull_color(rng) * (1 - share)


def _draw_mat(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """A bench top with a cutting mat and its grid, the background of a demo scene."""
    mat = np.empty((height, width, 3), np.float32)
    mat[:] = np.array([(30, 92, 84), (44, 60, 92), (66, 68, 70), (222, 220, 210)])[rng.integers(4)]
    step, line = int(rng.integers(20, 56)), np.float32(rng.choice([-26, 26]))
    mat[int(rng.integers(step)) :: step] += line
    mat[:, int(rng.integers(step)) :: step] += line
    return mat + _draw_noise(rng, height, width, (height // 40, width // 40))[..., None] * 5


_SURFACES: tuple[Callable, ...] = (_draw_wood, _draw_wood, _draw_stone, _draw_gradient, _draw_mat)


def _dull_color(rng: np.random.Generator) -> np.ndarray:
    """A colour (3,) for the bench of a demo scene's background, never a bright one."""
    return (rng.uniform(50, 215) + rng.normal(0, 18, 3)).astype(np.float32)


def _draw_noise(rng: np.random.Generator, height: int, width: int, cells: tuple[int, int]) -> np.ndarray:
    """(height, width) float32 noise for a bench top, standard deviation near 1, smooth over `cells` (rows, columns)."""
    coarse = rng.normal(0, 1, np.maximum(cells, 2)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def _lay_paper(rng: np.random.Generator, canvas: np.ndarray) -> None:
    """Lays a slip of paper with scraps of text on the bench, as clutter of the background."""
    height, width = canvas.shape[:2]
    w, h = int(rng.uniform(0.15, 0.4) * width), int(rng.uniform(0.12, 0.35) * height)
    paper = np.full((h, w, 3), np.clip(rng.uniform(185, 250) + rng.normal(0, 8, 3), 0, 255), np.uint8)
    words = iter(
        rng.permutation(("M6 x 20", "torque 12 Nm", "left", "order 4471", "ISO 4032", "do not bend", "0.5 mm", "B-17"))
    )
    scale = rng.uniform(0.45, 0.8)
    for y, word in zip(range(int(26 * scale), h, int(rng.uniform(26, 44) * scale)), words, strict=False):
        ink = tuple(int(v) for v in rng.integers(20, 110, 3))
        cv2.putText(paper, str(word), (8, y), cv2.FONT_HERSHEY_SIMPLEX, scale, ink, 1, cv2.LINE_AA)
    pose = geometry.compose(
        geometry.translation(-w / 2, -h / 2),
        geometry.rotation(rng.normal(0, 25)),
        geometry.translation(rng.uniform(0, width), rng.uniform(0, height)),
    )
    area = cv2.warpAffine(np.full((h, w), 255, np.uint8), pose, (width, height))
    cast_shadow(canvas, area > 0, 0.25)
    share = area[..., None] / np.float32(255)
    canvas[:] = canvas * (1 - share) + cv2.warpAffine(paper, pose, (width, height)) * share


def _lay_cable(rng: np.random.Generator, canvas: np.ndarray) -> None:
    """Lays a bent cable across the bench, as clutter of the background."""
    height, width = canvas.shape[:2]
    corners = rng.uniform(-0.2, 1.2, (4, 2)) * (width, height)
    share = np.linspace(0, 1, 60)[:, None]
    curve = sum(c * n * share**i * (1 - share) ** (3 - i) for i, (c, n) in enumerate(zip(corners, (1, 3, 3, 1), strict=True)))
    points, thick, color = [np.round(curve).astype(np.int32)], int(rng.integers(3, 9)), rng.uniform(20, 170, 3)
    shadow = np.zeros((height, width), np.uint8)
    cv2.polylines(shadow, points, False, 1, thick)
    cast_shadow(canvas, shadow > 0, 0.4)
    cv2.polylines(canvas, points, False, color.tolist(), thick, cv2.LINE_AA)
    cv2.polylines(canvas, [points[0] - 1], False, np.minimum(color * 1.4 + 20, 255).tolist(), max(thick // 3, 1), cv2.LINE_AA)


def _lay_blot(rng: np.random.Generator, canvas: np.ndarray) -> None:
    """Lays a flat stain, disc or chip of colour on the bench, as clutter of the background."""
    height, width = canvas.shape[:2]
    center = rng.uniform(0, 1, 2) * (width, height)
    angle = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 30)))[:, None]
    outline = center + rng.uniform(10, 70) * np.hstack([np.cos(angle), rng.uniform(0.3, 1) * np.sin(angle)])
    layer = canvas.copy()
    cv2.fillPoly(layer, [outline.astype(np.int32)], rng.uniform(20, 235, 3).tolist(), cv2.LINE_AA)
    opacity = rng.uniform(0.3, 0.95)
    canvas[:] = cv2.addWeighted(layer, opacity, canvas, 1 - opacity, 0)


_CLUTTER: tuple[Callable, ...] = (_lay_paper, _lay_cable, _lay_blot, _lay_blot)
