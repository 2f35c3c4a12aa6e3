"""Pictures without end of many kinds of objects with named points: what weights are trained on that suit any dataset.

A picture is a pure function of its seed: backgrounds, objects of `kinds.KINDS`, things of no kind between and over them,
shadows, light, blur and noise. Sizes go from a few grid cells to the whole picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from centerkp import geometry
from centerkp.demo.figures import HOLE, TONES, Figure
from centerkp.demo.kinds import KINDS
from centerkp.demo.surroundings import draw_color, draw_ground, take_picture
from centerkp.schema import Schema

MAX_OBJECTS = 8
MIN_INSIDE = 0.45  # share of an object's box that lies inside the picture
MIN_SEEN = 0.55  # share of its area inside that later things must leave uncovered
SUB_BITS = 4  # OpenCV takes corners in 1/16 pixel
NOTHING = 255  # in the map of owners, which has for every pixel the number of what lies on top, counted as it is laid


@dataclass
class _Seen:
    """An object in the picture: its number in the map of owners, class, box, points, and covered pixels."""

    number: int
    class_id: int
    box: np.ndarray
    points: np.ndarray
    area: int


def draw_picture(seed: int | Sequence[int], schema: Schema, size: int = 320) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """One of the pictures without end, of any kinds of objects, (size, size, 3) uint8 RGB, and its padded truth.

    The truth is that of training samples, with M = MAX_OBJECTS and K keypoints of `kinds.make_schema()`: boxes_xyxy (M, 4),
    class_ids (M,), object_weights (M,), is_crowd (M,), keypoints_xy (M, K, 2), visibility (M, K): 1 where something lies over
    a point, 0 outside the picture, and valid_size (2,).

    Args:
        seed: one number or several.
        schema: from `kinds.make_schema()`.
    """
    rng = np.random.default_rng(seed)
    picture = draw_ground(rng, size)
    owners = np.full((size, size), NOTHING, np.uint8)
    seen: list[_Seen] = []
    numbers = iter(range(NOTHING))
    upright = rng.random() < 0.35
    largest = size * (rng.uniform(0.4, 1.2) if rng.random() < 0.4 else float(np.exp(rng.uniform(np.log(0.12), np.log(0.8)))))
    wanted = int(np.clip(rng.integers(1, 5) * (0.6 * size / largest) ** 0.8, 1, MAX_OBJECTS))
    kinds = rng.integers(len(KINDS), size=int(rng.integers(1, 5)))  # a picture shows a few kinds, each several times
    for _ in range(wanted):
        if rng.random() < 0.4:
            _lay_thing(rng, picture, owners, next(numbers), largest, seen)
        class_id = int(rng.choice(kinds))
        length = max(largest * rng.uniform(0.6, 1.0), 12)
        _lay_object(rng, picture, owners, next(numbers), class_id, length, upright, seen)
    for _ in range(rng.integers(0, 3)):
        _lay_thing(rng, picture, owners, next(numbers), largest, seen)
    return take_picture(rng, picture), _pad_truth(seen, owners, schema, size)


def _lay_object(
    rng: np.random.Generator,
    picture: np.ndarray,
    owners: np.ndarray,
    number: int,
    class_id: int,
    length: float,
    upright: bool,
    seen: list[_Seen],
) -> None:
    """Lays an object of a kind into an endless picture, inside enough and hiding no other too much; nothing without a place."""
    figure = KINDS[class_id].sketch(rng)
    size = len(picture)
    for _ in range(3):
        affine = _draw_pose(rng, figure, length, size, upright)
        outlines = [geometry.apply_to_points(affine, outline) for outline, _ in figure.parts]
        corners = np.concatenate(outlines)
        whole = np.concatenate([corners.min(0), corners.max(0)])[None]
        box = geometry.clip_boxes(whole, size, size)
        if geometry.box_areas(box)[0] < MIN_INSIDE * geometry.box_areas(whole)[0]:
            continue
        drawing = _Drawing(rng, outlines, [tone for _, tone in figure.parts], length, size)
        if drawing.area < 12 or _hides_earlier(owners, drawing, seen):
            continue
        drawing.lay(rng, picture, owners, number)
        seen.append(_Seen(number, class_id, box[0], geometry.apply_to_points(affine, figure.points), drawing.area))
        return


def _draw_pose(rng: np.random.Generator, figure: Figure, length: float, size: int, upright: bool) -> np.ndarray:
    """The affine figure -> pixels of the endless picture: turned, now and then seen at a slant, and shifted."""
    largest = min(figure.turn, 25) if upright else figure.turn
    steps = [geometry.rotation(rng.uniform(-largest, largest))]
    if rng.random() < 0.4:
        slant = rng.uniform(0, 180)
        steps += [geometry.rotation(slant), geometry.scaling(1, rng.uniform(0.6, 1)), geometry.rotation(-slant)]
    reach = size / 2 - min(0.3 * length, size / 3)
    center = size / 2 + rng.uniform(-reach, reach, 2)
    return geometry.compose(*steps, geometry.scaling(length, length), geometry.translation(*center))


def _hides_earlier(owners: np.ndarray, drawing: "_Drawing", seen: list[_Seen]) -> bool:
    """Whether a thing laid now into the endless picture would leave too little of an earlier object."""
    patch = owners[drawing.window]
    covered = np.bincount(patch[drawing.mask > 127], minlength=256)
    left = np.bincount(owners.ravel(), minlength=256) if covered[:NOTHING].any() else covered
    return any(covered[one.number] and left[one.number] - covered[one.number] < MIN_SEEN * one.area for one in seen)


def _lay_thing(
    rng: np.random.Generator, picture: np.ndarray, owners: np.ndarray, number: int, largest: float, seen: list[_Seen]
) -> None:
    """Lays something of no kind into the endless picture: a scrap, a strip, a blot or a loose part of an object."""
    size = len(picture)
    length = float(np.clip(largest * np.exp(rng.normal(-0.3, 0.6)), 8, size))
    what = rng.integers(4)
    if what == 0:
        count = int(rng.integers(3, 9))
        angles = np.sort(rng.uniform(0, 2 * np.pi, count))[:, None]
        outlines = [np.hstack([np.cos(angles), np.sin(angles)]) * rng.uniform(0.2, 0.6, (count, 1))]
    elif what == 1:
        width = rng.uniform(0.01, 0.08)
        outlines = [np.array([(-1, -width), (1, -width), (1, width), (-1, width)])]
    elif what == 2:
        angles = np.linspace(0, 2 * np.pi, 24)[:-1, None]
        wave = 1 + rng.uniform(0, 0.3) * np.cos(rng.integers(2, 6) * angles + rng.uniform(0, 6))
        outlines = [np.hstack([np.cos(angles), np.sin(angles) * rng.uniform(0.3, 1)]) * 0.4 * wave]
    else:
        parts = KINDS[rng.integers(len(KINDS))].sketch(rng).parts
        outlines = [outline for outline, tone in parts if tone != HOLE]
        first = rng.integers(len(outlines))
        outlines = outlines[first : first + max(len(outlines) // 4, 1)]
    turn, shift = geometry.rotation(rng.uniform(-180, 180)), geometry.translation(*rng.uniform(0, size, 2))
    affine = geometry.compose(turn, geometry.scaling(length, length), shift)
    drawing = _Drawing(rng, [geometry.apply_to_points(affine, one) for one in outlines], [0] * len(outlines), length, size)
    if drawing.area and not _hides_earlier(owners, drawing, seen):
        drawing.lay(rng, picture, owners, number)


class _Drawing:
    """Outlines in pixels, filled: a mask and colours over the window of the picture that they touch.

    `area` counts the covered pixels, 0 where the outlines lie outside.
    """

    def __init__(self, rng: np.random.Generator, outlines: list[np.ndarray], tones: list[int], length: float, size: int):
        corners = np.concatenate(outlines)
        x0, y0 = np.clip(np.floor(corners.min(0)).astype(int) - 1, 0, size)
        x1, y1 = np.clip(np.ceil(corners.max(0)).astype(int) + 2, 0, size)
        self.window, self.length = np.s_[y0:y1, x0:x1], length
        self.mask, self.area = np.zeros((max(y1 - y0, 0), max(x1 - x0, 0)), np.uint8), 0
        if not self.mask.size:
            return
        palette = _draw_palette(rng)
        self.colors = np.full((*self.mask.shape, 3), palette[0], np.uint8)
        edged = length > 40 and rng.random() < 0.5
        for outline, tone in zip(outlines, tones, strict=True):
            points = [np.round((outline - (x0, y0)) * 2**SUB_BITS).astype(np.int32)]
            cv2.fillPoly(self.mask, points, 0 if tone == HOLE else 255, cv2.LINE_AA, SUB_BITS)
            if tone != HOLE:
                cv2.fillPoly(self.colors, points, palette[tone].tolist(), cv2.LINE_AA, SUB_BITS)
                if edged:
                    cv2.polylines(self.colors, points, True, (palette[tone] * 0.6).tolist(), 1, cv2.LINE_AA, SUB_BITS)
        self.area = int(np.count_nonzero(self.mask > 127))

    def lay(self, rng: np.random.Generator, picture: np.ndarray, owners: np.ndarray, number: int) -> None:
        """Puts the filled outlines into the endless picture with texture, relief and shadow; its pixels are then its own."""
        colors, mask = self.colors, self.mask
        if self.length > 30 and rng.random() < 0.5:
            _draw_texture(rng, colors)
        if rng.random() < 0.6:
            colors = _round_off(rng, colors, mask, self.length)
        if rng.random() < 0.5:
            _cast_shadow(rng, picture, mask, self.window, self.length)
        patch = picture[self.window]
        if rng.random() < 0.1:  # glass, water, a veil
            mask = (mask * rng.uniform(0.5, 0.9)).astype(np.uint8)
        alpha = cv2.merge([mask, mask, mask])
        shown = cv2.add(cv2.multiply(colors, alpha, scale=1 / 255), cv2.multiply(patch, 255 - alpha, scale=1 / 255))
        picture[self.window] = shown
        owners[self.window][self.mask > 127] = number


def _draw_palette(rng: np.random.Generator) -> np.ndarray:
    """Colours (TONES, 3) float for an object of an endless picture: shades of one colour, or colours of their own."""
    base = draw_color(rng)
    if rng.random() < 0.55:
        return np.clip(base * rng.uniform(0.7, 1.3, (TONES, 1)) + rng.normal(0, 4, (TONES, 3)), 0, 255)
    return np.clip([base, *(draw_color(rng) for _ in range(TONES - 1))], 0, 255)


def _draw_texture(rng: np.random.Generator, colors: np.ndarray) -> None:
    """Stripes, spots or specks over an object of an endless picture, darker or lighter than what is there."""
    height, width = colors.shape[:2]
    what, shift = rng.integers(3), float(rng.choice([-1, 1]) * rng.uniform(10, 60))
    if what == 2:
        coarse = rng.normal(0, abs(shift) / 2, (height // 3 + 1, width // 3 + 1)).astype(np.float32)
        layer = np.round(cv2.resize(coarse, (width, height))).astype(np.int16)
    else:
        layer = np.zeros((height, width), np.int16)
        step = rng.uniform(0.06, 0.3) * max(height, width)
        if what == 0:
            angle = rng.uniform(0, np.pi)
            across = np.array([np.cos(angle), np.sin(angle)])
            along = np.array([-across[1], across[0]]) * (height + width)
            for at in np.arange(-(height + width), height + width, max(step, 4)):
                a = np.array([width / 2, height / 2]) + at * across
                ends = np.round([a - along, a + along]).astype(int).tolist()
                cv2.line(layer, ends[0], ends[1], shift, max(int(step * 0.35), 1))
        else:
            for x, y in rng.uniform(0, 1, (int(rng.integers(4, 16)), 2)) * (width, height):
                cv2.circle(layer, (int(x), int(y)), max(int(step * rng.uniform(0.1, 0.35)), 1), shift, -1)
    cv2.add(colors, cv2.merge([layer, layer, layer]), colors, dtype=cv2.CV_8U)


def _round_off(rng: np.random.Generator, colors: np.ndarray, mask: np.ndarray, length: float) -> np.ndarray:
    """Colours of an object of an endless picture as if its edges were rounded off and lit from one side."""
    reach = max(int(length * rng.uniform(0.02, 0.1)), 1) * 2 + 1
    soft = cv2.blur(cv2.blur(mask, (reach, reach)), (reach, reach))
    angle, gain = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 1.0) * reach / 8
    slope = cv2.addWeighted(
        cv2.Sobel(soft, cv2.CV_16S, 1, 0),
        np.cos(angle) * gain / 4,
        cv2.Sobel(soft, cv2.CV_16S, 0, 1),
        np.sin(angle) * gain / 4,
        0,
    )
    slope = np.clip(slope, -70, 70)
    return cv2.add(colors, cv2.merge([slope, slope, slope]), dtype=cv2.CV_8U)


def _cast_shadow(
    rng: np.random.Generator, picture: np.ndarray, mask: np.ndarray, window: tuple[slice, slice], length: float
) -> None:
    """Darkens the endless picture beside a silhouette, softly, in a random direction."""
    size = len(picture)
    offset = rng.normal(0, 0.06 * length + 1, 2)
    blur = max(int(length * rng.uniform(0.01, 0.06)), 1) * 2 + 1
    low, high = np.minimum(offset, 0) - blur, np.maximum(offset, 0) + blur
    rows, columns = window
    x0, y0 = np.maximum(np.floor((columns.start, rows.start) + low).astype(int), 0)
    x1, y1 = np.minimum(np.ceil((columns.stop, rows.stop) + high).astype(int), size)
    if x1 <= x0 or y1 <= y0:
        return
    move = geometry.translation(columns.start - x0 + offset[0], rows.start - y0 + offset[1])
    shadow = cv2.warpAffine(mask, move, (int(x1 - x0), int(y1 - y0)))
    shadow = 255 - cv2.convertScaleAbs(cv2.blur(shadow, (blur, blur)), alpha=rng.uniform(0.2, 0.7))
    picture[y0:y1, x0:x1] = cv2.multiply(picture[y0:y1, x0:x1], cv2.merge([shadow, shadow, shadow]), scale=1 / 255)


def _pad_truth(seen: list[_Seen], owners: np.ndarray, schema: Schema, size: int) -> dict[str, np.ndarray]:
    """Truth of an endless picture, its objects padded to MAX_OBJECTS rows; visibility 1 where something lies over a point."""
    count = schema.num_keypoints
    truth = {
        "boxes_xyxy": np.zeros((MAX_OBJECTS, 4), np.float32),
        "class_ids": np.zeros(MAX_OBJECTS, np.int32),
        "object_weights": np.zeros(MAX_OBJECTS, np.float32),
        "is_crowd": np.zeros(MAX_OBJECTS, np.float32),
        "keypoints_xy": np.zeros((MAX_OBJECTS, count, 2), np.float32),
        "visibility": np.zeros((MAX_OBJECTS, count), np.int32),
        "valid_size": np.array([size, size], np.float32),
    }
    for row, one in enumerate(seen):
        own = schema.keypoint_slice(one.class_id)
        inside = np.all((one.points >= 0) & (one.points < size - 0.5), axis=1)
        x, y = np.clip(np.round(one.points).astype(int), 0, size - 1).T
        hidden = (owners[y, x] > one.number) & (owners[y, x] != NOTHING)
        truth["boxes_xyxy"][row] = one.box
        truth["class_ids"][row] = one.class_id
        truth["object_weights"][row] = 1
        truth["keypoints_xy"][row, own] = one.points * inside[:, None]
        truth["visibility"][row, own] = np.where(inside, 2 - hidden, 0)
    return truth
