"""Names of images in a new COCO file made from others: they lead to the same files from its place."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from centerkp.images.kinds import real_path
from centerkp.labels.image_files import image_folders, locate_images


def relocate_names(names: Sequence[str], paths: Sequence[Path], out_path: Path) -> list[str]:
    """The `file_name` of each image in a JSON at `out_path`: the old name where it leads to the same file, else the way there.

    Other programs take a name at its word, and a search finds more files when more are there: a name that was only found by
    searching, or spelled otherwise, is written anew. The way is relative to the JSON's folder, with "/", or absolute where no
    relative way exists (another drive). One file gets one name, also where the old names differ.
    """
    folders = image_folders(out_path, None)
    found = locate_images(names, folders)
    chosen: dict[Path, str] = {}
    for name, path, files in zip(names, paths, found, strict=True):
        real = real_path(path)
        plain = next((folder / name for folder in folders if os.path.isfile(folder / name)), None)
        same = plain is not None and [real_path(file) for file in (plain, *files)] == [real, real]
        if ".." in Path(name).parts:  # it would be found without the "..", too
            same = real_path(out_path.parent / name) == real
        if real not in chosen:
            chosen[real] = name if same else _way_from(path, out_path)
    return [chosen[real_path(path)] for path in paths]


def follow(path: str, old: str, new: Path) -> str:
    """A path or pattern written down when the folder `new` was `old`: moved along with it if only the moved one leads on.

    One that is not absolute, or a word that stands for something, stays.
    """
    if not os.path.isabs(path):
        return path
    try:
        moved = os.path.normpath(new.absolute() / os.path.relpath(path, old))
    except ValueError:  # another drive
        return path
    return moved if _leads_to_a_file(moved) and not _leads_to_a_file(path) else path


def _leads_to_a_file(path: str) -> bool:
    """Whether a path, or a pattern with wildcards, that was written down leads to something that exists."""
    return os.path.exists(path) or bool(glob.glob(path))


def _way_from(path: Path, out_path: Path) -> str:
    """The way to an image from the folder of a relocated JSON at `out_path`, absolute on another drive."""
    path = real_path(path.parent) / path.name  # a link to a file keeps its name, which says more than that of the file
    try:
        return Path(os.path.relpath(path, real_path(out_path).parent)).as_posix()
    except ValueError:  # another drive
        return path.as_posix()
