"""From a trained model to an artefact that was compared with it."""

import gc
import mmap
import os
import platform
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from rich.console import Console

from centerkp.console import make_console, native_silence
from centerkp.doctor.trainable import read_dataset
from centerkp.evaluation.speed import describe_machine
from centerkp.export.accuracy import Accuracy, measure_accuracy
from centerkp.export.calibration import find_pictures, find_training, read_sample, show_as_trained, spread
from centerkp.export.fold import FoldedNetwork, fold_and_check
from centerkp.export.litert import LITERT_PRECISIONS, write_litert
from centerkp.export.onnx_file import ONNX_PRECISIONS, write_onnx
from centerkp.export.openvino import OPENVINO_PRECISIONS, write_openvino
from centerkp.export.saved_model import SAVED_MODEL_PRECISIONS, write_saved_model
from centerkp.export.verify import Verification, print_comparison, verify
from centerkp.inference.model_loading import load_detector
from centerkp.inference.search import find_images
from centerkp.model.center_net import CenterNet
from centerkp.runtimes.artefact import DESCRIPTION, UNVERIFIED, find_artefact
from centerkp.weights.trained import find_model
from centerkp.wording import count_of
from centerkp.writing import WriteGuard, is_part, mark, remove_part, says, unwritable, write_json

REPORT = "export.json"
EARLIER = "earlier"  # in the workplace: the artefact that is replaced
SAVED_MODEL_FILES = {"saved_model.pb", "fingerprint.pb", "schema.json", "variables", "assets", REPORT}
CALIBRATION_IMAGES = 64  # more make int8 slower to write and hardly better
VERIFIED_IMAGES = 8
FULL = 1_000_000  # free bytes below which a disk is full


@dataclass(frozen=True)
class Format:
    """How a format is written: the ending of its files, its writer, its precisions, and whether batches of any size exist."""

    ending: str
    write: Callable
    precisions: tuple[str, ...]
    any_batch: bool = True


FORMATS = {
    "saved_model": Format("", write_saved_model, SAVED_MODEL_PRECISIONS),
    "onnx": Format(".onnx", write_onnx, ONNX_PRECISIONS),
    "openvino": Format(".xml", write_openvino, OPENVINO_PRECISIONS),
    "litert": Format(".tflite", write_litert, LITERT_PRECISIONS, any_batch=False),
}
# TensorFlow computes in the type of the network it is given; other formats take float32 and turn it by themselves.
FOLDED_TYPES = {("saved_model", "fp16"): "float16", ("saved_model", "bf16"): "bfloat16"}


@dataclass(frozen=True)
class Export:
    """What `export` made: where the artefact lies, whether it may be used, what was measured, room for how many objects."""

    path: Path
    verification: Verification
    accuracy: Accuracy | None
    max_objects: int

    @property
    def passed(self) -> bool:
        """Whether the exported artefact may be used: its comparison with Keras found nothing over the tolerance."""
        return not self.verification.failures


def export(
    weights: str | Path,
    format: str,
    *,
    precision: str = "fp32",
    image_size: int | tuple[int, int] | None = None,
    batch: str = "",
    stacks: int | None = None,
    max_objects: int | None = None,
    calibrate: Sequence[str | Path] = (),
    coco: str | Path | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    console: Console | None = None,
) -> Export:
    """Writes a trained model in another format, runs it, and compares it with Keras in float32.

    Until the comparison is done the files lie in a folder named `OUT.UNVERIFIED`. A difference over the tolerance leaves them
    there, where `load_detector` refuses them; else they move to `out`. `export.json` beside them holds what was measured.

    Args:
        weights: a `.keras` file, or what else `weights.start.load_weights` takes.
        format: "saved_model", "onnx", "openvino" or "litert".
        precision: "fp32", "fp16", "bf16", "int8"; not every format has all of them.
        image_size: side or (width, height) of the network's input; by default the model's own.
        batch: "1", "dynamic", or "" for whatever the format can do.
        stacks: uses only so many of the model's hourglasses, with their own heads.
        max_objects: makes room for so many objects of an image, where the model has room for fewer.
        calibrate: images, folders or patterns from which int8 takes the ranges of its numbers, by default the training images
            of the run that the weights lie in; images the comparison runs on, by default those the run held back.
        coco: annotated images; the average precision lost on them is measured.
        out: a file, for a SavedModel a folder; by default beside the weights, named after them and the precision.
        overwrite: replaces a file of that name that no earlier export wrote; a folder of that kind is never replaced.

    Raises:
        ValueError: the format does not have the precision or batch, int8 without images, or as in `load_weights`.
        FileNotFoundError: the weights, images or a package that the format needs are not there.
        FileExistsError: `out` is there, and no earlier export wrote it.
    """
    console, started = console or make_console(), time.monotonic()
    kind, weights = check_choice(format, precision, batch), find_model(weights)
    rows = None if kind.any_batch and batch != "1" else 1
    target = Path(out) if out else _name_target(weights, format, precision, kind)
    target = target if target.name else Path(os.path.abspath(target))  # of ".", beside which the workplace lies
    images = find_images(calibrate) if calibrate else []
    measured = spread(images or find_training(weights), CALIBRATION_IMAGES) if precision == "int8" else []
    _check_request(weights, format, precision, measured, target, kind)
    reads = [path for path in (weights, coco, *images) if isinstance(path, str | Path)]
    _check_target(target, kind, WriteGuard(reads, overwrite))
    named = spread(images, CALIBRATION_IMAGES)
    if measured and not named:
        console.print(f"int8 takes its ranges from {count_of(len(measured), 'training image')} of {Path(weights).parent}")
    model: Any = load_detector(weights, image_size=image_size, stacks=stacks, max_objects=max_objects, console=console)
    # Whole and now: labels that do not fit the model would end an export that was written and compared.
    dataset = read_dataset(coco, schema=model.schema) if coco else None
    pictures, origin = find_pictures(weights, coco, named, VERIFIED_IMAGES, model.levels)
    pictures = [show_as_trained(picture, model) for picture in pictures]
    workplace = target.with_name(target.name + UNVERIFIED)
    place = workplace / target.name
    network = fold_and_check(model, FOLDED_TYPES.get((format, precision), "float32"), pictures[0], console)
    samples = {"samples": [read_sample(path, model) for path in measured]} if measured else {}
    _write_artefact(kind, network, place, precision=precision, batch=rows, **samples)
    del network, samples
    gc.collect()
    with native_silence():
        detector = load_detector(place, unverified=True)
    console.print(f"written in {time.monotonic() - started:.0f} s; compared on {len(pictures)} images: {origin}")
    verification = verify(detector, model, pictures, precision)
    accuracy = measure_accuracy(detector, model, dataset, str(coco), console) if dataset else None
    print_comparison(verification, accuracy, f"{format} {precision}", console)
    if precision == "int8" and not accuracy:
        console.print("average precision lost: not measured; name annotated images with --coco", style="yellow")
    del detector
    report = _describe_export(weights, format, precision, rows, model, origin, len(measured or named), verification, accuracy)
    if verification.failures:
        write_json(workplace / REPORT, report, indent=2)
    else:
        place = _deliver_artefact(workplace, target, report)
    return Export(place, verification, accuracy, model.decode_options.max_objects)


def check_choice(format: str, precision: str, batch: str = "") -> Format:
    """The export format; raises ValueError when it does not exist with this precision or batch, and says which do."""
    if format not in FORMATS:
        raise ValueError(f"format: found '{format}', expected one of {list(FORMATS)}.")
    kind = FORMATS[format]
    if precision not in kind.precisions:
        others = [name for name, other in FORMATS.items() if precision in other.precisions]
        remedy = f"export to {' or '.join(others)} for it" if others else f"choose one of {list(kind.precisions)}"
        raise ValueError(
            f"precision: found '{precision}' for {format}, expected one of {list(kind.precisions)}, which that format has; "
            f"{remedy}."
        )
    if batch not in ("", "1", "dynamic"):
        raise ValueError(f"batch: found '{batch}', expected '1' or 'dynamic'.")
    if batch == "dynamic" and not kind.any_batch:
        raise ValueError(f"batch: found 'dynamic' for {format}, expected '1', since that format has fixed sizes; leave it out.")
    return kind


def _check_request(weights: str | Path, format: str, precision: str, measured: Sequence, target: Path, kind: Format) -> None:
    """Refuses an export that cannot be, before the weights are loaded, which may take a while."""
    if keras.config.dtype_policy().name != "float32":
        raise ValueError(
            f"export: found Keras's dtype policy '{keras.config.dtype_policy().name}', expected float32, which artefacts are "
            "compared with; call keras.config.set_dtype_policy('float32') before."
        )
    if precision == "int8" and not measured:
        raise ValueError(
            f"int8: found no images for {format}, expected some like those it will see, from which it takes the ranges of its "
            "numbers, and no training images beside the model; name some, --calibrate photos/."
        )
    if find_artefact(weights):
        raise ValueError(f"{weights}: found an exported artefact, expected the .keras file it was made from; export that one.")
    if kind.ending and target.suffix != kind.ending:
        raise ValueError(
            f"{target}: found the ending '{target.suffix}' for {format}, expected {kind.ending}; choose another --out."
        )


def _check_target(target: Path, kind: Format, guard: WriteGuard) -> None:
    """Refuses to export over anything but an earlier export; folders are replaced whole and may hold nothing else."""
    workplace, weights = target.with_name(target.name + UNVERIFIED), target.with_suffix(".bin")
    folders = {
        workplace: {target.name, weights.name, REPORT, EARLIER, f"{target.name}.{REPORT}"},
        **({} if kind.ending else {target: SAVED_MODEL_FILES}),
    }
    for folder, names in folders.items():
        own = folder == workplace or _is_export(folder / DESCRIPTION)
        if folder.is_dir() and not (own and {p.name for p in folder.iterdir() if not is_part(p)} <= names):
            raise FileExistsError(f"{folder}: already there and no exported model, expected a free name; choose another --out.")
    if kind.ending or not target.is_dir():
        guard.check([target], lambda _: _is_export(target))
    if kind.ending == ".xml":  # whose weights stand there alone, where an export was killed while it moved them
        alone = _is_export(workplace / target.name) and not (workplace / weights.name).exists()
        guard.check([weights], lambda _: _is_export(target) or _is_export(workplace / EARLIER) or alone)
    if kind.ending:
        guard.check([_name_report(target)], lambda path: says(path, mark("export")))


def _is_export(path: Path) -> bool:
    """Whether a file holds the description of itself that every exported artefact has, plain or as XML writes it."""
    if not path.is_file() or not path.stat().st_size:
        return False
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return re.search(rb'made_by(": "|&quot;: &quot;)centerkp ', content) is not None


def _write_artefact(kind: Format, network: FoldedNetwork, place: Path, **options: Any) -> None:
    """Writes an artefact of one format into an empty folder, which is gone again when that fails."""
    remove_part(place.parent)
    try:
        place.parent.mkdir(parents=True)
        with native_silence():
            kind.write(network, place, **options)
    except BaseException as error:
        is_full = place.parent.is_dir() and shutil.disk_usage(place.parent).free < FULL
        remove_part(place.parent)
        if isinstance(error, OSError):
            raise unwritable(place, error) from None
        if is_full and isinstance(error, Exception):  # which every native library says in another way, if at all
            raise OSError(
                f"{place}: could not be written (the disk is full); free some space, or choose another place."
            ) from None
        raise


def _name_target(weights: str | Path, format: str, precision: str, kind: Format) -> Path:
    """Where an artefact goes by default: beside the weights, named after them, the precision and the format."""
    path = Path(weights)
    stem = path.stem if path.suffix == ".keras" else path.name
    words = [stem, *([] if kind.ending else [format]), *([] if precision == "fp32" else [precision])]
    return path.with_name("_".join(words) + kind.ending)


def _deliver_artefact(workplace: Path, target: Path, report: dict) -> Path:
    """Moves a verified artefact out of its workplace, over an earlier one.

    What belongs to the earlier one goes first, and weights come before the file that they belong to, numbers after it: killed
    in between, never does a model stand without its weights, or with the weights or numbers of another.
    """
    made, weights = workplace / target.name, workplace / target.with_suffix(".bin").name
    write_json(_name_report(made), report, indent=2)
    if target.is_dir() or (weights.exists() and target.exists()):
        target.replace(workplace / EARLIER)  # a folder at once, and not file by file
    numbers = [file for file in workplace.iterdir() if file.name not in (EARLIER, made.name, weights.name)]
    for file in numbers:
        target.with_name(file.name).unlink(missing_ok=True)
    for file in (weights, made, *numbers):
        if file.exists():
            file.replace(target.with_name(file.name))
    shutil.rmtree(workplace)
    return target


def _name_report(target: Path) -> Path:
    """Where export.json goes: into an artefact that is a folder, else beside it."""
    return target / REPORT if target.is_dir() else target.with_name(f"{target.name}.{REPORT}")


def _describe_export(
    weights: str | Path,
    format: str,
    precision: str,
    rows: int | None,
    model: CenterNet,
    origin: str,
    calibrated: int,
    verification: Verification,
    accuracy: Accuracy | None,
) -> dict:
    """What export.json says of an export: model, format, comparison, accuracy."""
    return {
        "made_by": mark("export"),
        "model": str(weights),
        "format": format,
        "precision": precision,
        "image_size": list(model.image_size),
        "batch": rows,
        "calibration_images": calibrated,
        "compared_on": origin,
        "machine": f"{describe_machine()}, {platform.platform()}",
        **verification.to_dict(),
        "accuracy": accuracy and accuracy.to_dict(),
    }
