"""Gathers what another tool's labels say as a COCO dataset, with notes of what it lacks and what was derived."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from centerkp.geometry import POINT_MARGIN
from centerkp.wording import count_of, quote

# Pixels of a box beyond its keypoints: tools for points alone ask for no box, and a frame with one point has to count.
LEAST_MARGIN = 10.0
NAMELESS = "object"  # the class of objects whose tool names none
Point = tuple[float, float, int]  # x, y, visibility


class LabelFault(ValueError):
    """What is wrong with another tool's file, in words."""


@contextmanager
def reading(file: Path | str, kind: str, remedy: str = "export it again") -> Iterator[None]:
    """Inside, whatever does not go as a tool's documentation says becomes an error that names the label file."""
    try:
        yield
    except LabelFault:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError) as error:
        found = f"no {error}" if isinstance(error, KeyError) else quote(str(error))
        raise LabelFault(
            f"{file}: found a {kind} with a fault ({found}), expected one as its tool writes it; {remedy}."
        ) from None


@dataclass(frozen=True)
class Shape:
    """One shape as labelme, CVAT, VIA and the like have it: a point with a name, or an outline with that of a class."""

    label: Any
    xy: Sequence[tuple[float, float]]
    is_point: bool
    group: Any = None
    visibility: int = 2

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The extent of a tool's outline, x and y of its corners."""
        xs, ys = zip(*self.xy, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    def holds(self, x: float, y: float) -> bool:
        """Whether a point lies in the extent of this outline of a tool."""
        low_x, low_y, high_x, high_y = self.box
        return low_x <= x <= high_x and low_y <= y <= high_y

    @property
    def area(self) -> float:
        """The area of the extent of a tool's outline."""
        low_x, low_y, high_x, high_y = self.box
        return (high_x - low_x) * (high_y - low_y)


class Gathering:
    """The images and objects of another tool's labels while they are read; `content` is what they come to."""

    def __init__(self, kind: str):
        self.kind = kind
        self.classes: dict[str, dict] = {}
        self.images: list[dict] = []
        self.objects: list[tuple[int, str, Sequence[float], Mapping[str, Point]]] = []
        self.counts: Counter[tuple[str, str]] = Counter()

    def note(self, noun: str, text: str, count: int = 1) -> None:
        """Counts what a tool's labels lack and what was made of it; without a noun it is said once."""
        self.counts[noun, text] += count

    def add_class(self, name: str, keypoints: Iterable[str] = (), **details: Any) -> None:
        """Names a class and all its keypoints, as the tool's file does; `details` are those of a COCO category."""
        self.classes[name] = {"name": name, "keypoints": list(keypoints)} | details

    def add_image(self, file_name: str, width: Any = None, height: Any = None) -> int:
        """Adds an image of a tool's labels, with its size where it is known, and returns its id."""
        self.images.append({"id": len(self.images) + 1, "file_name": file_name, "width": width or 0, "height": height or 0})
        return len(self.images)

    def add_object(self, image_id: int, name: str, box: Sequence[float] | None, points: Mapping[str, Point]) -> None:
        """Adds an object of a tool's labels; without a box (corners in pixels) one is drawn around its keypoints."""
        kind = self.classes.setdefault(name, {"name": name, "keypoints": [], "gathered": True})
        seen = {point: place for point, place in points.items() if place[2] > 0}
        if box is None and not seen:
            return self.note("object", "neither a box nor keypoints, left out")
        if kind.get("gathered"):
            kind["keypoints"] += [point for point in seen if point not in kind["keypoints"]]
        if box is None:
            low_x, low_y, high_x, high_y = Shape(name, [place[:2] for place in seen.values()], False).box
            pad = max(POINT_MARGIN * max(high_x - low_x, high_y - low_y), LEAST_MARGIN)
            box = max(low_x - pad, 0.0), max(low_y - pad, 0.0), high_x + pad, high_y + pad
            margin = f"a margin of {POINT_MARGIN:.0%} of its longer side, {LEAST_MARGIN:.0f} pixels at least"
            self.note("object", f"no box, one drawn around its keypoints with {margin}")
        self.objects.append((image_id, name, box, seen))

    def add_shapes(self, image_id: int, shapes: Iterable[Shape]) -> None:
        """Adds the shapes of one image: points belong to the outline of their group, else to the smallest one around them."""
        shapes = list(shapes)
        outlines = [shape for shape in shapes if not shape.is_point]
        own: dict[int, dict[str, Point]] = {id(outline): {} for outline in outlines}
        free: dict[Any, dict[str, Point]] = defaultdict(dict)
        for point in (shape for shape in shapes if shape.is_point):
            ((x, y), *_) = point.xy
            group = [] if point.group is None else [one for one in outlines if one.group == point.group]
            around = [one for one in group or outlines if one.holds(x, y)] if len(group) != 1 else group
            if not group and point.group is None and around:
                self.note("keypoint", "no group, given to the smallest outline around it")
            owned = own[id(min(around, key=lambda one: one.area))] if around else free[point.group]
            if point.label in owned:
                self.note("keypoint", "its object has one of that name already, left out")
            else:
                owned[point.label] = x, y, point.visibility
        for outline in outlines:
            self.add_object(image_id, outline.label, outline.box, own[id(outline)])
        stray = free.pop(None, {}) if outlines else {}
        self.note("keypoint", "no group, and no outline around it, left out", len(stray))
        for points in free.values():
            self.note("object", f"only keypoints and no class, called '{NAMELESS}'")
            self.add_object(image_id, NAMELESS, None, points)

    def content(self) -> tuple[dict, list[str]]:
        """The COCO dataset that a tool's labels come to, and notes, the first of which says what they are."""
        numbers = {name: number for number, name in enumerate(self.classes, 1)}
        annotations = []
        for number, (image_id, name, (low_x, low_y, high_x, high_y), points) in enumerate(self.objects, 1):
            width, height = high_x - low_x, high_y - low_y
            entry: dict[str, Any] = {"id": number, "image_id": image_id, "category_id": numbers[name], "iscrowd": 0}
            entry |= {"bbox": [low_x, low_y, width, height], "area": width * height}
            if self.classes[name]["keypoints"]:
                entry["keypoints"] = [n for key in self.classes[name]["keypoints"] for n in points.get(key, (0, 0, 0))]
                entry["num_keypoints"] = len(points)
            annotations.append(entry)
        categories = [{"id": number} | self.classes[name] for name, number in numbers.items()]
        some = ", ".join(str(name) for name in list(numbers)[:10]) + (", ..." if len(numbers) > 10 else "")
        told = [count_of(len(self.images), "image"), f"{count_of(len(numbers), 'class')} ({some})"]
        notes = [f"{self.kind}: {', '.join([*told, count_of(len(annotations), 'object')])}"]
        for (noun, text), count in self.counts.items():
            notes += [f"{count_of(count, noun)}: {text}" if noun else text] if count else []
        return {"images": self.images, "annotations": annotations, "categories": categories}, notes


def complete_keypoints(content: dict, names: Mapping[str, Sequence[str]]) -> None:
    """Brings gathered labels to all the keypoints of their classes, in their order; those that nobody labelled are 0.

    A tool that names keypoints only where they are labelled does not say which there are: other files may have more.
    """
    known = gathered_keypoints(content)
    chosen = {name: list(names[name]) for name, own in known.items() if name in names and set(own) <= set(names[name])}
    classes = {category["id"]: category["name"] for category in content["categories"]} if chosen else {}
    for entry in content["annotations"] if chosen else ():
        if (name := classes[entry["category_id"]]) in chosen:
            points = entry.get("keypoints", [])
            own = {point: points[3 * i : 3 * i + 3] for i, point in enumerate(known[name]) if points}
            entry["keypoints"] = [number for point in chosen[name] for number in own.get(point, (0, 0, 0))]
    for category in content["categories"] if chosen else ():
        if (name := category["name"]) in chosen:
            place = {own: chosen[name].index(point) + 1 for own, point in enumerate(known[name], 1)}
            if "skeleton" in category:
                category["skeleton"] = [[place[end] for end in edge] for edge in category["skeleton"]]
            category["keypoints"] = chosen[name]


def gathered_keypoints(content: Mapping) -> dict[str, list[str]]:
    """The keypoints of each class whose tool names them only where they are labelled."""
    categories = [category for category in content["categories"] if isinstance(category, dict) and category.get("gathered")]
    return {category["name"]: category["keypoints"] for category in categories}
