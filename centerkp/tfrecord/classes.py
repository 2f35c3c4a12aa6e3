"""What the labels in TFRecords mean: classes by text or id, and where in an object's list its keypoints stand."""

from dataclasses import dataclass, field
from pathlib import Path

from centerkp.formats.label_map import label_ids, read_label_map
from centerkp.labels.coco import read_schema
from centerkp.labels.label_file import match_schema
from centerkp.schema import OksSigmas, Schema
from centerkp.sides import FlipPairs
from centerkp.wording import quote

_OTHER_MAP = "give the label map that they were written with"


class Unusable(Exception):
    """Why a record cannot be read: the kind of fault, what to do, and what this record has."""

    def __init__(self, kind: str, remedy: str, found: str):
        super().__init__(kind)
        self.kind, self.remedy, self.found, self.where = kind, remedy, found, ""


@dataclass(eq=False)
class RecordLabels:
    """What labels in records mean: texts and ids of classes, and for each class id where its keypoints may stand.

    `places[class_id]` lists the ways in which a vector of some length may be laid out, as (length or None, (n,) indices of the
    class's keypoints in schema order); `None` stands for any length that is long enough.
    """

    schema: Schema
    by_text: dict[str, int]
    by_id: dict[int, int]
    places: dict[int, list[tuple[int | None, list[int]]]]
    known: dict = field(default_factory=dict)  # layouts that were found already

    def class_id(self, text: str, label: int | None) -> int:
        """The class of an object in a TFRecord: by its text; by its label in records without texts."""
        found = self.by_text.get(text) if text else self.by_id.get(label)
        if found is None:
            what = f"class {quote(text or label)}; known are {quote(sorted(self.by_text))}"
            raise Unusable("classes that the label map does not hold", _OTHER_MAP, what)
        return found

    def layout(self, class_id: int, length: int, texts: tuple[str, ...]) -> list[int]:
        """Where a class's keypoints stand in a TFRecord object's vector of `length` points named `texts` or ()."""
        key = class_id, length, texts
        if key not in self.known:
            self.known[key] = self._find_layout(*key)
        return self.known[key]

    def _find_layout(self, class_id: int, length: int, texts: tuple[str, ...]) -> list[int]:
        """Where a class's keypoints stand in a TFRecord object's vector, by places or names; kept by `layout`."""
        names = self.schema.classes[class_id].keypoints
        for wanted, indices in self.places.get(class_id, []):
            if wanted in (None, length) and max(indices, default=-1) < length:
                if not texts or tuple(texts[i] for i in indices) == names:
                    return indices
        if texts and all(texts.count(name) == 1 for name in names):
            return [texts.index(name) for name in names]
        kind = self.schema.class_names[class_id]
        found = (
            f"{length} keypoints an object{' named ' + quote(list(texts)) if texts else ''}, '{kind}' has {quote(list(names))}"
        )
        raise Unusable("keypoints that do not fit the label map", _OTHER_MAP, found)


def read_record_labels(
    label_map: str | Path | None, schema: Schema | None, flip_pairs: FlipPairs = None, oks_sigmas: OksSigmas = None
) -> RecordLabels:
    """What the labels in TFRecords mean, by a label_map.pbtxt or a COCO JSON; without either, as records of `schema` are.

    Raises:
        FileNotFoundError, ValueError: there is no such file, it is none of the two, or it does not fit the schema.
    """
    if label_map is None and schema is None:
        raise ValueError(
            "TFRecords: found no label map, expected the names of classes and keypoints; pass --label-map label_map.pbtxt."
        )
    if label_map is None or Path(label_map).suffix.lower() == ".json":
        own = schema if label_map is None else read_schema(label_map, flip_pairs=flip_pairs, oks_sigmas=oks_sigmas)
        schema, categories = schema or own, _list_categories(own)
    else:
        categories = read_label_map(label_map)
    schema, orders = match_schema(Path(label_map or "TFRecords"), categories, schema, flip_pairs, oks_sigmas)
    by_text, by_id, places, start = {}, {}, {}, 0
    total = sum(len(category["keypoints"]) for category in categories)
    for category in sorted(categories, key=lambda category: category["id"]):
        class_id, order = orders[category["id"]]
        by_id[category["id"]] = class_id
        by_text |= {category["name"]: class_id, category["label"]: class_id}
        ids, count = category["keypoint_ids"], len(category["keypoints"])
        # The API takes the ids for places in the record; without ids the classes' keypoints may stand one after the other.
        layouts: list[tuple[int | None, list[int]]] = [] if None in ids or len(set(ids)) < count else [(None, ids)]
        layouts += [(total, list(range(start, start + count))), (count, list(range(count)))]
        places[class_id] = [(length, [layout[i] for i in order]) for length, layout in layouts]
        start += count
    return RecordLabels(schema, by_text, by_id, places)


def _list_categories(schema: Schema) -> list[dict]:
    """The classes of TFRecords that `schema` wrote, as categories such as `read_label_map` gives."""
    return [
        {
            "id": number,
            "name": kind.name,
            "label": kind.name,
            "keypoints": list(kind.keypoints),
            "keypoint_ids": list(range(schema.num_keypoints))[schema.keypoint_slice(class_id)],
        }
        for class_id, (number, kind) in enumerate(zip(label_ids(schema), schema.classes, strict=True))
    ]
