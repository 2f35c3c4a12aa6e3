"""Several label files as one dataset: categories of one name become one, everything else is numbered anew."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from centerkp.formats.gathering import complete_keypoints, gathered_keypoints
from centerkp.images.kinds import real_path
from centerkp.labels.content import Paths, Source, list_paths, name_paths, open_label_file
from centerkp.labels.faults import Remarks
from centerkp.labels.label_file import LabelFile, read_source
from centerkp.labels.relocate import relocate_names
from centerkp.labels.tables import read_integer
from centerkp.wording import count_of

# What a category may say about its keypoints besides their names; the rest (colours, ids of other tools) is nobody's business.
DETAILS = ("skeleton", "flip_pairs", "oks_sigmas")


def open_label_files(paths: Paths, images_dir: Paths | None = None) -> Source:
    """Loads the label files of a dataset; several are joined as `merge_coco` joins them, and nothing is written.

    Args:
        images_dir: none, one folder for all files, or one for each.

    Raises:
        FileNotFoundError, ValueError: as `load_json`; several are judged here, one is not.
    """
    pairs = pair_images(paths, images_dir)
    if len(pairs) == 1:
        return open_label_file(*pairs[0])
    files = read_together(pairs)
    remarks = Remarks(name_paths(paths))
    content = join_contents(files, remarks)
    place = pairs[0][0] / "labels.json" if pairs[0][0].is_dir() else pairs[0][0]
    rename_images(content, files, place)
    told = [f"{file.path.name}: {note}" for file in files for note in file.derived]
    # Of the images, which have other names now; what is mended in the objects, the joined labels have as well.
    told += [f"{file.path.name}: {note.sentence}" for file in files for note in file.remarks.notes if note.noun == "image"]
    read = tuple(one for file in files for one in file.files)
    named = tuple(path for path, _ in pairs)
    return Source(remarks.path, place, content, None, [*told, *remarks.sentences], read, named)


def read_together(pairs: Sequence[tuple[Path, Path | None]]) -> list[LabelFile]:
    """The label files of a dataset, each judged by itself; keypoints that tools name only where they set them are of all.

    They stand in the order of the files that have one.
    """
    sources = [open_label_file(*pair) for pair in pairs]
    gathered = [gathered_keypoints(source.content) for source in sources]
    names: dict[str, dict[str, None]] = {}
    for source, own in zip(sources, gathered, strict=True):
        for category in source.content["categories"]:
            if isinstance(category, dict) and (name := str(category.get("name"))) not in own:
                points = category.get("keypoints")
                names.setdefault(name, dict.fromkeys(map(str, points if isinstance(points, list) else ())))
    for own in gathered:
        for name, keypoints in own.items():
            names.setdefault(name, {}).update(dict.fromkeys(keypoints))
    for source in sources:
        complete_keypoints(source.content, {name: list(keypoints) for name, keypoints in names.items()})
    return [read_source(source) for source in sources]


def pair_images(paths: Paths, images_dir: Paths | None = None) -> list[tuple[Path, Path | None]]:
    """Each label file with the folder of its images: that of the same place, one for all, or None.

    Raises:
        ValueError: the numbers do not fit, or a file stands twice.
    """
    files, folders = list_paths(paths), list_paths(images_dir)
    if len(folders) not in (0, 1, len(files)):
        raise ValueError(
            f"{name_paths(paths)}: found {len(folders)} images folders for {count_of(len(files), 'file')}, expected none, one, "
            "or one for each file; give them in the order of the files."
        )
    places = [real_path(file) for file in files]
    repeated = {str(file) for file, place in zip(files, places, strict=True) if places.count(place) > 1}
    if repeated:
        raise ValueError(f"{files[0]}: found {sorted(repeated)} twice among the files, expected each once; leave one out.")
    own: list[Path] | list[None] = folders * len(files) if len(folders) == 1 else folders or [None] * len(files)
    return list(zip(files, own, strict=True))


def rename_images(content: dict, files: Sequence[LabelFile], place: Path) -> None:
    """Gives the images of joined label files the names that lead to them from a JSON at `place`."""
    paths = [path for file in files for path in file.images.paths]
    names = relocate_names([image["file_name"] for image in content["images"]], paths, place)
    content["images"] = [image | {"file_name": name} for image, name in zip(content["images"], names, strict=True)]


def join_contents(sources: Sequence[LabelFile], remarks: Remarks) -> dict:
    """The content of one COCO file with the images and annotations of several, as `merge_coco` says; image names stay.

    Raises:
        ValueError: two files contradict each other.
    """
    categories, category_ids = _join_categories(sources, remarks)
    content = _join_other_keys(sources, remarks)
    licenses, license_ids = _join_licenses(sources)
    if licenses:
        content["licenses"] = licenses
    images, annotations = [], []
    for source, new_ids, new_licenses in zip(sources, category_ids, license_ids, strict=True):
        first = len(images) + 1
        images += [_renumber_image(image, first + row, new_licenses) for row, image in enumerate(source.content["images"])]
        numbers = [new_ids[kind.category_id] for kind in source.schema.classes]
        columns = ((first + source.annotations.image_rows).tolist(), source.annotations.class_ids.tolist())
        for a, image_id, class_id in zip(source.content["annotations"], *columns, strict=True):
            annotations.append(a | {"id": len(annotations) + 1, "image_id": image_id, "category_id": numbers[class_id]})
    _note_duplicates(sources, remarks)
    return content | {"images": images, "annotations": annotations, "categories": categories}


def _join_categories(sources: Sequence[LabelFile], remarks: Remarks) -> tuple[list[dict], list[dict[int, int]]]:
    """The categories of the merged file, and for each source old id -> new id."""
    joined: dict[str, tuple[dict, Path]] = {}
    used: set[int] = set()
    new_ids: list[dict[int, int]] = []
    for source in sources:
        new_ids.append({})
        for category in source.content["categories"]:
            name, own_id = str(category["name"]), read_integer(category["id"])
            if name in joined:
                _join_category(joined[name], category, source.path, remarks)
            else:
                new_id = own_id if own_id not in used else max(used) + 1
                used.add(new_id)
                joined[name] = category | {"id": new_id}, source.path
            new_ids[-1][own_id] = joined[name][0]["id"]
    return [category for category, _ in joined.values()], new_ids


def _join_category(known: tuple[dict, Path], category: dict, path: Path, remarks: Remarks) -> None:
    """Adds to a category of the merged file what it lacks; raises when the keypoints differ."""
    (first, first_path), name = known, category["name"]
    ours, theirs = (list(map(str, c.get("keypoints") or [])) for c in (first, category))
    if ours != theirs:
        raise ValueError(
            f"category '{name}': found the keypoints {ours} in {first_path} and {theirs} in {path}, expected the same in the "
            "same order; rename or reorder them, or give one of the categories another name."
        )
    for key, value in category.items():
        if first.get(key) in (None, [], "") and key != "id":
            first[key] = value
        elif key in DETAILS and value and value != first[key]:
            remarks.add_sentence(f"category '{name}': {key} of {path} differs from that of {first_path}, which is kept")


def _join_licenses(sources: Sequence[LabelFile]) -> tuple[list[dict], list[dict]]:
    """The licences of the merged file, each once, and for each source old id -> new id."""
    joined: dict[str, dict] = {}
    new_ids: list[dict] = []
    for source in sources:
        new_ids.append({})
        licenses = source.content.get("licenses")
        for entry in licenses if isinstance(licenses, list) else []:
            if isinstance(entry, dict):
                text = json.dumps({k: v for k, v in entry.items() if k != "id"}, sort_keys=True)
                kept = joined.setdefault(text, entry | {"id": len(joined) + 1})
                new_ids[-1][str(entry.get("id"))] = kept["id"]
    return list(joined.values()), new_ids


def _join_other_keys(sources: Sequence[LabelFile], remarks: Remarks) -> dict:
    """What the merged file holds besides COCO's lists, from the first source that has it."""
    content: dict = {}
    for source in sources:
        for key, value in source.content.items():
            if key in ("images", "annotations", "categories", "licenses"):
                continue
            if content.setdefault(key, value) != value:
                remarks.add_sentence(f"'{key}' of {source.path} differs from that of an earlier file, which is kept")
    return content


def _renumber_image(image: dict, image_id: int, new_licenses: dict) -> dict:
    """An image's entry in the merged file, with its new ids of image and licence."""
    license_id = new_licenses.get(str(image.get("license")))
    return image | {"id": image_id} | ({} if license_id is None else {"license": license_id})


def _note_duplicates(sources: Sequence[LabelFile], remarks: Remarks) -> None:
    """Notes images of the merged files that are one file, and different files with the same bytes."""
    listed = [(real_path(path), source.path.name) for source in sources for path in source.images.paths]
    for kind, groups in (
        ("the same file listed more than once; join their annotations, or keep one", _find_listed_twice(listed)),
        ("different files with the same content; keep one of each", _find_equal_files({path for path, _ in listed})),
    ):
        lines = [list(dict.fromkeys(map(str, group))) for group in groups]
        texts = [" = ".join(line[:3]) + (f" = {len(line) - 3} more" if len(line) > 3 else "") for line in lines]
        remarks.add_note("image", len(groups), kind, texts)


def _find_listed_twice(listed: Iterable[tuple[Path, str]]) -> list[list[str]]:
    """Images that the merged files list more than once."""
    users = defaultdict(list)
    for path, source in listed:
        users[path].append(f"{path.name} ({source})")
    return [names for names in users.values() if len(names) > 1]


def _find_equal_files(paths: Iterable[Path]) -> list[list[Path]]:
    """Image files of merged datasets with the same bytes; only those of equal size are read."""
    sizes, contents = defaultdict(list), defaultdict(list)
    for path in sorted(paths):
        with suppress(OSError):  # a link that leads nowhere is a picture that cannot be read, of which others tell
            sizes[path.stat().st_size].append(path)
    for same in sizes.values():
        for path in same if len(same) > 1 else []:
            with suppress(OSError):
                contents[hashlib.sha256(path.read_bytes()).digest()].append(path)
    return [same for same in contents.values() if len(same) > 1]
