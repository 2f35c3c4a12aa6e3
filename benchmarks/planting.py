"""Label errors planted into COCO files, each of them known, for what looks for label errors to be measured by."""

from collections.abc import Callable

import numpy as np

from centerkp.schema import Schema

SHARE = 0.05  # of all objects, for each kind
SIGMAS = 5  # by which a point is shifted
KINDS = ("missing", "shifted", "exchanged", "class")


def plant_errors(content: dict, schema: Schema, seed: int, share: float = SHARE) -> tuple[dict, list[dict]]:
    """A copy of a COCO file's content with errors in its labels, none with two of them, and what was planted.

    An object is missing; one of its points is shifted by five OKS sigmas, in a direction that stays in the picture; its points
    are exchanged left for right (two of them at random where the class has no sides); or it has another class, and no points.

    Returns:
        The content, and of each error `kind`, `image_id`, `annotation_id` and `bbox`, that of before.
    """
    rng = np.random.default_rng(seed)
    sizes = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
    entries = {a["id"]: dict(a) for a in content["annotations"]}
    free = [a["id"] for a in content["annotations"] if not a.get("iscrowd")]
    count, planted = round(share * len(free)), []
    for kind in KINDS if schema.num_classes > 1 else KINDS[:-1]:
        done = 0
        for annotation_id in rng.permutation(free).tolist():
            changed = _MAKERS[kind](entries[annotation_id], schema, sizes, rng) if done < count else None
            if changed is not None:
                before = entries[annotation_id]
                planted.append({"kind": kind, "annotation_id": annotation_id} | {k: before[k] for k in ("image_id", "bbox")})
                entries[annotation_id] = changed
                free.remove(annotation_id)
                done += 1
    return content | {"annotations": [a for a in entries.values() if a]}, planted


def _shift(entry: dict, schema: Schema, sizes: dict, rng: np.random.Generator) -> dict | None:
    points, kind = _points_of(entry), _class_of(entry, schema)
    seen = np.flatnonzero(points[:, 2] > 0)
    if not len(seen):
        return None
    k = int(rng.choice(seen))
    length = SIGMAS * kind.oks_sigmas[k] * np.sqrt(entry["area"])
    for _ in range(20):
        angle = rng.uniform(0, 2 * np.pi)
        moved = points[k, :2] + length * np.array([np.cos(angle), np.sin(angle)])
        if (moved >= 0).all() and (moved <= np.array(sizes[entry["image_id"]]) - 1).all():
            points[k, :2] = moved.round(2)
            return entry | {"keypoints": points.ravel().tolist()}
    return None


def _exchange(entry: dict, schema: Schema, sizes: dict, rng: np.random.Generator) -> dict | None:
    points, kind = _points_of(entry), _class_of(entry, schema)
    seen = np.flatnonzero(points[:, 2] > 0)
    pairs = [pair for pair in kind.flip_pairs if set(pair) <= set(seen.tolist())]
    if not kind.flip_pairs and len(seen) > 1:
        pairs = [rng.choice(seen, 2, replace=False).tolist()]
    for a, b in pairs:
        points[[a, b]] = points[[b, a]]
    return entry | {"keypoints": points.ravel().tolist()} if pairs else None


def _change_class(entry: dict, schema: Schema, sizes: dict, rng: np.random.Generator) -> dict:
    other = schema.classes[int(rng.choice([i for i, c in enumerate(schema.classes) if c.category_id != entry["category_id"]]))]
    blank = {"keypoints": [0, 0, 0] * len(other.keypoints), "num_keypoints": 0} if other.keypoints else {}
    rest = {k: v for k, v in entry.items() if k not in ("keypoints", "num_keypoints")}
    return rest | {"category_id": other.category_id} | blank


def _points_of(entry: dict) -> np.ndarray:
    return np.array(entry.get("keypoints") or [], float).reshape(-1, 3)


def _class_of(entry: dict, schema: Schema):
    return next(c for c in schema.classes if c.category_id == entry["category_id"])


_MAKERS: dict[str, Callable] = {
    "missing": lambda *_: {}, "shifted": _shift, "exchanged": _exchange, "class": _change_class,
}  # fmt: skip
