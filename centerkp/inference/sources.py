"""What a user names on the command line -> images and frames, one after another: files, folders, lists, addresses, videos."""

import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from glob import glob, has_magic
from http.client import HTTPException
from pathlib import Path
from threading import Event
from typing import Any
from urllib.error import URLError
from urllib.parse import quote, unquote, urlsplit
from urllib.request import Request, urlopen

import numpy as np

from centerkp.images.reading import read_image
from centerkp.inference.detect import Frame
from centerkp.inference.video import Clip, open_clip

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".jp2", ".ppm", ".pgm")
VIDEO_SUFFIXES = tuple(".mp4 .avi .mov .mkv .webm .m4v .mpg .mpeg .wmv .flv .3gp .ogv .mts .m2ts .mjpg .mjpeg .m3u8".split())
STREAM_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "udp", "tcp", "rtp", "srt")
MAX_DOWNLOAD = 200_000_000  # bytes of one image
DOWNLOAD_TIMEOUT = 20  # seconds without an answer


@dataclass(frozen=True)
class Picture:
    """One image: `address` is a path or an http address, `name` what it is called among the outputs, such as `sub/a.jpg`."""

    name: str
    address: Path | str


@dataclass(frozen=True, eq=False)
class Item:
    """One image or frame on its way to the network: `content` is what `inference.detect` takes.

    For a frame, `clip` says which video it is from, `index` is its position there, counted from 0 and with the frames that
    could not be read, `seconds` its time and `fps` the frames per second of the video.
    """

    name: str
    content: Any
    clip: Clip | None = None
    index: int = 0
    seconds: float = 0.0
    fps: float = 0.0


def find_sources(sources: Iterable[str | Path], skip: Path | None = None) -> list[Picture | Clip]:
    """All images and videos that sources name, in order and without repetition.

    A source is an image or video file, a folder (searched with all its sub-folders), a glob pattern, a text file with one
    source per line (relative to the current folder or to the list's own; "#" begins a comment), the http address of an image
    or a video, the number of a camera, or the address of a stream such as rtsp://host/path.

    Args:
        skip: a folder that is not searched, where the outputs go.

    Raises:
        FileNotFoundError: a source names nothing. A line of a list that names nothing is kept, to be reported in its turn.
        ValueError: an address of an unknown kind, or a list that is not text.
    """
    addresses: dict[Path | str | int, None] = {}
    for source in map(str, sources):
        addresses |= dict.fromkeys(_expand(source, skip and skip.resolve()))
    return _name_all(list(addresses))


def read_items(
    sources: Sequence[Picture | Clip], report: Callable[[str], None], count: Callable[[int | None], None], stop: Event
) -> Iterator[Item]:
    """Reads sources one after another: paths as they are, addresses downloaded, videos frame by frame.

    Args:
        report: called with one sentence for every image, frame or video that could not be read.
        count: called with the number of frames of every video that is opened, None if nobody knows.
        stop: set, it ends the reading, also of a camera that gives nothing more.
    """
    for source in sources:
        if stop.is_set():
            return
        if isinstance(source, Clip):
            yield from _read_clip(source, report, count, stop)
        elif isinstance(source.address, Path):
            yield Item(source.name, source.address)
        else:
            try:
                image = read_address(source.address)
            except IsVideo as video:
                yield from _read_clip(Clip(source.name, source.address, video.live), report, count, stop)
            except (ValueError, OSError) as error:
                report(str(error))
            else:
                yield Item(source.name, Frame(source.address, image))


def read_address(address: str) -> np.ndarray:
    """Downloads one image, (H, W, 3) uint8 RGB.

    Raises:
        IsVideo: the server says that it sends a video.
        ValueError: no answer within some seconds, an error of the server, more than `MAX_DOWNLOAD` bytes, or not an image.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "download"
        try:
            # As browsers do: blanks and accents are encoded, what is encoded already stays.
            request = Request(quote(address, safe="%/:=&?~#+!$,;'@()*[]"), headers={"User-Agent": "centerkp"})
            with urlopen(request, timeout=DOWNLOAD_TIMEOUT) as answer, open(path, "wb") as file:
                kind = answer.headers.get_content_type()
                if kind.startswith("video/") or kind == "multipart/x-mixed-replace":
                    raise IsVideo(f"{address}: found a video, expected an image.", live=kind.startswith("multipart/"))
                shutil.copyfileobj(_Limited(answer, address), file)
        except (URLError, HTTPException, TimeoutError, ConnectionError) as error:
            reason = getattr(error, "reason", error)
            code = f"{error.code} {reason}" if hasattr(error, "code") else reason
            raise ValueError(f"{address}: found no image ({code}), expected one; check the address in a browser.") from None
        try:
            return read_image(path)
        except ValueError as error:
            raise ValueError(str(error).replace(str(path), address)) from None


class IsVideo(ValueError):
    """What was taken for an image, since its name does not say otherwise, is a video; `live` when a camera sends it."""

    def __init__(self, message: str, live: bool):
        super().__init__(message)
        self.live = live


class _Limited:
    """A download that ends with an error when it grows too large or stops before its announced length."""

    def __init__(self, answer, address: str):
        self.answer, self.address, self.bytes = answer, address, 0
        self.expected = int(answer.headers.get("Content-Length") or 0)

    def read(self, count: int) -> bytes:
        data = self.answer.read(count)
        self.bytes += len(data)
        if max(self.bytes, self.expected) > MAX_DOWNLOAD:
            raise ValueError(
                f"{self.address}: found more than {MAX_DOWNLOAD // 10**6} MB, expected one image; download it first."
            )
        if not data and self.bytes < self.expected:
            raise ValueError(
                f"{self.address}: found {self.bytes} of {self.expected} bytes, the connection broke; try it again."
            )
        return data


def _read_clip(clip: Clip, report, count, stop: Event) -> Iterator[Item]:
    try:
        reader = open_clip(clip)
    except (ValueError, OSError) as error:
        report(str(error))
        return
    with reader:
        count(reader.frame_count)
        for index, seconds, image in reader.read_frames(report, stop):
            frame = Frame(f"{clip.address}, frame {index}", image)
            yield Item(f"{clip.name}/{index:06d}.jpg", frame, clip, index, seconds, reader.fps)


def _expand(source: str, skip: Path | None, inside_list: bool = False) -> list[Path | str | int]:
    """The files, addresses and camera numbers that one source names."""
    path = Path(source)
    if re.match(r"[a-z][a-z0-9+.-]+://", source, re.IGNORECASE):
        scheme = urlsplit(source).scheme.lower()
        if scheme not in ("http", "https", *STREAM_SCHEMES):
            known = ", ".join(("http", "https", *STREAM_SCHEMES))
            raise ValueError(f"{source}: found an address that begins with {scheme}, expected one of {known}.")
        return [source]
    if path.is_file() and path.suffix.lower() == ".txt" and not inside_list:
        return _read_list(path, skip)
    if source.isascii() and source.isdigit() and not path.exists():
        return [int(source)]
    found = match_files(source, IMAGE_SUFFIXES + VIDEO_SUFFIXES)
    if path.is_dir() and skip not in (None, path.resolve()):
        found = [p for p in found if not p.resolve().is_relative_to(skip)]
    if not found:
        raise FileNotFoundError(
            f"{source}: found no image or video, expected a file, a folder with such, a pattern, a list (.txt), an http or "
            "rtsp address, or the number of a camera."
        )
    return found


def _read_list(path: Path, skip: Path | None) -> list[Path | str | int]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise ValueError(f"{path}: found bytes that are not text, expected one image per line; save it as UTF-8.") from None
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise FileNotFoundError(f"{path}: found no line with a source, expected one image per line.")
    found: list[Path | str | int] = []
    for line in lines:
        # "ls photos/* > list.txt" writes paths from here, labelling tools write them from the list's folder.
        for place in (line, str(path.parent / line)):
            with suppress(FileNotFoundError):
                found += _expand(place, skip, inside_list=True)
                break
        else:
            found.append(Path(line))
    return found


def _name_all(addresses: Sequence[Path | str | int]) -> list[Picture | Clip]:
    """Names below the deepest folder that holds all files, so that they stay different; numbered where they do not."""
    folders = [p.resolve().parent for p in addresses if isinstance(p, Path)]
    common = folders[0] if folders else None
    while common and not all(folder.is_relative_to(common) for folder in folders):
        common = common.parent if common != common.parent else None  # another drive
    taken: set[str] = set()
    named: list[Picture | Clip] = []
    for address in addresses:
        if isinstance(address, int):
            named.append(Clip(_free(f"camera{address}", taken), address, live=True))
            continue
        if isinstance(address, Path):
            name = address.resolve()
            name, scheme = name.relative_to(common or name.anchor), ""
        else:
            parts = urlsplit(address)
            name, scheme = (
                Path(re.sub(r"[^\w.-]", "_", unquote(Path(parts.path).name).strip(".")) or parts.hostname),
                parts.scheme,
            )
        suffix = name.suffix.lower()
        if suffix in VIDEO_SUFFIXES or scheme.lower() in STREAM_SCHEMES:
            live = scheme.lower() in STREAM_SCHEMES or (bool(scheme) and suffix in (".m3u8", ".mjpg", ".mjpeg"))
            stem = name.with_suffix("") if suffix in VIDEO_SUFFIXES else name
            named.append(Clip(_free(stem.as_posix(), taken), str(address), live))
        else:
            named.append(Picture(_free(name.as_posix(), taken), address))
    return named


def _free(name: str, taken: set[str]) -> str:
    path, number = Path(name), 2
    while name in taken:
        name, number = path.with_name(f"{path.stem}-{number}{path.suffix}").as_posix(), number + 1
    taken.add(name)
    return name


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
