"""What a label file holds: loads a COCO JSON, and says what the file seems to be when it is something else."""

import gc
import json
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from centerkp.formats.foreign import recognise_bytes, recognise_list, recognise_object
from centerkp.formats.sources import read_content, read_file, read_folder
from centerkp.labels.image_files import image_folders
from centerkp.labels.tables import NOUNS
from centerkp.wording import quote

LARGE = 50_000  # annotations whose memory is worth the time of looking for it
Paths = str | Path | Sequence[str | Path]  # of one dataset: a label file, or several that are one together


def list_paths(paths: Paths | None) -> list[Path]:
    """The files that make up a dataset; none for None."""
    return [] if paths is None else [Path(paths)] if isinstance(paths, str | os.PathLike) else [Path(path) for path in paths]


def name_paths(paths: Paths) -> Path:
    """What the files of a dataset are called in messages: "a.json", or "a.json and 2 more"."""
    first, *more = list_paths(paths)
    return Path(f"{first} and {len(more)} more") if more else first


def list_words(paths: Paths) -> str:
    """The files of a dataset as they stand on a command line, quoted where a shell would take them apart."""
    return shlex.join(map(str, list_paths(paths)))


@dataclass(eq=False)
class Source:
    """The content of a label file, or of several as one, and where its images are looked for.

    Args:
        path: what it is called in messages.
        place: the file whose neighbourhood holds the images, unless there is an `images_dir`.
        notes: what was derived while it was made a COCO dataset.
        files: the label files and folders that were read, and the files in these that hold the labels.
        named: those of them that were named.
    """

    path: Path
    place: Path
    content: dict
    images_dir: str | Path | None = None
    notes: list[str] = field(default_factory=list)
    files: tuple[Path, ...] = ()
    named: tuple[Path, ...] = ()

    @property
    def folders(self) -> list[Path]:
        """Where the images of the labels are looked for."""
        return image_folders(self.place, self.images_dir)


def open_label_file(
    path: Path, images_dir: str | Path | None = None, frames_dir: Path | None = None, overwrite: bool = False
) -> Source:
    """Loads one label file, a COCO JSON or a file or folder of another tool; raises as `load_json`, or `LabelFault`.

    Args:
        frames_dir, overwrite: where frames are written that only videos hold, as `formats.sleap.read_sleap` takes them.
    """
    folder = None if images_dir is None else Path(images_dir)
    if path.is_dir():
        found = read_folder(path, folder)
    else:
        found = read_file(path, folder, frames_dir, overwrite) if path.exists() else None
    content = None if found else load_json(path)
    found = found or read_content(path, content)
    content, notes, files = found or (require_coco(path, content), [], [])
    return Source(path, path, content, images_dir, notes, (path, *files), (path,))


class NotCoco(ValueError):
    """A file that is no COCO dataset: what was found in place of which, and what to do."""

    def __init__(self, path: Path, found: str, remedy: str):
        super().__init__(f"{path}: {found}; {remedy}.")
        self.found, self.remedy = found, remedy


def load_json(path: Path) -> Any:
    """Loads a JSON, be it COCO or not, in UTF-8 or UTF-16, with or without a byte order mark.

    Raises:
        FileNotFoundError: there is no such file.
        NotCoco: it is no JSON; says what the file seems to be.
    """
    if path.is_dir():
        inside = sorted(p.name for p in path.glob("*.json"))[:10]
        raise _not_coco(path, f"a folder with the JSON files {inside}", "give one JSON file")
    if not path.exists():
        raise FileNotFoundError(f"{path}: found no such file, expected a COCO JSON; check the path.")
    try:
        content = _parse_json(path)
    except _RepeatedKey as error:
        raise NotCoco(path, str(error), "join the two, or delete one") from None
    except (ValueError, RecursionError) as error:
        raise _not_coco(path, *recognise_bytes(path, path.read_bytes(), error)) from None
    return content


def _parse_json(path: Path) -> Any:
    """What a JSON holds, of which the bytes are not kept meanwhile."""
    text = _decode(path.read_bytes())
    with uncollected():
        return json.loads(text, object_pairs_hook=_read_json_object)


@contextmanager
def uncollected() -> Iterator[None]:
    """Inside, no garbage is looked for: millions of objects of labels, none of them any, would be walked again and again."""
    is_collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_collecting:
            gc.enable()


def release(*contents: Any) -> None:
    """Empties the content of label files that have been read, most of the memory: columns and records take its place."""
    is_large = any(len(content["annotations"]) > LARGE for content in contents)
    for content in contents:
        content.clear()
    if is_large:
        gc.collect()  # tables and the functions that name their rows hold each other, and the entries


def _decode(data: bytes) -> str:
    """The text of a JSON in whatever Unicode, as `json.loads` takes it."""
    return data.decode(json.detect_encoding(data), "surrogatepass")


def require_coco(path: Path, content: Any) -> dict:
    """What a JSON holds, if it is a COCO dataset: its three lists are there, what stands in them is not yet checked.

    Raises:
        NotCoco: it is something else; says what it seems to be.
    """
    if not isinstance(content, dict):
        raise _not_coco(path, *recognise_list(content))
    lacking = [key for key in NOUNS if not isinstance(content.get(key), list)]
    if lacking:
        raise _not_coco(path, *recognise_object(content, lacking))
    for key in ("images", "categories"):
        if not content[key]:
            found = f"found an empty list '{key}', expected at least one entry"
            raise NotCoco(path, found, "check the export's settings")
    return content


class _RepeatedKey(ValueError):
    pass


def _read_json_object(pairs: list[tuple[str, object]]) -> dict:
    """One object while a COCO JSON is loaded; refuses a key that stands twice with different values."""
    content = dict(pairs)
    if len(content) < len(pairs):
        strange = next((key for key, value in pairs if value is not content[key] and value != content[key]), None)
        if strange is not None:
            where = f"the object with id {quote(content['id'])}" if "id" in content else f"the object of {quote(list(content))}"
            raise _RepeatedKey(f"found the key {strange!r} twice with different values in {where}, expected it once")
    return content


def _not_coco(path: Path, found: str, remedy: str) -> NotCoco:
    """The error of reading a COCO JSON when the file seems to be something else."""
    expected = "a COCO dataset (a JSON object with the lists 'images', 'annotations' and 'categories')"
    return NotCoco(path, f"found what seems to be {found}, expected {expected}", remedy)
