"""In which frame the images were labelled: their size in the JSON, the file's, turned by EXIF or not."""

from collections.abc import Sequence

import numpy as np

from centerkp.doctor.findings import Finding, make_finding
from centerkp.doctor.look import Look
from centerkp.doctor.reader import Reading
from centerkp.doctor.settled_labels import Frames
from centerkp.labels.image_files import compare_image_sizes

# What can be the matter with an image's size: the level, the words, and what happens to its labels.
KINDS = {
    "stored": (
        "mendable",
        "labelled without their EXIF rotation (size and labels fit the stored picture, every viewer shows the turned one)",
        "read with labels turned like the picture; --fix writes them so",
    ),
    "exchanged": (
        "mendable",
        "width and height exchanged in the JSON; the labels fit the file",
        "read in the file's size; --fix writes it",
    ),
    "turned away": (
        "suspicious",
        "width and height exchanged, and the labels do not tell which way the picture was turned",
        "left out of training: restore the pictures that were labelled, or label them again",
    ),
    "reshaped": (
        "suspicious",
        "the JSON's size has another shape than the file's",
        "left out of training: restore the pictures that were labelled (these are cropped or stretched)",
    ),
    "resized": ("mendable", "smaller or larger than the JSON says", "labels are scaled to the file, --fix writes them"),
    "unknown": ("mendable", "no width and height in the JSON", "taken from the file, --fix writes them"),
}


def settle_frames(reading: Reading, looks: Sequence[Look]) -> tuple[np.ndarray, Frames]:
    """Decides in which frame each image was labelled, from the sizes and from where the labels fall.

    Returns:
        (n,) what is the matter, one of `KINDS` or "right", and the frames.
    """
    written = reading.sizes
    upright, stored = (np.array([getattr(look, key) for look in looks], float).reshape(-1, 2) for key in ("size", "stored"))
    turned = np.array([look.orientation >= 5 for look in looks], bool)
    extents = _label_extents(reading)
    kinds, scales = compare_image_sizes(written, upright)
    swapped = kinds == "swapped"
    kinds[swapped] = _judge_swapped(written, upright, stored, turned, extents, swapped)[swapped]
    turns = np.where(kinds == "stored", [look.orientation for look in looks], 1)
    lost = np.isin(kinds, ["reshaped", "turned away"]) | np.array([bool(look.error) for look in looks], bool)
    return kinds, Frames(np.where(np.all(upright > 0, axis=1)[:, None], upright, written), scales, turns, lost)


def _judge_swapped(
    written: np.ndarray, upright: np.ndarray, stored: np.ndarray, turned: np.ndarray, extents: np.ndarray, swapped: np.ndarray
) -> np.ndarray:
    """In which frame images were labelled whose width and height the JSON exchanges, (n,); read only where `swapped`."""
    in_written, in_upright = ((extents <= size + 1).all(1) for size in (written, upright))
    only_upright, only_stored = swapped & in_upright & ~in_written, swapped & in_written & ~in_upright
    as_stored = turned & (stored == written).all(1)
    # Where the labels of one image fit both ways, the others decide: all come from one program.
    usual = "exchanged" if (only_upright & as_stored).sum() > (only_stored & as_stored).sum() else "stored"
    kinds = np.where(as_stored, usual, "turned away").astype(object)
    kinds[only_stored & as_stored] = "stored"
    kinds[only_upright | (~as_stored & ~extents.any(1))] = "exchanged"
    return kinds


def _label_extents(reading: Reading) -> np.ndarray:
    """(n, 2) how far right and down the labels of each image reach, in the JSON's frame; 0 without labels."""
    extents = np.zeros((reading.num_images, 2))
    a = reading.annotations
    if a is None:
        return extents
    points = np.where((a.visibility > 0)[..., None], a.keypoints_xy, 0).max(1, initial=0)
    boxes = np.nan_to_num(a.boxes_xywh)
    reach = np.maximum(points, np.where((boxes[:, 2:] > 0).all(1)[:, None], boxes[:, :2] + boxes[:, 2:], 0))
    rows = a.image_rows >= 0
    np.maximum.at(extents, a.image_rows[rows], reach[rows])
    return extents


def check_frames(reading: Reading, looks: Sequence[Look], kinds: np.ndarray) -> list[Finding]:
    """Findings about images whose size differs between JSON and file, and about pictures that EXIF turns."""

    def sizes(row: int) -> str:
        (w, h), (width, height) = reading.sizes[row], looks[row].size
        return f"{reading.label_image(row)}: {w:.0f}x{h:.0f} in the JSON, {width}x{height} on disk"

    findings = []
    for kind, (level, title, remedy) in KINDS.items():
        rows = np.flatnonzero(kinds == kind)
        findings += make_finding(level, title, rows, noun="image", remedy=remedy, place=sizes, image_row=int)
    turned = [row for row, look in enumerate(looks) if look.orientation > 1 and kinds[row] in ("right", "resized", "unknown")]
    told = [row for row in turned if kinds[row] == "right" and looks[row].size != looks[row].stored]
    title = "turned by EXIF and labelled upright, as the sizes say"
    findings += make_finding("note", title, told, noun="image", place=reading.label_image)
    untold, remedy = sorted(set(turned) - set(told)), "look whether the labels fit"
    title = "turned or mirrored by EXIF in a way that sizes do not tell; taken as labelled upright"
    return findings + make_finding("advice", title, untold, noun="image", remedy=remedy, place=sizes, image_row=int)
