"""What becomes of the results: drawn by a pool of threads, written in order by one more, while the network goes on."""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Queue
from threading import Semaphore, Thread

import numpy as np

from centerkp.drawing.pictures import draw_detections
from centerkp.geometry import clip_boxes
from centerkp.images.budget import Budget
from centerkp.images.packed import ZippedImage
from centerkp.images.saving import IMAGE_SUFFIXES, write_image
from centerkp.inference.prediction_files import CocoFile, CsvFile, is_own
from centerkp.inference.screen import Screen
from centerkp.inference.sources import Item, Picture
from centerkp.inference.video import Clip, ClipWriter
from centerkp.results import Detection
from centerkp.schema import Schema
from centerkp.writing import WriteGuard, short_name

PICTURE_BYTES = 1 << 29  # of pictures that are drawn or wait to be written


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

    def __post_init__(self) -> None:
        if not 0 <= self.min_keypoint_score <= 1:
            raise ValueError(f"--keypoint-score: found {self.min_keypoint_score:g}, expected a number from 0 to 1.")


class OutputNames:
    """Where the outputs of a run go, and whether they may.

    Pictures and videos keep the names of their sources. A format that is read but not written gets a second ending. A name
    that is too long for it, or taken by then, is changed; names that differ in case alone are the same on many disks.

    Args:
        sources: what is read, and never written over.
        overwrite: files that no earlier run wrote may be replaced.

    Raises:
        ValueError, FileExistsError, OSError: as `WriteGuard.check`, for all outputs that are known before the work.
    """

    def __init__(self, out: str | Path, sources: Sequence[Picture | Clip], choice: OutputChoice, overwrite: bool = False):
        self.out, self._planned, self._taken = Path(out), {}, set()
        named = (s.address.archive.filename if isinstance(s.address, ZippedImage) else s.address for s in sources)
        files = (path for path in named if not isinstance(path, int) and "://" not in str(path))
        self._guard = WriteGuard(files, overwrite)
        for source in sources:
            if isinstance(source, Clip):
                self._plan_output(source.name, self._name_video(source.name), choice.video)
            elif not source.fault:
                self._plan_output(source.name, self._name_picture(source.name), choice.pictures)
        tables = [self.out / "predictions.json", *([self.out / "predictions.csv"] if choice.csv else [])]
        self._guard.check([*tables, *self._planned.values()], is_own)

    def picture(self, item: Item) -> Path:
        """Where the annotated picture of an image or frame goes among the outputs."""
        known = None if item.clip else self._planned.get(item.name)
        return known or self._allow_output(self._name_picture(item.name))

    def video(self, clip: Clip) -> Path:
        """Where an annotated video goes among the outputs; that an address is one may turn out only when read."""
        known = self._planned.get(clip.name)
        return known if known and known.suffix == ".mp4" else self._allow_output(self._name_video(clip.name))

    def crop(self, item: Item, class_name: str, number: int) -> Path:
        """Where the crop of a found object goes among the outputs, by its number in the image or frame."""
        kind = "".join(c if c.isalnum() or c in " ._-" else "_" for c in class_name).strip(" .") or "object"
        return self._allow_output(_with_ending(self.out / "crops" / kind / item.name, f"_{number}.jpg"))

    def legend(self) -> Path:
        """Where the names of many keypoints go among the outputs, beside the folder of the pictures they stand in."""
        return self._allow_output(self.out / "legend.png")

    def _name_picture(self, name: str) -> Path:
        """The path of an annotated picture in `images/` below the output folder, with an ending that can be written."""
        path = self.out / "images" / name
        return _with_ending(path, "" if path.suffix.lower() in IMAGE_SUFFIXES else ".jpg")

    def _name_video(self, name: str) -> Path:
        """The path of an annotated video in `videos/` below the output folder, with the ending .mp4."""
        return _with_ending(self.out / "videos" / name, ".mp4")

    def _plan_output(self, name: str, path: Path, wanted: bool | None) -> None:
        """Keeps a free path for an output that is known before the work."""
        if wanted is not False:
            self._planned[name] = self._find_free_path(path)
            self._taken.add(str(self._planned[name]).casefold())

    def _find_free_path(self, path: Path) -> Path:
        """The output's path itself when no other output has it, else with the first free number."""
        free, number = path, 2
        while str(free).casefold() in self._taken:
            free, number = path.with_name(short_name(f"{path.stem}-{number}{path.suffix}")), number + 1
        return free

    def _allow_output(self, path: Path) -> Path:
        """A free path for an output, after a check that it may be written there."""
        path = self._find_free_path(path)
        self._guard.check([path], is_own)
        return path


def _with_ending(path: Path, ending: str) -> Path:
    """The path of an output with a further ending, shortened where the name gets too long for disks."""
    return path.with_name(short_name(path.name + ending))


@dataclass(frozen=True, eq=False)
class Result:
    """One image or frame with what was found in it; `tracks` numbers the detections, or is empty."""

    item: Item
    image: np.ndarray
    detections: Sequence[Detection]
    tracks: Sequence[int] = ()


class Outputs:
    """Writes results into a folder, a few at a time and in order; a context, at whose end all files are whole.

    `add` waits while too many results are in hand or too large ones, so the memory stays what it is. All files are opened,
    written and closed by one thread of its own: an interrupt (Ctrl-C), which comes to the main thread, never hits a file that
    is half written.

    Args:
        report: called with one sentence for every picture or video that could not be written, while all others can.
        smoothed: places of tracked objects are smoothed, which predictions.json then says.
    """

    def __init__(
        self,
        names: OutputNames,
        schema: Schema,
        choice: OutputChoice,
        screen: Screen | None,
        report: Callable[[str], None],
        smoothed: bool = False,
    ):
        self.names, self.schema, self.choice, self.screen, self.report = names, schema, choice, screen, report
        self.out, self.smoothed = names.out, smoothed
        self.image_count = self.object_count = 0
        self.paths: dict[str, Path] = {}  # what was written, by kind
        threads = min(os.cpu_count() or 1, 8)
        self._pool = ThreadPoolExecutor(threads)
        self._slots, self._budget = Semaphore(threads + 4), Budget(PICTURE_BYTES)
        self._queue: Queue[tuple[Result, Future] | None] = Queue()
        self._error: Exception | None = None
        self._thread = Thread(target=self._write_queue)

    def __enter__(self) -> "Outputs":
        self.out.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._queue.put(None)
        self._thread.join()
        self._pool.shutdown()
        if kind is None:
            self._raise_error()

    def add(self, result: Result) -> None:
        """Hands over one result to be drawn and written among the outputs, when there is room for it.

        Raises:
            OSError: an earlier one could not be written.
        """
        self._raise_error()
        self._slots.acquire()
        self._budget.take(2 * result.image.nbytes)  # the picture, and what is drawn on
        self._queue.put((result, self._pool.submit(self._draw_result, result)))

    def _raise_error(self) -> None:
        """Raises in the main thread the error that the thread which writes the outputs met."""
        if self._error is not None:
            raise self._error

    def _draw_result(self, result: Result) -> np.ndarray | None:
        """In the pool: the annotated picture of a result if wanted; pictures and crops, whose order is free, as files."""
        item, choice = result.item, self.choice
        if choice.crops:
            self._write_crops(result)
        as_file = choice.pictures if choice.pictures is not None else item.clip is None
        as_video = item.clip is not None and choice.video is not False
        if not (as_file or as_video or self.screen):
            return None
        found = result.detections
        if result.tracks:
            found = [replace(d, class_name=f"#{n} {d.class_name}") for d, n in zip(found, result.tracks, strict=True)]
        picture = draw_detections(result.image, found, self.schema, min_keypoint_score=choice.min_keypoint_score)
        if as_file:
            with report_and_go_on(self.report):
                write_image(self.names.picture(item), picture, "infer")
                self.paths["pictures"] = self.out / "images"
        return picture if as_video or self.screen else None

    def _write_crops(self, result: Result) -> None:
        """Writes each found object of an image as an output picture of its own."""
        height, width = result.image.shape[:2]
        for number, detection in enumerate(result.detections, 1):
            box = clip_boxes(np.nan_to_num(detection.box_xyxy), width, height)
            (x0, y0), (x1, y1) = np.floor(box[:2]).astype(int), np.ceil(box[2:]).astype(int)
            if x1 > x0 and y1 > y0:
                with report_and_go_on(self.report):
                    write_image(self.names.crop(result.item, detection.class_name, number), result.image[y0:y1, x0:x1], "infer")
                    self.paths["crops"] = self.out / "crops"

    def _write_queue(self) -> None:
        """The thread that writes: opens, fills and closes the output files; after an error it only empties the queue."""
        files: dict[str, CocoFile | CsvFile] = {}
        videos = _Videos(self.names, self.report)
        while (job := self._queue.get()) is not None:
            try:
                if self._error is None:
                    self._write_result(*job, files, videos)
            except Exception as error:
                self._error = error
            finally:
                size, job = 2 * job[0].image.nbytes, None  # nor does this thread keep a picture while it waits
                self._slots.release()
                self._budget.give_back(size)
        for kind, file in {"videos": videos, **files}.items():
            try:
                if path := file.close():
                    self.paths[kind] = path
            except Exception as error:
                self._error = self._error or error

    def _write_result(self, result: Result, drawing: Future, files: dict, videos: "_Videos") -> None:
        """Writes one result into every output file that was chosen, and shows it."""
        picture, item = drawing.result(), result.item
        if not files:  # only now, so that a run without a single image leaves an earlier one's files alone
            files["objects"] = CocoFile(self.out / "predictions.json", self.schema, self.smoothed)
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

    def __init__(self, names: OutputNames, report: Callable[[str], None]):
        self.names, self.report = names, report
        self._clip: Clip | None = None
        self._writer: ClipWriter | None = None
        self._written: Path | None = None

    def write(self, item: Item, picture: np.ndarray) -> None:
        """Adds an annotated frame to its clip's output video; a frame of another clip begins another."""
        with report_and_go_on(self.report):
            if self._clip is not item.clip:
                self._end_video()
                self._clip = item.clip
                self._writer = ClipWriter(self.names.video(item.clip), item.fps)
            if self._writer is not None:
                writer, self._writer = self._writer, None  # one that fails is not tried again
                writer.write(picture, item.seconds)
                self._writer = writer

    def _end_video(self) -> None:
        """Completes the output video whose frames came in so far, if there is one."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            self._written = writer.close() or self._written

    def close(self) -> Path | None:
        """Completes the last output video; returns the folder of all, None when there are none."""
        self._end_video()
        return self._written and self.names.out / "videos"


@contextmanager
def report_and_go_on(report: Callable[[str], None]) -> Iterator[None]:
    """What is wrong with one output alone (its name, its size, what stands there) is reported, and ends nothing else."""
    try:
        yield
    except (ValueError, FileExistsError) as error:
        report(str(error))
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ):
            raise
        report(str(error))
