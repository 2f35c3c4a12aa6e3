"""Label Studio: a JSON list of tasks, whose regions are in percent of the image and belong together by parent or relation."""

from collections.abc import Mapping
from itertools import chain
from math import cos, radians, sin
from pathlib import Path
from typing import Any

from centerkp.formats.gathering import Gathering, Shape, reading

KIND = "Label Studio file"


def is_label_studio(content: Any) -> bool:
    """Whether a JSON's content seems to be a task of Label Studio, or a list of them."""
    task = content[0] if isinstance(content, list) and content else content
    found = [task.get(key) for key in ("annotations", "predictions", "completions")] if isinstance(task, Mapping) else []
    results = chain.from_iterable(results for results in found if isinstance(results, list))
    return any(isinstance(result, Mapping) and "result" in result for result in results)


def read_label_studio(path: Path, content: Any, gathering: Gathering) -> None:
    """Reads tasks of Label Studio; of several annotations of one the last that was not cancelled counts."""
    with reading(path, KIND, "export it again as JSON, not JSON-MIN"):
        for task in content if isinstance(content, list) else [content]:
            done = [a for a in task.get("annotations", task.get("completions")) or () if not a.get("was_cancelled")]
            regions = {r.get("id", n): r for n, r in enumerate(done[-1]["result"] if done else ())}
            gathering.note("task", "annotated more than once, the last annotation taken", len(done) > 1)
            sizes = [(r["original_width"], r["original_height"]) for r in regions.values() if "original_width" in r]
            image_id = gathering.add_image(_find_image(task["data"]), *(sizes[0] if sizes else ()))
            parents = {key: region["parentID"] for key, region in regions.items() if region.get("parentID")}
            for region in regions.values():
                if region.get("type") == "relation":
                    parents |= _find_parent(regions, region)
            gathering.add_shapes(image_id, _read_shapes(regions, parents, gathering))


def _find_image(data: Mapping) -> str:
    """The image that a task of Label Studio is about: the text in its data that is, or else the first."""
    texts = [value for value in data.values() if isinstance(value, str)]
    return data["image"] if isinstance(data.get("image"), str) else texts[0]


def _find_parent(regions: Mapping, relation: Mapping) -> dict:
    """The point of a relation in Label Studio, and the region that it was tied to, in whichever direction."""
    ends = relation["from_id"], relation["to_id"]
    return {a: b for a, b in (ends, ends[::-1]) if regions[a]["type"].startswith("keypoint")}


def _read_shapes(regions: Mapping, parents: Mapping, gathering: Gathering) -> list[Shape]:
    """The shapes of one task of Label Studio, in pixels; a region is the group of its own points."""
    shapes = []
    for key, region in regions.items():
        value, kind = region.get("value"), str(region.get("type")).removesuffix("labels")
        labels = value.get(f"{kind}labels", value.get("labels")) if value else None
        if kind not in ("keypoint", "rectangle", "polygon", "ellipse") or not labels:
            gathering.note("region", "no keypoint, rectangle, polygon or ellipse with a label, left out", kind != "relation")
            continue
        width, height = float(region["original_width"]), float(region["original_height"])
        xy = [(x * width / 100, y * height / 100) for x, y in _read_outline(kind, value)]
        if kind == "rectangle" and value.get("rotation"):
            xy = _turn(xy, radians(float(value["rotation"])))
            gathering.note("object", "a turned rectangle, the upright one around it taken")
        shapes.append(Shape(labels[0], xy, kind == "keypoint", parents.get(key, None if kind == "keypoint" else key)))
    return shapes


def _read_outline(kind: str, value: Mapping) -> list[tuple[float, float]]:
    """The points of a region of Label Studio in percent, or the corners of its extent."""
    if kind == "polygon":
        return [(float(x), float(y)) for x, y in value["points"]]
    x, y = float(value["x"]), float(value["y"])
    if kind == "keypoint":
        return [(x, y)]
    if kind == "ellipse":
        across, down = float(value["radiusX"]), float(value["radiusY"])
        return [(x - across, y - down), (x + across, y + down)]
    return [(x, y), (x + float(value["width"]), y + float(value["height"]))]


def _turn(corners: list[tuple[float, float]], angle: float) -> list[tuple[float, float]]:
    """All four corners of a rectangle of Label Studio, turned around its first one."""
    (x, y), (far_x, far_y) = corners
    sides = [(across, down) for across in (0, far_x - x) for down in (0, far_y - y)]
    return [(x + a * cos(angle) - d * sin(angle), y + a * sin(angle) + d * cos(angle)) for a, d in sides]
