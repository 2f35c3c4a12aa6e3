"""What a dataset's objects and keypoints are: one value that every stage takes.

Letters used throughout the package: B images, M padded objects, C classes, K flat keypoints (the sum over classes),
H x W grid cells, S input size.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

COCO_KEYPOINTS = (
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow "
    "left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle"
).split()
COCO_SIGMAS = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089,
)  # fmt: skip
DEFAULT_SIGMA = 0.05


@dataclass(frozen=True)
class ObjectClass:
    """One category: its name, its COCO id, and what its keypoints are.

    `skeleton` and `flip_pairs` hold 0-based indices into `keypoints`. `flip_source` and `sigma_source` say where the
    values came from ("json", "flag", "names", "coco", "guess", "none"; "unpaired" when names look sided but no pair
    was found), so that nothing guessed passes for known.
    """

    name: str
    category_id: int
    keypoints: tuple[str, ...] = ()
    skeleton: tuple[tuple[int, int], ...] = ()
    flip_pairs: tuple[tuple[int, int], ...] = ()
    oks_sigmas: tuple[float, ...] = ()
    flip_source: str = "none"
    sigma_source: str = "guess"

    def __post_init__(self):
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
        repeated = sorted({k for k in self.keypoints if self.keypoints.count(k) > 1})
        if repeated:
            raise ValueError(f"category '{self.name}': keypoint names {repeated} stand twice; rename one of each.")
        used = [i for pair in self.flip_pairs for i in pair]
        if len(used) != len(set(used)) or any(not 0 <= i < count for i in used):
            raise ValueError(
                f"category '{self.name}': flip pairs {list(self.flip_pairs)} must pair different keypoints of "
                f"0..{count - 1}, each once."
            )


@dataclass(frozen=True)
class Schema:
    """The classes of a dataset, in the order of the network's class channels, and their keypoints on one flat axis."""

    classes: tuple[ObjectClass, ...]

    def __post_init__(self):
        if not self.classes:
            raise ValueError("A schema needs at least one class; the file's 'categories' list is empty.")
        for key in ("name", "category_id"):
            values = [getattr(c, key) for c in self.classes]
            repeated = sorted({v for v in values if values.count(v) > 1})
            if repeated:
                raise ValueError(f"Category {key}s must be unique, found {repeated} more than once; rename or merge them.")

    @classmethod
    def from_coco(
        cls,
        source: str | Path | Mapping,
        *,
        flip_pairs: Sequence[tuple[str, str]] | Mapping[str, Sequence] | None = None,
        oks_sigmas: float | Mapping[str, float] | None = None,
    ) -> "Schema":
        """Builds the schema from a COCO JSON (a path, or the loaded dictionary); classes are ordered by category id.

        A category may carry `flip_pairs` (pairs of keypoint names) and `oks_sigmas` (one number, or one per keypoint).
        The arguments override them: `flip_pairs` for every class that has both names (a mapping `{class: pairs}` names the
        class; an empty list says that nothing swaps), `oks_sigmas` as one number or `{keypoint name: sigma}`.

        Raises:
            ValueError: the file is not a COCO dataset, or a category contradicts itself.
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
        return cls(tuple(_read_category(c, flip_pairs, oks_sigmas) for c in ordered))

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
        """The inverse of `get_config`."""
        known = set(ObjectClass.__dataclass_fields__)
        classes = []
        for entry in config["classes"]:
            unknown = set(entry) - known
            if unknown:
                raise ValueError(f"Schema: unknown fields {sorted(unknown)}; the file was written by a newer centerkp.")
            entry = {k: _to_tuple(v) for k, v in entry.items()}
            classes.append(ObjectClass(**entry))
        return cls(tuple(classes))

    def get_config(self) -> dict:
        """A dictionary that JSON can hold."""
        return json.loads(json.dumps({"classes": [asdict(c) for c in self.classes]}))

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @cached_property
    def num_keypoints(self) -> int:
        """K, the length of the flat keypoint axis."""
        return sum(len(c.keypoints) for c in self.classes)

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.classes)

    @cached_property
    def keypoint_names(self) -> tuple[str, ...]:
        """The flat axis as "class/keypoint", (K,)."""
        return tuple(f"{c.name}/{k}" for c in self.classes for k in c.keypoints)

    @cached_property
    def keypoint_mask(self) -> np.ndarray:
        """(C, K) bool: which flat keypoints belong to which class."""
        mask = np.zeros((self.num_classes, self.num_keypoints), bool)
        for class_id in range(self.num_classes):
            mask[class_id, self.keypoint_slice(class_id)] = True
        return mask

    @cached_property
    def oks_sigmas(self) -> np.ndarray:
        """(K,) float32."""
        return np.array([s for c in self.classes for s in c.oks_sigmas], np.float32)

    @cached_property
    def flip_permutation(self) -> np.ndarray:
        """(K,) int: after a horizontal flip, flat keypoint k takes the place of `flip_permutation[k]`."""
        order = np.arange(self.num_keypoints)
        for class_id, c in enumerate(self.classes):
            start = self.keypoint_slice(class_id).start
            for a, b in c.flip_pairs:
                order[start + a], order[start + b] = start + b, start + a
        return order

    @property
    def can_flip(self) -> bool:
        """False when some class has sided names without known partners: a flip would teach left as right."""
        return all(c.flip_source != "unpaired" for c in self.classes)

    def keypoint_slice(self, class_id: int) -> slice:
        """Where a class's keypoints stand on the flat axis."""
        start = sum(len(c.keypoints) for c in self.classes[:class_id])
        return slice(start, start + len(self.classes[class_id].keypoints))

    def class_id(self, name: str) -> int:
        """The channel of a class, by name."""
        if name not in self.class_names:
            raise ValueError(f"Found no class '{name}'; the schema has {list(self.class_names)}.")
        return self.class_names.index(name)

    def with_flip_off(self) -> "Schema":
        """The same schema for which flipping is not allowed."""
        return Schema(tuple(replace(c, flip_pairs=(), flip_source="unpaired") for c in self.classes))


def _to_tuple(value):
    return tuple(_to_tuple(v) for v in value) if isinstance(value, list | tuple) else value


def _read_category(category: Mapping, flip_override, sigma_override) -> ObjectClass:
    name = str(category["name"])
    keypoints = tuple(str(k) for k in category.get("keypoints") or ())
    pairs, flip_source = _choose_flip_pairs(name, keypoints, category, flip_override)
    sigmas, sigma_source = _choose_sigmas(name, keypoints, category, sigma_override)
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
    """COCO counts from 1; a file that uses 0 counts from 0. Edges that point outside the list are left out."""
    edges = [tuple(int(i) for i in edge) for edge in edges if len(edge) == 2]
    first = 0 if any(0 in edge for edge in edges) else 1
    edges = [(a - first, b - first) for a, b in edges]
    return tuple((a, b) for a, b in edges if 0 <= a < count and 0 <= b < count and a != b)


def _choose_flip_pairs(name, keypoints, category, override):
    given, source = category.get("flip_pairs"), "json"
    if isinstance(override, Mapping):
        given, source = (override[name], "flag") if name in override else (given, source)
    elif override is not None:
        given, source = [pair for pair in override if set(pair) <= set(keypoints)], "flag"
    if given is not None:
        unknown = [k for pair in given for k in pair if k not in keypoints]
        if unknown:
            raise ValueError(
                f"category '{name}': flip_pairs name {unknown}, which its keypoints {list(keypoints)} do not contain; "
                "give pairs of its own keypoint names."
            )
        return tuple((keypoints.index(a), keypoints.index(b)) for a, b in given), source if keypoints else "none"
    pairs, unpaired = guess_flip_pairs(keypoints)
    if unpaired:
        return (), "unpaired"
    return pairs, "names" if pairs else "none"


def _choose_sigmas(name, keypoints, category, override):
    if override is not None and keypoints:
        if not isinstance(override, Mapping):
            return (float(override),) * len(keypoints), "flag"
        if set(override) & set(keypoints):
            return tuple(float(override.get(k, DEFAULT_SIGMA)) for k in keypoints), "flag"
    given = category.get("oks_sigmas")
    if given is not None and keypoints:
        given = [given] * len(keypoints) if isinstance(given, int | float) else given
        return tuple(float(s) for s in given), "json"
    if list(keypoints) == COCO_KEYPOINTS:
        return COCO_SIGMAS, "coco"
    return (DEFAULT_SIGMA,) * len(keypoints), "guess"


_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[^\W\d_]+|\d+")
_MIRROR = {"left": "right", "right": "left", "l": "r", "r": "l"}


def _mirror_words(name: str) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """A name's words in lower case, and the same words with the side exchanged (None when nothing looks sided)."""
    words, mirrored, sided = [], [], False
    for word in _WORDS.findall(name):
        low = word.lower()
        joined = re.fullmatch(r"(left|right)(\w+)", low)
        if low in _MIRROR:
            words, mirrored, sided = [*words, low], [*mirrored, _MIRROR[low]], True
        elif joined:  # lefteye
            words = [*words, *joined.groups()]
            mirrored, sided = [*mirrored, _MIRROR[joined[1]], joined[2]], True
        elif re.fullmatch(r"[LR][A-Z]|[A-KM-QS-Z][LR]", word):  # LF, FL: front or hind paws
            side = 0 if word[0] in "LR" else 1
            other = _MIRROR[low[side]]
            words.append(low)
            mirrored.append(other + low[1] if side == 0 else low[0] + other)
            sided = True
        else:
            words.append(low)
            mirrored.append(low)
    return tuple(words), tuple(mirrored) if sided else None


def guess_flip_pairs(keypoints: Sequence[str]) -> tuple[tuple[tuple[int, int], ...], tuple[str, ...]]:
    """Left/right partners read from the names, and the names that look sided but have no partner.

    Reads left_eye/right_eye, l_eye/r_eye, eye_L/eye_R, eyeLeft/eyeRight, LEye/REye, lefteye/righteye, FL_paw/FR_paw.

    Returns:
        Index pairs (left or right first, in order of appearance), and the unpaired sided names.
    """
    read = [_mirror_words(k) for k in keypoints]
    where = {}
    for index, (words, _) in enumerate(read):
        where.setdefault(words, []).append(index)
    pairs, unpaired = set(), []
    for index, (words, mirrored) in enumerate(read):
        if mirrored is None:
            continue
        partners = where.get(mirrored, [])
        if len(partners) == 1 and len(where[words]) == 1:
            pairs.add((min(index, partners[0]), max(index, partners[0])))
        else:
            unpaired.append(keypoints[index])
    return tuple(sorted(pairs)), tuple(unpaired)
