"""What an artefact loses in average precision on annotated images."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from centerkp.evaluation.evaluate import evaluate
from centerkp.inference.detect import detect_records
from centerkp.inference.detector import Detector
from centerkp.labels.records import Dataset
from centerkp.model.center_net import CenterNet


@dataclass(frozen=True)
class Accuracy:
    """Average precision of Keras in float32 and of the artefact on the same images; None where nothing decides it."""

    source: str
    images: int
    keras: dict[str, float | None]
    artefact: dict[str, float | None]

    def lost(self, name: str) -> float | None:
        """How much lower the artefact's average precision "box_ap" or "keypoint_ap" is than that of Keras."""
        ours, theirs = self.artefact[name], self.keras[name]
        return None if ours is None or theirs is None else theirs - ours

    def to_dict(self) -> dict:
        """The average precision that an export loses, as JSON can hold it."""
        lost = {name: self.lost(name) for name in self.keras}
        return {"source": self.source, "images": self.images, "keras": self.keras, "artefact": self.artefact, "lost": lost}


def measure_accuracy(detector: Detector, model: CenterNet, dataset: Dataset, source: str | Path, console: Console) -> Accuracy:
    """Average precision of an artefact and of its Keras model on the images of a dataset that was read from `source`.

    Raises:
        ValueError: an image has become unreadable.
    """
    scores = []
    for name, one in (("keras", model), ("artefact", detector)):
        # One image at a time: the same for all formats, and the large network fits into small memories.
        detections = detect_records(one, dataset.records, 1, console, f"average precision, {name}")
        evaluation = evaluate(dataset.records, detections, model.schema)
        scores.append({"box_ap": evaluation.box["AP"], "keypoint_ap": evaluation.keypoints["AP"]})
    return Accuracy(str(source), len(dataset.records), *scores)


def accuracy_table(accuracy: Accuracy) -> Table:
    """A table of average precision of Keras and of the exported artefact side by side, for the terminal."""
    table = Table("", "Keras", "artefact", "lost", title=f"Average precision on {accuracy.images} images", title_justify="left")
    for name, label in (("box_ap", "box AP"), ("keypoint_ap", "keypoint AP")):
        values = accuracy.keras[name], accuracy.artefact[name], accuracy.lost(name)
        if None not in values:
            table.add_row(label, *(f"{value:.4f}" for value in values))
    return table
