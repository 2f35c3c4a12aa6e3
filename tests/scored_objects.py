"""Annotated objects and detections that tests of the evaluation share."""

import dataclasses
from types import SimpleNamespace

import numpy as np

from centerkp.results import Detection
from centerkp.schema import ObjectClass, Schema

PLIERS = ObjectClass("pliers", 15, ("left_handle", "right_handle", "joint", "left_jaw", "right_jaw"))
DRIVER = ObjectClass("driver", 16, ("tip", "shaft", "grip"), oks_sigmas=(0.03, 0.06, 0.1), sigma_source="json")
NUT = ObjectClass("nut", 40)
SCHEMA = Schema((PLIERS, DRIVER, NUT))
SIGMA = 0.05
ONE_POINT = Schema((ObjectClass("dot", 1, ("center",), oks_sigmas=(SIGMA,)),))


def make_record(schema, image_id, objects):
    """`objects`: (class_id, box, points with visibility (n, 3), optional is_crowd, optional area)."""
    count, columns = len(objects), schema.num_keypoints
    record = SimpleNamespace(
        image_id=image_id,
        width=640,
        height=640,
        boxes_xyxy=np.array([o[1] for o in objects], np.float32).reshape(-1, 4),
        class_ids=np.array([o[0] for o in objects], np.int32),
        keypoints_xy=np.zeros((count, columns, 2), np.float32),
        visibility=np.zeros((count, columns), np.uint8),
        is_crowd=np.array([len(o) > 3 and o[3] for o in objects], bool),
        annotation_ids=np.arange(count),
    )
    sides = record.boxes_xyxy[:, 2:] - record.boxes_xyxy[:, :2]
    record.areas = np.array([o[4] if len(o) > 4 else side.prod() for o, side in zip(objects, sides, strict=True)], np.float32)
    for n, (class_id, _, points, *_) in enumerate(objects):
        if len(points):
            own = schema.keypoint_slice(class_id)
            record.keypoints_xy[n, own] = np.array(points)[:, :2]
            record.visibility[n, own] = np.array(points)[:, 2]
    return record


def make_detection(schema, class_id, box, points=(), score=0.9):
    c = schema.classes[class_id]
    return Detection(
        class_id=class_id,
        class_name=c.name,
        category_id=c.category_id,
        score=score,
        box_xyxy=np.array(box, np.float32),
        keypoint_names=c.keypoints,
        keypoints_xy=np.array(points, np.float32).reshape(-1, 2),
        keypoint_scores=np.full(len(points), score, np.float32),
    )


def random_records(schema, images=12, objects=5, seed=3, missing=()):
    """`missing`: names of classes without any object."""
    rng = np.random.default_rng(seed)
    present = [i for i, name in enumerate(schema.class_names) if name not in missing]
    records = []
    for image_id in range(images):  # 0 is a legal image id
        rows = []
        for _ in range(objects):
            class_id = int(rng.choice(present))
            corner, sides = rng.uniform(0, 400, 2), rng.choice([20, 60, 200]) * rng.uniform(0.7, 1.4, 2)
            count = len(schema.classes[class_id].keypoints)
            points = np.column_stack([corner + rng.uniform(0, 1, (count, 2)) * sides, rng.integers(0, 3, count)])
            rows.append((class_id, [*corner, *(corner + sides)], points, rng.uniform() < 0.1, 0.6 * sides.prod()))
        records.append(make_record(schema, image_id, rows))
    return records


def blur(detections, seed=5, pixels=3.0):
    """Jittered detections, some missing, some twice, all scores different."""
    rng = np.random.default_rng(seed)
    return [
        [
            dataclasses.replace(
                d,
                score=float(rng.uniform()),
                box_xyxy=np.sort((d.box_xyxy + rng.normal(0, pixels, 4)).reshape(2, 2), axis=0).ravel().astype(np.float32),
                keypoints_xy=d.keypoints_xy + rng.normal(0, pixels, d.keypoints_xy.shape),
            )
            for d in [*found, *found[:2]]
            if rng.uniform() < 0.85
        ]
        for found in detections
    ]
