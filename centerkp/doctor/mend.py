"""Mends what a COCO file says in a way whose meaning is clear: ids, types, skeletons, keypoint vectors, repeated entries."""

import math
from collections import defaultdict
from collections.abc import Mapping
from itertools import chain
from typing import Any

from centerkp.doctor.findings import Finding
from centerkp.doctor.masks import measure_mask
from centerkp.labels.faults import SHOWN
from centerkp.labels.tables import NOUNS, is_number, read_integer
from centerkp.wording import quote

NESTED = "keypoints are lists inside the list"
PAIRS = "keypoints are x, y pairs without visibility"
DUMMY = "placeholder that no annotation uses takes a class of the network"
ZERO_BASED = "skeleton counts keypoints from 0, COCO counts from 1"
OUT_OF_RANGE = "skeleton lines end at keypoints that the category does not have"
FLIP_INDICES = "flip_pairs are places in the list of keypoints instead of pairs of names"
REPEATED_IDS = "ids that stand more than once, the later ones numbered anew"
NO_NUMBERS = "keypoints with NaN or null, or with a visibility that is none of 0, 1, 2"
FROM_MASK = "no usable box, that of the segmentation taken"
SAME_CATEGORY = "stands more than once, with the same name and keypoints"
SAME_IMAGE = "stands more than once, with the same id and file"


class Mending:
    """A copy of a COCO file's content, made right step by step; `changes` says what was done, with counts.

    The original is not changed. `content` is an ordinary dictionary for `json.dump`; it lacks what is no JSON object, of which
    only null counts as mended.
    """

    def __init__(self, content: Mapping):
        self.content = dict(content)
        for name in NOUNS:
            self.content[name] = [dict(entry) for entry in content[name] if isinstance(entry, dict)]
        self.changes: list[Finding] = []
        places = [str(i) for name in NOUNS for i, entry in enumerate(content[name], 1) if entry is None]
        self._add_change("entry", "null, left out", places)

    def _add_change(self, noun: str, title: str, places: list[str]) -> None:
        """Says what was mended in the COCO content, and in how many places, unless there are none."""
        if places:
            self.changes.append(Finding("mendable", title, len(places), noun, "", tuple(places[:SHOWN])))

    def mend(self) -> "Mending":
        """Mends all of the COCO content that needs no look at the images and no arithmetic on boxes."""
        if not isinstance(self.content.get("info"), Mapping):
            self.content["info"] = {"description": ""}  # COCO's own tools stumble without
            self._add_change("file", "no usable 'info', an empty one written", ["info"])
        self._mend_ids()
        self._merge_images()
        self._mend_categories()
        self._number_annotations()
        self._mend_boxes()
        for image in self.content["images"]:
            for key in ("width", "height"):
                if key in image:
                    image[key] = read_integer(image[key])  # None where it is no number: the file will tell
        self._mend_keypoints()
        return self

    def _mend_boxes(self) -> None:
        """Mends boxes and areas that are no numbers, and takes the box of the mask where there is none."""
        boxed, written = [], []
        images = {_id_key(image.get("id")): image for image in self.content["images"]}
        for entry in self.content["annotations"]:
            before = entry.get("bbox"), entry.get("area")
            _mend_numbers(entry)
            box = entry.get("bbox")
            if before[0] is not box or before[1] is not entry.get("area"):
                written.append(f"annotation {entry['id']}")
            if not box or (isinstance(box, list) and len(box) == 4 and all(map(is_number, box)) and min(box[2:]) <= 0):
                image = images.get(_id_key(entry.get("image_id")), {})
                sides = (read_integer(image.get(key)) for key in ("width", "height"))
                measured = measure_mask(entry.get("segmentation"), *sides)
                if measured:
                    entry["bbox"] = measured
                    boxed.append(f"annotation {entry['id']}")
        self._add_change("annotation", "numbers of 'bbox' or 'area' written as text or not at all", written)
        self._add_change("annotation", FROM_MASK, boxed)

    def _mend_ids(self) -> None:
        """Mends ids in another type than int; text that is no number gets new numbers, the same for the same text."""
        for name, key in (("images", "image_id"), ("categories", "category_id")):
            entries = self.content[name]
            named = {e["id"] for e in entries if isinstance(e.get("id"), str) and read_integer(e["id"]) is None}
            # An id that annotations use means no entry of the list, or the one that has it: no other may get it.
            used = (annotation.get(key) for annotation in self.content["annotations"])
            taken = [i for i in map(read_integer, chain((e.get("id") for e in entries), used)) if i is not None]
            fresh = {text: max(taken, default=0) + 1 + n for n, text in enumerate(sorted(named))}
            self._add_change(NOUNS[name], "ids that are no numbers, numbered anew", [quote(text) for text in fresh])
            for holders, own in ((entries, "id"), (self.content["annotations"], key)):
                for entry in holders:
                    value = entry.get(own)
                    if type(value) is not int:
                        number = fresh.get(value) if isinstance(value, str) and value in fresh else read_integer(value)
                        if number is not None:
                            entry[own] = number

    def _merge_images(self) -> None:
        """Mends images that stand in the list twice, with the same id and file: the first one stays."""
        seen, kept, again = {}, [], []
        for image in self.content["images"]:
            key = read_integer(image.get("id")), quote(image.get("file_name"))
            (again if key in seen and key[0] is not None else kept).append(image)
            seen[key] = True
        self.content["images"] = kept
        self._add_change("image", SAME_IMAGE, [f"image {quote(image.get('id'))}" for image in again])

    def _mend_categories(self) -> None:
        """Mends categories that nothing uses or that stand twice, and their skeletons."""
        used = {_id_key(a.get("category_id")) for a in self.content["annotations"]}
        categories = self.content["categories"]
        parents = {c.get("supercategory") for c in categories if isinstance(c.get("supercategory"), str)}
        dummies = [c for c in categories if is_dummy_category(c, used, parents)] if len(categories) > 1 else []
        self._add_change("category", DUMMY, [_name_category(c) for c in dummies])
        kept, moved = [], {}
        for category in categories:
            if any(category is dummy for dummy in dummies):
                continue
            twin = next((c for c in kept if _same_category(c, category)), None)
            if twin is None:
                kept.append(category)
            else:
                moved[_id_key(category.get("id"))] = twin.get("id")
        self._add_change("category", SAME_CATEGORY, [str(i) for i in moved])
        for annotation in self.content["annotations"] if moved else ():
            annotation["category_id"] = moved.get(_id_key(annotation.get("category_id")), annotation.get("category_id"))
        self.content["categories"] = kept
        for category in kept:
            self._mend_skeleton(category)
            names, pairs = category.get("keypoints"), category.get("flip_pairs")
            named = read_flip_indices(pairs, names) if isinstance(names, list) and isinstance(pairs, list) else None
            if named is not None:
                category["flip_pairs"] = named
                self._add_change("category", FLIP_INDICES, [f"{_name_category(category)}: {quote(pairs)}"])

    def _mend_skeleton(self, category: dict) -> None:
        """Mends a skeleton that counts from 0 or leaves the category's keypoints."""
        edges = category.get("skeleton")
        if not isinstance(edges, list) or not edges:
            return
        count = len(category["keypoints"]) if isinstance(category.get("keypoints"), list) else 0
        pairs, is_zero_based = read_skeleton_edges(edges)
        inside = [pair for pair in pairs if 0 <= min(pair) and max(pair) < count and pair[0] != pair[1]]
        if is_zero_based and count:
            self._add_change("category", ZERO_BASED, [_name_category(category)])
        if len(inside) < len(edges):
            self._add_change("category", OUT_OF_RANGE, [f"{_name_category(category)}: {quote(edges)} of {count} keypoints"])
        if is_zero_based or len(inside) < len(edges):
            category["skeleton"] = [[a + 1, b + 1] for a, b in inside]

    def _number_annotations(self) -> None:
        """Mends annotations without an id, and with one that an earlier one has, by new numbers."""
        annotations = self.content["annotations"]
        ids = [read_integer(annotation.get("id")) for annotation in annotations]
        free = max((value for value in ids if value is not None), default=0) + 1
        seen, again, numbered = set(), [], []
        for number, (annotation, value) in enumerate(zip(annotations, ids, strict=True), 1):
            if value is None or value in seen:
                (numbered if value is None else again).append(f"number {number}" if value is None else str(value))
                value, free = free, free + 1
            seen.add(value)
            annotation["id"] = value
        self._add_change("annotation", REPEATED_IDS, again)
        self._add_change("annotation", "without an id, numbered", numbered)

    def _mend_keypoints(self) -> None:
        """Mends the annotations' keypoint vectors and the counts of their labelled points."""
        counts = {}
        for category in self.content["categories"]:
            names = category.get("keypoints")
            counts[_id_key(category.get("id"))] = len(names) if isinstance(names, list) else 0
        places = defaultdict(list)
        for annotation in self.content["annotations"]:
            count = counts.get(_id_key(annotation.get("category_id")), 0)
            vector = annotation.get("keypoints")
            if not count or not isinstance(vector, list) or not vector:
                continue
            mended, why = mend_vector(vector, count)
            if why:
                annotation["keypoints"] = mended
                places[why].append(f"annotation {annotation['id']}")
            if len(mended) == 3 * count and set(map(type, mended[2::3])) == {int}:
                labelled = sum(v > 0 for v in mended[2::3])
                if annotation.get("num_keypoints") != labelled:
                    annotation["num_keypoints"] = labelled
        for why, who in places.items():
            self._add_change("annotation", why, who)


def mend_vector(vector: list, count: int) -> tuple[list, str]:
    """Mends a keypoint vector into x, y, visibility of `count` keypoints, and says what was wrong; else gives it as it is."""
    if (
        len(vector) == 3 * count
        and set(map(type, vector)) <= {int, float}
        and set(map(type, vector[2::3])) == {int}
        and {0, 1, 2} >= set(vector[2::3])
        and _is_finite(vector)
    ):
        return vector, ""
    why = ""
    if all(isinstance(point, list) for point in vector):
        vector, why = list(chain.from_iterable(vector)), NESTED
    if any(isinstance(value, str) for value in vector):
        vector, why = [read_number(value) for value in vector], "keypoints are numbers written as text"
    # Whole triples of fewer points, whose order nobody knows, are no pairs.
    is_cut_off = len(vector) % 3 == 0 and any(vector) and all(value in (0, 1, 2) for value in vector[2::3])
    if len(vector) == 2 * count and not is_cut_off:
        points, why = [(x, y, 2 if x or y else 0) for x, y in zip(vector[::2], vector[1::2], strict=True)], PAIRS
    elif len(vector) == 3 * count:
        points = list(zip(vector[::3], vector[1::3], vector[2::3], strict=True))
    else:
        return vector, why
    if not all(value is None or type(value) in (int, float) for point in points for value in point):
        return vector, why
    mended = [_mend_point(*point) for point in points]
    if not why and mended != points:
        why = NO_NUMBERS
    return list(chain.from_iterable(mended)), why or "visibility written with a decimal point"


def _is_finite(numbers: list) -> bool:
    """Whether all numbers of a keypoint vector to be mended are finite."""
    try:
        return math.isfinite(sum(numbers))
    except OverflowError:
        return False


def _mend_point(x: Any, y: Any, visibility: Any) -> tuple:
    """One keypoint as mended: x, y, visibility, not labelled where it has no place."""
    if not is_number(visibility) or visibility <= 0:
        return (x, y, 0) if is_number(x) and is_number(y) else (0, 0, 0)
    if not (is_number(x) and is_number(y)):
        return 0, 0, 0
    return x, y, 1 if visibility == 1 else 2


def read_number(value: Any) -> Any:
    """The number that a text in a file to be mended holds in place of one; anything else as it is."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def read_skeleton_edges(edges: list) -> tuple[list[tuple[int, int]], bool]:
    """A skeleton to be mended: its lines counted from 0, and whether the file counted so; entries that are no pairs go."""
    pairs = [tuple(read_integer(index) for index in edge) for edge in edges if isinstance(edge, list)]
    pairs = [pair for pair in pairs if len(pair) == 2 and None not in pair]
    is_zero_based = any(0 in pair for pair in pairs)
    return [pair if is_zero_based else (pair[0] - 1, pair[1] - 1) for pair in pairs], is_zero_based


def read_flip_indices(pairs: list, names: list) -> list[list] | None:
    """Pairs of names in a file to be mended for a permutation of all places, as [1, 0, 2], which may count from 1.

    None for anything else, and for permutations that are no exchange of pairs.
    """
    if not pairs or set(map(type, pairs)) != {int} or sorted(pairs) not in ([*range(len(names))], [*range(1, len(names) + 1)]):
        return None
    places = [place - min(pairs) for place in pairs]
    if any(places[other] != place for place, other in enumerate(places)):
        return None
    return [[names[place], names[other]] for place, other in enumerate(places) if place < other]


def is_dummy_category(category: Mapping, used: set, parents: set) -> bool:
    """Whether a category to be mended stands for the whole dataset, as Roboflow's with id 0: no label, the others' parent."""
    if _id_key(category.get("id")) in used or category.get("keypoints"):
        return False
    name = category.get("name")
    return isinstance(name, str) and name in parents and category.get("supercategory") in (None, "", "none")


def _mend_numbers(annotation: dict) -> None:
    """Mends an annotation's `iscrowd`, `bbox` and `area` that are written as text or not at all."""
    crowd = annotation.get("iscrowd")
    if type(crowd) is not int:
        value = int(crowd) if isinstance(crowd, bool) else 0 if crowd is None else read_integer(crowd)
        annotation["iscrowd"] = crowd if value is None else value
    box = annotation.get("bbox")
    if isinstance(box, list) and box and not {int, float} >= set(map(type, box)):
        annotation["bbox"] = [read_number(value) for value in box]
    box = annotation.get("bbox")
    if isinstance(box, list) and len(box) == 4 and any(v is None or v != v for v in box):
        del annotation["bbox"]  # as the exporters write it that have none
    area = annotation.get("area")
    if area is not None and not is_number(area):
        area = read_number(area)
        if is_number(area):
            annotation["area"] = area
        else:
            del annotation["area"]


def _same_category(a: Mapping, b: Mapping) -> bool:
    """Whether two categories of a file to be mended are one, by name and keypoints."""
    same_name = isinstance(a.get("name"), str) and a["name"] == b.get("name")
    return same_name and (a.get("keypoints") or []) == (b.get("keypoints") or [])


def _id_key(value: Any) -> int | str:
    """An id of a file to be mended as something that can stand in a set, whatever type the id has."""
    number = read_integer(value)
    return quote(value) if number is None else number


def _name_category(category: Mapping) -> str:
    """A category to be mended by id and name, as the list of changes names it."""
    return f"category {quote(category.get('id'))} ({quote(category.get('name'))})"
