"""Whether pictures that a model chooses to be labelled next teach it more than as many drawn at random.

Chosen are those of which the model is least sure, unlike each other and the labelled ones.

    python benchmarks/next.py --seeds 0 1 2

For each seed: a model is trained on 30 pictures of the drawn set; 30 more are chosen among 270 others by what it finds there,
and 30 at random; a model is trained on each 60, with the same steps, and measured on 60 pictures that none has seen. Writes
`benchmarks/NEXT.md`.
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from page import add_result, is_measured, paragraph, table

from centerkp.demo.scenes import write_demo
from centerkp.images.phash import perceptual_hash
from centerkp.images.reading import read_image
from centerkp.inference.detect import detect_records
from centerkp.inference.model_loading import load_detector
from centerkp.labels.coco import read_coco
from centerkp.results import Detection
from centerkp.review.usual import LEAST_SCORE
from centerkp.settings.training import TrainSettings
from centerkp.training.train import train
from centerkp.writing import write_json

RUNS, PAGE = Path("runs/next"), Path(__file__).with_name("NEXT.md")
FIRST, MORE, POOL, VAL = 30, 30, 300, 60
STEPS, BATCH = 400, 4  # two minutes on two cores
COMMON = {"backbone": "efficientnet_lite0_fpn", "image_size": 192, "batch_size": BATCH, "precision": "mixed_bfloat16"}
WAYS = ("first 30", "30 chosen", "30 at random")
ALIKE = 8  # of 64 bits of a perceptual hash: neighbouring frames, of which one is enough


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    for seed in parser.parse_args(arguments).seeds:
        _measure(seed)
    return 0


def _measure(seed: int) -> None:
    """Three trainings, unless their results are there already, and the page anew."""
    files = write_demo(RUNS / f"data_{seed}", POOL, VAL, 1, seed=1000 + seed)
    content = json.loads(files.train_json.read_text())
    order = np.random.default_rng(seed).permutation(POOL)
    first, others = order[:FIRST], order[FIRST:]
    model = _train(seed, "first 30", first, content, files.val_json)
    dataset = read_coco(files.train_json, check_images=False)
    found = detect_records(load_detector(model), dataset.records, 8)
    worths = [rate_image([d for d in one if d.score >= LEAST_SCORE]) for one in found]
    hashes = np.array([perceptual_hash(read_image(record.path)) for record in dataset.records], np.uint64)
    chosen = others[choose_next(np.array(worths)[others], hashes[others], hashes[first], MORE)]
    drawn = others[:MORE]  # they are in a random order
    _train(seed, "30 chosen", np.concatenate([first, chosen]), content, files.val_json)
    _train(seed, "30 at random", np.concatenate([first, drawn]), content, files.val_json)


def _train(seed: int, way: str, rows: np.ndarray, content: dict, val: Path) -> Path:
    """The model trained on some of the images; its scores go into the results."""
    run = RUNS / f"{way.replace(' ', '_')}_{seed}"
    is_known = is_measured(PAGE, {"seed": seed, "way": way})
    if is_known and run.exists():
        return run / "best.keras"
    images = [content["images"][row] for row in rows]
    ids = {image["id"] for image in images}
    own = content | {"images": images, "annotations": [a for a in content["annotations"] if a["image_id"] in ids]}
    coco = write_json(val.parent.with_name(f"data_{seed}") / f"{run.name}.json", own)
    shutil.rmtree(run, ignore_errors=True)  # of a measurement that was broken off
    epochs = round(STEPS / (len(images) // BATCH))
    settings = TrainSettings(
        coco=str(coco), val=str(val), weights="drawn", epochs=epochs, eval_every=epochs, seed=seed, run=str(run),
        check_images=False, **COMMON,
    )  # fmt: skip
    e = train(settings).evaluation
    scores = {"box_ap": e.box["AP"], "keypoint_ap": e.keypoints["AP"], "pck": e.pck}
    case = {"seed": seed, "way": way, "images": len(images), "objects": len(own["annotations"])}
    if not is_known:
        add_result(PAGE, case | {name: round(value, 4) for name, value in scores.items()}, _format)
    return run / "best.keras"


def rate_image(found: Sequence[Detection]) -> float:
    """How much there is to learn from an image: objects that may or may not be there, and unsure points of those that are.

    An object of score p counts 4 p (1 - p), at most 1 where it is as likely as not, and p (1 - q) more, where q is the mean
    score of its points. An image with many unsure objects is worth more than one with few.
    """
    worth = 0.0
    for d in found:
        unsure = float(np.mean(1 - d.keypoint_scores)) if len(d.keypoint_scores) else 0.0
        worth += 4 * d.score * (1 - d.score) + d.score * unsure
    return worth


def choose_next(worths: Sequence[float], hashes: np.ndarray, known: np.ndarray, count: int) -> list[int]:
    """The images to label next, those worth most first; none that looks like one chosen before or a labelled one.

    Args:
        worths: (N,) as `rate_image` gives them.
        hashes: (N,) uint64 of `perceptual_hash`; `known` (M,) those of labelled images.
        count: how many; fewer come where the others look too much alike.
    """
    chosen: list[int] = []
    for n in np.argsort(-np.asarray(worths), kind="stable").tolist():
        taken = np.concatenate([known, hashes[chosen]])
        if len(chosen) < count and not (np.bitwise_count(taken ^ hashes[n]) <= ALIKE).any():
            chosen.append(n)
    return chosen


def _format(results: list[dict]) -> str:
    results = sorted(results, key=lambda r: (r["seed"], WAYS.index(r["way"])))
    lines = [[*(r[k] for k in ("seed", "way", "images", "objects")), *(f"{r[k]:.3f}" for k in ("box_ap", "keypoint_ap", "pck"))]
             for r in results]  # fmt: skip
    text = f"""Written by `python benchmarks/next.py`: {STEPS} steps of {BATCH} images each, measured on {VAL} pictures that no
    model has seen. Chosen pictures have more objects, which take longer to label."""
    header = ("seed", "pictures", "images", "objects", "box AP", "keypoint AP", "PCK@0.1")
    return f"# Pictures chosen to be labelled next, and as many at random\n\n{paragraph(text)}\n\n{table(header, lines)}\n"


if __name__ == "__main__":
    raise SystemExit(main())
