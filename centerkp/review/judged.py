"""What a review compares: the labels of a file, and what a model, a file of predictions or finished folds found there."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from centerkp.doctor.trainable import require_as_written
from centerkp.evaluation.compared_models import load_source
from centerkp.evaluation.predictions import PredictionFile
from centerkp.inference.detect import detect_records
from centerkp.labels.coco import read_coco, read_schema
from centerkp.labels.records import Dataset, Record
from centerkp.results import Detection
from centerkp.training.run_images import digest_labels, image_key, read_images
from centerkp.wording import count_of


@dataclass(frozen=True, eq=False)
class Judged:
    """Labels, and what was found in each of their images.

    Args:
        detections: of each of the dataset's records.
        witness: a sentence that says what found them, and whether it has learned from these labels.
        notes: what was mended or left out.
    """

    dataset: Dataset
    detections: list[list[Detection]]
    witness: str
    notes: tuple[str, ...]


def judge_labels(
    model: str | Path,
    coco: str | Path,
    *,
    images_dir: str | Path | None = None,
    tta: str | None = None,
    batch_size: int = 8,
    check_images: bool = True,
    console: Console | None = None,
) -> Judged:
    """Reads labels to be reviewed, and finds what a model sees in their images.

    Args:
        model: what `load_detector` takes, a .json file of predictions, or the folder of a run with --folds, whose predictions
            are those of models that have not seen the image.
        tta, check_images: as in `measure_models`.

    Raises:
        ValueError, FileNotFoundError: the model or the labels cannot be used, or do not fit each other; says what. So when
            labels have to be mended first: training has learned from others than stand in the file.
    """
    require_as_written(coco, images_dir, check_images)
    model = _find_predictions(Path(model))
    source = load_source(model, coco, images_dir, console, tta=tta)
    levels = getattr(source, "levels", None)
    stretch = str(levels) if levels else None
    dataset = read_coco(coco, images_dir=images_dir, schema=source.schema, check_images=check_images, stretch=stretch)
    notes = dataset.notes
    if isinstance(source, PredictionFile):
        detections, more = source.match(dataset)
        notes += more
    else:
        detections = detect_records(source, dataset.records, batch_size, console, "detecting")
    labelled = read_schema(coco, images_dir).class_names  # a model may know more classes than anybody labelled here
    detections = [[d for d in found if d.class_name in labelled] for found in detections]
    detections, beyond = _leave_out_beyond(detections, dataset.records)
    if beyond:
        notes += (f"{count_of(beyond, 'predicted object')}: wholly outside the image, left out",)
    return Judged(dataset, detections, _describe_witness(model, dataset.records, isinstance(source, PredictionFile)), notes)


def _leave_out_beyond(
    detections: Sequence[Sequence[Detection]], records: Sequence[Record]
) -> tuple[list[list[Detection]], int]:
    """What a review looks at of the detections in each image: those that meet it; and how many do not, in some other's file."""
    kept = [
        [d for d in found if (d.box_xyxy[:2] < (record.width, record.height)).all() and (d.box_xyxy[2:] > 0).all()]
        for found, record in zip(detections, records, strict=True)
    ]
    return kept, sum(map(len, detections)) - sum(map(len, kept))


def _find_predictions(model: Path) -> Path:
    """The predictions of a run's finished folds where a path of a review is their folder, else the path as it is."""
    if not any(model.glob("fold_*/images.json")):
        return model
    if not (model / "predictions.json").exists():
        raise ValueError(
            f"{model}: found folds without predictions.json, expected finished ones; go on with train --resume {model}."
        )
    return model / "predictions.json"


def _describe_witness(model: Path, records: Sequence[Record], is_file: bool) -> str:
    """Which model speaks in a review, and whether it has learned from the labels that it judges."""
    if is_file and any(model.parent.glob("fold_*/images.json")):
        return f"{model}: predictions of folds, of every image by a model that was trained without it."
    # The model may be named by its run's folder.
    kept = read_images(model / "images.json") or read_images(model.parent / "images.json")
    if kept is None:
        return (
            f"{model}: whether its model was trained on these labels is not known; one that was vouches for them, errors "
            "included. train --folds gives predictions without that."
        )
    labelled = [record for record in records if len(record.class_ids)]
    # Not by their ids, which are others where several files were trained on together.
    known = {(name, digest) for (_, name), digest in kept.train.items()}
    seen = sum((image_key(record)[1], digest_labels(record)) in known for record in labelled)
    if seen:
        return (
            f"{model}: its model was trained on the labels of {seen} of {count_of(len(labelled), 'image')} and vouches for "
            "them, errors included. train --folds gives predictions without that."
        )
    names = {name for name, _ in known}
    named = sum(image_key(record)[1] in names for record in labelled)
    if named:
        return (
            f"{model}: its model was trained on images of {named} of these {len(labelled)} names, with other labels, such as "
            "those before corrections; where they are the same images, it may vouch for what is wrong in both."
        )
    return f"{model}: its model was trained on none of these labels."
