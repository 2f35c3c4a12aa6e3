"""Label Studio: a JSON list of tasks, whose regions are in percent of the image and belong together by parent or relation."""

from collections.abc import Iterable, Mapping
from itertools import chain
from math import radians
from pathlib import Path
from typing import Any

from centerkp.formats.gathering import Gathering, LabelFault, Shape, reading
from centerkp.formats.turning import turn_ellipse, turn_rectangle
from centerkp.wording import quote

KIND = "Label Studio file"


def is_label_studio(content: Any) -> bool:
    """Whether a JSON's content seems to be a task of Label Studio, or a list of them."""
    tasks = [task for task in (content if isinstance(content, list) else [content]) if isinstance(task, Mapping)]
    found = [task.get(key) for task in tasks for key in ("annotations", "predictions", "completions")]
    results = chain.from_iterable(results for results in found if isinstance(results, list))
    return any(isinstance(result, Mapping) and "result" in result for result in results)


def read_label_studio(path: Path, content: Any, gathering: Gathering) -> None:
    """Reads tasks of Label Studio; of several annotations of one the last that was not cancelled counts.

    A task that nobody finished says nothing about its image, which may be full of objects: it is left out.

    Raises:
        LabelFault: nobody finished any task, or it is no file of Label Studio.
    """
    with reading(path, KIND, "export it again as JSON, not JSON-MIN"):
        for task in content if isinstance(content, list) else [content]:
            done = [a for a in task.get("annotations", task.get("completions")) or () if not a.get("was_cancelled")]
            if not done:
                gathering.note("task", "skipped or without a finished annotation, left out")
                continue
            regions = _join_results(done[-1]["result"])
            gathering.note("task", "annotated more than once, the last annotation taken", len(done) > 1)
            sizes = [(r["original_width"], r["original_height"]) for r in regions.values() if "original_width" in r]
            image_id = gathering.add_image(_find_image(path, task), *(sizes[0] if sizes else ()))
            gathering.add_shapes(image_id, _read_shapes(regions, _find_groups(regions), gathering))
        if not gathering.images:
            raise LabelFault(
                f"{path}: found Label Studio tasks without a finished annotation, expected labels; submit some, export again."
            )


def _join_results(results: Iterable[Mapping]) -> dict[Any, dict]:
    """The regions of an annotation of Label Studio by their id.

    A region is several results of one id where its label, choices or text come from a tag of their own; the type is that of
    the shape. Of what they all have, such as the place, the first counts.
    """
    regions: dict[Any, dict] = {}
    for number, result in enumerate(results):
        key = result.get("id", number)
        known = regions.get(key, {})
        value = dict(result.get("value") or {}) | dict(known.get("value") or {})
        kind = {"type": result["type"]} if _find_shape(result) and not _find_shape(known) else {}
        regions[key] = {**result, **known, **kind, "value": value}
    return regions


def _find_shape(region: Mapping) -> str | None:
    """The shape that a result of Label Studio is, with or without a label in it; None where it is none of ours."""
    kind = str(region.get("type")).removesuffix("labels")
    return kind if kind in ("keypoint", "rectangle", "polygon", "ellipse") else None


def _find_image(path: Path, task: Mapping) -> str:
    """The image that a task of Label Studio is about: the text in its data that is, or else the first."""
    data = task.get("data") or {}
    texts = [value for value in (data.get("image"), *data.values()) if isinstance(value, str)]
    if not texts:
        raise LabelFault(
            f"{path}: found task {quote(task.get('id'))} with the data {quote(data)}, expected the name of one image in them, "
            'as {"image": "a.jpg"}; write it there, or leave the task out.'
        )
    return texts[0]


def _find_groups(regions: Mapping) -> dict:
    """The groups of the points in Label Studio by their regions: what they are under or tied to, in whichever direction.

    Points may be tied to each other alone; they are what one of them is, or else the last of them.
    """
    points = {key for key, region in regions.items() if _find_shape(region) == "keypoint"}
    ties = [(key, region["parentID"]) for key, region in regions.items() if region.get("parentID")]
    ties += [(region["from_id"], region["to_id"]) for region in regions.values() if region.get("type") == "relation"]
    groups = {a: b for tie in ties for a, b in (tie, tie[::-1]) if a in points and b not in points}
    for a, b in ((a, b) for a, b in ties if a in points and b in points):
        one, other = groups.setdefault(a, a), groups.setdefault(b, b)
        old, new = (one, other) if one in points else (other, one)
        if old in points:  # else they are of two objects
            groups |= {key: new for key, group in groups.items() if group == old}
    return groups


def _read_shapes(regions: Mapping, groups: Mapping, gathering: Gathering) -> list[Shape]:
    """The shapes of one task of Label Studio, in pixels; a region is the group of its own points."""
    shapes, owners = [], set(groups.values())
    for key, region in regions.items():
        value, kind = region["value"], _find_shape(region)
        labels = value.get(f"{kind}labels") or value.get("labels")
        if kind is None or not labels:
            is_region = region.get("type") != "relation"
            gathering.note("region", "no keypoint, rectangle, polygon or ellipse with a label, left out", is_region)
            continue
        xy = _read_outline(kind, region, gathering)
        shapes.append(Shape(labels[0], xy, kind == "keypoint", groups.get(key, key if key in owners else None)))
    return shapes


def _read_outline(kind: str, region: Mapping, gathering: Gathering) -> list[tuple[float, float]]:
    """The points of a region of Label Studio in pixels, or the corners of its extent; a rectangle is turned about its first."""
    value, width, height = region["value"], float(region["original_width"]), float(region["original_height"])
    if kind == "polygon":
        return [(float(x) * width / 100, float(y) * height / 100) for x, y in value["points"]]
    x, y = float(value["x"]) * width / 100, float(value["y"]) * height / 100
    if kind == "keypoint":
        return [(x, y)]
    sides = ("radiusX", "radiusY") if kind == "ellipse" else ("width", "height")
    across, down = float(value[sides[0]]) * width / 100, float(value[sides[1]]) * height / 100
    angle = radians(float(value.get("rotation") or 0))
    if kind == "ellipse":
        return turn_ellipse((x, y), (across, down), angle, gathering)
    return turn_rectangle(((x, y), (x + across, y + down)), angle, (x, y), gathering)
