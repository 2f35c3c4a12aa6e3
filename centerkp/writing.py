"""Files that are whole or not there: written under a temporary name beside their own, then renamed. Folders with one writer."""

import hashlib
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

NAME_BYTES = 255  # of a file's name, on all usual file systems
_PART = re.compile(r"part-([0-9a-f]{8})-(\d+)-")


def part_path(path: Path) -> Path:
    """The temporary name of `path` in this process; it keeps the extension, by which some writers choose their format.

    The numbers of the machine and of the process stand in it, so that no two processes write one file, and the next one can
    tell what a killed one left. A name that would become too long is replaced by its digest.
    """
    start, name = f"part-{_machine()}-{os.getpid()}-", path.name
    if len(os.fsencode(start + name)) > NAME_BYTES:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:16] + path.suffix[:16]
    return path.with_name(start + name)


def claim_part(path: Path) -> Path:
    """The temporary name of `path`, its folder made, and what killed processes left in that folder cleared away."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear_once(path.parent.absolute())
    return part_path(path)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Gives the temporary name to write to, which becomes `path` when the block ends; folders are made as needed.

    When the block fails, the temporary file is removed and what stood under `path` remains. What a killed process leaves is
    removed by the next one that writes into the folder.
    """
    path = Path(path)
    part = claim_part(path)
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def clear_parts(folder: Path, *, alone: bool = False) -> None:
    """Removes what killed processes left unfinished in `folder`.

    Only of this machine's processes it is known that they are no more; `alone` says that nobody else writes here, so that
    those of other machines have ended as well.
    """
    for entry in list(folder.iterdir()):
        match = _PART.match(entry.name)
        if match and (alone or (match[1] == _machine() and not _is_alive(int(match[2])))):
            with suppress(OSError):  # another process may clear away the same
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


@cache
def _clear_once(folder: Path) -> None:
    """Once for each folder: looking through thousands of pictures for every one that is written would take long."""
    clear_parts(folder)


@cache
def _machine() -> str:
    """Eight hexadecimal digits for everybody who counts processes as this one does: a machine, or a container on it."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return hashlib.sha256(f"{platform.node()} {space}".encode(errors="replace")).hexdigest()[:8]


def _is_alive(process: int) -> bool:
    if os.name == "nt":
        return True  # where asking for a process by signal 0 would end it
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # somebody else's
    return True


@contextmanager
def hold_folder(folder: str | Path, remedy: str) -> Iterator[None]:
    """Inside, no other process holds `folder`, which is made when it is not there. The system lets go of it when this one ends,
    however it ends.

    Raises:
        ValueError: another process holds it; names that, its machine, and since when, and ends in `remedy`.
    """
    from filelock import FileLock, Timeout

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    holder, lock = folder / ".lock.json", FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(
            f"{folder}: found {_describe_holder(holder)} at work on it, expected no other; {remedy} (if that process is surely "
            f"gone, delete {folder / '.lock'})."
        ) from None
    try:
        clear_parts(folder, alone=True)
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        write_json(holder, {"process": os.getpid(), "machine": platform.node(), "since": since})
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _describe_holder(holder: Path) -> str:
    try:
        found = json.loads(holder.read_text(encoding="utf-8"))
        return f"process {int(found['process'])} on {found['machine']!s:.80} since {found['since']!s:.40}"
    except (OSError, ValueError, TypeError, KeyError):
        return "another process"  # which has only just begun


def write_json(path: str | Path, content, indent: int | None = None) -> Path:
    """Writes JSON in UTF-8, whole or not at all.

    Half a character (a lone surrogate, which JSON can escape and no text can hold) stays an escape, and so does then every
    other letter beyond ASCII.
    """
    path = Path(path)
    with replacing(path) as part:
        try:
            with open(part, "w", encoding="utf-8") as file:
                json.dump(content, file, indent=indent, ensure_ascii=False)
        except UnicodeEncodeError:
            with open(part, "w", encoding="ascii") as file:
                json.dump(content, file, indent=indent)
    return path
