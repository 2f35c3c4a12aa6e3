"""Before the first step: the whole way through on two images, so that no run fails hours later."""

from collections.abc import Sequence

import numpy as np
from keras import ops

from centerkp.codec.decode import decode
from centerkp.codec.ideal import ideal_maps
from centerkp.codec.targets import render_targets
from centerkp.data.coco import Record
from centerkp.data.sample import Sampler
from centerkp.evaluation import evaluate, ground_truth_as_detections
from centerkp.geometry import letterbox
from centerkp.heads import STRIDE
from centerkp.inference import to_source
from centerkp.model.center_net import CenterNet, map_size
from centerkp.results import split_objects


def dry_run(model: CenterNet, records: Sequence[Record]) -> list[str]:
    """Takes two images through targets, decoding and evaluation: annotations decoded back must score AP 1.0.

    Objects that share a grid cell cannot be told apart, so images without such are chosen when there are any.

    Returns:
        Lines that say what was checked and what to know.

    Raises:
        ValueError: the annotations do not survive; training would learn something else than what they say.
    """
    shared = {id(r): count_shared_cells(r, model.image_size) for r in records}
    busiest = sorted((r for r in records if len(r.boxes_xyxy)), key=lambda r: (shared[id(r)], -len(r.boxes_xyxy), r.image_id))[
        :2
    ]
    if not busiest:
        raise ValueError("Training data: found no image with an object, expected at least one; check the annotations.")
    sampler = Sampler(model.schema, model.image_size, max(len(r.boxes_xyxy) for r in busiest))
    samples = [sampler.sample(record, np.random.default_rng(0)) for record in busiest]
    truth = {name: np.stack([s.truth[name] for s in samples]) for name in samples[0].truth}
    targets = render_targets(truth, model.schema, map_size(model.image_size), mask_rule=model.mask_rule)
    targets = {k: _to_numpy(v) for k, v in targets.items()}
    found = decode(ideal_maps(targets, model.schema), model.schema.keypoint_mask, model.decode_options, truth["valid_size"])
    found = {k: _to_numpy(v) for k, v in found.items()}
    detections = []
    for row, record in enumerate(busiest):
        affine, _ = letterbox(record.width, record.height, model.image_size)
        objects = {k: v[row] for k, v in found.items()}
        detections.append(split_objects(to_source(objects, affine), model.schema, min_score=0.5))
    reached = evaluate(busiest, detections, model.schema)
    perfect = evaluate(busiest, ground_truth_as_detections(busiest, model.schema), model.schema)
    lines = []
    in_these = sum(shared[id(r)] for r in busiest)
    for name, ours, best in (
        ("box AP", reached.box["AP"], perfect.box["AP"]),
        ("keypoint AP", reached.keypoints["AP"], perfect.keypoints["AP"]),
    ):
        if best is None:
            continue
        lines.append(f"{name} of the annotations themselves after encoding and decoding: {ours:.3f}")
        if ours < best - 1e-6 and not in_these:
            names = ", ".join(r.file_name for r in busiest)
            raise ValueError(
                f"Dry run on {names}: the annotations, encoded and decoded again, reach {name} {ours:.3f}, expected "
                f"{best:.3f}; objects may be too small for {model.image_size[0]}x{model.image_size[1]} pixels (try a larger "
                "image size), or keypoints lie far outside the image."
            )
    total = sum(shared.values())
    if total:
        lines.append(
            f"{total} objects share a {STRIDE}-pixel grid cell with another of their class and cannot be told apart; "
            "a larger image size separates them"
        )
    return lines


def count_shared_cells(record: Record, image_size: tuple[int, int]) -> int:
    """Objects of one image whose center falls into the same grid cell as that of an earlier object of the same class."""
    affine, _ = letterbox(record.width, record.height, image_size)
    boxes = record.boxes_xyxy[~record.is_crowd]
    scale = np.array([affine[0, 0], affine[1, 1]])
    cells = np.floor((boxes[:, :2] + boxes[:, 2:]) / 2 * scale / STRIDE).astype(int)
    keys = np.column_stack([cells, record.class_ids[~record.is_crowd]])
    return len(keys) - len(np.unique(keys, axis=0))


def _to_numpy(value):
    return {k: ops.convert_to_numpy(v) for k, v in value.items()} if isinstance(value, dict) else ops.convert_to_numpy(value)
