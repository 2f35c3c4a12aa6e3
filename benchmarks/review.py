"""How many planted label errors `centerkp review` finds among twice as many suspects.

    python benchmarks/review.py LABELS.json MODEL --title "drawn, ..." [--seeds 100 101 ...]
    python benchmarks/review.py LABELS.json --write planted.json --seeds 0     # to train folds on
    python benchmarks/review.py LABELS.json RUN_OF_FOLDS --title "..." --seeds 0

Errors are planted in copies of the labels, one copy for each seed (see `planting.py`), and reviewed by what MODEL finds in the
pictures. Where it is a run with --folds, that has to be trained on the copy of the same seed. LABELS are taken for right: an
error of their own that is found counts as a false suspect. Writes `benchmarks/REVIEW.md` from all results in
`runs/review/results.json`.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np
from page import paragraph, table
from planting import KINDS, SIGMAS, plant_errors

from centerkp.geometry import box_ious
from centerkp.labels.coco import read_coco
from centerkp.labels.records import Record
from centerkp.review.judged import judge_labels
from centerkp.review.suspects import Suspect, find_suspects
from centerkp.writing import write_json

RUNS, PAGE = Path("runs/review"), Path(__file__).with_name("REVIEW.md")
TIMES = (1, 2, 3)  # suspects that are looked at, in times of the planted errors


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("labels", type=Path)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--title", help="what the page says about labels and model")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(100, 110)))
    parser.add_argument("--write", type=Path, help="only write the planted labels of the first seed")
    options = parser.parse_args(arguments)
    content = json.loads(options.labels.read_text())
    images_dir = options.labels.parent
    for image in content["images"]:
        image["file_name"] = str((images_dir / image["file_name"]).resolve())
        if not Path(image["file_name"]).exists():
            image["file_name"] = str((images_dir / "images" / Path(image["file_name"]).name).resolve())
    clean = write_json(RUNS / "clean.json", content)
    if options.write:
        write_json(options.write, plant_errors(content, read_coco(clean, check_images=False).schema, options.seeds[0])[0])
        return 0
    judged = judge_labels(options.model, clean, check_images=False)
    detections = {r.image_id: found for r, found in zip(judged.dataset.records, judged.detections, strict=True)}
    counts: Counter = Counter()
    for seed in options.seeds:
        planted, errors = plant_errors(content, judged.dataset.schema, seed)
        records = read_coco(
            write_json(RUNS / "planted.json", planted), schema=judged.dataset.schema, check_images=False
        ).records
        suspects = find_suspects(records, [detections[r.image_id] for r in records], judged.dataset.schema)
        counts.update(_count(errors, suspects, records))
    path = RUNS / "results.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    objects = sum(int((~r.is_crowd).sum()) for r in judged.dataset.records)
    write_json(path, results | {options.title: {"objects": objects, "seeds": len(options.seeds), **counts}}, indent=1)
    PAGE.write_text(_format(json.loads(path.read_text())), encoding="utf-8")
    return 0


def _count(errors: list[dict], suspects: list[Suspect], records: tuple[Record, ...]) -> Counter:
    """Planted errors by kind, those found among the first suspects, and those whose kind was found right, too."""
    counts: Counter = Counter()
    for error in errors:
        counts[error["kind"]] += 1
        hits = [n for n, suspect in enumerate(suspects) if _is_about(suspect, error, records[suspect.row])]
        for times in TIMES:
            counts[f"{error['kind']} at {times}"] += bool(hits) and hits[0] < times * len(errors)
        right = {"shifted": "points"}.get(error["kind"], error["kind"])
        counts["named"] += bool(hits) and hits[0] < 2 * len(errors) and suspects[hits[0]].kind == right
    return counts


def _is_about(suspect: Suspect, error: dict, record: Record) -> bool:
    if record.image_id != error["image_id"]:
        return False
    if suspect.index is not None:
        return record.annotation_ids[suspect.index] == error["annotation_id"]
    box = np.array(error["bbox"], float)
    box[2:] += box[:2]
    return error["kind"] == "missing" and box_ious(box[None], suspect.found.box_xyxy[None])[0, 0] >= 0.5


def _format(results: dict[str, dict]) -> str:
    lines = []
    for title, counts in results.items():
        planted = sum(counts.get(kind, 0) for kind in KINDS)
        found = {t: sum(counts.get(f"{kind} at {t}", 0) for kind in KINDS) for t in TIMES}
        by_kind = [f"{counts[f'{kind} at 2'] / counts[kind]:.0%}" if counts.get(kind) else "" for kind in KINDS]
        shares = [f"{found[t] / planted:.0%}" for t in TIMES]
        lines.append(
            [title, counts["objects"], planted, counts["seeds"], *shares, *by_kind, f"{counts['named'] / max(found[2], 1):.0%}"]
        )
    header = ("labels and model", "objects", "planted", "copies", *(f"at {t}x" for t in TIMES), *KINDS, "kind named rightly")
    text = f"""Written by `python benchmarks/review.py`: in copies of labels, 5 % of the objects each are missing, have
    a point that is shifted by {SIGMAS} OKS sigmas, have their points exchanged, and (where there are several) have another
    class. "At 2x" is the share of them that are among twice as many suspects as were planted, the first of `centerkp review`;
    so for every kind. A model that was trained on clean labels has learned from none of the errors, which is easier than folds
    on the labels that are reviewed."""
    return f"# Planted label errors that `centerkp review` finds\n\n{paragraph(text)}\n\n{table(header, lines)}\n"


if __name__ == "__main__":
    raise SystemExit(main())
