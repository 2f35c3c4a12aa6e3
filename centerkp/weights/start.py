"""Trained weights to start from: the zoo's COCO models or packaged ones by one word, a `.keras` file, or a checkpoint."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import keras
from rich.console import Console

from centerkp.console import make_console
from centerkp.model.backbone import Backbone, check_image_size
from centerkp.model.backbones import find_backbone, name_backbone, same_body
from centerkp.model.center_net import CenterNet, load_model, save_model
from centerkp.model.transfer import TransferReport, transfer_weights
from centerkp.schema import Schema
from centerkp.weights.addresses import find_archive
from centerkp.weights.archive import ARCHIVE_SUFFIXES, is_archive
from centerkp.weights.checkpoint import open_checkpoint
from centerkp.weights.checkpoint_structure import describe_use, read_structure
from centerkp.weights.convert import keep_stacks, port_checkpoint
from centerkp.weights.download import check_digest, compute_digest, download, record_digest
from centerkp.weights.imagenet import TrunkReport, start_from_imagenet
from centerkp.weights.naming import is_coco, name_channels
from centerkp.weights.packaged import start_from_drawn
from centerkp.weights.trained import find_model
from centerkp.writing import hold_folder

URL_VARIABLE = "CENTERKP_WEIGHTS_URL"
FOLDER = Path("weights")  # in the working directory
# What is installed with the package and knows no objects by name.
PACKAGED: dict[str, Callable[[CenterNet], TransferReport | TrunkReport]] = {
    "imagenet": start_from_imagenet,
    "drawn": start_from_drawn,
}


def build_model(
    schema: Schema | None = None,
    *,
    num_classes: int | None = None,
    num_keypoints: int | Sequence[int] = 0,
    backbone: str | Mapping | Backbone = "hourglass_104",
    image_size: int | Sequence[int] = 512,
    stacks: int | None = None,
    head_channels: int | Mapping[str, int] | None = None,
    weights: str | Path = "none",
    map_keypoint: Mapping[str, str] | None = None,
    **options: Any,
) -> CenterNet:
    """Builds a model to start from for a dataset's schema, or quickly for so many classes and keypoints.

    Args:
        schema: from `Schema.from_coco`. Without it, `num_classes` classes with made-up names and `num_keypoints` keypoints
            each (or one number per class).
        backbone: a name in `centerkp.model.backbones.BACKBONES`, such as "hourglass_104" or "mobilenetv2_fpn", or a `Backbone`
            of your own widths, such as a `Hourglass`.
        image_size: side, or (width, height), in pixels.
        stacks: changes this field of the backbone.
        head_channels: changes this one.
        weights: "coco" starts from the model zoo's COCO keypoint model of this backbone, fetched once into the folder
            `weights`; "imagenet" from packaged features of photographs, where the backbone has them; "drawn" from what
            `benchmarks/pretrain.py` packed for it; a path, from that `.keras` file or checkpoint; "none", from random numbers.
            With a schema they move by name and a report is printed, without one the model detects what the weights detect.
        map_keypoint: `{own keypoint: the weights' keypoint}` for those whose names differ.
        options: further arguments of `CenterNet`.

    Raises:
        ValueError: no schema and no num_classes, an unknown backbone, a size the network cannot halve often enough, or weights
            that do not fit.
        FileNotFoundError: the weights are not there and cannot be fetched.
    """
    if schema is None and num_classes is not None:
        schema = Schema.generic(num_classes, num_keypoints)
    elif schema is None and weights == "none":
        raise ValueError(
            "build_model: found neither a schema nor num_classes; pass Schema.from_coco('ann.json'), num_classes=1 or "
            "weights='coco'."
        )
    elif num_classes is not None or num_keypoints:
        raise ValueError(
            "build_model: found a schema and num_classes or num_keypoints; the schema already says both, leave them out."
        )
    if weights == "none":
        return CenterNet(schema, find_backbone(backbone, stacks=stacks, head_channels=head_channels), image_size, **options)
    if head_channels is not None and weights != "imagenet":
        raise ValueError("build_model: found weights and head_channels; the weights say how wide the heads are, leave it out.")
    model, report = build_from_weights(
        schema,
        weights,
        backbone=find_backbone(backbone, head_channels=head_channels),
        image_size=image_size,
        stacks=stacks,
        map_keypoint=map_keypoint,
        **options,
    )
    print(*report.lines(), sep="\n")
    return model


def load_weights(
    weights: str | Path,
    image_size: int | Sequence[int] | None = None,
    console: Console | None = None,
    *,
    backbone: str | Mapping | Backbone | None = None,
) -> CenterNet:
    """Loads trained weights, by a word such as "coco" or a path, as a model to start from or to use.

    Args:
        weights: "coco" for the zoo's COCO keypoint model, fetched into `weights/` on first use; a `.keras` file or the
            folder of a run, for its best.keras; or a checkpoint of such a COCO model as an archive, a folder or a prefix.
            The environment variable CENTERKP_WEIGHTS_URL names another address or a local path for "coco".
        image_size: side or (width, height) to use the model at. From 1024 on, "coco" of hourglass_104 is the model trained at
            1024 pixels. By default the size the weights were made for.
        backbone: which of the zoo's models "coco" is, by default hourglass_104; weights of another one are an error.

    Raises:
        FileNotFoundError: nothing is there, or it could not be fetched; says what to put where.
        ValueError: not weights of a CenterNet, not of this backbone, or not what they were on first use.
    """
    console = console or make_console()
    weights = find_model(weights)
    path = Path(weights)
    if weights in PACKAGED:
        raise ValueError(
            f"Weights {weights}: found features without a detector, expected a trained model; train one from them first, with "
            f"centerkp train --weights {weights}."
        )
    expected = None if backbone is None else find_backbone(backbone)
    if weights == "coco":
        name = "hourglass_104" if expected is None else name_backbone(expected) or "of its own widths"
        model = _load_coco(name, image_size or 512, console)
    elif path.suffix == ".keras" or (path.is_file() and not is_archive(path) and path.suffix != ".index"):
        model = load_model(path)
    else:
        model = _port_coco(path, image_size or 512, None, console)
        if keras.config.dtype_policy().name != "float32":  # built anew: ported models compute in float32
            model = keep_stacks(model, model.backbone.stacks)
    if expected is not None and not same_body(model.backbone, expected):
        name = name_backbone(model.backbone)
        remedy = f"use --backbone {name}" if name else f"build the model with backbone={model.backbone.get_config()}"
        raise ValueError(
            f"Weights {weights}: found {name or model.backbone}, expected {name_backbone(expected) or expected}; {remedy}, "
            "or other weights."
        )
    if image_size:
        model.image_size = check_image_size(image_size, model.multiple)
    return model


def build_from_weights(
    schema: Schema | None,
    weights: str | Path,
    *,
    backbone: str | Mapping | Backbone,
    image_size: int | Sequence[int],
    stacks: int | None = None,
    map_keypoint: Mapping[str, str] | None = None,
    console: Console | None = None,
    **options: Any,
) -> tuple[CenterNet, TransferReport | TrunkReport]:
    """A model for `schema` (None: the weights' own) that starts from trained weights by name, or ImageNet features.

    The hidden widths of the heads are those of the weights; `stacks` keeps only the first hourglasses.

    Raises:
        ValueError: the weights are of another backbone, or as in `load_weights` and `transfer_weights`.
    """
    expected = find_backbone(backbone, stacks=stacks)
    if weights in PACKAGED:
        if schema is None or map_keypoint:
            found = "keypoints to take over" if map_keypoint else "no schema"
            raise ValueError(f"Weights {weights}: found {found}, expected a schema alone; these weights know no objects.")
        model = CenterNet(schema, expected, image_size, **options)
        return model, PACKAGED[str(weights)](model)
    source = load_weights(weights, image_size, console, backbone=expected)
    spec = find_backbone(source.backbone, stacks=stacks)
    if schema is None:
        options.setdefault("decode", asdict(source.decode_options))
    model = CenterNet(schema or source.schema, spec, image_size, **options)
    name = "coco" if weights == "coco" else ""
    return model, transfer_weights(source, model, map_keypoint, source_name=name)


def _load_coco(backbone: str, image_size: int | Sequence[int], console: Console) -> CenterNet:
    """The COCO model to start from: ported before into `weights/`, else from the archive there, else from the network."""
    longer = image_size if isinstance(image_size, int) else max(image_size)
    address, size = os.environ.get(URL_VARIABLE), 1024 if longer >= 1024 else 512
    if not address:
        address, size = find_archive(backbone, longer)
    local = Path(address.removeprefix("file://"))
    is_url = "://" in address and not address.startswith("file://")
    name = Path(urlsplit(address).path).name or "coco"
    ported = FOLDER / f"{_strip_suffix(name)}.keras"

    def is_made() -> bool:
        return ported.exists() and (is_url or _is_newer(ported, local))

    def wait(holder: str) -> None:
        console.print(f"weights: waiting for {holder}, which works on {FOLDER}/", soft_wrap=True)

    if not is_made():
        with hold_folder(FOLDER, report=wait):
            if not is_made():  # by the process that was waited for
                started = time.monotonic()
                if is_url:
                    model = _port_download(address, FOLDER / name, size, console)
                else:
                    model = _port_coco(local, size, FOLDER, console)
                save_model(model, ported)
                console.print(f"weights: ported to {ported} in {time.monotonic() - started:.0f} s")
    try:
        return load_model(ported)  # which computes in the number format that was asked for
    except ValueError as error:
        raise ValueError(f"{error} It was ported from {name}; delete it to have it made again.") from None


def _port_download(url: str, archive: Path, size: int, console: Console) -> CenterNet:
    """The COCO model of a zoo archive, downloaded first if not there; it gets its name when all in it is in place."""
    file = archive
    if not archive.exists():
        file = archive.with_name(archive.name + ".part")
        console.print(f"weights: fetching {url} into {archive.parent}/ (once)", soft_wrap=True)
        try:
            download(url, file, console)
        except ConnectionError as error:
            raise FileNotFoundError(
                f"{archive}: not there, and could not be fetched from {url} ({error}); start again to go on where it "
                f"stopped, or fetch {archive.name} by other means and put it there, or name another address or path in "
                f"{URL_VARIABLE}, or train from scratch with --weights none."
            ) from None
    try:
        digest = compute_digest(file)
        check_digest(archive, digest)
        model = _port_coco(file, size, archive.parent, console)
    except (ValueError, FileNotFoundError) as error:
        if file != archive:
            file.unlink()
        raise type(error)(str(error).replace(str(file), str(archive))) from None
    if file != archive:
        os.replace(file, archive)
    record_digest(archive, digest)
    return model


def _port_coco(path: Path, image_size: int | Sequence[int], scratch: Path | None, console: Console) -> CenterNet:
    """The model to start from out of a checkpoint with the channels of the zoo's COCO keypoint models."""
    with open_checkpoint(path, scratch) as checkpoint:
        structure = read_structure(checkpoint)
        if not is_coco(structure):
            raise ValueError(
                f"{path}: found {structure.num_classes} classes and keypoint tasks of "
                f"{[t.keypoints for t in structure.tasks]} points, expected the 90 classes and 17 keypoints of COCO, or its "
                "person alone; give it names with centerkp convert, and use the file that makes."
            )
        schema, tasks, _ = name_channels(structure, None, None, str(path))
        model = port_checkpoint(checkpoint, structure, schema, tasks, image_size)
        console.print(f"weights: {describe_use(checkpoint, structure.backbone)}", soft_wrap=True)
        return model


def _strip_suffix(name: str) -> str:
    """The name of an archive that weights start from, without its ending such as .tar.gz."""
    for suffix in ARCHIVE_SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def _is_newer(ported: Path, source: Path) -> bool:
    """Whether a local source of weights has not changed since it was ported; a folder counts by its newest file."""
    files = [p for p in source.rglob("*") if p.is_file()] if source.is_dir() else [source, Path(f"{source}.index")]
    return all(p.stat().st_mtime <= ported.stat().st_mtime for p in files if p.exists())
