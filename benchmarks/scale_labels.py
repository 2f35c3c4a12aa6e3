"""Label files of COCO's size, and four times it: what reading and checking them takes, beside parsing their JSON alone.

    python benchmarks/scale_labels.py [--times 1 4]

118,000 images and 262,000 people of 17 keypoints, and so many times as many; the images are empty files, which are looked for
and not opened. Each case has a process of its own: seconds of one core, and its peak memory, with the packages that it imports.
SCALE.md has what it prints.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measure import read_peak_rss, run_apart

from centerkp.schema import COCO_KEYPOINTS

IMAGES, ANNOTATIONS, DIFFERENT = 118_000, 262_000, 5_000


def main() -> int:
    parser = argparse.ArgumentParser(description="Measures reading of COCO-sized label files.", allow_abbrev=False)
    parser.add_argument("--times", type=int, nargs="+", default=[1, 4], help="so many times COCO's images (default: 1 4)")
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measure(*options.case)))
        return 0
    print("| images | annotations | JSON | case | CPU seconds | of parsing alone | peak |\n|" + " ---: |" * 7)
    for times in options.times:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "ann.json"
            write_labels(path, times * IMAGES, times * ANNOTATIONS)
            head = f"| {times * IMAGES:,} | {times * ANNOTATIONS:,} | {path.stat().st_size / 1e6:.0f} MB"
            alone = 0.0
            for case in CASES:
                seconds, peak = run_apart(__file__, ["--case", case, str(path)])
                alone = alone or seconds
                print(f"{head} | {case} | {seconds:.1f} | {seconds / alone:.1f} | {peak:.0f} MB |", flush=True)
    return 0


def measure(case: str, path: str) -> tuple[float, float]:
    """CPU seconds and peak memory in MB of one case in this process."""
    CASES[case](path)
    return time.process_time(), read_peak_rss() / 1e6


def parse(path: str) -> Any:
    return json.loads(Path(path).read_bytes())


def read(path: str) -> Any:
    from centerkp.labels.coco import read_coco

    return read_coco(path, check_images=False)


def check(path: str) -> Any:
    from centerkp.doctor.check import check_dataset

    return check_dataset(path, open_images=False)


def read_for_training(path: str) -> Any:
    from centerkp.doctor.trainable import read_train_and_val

    return read_train_and_val(path, check_images=False)


CASES: dict[str, Callable[[str], Any]] = {
    "json.loads": parse,
    "`read_coco`": read,
    "`centerkp check --no-images`": check,
    "check and read, as `train` does": read_for_training,
}


def write_labels(path: Path, images: int, annotations: int) -> None:
    """People as COCO writes them, of which there are `DIFFERENT` ones, and a few faults; with an empty file for each image."""
    rng = np.random.default_rng(0)
    size = rng.uniform(20, 400, (DIFFERENT, 2)).round(2)
    start = (rng.uniform(0, 1, (DIFFERENT, 2)) * ([1280, 960] - size)).round(2)
    points = (start[:, None] + rng.uniform(0, 1, (DIFFERENT, 17, 2)) * size[:, None]).round(1)
    visibility = rng.integers(0, 3, (DIFFERENT, 17))
    points[visibility == 0] = 0
    bodies = []
    for box, area, xy, seen in zip(
        np.concatenate([start, size], 1).tolist(), size.prod(1).tolist(), points.tolist(), visibility.tolist(), strict=True
    ):
        vector = [number for (x, y), v in zip(xy, seen, strict=True) for number in (x, y, v)]
        labelled = sum(v > 0 for v in seen)
        entry = {"bbox": box, "area": area, "iscrowd": 0, "keypoints": vector, "num_keypoints": labelled, "category_id": 1}
        bodies.append(json.dumps(entry)[1:])
    bodies[0] = bodies[0].replace('"iscrowd": 0', '"iscrowd": false')
    category = {"id": 1, "name": "person", "keypoints": COCO_KEYPOINTS, "skeleton": [[1, 2], [2, 4]]}
    with open(path, "w") as file:
        file.write(f'{{"categories": [{json.dumps(category)}],\n"images": [')
        for number in range(1, images + 1):
            name = f"{number:012d}.jpg"
            file.write(f'{", " * (number > 1)}{{"id": {number}, "file_name": "{name}", "width": 1280, "height": 960}}')
            (path.parent / name).touch()
        file.write('],\n"annotations": [')
        for number in range(annotations):
            ids = f'{{"id": {number + 1}, "image_id": {number % images + 1}, '
            file.write(f"{', ' * (number > 0)}{ids}{bodies[number % DIFFERENT]}")
        file.write("]}")


if __name__ == "__main__":
    sys.exit(main())
