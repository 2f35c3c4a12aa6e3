"""The records of a run -> the batches that it trains and is validated on, each found again by its epoch and step."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from centerkp.drawing.mosaic import draw_targets_of_batch
from centerkp.images.reading import read_image
from centerkp.images.saving import write_image
from centerkp.labels.rarity import weigh_images
from centerkp.labels.records import Record
from centerkp.model.center_net import CenterNet
from centerkp.samples.pipeline import make_batches, order_records
from centerkp.samples.sample import Sampler
from centerkp.samples.waiting import Arrivals
from centerkp.settings.augmentation import read_augmentation
from centerkp.training.run import Run
from centerkp.training.run_folder import RunFolder


def make_training_batches(run: Run, start_epoch: int, skip: int = 0, arrivals: Arrivals | None = None) -> tuple[Any, Any]:
    """Batches to fit from `start_epoch` on, without the first `skip` of each epoch, and validation batches.

    Of the batches to fit a process has its own rows, of those for validation all.

    Args:
        arrivals: is told when a training batch is ready.
    """
    settings = run.settings
    augmentation = read_augmentation(settings)
    busiest = max(len(r.boxes_xyxy) for r in [*run.train_records, *run.val_records])
    max_objects = min(max(busiest, 1), run.model.decode_options.max_objects)
    model, read = run.model, run.cache or read_image
    sampler = Sampler(model.schema, model.image_size, max_objects, augmentation, read, model.tiling)
    common: dict[str, Any] = {"threads": settings.threads, "seed": settings.seed}
    options = common | {"start_epoch": start_epoch, "skip": skip, "weights": _weigh_images(run), "arrivals": arrivals}
    options["share"] = run.team.share
    batches = make_batches(run.train_records, sampler, settings.step_images, shuffle=True, **options)
    plain = replace(sampler, augmentation=None, read=read_image)
    val_batches = make_batches(run.val_records, plain, settings.batch_size, shuffle=False, **common)
    return batches, val_batches


def list_batch(run: Run, epoch: int, step: int) -> list[Record]:
    """The records of a training batch, by epoch and step counted from 0."""
    settings = run.settings
    count = settings.step_images
    order = order_records(len(run.train_records), count, settings.seed, epoch, _weigh_images(run))
    return [run.train_records[i] for i in order[step * count :][:count]]


def _weigh_images(run: Run) -> np.ndarray | None:
    """How often the images of a run are to come, None for all alike."""
    return weigh_images(run.train_records, run.model.schema.num_classes) if run.settings.weight_classes else None


def draw_first_batch(batch: tuple[Any, Mapping[str, Any]], model: CenterNet, folder: RunFolder) -> None:
    """Draws the first batch of a run with its targets, as the network will meet it, into the run folder."""
    images, truth = np.asarray(batch[0])[:4], {k: np.asarray(v)[:4] for k, v in batch[1].items()}
    write_image(folder.pictures / "first_batch.jpg", draw_targets_of_batch(images, truth, model.schema), "train")
