"""What lies below a path or an address: its files, shared out among parts, and the encoded pictures in the files of a part."""

import os
import re
import stat
import struct
import tarfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath
from typing import Any

from centerkp.console import import_extra
from centerkp.images.kinds import IMAGE_SUFFIXES, walk_folder
from centerkp.images.packed import MAX_BYTES, ImageBytes
from centerkp.tfrecord.writer import import_tensorflow
from centerkp.wording import count_of, printable

READERS = 16  # threads that fetch pictures: an object store takes long to answer, but answers many at once
_KINDS = {
    "tar": re.compile(r".*\.(tar|tgz|tar\.(gz|bz2|xz))", re.IGNORECASE | re.DOTALL),
    "parquet": re.compile(r".*\.(parquet|pq)", re.IGNORECASE | re.DOTALL),
    "tfrecord": re.compile(r".*\.(tfrecords?|record)(-\d+-of-\d+)?", re.IGNORECASE | re.DOTALL),
}
_HALVES = re.compile("[\ud800-\udfff]")  # of characters, in names that are bytes without letters


@dataclass(frozen=True, eq=False)
class _Unread(ImageBytes):
    """In place of a picture that could not be fetched: reading it says why, and that is its row."""

    reason: str = ""

    def read_bytes(self) -> bytes:
        """Never bytes.

        Raises:
            ValueError: always, the reason.
        """
        raise ValueError(self.reason)


def open_place(address: str) -> tuple[Any, str]:
    """The `pyarrow.fs.FileSystem` of a path or an address such as s3://bucket/folder, and the path in it.

    Raises:
        FileNotFoundError: pyarrow is not installed.
        ValueError: nobody knows such addresses, or the store does not answer.
    """
    fs = import_extra("pyarrow.fs", "ray")
    if "://" not in address:
        return fs.LocalFileSystem(), os.path.abspath(address)
    try:
        files, path = fs.FileSystem.from_uri(address)
    except (ValueError, OSError, ImportError) as error:
        raise ValueError(
            f"{address}: found an address that cannot be opened ({error}), expected one such as s3://bucket/folder, "
            "gs://bucket/folder or fsspec+SCHEME://folder; check it, and the access to it."
        ) from None
    return files, path.rstrip("/")


def tell_kind(name: str) -> str | None:
    """What a file holds, by its name alone, since looking into millions takes hours: "picture", a key of `_KINDS`, or None."""
    if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES:
        return "picture"
    return next((kind for kind, pattern in _KINDS.items() if pattern.fullmatch(name)), None)


def list_parts(source: str, part_size: int, report: Callable[[str], None]) -> Any:
    """The files of a source as a `pyarrow.Table` (part, path, size), in the order of paths, the same for the same files.

    Of pictures `part_size` are a part; a tar, Parquet or TFRecord file is one by itself.

    Args:
        report: called with one sentence when files were left out.

    Raises:
        FileNotFoundError: there is nothing, or no file that holds pictures.
    """
    pyarrow, found = import_extra("pyarrow", "ray"), sorted(_list_files(source, report))
    known = [(path, size, tell_kind(path)) for path, size in found]
    columns: dict[str, list] = {"part": [], "path": [], "size": []}
    part, room = -1, 0
    for path, size, kind in known:
        if kind is None:
            continue
        if kind != "picture" or not room:
            part, room = part + 1, part_size if kind == "picture" else 1
        room -= 1
        for name, value in zip(columns, (part, path, size), strict=True):
            columns[name].append(value)
    if not columns["part"]:
        but = f" but {count_of(len(found), 'other file')}" if found else ""
        raise FileNotFoundError(
            f"{source}: found no picture{but}, expected a folder with pictures, tar, Parquet or TFRecord files in it or below, "
            "or one such file; check the path."
        )
    others = [path for path, _, kind in known if kind is None]
    if others:
        report(f"left out: {count_of(len(others), 'other file')}, such as {others[0]}")
    types = {"part": pyarrow.int32(), "path": pyarrow.string(), "size": pyarrow.int64()}
    return pyarrow.table(columns, schema=pyarrow.schema(types.items()))


def _list_files(source: str, report: Callable[[str], None]) -> list[tuple[str, int]]:
    """The path, below its root, and the size of every file of a source."""
    fs = import_extra("pyarrow.fs", "ray")
    (files, root), place = find_root(source), open_place(source)[1]
    first = files.get_file_info(place)
    is_folder = first.type == fs.FileType.Directory
    if is_folder and files.type_name == "local":
        return _walk_disk(place, report)
    found = files.get_file_info(fs.FileSelector(place, recursive=True)) if is_folder else [first]
    return [(one.path[len(root) + 1 :], one.size) for one in found if one.type == fs.FileType.File]


def _walk_disk(place: str, report: Callable[[str], None]) -> list[tuple[str, int]]:
    """The files of a folder on the disk as a source, where links may lead in circles or nowhere, and names be no text."""

    def refuse(error: OSError) -> None:
        raise ValueError(
            f"{error.filename}: found a folder that cannot be listed ({error.strerror}), expected one that can; ask for access."
        )

    found, nameless = [], []
    for folder, _, names in walk_folder(place, refuse):
        below = os.path.relpath(folder, place)
        for name in names:
            path, size = PurePath(below, name).as_posix(), _measure(os.path.join(folder, name))
            if size is not None and _HALVES.search(path):  # which no table of Parquet can hold
                nameless.append(path)
            elif size is not None:
                found.append((path, size))
    if nameless:
        some = printable(min(nameless))
        report(f"left out: {count_of(len(nameless), 'file')} with a name that is not text, such as {some}; rename such")
    return found


def _measure(path: str) -> int | None:
    """The bytes of a file of a source; 0 of a link that leads nowhere, as reading it will say; None for what is no file."""
    try:
        found = os.stat(path)
    except OSError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def find_root(source: str) -> tuple[Any, str]:
    """The file system of a source, and the folder that the names of its files begin at."""
    fs = import_extra("pyarrow.fs", "ray")
    files, place = open_place(source)
    try:
        kind = files.get_file_info(place).type
    except OSError as error:
        raise ValueError(f"{source}: found no answer ({error}), expected access; check the address.") from None
    return files, place if kind == fs.FileType.Directory else place.rpartition("/")[0]


def read_part(source: str, paths: Sequence[str]) -> Iterator[ImageBytes]:
    """The encoded pictures in the files of a part, in order, named by the file's path and their place in it.

    What cannot be read is in its place and says why when it is decoded.

    Raises:
        OSError: an object store did not answer, which says nothing of the picture: the part has to be done again.
    """
    files, root = find_root(source)
    if (kind := tell_kind(paths[0])) != "picture":
        for path in paths:
            yield from _unpack(files, root, path, kind)
        return
    with ThreadPoolExecutor(READERS) as pool:
        pending: deque[Future] = deque()
        for path in paths:
            pending.append(pool.submit(_fetch, files, root, path))
            if len(pending) > 2 * READERS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _fetch(files: Any, root: str, path: str) -> ImageBytes:
    """The bytes of a picture that is a file, or why there are none."""
    try:
        with files.open_input_stream(f"{root}/{path}", compression=None) as stream:
            return ImageBytes(path, stream.read())
    except OSError as error:
        return _explain(files, path, error)


def _explain(files: Any, path: str, error: Exception, count: int = 0) -> _Unread:
    """In place of what could not be read, why; an error of the network alone is raised again."""
    if isinstance(error, OSError) and files.type_name != "local" and not isinstance(error, FileNotFoundError | PermissionError):
        raise error
    after = f" after {count_of(count, 'picture')}" if count else ""
    return _Unread(path, b"", f"{path}: could not be read{after} ({error}), expected a whole file; copy it again.")


def _unpack(files: Any, root: str, path: str, kind: str) -> Iterator[ImageBytes]:
    """The pictures in a file of many; where it is damaged, those before, and then why there are no more.

    Raises:
        ValueError: TensorFlow is missing, which reads TFRecords: that says nothing of the file.
    """
    count = 0
    if kind == "tfrecord":
        import_tensorflow()
    try:
        with files.open_input_file(f"{root}/{path}") as file:
            for name, data in _UNPACKERS[kind](file):
                label, count = f"{path}/{name}", count + 1
                yield ImageBytes(label, data) if data else _Unread(label, b"", f"{label}: found no bytes, expected a picture.")
    except (OSError, ValueError, tarfile.TarError, EOFError) as error:
        yield _explain(files, path, error, count)


def _unpack_tar(file: Any) -> Iterator[tuple[str, bytes]]:
    """The pictures of a tar, packed or not, as WebDataset writes them; the other members are labels."""
    with tarfile.open(fileobj=file, mode="r|*", encoding="utf-8", errors="backslashreplace") as archive:
        for member in archive:
            if member.isfile() and tell_kind(member.name) == "picture":
                yield member.name, archive.extractfile(member).read()
            archive.members = []  # type: ignore[attr-defined]  # which would hold every one of them to the end


def _unpack_parquet(file: Any) -> Iterator[tuple[str, bytes]]:
    """The pictures in the one column of bytes that a Parquet file has, or of structs with `bytes`; named by their rows."""
    types, opened = import_extra("pyarrow.types", "ray"), import_extra("pyarrow.parquet", "ray").ParquetFile(file)

    def holds_bytes(kind: Any) -> bool:
        if types.is_struct(kind):
            return kind.get_field_index("bytes") >= 0 and holds_bytes(kind.field("bytes").type)
        return types.is_binary(kind) or types.is_large_binary(kind)

    names = [field.name for field in opened.schema_arrow if holds_bytes(field.type)]
    if len(names) != 1:
        raise ValueError(f"columns of bytes: found {names}, expected one, the pictures")
    row = 0
    for batch in opened.iter_batches(32, columns=names):
        for value in batch.column(0).to_pylist():
            yield str(row), (value or {}).get("bytes") if isinstance(value, dict) else value
            row += 1


def _unpack_tfrecord(file: Any) -> Iterator[tuple[str, bytes]]:
    """The pictures of TFRecords of the Object Detection API, by their `image/filename`, else by their number."""
    example, number = import_tensorflow().train.Example, 0
    from google.protobuf.message import DecodeError  # comes with TensorFlow

    while head := file.read(12):  # 8 bytes of length and 4 of checksum stand before a record, 4 of checksum behind it
        length = struct.unpack("<Q", head[:8].ljust(8, b"\xff"))[0]
        data = file.read(length + 4) if length < MAX_BYTES else b""
        if len(data) != length + 4:
            raise ValueError(f"a record of {length} bytes, of which {len(data)} are there")
        try:
            features = example.FromString(data[:-4]).features.feature
        except DecodeError as error:
            raise ValueError(f"a record that is no Example: {error}") from None
        name, encoded = (
            b"".join(features[key].bytes_list.value[:1]) if key in features else b""
            for key in ("image/filename", "image/encoded")
        )
        yield name.decode("utf-8", "backslashreplace") or str(number), encoded
        number += 1


_UNPACKERS: dict[str, Callable[[Any], Iterable[tuple[str, bytes]]]] = {
    "tar": _unpack_tar,
    "parquet": _unpack_parquet,
    "tfrecord": _unpack_tfrecord,
}
