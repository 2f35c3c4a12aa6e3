"""Pictures of what was labelled, what was found, and what the network is asked to learn.

Every image is (height, width, 3) uint8 RGB; nothing is drawn into the image that was given. A keypoint whose partner under a
mirror is known is blue when it is the left one and orange when it is the right one; every other has a colour of its own.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import cv2
import numpy as np

from centerkp.drawing.colors import class_colors, keypoint_colors
from centerkp.drawing.grid import make_grid
from centerkp.drawing.legend import FEW, add_legend
from centerkp.drawing.lettering import draw_plate, find_free_place, find_plate_place, font_size
from centerkp.geometry import clip_boxes
from centerkp.images.saving import copy_checked
from centerkp.results import Detection
from centerkp.schema import Schema

EDGE = (16, 16, 16)  # around lines and dots, so that they show on any ground
SUB_BITS = 4  # OpenCV takes coordinates in 1/16 pixel
SMALL = 160  # of a picture of this side a label is a large part
CLOSE_UP = 512  # about so large is a small picture drawn that is to be looked at


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


def draw_detections(
    image_rgb: np.ndarray,
    detections: Sequence[Detection],
    schema: Schema,
    *,
    min_keypoint_score: float = 0.1,
    labels: bool = True,
    close_up: bool = False,
) -> np.ndarray:
    """A picture with detected boxes, class names and scores, skeletons and keypoints drawn in.

    Keypoints that score less than `min_keypoint_score`, and the skeleton lines that end there, are left out, as is whatever is
    not a finite number. Without detections the image comes back as it is. With `close_up` a small image is drawn larger, and
    many keypoints are numbered as in `legend.draw_legend`.

    Raises:
        ValueError: the image is not (height, width, 3) uint8.
    """
    pen = _Pen(image_rgb, schema, close_up)
    for found in reversed(detections):
        seen = np.where(np.asarray(found.keypoint_scores) >= min_keypoint_score, 2, 0)
        pen.draw_object(found.class_id, found.box_xyxy, found.keypoints_xy, seen)
    if labels:
        pen.draw_labels([(f"{d.class_name} {d.score:.2f}", d.class_id, d.box_xyxy) for d in detections])
    pen.draw_numbers()
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
    close_up: bool = False,
) -> np.ndarray:
    """A picture with labelled objects: a full dot for a visible keypoint (2), one with a dark core for a hidden one (1).

    With `close_up` a small image is drawn larger, and many keypoints are numbered as in `legend.draw_legend`.

    Args:
        boxes_xyxy, class_ids, keypoints_xy, visibility: (N, 4), (N,), (N, K, 2) and (N, K); N may be 0, and K.

    Raises:
        ValueError: the image is not (height, width, 3) uint8.
    """
    pen = _Pen(image_rgb, schema, close_up)
    class_ids = [int(class_id) for class_id in class_ids]
    for class_id, box, points, seen in zip(class_ids, boxes_xyxy, keypoints_xy, visibility, strict=True):
        own = schema.keypoint_slice(class_id)
        pen.draw_object(class_id, box, points[own], seen[own])
    if labels:
        pen.draw_labels([(schema.class_names[i], i, box) for i, box in zip(class_ids, boxes_xyxy, strict=True)])
    pen.draw_numbers()
    return pen.canvas


def draw_comparison(image_rgb: np.ndarray, truth: Truth, detections: Sequence[Detection], schema: Schema) -> np.ndarray:
    """A picture of the labelled objects beside one of the detected objects, with titles, and names of many keypoints."""
    labels = truth.boxes_xyxy, truth.class_ids, truth.keypoints_xy, truth.visibility
    labelled = draw_record(image_rgb, *labels, schema, close_up=True)
    found = draw_detections(image_rgb, detections, schema, close_up=True)
    shown = {*truth.class_ids.tolist(), *(d.class_id for d in detections)}
    return add_legend(make_grid([labelled, found], 2, ("ground truth", "prediction")), schema, shown)


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

    def __init__(self, image_rgb: np.ndarray, schema: Schema, close_up: bool):
        self.canvas, self.schema, self.close_up = copy_checked(image_rgb), schema, close_up
        self.class_colors, self.keypoint_colors = class_colors(schema).tolist(), keypoint_colors(schema).tolist()
        height, width = self.canvas.shape[:2]
        self.zoom = max(round(CLOSE_UP / (width * height) ** 0.5), 1) if close_up else 1
        if self.zoom > 1:
            self.canvas = cv2.resize(self.canvas, (width * self.zoom, height * self.zoom), interpolation=cv2.INTER_LINEAR)
        self.side = self.zoom * (width * height) ** 0.5
        self.line, self.radius = max(round(self.side / 350), 1), max(self.side / 120, 2.0)
        self.numbered: list[tuple[int, list[float], tuple[int, int, int]]] = []  # number, place and colour of keypoints
        self.taken: list[tuple[int, int, int, int]] = []  # by letters

    def draw_object(self, class_id: int, box_xyxy: np.ndarray, points_xy: np.ndarray, seen: np.ndarray) -> None:
        """Draws an object's box, skeleton and points (n, 2); `seen` (n,) 2 is a full dot, 1 one with a dark core, 0 none."""
        height, width = self.canvas.shape[:2]
        color, points = self.class_colors[class_id], np.asarray(points_xy, np.float64) * self.zoom
        if np.isfinite(box_xyxy).all():
            x0, y0, x1, y1 = self._place_box(box_xyxy)
            cv2.rectangle(self.canvas, (x0, y0), (max(x1 - 1, x0), max(y1 - 1, y0)), color, self.line)
        seen = np.where(np.isfinite(points).all(-1), seen, 0)
        far = 4 * max(width, height)  # keeps wild coordinates within OpenCV's integers
        spots = np.round(np.clip(np.nan_to_num(points), -far, far) * 2**SUB_BITS).astype(int).tolist()
        for a, b in self.schema.classes[class_id].skeleton:
            if seen[a] and seen[b]:
                for shade, thickness in ((EDGE, self.line + 1), (color, self.line)):
                    cv2.line(self.canvas, spots[a], spots[b], shade, thickness, cv2.LINE_AA, SUB_BITS)
        dots = self.keypoint_colors[self.schema.keypoint_slice(class_id)]
        for number, (spot, state, dot) in enumerate(zip(spots, seen, dots, strict=True), 1):
            if state:
                self._draw_dot(spot, dot, hollow=state == 1)
                if self.close_up and len(spots) > FEW:
                    self.numbered.append((number, [v / 2**SUB_BITS for v in spot], tuple(dot)))

    def _draw_dot(self, spot: tuple[int, int], color: tuple[int, int, int], hollow: bool) -> None:
        """Draws a keypoint into the picture as a dot with an edge; a hollow one has a dark core."""
        rings = [(self.radius + 1, EDGE), (self.radius, color), *([(0.5 * self.radius, EDGE)] if hollow else [])]
        for radius, shade in rings:
            cv2.circle(self.canvas, spot, round(radius * 2**SUB_BITS), shade, -1, cv2.LINE_AA, SUB_BITS)

    def draw_labels(self, labels: Sequence[tuple[str, int, np.ndarray]]) -> None:
        """Sets (text, class_id, box) on plates at their boxes, where they fit and cover no object or earlier plate if possible.

        In a small picture one that would cover an object is left out.
        """
        height, width = self.canvas.shape[:2]
        labels = [label for label in labels if np.isfinite(label[2]).all()]
        boxes = [self._place_box(box) for *_, box in labels]
        for (text, class_id, _), box in zip(labels, boxes, strict=True):
            plate = draw_plate(text, width, font_size(width, height), tuple(self.class_colors[class_id]))
            if plate is None or plate.shape[0] > height:
                continue
            plate_h, plate_w = plate.shape[:2]
            place = find_free_place(plate_w, plate_h, box, (width, height), [*self.taken, *boxes])
            if place is None and self.side >= SMALL:
                place = find_plate_place(plate_w, plate_h, box, (width, height), self.taken)
            if place is not None:
                self._set_plate(plate, place)

    def draw_numbers(self) -> None:
        """Sets the numbers of many keypoints beside their dots, where they cover neither another dot nor other letters."""
        height, width = self.canvas.shape[:2]
        size, reach = max(round(0.02 * self.side), 9), self.radius + 1
        dots = [(x - reach, y - reach, x + reach, y + reach) for _, (x, y), _ in self.numbered]
        for (number, _, color), dot in zip(self.numbered, dots, strict=True):
            plate = draw_plate(str(number), width, size, color)
            if plate is None or plate.shape[0] > height:
                continue
            place = find_free_place(plate.shape[1], plate.shape[0], dot, (width, height), [*self.taken, *dots])
            if place is not None:
                self._set_plate(plate, place)

    def _place_box(self, box_xyxy: np.ndarray) -> tuple[int, int, int, int]:
        """The corners of a box in whole pixels of the picture that is drawn."""
        height, width = self.canvas.shape[:2]
        x0, y0, x1, y1 = (round(float(v)) for v in clip_boxes(np.asarray(box_xyxy) * self.zoom, width, height))
        return x0, y0, x1, y1

    def _set_plate(self, plate: np.ndarray, place: tuple[int, int]) -> None:
        """Sets letters into the picture, and remembers where."""
        (x, y), (plate_h, plate_w) = place, plate.shape[:2]
        self.taken.append((x, y, x + plate_w, y + plate_h))
        self.canvas[y : y + plate_h, x : x + plate_w] = plate
