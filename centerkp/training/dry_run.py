"""Before the first step: the whole way through on two images, so that no run fails hours later."""

from collections.abc import Sequence
from dataclasses import replace

import keras
import numpy as np

from centerkp import geometry
from centerkp.codec.ideal import count_shared_cells, ideal_maps
from centerkp.codec.targets import render_targets
from centerkp.evaluation.evaluate import evaluate, ground_truth_as_detections
from centerkp.heads import map_size
from centerkp.labels.records import Record
from centerkp.model.center_net import CenterNet
from centerkp.results import Detection, split_objects, to_source
from centerkp.samples.sample import Sampler
from centerkp.schema import Schema
from centerkp.settings.training import TrainSettings
from centerkp.settings.values import read_canvas
from centerkp.weights.start import build_model
from centerkp.wording import count_of


def dry_run(model: CenterNet, records: Sequence[Record], are_tiles: bool = False) -> list[str]:
    """The dry run before training: two images through targets, decoding and evaluation must score AP 1.0.

    Objects or keypoints that share a grid cell cannot be told apart, so images without such are chosen when there are any.

    Args:
        are_tiles: the records are parts of their images, which then are not read.

    Returns:
        Lines that say what was checked and what to know.

    Raises:
        ValueError: the annotations do not survive; training would learn something else than what they say.
    """
    shared = {id(record): _count_shared_cells(record, model.image_size) for record in records}
    # Crowd regions alone have no average precision.
    chosen = [r for r in records if not r.is_crowd.all() and len(r.boxes_xyxy) <= model.decode_options.max_objects]
    chosen = sorted(chosen, key=lambda r: (sum(shared[id(r)]), -len(r.boxes_xyxy), r.image_id))[:2]
    if all(record.is_crowd.all() for record in records):
        raise ValueError("Training data: found no image with an object, expected at least one; check the annotations.")
    if not chosen:
        return [f"left out, since every image has more than {count_of(model.decode_options.max_objects, 'object')}"]
    reached = evaluate(chosen, _encode_and_decode(model, chosen, are_tiles), model.schema)
    perfect = evaluate(chosen, ground_truth_as_detections(chosen, model.schema), model.schema)
    lines = []
    for name, ours, best in (
        ("box AP", reached.box["AP"], perfect.box["AP"]),
        ("keypoint AP", reached.keypoints["AP"], perfect.keypoints["AP"]),
    ):
        if best is None:
            continue
        lines.append(f"annotations, encoded and decoded again, have {name} {ours:.3f}")
        if ours < best - 1e-6 and not any(sum(shared[id(r)]) for r in chosen):
            names = ", ".join(r.file_name for r in chosen)
            raise ValueError(
                f"Dry run on {names}: the annotations, encoded and decoded again, have {name} {ours:.3f}, expected {best:.3f}; "
                f"objects may be too small for {model.image_size[0]}x{model.image_size[1]} pixels, try a larger image size."
            )
    objects, points = np.sum(list(shared.values()), axis=0)
    if objects or points:
        lines.append(
            f"{objects} objects and {points} keypoints share their grid cell with another and cannot be told apart at "
            f"{model.image_size[0]}x{model.image_size[1]} pixels; a larger image size separates them"
        )
    return lines


def _encode_and_decode(model: CenterNet, records: Sequence[Record], are_tiles: bool) -> list[list[Detection]]:
    """The dry run's way through: annotated objects to targets, ideal maps and decoding, as detections."""
    sampler = Sampler(model.schema, model.image_size, max(len(r.boxes_xyxy) for r in records))
    if are_tiles:
        samplers = [replace(sampler, read=lambda *_, r=r: np.zeros((r.height, r.width, 3), np.uint8)) for r in records]
    else:
        samplers = [sampler] * len(records)
    truths = [one(record, np.random.default_rng(0))[1] for one, record in zip(samplers, records, strict=True)]
    truth = {name: np.stack([t[name] for t in truths]) for name in truths[0]}
    targets = render_targets(truth, model.schema, map_size(model.image_size), mask_rule=model.mask_rule)
    maps = ideal_maps(keras.tree.map_structure(keras.ops.convert_to_numpy, targets), model.schema)
    found = keras.tree.map_structure(keras.ops.convert_to_numpy, model.decode(maps, truth["valid_size"]))
    detections = []
    for row, record in enumerate(records):
        affine, _ = geometry.letterbox(record.width, record.height, model.image_size)
        objects = to_source({k: v[row] for k, v in found.items()}, affine)
        detections.append(split_objects(objects, model.schema, min_score=0.5))
    return detections


def _count_shared_cells(record: Record, image_size: tuple[int, int]) -> tuple[int, int]:
    """Objects and labelled keypoints of one record that share a cell at the training size: the dry run cannot tell them."""
    affine, _ = geometry.letterbox(record.width, record.height, image_size)
    single = ~record.is_crowd
    boxes = geometry.apply_to_boxes(affine, record.boxes_xyxy[single])
    points = geometry.apply_to_points(affine, record.keypoints_xy[single])
    return count_shared_cells(boxes, points, record.visibility[single])


def build_probe(schema: Schema, settings: TrainSettings) -> CenterNet:
    """The smallest model with a run's schema and input size: all that the dry run needs of one."""
    tiny = {"stem_channels": 1, "channels": (1, 1), "blocks": (1, 1), "stacks": 1}
    return build_model(schema, backbone=tiny, image_size=read_canvas(settings.image_size), decode=settings.decode)
