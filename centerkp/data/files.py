"""The files of a dataset on disk: the JSON, which may be something else, and the images that it names."""

import json
import os
import re
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from urllib.parse import unquote

import numpy as np
from rich.console import Console
from rich.progress import track

from centerkp.data.faults import Table, add_note, count_of
from centerkp.data.image import read_image, read_image_size

LISTS = ("images", "annotations", "categories")
BAR_FROM = 200  # images; fewer are decoded before a bar could be read
SAME_ASPECT = 0.01  # width and height scaled by factors this close: the image was resized, not changed
_EXPORT_AGAIN = "export the labels again in COCO format"
_SIGNATURES = (
    (b"PK\x03\x04", "a zip archive", "unpack it and give the JSON inside"),
    (b"\x1f\x8b", "a gzip archive", "unpack it and give the JSON inside"),
    (b"\x89HDF", "an HDF5 file as SLEAP and DeepLabCut write it", _EXPORT_AGAIN),
    (b"\x89PNG", "an image", "give the JSON that holds the labels"),
    (b"\xff\xd8\xff", "an image", "give the JSON that holds the labels"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "fetch the file with 'git lfs pull'"),
)


def read_json(path: Path) -> dict:
    """Loads a COCO dataset and says what the file seems to be when it is something else.

    UTF-8 and UTF-16 are read, with or without a byte order mark. The three lists 'images', 'annotations' and 'categories'
    are there afterwards; what stands in them is not yet checked.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a COCO dataset.
    """
    if path.is_dir():
        inside = sorted(p.name for p in path.glob("*.json"))[:10]
        raise _not_coco(path, f"a folder with the JSON files {inside}", "give one JSON file")
    if not path.exists():
        raise FileNotFoundError(f"{path}: found no such file, expected a COCO JSON; check the path.")
    data = path.read_bytes()
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _not_coco(path, *_recognise_bytes(path, data, error)) from None
    if not isinstance(content, dict):
        raise _not_coco(path, *_recognise_list(content))
    lacking = [key for key in LISTS if not isinstance(content.get(key), list)]
    if lacking:
        raise _not_coco(path, *_recognise_object(content, lacking))
    for key in ("images", "categories"):
        if not content[key]:
            raise ValueError(f"{path}: found an empty list '{key}', expected at least one entry; check the export's settings.")
    return content


def _not_coco(path: Path, found: str, remedy: str) -> ValueError:
    expected = "a COCO dataset (a JSON object with the lists 'images', 'annotations' and 'categories')"
    return ValueError(f"{path}: found what seems to be {found}, expected {expected}; {remedy}.")


def _recognise_bytes(path: Path, data: bytes, error: Exception) -> tuple[str, str]:
    """What a file that is not JSON seems to be, and what to do."""
    for signature, found, remedy in _SIGNATURES:
        if data.startswith(signature):
            return found, remedy
    text = data[:4096].decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    if not text:
        return "an empty file", _EXPORT_AGAIN
    if re.match(r"<!doctype html|<html", text, re.IGNORECASE):
        return "a web page, perhaps of a download that asked for a login", "download the file again"
    if text.startswith("<"):
        return "XML, as CVAT and Pascal VOC write it", _EXPORT_AGAIN
    first_record = int.from_bytes(data[:8], "little")  # a TFRecord starts with the length of its first record
    if "tfrecord" in path.name.lower() or path.suffix == ".record" or 0 < first_record <= len(data) - 16:
        return "a TFRecord", "give the COCO JSON that it was made from"
    if all(re.fullmatch(r"\d+(\s+[-+.\deE]+){4,}", line.strip()) for line in text.splitlines()[:3]):
        return "a YOLO label file (one line of numbers an object)", _EXPORT_AGAIN
    if text[0] in "{[":
        return f"JSON that is cut off or damaged ({error})", "export or copy it again"
    return f"no JSON at all ({error})", _EXPORT_AGAIN


def _is_label_studio(item) -> bool:
    found = [item.get(key) for key in ("annotations", "predictions")] if isinstance(item, Mapping) else []
    results = chain.from_iterable(results for results in found if isinstance(results, list))
    return any(isinstance(result, Mapping) and "result" in result for result in results)


def _recognise_list(content) -> tuple[str, str]:
    """What JSON that is not an object seems to be, and what to do."""
    if not isinstance(content, list):
        return f"JSON with nothing but one {type(content).__name__}", _EXPORT_AGAIN
    keys = set(content[0]) if content and isinstance(content[0], Mapping) else set()
    if {"image_id", "category_id", "score"} <= keys:
        return "a COCO results file (predictions with scores)", "give the dataset's own JSON, with the labels"
    if {"image_id", "category_id"} <= keys:
        return "the 'annotations' list of a COCO dataset alone", "give the whole dataset"
    if content and _is_label_studio(content[0]):
        return "a Label Studio task list", _EXPORT_AGAIN
    return f"a JSON list of {len(content)} entries", _EXPORT_AGAIN


def _recognise_object(content: dict, lacking: list[str]) -> tuple[str, str]:
    """What a JSON object without COCO's lists seems to be, and what to do."""
    first = next(iter(content.values()), None)
    if {"shapes", "imagePath"} <= set(content):
        return "a labelme file of one image", "convert the folder of labelme files into one COCO JSON"
    if "_via_img_metadata" in content or (isinstance(first, Mapping) and {"regions", "filename"} <= set(first)):
        return "a project of the VGG Image Annotator (VIA)", _EXPORT_AGAIN
    if _is_label_studio(content):
        return "a Label Studio task", _EXPORT_AGAIN
    keys = ", ".join(repr(key) for key in list(content)[:10]) or "none"
    return f"a JSON object without the list {' and '.join(map(repr, lacking))} (its keys: {keys})", _EXPORT_AGAIN


def image_folders(path: Path, images_dir: str | Path | None) -> list[Path]:
    """Where the images of a JSON are looked for: `images_dir`, or beside the JSON, in its `images/` and in `../images`."""
    if images_dir is None:
        folder = path.parent
        nearby = folder, folder / "images", folder.resolve().parent / "images"
        return list({place.resolve(): place for place in nearby if place.is_dir()}.values())
    if not Path(images_dir).is_dir():
        raise FileNotFoundError(f"{images_dir}: found no such folder, expected the images of {path}; check the path.")
    return [Path(images_dir)]


def find_images(names: Sequence[str], folders: Sequence[Path]) -> list[list[Path]]:
    """For each `file_name` of a JSON the files that it can mean: one when found, none when missing, several when unclear.

    Each name is tried as written, with "/" for a backslash, percent-decoded, and with leading folders taken away one by
    one (longest first). Only when that fails are the folders walked, once, and searched without regard to case.
    """
    found, tree = [], None
    for name in names:
        path = _look_up(name, folders)
        if path is None and tree is None:
            tree = _index(folders)
        found.append(_search(name, tree) if path is None else [path])
    return found


def _spellings(name: str) -> Iterator[list[str]]:
    """The parts of a path from any system, as written and percent-decoded; "." and ".." are left out."""
    for text in dict.fromkeys((name, unquote(name))):
        parts = [part for part in re.split(r"[\\/]+", text) if part not in ("", ".", "..")]
        if parts:
            yield parts


def _look_up(name: str, folders: Sequence[Path]) -> Path | None:
    tails = ("/".join(parts[start:]) for parts in _spellings(name) for start in range(len(parts)))
    for tail in chain((name,), tails):
        for folder in folders:
            path = os.path.join(folder, tail)
            if os.path.isfile(path):
                return Path(path)
    return None


def _fold(name: str) -> str:
    """Case and the two ways to write an accent (macOS splits them) do not tell names apart."""
    return unicodedata.normalize("NFC", name).casefold()


def _index(folders: Sequence[Path]) -> dict[str, list[Path]]:
    """Every file below the folders by its folded name; hidden folders are left out."""
    tree: dict[str, list[Path]] = {}
    for root in folders:
        for folder, subfolders, files in os.walk(root):
            subfolders[:] = [s for s in subfolders if not s.startswith(".")]
            for file in files:
                tree.setdefault(_fold(file), []).append(Path(folder, file))
    return tree


def _search(name: str, tree: dict[str, list[Path]]) -> list[Path]:
    """The files that share the most trailing parts with the name, spelled alike before spelled in another case."""
    scores = {}
    for parts in _spellings(name):
        for path in tree.get(_fold(parts[-1]), ()):
            pairs = list(zip(reversed(parts), reversed(path.parts), strict=False))
            same = next((i for i, (a, b) in enumerate(pairs) if _fold(a) != _fold(b)), len(pairs))
            score = same, sum(a == b for a, b in pairs[:same])
            scores[path] = max(score, scores.get(path, score))
    best = max(scores.values(), default=None)
    return sorted(path for path, score in scores.items() if score == best)


def find_paths(table: Table, names: Sequence[str], folders: Sequence[Path]) -> list[Path | None]:
    """The file of each image, None for faults: missing files, and names that several files fit or that share one file."""
    fits = find_images(names, folders)
    searched = ", ".join(str(folder) for folder in folders)
    remedy = f"looked in {searched} and below; name their folder (images_dir, --images), or delete the entries"
    table.fault([r for r, paths in enumerate(fits) if not paths and names[r]], "file_name", "missing images", remedy)

    users = defaultdict(list)
    for row, paths in enumerate(fits):
        users[paths[0] if len(paths) == 1 else None].append(row)
    unclear = [row for row in users.pop(None, ()) if fits[row]]
    plain = [name.replace("\\", "/").removeprefix("./") for name in names]
    shared = [rows for rows in users.values() if len(rows) > 1]
    unclear += [row for rows in shared if len({plain[row] for row in rows}) > 1 for row in rows]
    kind = "images that several files fit, or that share one file under different names"
    remedy = "write the sub-folder into 'file_name', or give a folder (images_dir, --images) that holds only the right files"

    def describe(row: int) -> str:
        return f"{table.label(row)}: file_name {names[row]!r} fits {', '.join(map(str, fits[row][:5]))}"

    table.faults.add(kind, remedy, sorted(unclear), describe)
    table.note(list(chain.from_iterable(shared)), "listed with a file that another image id has too; merge the two")
    moved = [row for rows in users.values() for row in rows if not fits[row][0].as_posix().endswith(plain[row])]
    some = (f"{names[row]} -> {fits[row][0]}" for row in moved)
    add_note(table.notes, "image", len(moved), "found under another path than 'file_name' says", some)
    return [paths[0] if paths else None for paths in fits]


def measure_images(paths: Sequence[Path], decode: bool) -> list[tuple[int, int] | str]:
    """The upright (width, height) of each image, or why it cannot be read; `decode` reads all pixels, not just the header."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        sizes = pool.map(partial(_measure, decode=decode), paths)
        if len(paths) <= BAR_FROM or not sys.stderr.isatty():
            return list(sizes)
        console = Console(stderr=True)
        return list(track(sizes, "Reading images", total=len(paths), console=console, transient=True))


def _measure(path: Path, decode: bool) -> tuple[int, int] | str:
    try:
        return read_image(path).shape[1::-1] if decode else read_image_size(path)
    except (ValueError, OSError) as error:
        return str(error)


def _measured_sizes(paths: Sequence[Path], written: np.ndarray, check_images: bool) -> tuple[np.ndarray, dict[int, str]]:
    """The sizes of the files (n, 2), as `written` where they were not looked at; and row -> why, for unreadable ones."""
    rows = range(len(paths)) if check_images else np.flatnonzero(~written.all(1)).tolist()
    found = dict(zip(rows, measure_images([paths[row] for row in rows], check_images), strict=True))
    errors = {row: size for row, size in found.items() if isinstance(size, str)}
    sizes = written.copy()
    for row in found.keys() - errors.keys():
        sizes[row] = found[row]
    return sizes, errors


def fit_frames(
    names: Sequence[str], paths: Sequence[Path], written: np.ndarray, image_rows: np.ndarray, check: bool, notes: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Compares the sizes that the JSON gives with the files', and notes what does not fit.

    Args:
        written: (n, 2) width and height in the JSON, 0 where it does not say.
        image_rows: (N,) the image of each annotation, to say how many are left out with an image.
        check: decode every file; otherwise `written` is trusted, and only headers are read where it is 0.

    Returns:
        (n, 2) upright sizes, 0 for images that must be left out, and (n, 2) factors from the JSON's frame to the file's.
    """
    sizes, errors = _measured_sizes(paths, written, check)
    scales = np.divide(sizes, written, out=np.ones_like(sizes), where=written > 0)
    known, broken = written.all(1), np.isin(np.arange(len(paths)), list(errors))
    swapped = (scales != 1).any(1) & (sizes == written[:, ::-1]).all(1)
    resized = (scales != 1).any(1) & ~swapped & (np.abs(scales[:, 0] / scales[:, 1] - 1) <= SAME_ASPECT)
    reshaped = (scales != 1).any(1) & ~swapped & ~resized
    add_note(notes, "image", int((~known & ~broken).sum()), "no width and height in the JSON, taken from the file")
    add_note(notes, "image", int(resized.sum()), "smaller or larger than the JSON says, annotations scaled to the file")

    def leave_out(mask: np.ndarray, why: str, name: Callable[[int], str]) -> None:
        lost = count_of(int(mask[image_rows].sum()), "annotation")
        add_note(notes, "image", int(mask.sum()), f"left out with {lost}, {why}", map(name, np.flatnonzero(mask)))

    def with_sizes(row: int) -> str:
        (w, h), (width, height) = written[row], sizes[row]
        return f"{names[row]} ({w:.0f}x{h:.0f} in the JSON, {width:.0f}x{height:.0f} on disk)"

    leave_out(broken, f"unreadable (the first: {next(iter(errors.values()), '')})", names.__getitem__)
    leave_out(swapped, "width and height exchanged (labelled without the EXIF rotation, or wrong in the JSON)", with_sizes)
    leave_out(reshaped, "the JSON's size has another shape than the file's", with_sizes)
    return np.where((broken | swapped | reshaped)[:, None], 0, sizes), scales
