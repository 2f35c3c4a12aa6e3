"""Joins label files into one COCO file."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from centerkp.labels.content import open_label_file
from centerkp.labels.faults import Remarks
from centerkp.labels.image_files import write_sizes
from centerkp.labels.joining import join_contents, pair_images, read_together, rename_images
from centerkp.labels.label_file import LabelFile, read_source
from centerkp.wording import count_of
from centerkp.writing import WriteGuard, write_json


@dataclass(frozen=True)
class Merged:
    """What was written, the counts by class name, and a line for all that the reader of the files should know."""

    file: Path
    images: int
    objects: dict[str, int]
    notes: tuple[str, ...]


def merge_coco(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    images_dirs: Sequence[str | Path] = (),
    overwrite: bool = False,
) -> Merged:
    """Writes one COCO file with the images and annotations of several, numbered anew from 1.

    Categories of one name become one and must have the same keypoints in the same order; the first file that says something
    about a category (skeleton, flip pairs, sigmas) is believed, and it keeps its id if no other has it. Licences are joined
    by content. Other parts of the file ('info' and the like) are taken from the first file that has them. `file_name` changes
    where it would not lead to the image from the new file's place; images without a size have that of their files. Images that
    stand in the files more than once (the same file, or another with the same bytes) are all kept, and reported.

    Args:
        images_dirs: where the images are: none to find them beside each file, one folder for all files, or one for each.

    Raises:
        ValueError: a file is faulty, two contradict each other, or `out` is one of them or of their images.
        FileNotFoundError, FileExistsError: a file is missing, or `out` is there already.
    """
    out = Path(out)
    if len(paths) < 2:
        raise ValueError(f"merge: found {count_of(len(paths), 'file')}, expected two or more; name them all before --out.")
    pairs = pair_images(paths, images_dirs)
    WriteGuard(paths, overwrite).check([out])
    sources = read_together(pairs)
    files = [path for source in sources for path in (*source.files, *source.images.paths)]
    WriteGuard([*paths, *files], overwrite).check([out])
    remarks = Remarks(out)
    for source in sources:
        for note in source.derived:
            remarks.add_sentence(f"{source.path.name}: {note}")
    return _write_joined(sources, out, remarks)


def import_labels(
    path: str | Path, out: str | Path, *, images_dir: str | Path | None = None, overwrite: bool = False
) -> Merged:
    """Writes the labels of another tool as a COCO file, numbered from 1; names of images lead there from `out`.

    Frames that only SLEAP's videos hold are written as pictures into a folder beside it, named after it.

    Raises:
        ValueError, FileNotFoundError, FileExistsError: as `merge_coco`.
    """
    path, out = Path(path), Path(out)
    WriteGuard([path], overwrite).check([out])
    source = read_source(open_label_file(path, images_dir, out.with_name(f"{out.stem}_frames"), overwrite))
    WriteGuard([*source.files, *source.images.paths], overwrite).check([out])
    return _write_joined([source], out, source.remarks)


def _write_joined(sources: Sequence[LabelFile], out: Path, remarks: Remarks) -> Merged:
    """Writes label files that are one dataset into one COCO file."""
    content = join_contents(sources, remarks)
    paths, sizes = [path for s in sources for path in s.images.paths], np.concatenate([s.images.sizes for s in sources])
    content["images"] = write_sizes(content["images"], paths, sizes)
    rename_images(content, sources, out)
    write_json(out, content)
    objects = Counter(a["category_id"] for a in content["annotations"])
    return Merged(
        out, len(content["images"]), {str(c["name"]): objects[c["id"]] for c in content["categories"]}, remarks.sentences
    )
