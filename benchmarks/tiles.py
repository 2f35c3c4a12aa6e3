"""What tiles are worth on pictures much larger than the network's input: 6000 x 4000 pixels with small objects.

    python benchmarks/tiles.py [--time 8m]

Draws such pictures (mosaics of the demonstration's scenes, most of them without a tool), trains once on whole pictures and once
as training does by itself, on tiles, as long each, and evaluates both on pictures they have not seen. Writes
`benchmarks/TILES.md`.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import cv2
import numpy as np
from page import paragraph, table

from centerkp.demo.scenes import draw_scene
from centerkp.demo.shapes import DEMO_SCHEMA
from centerkp.geometry import box_ious
from centerkp.images.tiling import Tiling
from centerkp.results import coco_category
from centerkp.writing import write_json

ROOT, RUNS, PAGE = Path(__file__).parent.parent, Path("runs/tiles"), Path(__file__).with_name("TILES.md")
SIZE, SCENE = (6000, 4000), (120, 100)
OBJECT_EVERY = 40  # one scene in so many shows a tool
EMPTY = 50  # scenes of a picture without one, turned and repeated
PARTS = {"train": 10, "val": 4}
MIN_OVERLAP = 0.3  # of two detections of a class that are one object found twice


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--time", default="8m")
    options = parser.parse_args(arguments)
    for number, (part, count) in enumerate(PARTS.items()):
        if not (RUNS / f"{part}.json").exists():
            draw_part(part, count, number)
    rows = [measure(name, flags, options.time) for name, flags in (("whole", ("--tile", "0")), ("tiles", ()))]
    PAGE.write_text(format_page(rows, options.time), encoding="utf-8")
    return 0


def draw_part(part: str, count: int, seed: int) -> None:
    """Writes pictures and their COCO JSON; boxes and keypoints are the scenes' own, moved to their places."""
    images, annotations = [], []
    (RUNS / "images").mkdir(parents=True, exist_ok=True)
    for index in range(count):
        rng, picture = np.random.default_rng([seed, index]), np.empty((SIZE[1], SIZE[0], 3), np.uint8)
        empty = [draw_scene(rng, SCENE, 0)[0] for _ in range(EMPTY)]
        for y, x in product(range(0, SIZE[1], SCENE[1]), range(0, SIZE[0], SCENE[0])):
            if rng.random() < 1 / OBJECT_EVERY:
                pixels, found = draw_scene(rng, SCENE, 1)
                annotations += [
                    _move(one, x, y) | {"id": len(annotations) + i, "image_id": index + 1} for i, one in enumerate(found, 1)
                ]
            else:
                pixels = empty[rng.integers(EMPTY)][:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
            picture[y : y + SCENE[1], x : x + SCENE[0]] = pixels
        name = f"images/{part}_{index}.jpg"
        cv2.imwrite(str(RUNS / name), picture[..., ::-1])
        images.append({"id": index + 1, "file_name": name, "width": SIZE[0], "height": SIZE[1]})
    categories = [coco_category(kind) for kind in DEMO_SCHEMA.classes]
    write_json(RUNS / f"{part}.json", {"images": images, "annotations": annotations, "categories": categories})


def _move(annotation: dict, x: int, y: int) -> dict:
    moved = dict(annotation, bbox=[annotation["bbox"][0] + x, annotation["bbox"][1] + y, *annotation["bbox"][2:]])
    moved.pop("segmentation", None)
    if points := annotation.get("keypoints"):
        moved["keypoints"] = [v + offset for v, offset in zip(points, (x, y, 0) * (len(points) // 3), strict=True)]
    return moved


def measure(name: str, flags: tuple[str, ...], length: str) -> dict:
    """Trains and evaluates in processes of their own; numbers, what was found twice, seconds and memory."""
    run = RUNS / f"run_{name}"
    if not (run / "metrics.json").exists():
        command = [sys.executable, ROOT / "train.py", "--coco", RUNS / "train.json", "--val", RUNS / "val.json", "--run", run]
        subprocess.run([*command, "--time", length, *flags], check=True)
    pictures, began = sorted((RUNS / "images").glob("val_*.jpg")), time.monotonic()
    command = [sys.executable, ROOT / "infer.py", *pictures, "--weights", run / "best.keras", "--out", run / "found"]
    process = subprocess.Popen([*command, "--no-save-images", "--overwrite"])
    memory = os.wait4(process.pid, 0)[2].ru_maxrss * 1024 / 1e9
    seconds = time.monotonic() - began
    found = json.loads((run / "found" / "predictions.json").read_text())
    metrics, settings = (json.loads((run / f"{part}.json").read_text()) for part in ("metrics", "settings"))
    return {
        "pictures": f"{name} of {settings['tile']}" if settings["tile"] else name,
        "input": settings["image_size"],
        "box AP": metrics["box"]["AP"],
        "AP50": metrics["box"]["AP50"],
        "keypoint AP": metrics["keypoints"]["AP"],
        "found": len(found["annotations"]),
        "twice": count_doubles(found),
        "at seams": count_doubles(found, Tiling.of(settings["tile"])),
        "seconds": seconds / len(pictures),
        "GB": memory,
    }


def count_doubles(found: dict, tiling: Tiling | None = None) -> int:
    """Pairs of detections of one class in one picture that overlap like one object that was found twice.

    With a tiling, only those of which both have their middle where two tiles may give objects.
    """
    owners = [(a["image_id"], a["category_id"]) for a in found["annotations"]]
    boxes = np.array([a["bbox"] for a in found["annotations"]], float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    areas = np.array([tile.area_xyxy for tile in tiling.cut(*SIZE, (1, 1))] if tiling else np.zeros((0, 4)))
    inside = np.all((middles[:, None] >= areas[:, :2]) & (middles[:, None] <= areas[:, 2:]), axis=-1).sum(1)
    counted = inside > 1 if tiling else np.ones(len(boxes), bool)
    doubles = 0
    for owner in set(owners):
        own = boxes[[one == owner and counts for one, counts in zip(owners, counted, strict=True)]]
        doubles += int((np.triu(box_ious(own, own), 1) >= MIN_OVERLAP).sum())
    return doubles


def format_page(rows: list[dict], length: str) -> str:
    width, height = SIZE
    intro = (
        f"Written by `python benchmarks/tiles.py --time {length}`: {PARTS['train']} pictures of {width} x {height} pixels to "
        f"train on and {PARTS['val']} to be judged by, with drawn tools of 20 to 60 pixels; tiles are what training takes by "
        "itself, whole pictures what `--tile 0` asks for. `found` and `twice` are objects at the model's own threshold "
        f"and pairs of them that overlap by {MIN_OVERLAP:.0%} and more, `at seams` where two tiles meet; seconds are those of "
        "`infer.py` for a picture, its start included, and GB the most memory it had."
    )
    lines = [[f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows]
    return f"# Large pictures: whole, and by tiles\n\n{paragraph(intro)}\n\n{table(list(rows[0]), lines)}\n"


if __name__ == "__main__":
    sys.exit(main())
