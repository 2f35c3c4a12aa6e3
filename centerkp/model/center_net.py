"""CenterNet: one model that trains on heat maps and predicts objects."""

import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
from keras import layers

import centerkp.model.averaging  # noqa: F401  by its name Keras finds the optimizer of saved models
from centerkp.codec.decode import DecodeOptions, decode
from centerkp.codec.targets import MASK_RULES, render_targets
from centerkp.heads import HEATMAP_HEADS, Tensor, head_channels
from centerkp.images.sensors import Levels
from centerkp.images.tiling import Tiling
from centerkp.model.accumulation import train_in_parts
from centerkp.model.backbone import Backbone, check_image_size, is_within, nearest_sizes
from centerkp.model.backbones import find_backbone
from centerkp.model.keras_file import UNREADABLE, check_keras_file
from centerkp.model.losses import DEFAULT_WEIGHTS, compute_losses
from centerkp.model.sparse_heads import complete_maps, draw_training_network
from centerkp.results import Thresholds
from centerkp.schema import Schema
from centerkp.writing import mark, replacing

HEATMAP_BIAS = -2.19  # sigmoid(-2.19) = 0.1: a fresh heat map expects few objects


@keras.saving.register_keras_serializable(package="centerkp")
class CenterNet(keras.Model):
    """Finds every object's box and keypoints in one pass ("Objects as Points", Zhou et al. 2019).

    Calling the model on RGB images (B, S, S, 3), 0..255, of any numeric type, gives a list with one dictionary
    `{head: (B, S/4, S/4, channels)}` per stack (`centerkp.heads`). `predict` gives decoded objects (`centerkp.codec.decode`).
    Both also take `{"image": images, "valid_size": (B, 2)}`, where `valid_size` is the width and height of the picture inside
    its padding. `fit` takes (image, truth) with the padded ground truth of `centerkp.codec.targets`.

    Args:
        schema: the classes and keypoints, or their config.
        backbone: a name ("hourglass_104"), a `Backbone` of your own widths such as a `Hourglass`, or its config.
        image_size: (width, height) the model was made for; it computes on any size that is a multiple of `model.multiple`.
        bn_momentum: share of the old statistics that BatchNormalization keeps each step. The zoo's is 0.1, too little for
            small batches.
        loss_weights: factors of the loss terms, by head; those not named keep the zoo's.
        mask_rule: what an unlabelled keypoint silences, see `codec.targets.render_targets`.
        decode: options that differ from `DecodeOptions()`.
        frozen: what does not train, see `freeze`.
        frozen_bn: whether BatchNormalization does not, see `freeze`.
        trained_epochs: how many epochs of a run the weights have seen.
        thresholds: config of the `Thresholds` from which on objects count where nobody says it; None before an evaluation.
        levels: config of the `Levels` at which pictures of more than 8 bits were black and white in training; None for all.
        tiling: config of the `Tiling` by which large pictures were cut in training; None where they were seen whole.
    """

    _step_network: Callable | None = None  # during a training step, what computes its maps

    def __init__(
        self,
        schema: Schema | Mapping,
        backbone: str | Mapping | Backbone = "hourglass_104",
        image_size: int | Sequence[int] = 512,
        bn_momentum: float = 0.9,
        loss_weights: Mapping[str, float] | None = None,
        mask_rule: str = "labelled",
        decode: Mapping | None = None,
        frozen: str = "none",
        frozen_bn: bool = False,
        trained_epochs: int = 0,
        unfinished: Mapping | None = None,
        thresholds: Mapping | None = None,
        timed: Mapping | None = None,
        levels: Sequence[float] | None = None,
        tiling: Sequence[float] | None = None,
        rate_factor: float = 1.0,
        schedule_start: int = 0,
        **kwargs: Any,
    ) -> None:
        schema = schema if isinstance(schema, Schema) else Schema.from_config(schema)
        backbone = find_backbone(backbone)
        if mask_rule not in MASK_RULES:
            raise ValueError(f"mask_rule: found '{mask_rule}', expected one of {list(MASK_RULES)}.")
        unknown = set(loss_weights or ()) - set(DEFAULT_WEIGHTS)
        if unknown:
            raise ValueError(f"loss_weights: found {sorted(unknown)}, expected some of {list(DEFAULT_WEIGHTS)}.")
        image = keras.Input((None, None, 3), name="image", dtype="float32")
        super().__init__(inputs=image, outputs=_draw_network(image, schema, backbone, bn_momentum), **kwargs)
        self.schema = schema
        self.backbone = backbone
        self.image_size = check_image_size(image_size, backbone.multiple)
        self.bn_momentum = bn_momentum
        self.loss_weights = DEFAULT_WEIGHTS | dict(loss_weights or {})
        self.mask_rule = mask_rule
        self.decode_options = DecodeOptions.from_config(decode or {})
        self.trained_epochs = trained_epochs
        self.unfinished = unfinished  # of the epoch behind these: its "steps" that were done, and the "metrics" until then
        self.thresholds = Thresholds.from_config(thresholds, schema.num_classes)
        self.levels, self.tiling = Levels.from_config(levels), Tiling.from_config(tiling)
        self.timed = timed  # of a run with a limit: the "progress" of its schedule, the "seconds" left, whether it "is_over"
        self.rate_factor, self.schedule_start = rate_factor, schedule_start  # of a run's learning rate; from which epoch on
        self.loss_trackers = {head: keras.metrics.Mean(name=head) for head in head_channels(schema)}
        self.freeze(frozen, frozen_bn)
        self.save_memory()

    def save_memory(self, parts: int = 1, remat: bool = False) -> None:
        """Says how a CenterNet trains in less memory, until it is loaded again; compile the model afterwards.

        Args:
            parts: of a batch, which is computed so many images at a time (`accumulation`); it must be a multiple of them.
            remat: whether most of what a layer gives is computed a second time instead of kept (`remat`).
        """
        self.parts, self.remat = parts, remat

    def freeze(self, part: str = "none", batch_norm: bool = False) -> None:
        """Says which part of the CenterNet does not train: "none", "stem", the trunk to "stride8", ..., "backbone".

        The backbone is everything but the heads; an hourglass has no strides to choose. With `batch_norm` no
        BatchNormalization trains; frozen, it keeps its statistics as well. Compile the model afterwards. A saved model
        remembers what is frozen.
        """
        if part not in self.backbone.freezable:
            raise ValueError(f"freeze: found '{part}', expected one of {list(self.backbone.freezable)} for this backbone.")
        for layer in self.layers:
            inside = not self.find_head(layer.name) and (part == "backbone" or (part != "none" and is_within(layer.name, part)))
            layer.trainable = not (inside or (batch_norm and isinstance(layer, layers.BatchNormalization)))
        self.frozen, self.frozen_bn = part, batch_norm

    def find_head(self, layer_name: str) -> tuple[int, str] | None:
        """Stack and head of a CenterNet's layer such as `stack0_box_size_hidden`; None for the backbone's layers."""
        match = re.fullmatch(r"stack(\d+)_(\w+?)(_hidden)?", layer_name)
        return (int(match[1]), match[2]) if match and match[2] in self.loss_weights else None

    @property
    def multiple(self) -> int:
        """Sides of a CenterNet's input must be multiples of this."""
        return self.backbone.multiple

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        # Here and not in `call`, whose errors Keras wraps in a print-out of the whole image.
        image = inputs["image"] if isinstance(inputs, Mapping) else inputs
        for side, name in ((image.shape[2], "width"), (image.shape[1], "height")):
            if side is not None and side % self.multiple:
                raise ValueError(f"Image {name}: found {nearest_sizes(side, self.multiple)}")
        return super().__call__(image, *args, **kwargs)

    def call(self, image: Tensor, training: bool | None = None, mask: Any = None) -> list[dict[str, Tensor]]:
        """Images (B, H, W, 3) from 0 to 255 -> one `{head: map}` per stack, a list also of one stack."""
        image = keras.ops.cast(image, "float32")
        outputs = self._step_network(image) if self._step_network else super().call(image, training, mask)
        # Keras unwraps a list of one output; one stack and two should look alike.
        return outputs if isinstance(outputs, list) else [outputs]

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        """Renders the targets of `y`, and returns the weighted sum of all losses; each is shown by name, unweighted."""
        if not isinstance(y, Mapping):
            raise ValueError(
                f"fit needs y as a dictionary of padded ground truth (centerkp.codec.targets), found {type(y).__name__}."
            )
        map_size = y_pred[0]["center_heatmap"].shape[1:3]
        targets = render_targets(y, self.schema, map_size, mask_rule=self.mask_rule)
        terms = compute_losses(complete_maps(self, y_pred, targets), targets, self.schema.keypoint_mask)
        return self.note_terms(terms)

    def weigh_terms(self, terms: Mapping[str, Tensor]) -> Tensor:
        """The loss of a CenterNet: the weighted sum of its terms by head."""
        return sum(self.loss_weights[head] * value for head, value in terms.items())

    def note_terms(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Shows the terms of a step's loss, unweighted by head, and returns their weighted sum."""
        for head, value in terms.items():
            self.loss_trackers[head].update_state(value)
        return self.weigh_terms(terms)

    def make_train_function(self, force: bool = False) -> Any:
        """The step that `fit` repeats; the optimizer has its variables before, or TensorFlow traces the first step twice."""
        if not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        return super().make_train_function(force)

    def train_step(self, *args: Any) -> Any:
        """What `fit` does with a batch: Keras's own step, or one in parts."""
        self._step_network = draw_training_network(self, self.remat)
        try:
            return super().train_step(*args) if self.parts == 1 else train_in_parts(self, *args)
        finally:
            self._step_network = None

    def predict_step(self, *args: Any) -> Any:
        """What `predict` gives: objects instead of maps; the data come last, behind the state on the JAX backend."""
        inputs = keras.utils.unpack_x_y_sample_weight(args[-1])[0]
        valid_size = inputs.get("valid_size") if isinstance(inputs, Mapping) else None
        image = inputs["image"] if isinstance(inputs, Mapping) else inputs
        outputs = super().predict_step(*args[:-1], (image,))
        if keras.backend.backend() == "jax":
            stacks, state = outputs
            return self.decode(stacks[-1], valid_size), state
        return self.decode(outputs[-1], valid_size)

    def decode(self, maps: Mapping, valid_size: Tensor | None = None) -> dict:
        """The objects in the CenterNet's maps of one stack, see `codec.decode.decode`."""
        return decode(maps, self.schema.keypoint_mask, self.decode_options, valid_size, self.schema.keypoint_std)

    def get_config(self) -> dict[str, Any]:
        """All that makes this CenterNet again but its weights, as a `.keras` file holds it in JSON."""
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
            "schema": self.schema.get_config(),
            "backbone": self.backbone.get_config(),
            "image_size": list(self.image_size),
            "bn_momentum": self.bn_momentum,
            "loss_weights": dict(self.loss_weights),
            "decode": asdict(self.decode_options),
            **{name: getattr(self, name) for name in ("mask_rule", "frozen", "frozen_bn", "rate_factor", "schedule_start")},
            **{name: getattr(self, name) for name in ("trained_epochs", "unfinished", "timed")},
            **{name: getattr(self, name) and getattr(self, name).get_config() for name in ("thresholds", "levels", "tiling")},
        }

    @classmethod
    def from_config(cls, config: Mapping, custom_objects: Mapping | None = None) -> "CenterNet":
        """The CenterNet, with fresh weights, of a config that `get_config` gave."""
        config = dict(config)
        if isinstance(config.get("dtype"), Mapping):
            config["dtype"] = keras.saving.deserialize_keras_object(config["dtype"])
        return cls(**config)


def _draw_network(image: Tensor, schema: Schema, backbone: Backbone, bn_momentum: float) -> list[dict]:
    """The layers of a CenterNet: normalisation, backbone, and the heads of each stack."""
    variance = [s * s for s in backbone.std]
    normalise = layers.Normalization(mean=backbone.mean, variance=variance, name="normalise", dtype="float32")
    features = backbone.build(normalise(image), bn_momentum)
    return [
        {
            head: _draw_head(feature, head, channels, backbone, f"stack{i}_{head}")
            for head, channels in head_channels(schema).items()
        }
        for i, feature in enumerate(features)
    ]


def count_parameters(schema: Schema, backbone: Backbone) -> int:
    """Parameters of the network that a `CenterNet` would have, without memory for one."""

    def count() -> int:
        with keras.StatelessScope(initialize_variables=False):
            image = keras.Input((None, None, 3), dtype="float32")
            return keras.Model(image, _draw_network(image, schema, backbone, 0.9)).count_params()

    # Keras keeps a list of variables without values for each thread, and fills them in when the next such scope there ends.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(count).result()


def _draw_head(feature: Tensor, head: str, channels: int, backbone: Backbone, name: str) -> Tensor:
    """The two convolutions of a CenterNet's head: hidden layer and 1x1, to maps of so many channels."""
    how = {"padding": "same", "activation": "relu", "name": f"{name}_hidden"}
    if filters := backbone.depthwise_filters(head):
        hidden = layers.SeparableConv2D(backbone.hidden_channels(head), 3, depth_multiplier=filters, **how)
    else:
        hidden = layers.Conv2D(backbone.hidden_channels(head), 3, **how)
    x = hidden(feature)
    bias = keras.initializers.Constant(HEATMAP_BIAS) if head in HEATMAP_HEADS else "zeros"
    # float32 also under mixed precision: losses and coordinates need the digits.
    return layers.Conv2D(channels, 1, bias_initializer=bias, name=name, dtype="float32")(x)


def load_model(path: str | Path) -> CenterNet:
    """Loads a `.keras` file written by `model.save` or by training; its schema is `model.schema`.

    The file need not be trusted: one that holds anything but a CenterNet is refused before Keras reads it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a centerkp model, or one with foreign code; see `model.keras_file.check_keras_file`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a .keras model written by training or model.save.")
    check_keras_file(path, count_parameters)
    try:
        return keras.saving.load_model(path, safe_mode=True)
    except (*UNREADABLE, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path}: not a readable centerkp model ({str(error)[:500]}); train one or name another file."
        ) from error


def save_model(model: keras.Model, path: str | Path, command: str = "") -> None:
    """Saves a CenterNet, whole or not at all; the file says which `command` made it, see `writing.mark`."""
    with replacing(path) as part:
        model.save(part)
        if command:
            with zipfile.ZipFile(part, "a") as archive:
                archive.comment = mark(command).encode()
