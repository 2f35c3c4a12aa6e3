"""One COCO file: its classes, its images, found but not opened, and its annotations, checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from centerkp.formats.gathering import complete_keypoints
from centerkp.labels.annotations import Annotations, read_annotations
from centerkp.labels.content import Source, list_words
from centerkp.labels.faults import Remarks
from centerkp.labels.image_files import require_images
from centerkp.labels.records import Images
from centerkp.labels.tables import Table, read_categories, read_images
from centerkp.schema import OksSigmas, Schema
from centerkp.sides import FlipPairs


@dataclass(eq=False)
class LabelFile:
    """A label file without faults, its images found but not opened: rows are places in the lists of `content`.

    `derived` are notes on what another tool's file lacked, which stands in `content` now; `files` are those of its `Source`.
    """

    path: Path
    content: dict
    schema: Schema
    images: Images
    annotations: Annotations
    remarks: Remarks
    derived: Sequence[str] = ()
    files: Sequence[Path] = ()


def read_source(
    source: Source, schema: Schema | None = None, flip_pairs: FlipPairs = None, oks_sigmas: OksSigmas = None
) -> LabelFile:
    """Checks loaded labels as `read_coco` does, and refuses what it does, but opens no image and changes nothing."""
    content, remarks = source.content, Remarks(source.path)
    complete_keypoints(content, {kind.name: kind.keypoints for kind in schema.classes} if schema else {})
    for note in source.notes:
        remarks.add_sentence(note)
    command = f"centerkp check {list_words(source.named or source.path)} --fix mended.json"
    schema, places = match_schema(source.path, _require_categories(content, remarks, command), schema, flip_pairs, oks_sigmas)
    table = Table(content, "images", remarks)
    ids, names, sizes = read_images(table)
    images = Images(ids, names, require_images(table, names, source.folders), sizes)
    rows = {image_id: row for row, image_id in enumerate(ids) if image_id is not None}
    annotations = read_annotations(Table(content, "annotations", remarks), rows, names, places, schema)
    remarks.raise_faults(command)
    return LabelFile(source.path, content, schema, images, annotations, remarks, source.notes, source.files)


def schema_of(path: Path, content: Mapping, flip_pairs: FlipPairs = None, oks_sigmas: OksSigmas = None) -> Schema:
    """The classes and keypoints of a COCO file's content; its images and annotations are not looked at."""
    return match_schema(path, _require_categories(content, Remarks(path)), None, flip_pairs, oks_sigmas)[0]


def _require_categories(content: Mapping, remarks: Remarks, command: str = "") -> list[dict]:
    """The categories of a COCO JSON, before anything else is read; their faults are raised at once, as `raise_faults` does."""
    categories = read_categories(Table(content, "categories", remarks))
    remarks.raise_faults(command)  # without classes nothing else can be judged
    return categories


def match_schema(
    path: Path,
    categories: Sequence[Mapping],
    schema: Schema | None,
    flip_pairs: FlipPairs = None,
    oks_sigmas: OksSigmas = None,
    of: str = "the training data",
) -> tuple[Schema, dict[int, tuple[int, list[int]]]]:
    """Fits a COCO file's categories to a given schema; without one they make the schema.

    Args:
        of: whose the given schema is, for errors.

    Returns:
        The schema, and category id -> class id and the places of the class's keypoints in the file's vectors.
    """
    try:
        own = Schema.from_coco({"categories": categories}, flip_pairs=flip_pairs, oks_sigmas=oks_sigmas)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    schema = own if schema is None else schema
    strangers = [name for name in own.class_names if name not in schema.class_names]
    if strangers:
        raise ValueError(
            f"{path}: found the categories {strangers}, expected none but those of {of} "
            f"{list(schema.class_names)}; rename them in the file, or delete them with their annotations."
        )
    places = {}
    for kind in own.classes:
        class_id = schema.class_id(kind.name)
        names = schema.classes[class_id].keypoints
        if set(names) != set(kind.keypoints):
            raise ValueError(
                f"{path}: category '{kind.name}': found the keypoints {list(kind.keypoints)}, expected those of {of} "
                f"{list(names)} in any order; rename them in the file."
            )
        places[kind.category_id] = class_id, [kind.keypoints.index(name) for name in names]
    return schema, places
