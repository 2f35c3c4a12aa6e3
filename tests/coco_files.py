"""Small COCO datasets on disk, with images whose content their number decides."""

import json
from pathlib import Path

import cv2
import numpy as np

from centerkp.labels.records import Record


def write_picture(path: Path, number: int, size: tuple[int, int] = (40, 30)) -> Path:
    """A picture of blobs, other ones for each number; the extension decides the format."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 256, (4, 5, 3)).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC))
    return path


def annotation(number: int, image_id: int, category_id: int = 1, **more) -> dict:
    """An object with a box of 20 x 10 at (5, 5), area 200 and no keypoints, unless more is said."""
    box = {"bbox": [5, 5, 20, 10], "area": 200, "iscrowd": 0}
    return {"id": number, "image_id": image_id, "category_id": category_id} | box | more


def write_coco(path: Path, classes_of: dict[str, list[int]], categories: list[dict], **more) -> Path:
    """A COCO JSON and its images (in `images/`): for each file name the category ids of its objects."""
    images, annotations = [], []
    for number, (name, category_ids) in enumerate(classes_of.items(), 1):
        if not (path.parent / "images" / name).exists():
            write_picture(path.parent / "images" / name, number)
        images.append({"id": number, "file_name": name, "width": 40, "height": 30})
        annotations += [annotation(len(annotations) + i, number, c) for i, c in enumerate(category_ids, 1)]
    content = {"images": images, "annotations": annotations, "categories": categories} | more
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def make_record(image_id, class_ids, visibility=None, is_crowd=None) -> Record:
    """An image of objects with three keypoints, their boxes and points left blank."""
    count = len(class_ids)
    visibility = np.zeros((count, 3), np.uint8) if visibility is None else np.array(visibility, np.uint8)
    crowd = np.zeros(count, bool) if is_crowd is None else np.array(is_crowd)
    boxes, xy = np.zeros((count, 4), np.float32), np.zeros((count, 3, 2), np.float32)
    ids = np.array(class_ids, np.int32)
    name, areas = f"{image_id}.png", boxes[:, 0]
    return Record(image_id, Path(name), name, 9, 9, boxes, ids, xy, visibility, crowd, areas, np.arange(count))
