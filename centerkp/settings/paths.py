"""Settings that are paths, one or several: absolute, moved with their run, and what the data are called."""

import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from centerkp.formats.labelme import find_labelme
from centerkp.labels.content import list_paths
from centerkp.labels.relocate import follow
from centerkp.settings.defaults import STARTING_WORDS

Paths = str | Sequence[str] | None  # of a setting that takes several
PATHS = (
    "coco", "images", "val", "val_images", "tfrecord", "label_map", "val_tfrecord", "run", "weights", "augmentation",
)  # fmt: skip
# Those of the data, which may be elsewhere when a run is resumed.
DATA_PATHS = tuple(name for name in PATHS if name not in ("run", "weights"))


def anchor_paths(settings: Any) -> dict[str, Any]:
    """The settings that are paths, absolute, so that they lead to the data from any folder; addresses and words stay."""
    given = {name: getattr(settings, name) for name in PATHS if name != "weights" or settings.weights not in STARTING_WORDS}
    return {name: _each(lambda path: path if "://" in path else os.path.abspath(path), v) for name, v in given.items()}


def follow_paths(settings: Any, folder: Path) -> dict[str, Any]:
    """The settings that are paths, moved along if the run, which they were written for, is in another folder now."""
    given = {name: getattr(settings, name) for name in PATHS if name != "run"}
    return {name: _each(partial(follow, old=settings.run, new=folder), value) for name, value in given.items()}


def _each(function: Callable[[str], str], value: Any) -> Any:
    """What a function makes of a setting that is a path, or of each of its paths; a setting without one stays as it is."""
    if isinstance(value, tuple):
        return tuple(map(function, value))
    return function(value) if value else value


def list_reads(*values: Paths) -> list[str]:
    """All files that some settings name, and those of labels in folders that may have the name of one that a run writes.

    Of all that other tools leave in a folder these are labelme's: it names them as the pictures are.
    """
    files = [path for value in values if value for path in list_paths(value)]
    inside = [path for folder in files if folder.is_dir() for path in find_labelme(folder)]
    return [str(path) for path in files + inside]


def name_data(paths: Paths) -> str:
    """What the data of these settings are called, for the name of the run folder: up to three files' names."""
    names = [re.split(r"[-_.]?\?|[*\[]", path.name)[0] for path in list_paths(paths or None)]
    return "+".join(Path(name).stem for name in names[:3]) or "records"
