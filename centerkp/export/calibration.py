"""Images to compare an artefact on: the user's own where any can be found."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from centerkp.demo.scenes import draw_scene
from centerkp.doctor.trainable import read_dataset
from centerkp.images.packed import PackedImage
from centerkp.images.reading import letterbox_image, read_image
from centerkp.images.sensors import Levels
from centerkp.labels.folds import split_records
from centerkp.labels.relocate import follow
from centerkp.model.center_net import CenterNet

DRAWN_SIZE = (640, 480)


def find_pictures(
    weights: str | Path, coco: str | Path | None, named: Sequence[Path], count: int, levels: Levels | None = None
) -> tuple[list[np.ndarray], str]:
    """Images to calibrate or compare an export on, up to `count` (H, W, 3) uint8 RGB, and where they are from.

    They are those of a COCO JSON; without one, those that the user named; without these, the validation images of the run that
    the weights lie in; without that, drawn scenes.

    Raises:
        ValueError, FileNotFoundError: the JSON or a named image cannot be read.
    """
    if coco:
        paths = [record.path for record in read_dataset(coco, check_images=False).records]
        return [read_image(path, levels) for path in spread(paths, count)], str(coco)
    if named:
        return [read_image(path, levels) for path in spread(named, count)], f"{len(named)} named ones"
    paths, source = _find_validation(Path(weights).parent)
    if paths:
        return [read_image(path, levels) for path in spread(paths, count)], source
    rng = np.random.default_rng(0)
    return [
        draw_scene(rng, DRAWN_SIZE, 4)[0] for _ in range(count)
    ], "drawn scenes; name photographs with --calibrate or --coco"


def find_training(weights: str | Path) -> list[Path]:
    """Images to calibrate an int8 export on where none are named: the training images of the run that the weights lie in.

    Nothing where no run keeps a list of them, or where they are gone.
    """
    return _find_kept(Path(weights).parent, "train")


def spread(items: Sequence, count: int) -> list:
    """At most `count` of the images to calibrate or compare on, evenly spread over all."""
    if len(items) <= count:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, count).round().astype(int)]


def _find_validation(folder: Path) -> tuple[list[Path | PackedImage], str]:
    """The validation images of a run to compare its export on, if its settings name any that are still there."""
    paths: list[Path | PackedImage] = [*_find_kept(folder, "val")]
    if paths:
        return paths, f"the validation images of {folder}"
    try:  # as runs of earlier versions say it
        settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        if settings["val"]:
            held = read_dataset(settings["val"], images_dir=settings["val_images"], check_images=False).records
            return [record.path for record in held], settings["val"]
        # Broken images, which a run leaves out before it splits, are not looked for: that would take a decoding of all.
        records = read_dataset(settings["coco"], images_dir=settings["images"], check_images=False).records
        _, held = split_records(records, settings["val_fraction"], settings["seed"])
        return [record.path for record in held], f"{settings['coco']}, those that the run held back"
    except (OSError, ValueError, TypeError, KeyError):
        return [], ""


def _find_kept(folder: Path, part: str) -> list[Path]:
    """The images of one part, "train" or "val", that a run keeps a list of for its exports; where they are now."""
    try:
        content = json.loads((folder / "images.json").read_text(encoding="utf-8"))
        paths = [Path(follow(row["file"], content["folder"], folder)) for row in content[part]]
    except (OSError, ValueError, TypeError, KeyError):
        return []
    return [path for path in paths if path.is_file()]


def read_sample(path: Path, model: CenterNet) -> tuple[np.ndarray, tuple[int, int]]:
    """A calibration image from its file for an int8 export: the network's canvas, and (width, height) of the picture on it."""
    canvas, _, valid_size = letterbox_image(show_as_trained(read_image(path, model.levels), model), model.image_size)
    return canvas, valid_size


def show_as_trained(image: np.ndarray, model: CenterNet) -> np.ndarray:
    """What a model that is calibrated or compared sees of a picture at once: all of it, or a tile where it sees tiles."""
    return model.tiling.pick(image, model.image_size) if model.tiling else image
