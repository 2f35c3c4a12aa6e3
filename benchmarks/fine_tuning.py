"""Fine-tunes a model and trains the same network from random weights, equally long; draws both curves.

    python benchmarks/fine_tuning.py START.keras glue_tubes/train.json glue_tubes/test.json --out docs/fine_tuning.png

START.keras is a hourglass_20 of another dataset, for instance the demonstration's. Both runs take the same images in the same
order; only the weights they start from and, with them, the highest learning rate differ (see RATES).
"""

import argparse
import csv
import subprocess
import sys
from itertools import accumulate
from pathlib import Path

RATES = {"fine-tuned": "0.0005", "random weights": "0.002"}
COLORS = {"fine-tuned": "#0072b2", "random weights": "#d55e00"}
SCORES = {"box_ap": "box AP", "keypoint_ap": "keypoint AP (sigma 0.05)"}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("start", help="model to start from")
    parser.add_argument("train", help="COCO JSON to train on")
    parser.add_argument("val", help="COCO JSON to evaluate on")
    parser.add_argument("--epochs", type=int, default=18)
    parser.add_argument("--eval-every", type=int, default=3)
    parser.add_argument("--runs", type=Path, default=Path("runs/fine_tuning"), help="where both run folders go")
    parser.add_argument("--out", type=Path, default=Path("docs/fine_tuning.png"))
    options = parser.parse_args(arguments)
    curves = {}
    for name, weights in (("fine-tuned", options.start), ("random weights", "none")):
        folder = options.runs / name.replace(" ", "_")
        _train(options, weights, RATES[name], folder)
        curves[name] = _read_log(folder / "log.csv")
    _draw(curves, options.out)
    for name, curve in curves.items():
        print(f"{name}:", ", ".join(f"{key} {value:.3f}" for key, value in curve[-1].items()))
    print(options.out)
    return 0


def _train(options: argparse.Namespace, weights: str, rate: str, folder: Path) -> None:
    flags = {
        "coco": options.train, "val": options.val, "weights": weights, "learning-rate": rate, "run": folder,
        "backbone": "hourglass_20", "image-size": 256, "batch-size": 4, "ema": 0.99, "loss-weights": "box_size=0.2",
        "precision": "mixed_bfloat16", "epochs": options.epochs, "eval-every": options.eval_every,
    }  # fmt: skip
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    subprocess.run([sys.executable, Path(__file__).parents[1] / "train.py", *words], check=True)


def _read_log(path: Path) -> list[dict]:
    """The evaluated epochs, with the minutes of training until then; evaluations are not counted as training."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    minutes = accumulate(float(row["seconds"]) / 60 for row in rows)
    scored = [row | {"minutes": m} for row, m in zip(rows, minutes, strict=True) if row["box_ap"]]
    return [{key: float(row[key] or 0) for key in ("minutes", *SCORES)} for row in scored]


def _draw(curves: dict[str, list[dict]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(SCORES), figsize=(8, 3), sharex=True, sharey=True, layout="constrained")
    for axis, (key, title) in zip(axes, SCORES.items(), strict=True):
        for name, curve in curves.items():
            x, y = [0, *(row["minutes"] for row in curve)], [0, *(row[key] for row in curve)]
            axis.plot(x, y, marker="o", color=COLORS[name])
            axis.annotate(name, (x[-1], y[-1]), (-4, 6), textcoords="offset points", ha="right", color=COLORS[name])
        axis.set(title=title, xlabel="minutes of training")
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.3)
    axes[0].set_ylim(0, 1)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
