"""What a run takes where the user leaves the choice: a network that this machine can train, its number format, its length."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from centerkp.distribution.devices import find_accelerator, measure_convolutions
from centerkp.heads import choose_max_objects, require_max_objects
from centerkp.labels.box_margins import measure_box_margins
from centerkp.labels.records import Record
from centerkp.model.backbone import check_image_size
from centerkp.model.backbones import find_backbone, name_backbone
from centerkp.model.center_net import load_model
from centerkp.schema import Schema
from centerkp.settings.checks import AUTO
from centerkp.settings.training import TrainSettings
from centerkp.settings.values import read_box_margins, read_canvas
from centerkp.training.batch_search import share_accelerator
from centerkp.weights.start import PACKAGED
from centerkp.wording import count_of

LARGE, LIGHT = "hourglass_104", "efficientnet_lite0_fpn"
# Memory of hourglass_104 at 512x512 in training, in GB: weights with their gradients, moments and average, and for each image.
FIXED_MEMORY, IMAGE_MEMORY = 3.2, 4.1
STEPS, FEW_IMAGES = 2000, 100  # a network takes so many steps to learn even from so few images
FEWEST_EPOCHS, MOST_EPOCHS = 12, 300
EVAL_EPOCHS, EVAL_STEPS = 5, 100  # between evaluations, at least: of few images an epoch is a step or two
# What an object, and each of its keypoints, takes in training besides the maps: the truth, and sparse targets in 29 cells.
OBJECT_BYTES, POINT_BYTES = 28, 12 + 2 * 29 * 16
LEAST_GAIN = 1.3  # of a convolution in bfloat16: casts and the rest of the step take some of it back


def choose(settings: TrainSettings, devices: int = 1) -> tuple[TrainSettings, list[str]]:
    """Chooses what a run's settings leave "auto", for machines with so many devices; for each a line: what, why, what else."""
    lines = []
    if settings.batch_size == AUTO:
        share_accelerator()
    if settings.backbone == "auto":
        settings, line = _choose_backbone(settings, devices)
        lines.append(f"backbone: {line}")
    if settings.image_size is not None:
        check_image_size(read_canvas(settings.image_size), find_backbone(settings.backbone).multiple)  # before data are read
    if settings.precision == "auto":
        settings, line = _choose_precision(settings)
        lines.append(f"precision: {line}")
    return settings.resolve(), lines


def choose_epochs(settings: TrainSettings, images: int, views: int = 0) -> tuple[TrainSettings, list[str]]:
    """Chooses a run's epochs, and those between evaluations, where nobody says it, for its training images; why, in a line.

    The steps grow with the square root of the images: more images hold more to learn, but each less than the one before.
    Of `views`, the tiles of all images that hold objects, an epoch shows one of each image.
    """
    if settings.time:
        return settings, []
    lines = []
    if not settings.epochs:
        steps = STEPS * math.sqrt(max(images / FEW_IMAGES, 1))
        wanted, most = round(steps * settings.step_images / images), MOST_EPOCHS * max(views // images, 1)
        epochs = min(max(wanted, FEWEST_EPOCHS), most)
        why = f"{count_of(images, 'image')} in batches of {settings.step_images} are to be trained on for {steps:.0f} steps"
        bound = "" if epochs == wanted else f", within {FEWEST_EPOCHS} to {most} epochs"
        settings = replace(settings, epochs=epochs)
        lines.append(f"epochs: {epochs}, because {why}{bound} (--epochs or --time decide otherwise)")
    if settings.eval_every is None:
        steps = max(images // settings.step_images, 1)
        settings = replace(settings, eval_every=min(max(EVAL_EPOCHS, math.ceil(EVAL_STEPS / steps)), settings.epochs or 1))
    return settings, lines


def choose_room(settings: TrainSettings, records: Sequence[Record], num_keypoints: int) -> tuple[TrainSettings, list[str]]:
    """Chooses how many objects a run's model finds in an image, where nobody says it, by the fullest of its images.

    Returns:
        The settings, and lines of what and why, and of objects that have no place.
    """
    counts = np.array([len(record.boxes_xyxy) for record in records])
    fullest, lines = int(counts.max()), []
    if settings.max_objects is None:
        settings = replace(settings, max_objects=choose_max_objects(fullest, num_keypoints))
        memory = 1e-6 * min(fullest, settings.max_objects) * (OBJECT_BYTES + POINT_BYTES * num_keypoints)
        lines.append(
            f"objects of an image: up to {settings.max_objects}, because the fullest of {len(counts)} has {fullest}, and takes "
            f"{_name_megabytes(memory)} (--max-objects decides otherwise)"
        )
    require_max_objects(settings.max_objects, num_keypoints)
    beyond = np.maximum(counts - settings.max_objects, 0)
    if beyond.any():
        where = f"{count_of(int(beyond.sum()), 'object')} of {count_of(int((beyond > 0).sum()), 'image')}"
        lines.append(f"no place for {where}, the smallest there: neither learned nor taken for background")
    return settings, lines


def _name_megabytes(memory: float) -> str:
    """So many megabytes in the line on the objects of an image, which are next to nothing where objects are few."""
    return "less than 0.01 MB" if memory < 0.01 else f"{memory:.2g} MB" if memory < 10 else f"{memory:.0f} MB"


def choose_box_margins(settings: TrainSettings, records: Sequence[Record], schema: Schema) -> tuple[TrainSettings, list[str]]:
    """Chooses which of a run's classes have boxes around their keypoints, where nobody says it; a line of what and why.

    Raises:
        ValueError: the settings give margins for another number of classes.
    """
    if settings.box_margins is None:
        margins = measure_box_margins(records, schema)
        framed = [f"{c.name} ({m:.0%})" for c, m in zip(schema.classes, margins, strict=True) if m is not None]
        text = ",".join("none" if m is None else f"{m:g}" for m in margins) if framed else "none"
        why = "because the labels' boxes are, so far beyond them in shares of the longer side (--box-margins none for others)"
        names = ", ".join(framed[:5]) + " and others" * (len(framed) > 5)
        lines = [f"boxes: around the keypoints of {names}, {why}"] if framed else []
        return replace(settings, box_margins=text), lines
    given = len(read_box_margins(settings.box_margins))
    if given not in (0, schema.num_classes):
        raise ValueError(f"box_margins: found {given}, expected {schema.num_classes}, one for each class, or none alone.")
    return settings, []


def _choose_backbone(settings: TrainSettings, devices: int) -> tuple[TrainSettings, str]:
    """Chooses a run's backbone by its weights, stacks or this machine's memory: the settings, and why."""
    weights = settings.weights
    if Path(weights).suffix == ".keras":
        name = name_backbone(load_model(weights).backbone)
        if name is None:
            raise ValueError(
                f"{weights}: found a backbone of widths of its own, expected a named one; train it in Python with "
                "build_model(schema, backbone=..., weights=...)."
            )
        return replace(settings, backbone=name), f"{name}, as in {weights}"
    if settings.stacks:
        return replace(settings, backbone=LARGE), f"{LARGE}, which has stacks to choose"
    if weights not in ("auto", "none"):
        name = LIGHT if weights in PACKAGED else LARGE
        return replace(settings, backbone=name), f"{name}, which --weights {weights} is for"
    return _choose_by_memory(settings, devices)


def _choose_by_memory(settings: TrainSettings, devices: int) -> tuple[TrainSettings, str]:
    """Chooses the large network with the largest batch that fits the memory, the light one where it does not."""
    device, memory = find_accelerator() or (None, None)
    if memory is None:
        why = f"{device} does not tell its memory" if device else "there is no accelerator here"
        better = f"--backbone {LARGE} starts from COCO's people and animals, and wants a GPU"
        return replace(settings, backbone=LIGHT), f"{LIGHT}, because {why} ({better})"
    batch, size, multiple = settings.batch_size or 8, settings.image_size or 512, find_backbone(LARGE).multiple
    if any(side % multiple for side in read_canvas(size)):
        return replace(settings, backbone=LIGHT), f"{LIGHT}, because {LARGE} takes multiples of {multiple}, not {size}"
    while not settings.batch_size and batch > max(2, devices) and _count_needed_memory(batch / devices, size) > memory:
        batch //= 2
    share = math.ceil(batch / devices)
    needed = _count_needed_memory(share, size)
    if needed > memory:
        why = f"{device} has {memory:.0f} GB, {LARGE} needs {needed:.0f} for {share} images of {size}"
        return replace(settings, backbone=LIGHT), f"{LIGHT}, because {why} (less with a smaller --batch-size or --image-size)"
    why = f"{device} has {memory:.0f} GB and it needs {needed:.0f} for {share} images of {size}"
    line = f"{LARGE}, because {why} (--backbone {LIGHT} trains many times as fast)"
    batch = AUTO if settings.batch_size == AUTO else batch
    return replace(settings, backbone=LARGE, batch_size=batch), line


def _count_needed_memory(batch: float, size: int | str) -> float:
    """Gigabytes that training the large network needs for so many images of this size."""
    return FIXED_MEMORY + IMAGE_MEMORY * batch * math.prod(read_canvas(size)) / 512**2


def _choose_precision(settings: TrainSettings) -> tuple[TrainSettings, str]:
    """Chooses mixed_bfloat16 where a convolution gains enough by it on this machine: the settings, and why."""
    single, half = measure_convolutions("float32", "bfloat16")
    precision = "mixed_bfloat16" if half * LEAST_GAIN < single else "float32"
    times = f"a convolution and its gradient take {1e3 * single:.1f} ms here in float32, {1e3 * half:.1f} in bfloat16"
    return replace(settings, precision=precision), f"{precision}, because {times}"
