"""What becomes of the results: drawn by a pool of threads, written in order by one more, while the network goes on."""

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Queue
from threading import Semaphore, Thread

import numpy as np

from centerkp.drawing.pictures import IMAGE_SUFFIXES, draw_detections, write_image
from centerkp.geometry import clip_boxes
from centerkp.inference.prediction_files import CocoFile, CsvFile
from centerkp.inference.screen import Screen
from centerkp.inference.sources import Item
from centerkp.inference.video import ClipWriter
from centerkp.results import Detection
from centerkp.schema import Schema


@dataclass(frozen=True)
class OutputChoice:
    """What is written besides `predictions.json`.

    Args:
        pictures, video: annotated pictures, annotated videos; None: pictures of images, and videos of videos.
        csv: also `predictions.csv`, with a row per object and keypoint.
        crops: also every object cut out of its image.
        show: shows every picture in a browser.
        min_keypoint_score: of keypoints that are drawn.
    """

    pictures: bool | None = None
    video: bool | None = None
    csv: bool = False
    crops: bool = False
    show: bool = False
    min_keypoint_score: float = 0.1


@dataclass(frozen=True, eq=False)
class Result:
    """One image or frame with what was found in it; `tracks` numbers the detections, or is empty."""

    item: Item
    image: np.ndarray
    detections: Sequence[Detection]
    tracks: Sequence[int] = ()


class Outputs:
    """Writes results into a folder, a few at a time and in order; a context, at whose end all files are whole.

    `add` waits while too many results are in hand, so the memory stays what it is. All files are opened, written and closed by
    one thread of its own: an interrupt (Ctrl-C), which comes to the main thread, never hits a file that is half written.
    """

    def __init__(self, out: str | Path, schema: Schema, choice: OutputChoice, screen: Screen | None = None):
        self.out, self.schema, self.choice, self.screen = Path(out), schema, choice, screen
        self.image_count = self.object_count = 0
        self.paths: dict[str, Path] = {}  # what was written, by kind
        threads = min(os.cpu_count() or 1, 8)
        self._pool = ThreadPoolExecutor(threads)
        self._slots = Semaphore(threads + 4)
        self._queue: Queue[tuple[Result, Future] | None] = Queue()
        self._error: Exception | None = None
        self._thread = Thread(target=self._work)

    def __enter__(self) -> "Outputs":
        self.out.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        return self

    def __exit__(self, kind, *_) -> None:
        self._queue.put(None)
        self._thread.join()
        self._pool.shutdown()
        if kind is None:
            self._raise_error()

    def add(self, result: Result) -> None:
        """Hands over one result.

        Raises:
            OSError: an earlier one could not be written.
        """
        self._raise_error()
        self._slots.acquire()
        self._queue.put((result, self._pool.submit(self._draw, result)))

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _draw(self, result: Result) -> np.ndarray | None:
        """In the pool: the annotated picture when somebody wants it; pictures and crops, whose order is free, as files."""
        item, choice = result.item, self.choice
        name = Path(item.name)
        if choice.crops:
            self._write_crops(result, name)
        as_file = choice.pictures if choice.pictures is not None else item.clip is None
        as_video = item.clip is not None and choice.video is not False
        if not (as_file or as_video or self.screen):
            return None
        found = result.detections
        if result.tracks:
            found = [replace(d, class_name=f"#{n} {d.class_name}") for d, n in zip(found, result.tracks, strict=True)]
        picture = draw_detections(result.image, found, self.schema, min_keypoint_score=choice.min_keypoint_score)
        if as_file:
            # A format that is read but not written gets a second ending, so that no picture replaces that of a namesake.
            name = name if name.suffix.lower() in IMAGE_SUFFIXES else Path(f"{name}.jpg")
            write_image(self.out / "images" / name, picture)
            self.paths["pictures"] = self.out / "images"
        return picture if as_video or self.screen else None

    def _write_crops(self, result: Result, name: Path) -> None:
        height, width = result.image.shape[:2]
        for number, detection in enumerate(result.detections, 1):
            box = clip_boxes(np.nan_to_num(detection.box_xyxy), width, height)
            (x0, y0), (x1, y1) = np.floor(box[:2]).astype(int), np.ceil(box[2:]).astype(int)
            if x1 > x0 and y1 > y0:
                kind = "".join(c if c.isalnum() or c in " ._-" else "_" for c in detection.class_name).strip(" .") or "object"
                path = self.out / "crops" / kind / name.with_name(f"{name.name}_{number}.jpg")
                write_image(path, result.image[y0:y1, x0:x1])
                self.paths["crops"] = self.out / "crops"

    def _work(self) -> None:
        """In the writing thread: opens, fills and closes the files; after an error it only empties the queue."""
        files: dict[str, CocoFile | CsvFile] = {}
        videos = _Videos(self.out / "videos")
        while (job := self._queue.get()) is not None:
            try:
                if self._error is None:
                    self._write(*job, files, videos)
            except Exception as error:
                self._error = error
            finally:
                self._slots.release()
        for kind, file in {"videos": videos, **files}.items():
            try:
                if path := file.close():
                    self.paths[kind] = path
            except Exception as error:
                self._error = self._error or error

    def _write(self, result: Result, drawing: Future, files: dict, videos: "_Videos") -> None:
        picture, item = drawing.result(), result.item
        if not files:  # only now, so that a run without a single image leaves an earlier one's files alone
            files["objects"] = CocoFile(self.out / "predictions.json", self.schema)
            if self.choice.csv:
                files["table"] = CsvFile(self.out / "predictions.csv")
        height, width = result.image.shape[:2]
        image = {"file_name": item.name, "width": width, "height": height}
        if item.clip is not None:
            image |= {"video": str(item.clip.address), "frame": item.index, "seconds": round(item.seconds, 3)}
        for file in files.values():
            file.add(image, result.detections, result.tracks)
        if item.clip is not None and self.choice.video is not False:
            videos.write(item, picture)
        if self.screen:
            self.screen.show(picture)
        self.image_count += 1
        self.object_count += len(result.detections)


class _Videos:
    """The video of the clip whose frames are coming in; the one before is complete when another begins."""

    def __init__(self, folder: Path):
        self.folder, self._clip, self._writer, self._written = folder, None, None, None

    def write(self, item: Item, picture: np.ndarray) -> None:
        if self._clip is not item.clip:
            self._end()
            self._clip, self._writer = item.clip, ClipWriter(self.folder / f"{item.clip.name}.mp4", item.fps)
        self._writer.write(picture, item.index)

    def _end(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            self._written = writer.close() or self._written

    def close(self) -> Path | None:
        self._end()
        return self._written and self.folder
