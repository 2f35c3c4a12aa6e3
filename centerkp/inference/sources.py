"""What a user names on the command line -> images and frames, one after another: files, folders, lists, addresses, videos."""

import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import unquote, urlsplit

from centerkp.inference.addresses import STREAM_SCHEMES, IsVideo, check_address, read_address
from centerkp.inference.detect import Frame
from centerkp.inference.video import Clip, open_clip
from centerkp.wording import count_of
from centerkp.writing import is_result

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".jp2", ".ppm", ".pgm")
VIDEO_SUFFIXES = tuple(".mp4 .avi .mov .mkv .webm .m4v .mpg .mpeg .wmv .flv .3gp .ogv .mts .m2ts .mjpg .mjpeg .m3u8".split())


@dataclass(frozen=True)
class Picture:
    """One image: `address` is a path or an http address, `name` what it is called among the outputs, such as `sub/a.jpg`.

    `fault` says why a line of a list can be no source; it is reported in its turn.
    """

    name: str
    address: Path | str
    fault: str = ""


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


def find_sources(sources: Iterable[str | Path], report: Callable[[str], None] = warnings.warn) -> list[Picture | Clip]:
    """All images and videos that sources name, in order and without repetition.

    A source is an image or video file, a folder (searched with all its sub-folders), a glob pattern, a text file with one
    source per line (relative to the current folder or to the list's own; "#" begins a comment), the http address of an image
    or a video, the number of a camera, or the address of a stream such as rtsp://host/path. Folders and patterns are searched
    without what the commands themselves have written there; a file that is named is always taken.

    Args:
        report: called with one sentence when results of earlier runs were left out.

    Raises:
        FileNotFoundError: a source names nothing. A line of a list that names nothing is kept, to be reported in its turn.
        ValueError: an address of an unknown kind, or a list that is not text.
    """
    addresses: dict[object, Path | str | int | Picture] = {}
    search = _Search()
    for source in map(str, sources):
        for address in search.expand(source):
            addresses.setdefault(os.path.abspath(address) if isinstance(address, Path) else address, address)
    search.tell(report)
    return _name_sources(list(addresses.values()))


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
        if isinstance(source, Picture) and source.fault:
            report(source.fault)
        elif isinstance(source, Clip):
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


def _read_clip(clip: Clip, report: Callable[[str], None], count: Callable[[int], None], stop: Event) -> Iterator[Item]:
    """Reads a source that is a video: its frames as items; one that cannot be opened is reported."""
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


class _Search:
    """Expands sources; `results` gathers the files that a search came upon and left out, since earlier runs made them."""

    def __init__(self) -> None:
        self.results: set[Path] = set()

    def expand(self, source: str, inside_list: bool = False) -> list[Path | str | int | Picture]:
        """The files, addresses and camera numbers that one source names."""
        path = Path(source)
        if re.match(r"[a-z][a-z0-9+.-]+://", source, re.IGNORECASE):
            check_address(source)
            return [source]
        if os.path.isfile(path) and path.suffix.lower() == ".txt" and not inside_list:
            return self._read_list(path)
        if source.isascii() and source.isdigit() and not os.path.exists(path):
            return [int(source)]
        found = self.match(source, IMAGE_SUFFIXES + VIDEO_SUFFIXES)
        if not found:
            raise FileNotFoundError(
                f"{source}: found no image or video{self.mention()}, expected a file, a folder with such, a pattern, a list "
                "(.txt), an http or rtsp address, or the number of a camera."
            )
        return [*found]

    def match(self, source: str, suffixes: Sequence[str]) -> list[Path]:
        """The file that a source names, those with an ending in a folder and all below it, or those that fit a pattern."""
        path = Path(source)
        if os.path.isfile(path):
            return [path]
        if os.path.isdir(path):
            found = sorted(p for p in path.rglob("*") if p.suffix.lower() in suffixes and os.path.isfile(p))
        else:
            found = sorted(Path(p) for p in glob(source, recursive=True) if os.path.isfile(p)) if has_magic(source) else []
        with ThreadPoolExecutor(8) as pool:
            results = {p for p, known in zip(found, pool.map(is_result, found), strict=True) if known}
        self.results |= results
        return [p for p in found if p not in results]

    def mention(self) -> str:
        """ " but 3 results of earlier runs" for the error about a source that names nothing else; "" without any."""
        return f" but {count_of(len(self.results), 'result')} of earlier runs" if self.results else ""

    def tell(self, report: Callable[[str], None]) -> None:
        """Reports which files were left out of the sources since earlier runs made them."""
        if self.results:
            report(f"left out: {count_of(len(self.results), 'result')} of earlier runs, such as {min(self.results)}")

    def _read_list(self, path: Path) -> list[Path | str | int | Picture]:
        """The sources that a text file lists, one per line."""
        data = path.read_bytes()
        if b"\0" in data:
            raise ValueError(f"{path}: found bytes that are not text, expected one image per line; save it as UTF-8.")
        # Names of files may be bytes that are no letters, and may hold what other texts end lines with.
        lines = [line.strip() for line in data.decode("utf-8-sig", "surrogateescape").split("\n")]
        found: list[Path | str | int | Picture] = []
        for number, line in enumerate(lines, 1):
            if not line or line.startswith("#"):
                continue
            fault = None
            # "ls photos/* > list.txt" writes paths from here, labelling tools write them from the list's folder.
            for place in (line, str(path.parent / line)):
                try:
                    found += self.expand(place, inside_list=True)
                    break
                except (ValueError, OSError) as error:
                    fault = fault or error
            else:
                found.append(Picture(line, Path(line), f"{path}, line {number}: {fault}"))
        if not found:
            raise FileNotFoundError(f"{path}: found no line with a source, expected one image per line.")
        return found


def _name_sources(addresses: Sequence[Path | str | int | Picture]) -> list[Picture | Clip]:
    """Names of sources for the outputs, below the deepest folder that holds all files; numbered where they are the same."""
    folders = [p.resolve().parent for p in addresses if isinstance(p, Path)]
    common = folders[0] if folders else None
    while common and not all(folder.is_relative_to(common) for folder in folders):
        common = common.parent if common != common.parent else None  # another drive
    taken: dict[str, int] = {}
    named: list[Picture | Clip] = []
    for address in addresses:
        if isinstance(address, Picture):
            named.append(address)
            continue
        if isinstance(address, int):
            named.append(Clip(_find_free_name(f"camera{address}", taken), address, live=True))
            continue
        if isinstance(address, Path):
            name = address.resolve()
            name, scheme = name.relative_to(common or name.anchor), ""
        else:
            parts = urlsplit(address)
            last = unquote(Path(parts.path).name).strip(".") or parts.hostname or parts.scheme
            name, scheme = Path(re.sub(r"[^\w.-]", "_", last)), parts.scheme
        suffix = name.suffix.lower()
        if suffix in VIDEO_SUFFIXES or scheme.lower() in STREAM_SCHEMES:
            live = scheme.lower() in STREAM_SCHEMES or (bool(scheme) and suffix in (".m3u8", ".mjpg", ".mjpeg"))
            stem = name.with_suffix("") if suffix in VIDEO_SUFFIXES else name
            named.append(Clip(_find_free_name(stem.as_posix(), taken), str(address), live))
        else:
            named.append(Picture(_find_free_name(name.as_posix(), taken), address))
    return named


def _find_free_name(name: str, taken: dict[str, int]) -> str:
    """A source's name itself when no other source has it, else with the first free number."""
    path, free = Path(name), name
    while free in taken:
        taken[name] += 1
        free = path.with_name(f"{path.stem}-{taken[name]}{path.suffix}").as_posix()
    taken[free] = 1
    return free


def find_images(sources: Iterable[str | Path], report: Callable[[str], None] = warnings.warn) -> list[Path]:
    """The image files alone that sources (paths, folders with all below them, patterns) name, without repetition.

    Searches leave out what commands have written, as in `find_sources`.

    Raises:
        FileNotFoundError: a source that names nothing.
    """
    found: dict[Path, None] = {}
    search = _Search()
    for source in map(str, sources):
        paths = search.match(source, IMAGE_SUFFIXES)
        if not paths:
            raise FileNotFoundError(
                f"{source}: found no image{search.mention()}, expected an image file, a folder with images, or a pattern."
            )
        found |= dict.fromkeys(paths)
    search.tell(report)
    return list(found)
