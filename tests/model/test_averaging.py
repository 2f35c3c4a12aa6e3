"""The average of the weights against its closed form, and learning rates by name."""

import math
import subprocess
import sys

import keras
import numpy as np
import pytest

from centerkp.model.averaging import AveragingAdamW
from centerkp.model.center_net import CenterNet, save_model
from centerkp.schema import Schema


def make_variable(name: str = "w", value: float = 0.0) -> keras.Variable:
    return keras.Variable(np.full(3, value, "float32"), name=name)


def read(variable) -> float:
    return float(keras.ops.convert_to_numpy(variable)[0])


@pytest.mark.parametrize("steps, decay", [(1, 0.998), (40, 0.998), (400, 0.9)])
def test_average_of_the_weights(steps, decay):
    """Every step's weights with their share: 1 - d of the step, times the decays d of all later ones."""
    variable, optimizer = make_variable(value=5.0), AveragingAdamW(0.1, use_ema=True, ema_momentum=decay, weight_decay=0.0)
    optimizer.build([variable])
    path = []
    for step in range(steps):
        optimizer.apply([keras.ops.convert_to_tensor(np.full(3, math.sin(step), "float32"))], [variable])
        path.append(read(variable))
    decays = [0.0] + [min(decay, (n + 1) / (n + 10)) for n in range(1, steps)]
    shares = [(1 - decays[n]) * math.prod(decays[n + 1 :]) for n in range(steps)]
    assert sum(shares) == pytest.approx(1)
    average = read(optimizer._model_variables_moving_average[0])
    assert average == pytest.approx(np.dot(shares, path), abs=1e-5)


def test_without_a_step_the_average_is_the_weights_themselves():
    """In mixed_float16 the first steps do not count where their gradients are too large; zeros were taken for the average."""
    variable, inner = make_variable(value=5.0), AveragingAdamW(0.1, use_ema=True)
    optimizer = keras.optimizers.LossScaleOptimizer(inner)
    optimizer.build([variable])
    optimizer.finalize_variable_values([variable])
    assert read(variable) == 5.0 and read(inner._model_variables_moving_average[0]) == 5.0


def test_the_start_is_forgotten():
    """After 100 steps at 0.983 Keras's average is to 18 % the first step's weights; of ours nothing is left of them."""
    held = {}
    for kind in (keras.optimizers.AdamW, AveragingAdamW):
        variable, optimizer = make_variable(value=1.0), kind(0.0, use_ema=True, ema_momentum=0.983)
        optimizer.build([variable])
        zero = keras.ops.zeros(3)
        optimizer.apply([zero], [variable])
        variable.assign(np.zeros(3, "float32"))  # from here on the weights are 0: what remains of the 1 is the start's share
        for _ in range(99):
            optimizer.apply([zero], [variable])
        held[kind] = read(optimizer._model_variables_moving_average[0])
    assert held[keras.optimizers.AdamW] == pytest.approx(0.983**99, rel=1e-3) and held[keras.optimizers.AdamW] > 0.17
    assert held[AveragingAdamW] < 1e-9


def test_a_step_asks_its_schedule_once():
    """Weight decay of many variables included, and steps at the rates of Keras's own AdamW."""

    class Counting(keras.optimizers.schedules.CosineDecay):
        asked = 0

        def __call__(self, step):
            type(self).asked += 1
            return super().__call__(step)

    values = {}
    for kind, schedule in ((keras.optimizers.AdamW, keras.optimizers.schedules.CosineDecay), (AveragingAdamW, Counting)):
        variables = [make_variable(f"w{i}", 1.0 + i) for i in range(5)]
        optimizer = kind(schedule(0.01, 4, warmup_target=0.1, warmup_steps=2), weight_decay=0.1)
        optimizer.build(variables)
        for step in range(3):
            gradient = keras.ops.convert_to_tensor(np.full(3, 1.0 + step, "float32"))
            optimizer.apply([gradient] * 5, variables)
        values[kind] = [read(variable) for variable in variables] + [float(optimizer.learning_rate)]
    assert Counting.asked == 3 + 1
    assert values[AveragingAdamW] == pytest.approx(values[keras.optimizers.AdamW], rel=1e-6)


def test_rates_by_name():
    """Adam's first step moves a variable by the learning rate, whatever the gradient; the first pattern that matches counts."""
    rates = {r"stack\d+_(box_size|keypoint_regression)/": 8.0, r"stack0_": 2.0}
    paths = {"stack0_box_size": 8, "stack1_keypoint_regression": 8, "stack0_box_size_hidden": 2, "stem_conv": 1}
    layers = [keras.layers.Dense(1, use_bias=False, name=name) for name in paths]
    for layer in layers:
        layer.build((None, 3))
    variables = [layer.kernel for layer in layers]
    optimizer = AveragingAdamW(1e-3, rates=rates, weight_decay=0.0)
    optimizer.build(variables)
    before = [keras.ops.convert_to_numpy(v) + 0 for v in variables]
    optimizer.apply([keras.ops.ones((3, 1)) for _ in variables], variables)
    for variable, start, factor in zip(variables, before, paths.values(), strict=True):
        np.testing.assert_allclose(start - keras.ops.convert_to_numpy(variable), 1e-3 * factor, rtol=1e-3)
    assert AveragingAdamW.from_config(optimizer.get_config()).rates == rates


def test_a_model_in_training_loads_anywhere(tmp_path):
    """Also where nothing but `load_model` was imported, with its average and its rates."""
    model = CenterNet(Schema.generic(1), "hourglass_10", 32)
    model.compile(AveragingAdamW(1e-3, use_ema=True, rates={"stem": 2.0}))
    model.optimizer.build(model.trainable_variables)
    save_model(model, tmp_path / "last.keras")
    code = "import sys, centerkp; print(centerkp.load_model(sys.argv[1]).optimizer.rates)"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "last.keras")], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == "{'stem': 2.0}", done.stderr
