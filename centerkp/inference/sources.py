"""What a user names on the command line -> images and frames, one after another: files, folders, lists, addresses, videos."""

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import unquote, urlsplit

from centerkp.images.kinds import VIDEO_SUFFIXES, real_path
from centerkp.images.packed import ZippedImage
from centerkp.inference.addresses import STREAM_SCHEMES, IsVideo, read_address
from centerkp.inference.detect import Frame
from centerkp.inference.search import Fault, Search
from centerkp.inference.video import Clip, open_clip


@dataclass(frozen=True)
class Picture:
    """One image: `address` is a path, an http address or a place in a zip archive.

    `name` is what it is called among the outputs, such as `sub/a.jpg`. `fault` says why a line of a list can be no source; it
    is reported in its turn.
    """

    name: str
    address: Path | str | ZippedImage
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

    A source is an image or video file, a folder (searched with all its sub-folders), a zip archive of images, a glob pattern,
    a text file with one source per line (relative to the current folder or to the list's own; "#" begins a comment), the http
    address of an image or a video, the number of a camera, or the address of a stream such as rtsp://host/path. What is a
    picture or a video is decided by the content of files. Folders and patterns are searched without what the commands
    themselves have written there; a file that is named is always taken.

    Args:
        report: called with one sentence when a search left out files: results of earlier runs, and what cannot be read.

    Raises:
        FileNotFoundError: a source names nothing. A line of a list that names nothing is kept, to be reported in its turn.
        ValueError: an address of an unknown kind, or a list that is not text.
    """
    search = Search(("picture", "video"))
    addresses = search.expand_all(map(str, sources))
    search.tell(report)
    return _name_sources(addresses, search.videos)


def read_items(
    sources: Sequence[Picture | Clip],
    report: Callable[[str], None],
    count: Callable[[int | None], None],
    stop: Event,
    stride: int = 1,
) -> Iterator[Item]:
    """Reads sources one after another: paths as they are, addresses downloaded, videos frame by frame.

    Args:
        report: called with one sentence for every image, frame or video that could not be read.
        count: called with the number of frames of every video that is opened, None if nobody knows.
        stop: set, it ends the reading, also of a camera that gives nothing more.
        stride: of videos only every so manieth frame.
    """
    for source in sources:
        if stop.is_set():
            return
        if isinstance(source, Picture) and source.fault:
            report(source.fault)
        elif isinstance(source, Clip):
            yield from _read_clip(source, report, count, stop, stride)
        elif not isinstance(source.address, str):
            yield Item(source.name, source.address)
        else:
            try:
                image = read_address(source.address)
            except IsVideo as video:
                yield from _read_clip(Clip(source.name, source.address, video.live), report, count, stop, stride)
            except (ValueError, OSError) as error:
                report(str(error))
            else:
                yield Item(source.name, image)


def _read_clip(
    clip: Clip, report: Callable[[str], None], count: Callable[[int | None], None], stop: Event, stride: int
) -> Iterator[Item]:
    """Reads a source that is a video: its frames as items; one that cannot be opened is reported."""
    try:
        reader = open_clip(clip)
    except (ValueError, OSError) as error:
        report(str(error))
        return
    with reader:
        count(reader.frame_count and -(-reader.frame_count // stride))
        for index, seconds, image in reader.read_frames(report, stop, stride):
            frame = Frame(f"{clip.address}, frame {index}", image)
            yield Item(f"{clip.name}/{index:06d}.jpg", frame, clip, index, seconds, reader.fps)


def _name_sources(addresses: Sequence[Path | ZippedImage | str | int | Fault], videos: Set[Path]) -> list[Picture | Clip]:
    """Names of sources for the outputs, below the deepest folder that holds all files; numbered where they are the same.

    Args:
        videos: which of the paths are videos, by their content.
    """
    # A picture that is a link is called as the link is: stores of data call what links lead to by digests.
    files = {path: real_path(path.parent) / path.name for path in addresses if isinstance(path, Path)}
    folders = [path.parent for path in files.values()]
    common = folders[0] if folders else None
    while common and not all(folder.is_relative_to(common) for folder in folders):
        common = common.parent if common != common.parent else None  # another drive
    below = {path: file.relative_to(common or file.anchor) for path, file in files.items()}
    # The frames of a video lie in a folder that is called like it: it must be none in which pictures lie.
    taken = {folder.as_posix(): 1 for path, name in below.items() if path not in videos for folder in name.parents}
    named: list[Picture | Clip] = []
    for address in addresses:
        if isinstance(address, Fault):
            named.append(Picture(address.line, Path(address.line), address.reason))
            continue
        if isinstance(address, ZippedImage):
            parts = [part for part in address.member.filename.split("/") if part not in ("", ".", "..")]
            named.append(Picture(_find_free_name("/".join([Path(address.archive.filename).stem, *parts]), taken), address))
            continue
        if isinstance(address, int):
            named.append(Clip(_find_free_name(f"camera{address}", taken), address, live=True))
            continue
        if isinstance(address, Path):
            name, scheme = below[address], ""
        else:
            parts = urlsplit(address)
            last = unquote(Path(parts.path).name).strip(".") or parts.hostname or parts.scheme
            name, scheme = Path(re.sub(r"[^\w.-]", "_", last)), parts.scheme
        suffix = name.suffix.lower()
        if address in videos or (scheme and suffix in VIDEO_SUFFIXES) or scheme.lower() in STREAM_SCHEMES:
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
