"""Measures `centerkp check` on a synthetic dataset: python benchmarks/check.py [--annotations N] [--images N].

Without --images, the JSON alone: 100,000 annotations of 17 keypoints. With it, so many JPEG images of 1280x960 are drawn
first, and looked at on all cores. Each case has a process of its own, whose peak memory is told.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from measure import read_peak_rss, run_apart

from centerkp.schema import COCO_KEYPOINTS


def main() -> int:
    parser = argparse.ArgumentParser(description="Measures the dataset check.", allow_abbrev=False)
    parser.add_argument("--annotations", type=int, default=100_000)
    parser.add_argument("--images", type=int, default=0, help="draw and open so many images")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measure(**json.loads(options.case))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ann.json"
        count = options.images or options.annotations // 5
        write_dataset(path, options.annotations, count)
        print(f"{options.annotations} annotations on {count} images, {path.stat().st_size / 1e6:.0f} MB of JSON")
        print_case("JSON alone", path=str(path), open_images=False)
        if options.images:
            draw_images(path.parent, options.images)
            print_case("with images", path=str(path), open_images=True)
    return 0


def print_case(name: str, **case) -> None:
    result = run_apart(__file__, ["--case", json.dumps(case)])
    cpu = f"{result['cpu_seconds']:.2f} s of one core"
    print(f"{name}: {result['seconds']:.2f} s ({cpu}), peak {result['peak_mb']:.0f} MB, {result['findings']} kinds of findings")


def measure(path: str, open_images: bool) -> dict:
    """One run of the check, the import of its packages included."""
    started = time.perf_counter()
    from centerkp.doctor.check import check_dataset

    checkup = check_dataset(path, open_images=open_images)
    seconds = time.perf_counter() - started
    found = {"peak_mb": read_peak_rss() / 2**20, "findings": len(checkup.findings)}
    return {"seconds": seconds, "cpu_seconds": time.process_time()} | found


def write_dataset(path: Path, annotations: int, images: int) -> None:
    """People of 17 keypoints with a few faults of each common kind, as COCO writes them."""
    rng = np.random.default_rng(0)
    size = rng.uniform(20, 400, (annotations, 2)).round(2)
    start = (rng.uniform(0, 1, (annotations, 2)) * ([1280, 960] - size)).round(2)
    points = (start[:, None] + rng.uniform(0, 1, (annotations, 17, 2)) * size[:, None]).round(1)
    visibility = rng.integers(0, 3, (annotations, 17))
    points[visibility == 0] = 0
    vectors = np.concatenate([points, visibility[..., None]], -1).reshape(annotations, -1).tolist()
    boxes = np.concatenate([start, size], 1).tolist()
    entries = []
    for i in range(annotations):
        vector = [int(v) if n % 3 == 2 else v for n, v in enumerate(vectors[i])]
        entry = {"id": i + 1, "image_id": i % images + 1, "category_id": 1, "bbox": boxes[i], "iscrowd": 0}
        entry |= {"area": boxes[i][2] * boxes[i][3], "keypoints": vector, "num_keypoints": sum(v > 0 for v in vector[2::3])}
        entries.append(entry)
    for i in range(0, annotations, 1000):
        entries[i]["iscrowd"] = False
        entries[i]["bbox"] = [0, 0, 0, 0]
        entries[i]["num_keypoints"] = 17
    category = {"id": 1, "name": "person", "keypoints": COCO_KEYPOINTS, "skeleton": [[1, 2], [2, 4]]}
    listed = [{"id": i + 1, "file_name": f"{i + 1:06d}.jpg", "width": 1280, "height": 960} for i in range(images)]
    path.write_text(json.dumps({"images": listed, "annotations": entries, "categories": [category]}))


def draw_images(folder: Path, count: int) -> None:
    import cv2

    rng = np.random.default_rng(0)
    for i in range(count):
        coarse = rng.integers(0, 255, (30, 40, 3), np.uint8)
        picture = cv2.resize(coarse, (1280, 960), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{i + 1:06d}.jpg"), picture)


if __name__ == "__main__":
    sys.exit(main())
