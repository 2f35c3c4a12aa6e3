"""labelme and X-AnyLabeling: a JSON beside every image, with shapes that belong together by `group_id`."""

import json
from pathlib import Path
from typing import Any

from centerkp.formats.gathering import Gathering, Shape, reading
from centerkp.wording import quote

KIND = "labelme file"


def is_labelme(content: Any) -> bool:
    """Whether a JSON's content seems to be a file of labelme or X-AnyLabeling."""
    return isinstance(content, dict) and {"shapes", "imagePath"} <= set(content)


def find_labelme(folder: Path) -> list[Path]:
    """The files of labelme in a folder and below; others of its JSONs are no labels."""
    found = []
    for path in sorted(folder.rglob("*.json")):
        with open(path, "rb") as file:
            start = file.read(1 << 16)
        # The image itself may stand in the file, in front of what comes after the shapes.
        if b'"shapes"' in start and (b'"imagePath"' in start or b'"version"' in start):
            found.append(path)
    return found


def read_labelme(files: list[Path], root: Path, gathering: Gathering) -> None:
    """Reads labelme's files; names of images are taken from the folder of each, as seen from `root`.

    The documentation of the shapes: a rectangle has two corners, four in X-AnyLabeling from version 2.4 on, a circle its
    center and a point on it, a point itself.
    """
    for path in files:
        with reading(path, KIND):
            content = json.loads(path.read_bytes())
            folder = path.parent.relative_to(root).as_posix()
            name = content["imagePath"]
            if not isinstance(name, str):
                raise ValueError(f"'imagePath' {quote(name)}")
            name = name if folder == "." else f"{folder}/{name}"
            image_id = gathering.add_image(name, content.get("imageWidth"), content.get("imageHeight"))
            gathering.add_shapes(image_id, [_read_shape(shape) for shape in content["shapes"]])


def _read_shape(shape: dict) -> Shape:
    """One shape of a labelme file; what is `difficult` (X-AnyLabeling) or flagged as occluded is not seen itself."""
    xy = [(float(x), float(y)) for x, y in shape["points"]]
    kind, flags = shape.get("shape_type", "polygon"), shape.get("flags") or {}
    if kind == "circle":
        (x, y), (edge_x, edge_y) = xy
        radius = ((edge_x - x) ** 2 + (edge_y - y) ** 2) ** 0.5
        xy = [(x - radius, y - radius), (x + radius, y + radius)]
    hidden = shape.get("difficult") or any(flags.get(key) for key in ("occluded", "hidden", "difficult"))
    return Shape(shape["label"], xy, kind == "point", shape.get("group_id"), 1 if hidden else 2)
