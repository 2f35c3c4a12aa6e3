"""The image files that labels name: where they are, what size they have, and whether the labels were made for that size."""

import os
import re
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from itertools import chain
from pathlib import Path
from urllib.parse import parse_qs, unquote

import numpy as np
from rich.progress import track

from centerkp.console import make_console
from centerkp.images.kinds import IMAGE_SUFFIXES, real_path, walk_folder
from centerkp.images.oddities import Oddity, describe_oddities
from centerkp.images.packed import PackedImage
from centerkp.images.reading import read_image, read_image_size
from centerkp.images.sensors import Levels
from centerkp.labels.faults import Remarks
from centerkp.labels.tables import Table
from centerkp.wording import count_of

BAR_FROM = 200  # files; up to so many are read before a bar could be
Measured = tuple[list[tuple[int, int] | str], list[str]]  # of `measure_image_files`
SAME_ASPECT = 0.01  # width and height scaled by factors this close: the image was resized, not changed


def image_folders(path: Path, images_dir: str | Path | None) -> list[Path]:
    """Where the images of labels are looked for: `images_dir`, or in their folder, its `images/` and `../images`."""
    if images_dir is None:
        folder = path if path.is_dir() else path.parent
        nearby = folder, folder / "images", real_path(folder).parent / "images"
        return list({real_path(place): place for place in nearby if place.is_dir()}.values())
    if not Path(images_dir).is_dir():
        raise FileNotFoundError(f"{images_dir}: found no such folder, expected the images of {path}; check the path.")
    return [Path(images_dir)]


def locate_images(names: Sequence[str], folders: Sequence[Path]) -> list[list[Path]]:
    """For each `file_name` of a JSON the files that it can mean: one when found, none when missing, several when unclear.

    Each name is tried as written, with "/" for a backslash, percent-decoded, without the "?..." of an address, and with
    leading folders taken away one by one (longest first). Only when that fails are the folders walked, once, and searched
    without regard to case, then to the ending. A name whose neighbours in the labels are where they say is missing where
    their folder lacks it: a file of that name elsewhere, such as another camera's or a mask, is another picture.
    """
    written = [_find_as_written(name, folders) for name in names]
    real = cache(real_path)
    homes: dict[str, set[Path]] = defaultdict(set)  # folder in the labels -> where its files are
    for name, (path, tail) in zip(names, written, strict=True):
        if path and "/" in tail:
            homes[_folder_of(name)].add(real(path.parent))
    places = {real(path.parent) for path, _ in written if path}
    found, tree = [], None
    for name, (path, _) in zip(names, written, strict=True):
        own = homes.get(_folder_of(name), set())
        if path and (not own or real(path.parent) in own):
            found.append([path])
            continue
        tree = _index_folders(folders) if tree is None else tree
        found.append(_find_similar(name, tree, own, own or places, real))
    return found


def _folder_of(name: str) -> str:
    """The folder in an image's name in labels, empty where it has none."""
    return name.replace("\\", "/").rpartition("/")[0]


def _spell_name(name: str) -> Iterator[list[str]]:
    """The parts of an image's name in labels, a path from any system or an address, as written and percent-decoded."""
    texts = [name, name.strip()]
    if "?" in name:  # an address; Label Studio's for local files has the path in "d"
        address, _, query = name.partition("?")
        texts += [address, *parse_qs(query).get("d", ())]
    texts += [unquote(text) for text in texts]
    texts += [unquote(text) for text in texts]  # some are encoded twice
    texts += [re.sub(r"(^|/)[0-9a-f]{8}-([^/]+)$", r"\1\2", text) for text in texts]  # Label Studio's mark of an upload
    for text in dict.fromkeys(texts):
        parts = [part for part in re.split(r"[\\/]+", text) if part not in ("", ".", "..")]
        if parts:
            yield parts


def _find_as_written(name: str, folders: Sequence[Path]) -> tuple[Path | None, str]:
    """The image file that a name leads to from one of the folders, and the part of the name that does, the whole one first."""
    tails = ("/".join(parts[start:]) for parts in _spell_name(name) for start in range(len(parts)))
    for tail in chain((name,), tails):
        for folder in folders:
            path = os.path.join(folder, tail)
            if os.path.isfile(path):
                return Path(path), tail.replace("\\", "/")
    return None, ""


def _fold_case(name: str) -> str:
    """An image file's name in the form in which case and the two ways to write an accent do not matter."""
    return unicodedata.normalize("NFC", name).casefold()


def _index_folders(folders: Sequence[Path]) -> dict[str, list[Path]]:
    """Every image file below the folders by its folded name, to find those that labels name; hidden folders left out."""
    tree: dict[str, list[Path]] = {}
    for root in folders:
        for folder, subfolders, files in walk_folder(root):
            subfolders[:] = [s for s in subfolders if not s.startswith(".")]
            for file in files:
                tree.setdefault(_fold_case(file), []).append(Path(folder, file))
                if file.lower().endswith(IMAGE_SUFFIXES):
                    tree.setdefault(_fold_case(_without_ending(file)), []).append(Path(folder, file))
    return tree


def _without_ending(name: str) -> str:
    """An image's name in labels without its ending, where it has one, as no file is called."""
    return (os.path.splitext(name)[0] if name.lower().endswith(IMAGE_SUFFIXES) else name) + "/"


def _find_similar(
    name: str, tree: dict[str, list[Path]], own: set[Path], places: set[Path], real: Callable[[Path], Path]
) -> list[Path]:
    """The image files that share the most trailing parts with a name, spelled alike first, with another ending last.

    Args:
        own: folders in which alone they may be; places: those for files with another ending. Empty where any may be.
        real: where a folder really is, as these sets name it.
    """
    # The ending is forgotten by some tools, and another after a conversion.
    for change, allowed in ((str, own), (_without_ending, places)):
        scores = {}
        for *folders, last in _spell_name(name):
            files = tree.get(_fold_case(change(last)), ())
            for path in (file for file in files if not allowed or real(file.parent) in allowed):
                above = zip(reversed(folders), reversed(path.parts[:-1]), strict=False)
                pairs = [(change(last), change(path.name)), *above]
                same = next((i for i, (a, b) in enumerate(pairs) if _fold_case(a) != _fold_case(b)), len(pairs))
                score = same, sum(a == b for a, b in pairs[:same])
                scores[path] = max(score, scores.get(path, score))
        best = max(scores.values(), default=None)
        if best:
            break
    return sorted(path for path, score in scores.items() if score == best)


def require_images(table: Table, names: Sequence[str], folders: Sequence[Path]) -> list[Path | None]:
    """The file of each image, None for faults: missing files, and names that several files fit or that share one file."""
    fits = locate_images(names, folders)
    searched = ", ".join(str(folder) for folder in folders)
    remedy = f"looked in {searched} and below; name their folder (images_dir, --images), or delete the entries"
    table.fault_value([r for r, paths in enumerate(fits) if not paths and names[r]], "file_name", "missing images", remedy)

    users = defaultdict(list)
    for row, paths in enumerate(fits):
        users[paths[0] if len(paths) == 1 else None].append(row)
    unclear = [row for row in users.pop(None, ()) if fits[row]]
    plain = [name.replace("\\", "/").removeprefix("./") for name in names]
    shared = [rows for rows in users.values() if len(rows) > 1]
    unclear += [row for rows in shared if len({plain[row] for row in rows}) > 1 for row in rows]
    text = "images that several files fit, or that share one file under different names"
    remedy = "write the sub-folder into 'file_name', or give a folder (images_dir, --images) that holds only the right files"

    def found(row: int) -> str:
        return f"file_name {names[row]!r} fits {', '.join(map(str, fits[row][:5]))}"

    table.fault(sorted(unclear), text, remedy, found)
    table.note(list(chain.from_iterable(shared)), "listed with a file that another image id has too; merge the two")
    moved = [row for rows in users.values() for row in rows if not fits[row][0].as_posix().endswith(plain[row])]
    some = (f"{names[row]} -> {fits[row][0]}" for row in moved)
    table.remarks.add_note("image", len(moved), "found under another path than 'file_name' says", some)
    return [paths[0] if paths else None for paths in fits]


def map_image_files(function: Callable, paths: Sequence[Path | PackedImage | None], title: str) -> list:
    """Calls a function with each image file of the labels, on all cores, with a bar on a terminal; returns all results."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(function, paths)
        if len(paths) <= BAR_FROM or not sys.stderr.isatty():
            return list(results)
        return list(track(results, title, total=len(paths), console=make_console(stderr=True), transient=True))


def measure_image_files(paths: Sequence[Path], decode: bool, levels: Levels | None = None) -> Measured:
    """The upright (width, height) of each image file, or why not; and a sentence for each kind of odd pictures among them.

    Args:
        decode: read all pixels, not just the header; only then is a picture known to be odd.
        levels: as `read_image` takes them.
    """
    looks = map_image_files(partial(_measure_image_file, decode=decode, levels=levels), paths, "Reading images")
    odd = describe_oddities((path.name, oddities) for path, (_, oddities) in zip(paths, looks, strict=True))
    return [size for size, _ in looks], odd


def _measure_image_file(path: Path, decode: bool, levels: Levels | None) -> tuple[tuple[int, int] | str, list[Oddity]]:
    """The upright (width, height) of one image file, or why it cannot be read; and what is odd about it."""
    oddities: list[Oddity] = []
    try:
        if not decode:
            return read_image_size(path), []
        return read_image(path, levels, oddities.append).shape[1::-1], oddities
    except (ValueError, OSError) as error:
        return str(error), []


def _measure_or_trust(
    paths: Sequence[Path],
    written: np.ndarray,
    check_images: bool,
    remarks: Remarks,
    levels: Levels | None,
    measured: Measured | None,
) -> tuple[np.ndarray, dict[int, str]]:
    """The sizes of the image files (n, 2), as `written` where they were not looked at; and row -> why, for unreadable ones."""
    rows = range(len(paths)) if check_images else np.flatnonzero(~written.all(1)).tolist()
    looks, odd = measured or measure_image_files([paths[row] for row in rows], check_images, levels)
    for sentence in odd:
        remarks.add_sentence(sentence)
    found = dict(zip(rows, looks, strict=True))
    errors = {row: size for row, size in found.items() if isinstance(size, str)}
    sizes = written.copy()
    for row in found.keys() - errors.keys():
        sizes[row] = found[row]
    return sizes, errors


def write_sizes(images: Sequence[dict], paths: Sequence[Path], sizes: np.ndarray) -> list[dict]:
    """The images of labels to be written, those without a width and height with that of their upright file, if it is readable.

    VIA writes none, and Label Studio none for images without labels; other programs divide by them.

    Args:
        sizes: (n, 2) width and height in the labels, 0 where they do not say.
    """
    rows = np.flatnonzero(~sizes.all(1)).tolist()
    looks, _ = measure_image_files([paths[row] for row in rows], decode=False)
    written = list(images)
    for row, size in zip(rows, looks, strict=True):
        if not isinstance(size, str):
            written[row] = images[row] | {"width": size[0], "height": size[1]}
    return written


def compare_image_sizes(written: np.ndarray, upright: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compares the sizes that labels give, (n, 2), with those of the upright image files, (n, 2); 0 where one is not known.

    Returns:
        (n,) "right", "unknown" (no size in the labels), "swapped" (width and height), "resized" or "reshaped"; and (n, 2)
        factors from the labels' frame to the image's, 1 unless it was resized.
    """
    seen, known = np.all(upright > 0, axis=1), np.all(written > 0, axis=1)
    scales = np.divide(upright, written, out=np.ones_like(upright), where=(seen & known)[:, None])
    other = (scales != 1).any(1)
    swapped = other & (upright == written[:, ::-1]).all(1)
    resized = other & (np.abs(scales[:, 0] / scales[:, 1] - 1) <= SAME_ASPECT)
    conditions = {"unknown": seen & ~known, "swapped": swapped, "resized": resized, "reshaped": other}
    kinds = np.select(list(conditions.values()), list(conditions), "right").astype(object)
    scales[kinds != "resized"] = 1
    return kinds, scales


def fit_to_image_files(
    names: Sequence[str],
    paths: Sequence[Path],
    written: np.ndarray,
    image_rows: np.ndarray,
    check: bool,
    remarks: Remarks,
    levels: Levels | None = None,
    measured: Measured | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Measures the image files and compares their sizes with those that the labels give; notes what does not fit.

    Args:
        written: (n, 2) width and height in the labels, 0 where they do not say.
        image_rows: (N,) the image of each annotation, to say how many are left out with an image.
        check: decode every file; otherwise `written` is trusted, and only headers are read where it is 0.
        levels: as `read_image` takes them.
        measured: of all files, where `check` was done before.

    Returns:
        (n, 2) upright sizes, 0 for images that must be left out, and (n, 2) factors from the labels' frame to the file's.
    """
    sizes, errors = _measure_or_trust(paths, written, check, remarks, levels, measured)
    kinds, scales = compare_image_sizes(written, sizes)
    broken, swapped, reshaped = np.isin(np.arange(len(paths)), list(errors)), kinds == "swapped", kinds == "reshaped"
    unknown, resized = (kinds == "unknown").sum(), (kinds == "resized").sum()
    remarks.add_note("image", unknown, "no width and height given, taken from the file")
    remarks.add_note("image", resized, "smaller or larger than the labels say, annotations scaled to the file")

    def leave_out(mask: np.ndarray, why: str, name: Callable[[int], str]) -> None:
        lost = count_of(int(mask[image_rows].sum()), "annotation")
        remarks.add_note("image", int(mask.sum()), f"left out with {lost}, {why}", map(name, np.flatnonzero(mask).tolist()))

    def with_sizes(row: int) -> str:
        (w, h), (width, height) = written[row], sizes[row]
        return f"{names[row]} ({w:.0f}x{h:.0f} in the labels, {width:.0f}x{height:.0f} on disk)"

    leave_out(broken, f"unreadable (the first: {next(iter(errors.values()), '')})", names.__getitem__)
    leave_out(swapped, "width and height exchanged (labelled without the EXIF rotation, or wrong in the labels)", with_sizes)
    leave_out(reshaped, "the file has another shape than the labels say", with_sizes)
    return np.where((broken | swapped | reshaped)[:, None], 0, sizes), scales
