"""How long the gradients of batches are, layer group by layer group, on every backend."""

from collections.abc import Mapping, Sequence
from math import hypot
from typing import Any

import keras
from keras import ops

from centerkp.heads import Tensor
from centerkp.model.center_net import CenterNet


class GradientNorms(keras.optimizers.Optimizer):
    """An optimizer that changes no weight, and notes the norm of every gradient."""

    def __init__(self) -> None:
        super().__init__(learning_rate=0.0)
        self.norms: list[Tensor] = []

    def build(self, variables: Sequence[Tensor]) -> None:
        """Makes a place for the norm of each variable's gradient."""
        super().build(variables)
        self.norms = [self.add_variable((), name=f"norm{i}") for i in range(len(variables))]

    def update_step(self, gradient: Tensor, variable: Tensor, learning_rate: Tensor) -> None:
        """Notes the norm of one variable's gradient."""
        norm = ops.sqrt(ops.sum(ops.square(ops.cast(gradient, "float32"))))
        self.norms[self._get_variable_index(variable)].assign(norm)


def measure_batches(
    model: CenterNet, batches: Sequence[tuple[Any, Mapping[str, Any]]]
) -> list[tuple[dict[str, float], dict[str, float]]]:
    """For batches (images, truth) the loss with its terms, and the norms of the gradients by layer group.

    A group is a head (of all stacks), or what a backbone's layers are called before the first "_", as "stem" or "stride8".
    The model is compiled for that, and its BatchNormalization takes up the batches' statistics.
    """
    optimizer = GradientNorms()
    model.compile(optimizer, auto_scale_loss=False)
    found = []
    for images, truth in batches:
        terms = model.train_on_batch(images, dict(truth), return_dict=True)
        norms: dict[str, float] = {}
        for variable, norm in zip(model.trainable_variables, optimizer.norms, strict=True):
            layer = variable.path.split("/")[0]
            head = model.find_head(layer)
            group = head[1] if head else layer.split("_")[0]
            norms[group] = hypot(norms.get(group, 0.0), float(norm))
        found.append(({name: float(value) for name, value in terms.items()}, norms))
    return found
