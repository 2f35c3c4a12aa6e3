"""Where the images of YOLO's label files are, and which files are YOLO's."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from centerkp.formats.gathering import LabelFault
from centerkp.images.kinds import IMAGE_SUFFIXES

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
    for place in (folder, *folder.resolve().parents[:2]):
        for found in sorted([*place.glob("*.yaml"), *place.glob("*.yml")]):
            if is_yolo(found):
                return found
    return None


def pair_labels(folder: Path, images_dir: Path | None) -> Iterator[tuple[Path, Path]]:
    """Every label file in a folder of YOLO's and below, with its image: beside it, or where `labels` in the path is `images`.

    Raises:
        LabelFault: images are missing. Other text files, which have none and hold no labels, are passed over.
    """
    whole = folder.resolve()
    twin = Path(*["images" if part == "labels" else part for part in whole.parts])
    places = [images_dir] if images_dir else [twin, whole, whole / "images", whole.parent / "images"]
    labels, pairs, lost = sorted(whole.rglob("*.txt")), [], []
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


def pair_images(config: Path, content: Mapping, images_dir: Path | None) -> Iterator[tuple[Path, Path | None]]:
    """The images that a data.yaml of YOLO trains on, folders or lists of them, each with its label file if it has one."""
    root = config.parent / str(content.get("path") or "")
    root = root if os.path.isdir(root) else config.parent  # `Path` raises where a name is too long
    listed = content.get("train")
    for entry in [images_dir] if images_dir else listed if isinstance(listed, list) else [listed]:
        # Roboflow writes ../train/images, which lies beside the file and not above it.
        name = str(entry or "").replace("\\", "/")
        place = next((path for path in (root / name, root / name.lstrip("./")) if entry and os.path.exists(path)), None)
        if place is None:
            raise LabelFault(
                f"{config}: found a YOLO dataset with the training images '{entry}', expected a folder or a list beside it; "
                "correct 'path' and 'train'."
            )
        images = sorted(path for path in place.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        if place.is_file():
            lines = (line.strip().replace("\\", "/") for line in place.read_text(encoding="utf-8-sig").splitlines())
            images = [root / line if os.path.isfile(root / line) else place.parent / line for line in lines if line]
        for image in images:
            parts = list(image.absolute().parts)
            if "images" in parts:
                parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
            label = Path(*parts).with_suffix(".txt")
            yield image, label if label.is_file() else None


def _find_suffix(stem: Path) -> Path | None:
    """The image of that path, whatever its ending, that YOLO's labels belong to."""
    names = (stem.with_name(stem.name + suffix) for suffix in IMAGE_SUFFIXES)
    return next((path for name in names for path in (name, name.with_suffix(name.suffix.upper())) if path.is_file()), None)
