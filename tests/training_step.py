"""One training step of a ported model, to be held against the reference's."""

import keras
import reference
from keras import ops

from centerkp.codec.targets import render_targets
from centerkp.model.losses import DEFAULT_WEIGHTS, compute_losses


def run_training_step(model, images, truth):
    """One forward and backward in training mode: total and terms, maps, gradients and later statistics by variable path."""
    targets = render_targets(
        truth,
        reference.SCHEMA,
        (images.shape[1] // 4, images.shape[2] // 4),
        mask_rule="zoo_2021",
        keypoint_std=reference.KEYPOINT_STD,
    )

    def total(stacks):
        terms = compute_losses(stacks, targets, reference.SCHEMA.keypoint_mask)
        return sum(DEFAULT_WEIGHTS[head] * value for head, value in terms.items()), (terms, stacks)

    paths = [v.path for v in model.trainable_variables]
    if keras.backend.backend() == "jax":
        import jax

        def loss(trainable):
            stacks, state = model.stateless_call(
                trainable, [v.value for v in model.non_trainable_variables], images, training=True
            )
            value, rest = total(stacks)
            return value, (*rest, state)

        (value, (terms, stacks, state)), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(
            [v.value for v in model.trainable_variables]
        )
        after = dict(zip([v.path for v in model.non_trainable_variables], state, strict=True))
    else:
        import tensorflow as tf

        before = [ops.convert_to_numpy(v) for v in model.non_trainable_variables]
        with tf.GradientTape() as tape:
            value, (terms, stacks) = total(model(images, training=True))
        gradients = tape.gradient(value, [v.value for v in model.trainable_variables])
        after = {v.path: ops.convert_to_numpy(v) for v in model.non_trainable_variables}
        for variable, kept in zip(model.non_trainable_variables, before, strict=True):
            variable.assign(kept)
    gradients = {path: ops.convert_to_numpy(g) for path, g in zip(paths, gradients, strict=True)}
    return float(value), terms, stacks, gradients, {path: ops.convert_to_numpy(v) for path, v in after.items()}
