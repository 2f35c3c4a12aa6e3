"""What a resumed run finds in its folder: whether it had begun, its last model, the scores of its best ones."""

from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console

from centerkp.evaluation.evaluate import evaluate
from centerkp.inference.detect import detect_records
from centerkp.labels.content import name_paths
from centerkp.labels.records import Record
from centerkp.model.center_net import CenterNet, load_model
from centerkp.schema import Schema
from centerkp.settings.training import TrainSettings
from centerkp.training.run_folder import RunFolder
from centerkp.training.run_images import digest_records


def check_begun(folder: RunFolder, console: Console) -> bool:
    """Whether a run to be resumed has saved something to go on from.

    Raises:
        FileNotFoundError: last.keras was taken away.
    """
    if folder.last.exists():
        return True
    if folder.best.exists():
        raise FileNotFoundError(
            f"{folder.last}: no such file, expected it beside {folder.best.name}; copy it back, or start a new run with "
            f"--weights {folder.best}."
        )
    console.print(f"{folder.path}: the run had not come to its first save, it starts from its beginning", soft_wrap=True)
    return False


def load_last(folder: RunFolder, schema: Schema, settings: TrainSettings) -> CenterNet:
    """The last.keras that a resumed run goes on with; ValueError when the data have become others."""
    model = load_model(folder.last)
    # What labels show of sides may change when some are added; the run keeps the sides that it began with.
    before = {c.name: c for c in model.schema.classes}
    known = [c if c.flip_source in ("json", "flag") else before.get(c.name, c) for c in schema.classes]
    own = [replace(c, flip_pairs=k.flip_pairs, flip_source=k.flip_source) for c, k in zip(schema.classes, known, strict=True)]
    if model.schema != Schema(tuple(own)):
        raise ValueError(
            f"{name_paths(settings.coco or settings.tfrecord)}: its classes or keypoints differ from those {folder.last} was "
            f"trained on; start a new run with --weights {folder.best}."
        )
    return model


def find_scores(
    folder: RunFolder, val_records: Sequence[Record], settings: TrainSettings, epochs: int, console: Console
) -> dict[int, float]:
    """The scores of a resumed run's best models until so many epochs; that of best.keras anew where they are not known."""
    if not folder.best.exists():
        return {}
    validation = digest_records(val_records)
    scores = folder.read_best(validation, epochs)
    if scores is None:
        model = load_model(folder.best)
        detections = detect_records(model, val_records, settings.batch_size)
        scores = {model.trained_epochs: evaluate(val_records, detections, model.schema).score(settings.monitor)}
        console.print(f"best.keras scored again on the validation images: {scores[model.trained_epochs]:.3f}")
        folder.write_best(scores, validation)
    return scores
