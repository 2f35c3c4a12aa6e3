"""Where the images of YOLO's label files are, and which files are YOLO's."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from centerkp.formats.gathering import LabelFault
from centerkp.images.kinds import IMAGE_SUFFIXES, real_path
from centerkp.wording import count_of

_ROW = re.compile(r"\s*\d+(\.0*)?(\s+[-+]?[\d.]+(e[-+]?\d+)?){4,}\s*")  # an object: class, box, points


def is_yolo(path: Path) -> bool:
    """Whether a file seems to be the data.yaml of a YOLO dataset."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and bool({"names", "nc"} & set(content)) and bool({"train", "val", "path"} & set(content))


def is_label_file(path: Path) -> bool:
    """Whether a text file seems to hold labels of YOLO; an empty one is that of an image without objects."""
    with open(path, "rb") as file:
        lines = file.read(4096).decode("utf-8", "replace").lstrip("\ufeff").splitlines()[:3]
    return all(_ROW.fullmatch(line) for line in lines[:2] if line.strip())


def find_config(folder: Path) -> Path | None:
    """The data.yaml that a folder of label files belongs to: in it, or in one of the two above."""
    for place in (folder, *real_path(folder).parents[:2]):
        for found in sorted([*place.glob("*.yaml"), *place.glob("*.yml")]):
            if is_yolo(found):
                return found
    return None


def pair_labels(folder: Path, images_dir: Path | None) -> Iterator[tuple[Path, Path]]:
    """Every label file in a folder of YOLO's and below, with its image: beside it, or where `labels` in the path is `images`.

    Raises:
        LabelFault: images are missing. Other text files, which have none and hold no labels, are passed over.
    """
    whole = real_path(folder)
    twin = Path(*["images" if part == "labels" else part for part in whole.parts])
    places = [images_dir] if images_dir else [twin, whole, whole / "images", whole.parent / "images"]
    labels, pairs, lost = [path for path in sorted(whole.rglob("*.txt")) if not _is_hidden(path, whole)], [], []
    for label in labels:
        stem = label.relative_to(whole).with_suffix("")
        tried = (place / name for place in places for name in (stem, stem.name))
        image = next((path for one in tried if (path := _find_suffix(one))), None)
        pairs += [(image, label)] if image else []
        lost += [] if image or label.name == "classes.txt" or not is_label_file(label) else [label.name]
    if lost or not pairs:
        some = f"without an image for {len(lost)} of {len(labels)} files ({', '.join(lost[:3])})"
        raise LabelFault(
            f"{folder}: found a folder of YOLO labels {some}, expected one for each in {', '.join(map(str, places))}; name "
            "their folder (images_dir, --images)."
        )
    yield from pairs


def pair_images(config: Path, content: Mapping, images_dir: Path | None) -> list[tuple[Path, Path | None]]:
    """The images that a data.yaml of YOLO trains on, folders or lists of them, each with its label file if it has one.

    Args:
        images_dir: where the images are in place of what `train` says; their labels may be where `train` says.

    Raises:
        LabelFault: there are no such images, or not one of them has a label file.
    """
    root = config.parent / str(content.get("path") or "")
    root = root if os.path.isdir(root) else config.parent  # `Path` raises where a name is too long
    entries = content["train"] if isinstance(content.get("train"), list) else [content.get("train")]
    if images_dir is None:
        images = [image for entry in entries for image in _list_images(_find_entry(config, root, entry), root)]
        tried = [[_turn_to_labels(image).with_suffix(".txt")] for image in images]
    elif images_dir.is_dir():
        images = _list_images(images_dir, root)
        tried = list(_try_labels(images, images_dir, [*_label_folders(root, entries), root / "labels"]))
    else:
        raise LabelFault(f"{config}: found no folder {images_dir}, expected the images there; correct images_dir (--images).")
    labels = [next((label for label in some if label.is_file()), None) for some in tried]
    if images and not any(labels):
        some = ", ".join(map(str, tried[0]))
        raise LabelFault(
            f"{config}: found a YOLO dataset without a label file for any of {count_of(len(images), 'image')}, expected {some} "
            "and the like; put the label files there, or name the images' folder (images_dir, --images)."
        )
    return list(zip(images, labels, strict=True))


def _find_entry(config: Path, root: Path, entry: Any) -> Path:
    """The folder or list of images that an entry of `train` in a data.yaml of YOLO means."""
    name = str(entry or "").replace("\\", "/")
    # Roboflow writes ../train/images, which lies beside the file and not above it.
    place = next((path for path in (root / name, root / name.lstrip("./")) if entry and os.path.exists(path)), None)
    if place is None:
        raise LabelFault(
            f"{config}: found a YOLO dataset with the training images '{entry}', expected a folder or a list beside it; "
            "correct 'path' and 'train'."
        )
    return place


def _list_images(place: Path, root: Path) -> list[Path]:
    """The images in a folder of YOLO's and below, or those of a list."""
    if not place.is_file():
        return sorted(p for p in place.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and not _is_hidden(p, place))
    lines = (line.strip().replace("\\", "/") for line in place.read_text(encoding="utf-8-sig").splitlines())
    return [root / line if os.path.isfile(root / line) else place.parent / line for line in lines if line]


def _is_hidden(path: Path, place: Path) -> bool:
    """Whether a file of a folder of YOLO's lies hidden: systems and editors keep copies and remains under such names."""
    return any(part.startswith(".") for part in path.relative_to(place).parts)


def count_unused(labels: Iterable[Path | None]) -> int:
    """How many label files lie beside those that YOLO's images have, and belong to none of these images."""
    used = {real_path(label) for label in labels if label}
    beside = (path for folder in {label.parent for label in used} for path in folder.glob("*.txt"))
    others = (path for path in beside if real_path(path) not in used and path.name[0] != "." and path.name != "classes.txt")
    return sum(is_label_file(path) for path in others)


def _turn_to_labels(path: Path) -> Path:
    """Where YOLO's labels are of the images in a path: `images` in it is `labels`, the last where there are several."""
    parts = list(path.absolute().parts)
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return Path(*parts)


def _label_folders(root: Path, entries: Sequence[Any]) -> Iterator[Path]:
    """Where the labels of YOLO's training images are by what `train` says, though the images need not be there."""
    for name in (str(entry).replace("\\", "/") for entry in entries if entry):
        for place in (root / name, root / name.lstrip("./")):
            images = _list_images(place, root) if os.path.isfile(place) else []
            yield from dict.fromkeys(_turn_to_labels(image).parent for image in images)
            if not images:
                yield _turn_to_labels(place)


def _try_labels(images: Sequence[Path], images_dir: Path, folders: Iterable[Path]) -> Iterator[list[Path]]:
    """The files that may hold YOLO's labels of each image; by its bare name only where no other image has it."""
    folders, stems = list(dict.fromkeys(folders)), Counter(image.stem for image in images)
    for image in images:
        name = image.relative_to(images_dir).with_suffix(".txt")
        names = [name] if stems[image.stem] > 1 else [name, Path(name.name)]
        found = [_turn_to_labels(image).with_suffix(".txt"), *(folder / one for folder in folders for one in names)]
        yield list(dict.fromkeys(found))


def _find_suffix(stem: Path) -> Path | None:
    """The image of that path, whatever its ending, that YOLO's labels belong to."""
    names = (stem.with_name(stem.name + suffix) for suffix in IMAGE_SUFFIXES)
    return next((path for name in names for path in (name, name.with_suffix(name.suffix.upper())) if path.is_file()), None)
