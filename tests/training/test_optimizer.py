"""The learning rate of a run: by steps, or by the share of a timed run that is over."""

import keras
import numpy as np
import pytest

from centerkp.settings.training import TrainSettings
from centerkp.training import time_limit
from centerkp.training.optimizer import make_optimizer, rate_at
from centerkp.training.time_limit import TimeLimit

KNOWN = {"learning_rate": 0.002, "vector_rate": 1.0}


def test_both_schedules_are_one():
    settings = TrainSettings(**KNOWN, warmup=0.2)
    optimizer = make_optimizer(settings, 100)
    for step in (0, 5, 20, 60, 99, 100):
        optimizer.iterations.assign(step)
        assert rate_at(settings, step / 100) == pytest.approx(float(optimizer.learning_rate), rel=1e-5)
    half = make_optimizer(settings, 100, 0.5)
    half.iterations.assign(20)
    assert float(half.learning_rate) == pytest.approx(0.001)
    assert rate_at(TrainSettings(**KNOWN, warmup=0.0), 0.0) == 0.002
    assert rate_at(settings, 1.0) == pytest.approx(0.02 * 0.002)


def test_compiled_steps_take_the_rate_of_their_time(monkeypatch, tmp_path):
    """The gradient is 1, so that the weight sums up the rates; the last one is saved with the model."""
    now = 0.0
    monkeypatch.setattr(time_limit, "monotonic", lambda: now)
    settings = TrainSettings(**KNOWN, time="30s")
    limit, rates = TimeLimit(settings, None, 0.0, validation_steps=1), []
    limit.steps_left = 1000

    class Clock(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            nonlocal now
            now += 1.0
            rates.append(limit.rate)

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.rate_factor = 0.5
    model.compile(keras.optimizers.SGD(make_optimizer(settings, 0).learning_rate.numpy().item()), loss="mean_absolute_error")
    images, truth = np.ones((20, 1), np.float32), np.full((20, 1), -100, np.float32)
    model.fit(images, truth, batch_size=1, epochs=50, shuffle=False, verbose=0, callbacks=[Clock(), limit])
    assert 26 <= len(rates) <= 28 and limit.is_over and limit.progress == 1  # the rest is for two evaluations
    assert rates[0] == pytest.approx(1e-5) and max(rates) == pytest.approx(0.001, rel=0.01) and rates[-1] < 5e-5
    np.testing.assert_allclose(np.ravel(model.get_weights()[0]), -sum(rates), rtol=1e-4)
    model.save(tmp_path / "model.keras")
    saved = keras.saving.load_model(tmp_path / "model.keras")
    assert float(saved.optimizer.learning_rate) == pytest.approx(limit.rate)
