"""`centerkp.predict`: a model or its file, and images of any kind -> a result for each."""

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from centerkp.images.oddities import describe_oddities
from centerkp.images.packed import ImageBytes
from centerkp.inference.detect import Frame, detect
from centerkp.inference.detector import Detector
from centerkp.inference.image_result import Predictions
from centerkp.inference.model_loading import load_detector
from centerkp.inference.scores import choose_least_scores
from centerkp.inference.search import find_images
from centerkp.inference.tiles import choose_tiling
from centerkp.wording import printable


def predict(
    model: Detector | str | Path,
    source: Any,
    *,
    min_score: float | None = None,
    batch_size: int = 8,
    tta: str | Sequence[str] = (),
    tile: int | None = None,
    overlap: float | None = None,
) -> Predictions:
    """Finds objects and their keypoints in images of any kind: `for d in predict(model, "photos/")[0]: print(d.keypoints)`.

    Args:
        model: a `CenterNet`, another detector, or what `load_detector` takes: a `.keras` file, "coco", an exported artefact.
        source: one of these, or an iterable of them (a list, a generator):
            a path of an image file, of a folder (searched with all its sub-folders), of a zip archive, or a glob pattern; the
            bytes of an image file, or one that is open for reading bytes; an image as an array or as a Pillow image, whose
            types and ranges `images.pixels.to_rgb` says (uint8 0..255, floats 0..1, ...); a batch of images as an array
            (N, H, W, 3), (N, H, W, 4) or (N, H, W, 1); a `Frame`, which is an image with a name.
        min_score: objects with a lower score are left out. By default those stored with the model, by class, else 0.3; which,
            and why, is printed, once for each model.
        batch_size: images per step of the network.
        tta: test-time augmentation, "flip", "scale" or "flip,scale". Its graphs are made at each call: for many, pass an
            `inference.augmented.AugmentedDetector` as the model.
        tile: cuts pictures much larger than the network's input into tiles of so many pixels, see `images.tiling.Tiling`; 0
            cuts none. By default as in the model's training.
        overlap: of neighbouring tiles, a share of them, 0.2 by default.

    Returns:
        A list with one `ImageResult` per image, in order. For a file that cannot be read it has `error` and no detections, and
        a warning says so, as it does of odd files (`images.oddities`). Pixels of files are not kept: `result.image` reads them
        again.

    Raises:
        FileNotFoundError: a path names nothing.
        ValueError: an array is no image, or its values are outside the range of its type; names it by its position, image_0 the
            first.
    """
    if isinstance(model, str | os.PathLike):
        model = load_detector(model)
    if tta:
        from centerkp.inference.augmented import augment  # needs Keras

        model = augment(model, tta)
    tiling = choose_tiling(getattr(model, "tiling", None), tile, overlap)
    least = choose_least_scores(model, min_score)
    if min_score is None:
        _print_once(least.sentence)
    results = Predictions([], model.schema)
    for result in detect(model, _expand_source(source), batch_size=batch_size, min_score=least.values, tiling=tiling):
        if result.error and result.path is None:
            raise ValueError(result.error)
        if result.error:
            warnings.warn(f"left out: {printable(result.error)}", stacklevel=2)
        results.append(result if result.path is None else replace(result, pixels=None))
    for sentence in describe_oddities((result.name, result.oddities) for result in results):
        warnings.warn(printable(sentence), stacklevel=2)
    return results


@cache
def _print_once(sentence: str) -> None:
    """Prints what `predict` chose, not again for every picture of a program that predicts one at a time."""
    print(sentence)


def _read_open_file(file: Any, name: str) -> ImageBytes:
    """The image in an open file, or in anything with `read`, from where it stands; known to `predict` by its file's name."""
    data = file.read()
    name = file.name if isinstance(getattr(file, "name", None), str) else name
    if not isinstance(data, bytes):
        raise ValueError(f"{name}: found a file that is open for text, expected one for bytes; open it with mode 'rb'.")
    return ImageBytes(name, data)


def _expand_source(source: Any, first: int = 0) -> Iterator:
    """The images that the first argument of `centerkp.predict` stands for, as `detect` takes them, in order.

    Args:
        first: the number of the first of them, by which one is called that has no name.
    """
    if isinstance(source, str | os.PathLike):
        yield from find_images([os.fspath(source)])
    elif isinstance(source, bytes | bytearray | memoryview):
        yield ImageBytes(f"image_{first}", bytes(source))
    elif callable(getattr(source, "read", None)):
        yield _read_open_file(source, f"image_{first}")
    elif isinstance(source, Image.Image | Frame):
        yield source
    elif hasattr(source, "__array__"):
        pixels = np.asarray(source)
        # Copied, since reading ahead a generator that fills the same array again and again would see a later picture.
        yield from pixels.copy() if pixels.ndim == 4 else [pixels.copy()]
    elif isinstance(source, Iterable):
        for one in source:
            for item in _expand_source(one, first):
                yield item
                first += 1
    else:
        raise ValueError(
            f"predict: found a source of type {type(source).__name__}, expected a path, an image, its bytes, an array, "
            "or several of them."
        )
