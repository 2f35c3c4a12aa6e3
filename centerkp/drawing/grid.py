"""Pictures set side by side into a grid of equal cells, with titles."""

from collections.abc import Sequence

import cv2
import numpy as np

from centerkp.drawing.lettering import draw_title, font_size
from centerkp.geometry import letterbox
from centerkp.images.saving import copy_checked

PAPER = (24, 26, 30)  # behind the cells of a mosaic


def make_grid(
    images: Sequence[np.ndarray],
    columns: int | None = None,
    titles: Sequence[str] | None = None,
    width: int | None = None,
) -> np.ndarray:
    """Sets pictures into a grid of equal cells, row by row; each keeps its aspect and stands in the middle of its cell.

    Args:
        images: of any sizes, at least one.
        columns: as many as make the grid square unless given.
        titles: one above each image.
        width: of the whole picture in pixels; the cells fit the largest image unless given.

    Raises:
        ValueError: there are no images, titles and images differ in number, or the columns find no room.
    """
    images = [copy_checked(image) for image in images]
    columns = min(columns or int(np.ceil(np.sqrt(len(images)))), len(images))
    if not images or columns < 1 or (titles is not None and len(titles) != len(images)):
        found = f"{len(images)} images, {columns} columns, {'no' if titles is None else len(titles)} titles"
        raise ValueError(f"make_grid: found {found}, expected at least one image and one title each; pass lists of one length.")
    gap, cell_w, cell_h = _size_cells(images, columns, width)
    bar = 0 if titles is None else 2 * font_size(cell_w, cell_h)
    rows = -(-len(images) // columns)
    total_w = width or columns * (cell_w + gap) + gap
    canvas = np.full((rows * (cell_h + bar + gap) + gap, total_w, 3), PAPER, np.uint8)
    for index, image in enumerate(images):
        x, y = gap + index % columns * (cell_w + gap), gap + index // columns * (cell_h + bar + gap)
        if titles is not None:
            canvas[y : y + bar, x : x + cell_w] = draw_title(titles[index], cell_w, bar, PAPER)
        fitted = _fit_cell(image, cell_w, cell_h)
        h, w = fitted.shape[:2]
        y, x = y + bar + (cell_h - h) // 2, x + (cell_w - w) // 2
        canvas[y : y + h, x : x + w] = fitted
    return canvas


def _size_cells(images: Sequence[np.ndarray], columns: int, width: int | None) -> tuple[int, int, int]:
    """The gap between cells of a grid of pictures, and their width and height."""
    cell_h, cell_w = np.max([image.shape[:2] for image in images], axis=0).tolist()
    gap = max(cell_w // 80, 2)
    if width is None:
        return gap, cell_w, cell_h
    room = (width - gap * (columns + 1)) // columns
    if room < 1:
        raise ValueError(f"make_grid: found width {width} for {columns} columns, expected more; make it wider.")
    return gap, room, max(round(cell_h * room / cell_w), 1)


def _fit_cell(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """A picture resized into a cell of the grid, keeping its aspect."""
    _, size = letterbox(image.shape[1], image.shape[0], (width, height))
    shrinks = size[0] < image.shape[1]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
