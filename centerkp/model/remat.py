"""Rematerialisation of a CenterNet in training: less memory for more time, by the graph of its layers alone."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from centerkp.heads import Tensor


def rematerialise(image: Tensor, outputs: Any) -> Callable[[Tensor], Any]:
    """What computes `outputs` of a network's symbolic `image` in training, but its layers' outputs again in the backward pass.

    Kept until then are only those that several layers read, which in every backbone are the outputs of its residual blocks and
    of the steps of its pyramid; everything between two of them is a segment. So the network, its weights and its files stay
    as they are. BatchNormalization moves its statistics in the first pass alone.
    """
    layer = _Rematerialised(image, outputs)
    return lambda image: layer(image, training=True)


class _Rematerialised(keras.Layer):
    """The rematerialised segments of a network, one after another; a layer without casts, so that weights stay float32."""

    def __init__(self, image: Tensor, outputs: Any) -> None:
        super().__init__(autocast=False, dtype="float32", name="rematerialised")
        self.image, self.outputs = image, outputs
        operations = keras.Function(image, outputs).operations
        tensors = [tensor for operation in operations for tensor in keras.tree.flatten(operation.output)]
        readers = dict.fromkeys(map(id, tensors), 0)
        for operation in operations:
            for tensor in operation._inbound_nodes[0].input_tensors:
                readers[id(tensor)] += 1
        kept = {key for key, count in readers.items() if count != 1} | set(map(id, [image, *keras.tree.flatten(outputs)]))
        # Each operation comes after those that it reads, and so does each segment.
        self.segments = [_Segment(tensor, kept) for tensor in tensors if id(tensor) in kept and tensor is not self.image]

    def call(self, image: Tensor, training: bool | None = None) -> Any:
        """What the network gives for images (B, H, W, 3), in the same structure."""
        values = {id(self.image): image}
        for segment in self.segments:
            values[id(segment.end)] = _compute_twice(segment, tuple(values[id(start)] for start in segment.starts))
        return keras.tree.map_structure(lambda tensor: values[id(tensor)], self.outputs)


class _Segment(keras.Layer):
    """What is rematerialised as one: the layers from symbolic tensors `starts`, which are kept, to the next one, `end`."""

    def __init__(self, end: Any, kept: set[int]) -> None:
        super().__init__(autocast=False, dtype="float32", name="segment")
        self.end, starts, pending = end, {}, [end]
        while pending:
            for tensor in pending.pop()._keras_history.operation._inbound_nodes[0].input_tensors:
                if id(tensor) in kept:
                    starts[id(tensor)] = tensor
                else:
                    pending.append(tensor)
        self.starts = tuple(starts.values())
        self.function = keras.Function(self.starts, end)
        layers = [one for one in self.function.operations if isinstance(one, keras.Layer)]
        self.inner = [variable for layer in layers for variable in layer.variables]
        self.statistics = [variable for layer in layers for variable in layer.non_trainable_variables]

    def call(self, starts: Sequence[Tensor], training: bool | None = None) -> Tensor:
        """The segment's layers, which learn from it that they train."""
        return self.function(starts)


def _compute_twice(segment: _Segment, starts: Sequence[Tensor]) -> Tensor:
    """The end of a rematerialised segment, whose gradient computes the segment again."""

    def compute(starts: Sequence[Tensor], values: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        # Stateless: the second pass must not move the statistics again, and cannot on JAX.
        with keras.StatelessScope(state_mapping=list(zip(segment.inner, values, strict=True))) as scope:
            end = segment(starts, training=True)
        return end, [keras.ops.stop_gradient(scope.get_current_value(variable)) for variable in segment.statistics]

    end, statistics = keras.remat(compute)(starts, [keras.ops.copy(variable) for variable in segment.inner])
    for variable, value in zip(segment.statistics, statistics, strict=True):
        variable.assign(value)
    return end
