"""CVAT for images 1.1: an XML with boxes, polygons, points and skeletons of every image."""

import re
from math import radians
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from centerkp.formats.gathering import Gathering, LabelFault, Point, Shape, reading
from centerkp.formats.turning import turn_ellipse, turn_rectangle

KIND = "CVAT file"
_OUTLINES = ("box", "polygon", "polyline", "ellipse", "mask")


def read_cvat(path: Path, gathering: Gathering) -> None:
    """Reads the images of a CVAT XML; a skeleton is an object whose points have names, and the box of its group is its own.

    A point that is `outside` is not labelled, one that is `occluded` has visibility 1.

    Raises:
        LabelFault: tracks of a video, or no XML of CVAT's.
    """
    with reading(path, KIND):
        try:
            root = ElementTree.parse(path).getroot()
        except ElementTree.ParseError as error:
            raise ValueError(f"no whole XML: {error}") from None
        if root.find("track") is not None and root.find("image") is None:
            raise LabelFault(
                f"{path}: found the tracks of a CVAT video, expected images; export as 'CVAT for images 1.1', with the images."
            )
        _add_classes(root, gathering)
        for image in root.iter("image"):
            image_id = gathering.add_image(image.attrib["name"], int(image.attrib["width"]), int(image.attrib["height"]))
            _add_objects(image, image_id, gathering)


def _add_classes(root: Element, gathering: Gathering) -> None:
    """The skeletons that a CVAT file defines, with keypoints and edges; other labels become classes when they are used."""
    labels = list(root.iterfind("meta//label"))
    for label in labels:
        if label.findtext("type") == "skeleton":
            name, drawing = label.findtext("name"), label.findtext("svg") or ""
            points = [one.findtext("name") for one in labels if one.findtext("parent") == name]
            nodes = dict(re.findall(r'data-node-id="(\d+)"[^>]*data-label-name="([^"]*)"', drawing))
            ends = re.findall(r'data-node-from="(\d+)"[^>]*data-node-to="(\d+)"', drawing)
            edges = [[nodes.get(end) for end in pair] for pair in ends]
            known = [[points.index(end) + 1 for end in pair] for pair in edges if set(pair) <= set(points)]
            gathering.add_class(name, points, skeleton=known)


def _add_objects(image: Element, image_id: int, gathering: Gathering) -> None:
    """Adds the skeletons of one image of a CVAT file, and its other shapes."""
    boxes = [one for one in image.iterfind("box") if one.get("group_id")]
    shapes, used = [], []
    for skeleton in image.iterfind("skeleton"):
        mine = [box for box in boxes if box.get("group_id") == skeleton.get("group_id")]
        mine = [box for box in mine if box.get("label") == mine[0].get("label")]
        used += mine
        outlines = gathering.join_outlines([_read_outline(box, gathering) for box in mine])
        points = {one.attrib["label"]: _read_point(one) for one in skeleton.iterfind("points")}
        gathering.add_object(image_id, skeleton.attrib["label"], outlines[0].box if outlines else None, points)
    for element in image:
        if element.tag in _OUTLINES and element not in used:
            shapes.append(_read_outline(element, gathering))
        elif element.tag == "points":
            xy = _read_pairs(element)
            names = (
                [element.attrib["label"]] if len(xy) == 1 else [f"{element.attrib['label']}_{n}" for n in range(1, len(xy) + 1)]
            )
            visibility = 1 if element.get("occluded") == "1" else 2
            shapes += [
                Shape(name, [place], True, element.get("group_id"), visibility) for name, place in zip(names, xy, strict=True)
            ]
        elif element.tag not in ("skeleton", "tag", *_OUTLINES):
            gathering.note("shape", f"a {element.tag}, left out")
    gathering.add_shapes(image_id, shapes)


def _read_point(point: Element) -> Point:
    """The place and visibility of one point of a CVAT skeleton."""
    ((x, y),) = _read_pairs(point)
    return x, y, 0 if point.get("outside") == "1" else 1 if point.get("occluded") == "1" else 2


def _read_pairs(element: Element) -> list[tuple[float, float]]:
    """The coordinates of an element of a CVAT file, written as "1.0,2.0;3.0,4.0"."""
    pairs = [pair.split(",") for pair in element.attrib["points"].split(";")]
    return [(float(x), float(y)) for x, y in pairs]


def _read_outline(element: Element, gathering: Gathering) -> Shape:
    """A box, polygon, ellipse or mask of a CVAT file; boxes and ellipses may be turned about their center, in degrees."""
    at = element.attrib
    angle = radians(float(at.get("rotation") or 0))
    if element.tag == "box":
        low_x, low_y, high_x, high_y = (float(at[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
        center = (low_x + high_x) / 2, (low_y + high_y) / 2
        xy = turn_rectangle(((low_x, low_y), (high_x, high_y)), angle, center, gathering)
    elif element.tag == "ellipse":
        x, y, across, down = (float(at[key]) for key in ("cx", "cy", "rx", "ry"))
        xy = turn_ellipse((x, y), (across, down), angle, gathering)
    elif element.tag == "mask":  # the run lengths of its pixels fill this extent
        x, y, across, down = (float(at[key]) for key in ("left", "top", "width", "height"))
        xy = [(x, y), (x + across, y + down)]
    else:
        xy = _read_pairs(element)
    return Shape(at["label"], xy, False, at.get("group_id"))
