"""Test-time augmentation: the model looks at every image mirrored as well, and at several sizes, and the answers become one."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from centerkp.heads import HEATMAP_HEADS, STRIDE, Tensor
from centerkp.inference.detector import Detector
from centerkp.inference.rivals import group_rivals, longer_side
from centerkp.model.center_net import CenterNet
from centerkp.wording import suggest

SCALES = (0.8, 1.0, 1.2)  # of the input size, for "scale"
MAX_DISTANCE = 0.1  # of the longer side of the box: keypoints this near are the same


def read_augmentations(names: str | Sequence[str]) -> dict:
    """The arguments of `AugmentedDetector` that "flip", "scale" or "flip,scale" (or a list of the words) mean.

    Raises:
        ValueError: another word.
    """
    words = [word.strip() for word in (names.split(",") if isinstance(names, str) else names) if word.strip()]
    known = ("flip", "scale")
    for word in words:
        if word not in known:
            raise ValueError(f"tta: found '{word}', expected some of {list(known)}{suggest(word, known)}.")
    return {"flip": "flip" in words, "scales": SCALES if "scale" in words else (1.0,)}


def augment(detector: Any, names: str | Sequence[str] | None) -> Detector:
    """The detector with test-time augmentation as `read_augmentations` reads it; itself without any."""
    return AugmentedDetector(detector, **read_augmentations(names)) if names else detector


class AugmentedDetector:
    """A detector that asks a model more than once per image. It costs as many times as much as it asks.

    With `flip` the image and its mirror image go through the network together, and the maps are averaged as in the code of
    "Objects as Points" (Zhou et al. 2019), left and right swapped by the schema's flip pairs; see `average_mirrored`.

    With several `scales` the image is seen at so many sizes, each decoded by itself; `merge` makes one object of what several
    of them found.

    Args:
        model: a `CenterNet`; an exported artefact does not give out its maps.
        flip: mirrors.
        scales: of the model's input size, each rounded so that the network can halve its longer side; the same counts once.

    Raises:
        ValueError: the model is no `CenterNet`, there is no scale, or `flip` for a class whose keypoint names look sided
            without known partners, for which mirrored answers could not be put back.
    """

    thresholds_note = ", without --tta"  # where and how those of the model were found

    def __init__(self, model: CenterNet, *, flip: bool = False, scales: Sequence[float] = (1.0,)):
        if not isinstance(model, CenterNet):
            raise ValueError(
                f"Test-time augmentation: found a {type(model).__name__}, expected a CenterNet, whose maps can be averaged; "
                "use the .keras file it was exported from."
            )
        unpaired = [c.name for c in model.schema.classes if not c.can_flip]
        if flip and unpaired:
            raise ValueError(
                f"Test-time augmentation, flip: found classes {unpaired} whose keypoints cannot be mirrored, since it is not "
                "known which swap sides, expected flip pairs for them; train with flip_pairs in the JSON or --flip-pairs, or "
                "leave flip out."
            )
        longest = max(model.image_size)
        sides = sorted({_round_side(longest * scale, model.multiple) for scale in scales})
        if not sides or min(scales) <= 0:
            raise ValueError(f"Test-time augmentation: found scales {list(scales)}, expected at least one above 0.")
        self.schema, self.thresholds, self.levels = model.schema, model.thresholds, model.levels
        self.tiling = model.tiling
        # Images are fitted to the largest, which has the model's shape, and made smaller from there.
        width, height = (side * sides[-1] // longest for side in model.image_size)
        self.image_size = width, height
        self._passes = [_Pass(model, self.image_size, side / sides[-1], flip) for side in sides]
        self.max_objects = model.decode_options.max_objects

    def predict_on_batch(self, x: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Objects by test-time augmentation, as `CenterNet.predict_on_batch`; images are of `image_size`."""
        images = np.asarray(x["image"])
        whole = np.broadcast_to(np.asarray(self.image_size, np.float32), (len(images), 2))
        inputs = {"image": images, "valid_size": np.asarray(x.get("valid_size", whole), np.float32)}
        found = [{k: np.asarray(v) for k, v in one.predict_on_batch(inputs).items()} for one in self._passes]
        return found[0] if len(found) == 1 else merge(found, self.max_objects)


class _Pass(keras.Model):
    """The model at one size, with or without the mirror image, as one graph from canvases to objects.

    The canvas gets smaller by the same factor along both axes, and black follows up to sides that the network can halve.
    """

    def __init__(self, model: CenterNet, canvas: tuple[int, int], factor: float, flip: bool):
        size = [math.ceil(round(side * factor, 3) / model.multiple) * model.multiple for side in canvas]
        super().__init__(name=f"pass_{size[0]}x{size[1]}", dtype="float32")
        self.model, self.flip, self.factor = model, flip, factor
        self.is_whole = size == [*canvas]
        # Both axes of the reference's resizing (see `letterbox_image`) as products with a matrix.
        self.columns, self.rows = (_resampling_weights(old, new, factor) for old, new in zip(canvas, size, strict=True))

    def call(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Objects of one pass of test-time augmentation, in pixels of the largest canvas."""
        image = ops.cast(inputs["image"], "float32")
        if not self.is_whole:
            image = ops.einsum("yi,bijc,xj->byxc", self.rows, image, self.columns)
        if self.flip:
            maps = self.model(ops.concatenate([image, ops.flip(image, axis=2)]), training=False)[-1]
            maps = average_mirrored(maps, self.model.schema.flip_permutation)
        else:
            maps = self.model(image, training=False)[-1]
        found = self.model.decode(maps, inputs["valid_size"] * self.factor)
        for name in found.keys() & {"boxes", "keypoints", "keypoint_deviations"}:
            found[name] = found[name] / self.factor
        return found


def _round_side(side: float, multiple: int) -> int:
    """The side of a scaled pass: the nearest multiple that the network takes, one at least."""
    return max(round(side / multiple), 1) * multiple


def _resampling_weights(old: int, new: int, factor: float) -> np.ndarray:
    """Resizes along one axis for a pass: (new, old) weights, sample i lies at i / factor, between two neighbours.

    Samples beyond the last pixel have none, and are black.
    """
    place = np.arange(new) / factor
    place = np.minimum(place[place < old - 1e-6], old - 1)
    low, inside = np.floor(place).astype(int), np.arange(len(place))
    weights = np.zeros((new, old), np.float32)
    weights[inside, low] = 1 - (place - low)
    weights[inside, np.minimum(low + 1, old - 1)] += place - low
    return weights


def average_mirrored(maps: Mapping, permutation: np.ndarray) -> dict:
    """Averages the maps of images and of their mirror images (test-time flip), as the paper's code does.

    Probabilities of both heat maps, box sizes and vectors are averaged; the mirrored ones are turned back, keypoints in the
    order of `permutation`. Offsets are those of the image as it is: they are fractions of a cell, and cells of the two do not
    coincide.

    Unlike the paper's code, mirrored vectors are not only negated in x: pixel x goes to 4W - 1 - x, so that a vector v from a
    cell becomes 3/4 - v, not -v. Without this, points that are placed by their vector move by 1.5 pixels.

    Args:
        maps: `{head: (2B, H, W, channels)}`, the images first, then the mirror images in the same order; heat maps as logits.
        permutation: `Schema.flip_permutation`, (K,).

    Returns:
        `{head: (B, H, W, channels)}`, heat maps as logits.
    """
    averaged = {}
    for head, values in maps.items():
        straight, mirrored = ops.split(ops.cast(values, "float32"), 2, axis=0)
        mirrored = ops.flip(mirrored, axis=2)
        if head == "keypoint_heatmap":
            mirrored = ops.take(mirrored, permutation, axis=-1)
        elif head == "keypoint_regression":
            channels = np.stack([2 * permutation, 2 * permutation + 1], axis=-1).ravel()
            turned = np.tile(np.array([-1, 1], "float32"), len(permutation))
            moved = np.tile(np.array([1 - 1 / STRIDE, 0], "float32"), len(permutation))
            mirrored = ops.take(mirrored, channels, axis=-1) * turned + moved
        if head in HEATMAP_HEADS:
            scores = ops.clip((ops.sigmoid(straight) + ops.sigmoid(mirrored)) / 2, 1e-7, 1 - 1e-7)
            averaged[head] = ops.log(scores / (1 - scores))
        else:
            averaged[head] = straight if head.endswith("offset") else (straight + mirrored) / 2
    return averaged


def merge(found: Sequence[Mapping[str, np.ndarray]], max_objects: int) -> dict[str, np.ndarray]:
    """The objects that several passes found in the same images, once each: keypoint-aware non-maximum suppression by vote.

    The best object left takes from every other pass the one of its class that overlaps it by half or more, of several the one
    whose box and keypoints are closest. The score is the mean over all passes, where a pass that found nothing counts 0; the
    box is the mean weighted with the scores. A keypoint is the mean, weighted with the squared keypoint scores, of the best
    one and those near it: a pass that took left for right does not drag it into the middle.

    Args:
        found: of every pass the decoded arrays of a batch, (B, M, ...), in the same pixels.
        max_objects: how many to keep of an image.

    Returns:
        The same arrays with `max_objects` rows per image, best first; rows with score 0 are empty.
    """
    source = np.repeat(np.arange(len(found)), [one["scores"].shape[1] for one in found])
    joined = {name: np.concatenate([one[name] for one in found], axis=1) for name in found[0]}
    merged = {name: np.zeros((len(v), max_objects, *v.shape[2:]), v.dtype) for name, v in joined.items()}
    for image in range(len(joined["scores"])):
        objects = {name: values[image] for name, values in joined.items()}
        groups = group_rivals(objects, source)
        votes = np.array([objects["scores"][group].sum() / len(found) for group in groups])
        for place, best in enumerate(np.argsort(-votes, kind="stable")[:max_objects]):
            for name, value in _average_group(objects, groups[best]).items():
                merged[name][image, place] = value
            merged["scores"][image, place] = votes[best]
    return merged


def _average_group(objects: Mapping[str, np.ndarray], group: list[int]) -> dict[str, np.ndarray]:
    """The object that several passes agreed on: one averaged row of everything but the score."""
    row = {name: values[group] for name, values in objects.items()}
    scores = row.pop("scores")
    if len(group) == 1:
        return {name: values[0] for name, values in row.items()}
    merged = {"boxes": scores @ row["boxes"] / scores.sum(), "class_ids": row["class_ids"][0]}
    if "keypoints" in row:
        points, scores = row["keypoints"], row["keypoint_scores"]  # (n, K, 2), (n, K)
        best = np.take_along_axis(points, scores.argmax(0)[None, :, None], axis=0)
        near = np.linalg.norm(points - best, axis=-1) <= MAX_DISTANCE * longer_side(merged["boxes"])
        shares = near * np.square(scores) + near * 1e-12  # keypoints of other classes score 0
        shares = shares / shares.sum(0)
        merged["keypoints"] = (shares[..., None] * points).sum(0)
        for name in ("keypoint_scores", "keypoint_deviations"):
            merged[name] = (shares * row[name]).sum(0)
    return merged
