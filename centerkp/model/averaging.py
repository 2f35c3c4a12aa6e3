"""The optimizer of training, which averages the weights; `.keras` files in training hold it, so it stands with the model."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from centerkp.heads import Tensor


@keras.saving.register_keras_serializable(package="centerkp")
class AveragingAdamW(keras.optimizers.AdamW):
    """AdamW with a moving average of the weights that forgets where training began.

    Keras's average starts at the first step's weights and still holds 18 % of them after 864 steps at 0.998. Here the decay of
    the n-th step is the smaller of `ema_momentum` and (n + 1) / (n + 10): at first the average follows the weights of the last
    tenth of the steps, and is that of Keras once there were enough.

    Args:
        rates: factors of the learning rate for variables whose paths match a regular expression, the first that does.
    """

    def __init__(self, *args: Any, rates: Mapping[str, float] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rates = dict(rates or {})
        self._step_rate: Tensor | None = None  # during a step, its learning rate

    def build(self, variables: Sequence[Tensor]) -> None:
        """Makes what the optimizer keeps of each variable; its average is the variable itself until the first step."""
        super().build(variables)
        if self.use_ema:
            for variable, average in zip(variables, self._model_variables_moving_average, strict=True):
                if average is not None:
                    average.assign(ops.copy(variable))  # JAX gives a model's own arrays away when it trains

    def apply(self, grads: Sequence[Tensor], trainable_variables: Sequence[Tensor] | None = None) -> None:
        """One step. Its learning rate is worked out once: Keras's weight decay follows the schedule anew for each variable."""
        self._step_rate = ops.convert_to_tensor(self.learning_rate)
        try:
            super().apply(grads, trainable_variables)
        finally:
            self._step_rate = None

    def _get_current_learning_rate(self) -> Tensor:
        """The learning rate, during a step that of its beginning."""
        return super()._get_current_learning_rate() if self._step_rate is None else self._step_rate

    def update_step(self, gradient: Tensor, variable: Tensor, learning_rate: Tensor) -> None:
        """One AdamW step of a variable, at the learning rate times the factor that `rates` has for its path."""
        path = self._trainable_variables[self._get_variable_index(variable)].path  # TensorFlow's own variable has none
        factor = next((factor for pattern, factor in self.rates.items() if re.match(pattern, path)), 1)
        super().update_step(gradient, variable, learning_rate * factor)

    def get_config(self) -> dict[str, Any]:
        """The optimizer's settings as a `.keras` file holds them, with the factors of `rates`."""
        return super().get_config() | {"rates": self.rates}

    def _update_model_variables_moving_average(self, trainable_variables: Sequence[Tensor]) -> None:
        """Moves the averages of the weights, by little decay at first."""
        if not self.use_ema:
            return
        done = ops.cast(self.iterations, "float32")  # the first step is done with none before it
        decay = ops.where(done > 0, ops.minimum(self.ema_momentum, (1 + done) / (10 + done)), 0.0)
        for variable, average in zip(trainable_variables, self._model_variables_moving_average, strict=True):
            if average is not None:
                # In float32 also where the weights are not: small steps would be lost.
                share = ops.cast(1 - decay, average.dtype)
                average.assign(average + share * (ops.cast(variable, average.dtype) - average))
