"""What is written down of a loss that is no longer a number: its images, terms and gradients, and whom they accuse."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from centerkp.drawing.mosaic import draw_batch
from centerkp.images.saving import write_image
from centerkp.labels.records import Record
from centerkp.model.gradients import measure_batches
from centerkp.training.run import Run
from centerkp.training.run_batches import list_batch, make_training_batches
from centerkp.training.step_watch import BrokenStep
from centerkp.writing import write_json

PICTURES, SHOWN = 16, 8  # images of a batch that are drawn, and named in a line


@dataclass(frozen=True)
class Autopsy:
    """A batch of a run, met again with the weights of the last save.

    Args:
        epoch, step: where it came, both counted from 1.
        terms, norms: its loss with the terms, and the norms of its gradients by layer group.
    """

    epoch: int
    step: int
    records: list[Record]
    terms: Mapping[str, float]
    norms: Mapping[str, float]

    @property
    def is_broken(self) -> bool:
        """Whether the batch has no finite loss or gradient, although the weights are those of the last save."""
        return not all(map(math.isfinite, [*self.terms.values(), *self.norms.values()]))

    def to_dict(self) -> dict[str, Any]:
        """The batch in post_mortem.json."""
        images = [{"id": int(record.image_id), "file_name": record.file_name} for record in self.records]
        numbers = {"terms": _spell(self.terms), "gradient_norms": _spell(self.norms)}
        return {"epoch": self.epoch, "step": self.step, "images": images} | numbers


def examine(run: Run, broken: BrokenStep) -> list[Autopsy]:
    """Meets the batch of a broken step again, with the weights that the model has now, and the one before, which may have been
    the one that broke them. Draws the one to blame; the model is to be compiled anew then, and has lost its statistics.
    """
    places = [(broken.epoch, broken.step)]
    if broken.step > 1 or broken.epoch > 1:
        places.append((broken.epoch, broken.step - 1) if broken.step > 1 else (broken.epoch - 1, run.steps))
    batches = [next(iter(make_training_batches(run, epoch - 1, step - 1)[0])) for epoch, step in places]
    with run.team.together(run.model):
        measured = measure_batches(run.model, batches)
    found = [
        Autopsy(epoch, step, list_batch(run, epoch - 1, step - 1), terms, norms)
        for (epoch, step), (terms, norms) in zip(places, measured, strict=True)
    ]
    if not run.folder.writes:
        return found
    accused = next((i for i, one in enumerate(found) if one.is_broken), 0)
    images = np.asarray(batches[accused][0])[:PICTURES]  # of several processes those of the first alone
    truth = {name: np.asarray(value) for name, value in batches[accused][1].items()}
    names = [record.file_name for record in found[accused].records]
    picture = draw_batch(images, truth, names[: len(images)], run.model.schema)
    write_image(run.folder.pictures / "post_mortem.jpg", picture, "train")
    return found


def explain(found: list[Autopsy]) -> str:
    """What the batches around a broken step say of its cause."""
    broken = [one for one in found if one.is_broken]
    if not broken:
        return "its batch has a finite loss with the weights of the last save: the steps since then have driven them too far"
    if len(broken) == len(found) > 1:
        return "no batch has a finite loss with the weights of the last save either: they had been driven too far before"
    names = [record.file_name for record in broken[0].records]
    some = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    return f"the batch of step {broken[0].step} has no finite loss with the weights of the last save either: look at {some}"


def write_post_mortem(run: Run, broken: BrokenStep, found: list[Autopsy]) -> None:
    """Adds a broken step to the run's post_mortem.json."""
    if not run.folder.writes:
        return
    path = run.folder.post_mortem
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        earlier = []
    saved = run.model.unfinished["steps"] if run.model.unfinished else 0
    entry = {
        "epoch": broken.epoch,
        "step": broken.step,
        "terms_over_the_epoch": _spell(broken.terms),
        "losses_of_the_last_steps": [*_spell(dict(enumerate(broken.losses))).values()],
        "last_save": {"epochs": run.model.trained_epochs, "steps": saved},
        "cause": explain(found),
        "batches_with_the_weights_of_the_last_save": [one.to_dict() for one in found],
    }
    write_json(path, [*(earlier if isinstance(earlier, list) else []), entry], indent=2)


def _spell(numbers: Mapping[Any, float]) -> dict[Any, float | str]:
    """Numbers of the post-mortem as JSON can hold them, six digits of each, those that are none as words."""
    return {name: float(f"{value:.6g}") if math.isfinite(value) else str(value) for name, value in numbers.items()}
