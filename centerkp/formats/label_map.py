"""The label map of the Object Detection API, label_map.pbtxt: reads it as COCO categories, and writes it."""

from collections.abc import Sequence
from pathlib import Path

from centerkp.formats.text_format import first_value, quote_text, read_text_format
from centerkp.schema import Schema
from centerkp.writing import WriteGuard, replacing


def read_label_map(path: str | Path) -> list[dict]:
    """Reads the items of a label_map.pbtxt as COCO categories.

    Beside `id`, `name` and `keypoints` they have `label`, what pipelines and records may call the class instead, and
    `keypoint_ids`, None for a keypoint without one.

    Raises:
        FileNotFoundError, ValueError: no such file, not in this form, or an item without id or name.
    """
    categories = []
    for item in read_text_format(path).get("item", []):
        if not isinstance(item, dict):
            raise ValueError(f"{path}: found an item '{item}', expected one such as item {{ id: 1 name: 'person' }}.")
        names = [name for key in ("display_name", "name") if (name := first_value(item, key, ""))]
        number = first_value(item, "id", "")
        if not names or not number.isdecimal() or not int(number):
            raise ValueError(f"{path}: found an item with id '{number}', names {names}, expected an id from 1 on and a name.")
        points = item.get("keypoints", [])
        keypoints = [first_value(point, "label", "") for point in points]
        texts = [first_value(point, "id", "") for point in points]
        ids = [int(text) if text.isdecimal() else None for text in texts]
        categories.append(
            {"id": int(number), "name": names[0], "label": names[-1], "keypoints": keypoints, "keypoint_ids": ids}
        )
    if not categories:
        raise ValueError(f"{path}: found no item, expected a label map such as item {{ id: 1 name: 'person' }}.")
    return categories


def label_ids(schema: Schema) -> list[int]:
    """The id of each class in a label map and TFRecords: its category id, or 1, 2, 3, ... where one is below 1.

    The Object Detection API keeps 0 for the background.
    """
    ids = [kind.category_id for kind in schema.classes]
    return ids if min(ids) > 0 else list(range(1, len(ids) + 1))


def format_label_map(schema: Schema) -> str:
    """The text of a label_map.pbtxt; the id of a keypoint is its place on the flat axis, from 0, as in records."""
    lines = []
    for class_id, (label_id, kind) in enumerate(zip(label_ids(schema), schema.classes, strict=True)):
        start = schema.keypoint_slice(class_id).start
        lines += ["item {", f"  id: {label_id}", f"  name: {quote_text(kind.name)}"]
        for place, name in enumerate(kind.keypoints, start):
            lines += ["  keypoints {", f"    id: {place}", f"    label: {quote_text(name)}", "  }"]
        lines.append("}")
    return "\n".join(lines) + "\n"


def write_label_map(path: str | Path, schema: Schema, *, reads: Sequence[str | Path] = (), overwrite: bool = False) -> None:
    """Writes label_map.pbtxt whole or not at all.

    Args:
        reads: what the schema was read from, never written over.

    Raises:
        FileExistsError: there is another file of that name, and `overwrite` is False.
    """
    text = format_label_map(schema).encode()
    WriteGuard(reads, overwrite).check([path], lambda found: found.read_bytes() == text)
    with replacing(path) as part:
        part.write_bytes(text)  # as compared above, also where text files end their lines otherwise
