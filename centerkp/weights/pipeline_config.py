"""Reads what a conversion needs from the pipeline.config that comes with the zoo's models."""

from dataclasses import dataclass, field
from pathlib import Path

from centerkp.formats.text_format import Message, first_value, read_text_format


@dataclass(frozen=True)
class Pipeline:
    """What a pipeline.config says of the model: class count, image size (width, height), the class of each keypoint task."""

    path: Path
    num_classes: int | None
    image_size: tuple[int, int] | None
    task_classes: dict[str, str] = field(default_factory=dict)


def read_pipeline(path: str | Path) -> Pipeline:
    """Reads the few fields of a pipeline.config that a conversion needs.

    Raises:
        FileNotFoundError, ValueError: no such file, not in this form, or of a model that is no CenterNet.
    """
    model = first_value(read_text_format(path), "model")
    center_net = first_value(model, "center_net")
    if not center_net:
        raise ValueError(f"{path}: found a model of {sorted(model) or 'no kind'}, expected model {{ center_net {{ ... }} }}.")
    tasks = center_net.get("keypoint_estimation_task", [])
    return Pipeline(
        Path(path),
        _read_int(center_net, "num_classes", path),
        _read_image_size(first_value(center_net, "image_resizer"), path),
        {first_value(task, "task_name", ""): first_value(task, "keypoint_class_name", "") for task in tasks},
    )


def _read_image_size(resizer: Message, path: str | Path) -> tuple[int, int] | None:
    """The image size of a pipeline.config, None where it does not say."""
    kept, fixed = first_value(resizer, "keep_aspect_ratio_resizer"), first_value(resizer, "fixed_shape_resizer")
    if kept:
        width = height = _read_int(kept, "max_dimension", path)
    else:
        width, height = (_read_int(fixed, side, path) for side in ("width", "height"))
    return (width, height) if width and height else None


def _read_int(message: Message, name: str, path: str | Path) -> int | None:
    """A whole number of a pipeline.config, None where it does not say."""
    text = first_value(message, name, "")
    if text and not text.isdecimal():
        raise ValueError(f"{path}: found {name} '{text}', expected a whole number; check the file.")
    return int(text) if text else None
