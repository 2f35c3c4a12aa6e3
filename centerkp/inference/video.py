"""Videos, cameras and streams: frame by frame in, frame by frame out."""

import os
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Event, Thread

import cv2
import numpy as np

from centerkp.inference.frame_times import set_frame_times
from centerkp.wording import count_of
from centerkp.writing import claim_part, mark, remove_part

# What FFmpeg and OpenCV print about every damaged byte would bury the one line that is ours.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # read when the first video is opened
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

TIMEOUT = 10  # seconds without a frame after which a stream has ended
DEFAULT_FPS = 25.0  # where a camera or file does not say
MAX_TICKS = 65535  # MPEG-4 counts the parts of a second in 16 bits
# Codecs that every build of OpenCV decodes: where it finds no picture of such, the file is at fault.
DECODED = set("avc1 fmp4 h264 hev1 hevc hvc1 mjpg mp4v mpg1 mpg2 vp08 vp09 vp80 vp90 xvid".split())
FRUITLESS = 30  # frames in a row that cannot be read, after which nothing more is expected of a file


@dataclass(frozen=True)
class Clip:
    """A video: `address` is a path or address for FFmpeg, or the number of a camera; `name` its name among the outputs.

    `live` pictures do not wait: while the network is busy, frames are left out.
    """

    name: str
    address: str | int
    live: bool = False


def open_clip(clip: Clip) -> "ClipReader":
    """Opens a video file, camera or stream for reading frame by frame.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be opened; names it.
    """
    if isinstance(clip.address, int):
        capture = cv2.VideoCapture(clip.address)
        if not capture.isOpened():
            raise ValueError(f"camera {clip.address}: found none, expected the number of a camera, often 0; try another one.")
        return ClipReader(clip, capture)
    is_file = "://" not in clip.address
    if is_file and not Path(clip.address).is_file():
        raise FileNotFoundError(f"{clip.address}: no such video; check the path.")
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 1000 * TIMEOUT, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 1000 * TIMEOUT]
    # A whole path, since FFmpeg takes what stands before a colon for the name of a protocol.
    capture = cv2.VideoCapture(_path_as_text(clip.address, is_file), cv2.CAP_FFMPEG, limits)
    if not capture.isOpened():
        expected = "a video, whole or cut off behind its index" if is_file else "a stream or video that answers"
        remedy = "copy or record it again" if is_file else "check the address with another player"
        raise ValueError(f"{clip.address}: found nothing that can be played, expected {expected}; {remedy}.")
    return ClipReader(clip, capture)


def _path_as_text(path: str | Path, is_file: bool = True) -> str:
    """A video's path as OpenCV takes it, which ends the process at names that are bytes without letters.

    Raises:
        ValueError: it is such a name.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ValueError(f"{path}: found a name that is not text, expected one for a video; rename it.") from None
    return os.path.abspath(path) if is_file else str(path)


def round_rate(fps: float) -> float:
    """Frames per second as an MPEG-4 video can count them: so many digits that ticks stay within `MAX_TICKS`."""
    digits = next(d for d in (3, 2, 1, 0) if round(fps * 10**d) <= MAX_TICKS)
    return max(round(fps, digits), 0.01)


class ClipReader:
    """An open video. `fps` is its frames per second, `frame_count` what its header says, None where nobody knows.

    `codec` is the four letters for how its pictures are coded, empty where nobody knows.
    """

    def __init__(self, clip: Clip, capture: cv2.VideoCapture):
        self.clip, self.capture = clip, capture
        self._grabber: Thread | None = None
        fps, count = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        letters = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
        self.codec = letters.to_bytes(4, "little").decode("ascii", "ignore").strip("\0 ")
        self.fps = fps if 0 < fps <= 1000 else DEFAULT_FPS
        self.frame_count = count if count > 0 and not clip.live else None

    def __enter__(self) -> "ClipReader":
        return self

    def __exit__(self, *_: object) -> None:
        if self._grabber is not None:
            self._grabber.join(TIMEOUT / 2)
            if self._grabber.is_alive():
                return  # a read that never returns keeps its capture: releasing that under it ends the process
        self.capture.release()

    def read_frames(
        self, report: Callable[[str], None], stop: Event, stride: int = 1
    ) -> Iterator[tuple[int, float, np.ndarray]]:
        """Yields (position, seconds, image (H, W, 3) uint8 RGB) of every frame of a video that can be read.

        The seconds are those of the video's own clock since its first frame, which need not tick evenly.

        Args:
            report: called with one sentence about frames that could not be read, and about a video that ends too early.
            stop: set, it ends the reading.
            stride: only every so manieth frame.
        """
        frames = self._read_live(report, stop, stride) if self.clip.live else self._read_file(report, stop, stride)
        for index, seconds, image in frames:
            yield index, seconds, cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def _read_file(self, report: Callable[[str], None], stop: Event, stride: int) -> Iterator[tuple[int, float, np.ndarray]]:
        """The frames of a video file, up to its end or to where nothing more can be read."""
        position, broken, fruitless = 0, 0, 0
        started = seconds = None
        before, step = 0.0, 1 / self.fps  # the clock at the frame before, and what it last went on by
        while not stop.is_set() and fruitless < FRUITLESS:
            read, image = self.capture.grab(), None
            if read and (position + fruitless) % stride == 0:
                read, image = self.capture.retrieve()
            if not read and self.frame_count and position + fruitless >= self.frame_count:
                break
            if not read:
                fruitless += 1
                continue
            position, broken, fruitless = position + fruitless, broken + fruitless, 0
            clock = self.capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if started is None:
                started, before = clock - position / self.fps * (position > 0), clock
            # Some files have no times, some frames of theirs have none, and some clocks stand still or go back. The mean rate
            # says nothing of frames that come unevenly: times that follow it may be ahead of the clock for ever.
            step, before = clock - before if 0 < clock - before < 1 / self.fps else step, clock
            seconds = clock - started if seconds is None or clock - started > seconds else seconds + step
            if image is not None:
                yield position, seconds, image
            position += 1
        if not position and not stop.is_set() and self.codec.lower() not in DECODED:
            report(
                f"{self.clip.address}: found {self.codec or 'unknown'} video, which OpenCV cannot decode on this computer; "
                "convert it, as with ffmpeg -i IN -c:v libx264 OUT.mp4."
            )
            return
        if broken:
            report(f"{self.clip.address}: found {count_of(broken, 'frame')} that cannot be decoded, left out.")
        # Some headers only estimate the count, from the length and the rate.
        if not stop.is_set() and position < 0.98 * (self.frame_count or 0) - 1:
            report(f"{self.clip.address}: found {position} of {self.frame_count} frames, the video is cut off or damaged.")
        elif not stop.is_set() and not position:  # whose header promised none either
            report(f"{self.clip.address}: found a video without a frame that can be read, expected one; record it again.")

    def _read_live(self, report: Callable[[str], None], stop: Event, stride: int) -> Iterator[tuple[int, float, np.ndarray]]:
        """The newest frame of a camera or stream each time; its position follows from the clock."""
        newest, news, ended = [], Condition(), Event()

        def grab() -> None:
            while not ended.is_set():
                read, image = self.capture.read()
                with news:
                    newest[:] = [(time.monotonic(), image)] if read else [*newest, None]  # the last one may still wait
                    news.notify()
                if not read:
                    return

        self._grabber = Thread(target=grab, daemon=True)
        self._grabber.start()
        started, last = None, -stride
        waited = 0.0
        try:
            while not stop.is_set() and waited < TIMEOUT:
                with news:
                    if not newest and not news.wait(0.2):
                        waited += 0.2
                        continue
                    taken = newest.pop(0)
                waited = 0.0
                if taken is None:
                    break
                started = taken[0] if started is None else started
                index = round((taken[0] - started) * self.fps)
                if index >= last + stride:  # else its place is taken: the camera is faster than it says
                    last = index
                    yield index, taken[0] - started, taken[1]
            if not stop.is_set():
                report(f"{self.clip.address}: found no further picture, the camera or stream has ended.")
        finally:
            ended.set()


class ClipWriter:
    """Writes pictures as an MPEG-4 video, each shown from its own time on; the file stands under its name once it is whole.

    The size is that of the first picture, with odd sides one pixel smaller, since the format knows even ones only.
    """

    def __init__(self, path: str | Path, fps: float, command: str = "infer"):
        self.path, self.fps, self.comment = Path(path), round_rate(fps), mark(command).encode()
        self.part = claim_part(self.path)
        self.times: list[float] = []
        self._writer: cv2.VideoWriter | None = None

    def write(self, picture: np.ndarray, seconds: float | None = None) -> None:
        """Adds a picture (H, W, 3) uint8 RGB that the video shows from `seconds` on, by default one frame behind the last.

        A time that is not behind the last picture's is taken, and its picture left out.

        Raises:
            OSError: the file cannot be made.
            ValueError: a video of this size and rate cannot be.
        """
        if seconds is None:
            seconds = self.times[-1] + 1 / self.fps if self.times else 0.0
        if self.times and seconds <= self.times[-1]:
            return
        height, width = picture.shape[:2]
        if self._writer is None:
            self._open_writer(max(width // 2 * 2, 2), max(height // 2 * 2, 2))
        if (width // 2 * 2, height // 2 * 2) == self.size:
            picture = picture[: self.size[1], : self.size[0]]
        else:
            picture = cv2.resize(picture, self.size)
        self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        self.times.append(seconds)

    def _open_writer(self, width: int, height: int) -> None:
        """Opens the MPEG-4 video file with the first picture's size."""
        self.size = (width, height)
        self.part.touch()  # where nothing can be written, the system says why
        codec = cv2.VideoWriter.fourcc(*"mp4v")
        self._writer = cv2.VideoWriter(_path_as_text(self.part), codec, self.fps, self.size)
        if not self._writer.isOpened():
            remove_part(self.part)
            raise ValueError(
                f"{self.path}: no video of {width} x {height} pixels and {self.fps:g} frames a second could be begun, which "
                "MPEG-4 cannot hold."
            )

    def close(self) -> Path | None:
        """Ends the video file and returns its path, None when there was no picture.

        Raises:
            OSError: the file is not whole, which is how a full disk shows.
        """
        if self._writer is None:
            return None
        self._writer.release()
        self._writer = None
        check = cv2.VideoCapture(_path_as_text(self.part), cv2.CAP_FFMPEG)
        whole = check.isOpened() and check.get(cv2.CAP_PROP_FRAME_COUNT) == len(self.times) and check.read()[0]
        check.release()
        if not whole:
            remove_part(self.part)
            raise OSError(f"{self.path}: the video could not be written whole; is the disk full?")
        last = self.times[-1] - self.times[-2] if len(self.times) > 1 else 1 / self.fps
        set_frame_times(self.part, [0.0, *self.times[1:]], last)
        with open(self.part, "ab") as file:  # a box of the format for what players shall skip
            file.write(struct.pack(">I4s", 8 + len(self.comment), b"free") + self.comment)
        os.replace(self.part, self.path)
        return self.path
