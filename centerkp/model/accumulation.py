"""Accumulation of gradients: a batch computed in parts, one after another, for one step of the optimizer.

It is a step of the whole batch in everything but memory and BatchNormalization, which sees each part by itself: the losses of
the parts are divided by the objects and keypoints of all of them, and the optimizer, its schedule and its average meet the sum
of their gradients alone.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from centerkp.codec.targets import render_targets
from centerkp.heads import STRIDE, Tensor
from centerkp.model.losses import compute_losses, count_labels
from centerkp.model.sparse_heads import complete_maps


def train_in_parts(model: keras.Model, *arguments: Any) -> Any:
    """A training step that accumulates the gradients of the parts of a batch; takes and gives what Keras's own does.

    Args:
        model: a `CenterNet` with `model.parts` above 1.
        arguments: the batch; on JAX the state of the training before it.
    """
    if keras.backend.backend() != "jax":
        gradients = _accumulate(model, arguments[0])
        model.optimizer.apply(gradients, model.trainable_variables)
        return model.get_metrics_result()
    (trainable, fixed, optimizing, metrics), data = arguments
    own = model.trainable_variables, model.non_trainable_variables, model.optimizer.variables, model.metrics_variables
    pairs = [pair for one in zip(own, arguments[0], strict=True) for pair in zip(*one, strict=True)]
    with keras.StatelessScope(state_mapping=pairs) as scope:
        gradients = _accumulate(model, data)
        logs = model.get_metrics_result()
    trainable, optimizing = model.optimizer.stateless_apply(optimizing, gradients, trainable)
    fixed, metrics = ([scope.get_current_value(variable) for variable in own[i]] for i in (1, 3))
    return logs, (trainable, fixed, optimizing, metrics)


def _accumulate(model: keras.Model, data: Sequence) -> list[Tensor]:
    """The gradients of a batch, summed up over its parts; notes its losses and moves the model's statistics."""
    image, truth = data[:2]
    parts, mask = model.parts, model.schema.keypoint_mask
    targets = render_targets(
        truth, model.schema, (image.shape[1] // STRIDE, image.shape[2] // STRIDE), mask_rule=model.mask_rule
    )
    counts = count_labels(targets, mask)
    rows = keras.tree.map_structure(lambda x: _share_out(ops.reshape(x, (parts, -1, *x.shape[1:]))), (image, targets))
    variables, statistics = model.trainable_variables, model.non_trainable_variables

    def compute(values: Sequence[Tensor], state: Sequence[Tensor], part: Any) -> tuple[Tensor, tuple]:
        pairs = [*zip(variables, values, strict=True), *zip(statistics, state, strict=True)]
        with keras.StatelessScope(state_mapping=pairs) as scope:
            maps = complete_maps(model, model(part[0], training=True), part[1])
            terms = compute_losses(maps, part[1], mask, counts=counts)
        loss = model.optimizer.scale_loss(model.weigh_terms(terms))
        return loss, (terms, [scope.get_current_value(variable) for variable in statistics])

    def add(i: Tensor, gradients: list, terms: dict, state: list) -> tuple:
        part = keras.tree.map_structure(lambda x: x[i], rows)
        more, (new_terms, state) = _differentiate(compute, values, state, part)
        gradients = [one + other for one, other in zip(gradients, more, strict=True)]
        # No number is above infinity, so this adds 1. That the next part needs the gradients of this one keeps TensorFlow from
        # computing several side by side, which would take the memory of the whole batch.
        last = sum(ops.cast(ops.reshape(one, (-1,))[0] > float("inf"), "int32") for one in more)
        return i + 1 + last, gradients, {head: terms[head] + new_terms[head] for head in terms}, state

    values, state = ([ops.copy(variable) for variable in some] for some in (variables, statistics))
    nothing = [ops.zeros_like(value) for value in values], {head: ops.zeros(()) for head in model.loss_trackers}
    loop = ops.while_loop(lambda i, *_: i < parts, add, (ops.convert_to_tensor(0, "int32"), *nothing, state))
    _, gradients, terms, state = loop
    for variable, value in zip(statistics, state, strict=True):
        variable.assign(value)
    model._loss_tracker.update_state(model.note_terms(terms), sample_weight=ops.shape(image)[0])
    return gradients


def _share_out(parts: Tensor) -> Tensor:
    """The parts of a batch, of each of which every device computes a share, where several train; else each had whole parts."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        return parts
    axes = [None, distribution.batch_dim_name, *[None] * (len(parts.shape) - 2)]
    return keras.distribution.distribute_tensor(parts, keras.distribution.TensorLayout(axes, distribution.device_mesh))


def _differentiate(compute: Callable, values: Sequence[Tensor], *others: Any) -> tuple[list[Tensor], Any]:
    """The gradients of one part's loss by `values`, and what else `compute` gives: which Keras leaves to its backends."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(compute, has_aux=True)(values, *others)
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(values)
        loss, more = compute(values, *others)
    return tape.gradient(loss, values, unconnected_gradients=tf.UnconnectedGradients.ZERO), more
