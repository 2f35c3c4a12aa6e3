"""What more pictures are worth: trainings of equally many steps on 50, 100 or 200 pictures of a set, all else by default.

    python benchmarks/pictures.py ../data/glue_tubes ../data/mirror_mouse drawn

A set is a folder with train.json, test.json and images/, or "drawn" for the demo's tools. The pictures of a smaller training
are among those of the larger ones; the test images are the same. Steps, not minutes, are equal, so that a busy machine changes
nothing.
Writes `benchmarks/PICTURES.md`, and repeats no result that it has.
"""

import argparse
import json
import shutil
import sys
from itertools import groupby, product
from pathlib import Path
from statistics import mean

import numpy as np
from page import add_result, is_measured, paragraph, table

from centerkp.demo.scenes import write_demo
from centerkp.settings.training import TrainSettings
from centerkp.training.train import train
from centerkp.writing import write_json

RUNS, PAGE = Path("runs/pictures"), Path(__file__).with_name("PICTURES.md")
COUNTS, STEPS, BATCH = (50, 100, 200), 400, 4
SCORES = ("box_ap", "box_ap50", "keypoint_ap", "pck")

INTRO = """\
Written by `python benchmarks/pictures.py`. Each run has {steps} steps of {batch} images, whatever the number of pictures, and
all else as `train.py` chooses it; scores are on the test images of each set, keypoint AP at a sigma of 0.05. The pictures of a
smaller training are among those of the larger ones, another choice for each seed. Equal steps ask what
more pictures are worth by being different; more of them also bear more steps. Means over the seeds, and their range."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    options = parser.parse_args(arguments)
    for seed, name in product(options.seeds, options.sets):
        folder = Path(name)
        if name == "drawn":
            folder = write_demo(RUNS / name, num_train=200, num_val=1, num_test=50).images_dir.parent
        whole = json.loads((folder / "train.json").read_text(encoding="utf-8"))
        for count in COUNTS:
            if count <= len(whole["images"]):
                measure(folder, whole, count, seed)
    return 0


def measure(folder: Path, whole: dict, count: int, seed: int) -> None:
    """Trains on so many of a set's pictures unless this result is there already, and writes the page anew."""
    case = {"set": folder.name, "pictures": count, "seed": seed}
    if is_measured(PAGE, case):
        return
    run = RUNS / "_".join(str(value) for value in case.values())
    shutil.rmtree(run, ignore_errors=True)  # of a measurement that was broken off
    order = np.random.default_rng(seed).permutation(len(whole["images"]))
    images = [whole["images"][k] for k in sorted(order[:count])]
    ids = {image["id"] for image in images}
    chosen = whole | {"images": images, "annotations": [one for one in whole["annotations"] if one["image_id"] in ids]}
    coco = write_json(RUNS / f"{run.name}.json", chosen)
    epochs = -(-STEPS // (count // BATCH))
    settings = TrainSettings(
        coco=str(coco), images=str(folder / "images"), val=str(folder / "test.json"), val_images=str(folder / "images"),
        batch_size=BATCH, epochs=epochs, eval_every=epochs, seed=seed, run=str(run), check_images=False,
    )  # fmt: skip
    found = train(settings).evaluation
    scores = {"box_ap": found.box["AP"], "box_ap50": found.box["AP50"], "keypoint_ap": found.keypoints["AP"], "pck": found.pck}
    scores = {name: round(one, 4) for name, one in scores.items()}
    add_result(PAGE, case | {"objects": len(chosen["annotations"])} | scores, write_page)


def write_page(results: list[dict]) -> str:
    def key(one: dict) -> tuple:
        return one["set"], one["pictures"]

    lines = []
    for (name, count), group in groupby(sorted(results, key=key), key):
        rows = list(group)
        numbers = [[row[score] for row in rows] for score in SCORES]
        texts = [f"{mean(n):.3f} ({min(n):.3f} to {max(n):.3f})" if len(n) > 1 else f"{n[0]:.3f}" for n in numbers]
        lines.append([name.replace("_", " "), count, f"{mean(row['objects'] for row in rows):.0f}", len(rows), *texts])
    header = ["set", "pictures", "objects", "seeds", "box AP", "AP50", "keypoint AP", "PCK@0.1"]
    intro = paragraph(INTRO.format(steps=STEPS, batch=BATCH))
    return f"# What more pictures are worth\n\n{intro}\n\n{table(header, lines)}\n"


if __name__ == "__main__":
    sys.exit(main())
