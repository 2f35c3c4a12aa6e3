"""Files that are whole or not there: written under a temporary name beside their own, then renamed. What may be written over.

Folders with one writer.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

NAME_BYTES = 255  # of a file's name, on all usual file systems
MARK = "Made by centerkp "  # and the command: stands in files whose format has a place for it
_PART = re.compile(r"part-([0-9a-f]{8})-(\d+)-")


def part_path(path: Path) -> Path:
    """The temporary name of a file in this process; it keeps the extension, by which some writers choose their format.

    The numbers of the machine and of the process stand in it, so that no two processes write one file, and the next one can
    tell what a killed one left. A name that would become too long is replaced by its digest.
    """
    start, name = f"part-{_digest_machine()}-{os.getpid()}-", path.name
    if len(os.fsencode(start + name)) > NAME_BYTES:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:16] + path.suffix[:16]
    return path.with_name(start + name)


def claim_part(path: Path) -> Path:
    """The temporary name of a file, its folder made, and what killed processes left in that folder cleared away."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear_parts_once(path.parent.absolute())
    return part_path(path)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Gives the temporary name of a file to write, which becomes `path` when the block ends; folders are made.

    When the block fails, the temporary file is removed and what stood under `path` remains. What a killed process leaves is
    removed by the next one that writes into the folder.
    """
    path = Path(path)
    try:
        part = claim_part(path)
        try:
            yield part
            os.replace(part, path)
        finally:
            remove_part(part)
    except OSError as error:
        raise unwritable(path, error) from None


def remove_part(part: Path) -> None:
    """Removes a temporary file or folder, if it is there; to its end, also when a signal interrupts that."""
    remove = partial(shutil.rmtree, ignore_errors=True) if part.is_dir() else partial(Path.unlink, missing_ok=True)
    try:
        remove(part)
    except BaseException:
        remove(part)
        raise


def unwritable(path: str | Path, error: OSError) -> OSError:
    """The error for a file that could not be written, as a sentence that names it; one that is a sentence stays."""
    if error.errno is None or error.strerror is None:
        return error
    sentence = f"{path}: could not be written ({error.strerror}); free some space, or choose another place."
    told = type(error)(sentence)
    told.errno = error.errno
    return told


def short_name(name: str) -> str:
    """A file's `name` where one may be called so, else cut, with digits that tell namesakes apart, and its ending."""
    if len(os.fsencode(name)) <= NAME_BYTES:
        return name
    ending = Path(name).suffix[:16]
    tail = f"-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}{ending}"
    return os.fsencode(name)[: NAME_BYTES - len(os.fsencode(tail))].decode(errors="ignore") + tail


def mark(command: str) -> str:
    """The words that stand in written files, by which a command knows those of its earlier runs."""
    return f"{MARK}{command}."


def says(path: Path, *words: str) -> bool:
    """Whether a written file says one of the words at its beginning or at its end; False if it cannot be read."""
    try:
        with open(path, "rb") as file:
            text = file.read(1024)
            file.seek(max(file.seek(0, os.SEEK_END) - 1024, 0))
            text += b"\n" + file.read()
    except OSError:
        return False
    return any(word.encode() in text for word in words)


def is_part(path: Path) -> bool:
    """Whether a file has a temporary name, which it keeps when the process that writes it is killed."""
    return _PART.match(path.name) is not None


def is_result(path: Path) -> bool:
    """Whether a command wrote this picture or video, or a killed one left it half written."""
    return is_part(path) or says(path, MARK)


class WriteGuard:
    """Decides for every command what may be written: no file that it reads, and over no file but those of its own earlier runs.

    Args:
        reads: the files that the command reads. They are never written over, under whatever name or link.
        overwrite: the user's --overwrite: other files may be replaced.
    """

    def __init__(self, reads: Iterable[str | Path] = (), overwrite: bool = False):
        self.overwrite = overwrite
        self._reads = {key: path for path in reads for key in _identify_file(path)}

    def check(self, paths: Iterable[str | Path], is_own: Callable[[Path], bool] = lambda path: False) -> None:
        """Raises unless all the paths may be written, or written over.

        Args:
            is_own: whether a file is, as it is, the work of an earlier run of the command.

        Raises:
            ValueError: a path is a file that the command reads, or stands twice among the paths.
            FileExistsError: another file, or a folder, pipe or device, has the name.
            NotADirectoryError, PermissionError: nothing can be written at the place.
        """
        taken, folders, seen = [], set(), set()
        for path in map(Path, paths):
            if path.parent not in folders:
                refuse_place(path.parent)
                folders.add(path.parent)
            keys = _identify_file(path)
            read = next((self._reads[key] for key in keys if key in self._reads), None)
            if read is not None:
                other = "" if str(read) == str(path) else f", which is {read},"
                raise ValueError(
                    f"{path}: found as output{other} and among the files to read, which are never changed; choose another name."
                )
            if seen & keys:
                raise ValueError(f"{path}: found as the name of two outputs, expected different ones; choose another name.")
            seen |= keys
            if os.path.exists(path) and not os.path.isfile(path):  # to read a pipe, for whose it is, would never end
                found = "a folder" if os.path.isdir(path) else "a pipe or device"
                raise FileExistsError(f"{path}: found {found}, expected the name of a file to write; choose another name.")
            if not self.overwrite and os.path.lexists(path) and not is_own(path):
                taken.append(str(path))
        if taken:
            shown = ", ".join(taken[:3]) + (f" and {len(taken) - 3} more" if len(taken) > 3 else "")
            raise FileExistsError(
                f"{shown}: found {'files' if len(taken) > 1 else 'a file'} of this name that no earlier run of this command "
                "left so, expected none; choose another name, or replace with --overwrite."
            )


def _identify_file(path: str | Path) -> set:
    """What two names of one file have in common: the way to it, or its number, which links and other cases share."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return {os.path.realpath(path)}
    return {os.path.realpath(path), *([(found.st_dev, found.st_ino)] if found.st_ino else [])}


def refuse_place(folder: Path) -> None:
    """Raises NotADirectoryError or PermissionError unless something can be made in a folder, which need not be there."""
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    if not os.path.isdir(folder):
        raise NotADirectoryError(f"{folder}: could not be written: found a file, expected a folder; choose another place.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(
            f"{folder}: could not be written: found a folder that is read-only, expected one to write to; choose another place."
        )


def clear_parts(folder: Path, *, alone: bool = False) -> None:
    """Removes temporary files that killed processes left unfinished in `folder`.

    Only of this machine's processes it is known that they are no more; `alone` says that nobody else writes here, so that
    those of other machines have ended as well.
    """
    for entry in list(folder.iterdir()):
        match = _PART.match(entry.name)
        if match and (alone or (match[1] == _digest_machine() and not _is_alive(int(match[2])))):
            with suppress(OSError):  # another process may clear away the same
                remove_part(entry)


@cache
def _clear_parts_once(folder: Path) -> None:
    """Clears a folder of killed processes' files once: looking through thousands for each one written would take long."""
    clear_parts(folder)


@cache
def _digest_machine() -> str:
    """Eight hexadecimal digits in temporary names, for all who count processes as this one does: a machine or container."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return hashlib.sha256(f"{platform.node()} {space}".encode(errors="replace")).hexdigest()[:8]


def _is_alive(process: int) -> bool:
    """Whether a process that left a temporary file still runs on this machine; always True on Windows."""
    if os.name == "nt":
        return True  # where asking for a process by signal 0 would end it
    try:
        with suppress(PermissionError):  # somebody else's
            os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    return True


@contextmanager
def part_folder(path: Path) -> Iterator[Path]:
    """A new folder to write in under the temporary name of `path`, gone when the block ends; a killed process's later."""
    part = claim_part(path)
    shutil.rmtree(part, ignore_errors=True)  # of a killed process that had this one's number
    part.mkdir()
    try:
        yield part
    finally:
        remove_part(part)


@contextmanager
def hold_folder(folder: str | Path, remedy: str = "", *, report: Callable[[str], None] | None = None) -> Iterator[None]:
    """Inside, no other process writes into `folder`, which is made; let go of when this one ends, however it ends.

    Args:
        report: is called with who holds it, and then its end is awaited.

    Raises:
        ValueError: another process holds it, and there is no `report`; names that, its machine, and since when, and ends in
            `remedy`.
    """
    from filelock import FileLock, Timeout

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    holder, lock = folder / ".lock.json", FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if report is None:
            raise ValueError(
                f"{folder}: found {_describe_holder(holder)} at work on it, expected no other; {remedy} (if that process is "
                f"surely gone, delete {folder / '.lock'})."
            ) from None
        report(_describe_holder(holder))
        lock.acquire()
    try:
        clear_parts(folder, alone=True)
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        write_json(holder, {"process": os.getpid(), "machine": platform.node(), "since": since})
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _describe_holder(holder: Path) -> str:
    """Which process on which machine writes into a held folder, and since when; "another process" if not said."""
    try:
        found = json.loads(holder.read_text(encoding="utf-8"))
        return f"process {int(found['process'])} on {found['machine']!s:.80} since {found['since']!s:.40}"
    except (OSError, ValueError, TypeError, KeyError):
        return "another process"  # which has only just begun


def write_json(path: str | Path, content: Any, indent: int | None = None) -> Path:
    """Writes a JSON file in UTF-8, whole or not at all."""
    path = Path(path)
    with replacing(path) as part:
        _dump_json(part, content, indent)
    return path


def write_jsons(contents: Mapping[Path, object]) -> None:
    """Writes JSON files that belong together: killed at any moment, never some of them stand beside others of before.

    Of a process that is killed while it renames them, some may be missing.
    """
    parts = {part_path(path): path for path in contents}
    with ExitStack() as clearing:  # which goes on with the others when a signal comes in between
        for part in parts:
            clearing.callback(remove_part, part)
        try:
            for part, path in parts.items():
                claim_part(path)
                _dump_json(part, contents[path])
            for path in list(contents)[1:]:
                path.unlink(missing_ok=True)
            for part, path in parts.items():
                os.replace(part, path)
        except OSError as error:
            raise unwritable(path, error) from None


def _dump_json(path: Path, content: Any, indent: int | None = None) -> None:
    """Writes content as JSON under a temporary name; half a character, which no text can hold, as its escape."""
    with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
        json.dump(content, file, indent=indent, ensure_ascii=False)
