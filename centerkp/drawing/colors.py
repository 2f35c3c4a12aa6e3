"""The colours of classes and keypoints, the same in every picture and its legend."""

import colorsys

import numpy as np

from centerkp.schema import Schema

# Okabe and Ito's colours, which stay apart for colour-blind readers.
CLASS_PALETTE = ((86, 180, 233), (230, 159, 0), (0, 158, 115), (240, 228, 66), (204, 121, 167), (213, 94, 0), (0, 114, 178))
LONE_HUES = (0.36, 0.86, 0.22, 0.93, 0.43, 0.79)  # between green and pink, apart from blue and orange


def class_colors(schema: Schema) -> np.ndarray:
    """(C, 3) uint8: one colour to draw each class in; after seven classes they return darker."""
    rounds = [0.72 ** (i // len(CLASS_PALETTE)) for i in range(schema.num_classes)]
    return np.array([np.multiply(CLASS_PALETTE[i % len(CLASS_PALETTE)], f) for i, f in enumerate(rounds)]).astype(np.uint8)


def keypoint_colors(schema: Schema) -> np.ndarray:
    """(K, 3) uint8 to draw keypoints in: shades of blue for left, orange for right, green to pink for the unpaired."""
    colors = []
    for kind in schema.classes:
        hues = {}
        for number, pair in enumerate(kind.flip_pairs):
            shade = 0.12 * (number / max(len(kind.flip_pairs) - 1, 1) - 0.5)
            left, right = pair if _is_left(kind.keypoints[pair[0]], kind.keypoints[pair[1]]) else pair[::-1]
            hues[left], hues[right] = 0.57 + shade, 0.075 + shade / 2
        lone = [i for i in range(len(kind.keypoints)) if i not in hues]
        # Without pairs the whole circle is free; with them, blue and orange are taken.
        free = LONE_HUES if hues else np.linspace(0, 1, len(lone), endpoint=False)
        hues |= {i: float(free[n % len(free)]) for n, i in enumerate(lone)}
        colors += [[round(255 * v) for v in colorsys.hsv_to_rgb(hues[i], 0.85, 1.0)] for i in range(len(kind.keypoints))]
    return np.array(colors, np.uint8).reshape(-1, 3)


def _is_left(name: str, partner: str) -> bool:
    """Whether the first of two partners is drawn in the left one's colour: they differ first in the l and r of their sides."""
    first = next(((a, b) for a, b in zip(name.lower(), partner.lower(), strict=False) if a != b), ("l", "r"))
    return first[0] != "r"
