"""Chance in training samples: one random affine, and a change of colours."""

import copy
import os
import threading
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import albumentations as A
import numpy as np

from centerkp import geometry


@dataclass(frozen=True)
class Augmentation:
    """How much training samples may differ from their images; `Augmentation()` is a sensible start.

    Args:
        flip: mirror left and right with probability 0.5, where the schema knows which keypoints swap.
        scale: (smallest, largest) size relative to the whole image fitted into the canvas, drawn log-uniformly; above 1
            the sample is a crop.
        rotation: largest turn in degrees, to both sides, 0..180.
        translation: largest shift as a share of the canvas, 0..1, along each axis.
        color: change brightness, contrast, hue and saturation; now and then gray, blurred or noisy.
        custom: your own Albumentations transform or Compose in place of `color`, applied to the (height, width, 3) uint8 RGB
            sample after the affine. It may move pixels: keypoints and boxes follow, and a mirror swaps the keypoints.
        min_visible_area: objects whose box keeps a smaller share of its area inside the canvas are left out, 0..1.

    Raises:
        ValueError: a number lies outside its range.
    """

    flip: bool = True
    scale: tuple[float, float] = (0.6, 1.4)
    rotation: float = 15.0
    translation: float = 0.1
    color: bool = True
    custom: A.BasicTransform | A.BaseCompose | None = None
    min_visible_area: float = 0.25

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", tuple(float(s) for s in self.scale))
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"augmentation: scale is {self.scale}, expected (smallest, largest) with 0 < smallest <= largest.")
        for name, limit in (("rotation", 180), ("translation", 1), ("min_visible_area", 1)):
            value = getattr(self, name)
            if not 0 <= value <= limit:
                raise ValueError(f"augmentation: {name} is {value}, expected a number from 0 to {limit}.")
        if self.custom is not None and not isinstance(self.custom, A.BasicTransform | A.BaseCompose):
            raise ValueError(
                f"augmentation: custom is a {type(self.custom).__name__}, expected an Albumentations transform; "
                "give an albumentations.Compose."
            )


def read_compose(path: str | os.PathLike) -> A.Compose:
    """Reads an augmentation that `albumentations.save` wrote, as JSON or YAML by its extension, for `Augmentation(custom=...)`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds no Albumentations transform, or one this version does not know; names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such augmentation file; write one with albumentations.save(compose, path).")
    data_format = "json" if path.suffix.lower() == ".json" else "yaml"
    try:
        transform = A.load(path, data_format=data_format)
    except Exception as error:  # whatever the transforms' own constructors raise
        raise ValueError(
            f"{path}: found no transform that Albumentations {A.__version__} can build ({error}), expected the {data_format} "
            f"of albumentations.save; write it again with data_format='{data_format}'."
        ) from error
    return transform if isinstance(transform, A.Compose) else A.Compose([transform])


def draw_affine(
    augmentation: Augmentation, width: int, height: int, size: tuple[int, int], rng: np.random.Generator, can_flip: bool = True
) -> tuple[np.ndarray, bool]:
    """Draws the random affine of a sample's augmentation, from image to the canvas `size`, and whether it mirrors.

    The fitted image stands in the middle of the canvas, so that turns and shifts are symmetric.
    """
    # Always the same number of draws, so that switching one option off leaves the others' values as they were.
    grow, turn, shift_x, shift_y, coin = rng.uniform(-1, 1, 5)
    low, high = np.log(augmentation.scale)
    scale = np.exp(low + (high - low) * (grow + 1) / 2)
    fitted, valid = geometry.letterbox(width, height, size)
    center = np.array([size[0] - 1, size[1] - 1]) / 2
    shift = augmentation.translation * np.array([shift_x * size[0], shift_y * size[1]])
    steps = [
        fitted,
        geometry.translation((size[0] - valid[0]) / 2 - center[0], (size[1] - valid[1]) / 2 - center[1]),
        geometry.scaling(scale, scale),
        geometry.rotation(augmentation.rotation * turn),
        geometry.translation(*(center + shift)),
    ]
    flipped = bool(augmentation.flip and can_flip and coin < 0)
    if flipped:
        steps.append(geometry.mirror(size[0]))
    return geometry.compose(*steps), flipped


def change_pixels(
    augmentation: Augmentation, image: np.ndarray, points_xy: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Augments a sample's pixels: applies the colours, or the user's own transform, which may move pixels.

    Args:
        augmentation: what to apply.
        image: (height, width, 3) uint8.
        points_xy: (P, 2) points that move with the pixels.
        rng: all chance comes from here.

    Returns:
        The new image; the points (P, 2) float64, in the same order, also those outside; whether left and right changed places.

    Raises:
        ValueError: the user's own transform changed the image's size or type, or removed points.
    """
    seed = int(rng.integers(2**31))
    if augmentation.custom is None and not augmentation.color:
        return image, points_xy, False
    transform = _thread_transform(augmentation)
    transform.set_random_seed(seed)
    if "keypoints" not in transform.processors:
        return _check_custom_result(transform(image=image)["image"], image), points_xy, False
    height, width = image.shape[:2]
    # Three points around the canvas tell a mirror from a turn, whatever the transform does in between.
    frame = np.array([[0, 0], [width - 1, 0], [0, height - 1]], np.float64)
    result = transform(image=image, keypoints=np.concatenate([frame, points_xy]).astype(np.float32))
    moved = np.asarray(result["keypoints"], np.float64).reshape(-1, 2)
    if len(moved) != 3 + len(points_xy):
        raise ValueError(
            f"augmentation: the custom transform returned {len(moved)} of {3 + len(points_xy)} points, expected all of "
            "them, also those outside; take the transform that removes points out of it."
        )
    across, down = moved[1] - moved[0], moved[2] - moved[0]
    mirrored = bool(across[0] * down[1] - across[1] * down[0] < 0)
    return _check_custom_result(result["image"], image), moved[3:], mirrored


def _check_custom_result(changed: Any, image: np.ndarray) -> np.ndarray:
    """The image that a user's own augmentation made, refused where it has another size or type."""
    if isinstance(changed, np.ndarray) and changed.shape == image.shape and changed.dtype == np.uint8:
        return np.ascontiguousarray(changed)
    found = f"{getattr(changed, 'shape', '')} {getattr(changed, 'dtype', type(changed).__name__)}"
    raise ValueError(
        f"augmentation: the custom transform returned {found}, expected {image.shape} uint8; leave resizing and "
        "normalisation out of it, they are done elsewhere."
    )


_threads = threading.local()


def _thread_transform(augmentation: Augmentation) -> A.Compose:
    """This thread's own copy of an augmentation's transform, whose random state threads must not share."""
    if not hasattr(_threads, "transforms"):
        _threads.transforms = weakref.WeakKeyDictionary()
    if augmentation not in _threads.transforms:
        _threads.transforms[augmentation] = _build_transform(augmentation)
    return _threads.transforms[augmentation]


def _build_transform(augmentation: Augmentation) -> A.Compose:
    """The Albumentations transform that an augmentation stands for."""
    custom = copy.deepcopy(augmentation.custom)
    if custom is None:
        return _color_transform()
    transforms, p = (custom.transforms, custom.p) if type(custom) is A.Compose else ([custom], 1.0)
    if "keypoints" not in A.Compose(transforms).available_keys:  # colours only: Albumentations warns about idle rules
        return A.Compose(transforms, p=p)
    # Built anew with our own keypoint rules: one point removed for being outside would shift all that follow it.
    return A.Compose(transforms, keypoint_params=A.KeypointParams(format="xy", remove_invisible=False), p=p)


def _color_transform() -> A.Compose:
    """The augmentation of colours: brightness, contrast, hue, gray, blur, noise."""
    return A.Compose(
        [
            A.RandomBrightnessContrast(brightness_limit=0.25, contrast_limit=0.25, p=0.6),
            A.HueSaturationValue(hue_shift_limit=10, sat_shift_limit=40, val_shift_limit=0, p=0.5),
            A.RandomGamma(gamma_limit=(80, 125), p=0.2),
            A.OneOf(
                [A.GaussianBlur(blur_limit=(3, 5)), A.MotionBlur(blur_limit=(3, 5)), A.GaussNoise(std_range=(0.01, 0.04))],
                p=0.1,
            ),
            A.ToGray(p=0.03),
        ]
    )
