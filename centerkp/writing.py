"""Files that are whole or not there: written under a temporary name beside their own, then renamed."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def part_path(path: Path) -> Path:
    """The temporary name of `path`; it keeps the extension, by which some writers choose their format."""
    return path.with_name(f"part-{path.name}")


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Gives the temporary name to write to, which becomes `path` when the block ends; folders are made as needed.

    When the block fails, the temporary file is removed and what stood under `path` remains. What a killed process leaves is
    written over by the next one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_path(path)
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


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
