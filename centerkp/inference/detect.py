"""Images of any kind -> objects in source pixels."""

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from glob import glob, has_magic
from itertools import islice
from pathlib import Path
from queue import Full, Queue
from threading import Event, Thread
from typing import Any, Protocol

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from centerkp import geometry
from centerkp.data.coco import Record
from centerkp.data.image import PackedImage, letterbox_image, read_image
from centerkp.data.pixels import to_rgb
from centerkp.image_result import ImageResult, Predictions
from centerkp.results import Detection, split_objects
from centerkp.schema import Schema

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".jp2", ".ppm", ".pgm")


class Detector(Protocol):
    """Anything that finds objects in batches: a `CenterNet`, one with test-time augmentation, or an exported artefact.

    `image_size` is the (width, height) of its input. `predict_on_batch` takes `{"image": (B, height, width, 3) uint8 RGB,
    "valid_size": (B, 2) float32 width and height of the picture inside its padding}` and returns what `codec.decode.decode`
    does.
    """

    schema: Schema
    image_size: tuple[int, int]

    def predict_on_batch(self, x: Mapping[str, np.ndarray]) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Frame:
    """A picture that has a name but no file of its own, such as a frame of a video; `image` is what `to_rgb` takes."""

    name: str
    image: Any


def find_images(sources: Iterable[str | Path]) -> list[Path]:
    """The image files that paths, folders (searched with all their sub-folders) and glob patterns name, without repetition.

    Raises:
        FileNotFoundError: a source that names nothing.
    """
    found: dict[Path, None] = {}
    for source in map(str, sources):
        paths = match_files(source, IMAGE_SUFFIXES)
        if not paths:
            raise FileNotFoundError(f"{source}: found no image, expected an image file, a folder with images, or a pattern.")
        found |= dict.fromkeys(paths)
    return list(found)


def match_files(source: str, suffixes: Sequence[str]) -> list[Path]:
    """A file itself, the files with one of the endings in a folder and all below it, or those that fit a glob pattern."""
    path = Path(source)
    if path.is_dir():
        return sorted(p for p in path.rglob("*") if p.suffix.lower() in suffixes and p.is_file())
    if path.is_file():
        return [path]
    return sorted(Path(p) for p in glob(source, recursive=True) if Path(p).is_file()) if has_magic(source) else []


def predict(
    model: Detector | str | Path,
    source,
    *,
    min_score: float = 0.3,
    batch_size: int = 8,
    tta: str | Sequence[str] = (),
) -> Predictions:
    """Finds objects and their keypoints in images of any kind: `for d in predict(model, "photos/")[0]: print(d.keypoints)`.

    Args:
        model: a `CenterNet`, another detector, or what `export.artefact.load_detector` takes: a `.keras` file, "coco", an
            exported artefact.
        source: one of these, or an iterable of them (a list, a generator):
            a path of an image file, of a folder (searched with all its sub-folders), or a glob pattern; an image as an array or
            as a Pillow image, whose types and ranges `data.pixels.to_rgb` says (uint8 0..255, floats 0..1, ...); a batch of
            images as an array (N, H, W, 3), (N, H, W, 4) or (N, H, W, 1); a `Frame`, which is an image with a name.
        min_score: objects with a lower score are left out.
        batch_size: images per step of the network.
        tta: test-time augmentation, "flip", "scale" or "flip,scale"; see `augmented.AugmentedDetector`.

    Returns:
        A list with one `ImageResult` per image, in order. For a file that cannot be read it has `error` and no detections, and
        a warning says so. Pixels of files are not kept: `result.image` reads them again.

    Raises:
        FileNotFoundError: a path names nothing.
        ValueError: an array is no image, or its values are outside the range of its type; names it by its position, image_0 the
            first.
    """
    if isinstance(model, str | os.PathLike):
        from centerkp.export.artefact import load_detector

        model = load_detector(model)
    if tta:
        from centerkp.augmented import augment

        model = augment(model, tta)
    results = Predictions([], model.schema)
    for result in detect(model, _expand(source), batch_size=batch_size, min_score=min_score):
        if result.error and result.path is None:
            raise ValueError(result.error)
        if result.error:
            warnings.warn(f"left out: {result.error}", stacklevel=2)
        results.append(result if result.path is None else replace(result, pixels=None))
    return results


def _expand(source) -> Iterator:
    """What `detect` takes, one image after another."""
    if isinstance(source, str | os.PathLike):
        yield from find_images([source])
    elif isinstance(source, Image.Image | Frame):
        yield source
    elif hasattr(source, "__array__"):
        pixels = np.asarray(source)
        # Copied, since reading ahead a generator that fills the same array again and again would see a later picture.
        yield from pixels.copy() if pixels.ndim == 4 else [pixels.copy()]
    elif isinstance(source, Iterable):
        for one in source:
            yield from _expand(one)
    else:
        raise ValueError(
            f"predict: found a source of type {type(source).__name__}, expected a path, an image, an array, or several of them."
        )


def detect(
    detector: Detector,
    items: Iterable,
    *,
    batch_size: int = 8,
    min_score: float = 0.0,
    threads: int | None = None,
) -> Iterator[ImageResult]:
    """Runs the detector on images and yields one result each, in order.

    Reading, the network, and whatever the caller does with the results overlap: images are taken from `items` in one thread,
    read and fitted by a pool of them, and detected in another, each at most two batches ahead of the next. So the memory does
    not depend on how many images there are. Leaving the loop early ends the threads.

    Args:
        items: paths, `PackedImage`s, arrays, Pillow images (see `data.pixels.to_rgb`) or `Frame`s; may be a generator, also an
            endless one, that leaves alone what it has given away.
        batch_size: images per step; the last step is filled up, so that the network is traced once.
        min_score: objects with a lower score are left out.
        threads: that read images; by default one per processor.

    Yields:
        `ImageResult`; an unreadable image gives one with `error`, it does not stop the others.
    """
    pool = ThreadPoolExecutor(threads or os.cpu_count())
    loads = (pool.submit(_load, item, number, detector.image_size) for number, item in enumerate(items))
    batches = read_ahead(_detect_batches(detector, read_ahead(loads, 2 * batch_size), batch_size, min_score), 1)
    try:
        for batch in batches:
            yield from batch
    finally:
        batches.close()
        pool.shutdown(cancel_futures=True)


def detect_records(
    detector: Detector, records: Sequence[Record], batch_size: int, console: Console | None = None, title: str = ""
) -> list[list[Detection]]:
    """The detections of every record's image, in order; with a console that is a terminal, behind a progress bar.

    Raises:
        ValueError: an image cannot be read any more.
    """
    found = []
    results = detect(detector, [record.path for record in records], batch_size=batch_size)
    hidden = console is None or not console.is_terminal
    for result in track(results, title, total=len(records), console=console, transient=True, disable=hidden):
        if result.error:
            raise ValueError(f"{result.error} Without it the numbers would not be those of the whole dataset.")
        found.append(result.detections)
    return found


def read_ahead(items: Iterable, count: int) -> Iterator:
    """Yields the same items, while a thread already takes up to `count` of the next ones.

    What the items raise is raised here. Closing this generator ends the thread and closes `items`.
    """
    iterator, ready, stop = iter(items), Queue(count), Event()

    def offer(item, error=None) -> bool:
        while not stop.is_set():
            try:
                ready.put((item, error), timeout=0.1)
                return True
            except Full:
                pass
        return False

    def work() -> None:
        try:
            for item in iterator:
                if not offer(item):
                    return
            offer(None, StopIteration())
        except Exception as error:
            offer(None, error)
        finally:
            if hasattr(iterator, "close"):
                iterator.close()

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
    finally:
        stop.set()
        thread.join(timeout=10)  # a camera that gives no more frames must not hold up the end


@dataclass(frozen=True, eq=False)
class _Loaded:
    name: str
    path: Path | None
    image: np.ndarray | None = None
    canvas: np.ndarray | None = None
    affine: np.ndarray | None = None
    valid_size: tuple[int, int] = (0, 0)
    error: str = ""


def _load(item, number: int, size: tuple[int, int]) -> _Loaded:
    path, name = None, f"image_{number}"
    is_file = isinstance(item, str | os.PathLike | PackedImage)
    if isinstance(item, str | os.PathLike):
        path = Path(item)
        name = str(path)
    elif isinstance(item, PackedImage):
        name = str(item)
    elif isinstance(item, Frame):
        name = item.name
    elif isinstance(item, Image.Image):
        name = getattr(item, "filename", "") or name
    try:
        image = read_image(path or item) if is_file else to_rgb(item.image if isinstance(item, Frame) else item, name)
    except (ValueError, OSError) as error:
        return _Loaded(name, path, error=str(error))
    return _Loaded(name, path, image, *letterbox_image(image, size))


def _detect_batches(
    detector: Detector, loads: Iterator[Future], batch_size: int, min_score: float
) -> Iterator[list[ImageResult]]:
    first = True
    try:
        while batch := [load.result() for load in islice(loads, batch_size)]:
            # The first step may be the only one: then a few images need not pay for a full batch.
            rows = min(1 << (len(batch) - 1).bit_length(), batch_size) if first else batch_size
            yield _detect_batch(detector, batch, rows, min_score)
            first = False
    finally:
        loads.close()


def _detect_batch(detector: Detector, loaded: Sequence[_Loaded], rows: int, min_score: float) -> list[ImageResult]:
    readable = [one for one in loaded if not one.error]
    if readable:
        canvases = np.zeros((rows, *readable[0].canvas.shape), np.uint8)
        sizes = np.full((rows, 2), canvases.shape[2:0:-1], np.float32)
        for row, one in enumerate(readable):
            canvases[row], sizes[row] = one.canvas, one.valid_size
        decoded = detector.predict_on_batch({"image": canvases, "valid_size": sizes})
        decoded = {name: np.asarray(values) for name, values in decoded.items()}
    results, row = [], 0
    for one in loaded:
        found = []
        if not one.error:
            objects = {name: values[row] for name, values in decoded.items()}
            found = split_objects(to_source(objects, one.affine), detector.schema, min_score)
            row += 1
        size = (0, 0) if one.error else one.image.shape[1::-1]
        results.append(ImageResult(one.name, one.path, size, found, detector.schema, one.error, one.image))
    return results


def to_source(objects: dict[str, np.ndarray], affine: np.ndarray) -> dict[str, np.ndarray]:
    """One image's decoded arrays, moved from the network's input back into the image it was made from."""
    back = geometry.invert(affine)
    moved = objects | {"boxes": geometry.apply_to_boxes(back, objects["boxes"]).astype(np.float32)}
    if "keypoints" in objects:
        moved["keypoints"] = geometry.apply_to_points(back, objects["keypoints"]).astype(np.float32)
    if "keypoint_deviations" in objects:
        scale = np.sqrt(abs(np.linalg.det(back[:, :2])))  # the mean of both axes, which differ by a rounding only
        moved["keypoint_deviations"] = (scale * objects["keypoint_deviations"]).astype(np.float32)
    return moved
