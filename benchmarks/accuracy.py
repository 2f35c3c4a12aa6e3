"""What a command without flags gives in so many minutes, and whether a flag makes it better: several sets, seeds and variants.

    python benchmarks/accuracy.py ../data/glue_tubes ../data/mirror_mouse --times 3m 8m --seeds 0 1 2
    python benchmarks/accuracy.py ../data/glue_tubes --times 3m --variant "at 256=--image-size 256"

A set is a folder with train.json and test.json. Each run is `python train.py --coco train.json --val test.json --time T` and
the flags of the variant, in a process of its own, with nothing else to be done on the machine: minutes are those of the clock,
start and evaluation with them. A variant is worth keeping when its mean over the sets is better by more than the seeds differ,
and no set loses. Writes `benchmarks/ACCURACY.md` from all results, which may be of several processors, and repeats none that
this one has given.
"""

import argparse
import csv
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from itertools import groupby, product
from pathlib import Path

from page import add_result, is_measured, paragraph, processor_text, table

ROOT = Path(__file__).parent.parent
RUNS, PAGE = Path("runs/accuracy"), Path(__file__).with_name("ACCURACY.md")
CASE = ("processor", "set", "time", "variant")
SCORES = ("box_ap", "box_ap50", "keypoint_ap", "pck")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("--times", nargs="+", default=["3m", "8m"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--variant", action="append", help='"NAME=FLAGS"; may be repeated, the defaults if left out')
    options = parser.parse_args(arguments)
    variants = [v.partition("=")[::2] for v in options.variant or ["defaults="]]
    processor = f"{processor_text()}; {len(os.sched_getaffinity(0))} cores"
    for seed, folder, length, (name, flags) in product(options.seeds, options.sets, options.times, variants):
        case = {"processor": processor, "set": folder.name, "time": length, "variant": name, "seed": seed}
        _measure(folder, shlex.split(flags), case)
    return 0


def _measure(folder: Path, flags: list[str], case: dict) -> None:
    """Trains unless this result is there already, and writes the page anew."""
    if is_measured(PAGE, case):
        return
    run = RUNS / "_".join(str(case[name]).replace(" ", "-") for name in ("set", "time", "variant", "seed"))
    shutil.rmtree(run, ignore_errors=True)  # of a measurement that was broken off
    command = [sys.executable, ROOT / "train.py", "--coco", folder / "train.json", "--val", folder / "test.json"]
    began = time.monotonic()
    subprocess.run([*command, "--time", case["time"], "--seed", str(case["seed"]), "--run", run, *flags], check=True)
    minutes = round((time.monotonic() - began) / 60, 2)
    add_result(PAGE, case | {"minutes": minutes} | _read_scores(run), _format)


def _read_scores(run: Path) -> dict:
    found = json.loads((run / "metrics.json").read_text())
    with open(run / "log.csv", newline="") as log:
        epochs = len(list(csv.DictReader(log)))
    scores = (found["box"]["AP"], found["box"]["AP50"], found["keypoints"]["AP"], found["pck"])
    return {
        "epochs": epochs,
        **{name: round(score, 4) for name, score in zip(SCORES, scores, strict=True)},
        "box_ap_per_class": found["box_per_class"],
        "keypoint_ap_per_class": {name: one["AP"] for name, one in found["keypoints_per_class"].items()},
    }


def _format(results: list[dict]) -> str:
    intro = (
        "Written by `python benchmarks/accuracy.py`: the mean over the seeds, and the range. Keypoint AP at a sigma of 0.05; "
        "scores of the best epoch on the test images of each set, which chose that epoch."
    )
    lines, classes = [], []
    for case, group in groupby(sorted(results, key=_order), key=_order):
        runs = list(group)
        lines.append([*case, len(runs), _over(runs, "minutes"), _over(runs, "epochs", 0), *(_over(runs, s) for s in SCORES)])
        for name in runs[0]["box_ap_per_class"]:
            apart = ([one[key][name] for one in runs] for key in ("box_ap_per_class", "keypoint_ap_per_class"))
            classes.append([*case, name, *(f"{statistics.mean(values):.3f}" for values in apart)])
    header = [*CASE, "seeds", "minutes", "epochs", "box AP", "AP50", "keypoint AP", "PCK"]
    by_class = table([*CASE, "class", "box AP", "keypoint AP"], classes)
    return f"# Accuracy by minutes\n\n{paragraph(intro)}\n\n{table(header, lines)}\n\nBy class, means:\n\n{by_class}\n"


def _order(one: dict) -> tuple:
    return tuple(one[key] for key in CASE)


def _over(runs: list[dict], key: str, digits: int = 3) -> str:
    values = [one[key] for one in runs]
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


if __name__ == "__main__":
    sys.exit(main())
