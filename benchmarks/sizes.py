"""What a larger input is worth where objects are small: the light network with inputs of several sizes, as long on each.

    python benchmarks/sizes.py ../data/glue_tubes ../data/mouse_openfield --grids 1 2 3 --sides 320 512 640

A set is a folder with train.json, test.json and images/. A grid of 3 sets nine of its pictures into one, by chance and each as
often as the others, so that objects are a third as large in the picture. Trainings of a set have as many steps as cost
`--budget` seconds of one core, by what a step of a size costs, so that a busy machine changes nothing. Writes
`benchmarks/SIZES.md`, and repeats no result that it has.
"""

import argparse
import json
import random
import shutil
import sys
from itertools import product
from pathlib import Path

import cv2
import numpy as np
from page import add_result, is_measured, paragraph, table

from centerkp.geometry import fit_canvas
from centerkp.labels.coco import read_coco
from centerkp.settings.training import TrainSettings
from centerkp.training.train import train
from centerkp.wording import name_canvas
from centerkp.writing import write_json

RUNS, PAGE = Path("runs/sizes"), Path(__file__).with_name("SIZES.md")
LIGHT, BATCH, SIDE = "efficientnet_lite0_fpn", 4, 320
STEP_SECONDS, ANY_STEP = 0.42, 0.03  # of a core: a step at 320x320 by its pixels, and what any step costs
PARTS = ("train", "test")
INTRO = """\
Written by `python benchmarks/sizes.py`: {light}, {batch} images a step, mixed_bfloat16, all else by default, scores on the test
images of each set. Steps are as many as cost {budget} seconds of one core, by {a} s for each at 320x320, in proportion to the
pixels, and {b} s for any. A grid of N sets N x N pictures into one. "One in 20" and "half" are how large the smallest twentieth
and the smaller half of the objects are at most, the root of their boxes' area, in pixels of an input of {side}."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("--grids", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--sides", nargs="+", type=int, default=[320, 512])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--budget", type=int, default=280)
    options = parser.parse_args(arguments)
    for seed, folder, grid, side in product(options.seeds, options.sets, options.grids, options.sides):
        measure(folder, {"set": folder.name, "grid": grid, "side": side, "budget": options.budget, "seed": seed})
    return 0


def measure(folder: Path, case: dict) -> None:
    """Trains unless this result is there already, and writes the page anew."""
    if is_measured(PAGE, case):
        return
    if case["grid"] > 1:
        folder = lay_out(folder, case["grid"], RUNS / f"{case['set']}_{case['grid']}")
    records = read_coco(folder / "train.json", check_images=False).records
    width, height = fit_canvas([(record.width, record.height) for record in records], case["side"], 32)
    steps = case["budget"] / (STEP_SECONDS * width * height / SIDE**2 + ANY_STEP)
    epochs = max(round(steps * BATCH / len(records)), 1)
    run = RUNS / "_".join(str(value) for value in case.values())
    shutil.rmtree(run, ignore_errors=True)  # of a measurement that was broken off
    settings = TrainSettings(
        coco=str(folder / "train.json"), val=str(folder / "test.json"), backbone=LIGHT, image_size=name_canvas(width, height),
        epochs=epochs, eval_every=epochs, seed=case["seed"], run=str(run), check_images=False, precision="mixed_bfloat16",
    )  # fmt: skip
    evaluation = train(settings).evaluation
    scores = {"box_ap": evaluation.box["AP"], "keypoint_ap": evaluation.keypoints["AP"], "pck": evaluation.pck}
    small, half = np.percentile(measure_shares(records), [5, 50]) * SIDE
    found = {
        "input": f"{width}x{height}",
        "steps": epochs * (len(records) // BATCH),
        "small": float(small),
        "half": float(half),
    }
    add_result(PAGE, case | found | {name: round(value, 4) for name, value in scores.items()}, format_page)


def measure_shares(records: list) -> np.ndarray:
    """How large objects are, the root of their boxes' area, as shares of their pictures' longer side."""
    return np.concatenate([
        np.sqrt(np.prod(one.boxes_xyxy[:, 2:] - one.boxes_xyxy[:, :2], axis=1)) / max(one.width, one.height) for one in records
    ])  # fmt: skip


def lay_out(source: Path, grid: int, folder: Path) -> Path:
    """Makes the set in which grid x grid pictures are one, as many as there were; nothing where it is there already."""
    chance = random.Random(0)
    for part in PARTS:
        if (folder / f"{part}.json").exists():
            continue
        (folder / "images").mkdir(parents=True, exist_ok=True)
        content = json.loads((source / f"{part}.json").read_text())
        images, annotations = content["images"], []
        order, whole = [], []
        for _ in range(grid * grid):
            shuffled = list(images)
            chance.shuffle(shuffled)
            order += shuffled
        for number in range(len(images)):
            chosen = order[number * grid * grid : (number + 1) * grid * grid]
            canvas, found = lay_one(source, chosen, content["annotations"], grid)
            name = f"{part}_{number}.jpg"
            cv2.imwrite(str(folder / "images" / name), canvas, [cv2.IMWRITE_JPEG_QUALITY, 92])
            whole.append({"id": number + 1, "file_name": name, "width": canvas.shape[1], "height": canvas.shape[0]})
            annotations += [one | {"id": len(annotations) + i, "image_id": number + 1} for i, one in enumerate(found, 1)]
        write_json(folder / f"{part}.json", content | {"images": whole, "annotations": annotations})
    return folder


def lay_one(source: Path, chosen: list[dict], annotations: list[dict], grid: int) -> tuple[np.ndarray, list[dict]]:
    """One picture of several, row by row, and the annotations of its objects."""
    pictures = [cv2.imread(str(source / "images" / one["file_name"])) for one in chosen]
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    canvas, found = np.zeros((grid * height, grid * width, 3), np.uint8), []
    for place, (entry, picture) in enumerate(zip(chosen, pictures, strict=True)):
        y, x = place // grid * height, place % grid * width
        canvas[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
        for one in (one for one in annotations if one["image_id"] == entry["id"]):
            left, top, *sides = one["bbox"]
            points = np.reshape(one.get("keypoints", []), (-1, 3)).astype(float)
            points[points[:, 2] > 0, :2] += x, y
            moved = {"bbox": [left + x, top + y, *sides], "keypoints": points.ravel().tolist()}
            found.append({name: value for name, value in one.items() if name != "segmentation"} | moved)
    return canvas, found


def format_page(results: list[dict]) -> str:
    budget = "/".join(str(one) for one in sorted({one["budget"] for one in results}))
    intro = INTRO.format(light=LIGHT, batch=BATCH, budget=budget, a=STEP_SECONDS, b=ANY_STEP, side=SIDE)
    header = ["set", "grid", "one in 20", "half", "input", "steps", "seed", "box AP", "keypoint AP", "PCK"]
    results = sorted(results, key=lambda one: (one["set"], one["grid"], one["seed"], one["side"]))
    lines = [
        [one["set"], one["grid"], f"{one['small']:.0f}", f"{one['half']:.0f}", one["input"], one["steps"], one["seed"]]
        + [f"{one[score]:.3f}" for score in ("box_ap", "keypoint_ap", "pck")]
        for one in results
    ]
    return f"# What a larger input is worth where objects are small\n\n{paragraph(intro)}\n\n{table(header, lines)}\n"


if __name__ == "__main__":
    sys.exit(main())
