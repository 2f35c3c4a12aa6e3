"""What a dataset's objects and keypoints are: one value that every stage takes.

Letters used throughout the package: B images, M padded objects, C classes, K flat keypoints (the sum over classes),
H x W grid cells, S input size.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from centerkp.sides import FlipPairs, check_flip_pairs, choose_flip_pairs
from centerkp.wording import suggest

COCO_KEYPOINTS = (
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow "
    "left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle"
).split()
COCO_SIGMAS = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089,
)  # fmt: skip
DEFAULT_SIGMA = 0.05
MAX_NAMES = 20_000  # classes, and keypoints of all of them
MAX_LETTERS = 500  # of a name
MAX_ID = 2**62  # leaves room in 64 bits for the ids given to annotations without one
OksSigmas = float | Mapping[str, float] | None  # one for all keypoints, or some by name


@dataclass(frozen=True)
class ObjectClass:
    """One category: its name, its COCO id, and what its keypoints are.

    `skeleton` and `flip_pairs` hold 0-based indices into `keypoints`. `flip_source` and `sigma_source` say where the
    values came from ("json", "flag", "names", "coco", "guess", "none"), so that nothing guessed passes for known. Flips also
    from "places", when names tell the sides and places the pairs. A class is not mirrored when it is "unpaired" (names look
    sided but no pair was found), "sided" (places alone show sides) or "few" (too few objects to show any).
    """

    name: str
    category_id: int
    keypoints: tuple[str, ...] = ()
    skeleton: tuple[tuple[int, int], ...] = ()
    flip_pairs: tuple[tuple[int, int], ...] = ()
    oks_sigmas: tuple[float, ...] = ()
    flip_source: str = "none"
    sigma_source: str = "guess"

    def __post_init__(self) -> None:
        count = len(self.keypoints)
        sigmas = self.oks_sigmas or (DEFAULT_SIGMA,) * count
        object.__setattr__(self, "oks_sigmas", tuple(float(s) for s in sigmas))
        if len(self.oks_sigmas) != count:
            raise ValueError(
                f"category '{self.name}': found {len(self.oks_sigmas)} oks_sigmas for {count} keypoints; give one per keypoint."
            )
        if not all(0 < s < 10 for s in self.oks_sigmas):
            raise ValueError(
                f"category '{self.name}': oks_sigmas {list(self.oks_sigmas)} must be positive shares of object size."
            )
        longest = max(map(len, (self.name, *self.keypoints)))
        if longest > MAX_LETTERS:
            raise ValueError(
                f"category '{self.name[:40]}': found a name of {longest} letters, expected at most {MAX_LETTERS}; shorten it."
            )
        repeated = sorted(k for k, times in Counter(self.keypoints).items() if times > 1)
        if repeated:
            raise ValueError(f"category '{self.name}': keypoint names {repeated} stand twice; rename one of each.")
        used = [i for pair in self.flip_pairs for i in pair]
        if len(used) != len(set(used)) or any(not 0 <= i < count for i in used):
            raise ValueError(
                f"category '{self.name}': flip pairs {list(self.flip_pairs)} must pair different keypoints of "
                f"0..{count - 1}, each once."
            )

    @property
    def can_flip(self) -> bool:
        """Whether it is known which keypoints of this class of the schema swap in a mirror."""
        return self.flip_source not in ("unpaired", "sided", "few")


@dataclass(frozen=True)
class Schema:
    """The classes of a dataset, in the order of the network's class channels, and their keypoints on one flat axis."""

    classes: tuple[ObjectClass, ...]

    def __post_init__(self) -> None:
        if not self.classes:
            raise ValueError("A schema needs at least one class; the file's 'categories' list is empty.")
        for count, kind in ((self.num_classes, "classes"), (self.num_keypoints, "keypoints")):
            if count > MAX_NAMES:
                raise ValueError(f"Schema: found {count} {kind}, expected at most {MAX_NAMES}; take those that you need.")
        for key in ("name", "category_id"):
            repeated = sorted(v for v, count in Counter(getattr(c, key) for c in self.classes).items() if count > 1)
            if repeated:
                raise ValueError(f"Category {key}s must be unique, found {repeated} more than once; rename or merge them.")

    @classmethod
    def from_coco(
        cls,
        source: str | Path | Mapping,
        *,
        flip_pairs: FlipPairs = None,
        oks_sigmas: OksSigmas = None,
    ) -> "Schema":
        """Builds the schema from a COCO JSON (a path, or the loaded dictionary); classes are ordered by category id.

        A category may carry `flip_pairs` (pairs of keypoint names) and `oks_sigmas` (one number, or one per keypoint).
        The arguments override them: `flip_pairs` takes the place of all pairs of every class that has both names of one (a
        mapping `{class: pairs}` names the class; an empty list says that nothing swaps), `oks_sigmas` as in `with_sigmas`.

        Raises:
            ValueError: the file is not a COCO dataset, a category contradicts itself, or no class has what an argument names.
        """
        name = "the given dictionary"
        if not isinstance(source, Mapping):
            name = str(source)
            try:
                source = json.loads(Path(source).read_text(encoding="utf-8-sig"))
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise ValueError(f"{name}: not readable as JSON ({error}); export the dataset again as COCO JSON.") from None
        categories = source.get("categories") if isinstance(source, Mapping) else None
        if not isinstance(categories, list) or not categories:
            raise ValueError(f"{name}: found no list 'categories', which every COCO dataset has; export it as COCO JSON.")
        faulty = [c for c in categories if not isinstance(c, Mapping) or "id" not in c or "name" not in c]
        if faulty:
            raise ValueError(f"{name}: {len(faulty)} entries of 'categories' lack 'id' or 'name', the first is {faulty[0]!r}.")
        ordered = sorted(categories, key=lambda category: int(category["id"]))
        check_flip_pairs(flip_pairs, ordered)
        return cls(tuple(_read_category(c, flip_pairs) for c in ordered)).with_sigmas(oks_sigmas)

    @classmethod
    def generic(cls, num_classes: int, num_keypoints: int | Sequence[int] = 0) -> "Schema":
        """A schema with made-up names: `num_keypoints` for each class, or a sequence with one number per class."""
        counts = [num_keypoints] * num_classes if isinstance(num_keypoints, int) else list(num_keypoints)
        if num_classes < 1 or len(counts) != num_classes or min(counts) < 0:
            raise ValueError(
                f"num_classes={num_classes} with num_keypoints={num_keypoints}: expected at least one class and a "
                "keypoint count of 0 or more, one number for all classes or one per class."
            )
        return cls(
            tuple(ObjectClass(f"class_{i}", i + 1, tuple(f"point_{j}" for j in range(count))) for i, count in enumerate(counts))
        )

    @classmethod
    def from_config(cls, config: Mapping) -> "Schema":
        """The schema that `Schema.get_config` gave, as model files of anybody's making hold it.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: it is no schema, or larger than one can be.
        """
        known = set(ObjectClass.__dataclass_fields__)
        classes = []
        for entry in config["classes"]:
            unknown = set(entry) - known
            if unknown:
                raise ValueError(f"Schema: unknown fields {sorted(unknown)}; the file was written by a newer centerkp.")
            entry = {k: _lists_to_tuples(v) for k, v in entry.items()}
            _check_class_entry(entry)
            classes.append(ObjectClass(**entry))
        return cls(tuple(classes))

    def get_config(self) -> dict:
        """The schema as a dictionary that JSON can hold."""
        return json.loads(json.dumps({"classes": [asdict(c) for c in self.classes]}))

    @property
    def num_classes(self) -> int:
        """C, how many classes the schema has."""
        return len(self.classes)

    @cached_property
    def num_keypoints(self) -> int:
        """K, the length of the schema's flat keypoint axis over all classes."""
        return sum(len(c.keypoints) for c in self.classes)

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """The names of the schema's classes, (C,), in the order of their channels."""
        return tuple(c.name for c in self.classes)

    @cached_property
    def keypoint_names(self) -> tuple[str, ...]:
        """The schema's flat keypoint axis as "class/keypoint", (K,)."""
        return tuple(f"{c.name}/{k}" for c in self.classes for k in c.keypoints)

    @cached_property
    def keypoint_mask(self) -> np.ndarray:
        """(C, K) bool: which flat keypoints of the schema belong to which class."""
        mask = np.zeros((self.num_classes, self.num_keypoints), bool)
        for class_id in range(self.num_classes):
            mask[class_id, self.keypoint_slice(class_id)] = True
        return mask

    @cached_property
    def oks_sigmas(self) -> np.ndarray:
        """(K,) float32 on the schema's flat axis: how exactly each keypoint can be placed, for OKS."""
        return np.array([s for c in self.classes for s in c.oks_sigmas], np.float32)

    @property
    def keypoint_std(self) -> np.ndarray:
        """How wide the schema's keypoints' Gaussians are relative to their objects', (K,) float32: 10 times OKS sigmas."""
        return 10 * self.oks_sigmas

    @cached_property
    def flip_permutation(self) -> np.ndarray:
        """The schema's flat keypoints after a flip, (K,) int: k takes the place of `flip_permutation[k]`."""
        order = np.arange(self.num_keypoints)
        for class_id, c in enumerate(self.classes):
            start = self.keypoint_slice(class_id).start
            for a, b in c.flip_pairs:
                order[start + a], order[start + b] = start + b, start + a
        return order

    @property
    def can_flip(self) -> bool:
        """False when some class of the schema may have sides without known partners: a flip would teach left as right."""
        return all(c.can_flip for c in self.classes)

    def keypoint_slice(self, class_id: int) -> slice:
        """Where a class's keypoints stand on the schema's flat axis."""
        start = sum(len(c.keypoints) for c in self.classes[:class_id])
        return slice(start, start + len(self.classes[class_id].keypoints))

    def class_id(self, name: str) -> int:
        """The channel of a class of the schema, by name."""
        if name not in self.class_names:
            raise ValueError(f"Found no class '{name}'; the schema has {list(self.class_names)}.")
        return self.class_names.index(name)

    def with_sigmas(self, oks_sigmas: OksSigmas) -> "Schema":
        """The same schema with other OKS sigmas: one number for all keypoints, or by keypoint name; None changes nothing.

        Raises:
            ValueError: a name is no keypoint of any class.
        """
        if oks_sigmas is None:
            return self
        names = {k for c in self.classes for k in c.keypoints}
        if not isinstance(oks_sigmas, Mapping):
            oks_sigmas = dict.fromkeys(names, oks_sigmas)
        for name in oks_sigmas:
            if name not in names:
                raise ValueError(
                    f"oks_sigmas: found '{name}', expected keypoints of {list(self.keypoint_names)}{suggest(name, names)}."
                )
        classes = []
        for c in self.classes:
            values = tuple(float(oks_sigmas.get(k, s)) for k, s in zip(c.keypoints, c.oks_sigmas, strict=True))
            given = oks_sigmas.keys() & set(c.keypoints)
            # A class of which some keypoints remain a guess stays one.
            told = given and (len(given) == len(c.keypoints) or c.sigma_source != "guess")
            classes.append(replace(c, oks_sigmas=values, sigma_source="flag" if told else c.sigma_source))
        return Schema(tuple(classes))


def _check_class_entry(entry: Mapping) -> None:
    """What of a class in a schema's config no other check looks at, since it comes from COCO in the right types."""
    texts = [entry["name"], *entry.get("keypoints", ()), *(entry.get(key, "") for key in ("flip_source", "sigma_source"))]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("Schema: found names that are no texts, expected such.")
    numbers = [entry["category_id"], *(i for key in ("skeleton", "flip_pairs") for pair in entry.get(key, ()) for i in pair)]
    if not all(type(number) is int for number in numbers) or abs(numbers[0]) >= 2**63:
        raise ValueError("Schema: found category_id, skeleton or flip_pairs that are no whole numbers, expected such.")
    count, edges = len(entry.get("keypoints", ())), entry.get("skeleton", ())
    if len(edges) > MAX_NAMES or not all(len(edge) == 2 and 0 <= min(edge) <= max(edge) < count for edge in edges):
        raise ValueError(f"Schema: found a skeleton that does not connect keypoints of 0..{count - 1}, expected pairs of them.")


def _lists_to_tuples(value: Any) -> Any:
    """A value of a schema's config as a frozen class holds it: lists inside lists as tuples."""
    return tuple(_lists_to_tuples(v) for v in value) if isinstance(value, list | tuple) else value


def _read_category(category: Mapping, flip_override: FlipPairs) -> ObjectClass:
    """A class of the schema, read from a COCO category, with its flip pairs, skeleton and OKS sigmas."""
    name = str(category["name"])
    keypoints = tuple(str(k) for k in category.get("keypoints") or ())
    pairs, flip_source = choose_flip_pairs(name, keypoints, category, flip_override)
    sigmas, sigma_source = _choose_sigmas(keypoints, category)
    return ObjectClass(
        name=name,
        category_id=int(category["id"]),
        keypoints=keypoints,
        skeleton=_read_skeleton(category.get("skeleton") or (), len(keypoints)),
        flip_pairs=pairs,
        oks_sigmas=sigmas,
        flip_source=flip_source,
        sigma_source=sigma_source,
    )


def _read_skeleton(edges: Iterable, count: int) -> tuple[tuple[int, int], ...]:
    """A COCO skeleton's edges counted from 0 for the schema; those that point outside the list are left out."""
    edges = [tuple(int(i) for i in edge) for edge in edges if len(edge) == 2]
    first = 0 if any(0 in edge for edge in edges) else 1
    edges = [(a - first, b - first) for a, b in edges]
    return tuple((a, b) for a, b in edges if 0 <= a < count and 0 <= b < count and a != b)


def _choose_sigmas(keypoints: tuple[str, ...], category: Mapping) -> tuple[tuple[float, ...], str]:
    """For the schema: a class's OKS sigmas and their source: its COCO category, COCO's own keypoints, or a guess."""
    given = category.get("oks_sigmas")
    if given is not None and keypoints:
        given = [given] * len(keypoints) if isinstance(given, int | float) else given
        return tuple(float(s) for s in given), "json"
    if list(keypoints) == COCO_KEYPOINTS:
        return COCO_SIGMAS, "coco"
    return (DEFAULT_SIGMA,) * len(keypoints), "guess"
