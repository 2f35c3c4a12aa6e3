"""Searches folders, patterns and lists for the sources they name, and says what it came upon and left out."""

import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from glob import glob, has_magic
from pathlib import Path
from typing import Any

from centerkp.images.kinds import CLOSED, TEXT, UNKNOWN, ZIP, FileKind, judge_file, walk_folder
from centerkp.images.packed import ZippedImage, open_zip
from centerkp.inference.addresses import check_address
from centerkp.wording import count_of
from centerkp.writing import is_result

NAMED = 3  # endings of other files that are told apart


@dataclass(frozen=True)
class Fault:
    """A line of a list that can be no source, and why."""

    line: str
    reason: str


class Search:
    """Expands sources to what they name; keeps which files are `videos`, and what it left out, for `tell`.

    Args:
        roles: "picture", or "picture" and "video": what is searched for, as `images.kinds.judge_file` calls it.
    """

    def __init__(self, roles: Sequence[str]) -> None:
        self.roles, self.videos = roles, set()
        self._real_folders: dict[Path, str] = {}
        self._results: set[Path] = set()
        self._others: dict[Path, FileKind] = {}

    def expand_all(self, sources: Iterable[str]) -> list[Any]:
        """What some sources name, without repetition: a file that links lead to by several ways is one."""
        return self._drop_repeated(address for source in sources for address in self._expand(source))

    def _drop_repeated(self, addresses: Iterable[Any]) -> list:
        """The same sources but for files of one name in one folder, to which linked folders lead by several ways."""
        found: dict[object, Any] = {}
        for address in addresses:
            key = address
            if isinstance(address, Path):
                if address.parent not in self._real_folders:
                    self._real_folders[address.parent] = os.path.realpath(address.parent)
                key = self._real_folders[address.parent], address.name
            elif isinstance(address, ZippedImage):
                key = str(address)
            found.setdefault(key, address)
        return list(found.values())

    def _expand(self, source: str, inside_list: bool = False) -> Sequence[Path | ZippedImage | str | int | Fault]:
        """The files, addresses and camera numbers that one source names."""
        path = Path(source)
        if "video" in self.roles:
            if re.match(r"[a-z][a-z0-9+.-]+://", source, re.IGNORECASE):
                check_address(source)
                return [source]
            if os.path.isfile(path) and path.suffix.lower() == ".txt" and not inside_list:
                return self._read_list(path)
            if source.isascii() and source.isdigit() and not os.path.exists(path):
                return [int(source)]
        found = self._match(source)
        if not found:
            wanted, expected = "image", "an image file, a folder with images, or a pattern"
            if "video" in self.roles:
                wanted = "image or video"
                expected = (
                    "a file, a folder or zip archive with such, a pattern, a list (.txt), an address, or a camera's number"
                )
            but = f" but {left_out}" if (left_out := self._describe_left_out()) else ""
            raise FileNotFoundError(f"{source}: found no {wanted}{but}, expected {expected}.")
        return found

    def _match(self, source: str) -> Sequence[Path | ZippedImage]:
        """The file that a source names, or the pictures and videos in a folder and all below it, or that fit a pattern."""
        path = Path(source)
        if os.path.isfile(path):  # named on purpose: when it is no picture, reading it says so
            kind = judge_file(path)
            if kind.role == "video":
                self.videos.add(path)
            return [path] if kind != ZIP else self._search_zip(path)
        if os.path.isdir(path):
            walked = walk_folder(path, lambda error: self._others.setdefault(Path(error.filename), CLOSED))
            found = sorted(Path(folder, name) for folder, _, names in walked for name in names)
        else:
            found = self._drop_repeated(sorted(map(Path, glob(source, recursive=True)))) if has_magic(source) else []
        with ThreadPoolExecutor(8) as pool:
            judged = dict(zip(found, pool.map(_judge_found, found), strict=True))
        for path, kind in judged.items():
            if kind == RESULT:
                self._results.add(path)
            elif kind not in (None, TEXT) and kind.role not in self.roles:
                self._others[path] = kind
        self.videos |= {path for path, kind in judged.items() if kind and kind.role == "video"}
        return [path for path, kind in judged.items() if kind and kind.role in self.roles]

    def _search_zip(self, path: Path) -> list[ZippedImage]:
        """The pictures in a zip archive; what else is in it is left out."""
        found = []
        for packed, kind in open_zip(path):
            if kind.role == "picture":
                found.append(packed)
            elif kind != TEXT:
                remedy = "unpack the archive" if kind.role == "video" else kind.remedy
                self._others[Path(str(packed))] = replace(kind, role="other", remedy=remedy)
        return found

    def tell(self, report: Callable[[str], None]) -> None:
        """Reports in one sentence which files a search left out, since earlier runs made them or they cannot be read."""
        if left_out := self._describe_left_out():
            report(f"left out: {left_out}")

    def _describe_left_out(self) -> str:
        """What a search left out, with counts and remedies: "2 HEIC pictures, such as a.heic (save them as ...); ..."; "" """
        parts = []
        if self._results:
            parts.append(f"{count_of(len(self._results), 'result')} of earlier runs, such as {min(self._results)}")
        kinds: dict[FileKind, list[Path]] = {}
        for path, kind in self._others.items():
            kinds.setdefault(kind, []).append(path)
        unknown = kinds.pop(UNKNOWN, [])
        for kind, paths in sorted(kinds.items(), key=lambda item: item[0].name):
            remedy = kind.remedy or "centerkp infer takes such"
            parts.append(f"{count_of(len(paths), kind.name)}, such as {min(paths)} ({remedy})")
        if unknown:
            endings = Counter(path.suffix.lower() or "no ending" for path in unknown)
            some = ", ".join(f"{ending} {count}" for ending, count in endings.most_common(NAMED))
            more = ", ..." if len(endings) > NAMED else ""
            parts.append(f"{count_of(len(unknown), UNKNOWN.name)} ({some}{more})")
        return "; ".join(parts)

    def _read_list(self, path: Path) -> list[Path | ZippedImage | str | int | Fault]:
        """The sources that a text file lists, one per line."""
        data = path.read_bytes()
        if b"\0" in data:
            raise ValueError(f"{path}: found bytes that are not text, expected one image per line; save it as UTF-8.")
        # Names of files may be bytes that are no letters, and may hold what other texts end lines with.
        lines = [line.strip() for line in data.decode("utf-8-sig", "surrogateescape").split("\n")]
        found: list[Path | ZippedImage | str | int | Fault] = []
        for number, line in enumerate(lines, 1):
            if not line or line.startswith("#"):
                continue
            fault = None
            # "ls photos/* > list.txt" writes paths from here, labelling tools write them from the list's folder.
            for place in (line, str(path.parent / line)):
                try:
                    found += self._expand(place, inside_list=True)
                    break
                except (ValueError, OSError) as error:
                    fault = fault or error
            else:
                found.append(Fault(line, f"{path}, line {number}: {fault}"))
        if not found:
            raise FileNotFoundError(f"{path}: found no line with a source, expected one image per line.")
        return found


RESULT = FileKind("result of an earlier run")


def _judge_found(path: Path) -> FileKind | None:
    """What a search came upon: a picture, a video, something else, or a result of an earlier run; None for no file at all."""
    if not os.path.isfile(path):
        return None
    kind = judge_file(path)
    return RESULT if kind.role != "other" and is_result(path) else kind


def find_images(sources: Iterable[str | Path], report: Callable[[str], None] = warnings.warn) -> list[Path | ZippedImage]:
    """The images alone that sources (paths, folders with all below them, patterns, zip archives) name, without repetition.

    What is an image is decided by content. Searches leave out what commands have written.

    Args:
        report: called with one sentence when files were left out.

    Raises:
        FileNotFoundError: a source that names nothing.
    """
    search = Search(("picture",))
    found = search.expand_all(map(str, sources))
    search.tell(report)
    return found
