"""Draws the built-in demonstration dataset: tools on a cluttered bench, with exact boxes and keypoints."""

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from centerkp import geometry
from centerkp.demo.background import draw_background, light_scene
from centerkp.demo.shapes import DEMO_SCHEMA, SKETCHES, Sketch, cast_shadow, paint, render_silhouette
from centerkp.schema import ObjectClass
from centerkp.writing import refuse_place, unwritable, write_json

VERSION = "1.1"
FINE = 2  # scenes are drawn this many times larger and shrunk, which smooths every edge
MIN_INSIDE = 0.5  # share of an object's area that must lie inside the image
MIN_VISIBLE = 0.7  # share of an object's area inside the image that later objects must leave uncovered
MAX_TURN = 60  # degrees away from upright: a network for ten minutes of processor time learns no full circle
EMPTY_EVERY = 40  # one image in so many shows no object
LENGTHS = ((80, 160), (80, 160), (40, 72))  # pixels per class, for an image 240 high


@dataclass(frozen=True)
class DemoFiles:
    """Where the demonstration dataset lies."""

    images_dir: Path
    train_json: Path
    val_json: Path
    test_json: Path


@dataclass(frozen=True, eq=False)
class _Placed:
    """A tool where it lies on the drawn bench."""

    sketch: Sketch
    affine: np.ndarray  # sketch -> image pixels
    mask: np.ndarray  # (FINE * height, FINE * width) bool, the silhouette inside the image, hidden parts included


def write_demo(
    folder: str | Path,
    num_train: int = 200,
    num_val: int = 40,
    num_test: int = 12,
    size: tuple[int, int] = (320, 240),
    seed: int = 0,
) -> DemoFiles:
    """Writes the demonstration dataset: `folder/images/*.jpg` and `train.json`, `val.json`, `test.json` in COCO format.

    Three classes: pliers with five keypoints in left/right pairs, screwdriver with three, nut with none; up to five objects
    an image. Boxes are tight around what lies inside the image, hidden parts included; a keypoint hidden by another object has
    visibility 1, one outside the image 0. The same arguments give the same files. A folder that already holds the dataset
    of the same arguments is kept as it is; one with other arguments is replaced as a whole, at the end.

    Args:
        folder: made if missing.
        num_train, num_val, num_test: images of each part; `test.json` is annotated too.
        size: (width, height) of every image in pixels.
        seed: another seed gives other scenes.

    Raises:
        ValueError: a number is out of range, or `folder` holds something other than a demonstration dataset.
        OSError: the folder cannot be written.
    """
    counts = {"train": num_train, "val": num_val, "test": num_test}
    _check_arguments(counts | {"seed": seed}, size)
    folder = Path(folder)
    info = {
        "description": "centerkp demonstration dataset, drawn",
        "version": VERSION,
        "demo": {"images": counts, "size": list(size), "seed": seed},
    }
    files = DemoFiles(folder / "images", *(folder / f"{part}.json" for part in counts))
    if _holds_demo(folder, info):
        return files
    refuse_place(folder.parent)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
            fresh = Path(temporary) / "fresh"
            (fresh / "images").mkdir(parents=True)
            for number, (part, count) in enumerate(counts.items()):
                _write_part(fresh, part, count, size, (seed, number), info)
            if folder.exists():
                os.replace(folder, Path(temporary) / "old")
            os.replace(fresh, folder)
    except OSError as error:
        raise unwritable(folder, error) from None
    return files


def _check_arguments(numbers: dict[str, int], size: tuple[int, int]) -> None:
    """Refuses counts and sizes that no demonstration dataset can have."""
    for name, number in numbers.items():
        if number < 0:
            raise ValueError(f"write_demo: found {number} for {name}, expected 0 or more; give another number.")
    if min(size) < 64:
        raise ValueError(f"write_demo: found size {tuple(size)}, expected at least 64 pixels each way; give a larger one.")


def _holds_demo(folder: Path, info: dict) -> bool:
    """Whether the whole dataset that `info` describes is there already; raises ValueError at files of another kind."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        contents = [json.loads((folder / f"{part}.json").read_text(encoding="utf-8")) for part in info["demo"]["images"]]
        same = all(content["info"] == info for content in contents)
        names = [image["file_name"] for content in contents for image in content["images"]]
        own = all("demo" in content["info"] for content in contents)
    except (OSError, ValueError, KeyError, TypeError):
        own = False
    if own and same and all((folder / name).is_file() for name in names):
        return True
    # What is replaced is deleted: nothing else may stand in the folder.
    if not own or {p.name for p in folder.iterdir()} - {"images", *(f"{part}.json" for part in info["demo"]["images"])}:
        raise ValueError(
            f"{folder}: found files that are no part of a demonstration dataset, expected a missing or empty folder; "
            "choose another folder or move them away."
        )
    return False


def _write_part(folder: Path, part: str, count: int, size: tuple[int, int], seed: tuple[int, int], info: dict) -> None:
    """Draws and writes the scenes of one part of the demonstration dataset, and its COCO JSON."""
    images, annotations = [], []
    for index in range(count):
        rng = np.random.default_rng((*seed, index))
        num_objects = 0 if index % EMPTY_EVERY == EMPTY_EVERY // 2 else int(rng.integers(1, 6))
        pixels, found = draw_scene(rng, size, num_objects)
        name = f"images/{part}_{index + 1:04d}.jpg"
        coded = cv2.imencode(".jpg", pixels[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, 90))[1]
        (folder / name).write_bytes(coded.tobytes())
        images.append({"id": index + 1, "file_name": name, "width": size[0], "height": size[1], "license": 1})
        annotations += [{"id": len(annotations) + i + 1, "image_id": index + 1} | a for i, a in enumerate(found)]
    content = {
        "info": info,
        "licenses": [{"id": 1, "name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"}],
        "images": images,
        "categories": [_describe_category(kind) for kind in DEMO_SCHEMA.classes],
        "annotations": annotations,
    }
    write_json(folder / f"{part}.json", content)


def _describe_category(kind: ObjectClass) -> dict:
    """A tool's COCO category as a user would write it: what no name and no few objects tell is said, that nothing swaps."""
    category = {"id": kind.category_id, "name": kind.name, "supercategory": "workshop"}
    if kind.keypoints:
        category |= {"keypoints": list(kind.keypoints), "skeleton": [[a + 1, b + 1] for a, b in kind.skeleton]}
        category |= {} if kind.flip_pairs else {"flip_pairs": []}
    return category


def draw_scene(rng: np.random.Generator, size: tuple[int, int], num_objects: int) -> tuple[np.ndarray, list[dict]]:
    """Draws one scene of the demo: an image with tools on a bench, and its exact annotations.

    Returns:
        The image (height, width, 3) uint8 RGB, and its COCO annotations without `id` and `image_id`. There may be fewer than
        `num_objects` where no free place was found.
    """
    width, height = size
    canvas = draw_background(rng, width * FINE, height * FINE)
    placed = _place_objects(rng, size, num_objects)
    for item in placed:
        cast_shadow(canvas, item.mask, rng.uniform(0.3, 0.6))
        paint(canvas, item.sketch, _to_fine(item.affine))
    image = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA) * light_scene(rng, *size)
    image += rng.normal(0, rng.uniform(0.5, 5), image.shape[:2]).astype(np.float32)[..., None]
    annotations = [_annotate_tool(item, placed[i + 1 :], size) for i, item in enumerate(placed)]
    return np.clip(image, 0, 255).astype(np.uint8), annotations


def _to_fine(affine: np.ndarray) -> np.ndarray:
    """The affine image -> fine canvas of a scene: image pixel i is the mean of fine ones FINE * i ... FINE * i + FINE - 1."""
    shift = (FINE - 1) / 2
    return geometry.compose(affine, geometry.scaling(FINE, FINE), geometry.translation(shift, shift))


def _place_objects(rng: np.random.Generator, size: tuple[int, int], num_objects: int) -> list[_Placed]:
    """Tools of a demo scene at random places on the bench, of which enough can be seen."""
    placed, free = [], []
    for _ in range(num_objects):
        class_id = int(rng.integers(len(SKETCHES)))
        sketch = SKETCHES[class_id](rng)
        below = placed[rng.integers(len(placed))] if placed and rng.random() < 0.3 else None
        for _ in range(15):
            affine = _random_pose(rng, size, LENGTHS[class_id], below)
            mask, inside = _render_inside(sketch, affine, size)
            if inside < MIN_INSIDE or (below is None and any((mask & item.mask).any() for item in placed)):
                continue
            left = [visible & ~mask for visible in free]
            if all(v.sum() >= MIN_VISIBLE * item.mask.sum() for v, item in zip(left, placed, strict=True)):
                placed, free = [*placed, _Placed(sketch, affine, mask)], [*left, mask]
                break
    return placed


def _random_pose(
    rng: np.random.Generator, size: tuple[int, int], lengths: tuple[int, int], below: _Placed | None
) -> np.ndarray:
    """The affine of a tool in a demo scene: anywhere on the bench, its border included, or partly across an earlier one."""
    width, height = size
    length = rng.uniform(*lengths) * min(width / 320, height / 240)
    if below is None:
        center = rng.uniform((0, 0), (width, height))
    else:
        away, angle = rng.uniform(0.2, 0.3) * (length + _tool_length(below.affine)), rng.uniform(0, 2 * np.pi)
        center = below.affine[:, 2] + away * np.array([np.cos(angle), np.sin(angle)])
    return geometry.compose(
        geometry.scaling(length, length), geometry.rotation(rng.uniform(-MAX_TURN, MAX_TURN)), geometry.translation(*center)
    )


def _tool_length(affine: np.ndarray) -> float:
    """How many pixels long a tool of a demo scene is that this affine places; its sketch is 1 long."""
    return float(np.hypot(*affine[:, 0]))


def _render_inside(sketch: Sketch, affine: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, float]:
    """A tool's silhouette on the fine canvas of a scene, and the share of its area that lies inside the image."""
    width, height = FINE * size[0], FINE * size[1]
    margin = int(np.ceil(_tool_length(affine) * FINE))
    moved = geometry.compose(_to_fine(affine), geometry.translation(margin, margin))
    whole = render_silhouette(sketch, moved, width + 2 * margin, height + 2 * margin)
    mask = whole[margin : margin + height, margin : margin + width]
    return mask, mask.sum() / whole.sum()


def _annotate_tool(item: _Placed, later: list[_Placed], size: tuple[int, int]) -> dict:
    """The exact COCO annotation of a tool drawn in a demo scene."""
    rows, columns = np.flatnonzero(item.mask.any(1)), np.flatnonzero(item.mask.any(0))
    x0, y0 = columns[0] / FINE, rows[0] / FINE
    annotation = {
        "category_id": DEMO_SCHEMA.classes[item.sketch.class_id].category_id,
        "bbox": [x0, y0, (columns[-1] + 1) / FINE - x0, (rows[-1] + 1) / FINE - y0],
        "area": float(item.mask.sum()) / FINE**2,
        "iscrowd": 0,
    }
    if not len(item.sketch.keypoints_xy):
        return annotation
    points = np.round(geometry.apply_to_points(item.affine, item.sketch.keypoints_xy), 2)
    triples = []
    for x, y in points.tolist():
        inside = 0 <= x <= size[0] - 1 and 0 <= y <= size[1] - 1
        fine_x, fine_y = (round(FINE * v + (FINE - 1) / 2) for v in (x, y))
        hidden = inside and any(other.mask[fine_y, fine_x] for other in later)
        triples += [x, y, 1 if hidden else 2] if inside else [0, 0, 0]
    return annotation | {"keypoints": triples, "num_keypoints": sum(v > 0 for v in triples[2::3])}
