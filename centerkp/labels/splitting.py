"""Splits labels: a COCO file into training, validation and test files, in proportion by class."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import numpy as np

from centerkp.images.kinds import real_path
from centerkp.images.packed import PackedImage
from centerkp.images.phash import group_hashes, perceptual_hash
from centerkp.images.reading import read_image
from centerkp.labels.coco import read_label_file
from centerkp.labels.faults import Remarks
from centerkp.labels.image_files import map_image_files, write_sizes
from centerkp.labels.label_file import LabelFile
from centerkp.labels.relocate import relocate_names
from centerkp.wording import count_of
from centerkp.writing import WriteGuard, write_jsons

PHASH_DISTANCE = 8  # of 64 bits
PARTS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Split:
    """What was written: one file per part, and how many images and objects of each class it holds.

    `images` and `objects` are (parts, C); `negatives` and `totals` (parts,) count images without an object and all images.
    Crowd regions are not counted as objects. `groups` (images,) is the group of each image, `part_ids` (images,) its part.
    """

    files: dict[str, Path]
    class_names: tuple[str, ...]
    images: np.ndarray
    objects: np.ndarray
    negatives: np.ndarray
    totals: np.ndarray
    groups: np.ndarray
    part_ids: np.ndarray
    notes: tuple[str, ...]


def split_coco(
    path: str | Path,
    *,
    val: float = 0.2,
    test: float = 0.0,
    group_by: str | None = None,
    phash_distance: int = PHASH_DISTANCE,
    seed: int = 0,
    images_dir: str | Path | None = None,
    out_dir: str | Path | None = None,
    overwrite: bool = False,
) -> Split:
    """Writes NAME_train.json, NAME_val.json and, with `test`, NAME_test.json, which together hold every image once.

    Images and objects of every class are shared out in proportion, the rarest class first; each part gets some of every class
    as long as there are groups to give. Everything in the file is kept: info, licences, categories, fields of other tools.
    Only `file_name` changes, where it would not lead to the image from the new file's place, and images without a size have
    that of their files. The same arguments give the same files.

    Args:
        val, test: shares of the images, 0 < val, 0 <= test, together below 1.
        group_by: what keeps images on one side. None: nothing but being the same file. "folder": their folder. "phash": they
            look alike, directly or over others in between, as neighbouring frames do. Anything else is a regular expression
            searched in `file_name`: images belong together whose match (or its groups in parentheses, if it has any) is equal.
        phash_distance: how many of 64 bits may differ for "phash".
        out_dir: by default the folder of `path`.

    Raises:
        ValueError: the file is faulty, the shares are, or there are fewer groups than parts.
        FileNotFoundError, FileExistsError: a file is missing, or one to be written is there already.
    """
    fractions = _check_shares(val, test)
    source = read_label_file(path, images_dir)
    names = PARTS[: len(fractions)]
    out_dir = Path(out_dir) if out_dir else source.path.parent
    files = {name: out_dir / f"{source.path.stem}_{name}.json" for name in names}
    WriteGuard([*source.files, *source.images.paths], overwrite).check(files.values())
    counts = count_objects_by_image(source)
    remarks = Remarks(source.path)
    for note in source.derived:
        remarks.add_sentence(note)
    groups = group_images(source, group_by, remarks, phash_distance)
    group_parts = assign_groups(sum_groups(counts, groups), fractions, seed)
    part_ids = group_parts[groups]
    write_jsons({file: _select_images(source, part_ids == number, file) for number, file in enumerate(files.values())})
    for number, name in enumerate(names):
        _note_missing_classes(source.schema.class_names, counts, part_ids == number, name, remarks)
    holds = counts > 0
    images, objects, negatives, totals = (
        np.stack([table[part_ids == p].sum(0) for p in range(len(names))])
        for table in (holds, counts, ~np.any(holds, axis=1), np.ones(len(counts), int))
    )
    parts = images, objects, negatives, totals, groups, part_ids
    return Split(files, source.schema.class_names, *parts, remarks.sentences)


def _check_shares(val: float, test: float) -> np.ndarray:
    """The shares of training, validation and test part of a split, each above 0."""
    if not (0 < val < 1 and 0 <= test < 1 and val + test < 1):
        raise ValueError(
            f"split: found the shares val {val:g} and test {test:g}, expected 0 < val, 0 <= test and a sum below 1; "
            "try --val 0.2 --test 0.1."
        )
    return np.array([1 - val - test, val, test][: 3 if test else 2])


def count_objects_by_image(source: LabelFile) -> np.ndarray:
    """(images, C) objects of each class, crowd regions left out: what a split shares out."""
    a, counts = source.annotations, np.zeros((len(source.images.paths), source.schema.num_classes), np.int64)
    np.add.at(counts, (a.image_rows[~a.is_crowd], a.class_ids[~a.is_crowd]), 1)
    return counts


def group_images(source: LabelFile, group_by: str | None, remarks: Remarks, phash_distance: int = PHASH_DISTANCE) -> np.ndarray:
    """Which images must stay on one side of a split: (images,) group numbers from 0 on; `group_by` as in `split_coco`."""
    names = [image["file_name"] for image in source.content["images"]]
    return group_files(names, source.images.paths, group_by, remarks, phash_distance)


def group_files(
    names: Sequence[str],
    paths: Sequence[Path | PackedImage],
    group_by: str | None,
    remarks: Remarks,
    phash_distance: int = PHASH_DISTANCE,
) -> np.ndarray:
    """As `group_images`, of images with these names and files to be split."""
    if not group_by:
        return _number_groups([_find_file(path) for path in paths])
    alone, why = [], ""
    if group_by == "folder":  # of the name, where links lead elsewhere
        folders = [real_path(p.parent) if isinstance(p, Path) else Path(n).parent for n, p in zip(names, paths, strict=True)]
        groups = _number_groups(folders)
    elif group_by == "phash":
        (groups, alone), why = _group_by_looks(names, paths, phash_distance), "unreadable"
    else:
        (groups, alone), why = _group_by_pattern(names, paths, group_by), f"'{group_by}' does not fit"
    sizes = np.bincount(groups)
    remarks.add_sentence(f"{count_of(len(sizes), 'group')} of {count_of(len(groups), 'image')}, the largest with {sizes.max()}")
    remarks.add_note("image", len(alone), f"{why}, each a group of its own", alone)
    return groups


def _group_by_pattern(names: Sequence[str], paths: Sequence[Path | PackedImage], pattern: str) -> tuple[np.ndarray, list[str]]:
    """Groups of images to split, by what a pattern finds in their names, and the names that it does not fit."""
    try:
        matches = [re.search(pattern, name.replace("\\", "/")) for name in names]
    except re.error as error:
        raise ValueError(
            f"--group-by: found '{pattern}', expected 'folder', 'phash' or a regular expression ({error}); "
            "as in --group-by 'video(\\d+)'."
        ) from None
    if not any(matches):
        raise ValueError(
            f"--group-by: found no file name that '{pattern}' fits, expected some; the first name is '{names[0]}'."
        )
    strangers = [name for name, match in zip(names, matches, strict=True) if not match]
    keys = [(m.groups() or m[0]) if m else _find_file(p) for m, p in zip(matches, paths, strict=True)]
    return _number_groups(keys), strangers


def _find_file(path: Path | PackedImage) -> Path | int:
    """What two images to be split share if they are one file; a packed image has none."""
    return real_path(path) if isinstance(path, Path) else id(path)


def _group_by_looks(names: Sequence[str], paths: Sequence[Path | PackedImage], distance: int) -> tuple[np.ndarray, list[str]]:
    """Groups of images to split that look alike, and the names of the unreadable ones."""
    hashes = map_image_files(_hash_image_file, paths, "Comparing images")
    readable = np.array([value is not None for value in hashes])
    groups = np.full(len(paths), -1)
    groups[readable] = group_hashes([value for value in hashes if value is not None], distance)
    groups[~readable] = groups.max(initial=-1) + 1 + np.arange((~readable).sum())
    unread = [name for name, value in zip(names, hashes, strict=True) if value is None]
    return _number_groups(groups.tolist()), unread


def _hash_image_file(path: Path) -> np.uint64 | None:
    """The perceptual hash by which images to split are grouped; None for an unreadable file."""
    try:
        return perceptual_hash(read_image(path))
    except (ValueError, OSError):
        return None


def _number_groups(keys: Sequence) -> np.ndarray:
    """Numbers of the groups to split by, 0, 1, ... for equal keys, in order of appearance."""
    numbers: dict = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def sum_groups(counts: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """What is to be shared out of each group, (G, C + 2): objects of each class, images without objects, images."""
    columns = np.column_stack([counts, counts.sum(1) == 0, np.ones(len(counts), int)])
    table = np.zeros((groups.max() + 1, columns.shape[1]), np.int64)
    np.add.at(table, groups, columns)
    return table


def assign_groups(amounts: np.ndarray, fractions: np.ndarray, seed: int) -> np.ndarray:
    """Shares groups of images out to the parts of a split in proportion, column by column, the rarest column first.

    After "On the Stratification of Multi-Label Data" (Sechidis, Tsoumakas and Vlahavas 2011), with two changes, since groups
    differ in size: large groups go first, and a group goes to the part that is furthest from its share of the column and of
    the images together, counting half of the group as there already (as Webster shares out seats).

    Args:
        amounts: (G, F) how much of each of F things a group holds; the last, its images, must be above 0.
        fractions: (P,) shares of the parts, the most important part first.

    Returns:
        (G,) the part of each group. No part is empty, and none lacks a thing that enough groups hold.

    Raises:
        ValueError: there are fewer groups than parts.
    """
    if len(amounts) < len(fractions):
        raise ValueError(
            f"split: found {count_of(len(amounts), 'group')} of images, expected at least {len(fractions)}, one for each part; "
            "group by something finer (--group-by), or leave the grouping out."
        )
    totals = amounts.sum(0)
    wanted = np.maximum(np.outer(fractions, totals), 1e-9)
    given = np.zeros_like(wanted)
    parts = np.full(len(amounts), -1)
    order = np.random.default_rng(seed).permutation(len(amounts))
    for column in np.argsort(np.where(totals > 0, totals, np.inf), kind="stable"):
        members = order[(parts[order] < 0) & (amounts[order, column] > 0)]
        for group in members[np.argsort(-amounts[members, column], kind="stable")]:
            need = 1 - (given + amounts[group] / 2) / wanted
            parts[group] = (need[:, column] + need[:, -1]).round(9).argmax()
            given[parts[group]] += amounts[group]
    _fill_gaps(parts, amounts, wanted)
    return parts


def _fill_gaps(parts: np.ndarray, amounts: np.ndarray, wanted: np.ndarray) -> None:
    """Moves groups, in place, to parts of the split that lack a thing (a column) altogether.

    A part may lose its last one of a thing to a more important part only, and to one that would stay empty.
    """
    holders, totals = amounts > 0, np.maximum(amounts.sum(0), 1)
    for part in range(len(wanted)):
        for column in [*np.argsort(totals, kind="stable").tolist(), -1]:
            has = np.array([holders[parts == p].sum(0) for p in range(len(wanted))])
            if has[part, column]:
                continue
            spared = ~holders | (has[parts] > 1) | (parts > part)[:, None]
            movable = np.flatnonzero(spared[:, -1] if column < 0 else holders[:, column] & spared.all(1))
            if len(movable):
                costs = np.abs(amounts[movable] - wanted[part]) / totals + ~spared[movable] * totals.size
                parts[movable[costs.sum(1).argmin()]] = part


def _select_images(source: LabelFile, chosen: np.ndarray, file: Path) -> dict:
    """The content of one part's COCO file: the images chosen by the split, with their annotations."""
    rows = np.flatnonzero(chosen).tolist()
    paths = [source.images.paths[r] for r in rows]
    images = write_sizes([source.content["images"][r] for r in rows], paths, source.images.sizes[rows])
    names = relocate_names([image["file_name"] for image in images], paths, file)
    annotations = list(compress(source.content["annotations"], chosen[source.annotations.image_rows]))
    moved = [image | {"file_name": name} for image, name in zip(images, names, strict=True)]
    return source.content | {"images": moved, "annotations": annotations}


def _note_missing_classes(names: Sequence[str], counts: np.ndarray, chosen: np.ndarray, part: str, remarks: Remarks) -> None:
    """Notes the classes of which a part of the split holds no object."""
    lacking = [name for name, here, all_ in zip(names, counts[chosen].sum(0), counts.sum(0), strict=True) if all_ and not here]
    if lacking:
        remarks.add_sentence(f"{part} holds no {', '.join(lacking)}: too few groups of images show it")
