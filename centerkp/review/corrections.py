"""Suspects as a COCO JSON for a labelling tool, and the labels again with the corrections that the user accepted in it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from centerkp.formats.gathering import complete_keypoints
from centerkp.labels.coco import read_label_file
from centerkp.labels.content import load_json, require_coco
from centerkp.labels.joining import open_label_files
from centerkp.labels.label_file import LabelFile, read_source, schema_of
from centerkp.labels.records import Record
from centerkp.labels.relocate import relocate_names
from centerkp.review.suspects import KINDS, Label, Suspect
from centerkp.schema import Schema
from centerkp.wording import count_of, quote
from centerkp.writing import WriteGuard, mark, write_json

OWN = ("suspect", "reason", "score", "accept", "proposal")  # what stands in an annotation besides what COCO has


def write_suspects(
    path: str | Path,
    coco: str | Path,
    suspects: Sequence[Suspect],
    records: Sequence[Record],
    schema: Schema,
    images_dir: str | Path | None = None,
) -> Path:
    """Writes the suspects as a COCO JSON: their images, and an annotation for each, the worst first.

    An annotation is that of the label file, or what to label where there is none, and has besides `suspect` (its kind),
    `reason`, `score`, `accept` (false, for the user to turn to true) and `proposal`: the fields to put in place of the
    annotation's own, null to delete it. Coordinates are in the frame of the label file.
    """
    source = read_label_file(coco, images_dir, schema)
    row_of = {image_id: row for row, image_id in enumerate(source.images.ids)}
    entry_of = dict(zip(source.annotations.ids.tolist(), source.content["annotations"], strict=True))
    free, entries = max(entry_of, default=0) + 1, []
    for suspect in suspects:
        record = records[suspect.row]
        size = source.images.sizes[row_of[record.image_id]]
        scale = size / (record.width, record.height) if size.all() else np.ones(2)
        whole = None if suspect.proposal is None else _to_entry(suspect.proposal, source, scale, record)
        if suspect.index is None:
            entry = {"id": free, "image_id": record.image_id, "iscrowd": 0} | whole
            free, proposal = free + 1, whole
        else:
            annotation_id = int(record.annotation_ids[suspect.index])
            entry = entry_of[annotation_id] | {"id": annotation_id}
            proposal = whole and _choose_fields(suspect.kind, whole, entry)
        told = {"suspect": suspect.kind, "reason": suspect.reason, "score": round(suspect.score, 4)}
        entries.append(entry | told | {"accept": False, "proposal": proposal})
    rows = sorted({row_of[records[s.row].image_id] for s in suspects})
    images = [source.content["images"][row] for row in rows]
    names = relocate_names([i["file_name"] for i in images], [source.images.paths[row] for row in rows], Path(path))
    images = [image | {"file_name": name} for image, name in zip(images, names, strict=True)]
    content = {"info": {"description": mark("review")}, "images": images, "categories": source.content["categories"]}
    return write_json(path, content | {"annotations": entries}, indent=1)


def _to_entry(label: Label, source: LabelFile, scale: np.ndarray, record: Record) -> dict:
    """A proposed label as fields of an annotation, in the frame of the label file and its order of keypoints."""
    kind = source.schema.classes[label.class_id]
    category = next(c for c in source.content["categories"] if str(c["name"]) == kind.name)
    x0, y0, x1, y1 = np.clip(label.box_xyxy, 0, np.tile((record.width, record.height), 2)) * np.tile(scale, 2)
    entry = {"category_id": category["id"], "bbox": [round(float(v), 2) for v in (x0, y0, x1 - x0, y1 - y0)]}
    entry["area"] = round(entry["bbox"][2] * entry["bbox"][3], 2)
    inside = ((label.points_xy >= 0) & (label.points_xy <= (record.width, record.height))).all(-1)
    seen = np.where(inside, label.visibility, 0)
    points = np.where(seen[:, None] > 0, label.points_xy * scale, 0).round(2)
    order = [kind.keypoints.index(str(name)) for name in category.get("keypoints") or ()]
    vector = [v for k in order for v in (*points[k].tolist(), int(seen[k]))]
    return entry | {"keypoints": vector, "num_keypoints": int((seen > 0).sum())}


def _choose_fields(kind: str, whole: dict, entry: Mapping) -> dict:
    """The fields that a correction of this kind changes in an annotation; an area goes with the box that it was the area of."""
    names = {"class": ["category_id"], "box": ["bbox"]}.get(kind, []) + ["keypoints", "num_keypoints"] * (kind != "box")
    x, y, width, height = entry.get("bbox") or (0, 0, 0, 0)
    if kind == "box" and np.isclose(width * height, entry.get("area") or 0, rtol=0.01):
        names.append("area")
    return {name: whole[name] for name in names}


def apply_accepted(
    coco: str | Path,
    accepted: str | Path,
    out: str | Path,
    *,
    images_dir: str | Path | None = None,
    overwrite: bool = False,
) -> dict[str, int]:
    """Writes a copy of a label file with the corrections whose `accept` is true in a file of suspects; all else stays.

    Returns:
        How many corrections of each kind there were.

    Raises:
        ValueError: nothing is accepted, the file is none of suspects, or its labels are not those of the label file any more.
        FileExistsError: `out` is there already.
    """
    chosen, keypoints = _read_accepted(Path(accepted))
    opened = open_label_files(coco, images_dir)
    complete_keypoints(opened.content, keypoints)  # a tool that lists only labelled ones has no order of its own
    source = read_source(opened)
    WriteGuard([accepted, *source.files, *source.images.paths], overwrite).check([out])
    entries = dict(zip(source.annotations.ids.tolist(), source.content["annotations"], strict=True))
    _refuse_others(chosen, entries, source, Path(accepted))
    free, counts = max(entries, default=0) + 1, {}
    for suspect in chosen:
        kind, proposal = suspect["suspect"], suspect["proposal"]
        counts[kind] = counts.get(kind, 0) + 1
        if kind == "missing":
            entries[free] = {"id": free, "image_id": suspect["image_id"], "iscrowd": 0} | proposal
            free += 1
        elif proposal is None:
            del entries[suspect["id"]]
        else:
            entries[suspect["id"]] = entries[suspect["id"]] | proposal
    images = source.content["images"]
    names = relocate_names([image["file_name"] for image in images], source.images.paths, Path(out))
    images = [image | {"file_name": name} for image, name in zip(images, names, strict=True)]
    write_json(out, source.content | {"images": images, "annotations": list(entries.values())})
    return counts


def _read_accepted(path: Path) -> tuple[list[dict], dict[str, list[str]]]:
    """The accepted annotations of a file of suspects, and the keypoints of its classes in the order of their numbers."""
    content: Any = load_json(path)
    listed = content.get("annotations") if isinstance(content, dict) else None
    if not isinstance(listed, list) or not all(isinstance(a, dict) and set(OWN) | {"id", "image_id"} <= set(a) for a in listed):
        raise ValueError(
            f"{path}: found no list 'annotations' whose entries have all of {list(OWN)}, expected the suspects.json of a "
            "review; name that, with 'accept' true at what is to be corrected."
        )
    odd = [a["id"] for a in listed if not _is_written(a)]
    if odd:
        raise ValueError(
            f"{path}: found 'accept' other than true or false, a 'suspect' of no known kind, or a 'proposal' that is no object "
            f"at the ids {quote(odd)}, expected them as the review wrote them; mend these."
        )
    chosen = [a for a in listed if a["accept"]]
    if not chosen:
        raise ValueError(
            f"{path}: found no suspect with 'accept' true among {len(listed)}, expected at least one; turn the false of "
            "those that are to be corrected to true."
        )
    schema = schema_of(path, require_coco(path, content))
    return chosen, {kind.name: list(kind.keypoints) for kind in schema.classes}


def _is_written(entry: Mapping) -> bool:
    """Whether an entry of a file of suspects says what a review says: only to delete a label it has no proposal."""
    kind, proposal = entry["suspect"], entry["proposal"]
    deletes = proposal is None and kind != "missing"
    return isinstance(entry["accept"], bool) and kind in list(KINDS) and (deletes or isinstance(proposal, dict))


def _refuse_others(chosen: Sequence[Mapping], entries: Mapping[int, Mapping], source: LabelFile, path: Path) -> None:
    """Raises ValueError where accepted suspects are not, or not any more, labels of the file that is to be corrected."""
    same = ("image_id", "category_id", "bbox", "keypoints")
    changed = [
        a["id"] for a in chosen
        if (a["image_id"] not in source.images.ids if a["suspect"] == "missing"
            else any(entries.get(a["id"], {}).get(name) != a.get(name) for name in same))
    ]  # fmt: skip
    if changed:
        raise ValueError(
            f"{path}: found {count_of(len(changed), 'accepted suspect')} whose label in {source.path.name} is gone or another "
            f"than the review saw, the ids {quote(changed)}, expected the file that was reviewed; name that, or review again."
        )
