"""Models side by side on one annotated dataset: their numbers, on the terminal, in metrics.json and in curves.csv."""

import csv
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console

from centerkp.console import make_console
from centerkp.doctor.trainable import read_dataset
from centerkp.evaluation.curves import RECALLS, SCORES
from centerkp.evaluation.evaluate import Evaluation, evaluate
from centerkp.evaluation.keypoint_error import PCK_SHARES
from centerkp.evaluation.predictions import PredictionFile, describe_predictions
from centerkp.evaluation.speed import Speed, TimedDetector, describe_machine
from centerkp.evaluation.tables import (
    class_table,
    confusion_table,
    keypoint_table,
    number_table,
    pck_table,
    print_notes,
    print_tables,
    threshold_table,
)
from centerkp.inference.detect import detect_records
from centerkp.inference.detector import Detector
from centerkp.inference.model_loading import load_for_use
from centerkp.inference.scores import check_score
from centerkp.labels.content import Paths, list_paths
from centerkp.labels.records import Dataset, Record
from centerkp.results import Detection
from centerkp.schema import OksSigmas, Schema
from centerkp.writing import mark, replacing, write_json

CURVE_COLUMNS = ("model", "curve", "class", "x", "y")
TERMINAL_MODELS = 3  # so many columns of two numbers each fit 80 columns


@dataclass(frozen=True, eq=False)
class ModelResult:
    """One model on the dataset: its annotations as its schema has them, its detections, and how good and fast they are.

    Of a file of predictions, `speed` is None.
    """

    name: str
    path: str
    schema: Schema
    records: tuple[Record, ...]
    detections: list[list[Detection]]
    evaluation: Evaluation
    speed: Speed | None

    def describe(self) -> str:
        """How fast one of the compared models is, or what the file of predictions in its place holds, in a line."""
        return self.speed.describe() if self.speed else describe_predictions(self.detections)


def measure_models(
    models: Sequence[str | Path],
    coco: Paths,
    *,
    images_dir: Paths | None = None,
    tta: str | None = None,
    tile: int | None = None,
    overlap: float | None = None,
    min_score: float | None = None,
    batch_size: int = 8,
    image_size: int | tuple[int, int] | None = None,
    oks_sigmas: OksSigmas = None,
    check_images: bool = True,
    console: Console | None = None,
    allow: Callable[[Dataset], None] = lambda dataset: None,
) -> list[ModelResult]:
    """Runs models on one dataset and measures how good and how fast they are.

    Args:
        models: what `load_detector` takes, or .json files of predictions (`infer`'s, a run's, COCO results), which are measured
            as they are; their classes must be those of the dataset.
        tta: test-time augmentation such as "flip" or "flip,scale"; none by default.
        tile: looks at tiles of every picture of so many pixels, see `images.tiling.Tiling`, at whole ones for 0; as in
            the model's training by default.
        overlap: of neighbouring tiles, a share of them.
        min_score: see `evaluate`; also the least score of what is drawn.
        oks_sigmas: instead of those the model was trained with; see `Schema.with_sigmas`.
        check_images: see `read_coco`.
        allow: is called with the dataset before any model looks at it, and raises where that must not be.

    Raises:
        ValueError, FileNotFoundError: a model or the dataset cannot be used, or they do not fit; says what.
    """
    console = console or make_console()
    if min_score is not None:
        check_score(min_score)
    results, datasets = [], {}
    for name, path in zip(name_models(models), models, strict=True):
        source = load_source(path, coco, images_dir, console, image_size=image_size, tta=tta, tile=tile, overlap=overlap)
        schema = source.schema.with_sigmas(oks_sigmas)
        levels = getattr(source, "levels", None)
        if (schema, levels) not in datasets:  # models of one schema share the annotations
            stretch = str(levels) if levels else None
            datasets[schema, levels] = read_dataset(
                coco, images_dir=images_dir, schema=schema, check_images=check_images, stretch=stretch
            )
            allow(datasets[schema, levels])
        dataset = datasets[schema, levels]
        for line in () if results else dataset.notes:
            console.print(f"{dataset.path.name}: {line}")
        if isinstance(source, PredictionFile):
            (detections, notes), speed = source.match(dataset), None
            for line in notes:
                console.print(f"{name}: {line}")
        else:
            timed, started = TimedDetector(source), time.perf_counter()
            detections = detect_records(timed, dataset.records, batch_size, console, name)
            speed = timed.measure(len(detections), time.perf_counter() - started)
        evaluation = evaluate(dataset.records, detections, schema, min_score=min_score)
        results.append(ModelResult(name, str(path), schema, dataset.records, detections, evaluation, speed))
    return results


def load_source(
    path: str | Path, coco: Paths, images_dir: Paths | None, console: Console, **asked: Any
) -> Detector | PredictionFile:
    """What a path to be measured names: a file of predictions, by its ending .json, else a model.

    `asked` are options of `load_for_use`, of which a file of predictions can have none.
    """
    if Path(path).suffix.lower() != ".json":
        return load_for_use(path, console=console, **asked)
    if given := [f"--{name.replace('_', '-')}" for name, value in asked.items() if value]:
        raise ValueError(
            f"{path}: found {' and '.join(given)} for a file of predictions, expected a model; leave it out, or name the "
            "model that predicted."
        )
    return PredictionFile.read(path, coco, images_dir)


def name_models(paths: Sequence[str | Path]) -> list[str]:
    """Short names that tell evaluated models apart: the ends of their paths, without what all have in common."""
    named = [path if path.name.strip(".") else path.resolve() for path in map(Path, paths)]  # "." and ".." name nothing
    parts = [path.parts[::-1] for path in named]
    count = next((n for n in range(1, max(map(len, parts))) if len({p[:n] for p in parts}) == len(parts)), None)
    names = ["/".join(p[:count][::-1]).removeprefix("//") for p in parts]
    if len({path.name for path in named}) == 1 and len(names) > 1 and count == 2:
        names = [p[1] for p in parts]  # runs/a/best.keras, runs/b/best.keras
    repeated = [name for name in names if names.count(name) > 1]
    return [f"{name} ({n})" if name in repeated else name for n, name in enumerate(names, 1)]


def write_metrics(results: Sequence[ModelResult], coco: Paths, out: Path) -> Path:
    """Writes the compared models' metrics.json: all numbers of each but the curves."""
    models = {r.name: {"model": r.path, "speed": r.speed and asdict(r.speed), **r.evaluation.to_dict()} for r in results}
    files = [str(path) for path in list_paths(coco)]
    content = {
        "made_by": mark("eval"),
        "coco": files[0] if len(files) == 1 else files,
        "machine": describe_machine(),
        "models": models,
    }
    return write_json(out / "metrics.json", content, indent=2)


def write_curves(results: Sequence[ModelResult], out: Path) -> Path:
    """Writes the compared models' curves.csv: model, curve, class, x, y of every point."""
    path = out / "curves.csv"
    with replacing(path) as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(CURVE_COLUMNS)
        writer.writerows(row for r in results for row in _curve_rows(r))
    return path


def _curve_rows(result: ModelResult) -> Iterator[tuple]:
    """The rows of one of the compared models in curves.csv."""
    curves = result.evaluation.curves
    for kind in ("boxes", "keypoints"):
        for name, values in curves[kind]["precision_at_recall"].items():
            yield from _curve_points(result.name, f"{kind} precision at recall", name, RECALLS, values)
        for name, by_number in curves[kind]["score"].items():
            for number, values in by_number.items():
                yield from _curve_points(result.name, f"{kind} {number} at score", name, SCORES, values)
    for name, values in curves["pck"].items():
        yield from _curve_points(result.name, "PCK within", name, PCK_SHARES, values)


def _curve_points(model: str, curve: str, name: str, x: Sequence[float], y: Sequence[float | None] | None) -> list[tuple]:
    """The points of a curve of one of the compared models as rows of curves.csv; none where nothing decides it."""
    return [(model, curve, name, *point) for point in zip(x, y, strict=True)] if y else []


def print_results(results: Sequence[ModelResult], console: Console) -> None:
    """Prints what the compared models gave, side by side, on the terminal: all tables and notes."""

    def say(line: str = "") -> None:
        console.print(line)

    evaluations = {r.name: r.evaluation for r in results}
    first = results[0].evaluation
    say(f"{first.images} images, {sum(first.objects.values())} annotated objects")
    if any(r.speed for r in results):
        say("Speed measured here, on " + describe_machine())
    for n, r in enumerate(results, 1):
        say(f"{n}: {r.name}, {r.describe()}")
    say()
    numbered = {str(n) if len(results) > 1 else "": e for n, e in enumerate(evaluations.values(), 1)}
    tables = [number_table(part) for part in _divide_models(numbered)]
    tables.append(class_table(evaluations, cut=True))
    if any(e.per_keypoint for e in evaluations.values()):
        tables += [keypoint_table(evaluations, cut=True), pck_table(evaluations, cut=True)]
    tables.append(threshold_table(evaluations, cut=True))
    tables += [confusion_table(e, name if len(results) > 1 else "") for name, e in evaluations.items()]
    print_tables(tables, console)
    print_notes(evaluations, console)
    say()


def _divide_models(evaluations: Mapping[str, Evaluation]) -> Iterator[dict[str, Evaluation]]:
    """The compared models in groups, of which each fits the width of a terminal."""
    items = iter(evaluations.items())
    while part := dict(islice(items, TERMINAL_MODELS)):
        yield part
