"""What boxes made around keypoints are worth where the labels' boxes are: the same weights, decoded both ways.

    python benchmarks/boxes.py ../data/mirror_mouse ../data/mouse_openfield [--epochs 40]

A set is a folder with train.json and test.json. Each is trained on once, with a fifth of train.json for validation, and the
best model is evaluated on test.json with `box_margins` as measured from train.json, and without. Also what `infer` makes of its
default threshold there. Writes `benchmarks/BOXES.md`.
"""

import argparse
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from page import paragraph, table

ROOT, RUNS, PAGE = Path(__file__).parent.parent, Path("runs/boxes"), Path(__file__).with_name("BOXES.md")
HEADER = ["set", "epochs", "class", "margin", "test objects", "box AP, as the network tells", "box AP, around keypoints"]
SCORES = ["set", "F1 at infer's threshold", "at the best thresholds by class"]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("--epochs", default="40")
    options = parser.parse_args(arguments)
    rows, thresholds = [], []
    for folder in options.sets:
        run = RUNS / folder.name
        if not (run / "metrics.json").exists():
            command = [sys.executable, ROOT / "train.py", "--coco", folder / "train.json", "--run", run]
            subprocess.run([*command, "--epochs", options.epochs], check=True)
        more, line = compare(run, folder)
        rows += more
        thresholds.append(line)
    PAGE.write_text(_format(rows, thresholds), encoding="utf-8")
    return 0


def compare(run: Path, folder: Path) -> tuple[list[list[str]], list[str]]:
    """Rows of the tables for a run and the images that it has not seen."""
    from centerkp.evaluation.evaluate import evaluate
    from centerkp.inference.detect import detect
    from centerkp.labels.box_margins import measure_box_margins
    from centerkp.labels.coco import read_coco
    from centerkp.model.center_net import load_model

    model = load_model(run / "best.keras")
    train, test = (read_coco(folder / f"{part}.json") for part in ("train", "test"))
    margins = measure_box_margins(train.records, train.schema)
    found = []
    for box_margins in ((), margins):
        model.decode_options = replace(model.decode_options, box_margins=box_margins)
        model.predict_function = None
        detections = [list(r.detections) for r in detect(model, [r.path for r in test.records])]
        found.append(evaluate(test.records, detections, model.schema))
    rows = []
    for name, margin in zip(train.schema.class_names, margins, strict=True):
        scores = [f"{one.box_per_class[name]:.3f}" for one in found]
        rows.append(
            [
                folder.name,
                str(model.trained_epochs),
                name,
                "none" if margin is None else f"{margin:.0%}",
                str(found[0].objects[name]),
                *scores,
            ]
        )
    f1 = []
    for thresholds in (model.thresholds, found[1].find_thresholds()):
        kept = [[d for d in one if d.score >= thresholds.scores[d.class_id]] for one in detections]
        curve = evaluate(test.records, kept, model.schema).curves["boxes"]["score"]["all classes"]["f1"]
        f1.append(f"{curve[0]:.3f}")
    return rows, [folder.name, *f1]


def _format(rows: list[list[str]], thresholds: list[list[str]]) -> str:
    intro = (
        "Written by `python benchmarks/boxes.py`: one training of each set with the default settings, the best model on the "
        "test images, its boxes as the network tells them and, from the same weights, around its keypoints by the margin that "
        "the training labels have, where the network's overlap that by half. "
        '"None" is a class whose labelled boxes are no such frames: there both are the same.'
    )
    f1 = (
        "F1 of the boxes at IoU 0.5 on the test images, all classes together: at the thresholds that training stored, which "
        "`infer` takes by default, and at those that are best on the test images themselves, class by class."
    )
    tables = table(HEADER, rows), paragraph(f1), table(SCORES, thresholds)
    return "\n\n".join(["# Boxes around keypoints", paragraph(intro), *tables]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
