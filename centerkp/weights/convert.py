"""From a checkpoint of the Object Detection API to a model of this package, exactly."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
from rich.console import Console

from centerkp.console import make_console
from centerkp.model.backbones import find_backbone, name_backbone
from centerkp.model.center_net import CenterNet, save_model
from centerkp.model.cost import describe_cost
from centerkp.model.transfer import transfer_weights
from centerkp.schema import Schema
from centerkp.weights.checkpoint import Checkpoint, open_checkpoint
from centerkp.weights.checkpoint_structure import Structure, check_complete, describe_use, read_structure
from centerkp.weights.coco_schema import unused_classes
from centerkp.weights.naming import name_channels, read_names
from centerkp.weights.pipeline_config import read_pipeline
from centerkp.weights.zoo_sources import Task, port_weights, weight_sources
from centerkp.writing import WriteGuard, mark, says

DEFAULT_SIZE = 512


def convert(
    source: str | Path,
    out: str | Path,
    *,
    coco: str | Path | None = None,
    label_map: str | Path | None = None,
    pipeline: str | Path | None = None,
    image_size: int | None = None,
    stacks: int | None = None,
    overwrite: bool = False,
    console: Console | None = None,
) -> CenterNet:
    """Converts an Object Detection API CenterNet checkpoint into a `.keras` file, and says where each name came from.

    Args:
        source: an archive, an extracted folder, a checkpoint prefix, or a SavedModel folder.
        out: the `.keras` file to write.
        coco, label_map: where class and keypoint names come from, one of them. Not needed for the zoo's COCO models.
        pipeline: pipeline.config, which names the class of each keypoint task; by default the one beside the checkpoint.
        image_size: side in pixels; by default that of the pipeline.config, else 512.
        stacks: keeps only so many hourglasses, with their own heads.
        overwrite: replaces a file of that name that no earlier conversion wrote.

    Raises:
        FileExistsError: there is one, and it was not asked for.
        ValueError, FileNotFoundError: nothing to convert there, or the names do not fit it; says what to pass.
    """
    console, out, started = console or make_console(), Path(out), time.monotonic()
    if out.suffix != ".keras":
        raise ValueError(f"{out}: found the ending '{out.suffix}', expected a file to write such as model.keras.")
    if Path(source).suffix == ".keras":
        raise ValueError(f"{source}: already a .keras file, expected a TensorFlow checkpoint; load it as it is.")
    WriteGuard([path for path in (source, coco, label_map, pipeline) if path], overwrite).check(
        [out], lambda path: says(path, mark("convert"))
    )
    names = read_names(coco, label_map)
    with open_checkpoint(source, scratch=out.parent if out.parent.is_dir() else None) as checkpoint:
        found = pipeline or checkpoint.pipeline
        facts = read_pipeline(found) if found else None
        structure = read_structure(checkpoint)
        schema, tasks, notes = name_channels(structure, names, facts, str(source))
        if image_size is None and facts and facts.image_size:
            size, origin = facts.image_size, str(facts.path)
        else:
            size, origin = image_size or DEFAULT_SIZE, "given" if image_size else "the default"
        model = port_checkpoint(checkpoint, structure, schema, tasks, size)
    if stacks is not None and stacks != model.backbone.stacks:
        model = keep_stacks(model, stacks)
    save_model(model, out, "convert")
    lines = [
        f"checkpoint: {source}, {describe_use(checkpoint, model.backbone)}",
        f"network: {name_backbone(model.backbone) or model.backbone.kind}, {model.backbone.describe()}",
        f"cost: {describe_cost(model)} (size: {origin})",
        *notes,
        f"model: {out} in {time.monotonic() - started:.0f} s",
    ]
    for line in lines:
        console.print(line)
    return model


def port_checkpoint(
    checkpoint: Checkpoint, structure: Structure, schema: Schema, tasks: Mapping[int, Task], image_size: int | Sequence[int]
) -> CenterNet:
    """Converts a checkpoint into a model, after a check that every variable is there in its shape and no other.

    Raises:
        ValueError: the checkpoint is incomplete or of another network.
    """
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")  # the file keeps its numbers whatever the run computes in
    try:
        ignored = {"ignored_classes": unused_classes(schema)}
        model = CenterNet(schema, structure.backbone, image_size, decode=ignored)
    finally:
        keras.config.set_dtype_policy(policy)
    sources = weight_sources(model, tasks)
    expected = {source.key: source.shape for parts in sources.values() for source in parts}
    check_complete(checkpoint, expected, structure.backbone)
    variables = {variable.path: variable for variable in model.weights}
    for path, value in port_weights(model, checkpoint.read, tasks):
        variables[path].assign(value)
    return model


def keep_stacks(model: CenterNet, stacks: int) -> CenterNet:
    """What `convert --stacks` makes of a trained model: its first hourglasses alone, with their own heads: about half the cost.

    Thresholds stay behind, unless all hourglasses do: they are those of the scores of the last one's heads.

    Raises:
        ValueError: the model does not have so many.
    """
    if not 1 <= stacks <= model.backbone.stacks:
        raise ValueError(f"stacks: found {stacks}, expected 1 to {model.backbone.stacks}, which is what the weights have.")
    others = ["name", "trainable", "dtype", "schema", "backbone"] + ["thresholds"] * (stacks < model.backbone.stacks)
    config = {k: v for k, v in model.get_config().items() if k not in others}
    smaller = CenterNet(model.schema, find_backbone(model.backbone, stacks=stacks), **config)
    transfer_weights(model, smaller)
    return smaller
