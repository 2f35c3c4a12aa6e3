"""What packaged weights of drawn objects are worth: the same short trainings from them and from a backbone's other start.

    python benchmarks/starts.py hourglass_10 ../data/glue_tubes ../data/mirror_mouse --other none --minutes 1 3

A set is a folder with train.json and test.json. MINUTES are counted in steps of STEP seconds, so that a busy machine changes
nothing; each number of minutes is a training of its own, with the learning rate falling to its end. Both starts take the same
images in the same order. Writes `benchmarks/STARTS.md`, and repeats no result that it has.
"""

import argparse
import math
import shutil
import sys
from pathlib import Path

from page import add_result, is_measured, paragraph, table

from centerkp.labels.coco import read_coco
from centerkp.settings.training import TrainSettings
from centerkp.training.train import train

STEP = {"hourglass_10": 0.33, "hourglass_20": 0.6, "efficientnet_lite0_fpn": 0.25}  # seconds on two free cores
IMAGE_SIZE, BATCH = 320, 4
COMMON = {"batch_size": BATCH, "image_size": IMAGE_SIZE, "precision": "mixed_bfloat16"}  # all else as it is by default
RUNS, PAGE = Path("runs/starts"), Path(__file__).with_name("STARTS.md")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("backbone")
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("--other", default="none", help="start to compare with: none or imagenet")
    parser.add_argument("--minutes", nargs="+", type=float, default=[1, 3])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    options = parser.parse_args(arguments)
    for seed in options.seeds:
        for folder in options.sets:
            for minutes in options.minutes:
                for start in (options.other, "drawn"):
                    _measure(options.backbone, folder, minutes, start, seed)
    return 0


def _measure(backbone: str, folder: Path, minutes: float, start: str, seed: int) -> None:
    """Trains unless this result is there already, and writes the page anew."""
    case = {"backbone": backbone, "set": folder.name, "minutes": minutes, "start": start, "seed": seed}
    if is_measured(PAGE, case):
        return
    images = len(read_coco(folder / "train.json", check_images=False).records)
    steps = 60 * minutes / STEP[backbone]
    epochs = math.ceil(steps / max(images // BATCH, 1))
    run = RUNS / "_".join(str(value) for value in case.values())
    shutil.rmtree(run, ignore_errors=True)  # of a measurement that was broken off
    settings = TrainSettings(
        coco=str(folder / "train.json"), val=str(folder / "test.json"), backbone=backbone, weights=start,
        epochs=epochs, eval_every=epochs, seed=seed, run=str(run), check_images=False, **COMMON,
    )  # fmt: skip
    evaluation = train(settings).evaluation
    scores = {"box_ap": evaluation.box["AP"], "box_ap50": evaluation.box["AP50"], "keypoint_ap": evaluation.keypoints["AP"]}
    scores["pck"] = evaluation.pck
    found = {"steps": epochs * max(images // BATCH, 1)} | {name: round(value, 4) for name, value in scores.items()}
    add_result(PAGE, case | found, _format)


def _format(results: list[dict]) -> str:
    intro = (
        f"Written by `python benchmarks/starts.py`: {IMAGE_SIZE} pixels, {BATCH} images a step, {COMMON['precision']}, scores "
        f"on the test images of each set. Minutes are counted in steps of {', '.join(f'{v} s ({k})' for k, v in STEP.items())}."
    )
    results = sorted(results, key=lambda r: (r["backbone"], r["set"], r["minutes"], r["start"] == "drawn", r["seed"]))
    names = ("backbone", "set", "minutes", "steps", "start", "seed")
    scores = ("box_ap", "box_ap50", "keypoint_ap", "pck")
    lines = [[*(one[name] for name in names), *(f"{one[name]:.3f}" for name in scores)] for one in results]
    header = [name.replace("_", " ").replace("ap", "AP") for name in names + scores]
    return f"# `--weights drawn` against each backbone's other start\n\n{paragraph(intro)}\n\n{table(header, lines)}\n"


if __name__ == "__main__":
    sys.exit(main())
