"""One record -> one training or validation sample: pixels and points through the same affine, once."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from centerkp import geometry
from centerkp.images.packed import PackedImage
from centerkp.images.reading import letterbox_image, read_image
from centerkp.images.sensors import Levels
from centerkp.images.tiling import Tiling
from centerkp.labels.records import Record
from centerkp.samples.augment import Augmentation, change_pixels, draw_affine
from centerkp.samples.windows import crop_record, draw_window
from centerkp.schema import Schema


class Sample(NamedTuple):
    """One sample, and how many of the record's objects it does not hold.

    `image` is (height, width, 3) uint8 RGB, `truth` the padded objects (see `Sampler`). `dropped` objects lie mostly outside
    the canvas, `overflow` ones found no place among `max_objects` and are in the truth as ignored boxes alone.
    """

    image: np.ndarray
    truth: dict[str, np.ndarray]
    dropped: int
    overflow: int


@dataclass(frozen=True)
class Sampler:
    """Turns records into samples: the image fitted into the network's input, and its objects in the same pixels.

    Without `augmentation` the image is letterboxed (top left, as in inference). With it, one random affine moves image and
    objects, and colours change; the sample then depends on the record and on `rng`, and on nothing else.

    The truth, with M = `max_objects` and K flat keypoints, real objects first, padding (zeros) behind:
        boxes_xyxy (M, 4) float32, keypoints_xy (M, K, 2) float32: pixels of the canvas.
        class_ids (M,) int32; visibility (M, K) int32: 0 where not labelled or outside the canvas.
        object_weights (M,) float32: 1 for an object, 0 for padding and crowds; is_crowd (M,) float32.
        valid_size (2,) float32: (width, height) of the image inside the canvas; the whole canvas when augmented.
        ignored_boxes (N, 4) float32, ignored_class_ids (N,) int32: of the objects beyond M, which are not learned and are no
        background either.

    Args:
        schema: what the objects are.
        size: (width, height) of the canvas.
        max_objects: M; of more objects the largest are kept, crowds last.
        augmentation: None for validation.
        read: gives the image of a path, as `read_image` does.
        tiling: shows of each picture a window of a tile's size, mostly around an object; None shows it whole.
    """

    schema: Schema
    size: tuple[int, int]
    max_objects: int = 100
    augmentation: Augmentation | None = None
    read: Callable[[Path | PackedImage, Levels | None], np.ndarray] = read_image
    tiling: Tiling | None = None

    def __call__(self, record: Record, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The image and the truth of one sample; see `sample` for the errors."""
        sample = self.sample(record, rng)
        return sample.image, sample.truth

    def sample(self, record: Record, rng: np.random.Generator) -> Sample:
        """One training sample of a record, with the counts of objects that it does not hold.

        Raises:
            FileNotFoundError, ValueError: the image cannot be read, or has another size than the record; names the file.
        """
        image = self.read(record.path, record.levels)
        height, width = image.shape[:2]
        if (width, height) != (record.width, record.height):
            raise ValueError(
                f"{record.path}: found {width}x{height} pixels, expected {record.width}x{record.height} as when the dataset "
                "was read; read the dataset again."
            )
        if self.tiling:
            # A validation image shows the same window at each evaluation, whatever number that is; ids may be below 0.
            chance = rng if self.augmentation else np.random.default_rng(abs(record.image_id))
            x, y, width, height = window = draw_window(record, self.tiling, self.size, chance)
            image, record = image[y : y + height, x : x + width], crop_record(record, window)
        keypoints, visibility = record.keypoints_xy.astype(np.float64), record.visibility
        if self.augmentation is None:
            image, affine, valid_size = letterbox_image(image, self.size)
            boxes = _move_boxes(affine, record)
            keypoints = geometry.apply_to_points(affine, keypoints)
            min_visible = -1.0
        else:
            image, boxes, keypoints, swaps = self._augment(image, record, keypoints, rng)
            if swaps:
                order = self.schema.flip_permutation
                keypoints, visibility = keypoints[:, order], visibility[:, order]
            valid_size, min_visible = self.size, self.augmentation.min_visible_area
        visibility = np.where(_in_canvas(keypoints, self.size), visibility, 0)
        # A point on the far border, as boxes and points of whole-image objects are, belongs to the last cell.
        keypoints = np.minimum(keypoints, np.subtract(self.size, 1e-3))
        clipped = geometry.clip_boxes(boxes, *self.size)
        areas = geometry.box_areas(clipped)
        share = areas / np.maximum(geometry.box_areas(boxes), 1e-9)
        # Of a crowd any part keeps its silence: what is nowhere labelled there would be learned as background.
        shown = (share >= min_visible) | record.is_crowd
        kept = np.flatnonzero(shown & ((areas > 0) | (self.augmentation is None)))
        chosen = self._choose_objects(kept, areas, record.is_crowd)
        truth = self._pad_objects(clipped[chosen], keypoints[chosen], visibility[chosen], record, chosen)
        others = np.setdiff1d(kept, chosen)
        truth |= {
            "valid_size": np.array(valid_size, np.float32),
            "ignored_boxes": clipped[others].astype(np.float32),
            "ignored_class_ids": record.class_ids[others].astype(np.int32),
        }
        return Sample(image, truth, len(boxes) - len(kept), len(others))

    def _augment(
        self, image: np.ndarray, record: Record, keypoints: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
        """The sample's moved image, boxes and keypoints, and whether left and right keypoints must swap."""
        affine, flipped = draw_affine(self.augmentation, record.width, record.height, self.size, rng, self.schema.can_flip)
        image = cv2.warpAffine(image, affine, self.size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        boxes = _move_boxes(affine, record)
        keypoints = geometry.apply_to_points(affine, keypoints)
        corners = boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]]
        # Corners lie between pixels, by half of one of the image before the pixel that they count.
        half = np.hypot(*affine[:, :2]) / 2
        points = np.concatenate([corners.reshape(-1, 2) - half, keypoints.reshape(-1, 2)])
        image, points, mirrored = change_pixels(self.augmentation, image, points, rng)
        if mirrored and not self.schema.can_flip:
            raise ValueError(
                "augmentation: the custom transform mirrored an image, but it is not known which keypoints of this dataset "
                "swap; give flip_pairs, or take flips and transpositions out of it."
            )
        corners = points[: 4 * len(boxes)].reshape(-1, 4, 2) + half
        boxes = np.concatenate([corners.min(1), corners.max(1)], axis=1)
        return image, boxes, points[4 * len(boxes) :].reshape(keypoints.shape), flipped != mirrored

    def _choose_objects(self, kept: np.ndarray, areas: np.ndarray, is_crowd: np.ndarray) -> np.ndarray:
        """Which objects find a place in the sample, crowds last and large ones first; given in the record's order."""
        order = np.lexsort((-areas[kept], is_crowd[kept]))
        return np.sort(kept[order[: self.max_objects]])

    def _pad_objects(
        self, boxes: np.ndarray, keypoints: np.ndarray, visibility: np.ndarray, record: Record, chosen: np.ndarray
    ) -> dict[str, np.ndarray]:
        """The truth of a sample: its objects, padded with zeros behind them to `max_objects`."""
        is_crowd = record.is_crowd[chosen]
        arrays = {
            "boxes_xyxy": boxes.astype(np.float32),
            "class_ids": record.class_ids[chosen].astype(np.int32),
            "object_weights": 1 - is_crowd.astype(np.float32),
            "is_crowd": is_crowd.astype(np.float32),
            "keypoints_xy": np.where(visibility[..., None] > 0, keypoints, 0).astype(np.float32),
            "visibility": visibility.astype(np.int32),
        }
        padded = {name: np.zeros((self.max_objects, *a.shape[1:]), a.dtype) for name, a in arrays.items()}
        for name, array in arrays.items():
            padded[name][: len(chosen)] = array
        return padded


def _in_canvas(points_xy: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(N, K) bool: keypoints on the sample's canvas."""
    return np.all((points_xy >= 0) & (points_xy <= size), axis=-1)


def _move_boxes(affine: np.ndarray, record: Record) -> np.ndarray:
    """A sample's boxes (N, 4) after the affine: upright around what its objects are taken to be there.

    That is the hull of an object's labelled keypoints in its box and of the box's middle, with an ellipse around each place
    that reaches to every side as far as the box does beyond the hull; without keypoints, the ellipse that the box encloses.
    Without a turn this is the moved box itself. With one, a box around the moved corners would grow (by 41 % for a square at
    45 degrees) around corners where objects seldom reach; and whether one that is long and lies aslant gets wider or narrower,
    its keypoints alone tell.

    A mirror takes pixel i to W - 1 - i. A box from 10 to 50 has the pixels 10 to 49, so that it goes to W - 50 and W - 10: by
    a pixel of the image further than points do.
    """
    boxes, points = record.boxes_xyxy.astype(np.float64), record.keypoints_xy.astype(np.float64)
    low, high = boxes[:, :2], boxes[:, 2:]
    inside = np.all((points >= low[:, None]) & (points <= high[:, None]), axis=-1)
    held = np.pad((record.visibility > 0) & inside, ((0, 0), (0, 1)), constant_values=True)
    points = np.concatenate([points, ((low + high) / 2)[:, None]], axis=1)
    span, moved = (geometry.span_points(xy, held) for xy in (points, geometry.apply_to_points(affine, points)))
    before, behind = (span[:, :2] - low) ** 2, (high - span[:, 2:]) ** 2
    along, against = (np.square(sign(affine[:, :2], 0)).T for sign in (np.maximum, np.minimum))
    reach = np.sqrt(np.concatenate([before @ along + behind @ against, behind @ along + before @ against], axis=1))
    moved += reach * [-1, -1, 1, 1]
    if np.linalg.det(affine[:, :2]) < 0:
        moved[:, ::2] -= affine[0, :2].sum()
    return moved
