"""Images of any kind -> objects in source pixels."""

import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Full, Queue
from threading import Event, Thread
from typing import Any, Literal

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from centerkp.images.budget import Budget
from centerkp.images.oddities import Oddity
from centerkp.images.packed import PackedImage, ZippedImage
from centerkp.images.pixels import to_rgb
from centerkp.images.reading import letterbox_image, read_image, read_image_size
from centerkp.images.sensors import Levels
from centerkp.images.tiling import Tiling
from centerkp.inference.detector import Detector
from centerkp.inference.image_result import ImageResult
from centerkp.inference.tiles import detect_tiles
from centerkp.labels.records import Record
from centerkp.results import Detection, split_objects, to_source

PICTURE_BYTES = 1 << 30  # of pictures that are read ahead, in the network or on their way to the caller


@dataclass(frozen=True)
class Frame:
    """A picture that has a name but no file of its own, such as a frame of a video; `image` is what `to_rgb` takes."""

    name: str
    image: Any


def detect(
    detector: Detector,
    items: Iterable,
    *,
    batch_size: int = 8,
    min_score: float | Sequence[float] = 0.0,
    threads: int | None = None,
    tiling: Tiling | None | Literal["stored"] = "stored",
) -> Generator[ImageResult]:
    """Runs the detector on images of any kind and yields one result each, in order.

    Reading, the network, and whatever the caller does with the results overlap: images are taken from `items` in one thread,
    read and fitted by a pool of them, and detected in another, each at most two batches and all together `PICTURE_BYTES` of
    pixels ahead of the caller (but one picture at least). So the memory depends neither on how many images there are nor on how
    large they are. Leaving the loop early ends the threads.

    Args:
        items: paths, `PackedImage`s, arrays, Pillow images (`images.pixels.to_rgb`) or `Frame`s; may be a generator, also an
            endless one, that leaves alone what it has given away.
        batch_size: images per step, fewer where they are huge; a step is filled up where the network is traced for one already.
        min_score: objects with a lower score are left out; one for all classes, or (C,) in the schema's order.
        threads: that read images; by default one per processor.
        tiling: how large pictures are cut, None for none; by default as the detector says.

    Yields:
        `ImageResult`; an unreadable image gives one with `error`, it does not stop the others.

    Raises:
        ValueError: a batch size below 1, when the first result is asked for.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size: found {batch_size}, expected 1 or more.")
    tiling = getattr(detector, "tiling", None) if tiling == "stored" else tiling
    pool, budget = ThreadPoolExecutor(threads or os.cpu_count()), Budget(PICTURE_BYTES)
    # Huge pictures are taken one by one: what fills a step are their parts.
    loads = read_ahead(_load_batches(pool, items, detector, 1 if tiling else batch_size, budget, tiling), 1)
    batches = read_ahead(_detect_batches(detector, loads, batch_size, min_score, tiling), 1)
    try:
        for batch in batches:
            while batch:  # which keeps no picture alive that has been given away
                result, size = batch.popleft()
                yield result
                del result
                budget.give_back(size)
    finally:
        budget.close()
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
        found.append(list(result.detections))
    return found


def read_ahead(items: Iterable, count: int) -> Generator:
    """Keeps the detector supplied: yields the same items, while a thread already takes up to `count` of the next ones.

    What the items raise is raised here. Closing this generator ends the thread and closes `items`.
    """
    iterator, ready, stop = iter(items), Queue(count), Event()

    def offer(item: Any, error: BaseException | None = None) -> bool:
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
    """An item that was read for the detector, or why it could not be."""

    name: str
    path: Path | ZippedImage | None
    image: np.ndarray | None = None
    canvas: np.ndarray | None = None
    affine: np.ndarray | None = None
    valid_size: tuple[int, int] = (0, 0)
    error: str = ""
    oddities: Sequence[Oddity] = ()
    levels: Levels | None = None


def _load_item(item: Any, number: int, size: tuple[int, int] | None, levels: Levels | None) -> _Loaded:
    """An item for the detector: read, upright, fitted to the network's input if that has a size; or the error of reading it."""
    path, name, oddities = None, f"image_{number}", []
    is_file = isinstance(item, str | os.PathLike | PackedImage)
    if isinstance(item, str | os.PathLike):
        path = Path(item)
        name = str(path)
    elif isinstance(item, PackedImage):
        path, name = item if isinstance(item, ZippedImage) else None, str(item)
    elif isinstance(item, Frame):
        name = item.name
    elif isinstance(item, Image.Image):
        name = getattr(item, "filename", "") or name
    try:
        if is_file:
            image = read_image(path or item, levels, oddities.append)
        else:
            image = to_rgb(item.image if isinstance(item, Frame) else item, name)
    except (ValueError, OSError) as error:
        return _Loaded(name, path, error=str(error))
    canvas, affine, valid_size = letterbox_image(image, size) if size else (None, None, (0, 0))
    return _Loaded(name, path, image, canvas, affine, valid_size, oddities=oddities, levels=levels if path else None)


def _load_batches(
    pool: ThreadPoolExecutor, items: Iterable, detector: Detector, batch_size: int, budget: Budget, tiling: Tiling | None
) -> Iterator[list[tuple[Future, int]]]:
    """Batches of pictures being read for the detector, with their bytes, which are taken from the budget."""
    batch: list[tuple[Future, int]] = []
    size = None if tiling else detector.image_size
    levels = getattr(detector, "levels", None)
    for number, item in enumerate(items):
        count = _count_bytes(item)
        # What does not fit in beside the batch itself would wait for ever.
        if batch and count + sum(taken for _, taken in batch) > budget.total:
            yield batch
            batch = []
        budget.take(count)
        batch.append((pool.submit(_load_item, item, number, size, levels), count))
        del item
        if len(batch) == batch_size:
            yield batch
            batch = []
    if batch:
        yield batch


def _count_bytes(item: Any) -> int:
    """Bytes that a picture to detect objects in will take in memory; 0 for what cannot be read."""
    image = item.image if isinstance(item, Frame) else item
    try:
        if isinstance(image, str | os.PathLike | PackedImage):
            width, height = read_image_size(image)
        elif isinstance(image, Image.Image):
            width, height = image.size
        else:
            height, width = np.shape(image)[:2]
    except (ValueError, OSError):
        return 0
    return 3 * width * height


def _detect_batches(
    detector: Detector,
    loads: Generator[list[tuple[Future, int]]],
    batch_size: int,
    min_score: float | Sequence[float],
    tiling: Tiling | None,
) -> Iterator[deque[tuple[ImageResult, int]]]:
    """Runs the detector on loaded items, batch by batch; the last one is filled up.

    A runtime that works on several pictures at a time has the next batch before it ends one, not to wait for the last of each.
    """
    traced: set[int] = set()
    at_once = getattr(detector, "batches_at_once", 1) if batch_size > 1 else 1
    begun: deque[tuple[Future, list[int]]] = deque()
    try:
        with ThreadPoolExecutor(at_once) as steps:
            for batch in loads:
                # The first step may be the only one, and of huge pictures each has few: these need not pay for a full one.
                wanted = batch_size if tiling else min(1 << (len(batch) - 1).bit_length(), batch_size)
                rows = min((count for count in traced if count >= len(batch)), default=wanted)
                traced.add(rows)
                loaded = [load.result() for load, _ in batch]
                step = steps.submit(_detect_batch, detector, loaded, rows, min_score, tiling)
                begun.append((step, [count for _, count in batch]))
                batch.clear()
                del loaded, step
                if len(begun) == at_once:
                    yield _await_batch(begun)
            while begun:
                yield _await_batch(begun)
    finally:
        loads.close()


def _await_batch(begun: deque[tuple[Future, list[int]]]) -> deque[tuple[ImageResult, int]]:
    """The results of the batch that began first to be detected, with the bytes of each picture."""
    step, counts = begun.popleft()
    return deque(zip(step.result(), counts, strict=True))


def _detect_batch(
    detector: Detector, loaded: Sequence[_Loaded], rows: int, min_score: float | Sequence[float], tiling: Tiling | None
) -> list[ImageResult]:
    """Runs the detector on one batch to detect its objects; items that could not be read give results with their error."""
    readable = [one for one in loaded if not one.error]
    if tiling:
        found = (detect_tiles(detector, tiling, one.image, rows) for one in readable)
    else:
        found = _detect_canvases(detector, readable, rows)
    results = []
    for one in loaded:
        objects = [] if one.error else split_objects(next(found), detector.schema, min_score)
        size = (0, 0) if one.error else one.image.shape[1::-1]
        results.append(
            ImageResult(one.name, one.path, size, objects, detector.schema, one.error, one.image, one.oddities, one.levels)
        )
    return results


def _detect_canvases(detector: Detector, loaded: Sequence[_Loaded], rows: int) -> Iterator[dict[str, np.ndarray]]:
    """What the detector finds in pictures that were fitted to its input, in one step; in pixels of each picture."""
    if not loaded:
        return
    canvases = np.zeros((rows, *loaded[0].canvas.shape), np.uint8)
    sizes = np.full((rows, 2), canvases.shape[2:0:-1], np.float32)
    for row, one in enumerate(loaded):
        canvases[row], sizes[row] = one.canvas, one.valid_size
    decoded = detector.predict_on_batch({"image": canvases, "valid_size": sizes})
    decoded = {name: np.asarray(values) for name, values in decoded.items()}
    for row, one in enumerate(loaded):
        yield to_source({name: values[row] for name, values in decoded.items()}, one.affine)
