"""Gathers what another tool's labels say as a COCO dataset, with notes of what it lacks and what was derived."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
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


def _choose_outline(outlines: Sequence[Shape], point: Shape) -> Shape:
    """The smallest of a tool's outlines around a point; the largest where it lies in none."""
    around = [one for one in outlines if one.holds(*point.xy[0])]
    return min(around, key=lambda one: one.area) if around else max(outlines, key=lambda one: one.area)


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
        """Adds the shapes of one image of a tool: a group is one object, a point without one its outline's.

        Points whose group has no outline stay together: they belong to the smallest outline without a group of its own that
        holds them all, or are an object of their own.
        """
        shapes = list(shapes)
        outlines = self.join_outlines([shape for shape in shapes if not shape.is_point])
        own: dict[int, dict[str, Point]] = {id(outline): {} for outline in outlines}
        groups: dict[Any, list[Shape]] = defaultdict(list)
        for point in (shape for shape in shapes if shape.is_point):
            groups[point.group].append(point)
        single = groups.pop(None, [])
        alone = self._own_groups(groups, outlines, own)
        for point in single if outlines else ():
            if any(one.holds(*point.xy[0]) for one in outlines):
                self.note("keypoint", "no group, given to the smallest outline around it")
                self._own_points(own[id(_choose_outline(outlines, point))], [point])
            else:
                self.note("keypoint", "no group, and no outline around it, left out")
        for outline in outlines:
            self.add_object(image_id, outline.label, outline.box, own[id(outline)])
        for points in [*alone, *([single] if single and not outlines else [])]:
            self.note("object", f"only keypoints and no class, called '{NAMELESS}'")
            self.add_object(image_id, NAMELESS, None, self._own_points({}, points))

    def _own_groups(
        self, groups: Mapping[Any, list[Shape]], outlines: Sequence[Shape], own: Mapping[int, dict[str, Point]]
    ) -> list[list[Shape]]:
        """Gives each group of points of a tool to its outline, and returns the groups for which there is none."""
        free, alone = [one for one in outlines if one.group is None], []
        for group, points in groups.items():
            members = [one for one in outlines if one.group == group]
            around = [one for one in free if all(one.holds(*point.xy[0]) for point in points)]
            for point in points if members else ():
                self._own_points(own[id(_choose_outline(members, point))], [point])
            if around and not members:
                taken = min(around, key=lambda one: one.area)
                free = [one for one in free if one is not taken]  # it has a group now
                self.note("keypoint", "no outline in its group, given to the smallest around the whole group", len(points))
                self._own_points(own[id(taken)], points)
            elif not members:
                alone.append(points)
        return alone

    def join_outlines(self, outlines: Iterable[Shape]) -> list[Shape]:
        """The outlines of an image, those of one label and one group joined: they are what is seen of one object."""
        joined: dict[Any, Shape] = {}
        for number, outline in enumerate(outlines):
            key = (number,) if outline.group is None else (outline.label, outline.group)
            known = joined.get(key)
            joined[key] = replace(known, xy=[*known.xy, *outline.xy]) if known else outline
            self.note("outline", "joined with another of its label and group", known is not None)
        return list(joined.values())

    def _own_points(self, owned: dict[str, Point], points: Iterable[Shape]) -> dict[str, Point]:
        """Gives points of a tool to an object that may have some of their names already."""
        for point in points:
            if point.label in owned:
                self.note("keypoint", "its object has one of that name already, left out")
            else:
                owned[point.label] = (*point.xy[0], point.visibility)
        return owned

    def content(self, path: Path) -> tuple[dict, list[str]]:
        """The COCO dataset that a tool's labels at `path` come to, and notes, the first of which says what they are.

        Raises:
            LabelFault: there is no object in them, and no class is named.
        """
        if not self.classes:
            raise LabelFault(
                f"{path}: found a {self.kind} of {count_of(len(self.images), 'image')} without any labelled object, expected "
                "one at least; label some, or name the file or folder that holds the labels."
            )
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

    A tool that names keypoints only where they are labelled does not say which there are: other files may have more. A class
    with a fault, which a hand may have brought in, stays as it is: the reader tells of it.
    """
    known = gathered_keypoints(content)
    chosen = {name: list(names[name]) for name, own in known.items() if name in names and set(own) <= set(names[name])}
    objects = defaultdict(list)
    for entry in content["annotations"] if chosen else ():
        if isinstance(entry, dict):
            objects[_id_text(entry, "category_id")].append(entry)
    for category in content["categories"] if chosen else ():
        name = category.get("name") if isinstance(category, dict) else None
        if not isinstance(name, str) or name not in chosen:
            continue
        own, entries, edges = known[name], objects[_id_text(category)], category.get("skeleton", [])
        if not _fit(entries, len(own)) or not _are_edges(edges, len(own)):
            continue
        for entry in entries:
            points = entry.get("keypoints") or []
            places = {point: points[3 * i : 3 * i + 3] for i, point in enumerate(own) if points}
            entry["keypoints"] = [value for point in chosen[name] for value in places.get(point, (0, 0, 0))]
        if edges:
            category["skeleton"] = [[chosen[name].index(own[end - 1]) + 1 for end in edge] for edge in edges]
        category["keypoints"] = chosen[name]


def gathered_keypoints(content: Mapping) -> dict[str, list[str]]:
    """The keypoints of each class whose tool names them only where they are labelled; not of classes with unusable names."""
    known: dict[str, list[str]] = {}
    for category in content["categories"]:
        if isinstance(category, dict) and category.get("gathered") and isinstance(category.get("name"), str):
            keypoints = category.get("keypoints", [])
            if isinstance(keypoints, list) and all(isinstance(point, str) for point in keypoints):
                known[category["name"]] = keypoints
    return known


def _id_text(entry: Mapping, key: str = "id") -> str:
    """The id of a gathered class as text, since 1, "1" and 1.0 are one to the reader."""
    return str(entry.get(key)).strip().removesuffix(".0")


def _fit(entries: Iterable[Mapping], count: int) -> bool:
    """Whether the objects of a gathered class have `count` keypoints each, or say nothing of them."""
    vectors = (entry.get("keypoints") or [] for entry in entries)
    return all(isinstance(vector, list) and len(vector) in (0, 3 * count) for vector in vectors)


def _are_edges(edges: Any, count: int) -> bool:
    """Whether the lines of a gathered class end at its keypoints."""
    pairs = isinstance(edges, list) and all(isinstance(edge, list) for edge in edges)
    return pairs and all(type(end) is int and 1 <= end <= count for edge in edges for end in edge)
