"""Reads a COCO JSON: file -> tables -> annotations -> records. All checks happen here, everything after trusts them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from centerkp.formats.foreign import recognise_bytes, recognise_list, recognise_object
from centerkp.labels.annotations import Annotations, read_annotations
from centerkp.labels.faults import Remarks
from centerkp.labels.image_files import image_folders, require_images
from centerkp.labels.records import Dataset, Images, build_dataset
from centerkp.labels.tables import NOUNS, Table, read_categories, read_images
from centerkp.schema import OksSigmas, Schema
from centerkp.sides import FlipPairs
from centerkp.symmetry.verdict import settle_sides
from centerkp.wording import quote


def read_coco(
    path: str | Path,
    *,
    images_dir: str | Path | None = None,
    schema: Schema | None = None,
    flip_pairs: FlipPairs = None,
    oks_sigmas: OksSigmas = None,
    check_images: bool = True,
    stretch: str | None = None,
) -> Dataset:
    """Reads a COCO JSON with its images, mends what is harmless and refuses the rest with a report of all faults.

    Args:
        images_dir: where the images are; without it beside the JSON, in its `images/` folder, or in `../images`.
        schema: the training schema, to read a validation file: categories are matched by name, keypoints by their names.
            Without it the schema is built from the file, with `flip_pairs` and `oks_sigmas` as in `Schema.from_coco`, and
            the places of keypoints have a say in what swaps (`settle_sides`).
        check_images: decodes every image once, compares its size with the JSON's, and leaves unreadable ones out. When
            False, the JSON's sizes are trusted, and only headers are read where it has none.
        stretch: what is black and white in pictures of more than 8 bits, as "7500,7560"; "auto" measures the range that they
            use. Without it they keep their whole range.

    Raises:
        FileNotFoundError: there is no such file or images folder.
        ValueError: the file is not COCO, contradicts itself or the schema, or no image is usable.
    """
    file = read_label_file(path, images_dir, schema, flip_pairs, oks_sigmas)
    return make_dataset(file, settle=schema is None, check_images=check_images, stretch=stretch)


@dataclass(eq=False)
class LabelFile:
    """A COCO file without faults, its images found but not opened: rows are places in the lists of `content`."""

    path: Path
    content: dict
    schema: Schema
    images: Images
    annotations: Annotations
    remarks: Remarks


def make_dataset(file: LabelFile, *, settle: bool, **options: Any) -> Dataset:
    """The records of a COCO file that was read; `settle` lets places decide on flip pairs, `options` as in `build_dataset`."""
    if settle:
        file.schema, notes = settle_sides(file.schema, vars(file.annotations))
        for note in notes:
            file.remarks.add_sentence(note.sentence)
    return build_dataset(file.schema, file.images, file.annotations, file.remarks, **options)


def read_label_file(
    path: str | Path,
    images_dir: str | Path | None = None,
    schema: Schema | None = None,
    flip_pairs: FlipPairs = None,
    oks_sigmas: OksSigmas = None,
    content: dict | None = None,
) -> LabelFile:
    """Reads a COCO file, or `content` in its place, as `read_coco` does, but opens no image and changes nothing."""
    path = Path(path)
    content, remarks = read_coco_json(path) if content is None else content, Remarks(path)
    schema, places = match_schema(path, _require_categories(content, remarks), schema, flip_pairs, oks_sigmas)
    table = Table(content, "images", remarks)
    ids, names, sizes = read_images(table)
    images = Images(ids, names, require_images(table, names, image_folders(path, images_dir)), sizes)
    rows = {image_id: row for row, image_id in enumerate(ids) if image_id is not None}
    annotations = read_annotations(Table(content, "annotations", remarks), rows, names, places, schema)
    remarks.raise_faults()
    return LabelFile(path, content, schema, images, annotations, remarks)


def read_schema(
    path: str | Path, content: Mapping | None = None, *, flip_pairs: FlipPairs = None, oks_sigmas: OksSigmas = None
) -> Schema:
    """The classes and keypoints of a COCO file alone; its images and annotations are not looked at.

    Args:
        content: what `read_coco_json` read there before.
        flip_pairs, oks_sigmas: as in `Schema.from_coco`.

    Raises:
        FileNotFoundError, ValueError: as `read_coco`.
    """
    path = Path(path)
    content = read_coco_json(path) if content is None else content
    return match_schema(path, _require_categories(content, Remarks(path)), None, flip_pairs, oks_sigmas)[0]


def _require_categories(content: Mapping, remarks: Remarks) -> list[dict]:
    """The categories of a COCO JSON, before anything else is read; their faults are raised at once."""
    categories = read_categories(Table(content, "categories", remarks))
    remarks.raise_faults()  # without classes nothing else can be judged
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


class NotCoco(ValueError):
    """A file that is no COCO dataset: what was found in place of which, and what to do."""

    def __init__(self, path: Path, found: str, remedy: str):
        super().__init__(f"{path}: {found}; {remedy}.")
        self.found, self.remedy = found, remedy


def read_coco_json(path: Path) -> dict:
    """Loads a COCO dataset and says what the file seems to be when it is something else.

    The three lists 'images', 'annotations' and 'categories' are there afterwards; what stands in them is not yet checked.

    Raises:
        FileNotFoundError: there is no such file.
        NotCoco: the file is no COCO dataset.
    """
    return require_coco(path, load_json(path))


def load_json(path: Path) -> Any:
    """Loads a JSON, be it COCO or not, in UTF-8 or UTF-16, with or without a byte order mark; raises as `read_coco_json`."""
    if path.is_dir():
        inside = sorted(p.name for p in path.glob("*.json"))[:10]
        raise _not_coco(path, f"a folder with the JSON files {inside}", "give one JSON file")
    if not path.exists():
        raise FileNotFoundError(f"{path}: found no such file, expected a COCO JSON; check the path.")
    data = path.read_bytes()
    try:
        content = json.loads(data, object_pairs_hook=_read_json_object)
    except _RepeatedKey as error:
        raise NotCoco(path, str(error), "join the two, or delete one") from None
    except (ValueError, RecursionError) as error:
        raise _not_coco(path, *recognise_bytes(path, data, error)) from None
    return content


def require_coco(path: Path, content: Any) -> dict:
    """What a JSON holds, if it is a COCO dataset as `read_coco_json` promises it; raises NotCoco else."""
    if not isinstance(content, dict):
        raise _not_coco(path, *recognise_list(content))
    lacking = [key for key in NOUNS if not isinstance(content.get(key), list)]
    if lacking:
        raise _not_coco(path, *recognise_object(content, lacking))
    for key in ("images", "categories"):
        if not content[key]:
            found = f"found an empty list '{key}', expected at least one entry"
            raise NotCoco(path, found, "check the export's settings")
    return content


class _RepeatedKey(ValueError):
    pass


def _read_json_object(pairs: list[tuple[str, object]]) -> dict:
    """One object while a COCO JSON is loaded; refuses a key that stands twice with different values."""
    content = dict(pairs)
    if len(content) < len(pairs):
        strange = next((key for key, value in pairs if value is not content[key] and value != content[key]), None)
        if strange is not None:
            where = f"the object with id {quote(content['id'])}" if "id" in content else f"the object of {quote(list(content))}"
            raise _RepeatedKey(f"found the key {strange!r} twice with different values in {where}, expected it once")
    return content


def _not_coco(path: Path, found: str, remedy: str) -> NotCoco:
    """The error of reading a COCO JSON when the file seems to be something else."""
    expected = "a COCO dataset (a JSON object with the lists 'images', 'annotations' and 'categories')"
    return NotCoco(path, f"found what seems to be {found}, expected {expected}", remedy)
