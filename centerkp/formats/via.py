"""The VGG Image Annotator (VIA 1 and 2): regions with attributes, in a project, a JSON or a CSV."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from centerkp.formats.gathering import Gathering, Shape, reading
from centerkp.formats.turning import turn_ellipse

KIND = "VIA file"
_POINT_KEYS = ("keypoint", "part")
_CLASS_KEYS = ("class", "label", "name", "type", "category")  # of attributes, where there are several
_GROUP_KEYS = ("group", "group_id", "object", "object_id", "instance", "id")
COLUMNS = {"filename", "region_shape_attributes", "region_attributes"}


def is_via(content: Any) -> bool:
    """Whether a JSON's content seems to be labels of VIA."""
    entries = content.get("_via_img_metadata", content) if isinstance(content, dict) else None
    first = next(iter(entries.values()), None) if isinstance(entries, dict) else None
    return isinstance(first, dict) and {"regions", "filename"} <= set(first)


def read_via(path: Path, content: dict, gathering: Gathering) -> None:
    """Reads labels of VIA from a JSON's content; VIA 1 numbers the regions, VIA 2 lists them."""
    with reading(path, KIND):
        for entry in content.get("_via_img_metadata", content).values():
            regions = entry["regions"].values() if isinstance(entry["regions"], dict) else entry["regions"]
            _add_image(gathering, entry["filename"], ((r["shape_attributes"], r["region_attributes"]) for r in regions))


def read_via_csv(path: Path, gathering: Gathering) -> None:
    """Reads labels of VIA from a CSV with a row for each region, or for an image without any."""
    with reading(path, KIND):
        images: dict[str, list] = {}
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            rows.fieldnames = [name.lstrip("#") for name in rows.fieldnames or ()]  # VIA 1 begins with "#filename"
            for row in rows:
                shape, attributes = (json.loads(row[f"region_{key}"] or "{}") for key in ("shape_attributes", "attributes"))
                images.setdefault(row["filename"], []).extend([(shape, attributes)] if shape else [])
        for name, regions in images.items():
            _add_image(gathering, name, regions)


def _add_image(gathering: Gathering, name: str, regions: Iterable[tuple[dict, dict]]) -> None:
    """Adds an image of VIA and its regions."""
    image_id, shapes, regions = gathering.add_image(name), [], list(regions)
    ids = [number for _, attributes in regions if (number := _find_value(attributes, ("id",), only=True))]
    # Ids that are all different number the regions and not the objects.
    groups = tuple(key for key in _GROUP_KEYS if key != "id" or len(set(ids)) < len(ids))
    for shape, attributes in regions:
        is_point = shape.get("name") == "point"  # which may also name the class of its object
        label = _find_value(attributes, _POINT_KEYS + _CLASS_KEYS if is_point else _CLASS_KEYS + _POINT_KEYS)
        if label is None:
            gathering.note("region", "no attribute that names its class or keypoint, left out")
        elif xy := _read_outline(shape, gathering):
            shapes.append(Shape(label, xy, is_point, _find_value(attributes, groups, only=True)))
    gathering.add_shapes(image_id, shapes)


def _find_value(attributes: dict, keys: tuple[str, ...], only: bool = False) -> str | None:
    """The value of a region's attribute with one of these names; of any other where not `only` these are meant."""
    folded = {key.strip().lower(): key for key in attributes}
    others = [key for name, key in folded.items() if name not in _GROUP_KEYS]
    for key in [folded[name] for name in keys if name in folded] + ([] if only else others):
        value = attributes[key]
        if isinstance(value, dict):  # a checkbox: {"left": true}
            value = next((name for name, is_set in value.items() if is_set), None)
        if value not in (None, ""):
            return str(value)
    return None


def _read_outline(shape: dict, gathering: Gathering) -> list[tuple[float, float]]:
    """The points of a region of VIA, or the corners of its extent; `theta` turns an ellipse, in radians."""
    kind = shape["name"]
    if kind == "rect":
        x, y, width, height = (float(shape[key]) for key in ("x", "y", "width", "height"))
        return [(x, y), (x + width, y + height)]
    if kind in ("polygon", "polyline"):
        return [(float(x), float(y)) for x, y in zip(shape["all_points_x"], shape["all_points_y"], strict=True)]
    x, y = float(shape["cx"]), float(shape["cy"])
    across, down = (float(shape.get(key, shape.get("r", 0))) for key in ("rx", "ry"))
    return [(x, y)] if kind == "point" else turn_ellipse((x, y), (across, down), float(shape.get("theta") or 0), gathering)
