"""Pictures of what was labelled, what was found, and what the network is asked to learn.

Every image is (height, width, 3) uint8 RGB; nothing is drawn into the image that was given. A keypoint whose partner under a
mirror is known is blue when it is the left one and orange when it is the right one; every other has a colour of its own.
"""

import colorsys
from collections.abc import Mapping, Sequence
from typing import Protocol

import cv2
import numpy as np

from centerkp.drawing.grid import make_grid
from centerkp.drawing.lettering import draw_plate, find_plate_place, font_size
from centerkp.geometry import clip_boxes
from centerkp.images.saving import copy_checked
from centerkp.results import Detection
from centerkp.schema import Schema

# Okabe and Ito's colours, which stay apart for colour-blind readers.
CLASS_PALETTE = ((86, 180, 233), (230, 159, 0), (0, 158, 115), (240, 228, 66), (204, 121, 167), (213, 94, 0), (0, 114, 178))
LONE_HUES = (0.36, 0.86, 0.22, 0.93, 0.43, 0.79)  # between green and pink, apart from blue and orange
EDGE = (16, 16, 16)  # around lines and dots, so that they show on any ground
SUB_BITS = 4  # OpenCV takes coordinates in 1/16 pixel


class Truth(Protocol):
    """The labelled objects of one image, as the dataset's records hold them: N objects, K flat keypoints."""

    @property
    def boxes_xyxy(self) -> np.ndarray:
        """(N, 4) corners of the labelled boxes to draw into the picture, in its pixels."""

    @property
    def class_ids(self) -> np.ndarray:
        """(N,) classes of the labelled objects to draw, which choose their colours."""

    @property
    def keypoints_xy(self) -> np.ndarray:
        """(N, K, 2) labelled keypoints to draw, on the flat axis of all classes, in pixels of the picture."""

    @property
    def visibility(self) -> np.ndarray:
        """(N, K) how to draw each labelled keypoint: 2 visible, 1 hidden, 0 not at all."""


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


def draw_detections(
    image_rgb: np.ndarray,
    detections: Sequence[Detection],
    schema: Schema,
    *,
    min_keypoint_score: float = 0.1,
    labels: bool = True,
) -> np.ndarray:
    """A picture with detected boxes, class names and scores, skeletons and keypoints drawn in.

    Keypoints that score less than `min_keypoint_score`, and the skeleton lines that end there, are left out, as is whatever is
    not a finite number. Without detections the image comes back as it is.

    Raises:
        ValueError: the image is not (height, width, 3) uint8.
    """
    pen = _Pen(image_rgb, schema)
    for found in reversed(detections):
        seen = np.where(np.asarray(found.keypoint_scores) >= min_keypoint_score, 2, 0)
        pen.draw_object(found.class_id, found.box_xyxy, found.keypoints_xy, seen)
    if labels:
        pen.draw_labels([(f"{d.class_name} {d.score:.2f}", d.class_id, d.box_xyxy) for d in detections])
    return pen.canvas


def draw_record(
    image_rgb: np.ndarray,
    boxes_xyxy: np.ndarray,
    class_ids: np.ndarray,
    keypoints_xy: np.ndarray,
    visibility: np.ndarray,
    schema: Schema,
    *,
    labels: bool = True,
) -> np.ndarray:
    """A picture with labelled objects: a full dot for a visible keypoint (2), one with a dark core for a hidden one (1).

    Args:
        boxes_xyxy, class_ids, keypoints_xy, visibility: (N, 4), (N,), (N, K, 2) and (N, K); N may be 0, and K.

    Raises:
        ValueError: the image is not (height, width, 3) uint8.
    """
    pen = _Pen(image_rgb, schema)
    class_ids = [int(class_id) for class_id in class_ids]
    for class_id, box, points, seen in zip(class_ids, boxes_xyxy, keypoints_xy, visibility, strict=True):
        own = schema.keypoint_slice(class_id)
        pen.draw_object(class_id, box, points[own], seen[own])
    if labels:
        pen.draw_labels([(schema.class_names[i], i, box) for i, box in zip(class_ids, boxes_xyxy, strict=True)])
    return pen.canvas


def draw_comparison(image_rgb: np.ndarray, truth: Truth, detections: Sequence[Detection], schema: Schema) -> np.ndarray:
    """A picture of the labelled objects beside one of the detected objects, with titles."""
    labelled = draw_record(image_rgb, truth.boxes_xyxy, truth.class_ids, truth.keypoints_xy, truth.visibility, schema)
    return make_grid([labelled, draw_detections(image_rgb, detections, schema)], 2, ("ground truth", "prediction"))


def draw_targets(image_rgb: np.ndarray, heatmap: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """A picture of target maps laid over a darkened image, each channel in its colour.

    Args:
        heatmap: (h, w, channels) in 0..1, stretched to the image; where channels overlap, their colours mix and the highest
            sets the strength.
        colors: (channels, 3) uint8, for example of `class_colors` or `keypoint_colors`.

    Raises:
        ValueError: the image is not (height, width, 3) uint8, or colours and channels differ in number.
    """
    image, heatmap = copy_checked(image_rgb), np.clip(np.asarray(heatmap, np.float32), 0, 1)
    if heatmap.ndim != 3 or heatmap.shape[-1] != len(colors):
        raise ValueError(
            f"draw_targets: found a heatmap of shape {heatmap.shape} with {len(colors)} colors, expected (h, w, channels) "
            "with one color per channel; pass the colors of the same schema."
        )
    if not heatmap.size:
        return (image * np.float32(0.45)).astype(np.uint8)
    strength = heatmap.max(-1)
    mixed = heatmap @ np.asarray(colors, np.float32) / np.maximum(heatmap.sum(-1, keepdims=True), 1e-6)
    layers = np.dstack([mixed * strength[..., None], strength])
    layers = cv2.resize(layers, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return (image * (0.45 * (1 - layers[..., 3:])) + layers[..., :3]).astype(np.uint8)


def draw_training_sample(
    image_rgb: np.ndarray, truth: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray], schema: Schema
) -> np.ndarray:
    """A picture of one training sample: its objects, its center maps, its keypoint maps, side by side.

    Args:
        image_rgb: (S, S, 3) uint8 network input.
        truth: padded ground truth in input pixels: boxes_xyxy (M, 4), class_ids (M,), object_weights (M,),
            keypoints_xy (M, K, 2), visibility (M, K); rows of weight 0 are not drawn.
        targets: center_heatmap (H, W, C) and, with keypoints, keypoint_heatmap (H, W, K).
    """
    real = np.asarray(truth["object_weights"]) > 0
    names = ("boxes_xyxy", "class_ids", "keypoints_xy", "visibility")
    boxes_xyxy, class_ids, keypoints_xy, visibility = (np.asarray(truth[name])[real] for name in names)
    panels = {"sample": draw_record(image_rgb, boxes_xyxy, class_ids, keypoints_xy, visibility, schema)}
    for name, colors in (("center_heatmap", class_colors(schema)), ("keypoint_heatmap", keypoint_colors(schema))):
        if len(colors) and name in targets:
            panels[name] = draw_targets(image_rgb, targets[name], colors)
    return make_grid(list(panels.values()), len(panels), list(panels))


class _Pen:
    """A copy of an image, and lines, dots and letters in proportion to it."""

    def __init__(self, image_rgb: np.ndarray, schema: Schema):
        self.canvas, self.schema = copy_checked(image_rgb), schema
        self.class_colors, self.keypoint_colors = class_colors(schema).tolist(), keypoint_colors(schema).tolist()
        height, width = self.canvas.shape[:2]
        side = (width * height) ** 0.5
        self.line, self.radius = max(round(side / 350), 1), max(side / 120, 2.0)

    def draw_object(self, class_id: int, box_xyxy: np.ndarray, points_xy: np.ndarray, seen: np.ndarray) -> None:
        """Draws an object's box, skeleton and points (n, 2); `seen` (n,) 2 is a full dot, 1 one with a dark core, 0 none."""
        height, width = self.canvas.shape[:2]
        color, points = self.class_colors[class_id], np.asarray(points_xy, np.float64)
        if np.isfinite(box_xyxy).all():
            x0, y0, x1, y1 = (round(float(v)) for v in clip_boxes(np.asarray(box_xyxy), width, height))
            cv2.rectangle(self.canvas, (x0, y0), (max(x1 - 1, x0), max(y1 - 1, y0)), color, self.line)
        seen = np.where(np.isfinite(points).all(-1), seen, 0)
        far = 4 * max(width, height)  # keeps wild coordinates within OpenCV's integers
        spots = np.round(np.clip(np.nan_to_num(points), -far, far) * 2**SUB_BITS).astype(int).tolist()
        for a, b in self.schema.classes[class_id].skeleton:
            if seen[a] and seen[b]:
                for shade, thickness in ((EDGE, self.line + 1), (color, self.line)):
                    cv2.line(self.canvas, spots[a], spots[b], shade, thickness, cv2.LINE_AA, SUB_BITS)
        dots = self.keypoint_colors[self.schema.keypoint_slice(class_id)]
        for spot, state, dot in zip(spots, seen, dots, strict=True):
            if state:
                self._draw_dot(spot, dot, hollow=state == 1)

    def _draw_dot(self, spot: tuple[int, int], color: tuple[int, int, int], hollow: bool) -> None:
        """Draws a keypoint into the picture as a dot with an edge; a hollow one has a dark core."""
        rings = [(self.radius + 1, EDGE), (self.radius, color), *([(0.5 * self.radius, EDGE)] if hollow else [])]
        for radius, shade in rings:
            cv2.circle(self.canvas, spot, round(radius * 2**SUB_BITS), shade, -1, cv2.LINE_AA, SUB_BITS)

    def draw_labels(self, labels: Sequence[tuple[str, int, np.ndarray]]) -> None:
        """Sets (text, class_id, box) on plates at their boxes, where they fit and cover no earlier plate if possible."""
        height, width = self.canvas.shape[:2]
        taken = []
        for text, class_id, box in labels:
            plate = draw_plate(text, width, font_size(width, height), tuple(self.class_colors[class_id]))
            if plate is None or plate.shape[0] > height or not np.isfinite(box).all():
                continue
            plate_h, plate_w = plate.shape[:2]
            x, y = find_plate_place(plate_w, plate_h, clip_boxes(np.asarray(box), width, height), (width, height), taken)
            taken.append((x, y, x + plate_w, y + plate_h))
            self.canvas[y : y + plate_h, x : x + plate_w] = plate
