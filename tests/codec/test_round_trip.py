"""decode(targets(objects)) = objects: what holds encoding and decoding together."""

import numpy as np
import pytest
from keras import ops

from centerkp.codec.decode import DecodeOptions, decode
from centerkp.codec.ideal import ideal_maps
from centerkp.codec.targets import render_targets
from centerkp.schema import Schema

SCHEMA = Schema.generic(3, [4, 0, 2])


def draw_objects(rng, count=6, size=128):
    """Objects in cells of their own, with points inside their boxes."""
    cells = rng.choice(64, count, replace=False)
    center = np.stack([cells % 8, cells // 8], axis=-1) * 16 + rng.uniform(4, 12, (count, 2))
    half = np.minimum(rng.uniform(3, 30, (count, 2)), np.minimum(center, size - center))
    class_ids = rng.integers(0, 3, count)
    points = center[:, None] + rng.uniform(-1, 1, (count, 6, 2)) * half[:, None]
    visibility = SCHEMA.keypoint_mask[class_ids] * 2
    arrays = {
        "boxes_xyxy": np.concatenate([center - half, center + half], axis=-1),
        "class_ids": class_ids,
        "object_weights": np.ones(count),
        "keypoints_xy": points,
        "visibility": visibility,
        "valid_size": np.array([size, size]),
    }
    integer = ("class_ids", "visibility")
    return {k: np.asarray(v, "int32" if k in integer else "float32")[None] for k, v in arrays.items()}


@pytest.mark.parametrize("seed", range(5))
def test_objects_come_back(seed):
    truth = draw_objects(np.random.default_rng(seed))
    targets = render_targets(truth, SCHEMA, (32, 32))
    targets = {k: {n: ops.convert_to_numpy(a) for n, a in v.items()} if isinstance(v, dict) else ops.convert_to_numpy(v)
               for k, v in targets.items()}  # fmt: skip
    found = decode(ideal_maps(targets, SCHEMA), SCHEMA.keypoint_mask, DecodeOptions(max_objects=6), truth["valid_size"])
    found = {k: ops.convert_to_numpy(v)[0] for k, v in found.items()}
    truth = {k: v[0] for k, v in truth.items()}
    assert (found["scores"] > 0.99).all()
    order = [int(np.argmin(np.abs(found["boxes"] - box).sum(-1))) for box in truth["boxes_xyxy"]]
    assert sorted(order) == list(range(6))
    np.testing.assert_allclose(found["boxes"][order], truth["boxes_xyxy"], atol=1e-3)
    np.testing.assert_array_equal(found["class_ids"][order], truth["class_ids"])
    own = truth["visibility"] > 0
    np.testing.assert_allclose(found["keypoints"][order][own], truth["keypoints_xy"][own], atol=1e-3)
    assert (found["keypoint_scores"][order][~own] == 0).all() and (found["keypoints"][order][~own] == 0).all()
