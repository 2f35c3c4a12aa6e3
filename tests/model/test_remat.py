"""What is computed twice against what is kept: the same numbers, weights and files."""

import keras
import numpy as np
import pytest
from model.test_accumulation import compare, train

from centerkp.model.backbones import find_backbone
from centerkp.model.center_net import CenterNet, load_model, save_model
from centerkp.model.remat import _Rematerialised
from centerkp.schema import Schema


def test_same_step_whether_kept_or_computed_twice():
    """Losses, gradients, and the statistics, which must not move a second time."""
    kept, twice = (train(keras.optimizers.SGD(1.0), remat=remat, frozen=False) for remat in (False, True))
    compare(kept, twice)


def list_names(graph):
    return [operation.name for operation in graph.operations if not isinstance(operation, keras.layers.InputLayer)]


@pytest.mark.once
@pytest.mark.parametrize("name", ["hourglass_10", "mobilenetv2_fpn"])
def test_every_layer_is_in_one_segment(name):
    model = CenterNet(Schema.generic(1, 2), find_backbone(name), 128)
    segments = _Rematerialised(model.inputs[0], model.output).segments
    inside = [name for segment in segments for name in list_names(segment.function)]
    assert sorted(inside) == sorted(list_names(model))
    assert len(segments) > 10


def test_files_know_nothing_of_it(tmp_path):
    model = CenterNet(Schema.generic(1, 2), "hourglass_10", 64)
    before = [v.path for v in model.variables]
    save_model(model, tmp_path / "kept.keras")
    model.save_memory(2, remat=True)
    assert [v.path for v in model.variables] == before
    save_model(model, tmp_path / "twice.keras")
    kept, twice = (load_model(tmp_path / f"{name}.keras") for name in ("kept", "twice"))
    assert kept.get_config() == twice.get_config() and twice.parts == 1
    for one, other in zip(kept.variables, twice.variables, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(other))
