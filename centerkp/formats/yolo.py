"""YOLO-pose as Ultralytics reads it: a data.yaml and a text file for every image, or a folder of such text files alone."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from centerkp.formats.gathering import Gathering, LabelFault, Point, reading
from centerkp.formats.yolo_images import count_unused, find_config, pair_images, pair_labels
from centerkp.images.kinds import real_path
from centerkp.images.reading import read_image_size
from centerkp.wording import quote

KIND = "YOLO label file"


@dataclass(frozen=True)
class _Layout:
    """What the rows of label files mean: names of classes, and the points of an object with 2 or 3 numbers each.

    `points` is None where the rows alone say how many there are. `keypoints` are those of each class by its number, "" for a
    place that it does not use; there are none where nobody names them.
    """

    names: Mapping[int, str]
    points: int | None
    numbers: int = 3
    keypoints: Mapping[int, Sequence[str]] = field(default_factory=dict)
    flips: tuple[int, ...] = ()

    def name_points(self, number: int) -> Sequence[str]:
        """The keypoints of a class of YOLO's, in the order of its rows."""
        return self.keypoints.get(number) or tuple(f"point_{n}" for n in range(1, (self.points or 0) + 1))


def read_yolo(path: Path, gathering: Gathering, images_dir: Path | None = None) -> list[Path]:
    """Reads the training images of a data.yaml, or the label files of a folder, and the image of each.

    Coordinates are shares of the image's sides, so every image is opened for its size. Images without a label file are
    backgrounds to a data.yaml, and no part of a folder of label files.

    Args:
        images_dir: where the images are, in place of what a data.yaml says.

    Returns:
        The files that hold the labels.
    """
    config = path if path.is_file() else find_config(path)
    layout, content = _read_config(config) if config else (_read_classes(path), {})
    with reading(path, "YOLO dataset"):
        pairs = list(pair_labels(path, images_dir)) if path.is_dir() else pair_images(path, content, images_dir)
    if path.is_file() and content.get("val"):
        remedy = "train and check take the folder of their labels as --val"
        gathering.note("", f"its validation images ({content['val']}) are not read with it; {remedy}")
    unused = 0 if path.is_dir() else count_unused(label for _, label in pairs)
    gathering.note("label file", "without an image among those to train on, not read", unused)
    rows = {label: _read_rows(label) for _, label in pairs if label is not None}
    if layout.points is None:
        layout = _guess_layout(layout, [row for one in rows.values() for row in one])
    twice = [name for name, count in Counter(layout.names.values()).items() if count > 1]
    if twice:
        raise LabelFault(
            f"{config or path}: found the name {quote(twice[0])} for several classes of YOLO, expected another for each; "
            "rename them in 'names' or classes.txt, or give their rows one number."
        )
    gathering.note("class", "keypoints without names, called point_1 and so on", bool(layout.points and not layout.keypoints))
    for number, name in layout.names.items():
        keypoints = layout.name_points(number)
        pairs_of_points = [[keypoints[a], keypoints[b]] for a, b in enumerate(layout.flips) if a < b and keypoints[a]]
        flips = {"flip_pairs": pairs_of_points} if layout.flips else {}
        gathering.add_class(name, [point for point in keypoints if point], **flips)
    for image, label in pairs:
        try:
            size = read_image_size(image)
        except ValueError:
            size = None  # listed all the same, so that whoever opens the pictures names it
            gathering.note("object", "in a picture that cannot be read, left out", len(rows.get(label, ())))
        with reading(label or image, KIND):
            # Names of images are looked for in `images_dir` where there is one, else beside the labels.
            near = path if path.is_dir() else path.parent
            way = os.path.relpath(image, images_dir) if images_dir else os.path.relpath(real_path(image), real_path(near))
            image_id = gathering.add_image(Path(way).as_posix(), *(size or ()))
            for row in rows.get(label, ()) if size else ():
                if row[0] not in layout.names:
                    raise LabelFault(
                        f"{label}: found class {row[0]:g}, expected one of {dict(layout.names)}; name it in data.yaml."
                    )
                _add_row(row, size, layout, image_id, gathering)
    return [*([config] if config else []), *rows]


def _add_row(row: Sequence[float], size: tuple[int, int], layout: _Layout, image_id: int, gathering: Gathering) -> None:
    """Adds the object of one row of a YOLO label file; a polygon's is the box around it."""
    (width, height), (x, y, across, down), rest = size, row[1:5], row[5:]
    points: dict[str, Point] = {}
    box = [(x - across / 2) * width, (y - down / 2) * height, (x + across / 2) * width, (y + down / 2) * height]
    if layout.points == 0 and len(rest) % 2:  # boxes and polygons have pairs alone
        row, rest = row[:-1], rest[:-1]
        gathering.note("object", "a number behind its box or polygon, as of a network's certainty, left out")
    if layout.points == 0 and rest:
        xs, ys = row[1::2], row[2::2]
        box = [min(xs) * width, min(ys) * height, max(xs) * width, max(ys) * height]
        gathering.note("object", "a polygon, the box around it taken")
    elif rest:
        if len(rest) != (layout.points or 0) * layout.numbers:
            raise ValueError(f"{len(row)} numbers in a row, expected {5 + (layout.points or 0) * layout.numbers}")
        places = [rest[i : i + layout.numbers] for i in range(0, len(rest), layout.numbers)]
        for point, (x, y, *seen) in zip(layout.name_points(int(row[0])), places, strict=True):
            if point:
                points[point] = x * width, y * height, _read_visibility(seen[0], gathering) if seen else 2 * bool(x or y)
    gathering.add_object(image_id, layout.names[int(row[0])], box, points)


def _read_visibility(number: float, gathering: Gathering) -> int:
    """COCO's visibility of a keypoint from the third number of YOLO's; labels that a network made have its certainty there."""
    read = 0 if not number > 0 else 1 if number == 1 else 2
    gathering.note("keypoint", "a visibility that is none of 0, 1, 2, read as 2 where it is above 0, else as 0", read != number)
    return read


def _read_rows(label: Path) -> list[list[float]]:
    """The rows of one YOLO label file as numbers."""
    with reading(label, KIND):
        rows = [[float(word) for word in line.split()] for line in label.read_text(encoding="utf-8-sig").splitlines()]
        short = next((row for row in rows if row and len(row) < 5), None)
        if short:
            raise ValueError(f"{len(short)} numbers in a row, expected 5 or more")
        return [row for row in rows if row]


def _read_config(path: Path) -> tuple[_Layout, dict]:
    """What the rows of label files mean by a data.yaml of YOLO, and all that it says."""
    with reading(path, "YOLO data.yaml"):
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
        names = content.get("names") or range(int(content["nc"]))
        names = {int(k): str(v) for k, v in (names.items() if isinstance(names, dict) else enumerate(names))}
        count, numbers = content.get("kpt_shape") or (0, 3)
        listed = content.get("kpt_names") or {}
        listed = listed if isinstance(listed, dict) else dict.fromkeys(names, listed)
        own = {int(number): tuple(map(str, points)) for number, points in listed.items()}
        flips = tuple(map(int, content.get("flip_idx") or ()))
        fits = {len(points) for points in own.values()} <= {count} and (not flips or sorted(flips) == list(range(count)))
        if numbers not in (2, 3) or not fits:
            raise ValueError("kpt_shape, kpt_names and flip_idx that do not fit together")
        return _Layout(names, int(count), int(numbers), own, flips), content


def _read_classes(folder: Path) -> _Layout:
    """The names in a classes.txt of YOLO, in the folder of the label files or above; none where there is no such file."""
    listed = next((p for p in (folder / "classes.txt", real_path(folder).parent / "classes.txt") if p.is_file()), None)
    lines = listed.read_text(encoding="utf-8-sig", errors="replace").splitlines() if listed else []
    return _Layout({number: line.strip() for number, line in enumerate(lines) if line.strip()}, None)


def _guess_layout(layout: _Layout, rows: Sequence[Sequence[float]]) -> _Layout:
    """What rows of YOLO label files mean by themselves: three numbers a point where every third is 0, 1 or 2, else two."""
    longest = max((len(row) - 5 for row in rows), default=0)
    marks = {number for row in rows for number in row[7::3]}
    numbers = 3 if longest % 3 == 0 and marks <= {0, 1, 2} else 2
    names = layout.names or {int(row[0]): f"class_{row[0]:g}" for row in rows}
    return _Layout(names, longest // numbers, numbers)
