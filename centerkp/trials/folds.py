"""Folds of a run: a model for each share of the images, trained without it, and what they come to together."""

import gc
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

from rich.console import Console

from centerkp.console import make_console
from centerkp.distribution.hosts import require_one_process
from centerkp.evaluation.evaluate import Evaluation, evaluate, ground_truth_as_detections
from centerkp.evaluation.predictions import PredictionFile
from centerkp.evaluation.spread import measure_spread, spread_table
from centerkp.evaluation.tables import print_notes, print_tables
from centerkp.labels.counts import require_labels
from centerkp.labels.records import Dataset, Record
from centerkp.schema import Schema
from centerkp.settings.augmentation import read_augmentation
from centerkp.settings.canvas import choose_canvas
from centerkp.settings.paths import DATA_PATHS
from centerkp.settings.training import TrainSettings
from centerkp.settings.values import read_time
from centerkp.training.batch_search import choose_batch_size
from centerkp.training.choice import choose
from centerkp.training.loggers import require_loggers
from centerkp.training.run_folder import RunFolder
from centerkp.training.run_images import deal_settings, digest_labels, image_key, read_dataset
from centerkp.training.train import train
from centerkp.writing import write_json


@dataclass(frozen=True)
class FoldsResult:
    """Where the folds are, and what they come to.

    Args:
        numbers: mean and spread over the folds, see `measure_spread`.
        evaluation: of all images together, the objects of each found by the model that has not seen it.
    """

    folder: RunFolder
    numbers: dict[str, Any]
    evaluation: Evaluation


def cross_validate(
    settings: TrainSettings, *, resume: str | Path | None = None, started: float | None = None, console: Console | None = None
) -> FoldsResult:
    """Trains a model for each of `settings.folds`, in run folders fold_1, fold_2, ... inside of one, and sums them up there.

    Args:
        resume: the folder of interrupted folds: finished ones are kept, an unfinished one is resumed.
        started: from when on `settings.time` counts, by `time.monotonic`; it is divided among the folds.

    Raises:
        ValueError, FileNotFoundError, FileExistsError: as `train`; or images have changed since the folds were dealt.
    """
    started = monotonic() if started is None else started
    require_one_process(settings, "folds")
    console = console or make_console()
    require_loggers(settings)
    read_augmentation(settings)
    folder = RunFolder(resume) if resume else RunFolder.name(settings)
    if not resume:
        folder.refuse_taken(settings.reads)
    settings, choices = choose(settings)
    for line in choices:
        console.print(line)
    dataset = read_dataset(settings)
    folds, notes = deal_settings(dataset, settings)
    sizes = "/".join(str(len(fold)) for fold in folds)
    console.print(f"{len(folds)} folds of {sizes} images, dealt with seed {settings.seed}")
    for note in [*dataset.notes, *notes]:
        console.print(f"  {note}", style="yellow")
    _check_folds(folds, dataset.schema, settings)
    records = [record for fold in folds for record in fold]
    images = len(records) - max(map(len, folds))
    settings, canvas = choose_canvas(settings, records)
    settings, choices = choose_batch_size(settings, dataset.schema, records, images, console)
    for line in canvas + choices:
        console.print(line)
    if not resume:
        folder = RunFolder.create(settings)
    with folder.hold():
        folder.write_settings(settings)
        ones = [RunFolder(folder.path / f"fold_{number}") for number in range(1, len(folds) + 1)]
        for one, records in zip(ones, folds, strict=True):
            _refuse_others(one, records)
        try:
            _train_folds(ones, settings, started, monotonic() - started, console)
        except KeyboardInterrupt:
            console.print(f"of {len(ones)} folds; all go on with --resume {folder.path}", soft_wrap=True)
            raise
        return _sum_up(folder, ones, dataset, console)


def _check_folds(folds: Sequence[Sequence[Record]], schema: Schema, settings: TrainSettings) -> None:
    """Raises ValueError before the first fold where one of them cannot be trained without, or not be evaluated."""
    for number, records in enumerate(folds, 1):
        try:
            require_labels([r for fold in folds if fold is not records for r in fold], schema)
            evaluate(records, ground_truth_as_detections(records, schema), schema).score(settings.monitor)
        except ValueError as error:
            raise ValueError(f"fold {number} of {len(folds)}: {error} Or try fewer --folds, or another --seed.") from None


def _refuse_others(one: RunFolder, records: Sequence[Record]) -> None:
    """Raises ValueError where a fold that has begun holds out other images, or with other labels, than would be now."""
    kept = one.read_images()
    if kept and dict(kept.val) != {image_key(record): digest_labels(record) for record in records}:
        raise ValueError(
            f"{one.path}: found other validation images or labels than those of now, expected the same for all folds; put them "
            "back, or start a new run."
        )


def _train_folds(ones: Sequence[RunFolder], settings: TrainSettings, started: float, apart: float, console: Console) -> None:
    """Trains the folds that are not finished; a timed run is left `apart` seconds for what comes after the last one."""
    left = [number for number, one in enumerate(ones, 1) if not one.predictions.exists()]
    if len(left) < len(ones):
        console.print(f"{len(ones) - len(left)} of {len(ones)} folds had been finished")
    for done, number in enumerate(left):
        one, now = ones[number - 1], monotonic()
        console.print(f"\nfold {number} of {len(ones)}", style="bold")
        if one.settings.exists():
            moved = {name: getattr(settings, name) for name in (*DATA_PATHS, "threads", "devices", "save_every")}
            train(replace(one.read_settings(), **moved), resume=one.path, started=now, console=console)
        else:
            own = replace(settings, fold=number, run=str(one.path))
            if settings.time:  # of a resumed run so much as the folds that are left had at its start
                whole = read_time(settings.time) * len(left) / len(ones)
                share = (started + whole - apart - now) / (len(left) - done)
                own = replace(own, time=f"{share / 60:.0f}m" if share > 1e5 else f"{max(share, 1):.0f}s")
            train(own, started=now, console=console)
        gc.collect()  # a model and its graphs refer to each other: memory for the next


def _sum_up(folder: RunFolder, ones: Sequence[RunFolder], dataset: Dataset, console: Console) -> FoldsResult:
    """Writes what the finished folds come to: predictions for all images, and mean and spread of all numbers."""
    schema = dataset.schema
    write_json(folder.predictions, merge_predictions([_read(one.predictions) for one in ones]))
    places = {c.category_id: (number, list(range(len(c.keypoints)))) for number, c in enumerate(schema.classes)}
    found, _ = PredictionFile(folder.predictions, _read(folder.predictions), schema, places).match(dataset)
    evaluation = evaluate(dataset.records, found, schema)
    numbers = measure_spread([_read(one.metrics) for one in ones])
    write_json(folder.metrics, evaluation.to_dict() | {"folds": numbers}, indent=2)
    console.print()
    print_tables([spread_table(numbers, evaluation)], console)
    print_notes({"": evaluation}, console)
    console.print("All images: each with what the model found that has not seen it; in training without --folds all are seen.")
    for name, path in (("models", folder.path / "fold_*"), ("numbers", folder.metrics), ("objects", folder.predictions)):
        console.print(f"{name:>9}: {path}", soft_wrap=True)
    return FoldsResult(folder, numbers, evaluation)


def merge_predictions(contents: Sequence[dict]) -> dict:
    """The predictions of all folds as one COCO dataset, by image id, with annotation ids of its own."""
    images = sorted((image for content in contents for image in content["images"]), key=lambda image: image["id"])
    annotations = sorted((a for content in contents for a in content["annotations"]), key=lambda a: a["image_id"])
    numbered = [annotation | {"id": number} for number, annotation in enumerate(annotations, 1)]
    return contents[0] | {"images": images, "annotations": numbered}


def _read(path: Path) -> Any:
    """What a finished fold, or all of them, wrote as JSON."""
    return json.loads(path.read_text(encoding="utf-8"))
