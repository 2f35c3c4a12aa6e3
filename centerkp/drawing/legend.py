"""The names of keypoints beside a picture, each with its number and its colour."""

from collections.abc import Iterable

import cv2
import numpy as np

from centerkp.drawing.colors import class_colors, keypoint_colors
from centerkp.drawing.grid import PAPER
from centerkp.drawing.lettering import INK, draw_title
from centerkp.schema import Schema

FEW = 6  # keypoints of a class that need no legend
LINE = 20  # pixels from one name to the next
WIDTH = 210  # of a column


def draw_legend(schema: Schema, class_ids: Iterable[int], height: int | None = None) -> np.ndarray | None:
    """A picture, so high or in one column, of the keypoints of some classes by number, colour and name.

    None where they are few, or no room.
    """
    colors, kinds = keypoint_colors(schema).tolist(), class_colors(schema).tolist()
    lines: list[tuple[str, tuple[int, ...], bool]] = []
    for class_id in sorted({int(class_id) for class_id in class_ids}):
        kind, own = schema.classes[class_id], schema.keypoint_slice(class_id)
        if len(kind.keypoints) > FEW:
            lines.append((kind.name, kinds[class_id], False))
            names = zip(kind.keypoints, colors[own], strict=True)
            lines += [(f"{n} {name}", color, True) for n, (name, color) in enumerate(names, 1)]
    height = len(lines) * LINE if height is None else height
    rows = height // LINE
    if not lines or not rows:
        return None
    columns = -(-len(lines) // rows)
    picture = np.full((height, columns * WIDTH, 3), PAPER, np.uint8)
    for n, (text, color, dot) in enumerate(lines):
        x, y = n // rows * WIDTH, n % rows * LINE
        indent = LINE if dot else 4
        picture[y : y + LINE, x + indent : x + WIDTH] = draw_title(
            text, WIDTH - indent, LINE, PAPER, INK if dot else color, centered=False
        )
        if dot:
            cv2.circle(picture, (x + LINE // 2, y + LINE // 2), 5, color, -1, cv2.LINE_AA)
    return picture


def add_legend(picture: np.ndarray, schema: Schema, class_ids: Iterable[int]) -> np.ndarray:
    """A picture with the legend of its classes at the right; the picture itself where their keypoints are few."""
    legend = draw_legend(schema, class_ids, picture.shape[0])
    return picture if legend is None else np.hstack([picture, legend])
