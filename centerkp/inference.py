"""Images -> objects in source pixels."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from glob import glob, has_magic
from itertools import islice
from pathlib import Path

import numpy as np

from centerkp import geometry
from centerkp.data.image import letterbox_image, read_image
from centerkp.model.center_net import CenterNet
from centerkp.results import Detection, split_objects

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".jp2", ".ppm", ".pgm")


@dataclass(frozen=True, eq=False)
class ImageResult:
    """What was found in one image: `image` (H, W, 3) uint8 RGB upright, and its detections, best first.

    When the file could not be read, `error` says why, `image` is None and there are no detections.
    """

    path: Path
    image: np.ndarray | None
    detections: list[Detection]
    error: str = ""


def find_images(sources: Iterable[str | Path]) -> list[Path]:
    """The image files that paths, folders (searched with all their sub-folders) and glob patterns name, without repetition.

    Raises:
        FileNotFoundError: a source that names nothing.
    """
    found: dict[Path, None] = {}
    for source in map(str, sources):
        path = Path(source)
        if path.is_dir():
            paths = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
        elif path.is_file():
            paths = [path]
        else:
            paths = sorted(Path(p) for p in glob(source, recursive=True) if Path(p).is_file()) if has_magic(source) else []
        if not paths:
            raise FileNotFoundError(f"{source}: found no image, expected an image file, a folder with images, or a pattern.")
        found |= dict.fromkeys(paths)
    return list(found)


def detect(
    model: CenterNet, paths: Iterable[str | Path], *, batch_size: int = 8, min_score: float = 0.0, threads: int | None = None
) -> Iterator[ImageResult]:
    """Runs the model on image files and yields one result each, in order; files are read ahead by a pool of threads.

    Args:
        batch_size: images per step; the last step is filled up, so that the network is traced once.
        min_score: objects with a lower score are left out.

    Yields:
        `ImageResult`; an unreadable file gives one with `error`, it does not stop the others.
    """
    paths = iter([Path(p) for p in paths])
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        ahead = [pool.submit(_load, path, model.image_size) for path in islice(paths, batch_size)]
        while ahead:
            batch, ahead = ahead, [pool.submit(_load, path, model.image_size) for path in islice(paths, batch_size)]
            yield from _detect_batch(model, [load.result() for load in batch], batch_size, min_score)


@dataclass(frozen=True, eq=False)
class _Loaded:
    path: Path
    image: np.ndarray | None = None
    canvas: np.ndarray | None = None
    affine: np.ndarray | None = None
    valid_size: tuple[int, int] = (0, 0)
    error: str = ""


def _load(path: Path, size: tuple[int, int]) -> _Loaded:
    try:
        image = read_image(path)
    except (ValueError, OSError) as error:
        return _Loaded(path, error=str(error))
    return _Loaded(path, image, *letterbox_image(image, size))


def _detect_batch(model: CenterNet, loaded: Sequence[_Loaded], batch_size: int, min_score: float) -> Iterator[ImageResult]:
    readable = [one for one in loaded if not one.error]
    if readable:
        canvases = np.zeros((batch_size, *readable[0].canvas.shape), np.uint8)
        sizes = np.full((batch_size, 2), canvases.shape[2:0:-1], np.float32)
        for row, one in enumerate(readable):
            canvases[row], sizes[row] = one.canvas, one.valid_size
        decoded = model.predict_on_batch({"image": canvases, "valid_size": sizes})
    row = 0
    for one in loaded:
        if one.error:
            yield ImageResult(one.path, None, [], one.error)
            continue
        objects = {name: np.asarray(values[row]) for name, values in decoded.items()}
        yield ImageResult(one.path, one.image, split_objects(to_source(objects, one.affine), model.schema, min_score))
        row += 1


def to_source(objects: dict[str, np.ndarray], affine: np.ndarray) -> dict[str, np.ndarray]:
    """One image's decoded arrays, moved from the network's input back into the image it was made from."""
    back = geometry.invert(affine)
    moved = objects | {"boxes": geometry.apply_to_boxes(back, objects["boxes"]).astype(np.float32)}
    if "keypoints" in objects:
        moved["keypoints"] = geometry.apply_to_points(back, objects["keypoints"]).astype(np.float32)
    return moved
