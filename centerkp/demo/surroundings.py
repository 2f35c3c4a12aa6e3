"""What lies behind the objects of drawn pictures, and what light and camera make of both."""

import cv2
import numpy as np


def draw_ground(rng: np.random.Generator, size: int) -> np.ndarray:
    """What lies behind drawn objects: colours that run into each other, stains, stripes or tiles, and flat shapes."""
    cells = int(rng.choice([1, 2, 3, 5]))
    ground = np.array([[draw_color(rng) for _ in range(cells)] for _ in range(cells)]).reshape(cells, cells, 3)
    base = draw_color(rng)
    ground = base + (ground - base) * rng.uniform(0, 0.8)
    ground = cv2.resize(ground.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
    for step in (64, 24, 8, 3):
        if rng.random() < 0.5:
            rows, columns = (size // step * np.array(rng.choice([(1, 1), (1, 0.15), (0.15, 1)]))).astype(int) + 2
            coarse = rng.normal(0, rng.uniform(2, 22), (rows, columns)).astype(np.float32)
            ground += cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR)[..., None]
    picture = cv2.convertScaleAbs(np.maximum(ground, 0))
    if rng.random() < 0.3:
        _draw_tiles(rng, picture)
    for _ in range(int(rng.choice([0, 3, 8, 25], p=[0.3, 0.3, 0.25, 0.15]))):
        _draw_flat(rng, picture)
    return picture


def _draw_tiles(rng: np.random.Generator, picture: np.ndarray) -> None:
    """Draws stripes or tiles over what lies behind drawn objects: lines at equal distances along one direction or two."""
    size, step = len(picture), float(rng.uniform(8, 70))
    color, thick, angle = draw_color(rng).tolist(), int(rng.integers(1, max(int(step / 2.5), 2))), rng.uniform(0, np.pi)
    for turn in (0, np.pi / 2)[: int(rng.integers(1, 3))]:
        across = np.array([np.cos(angle + turn), np.sin(angle + turn)])
        along = np.array([-across[1], across[0]]) * size
        for at in np.arange(-0.75 * size, 0.75 * size, step):
            a = size / 2 + at * across
            ends = np.round([a - along, a + along]).astype(int).tolist()
            cv2.line(picture, ends[0], ends[1], color, thick, cv2.LINE_AA)


def _draw_flat(rng: np.random.Generator, picture: np.ndarray) -> None:
    """Draws a line, a polygon or a disc of one colour into the surroundings of drawn objects."""
    size, what = len(picture), rng.integers(4)
    color = draw_color(rng).tolist()
    center, reach = rng.uniform(0, size, 2), float(np.exp(rng.uniform(np.log(4), np.log(0.7 * size))))
    if what == 0:
        ends = np.round([center, center + rng.normal(0, reach, 2)]).astype(int).tolist()
        cv2.line(picture, ends[0], ends[1], color, int(rng.integers(1, 6)), cv2.LINE_AA)
    elif what == 1:
        axes = np.round(reach / 2 * rng.uniform(0.3, 1, 2)).astype(int).tolist()
        thick = -1 if rng.random() < 0.6 else int(rng.integers(1, 5))
        cv2.ellipse(picture, center.astype(int).tolist(), axes, rng.uniform(0, 180), 0, 360, color, thick, cv2.LINE_AA)
    else:
        angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 8)))[:, None]
        corners = center + reach / 2 * np.hstack([np.cos(angles), np.sin(angles)])
        cv2.fillPoly(picture, [corners.astype(np.int32)], color, cv2.LINE_AA)


def take_picture(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """What light and camera make of a drawn picture: tint, gradient, outer shadow, blur, noise, gray, compression."""
    size = len(picture)
    corners = rng.uniform(0.6, 1.25) * np.exp(rng.normal(0, 0.15, (2, 2)))
    if rng.random() < 0.6:
        light = cv2.resize(corners.astype(np.float32), (size, size))
        if rng.random() < 0.3:
            shade = rng.uniform(-0.3, 1.3, (int(rng.integers(3, 5)), 2)) * size
            cv2.fillPoly(light, [shade.astype(np.int32)], rng.uniform(0.35, 0.9))
            light = cv2.blur(light, (15, 15))
        picture = cv2.multiply(picture, cv2.merge([light * t for t in np.exp(rng.normal(0, 0.06, 3))]), dtype=cv2.CV_8U)
    if rng.random() < 0.3:
        contrast = rng.uniform(0.35, 1)
        picture = cv2.convertScaleAbs(picture, alpha=contrast, beta=rng.uniform(0, 255 * (1 - contrast)))
    blur = rng.random()
    if blur < 0.25:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.6))
    elif blur < 0.32:
        reach = int(rng.integers(1, 4)) * 2 + 1
        picture = cv2.blur(picture, (reach, 1) if rng.random() < 0.5 else (1, reach))
    if rng.random() < 0.25:
        picture = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if rng.random() < 0.4:
        noise = (rng.standard_normal((size, size), np.float32) * np.float32(rng.uniform(1, 14))).astype(np.int16)
        picture = cv2.add(picture, cv2.merge([noise, noise, noise]), dtype=cv2.CV_8U)
    if rng.random() < 0.3:
        coded = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 95))))[1]
        picture = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    return picture


def draw_color(rng: np.random.Generator) -> np.ndarray:
    """A random colour (3,) from 0 to 255, now gray, now vivid, for what surrounds drawn objects and for them."""
    return np.clip(rng.uniform(10, 245) + rng.normal(0, rng.choice([4, 30, 70]), 3), 0, 255)
