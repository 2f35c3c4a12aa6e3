"""Whatever can detect, loaded by its path: a Keras model or an exported artefact, and what an artefact says about itself."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from centerkp import __version__
from centerkp.heads import MAX_SIDE
from centerkp.images.sensors import Levels
from centerkp.images.tiling import Tiling
from centerkp.results import Thresholds
from centerkp.schema import Schema
from centerkp.writing import write_json

DESCRIPTION = "schema.json"  # inside or beside an artefact whose format has no place of its own for it
MAX_DESCRIPTION = 10_000_000  # bytes
PRECISIONS = ("fp32", "fp16", "bf16", "int8")
OUTPUTS = ("boxes", "scores", "class_ids", "keypoints", "keypoint_scores")
# What the letterbox inside an artefact gives, by the names of its tensors in ONNX and OpenVINO files: the canvas of bytes as
# float32, the (width, height) of the picture on it, and source pixels per pixel of it.
LETTERBOX = "letterbox"
CANVAS, VALID_SIZE, TO_SOURCE = (f"{LETTERBOX}/{name}" for name in ("canvas", "valid_size", "to_source"))
UNVERIFIED = ".UNVERIFIED"  # ending of the folder an artefact lies in until it has been compared with Keras
# By ending of the file name; a folder is a SavedModel. Each class is built from the artefact's path.
RUNNERS = {
    ".onnx": ("centerkp.runtimes.onnx", "OnnxDetector"),
    ".xml": ("centerkp.runtimes.openvino", "OpenVinoDetector"),
    ".tflite": ("centerkp.runtimes.litert", "LiteRtDetector"),
    "": ("centerkp.runtimes.saved_model", "SavedModelDetector"),
}


@dataclass(frozen=True, eq=False)
class Description:
    """What an artefact says about itself, kept inside it where its format has a place, else in a `schema.json` beside it.

    Attributes:
        schema: classes and keypoints, in the order of `class_ids` and of the keypoint axis.
        image_size: (width, height) of the canvas the network sees.
        format, precision: such as "onnx", "fp32".
        batch: images per call, None for any number.
        thresholds: from which score on an object counts; None where the model did not know.
        levels: what is black and white in pictures of more than 8 bits; None for their whole range.
        tiling: how large pictures are cut into tiles, as in training; None where they are seen whole.
        max_objects: how many objects of an image it gives at most; None where an earlier version did not say it.
    """

    schema: Schema
    image_size: tuple[int, int]
    format: str
    precision: str = "fp32"
    batch: int | None = None
    thresholds: Thresholds | None = None
    levels: Levels | None = None
    max_objects: int | None = None
    tiling: Tiling | None = None

    @classmethod
    def of(cls, network: Any, format: str, precision: str, batch: int | None) -> "Description":
        """The description of an artefact that is made from a network, which knows its schema and how it reads pictures."""
        made, room = (format, precision, batch), network.decode_options.max_objects
        known = network.thresholds, network.levels, room, network.tiling
        return cls(network.schema, network.image_size, *made, *known)

    def to_dict(self) -> dict:
        """An artefact's description as JSON can hold it."""
        return {
            "made_by": f"centerkp {__version__}",
            "format": self.format,
            "precision": self.precision,
            "image_size": list(self.image_size),
            "batch": self.batch,
            "max_objects": self.max_objects,
            "outputs": list(OUTPUTS if self.schema.num_keypoints else OUTPUTS[:3]),
            "class_names": list(self.schema.class_names),
            "keypoint_names": list(self.schema.keypoint_names),
            "schema": self.schema.get_config(),
            "thresholds": self.thresholds and self.thresholds.get_config(),
            "levels": self.levels and self.levels.get_config(),
            "tiling": self.tiling and self.tiling.get_config(),
        }

    def to_json(self) -> str:
        """An artefact's description as one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes, where: str | Path) -> "Description":
        """An artefact's description from the JSON inside it; `where` names the artefact in the error.

        Raises:
            ValueError: not a description this version understands.
        """
        try:
            if len(text) > MAX_DESCRIPTION:
                raise ValueError(f"it is {len(text)} bytes long")
            found = json.loads(text)
            width, height = found["image_size"]
            room = found.get("max_objects")
            for side in (width, height, found["batch"], room):
                if side is not None and (type(side) is not int or not 1 <= side <= MAX_SIDE):
                    raise ValueError(f"a size of {str(side)[:40]}, which is no whole number from 1 to {MAX_SIDE}")
            if found["precision"] not in PRECISIONS or not isinstance(found["format"], str):
                raise ValueError(f"precision {str(found['precision'])[:40]}, which is none of {list(PRECISIONS)}")
            schema = Schema.from_config(found["schema"])
            thresholds = Thresholds.from_config(found.get("thresholds"), schema.num_classes)
            levels, tiling = Levels.from_config(found.get("levels")), Tiling.from_config(found.get("tiling"))
            made = found["format"], found["precision"], found["batch"]
            return cls(schema, (width, height), *made, thresholds, levels, room, tiling)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError, OverflowError) as error:
            raise ValueError(
                f"{where}: found no readable description of the model ({type(error).__name__}: {error}), expected the one that "
                "centerkp export writes; export the model again."
            ) from None

    def write(self, path: Path) -> None:
        """Writes an artefact's description to `path`, readable for people."""
        write_json(path, self.to_dict(), indent=2)


class ArtefactDetector(ABC):
    """What the runners of all formats share: a detector (`schema`, `image_size`, `predict_on_batch`) around `run_canvas`.

    A format writes a subclass whose constructor takes a path and calls this one; of `AnySizeDetector` when the artefact takes
    images of any size.
    """

    takes_any_size = False

    def __init__(self, path: Path, description: Description):
        self.path, self.description = path, description
        self.schema, self.image_size = description.schema, description.image_size
        self.thresholds, self.levels = description.thresholds, description.levels
        self.max_objects, self.tiling = description.max_objects, description.tiling

    @abstractmethod
    def run_canvas(self, image: np.ndarray, valid_size: np.ndarray) -> dict[str, np.ndarray]:
        """Any artefact: letterboxed images (B, S_h, S_w, 3) uint8, valid_size (B, 2) -> objects in the canvas."""

    def predict_on_batch(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What an artefact finds, as `CenterNet.predict_on_batch`, in `{"image", "valid_size"}` or images alone."""
        if not isinstance(inputs, Mapping):
            inputs = {"image": inputs}
        image = np.asarray(inputs["image"])
        if image.shape[1:] != (self.image_size[1], self.image_size[0], 3):
            raise ValueError(
                f"{self.path}: found images of shape {image.shape[1:]}, expected {self.image_size[1]} x {self.image_size[0]} "
                "x 3, the size it was exported for; letterbox them to it, or export again with another --image-size."
            )
        # Rounded, since Keras takes any numeric type and an artefact takes bytes.
        image = image if image.dtype == np.uint8 else np.clip(np.rint(image), 0, 255).astype(np.uint8)
        whole = np.broadcast_to(np.asarray(self.image_size, np.float32), (len(image), 2))
        valid_size = np.asarray(inputs.get("valid_size", whole), np.float32)
        return self._check_answers(in_batches(self.run_canvas, self.description.batch, image, valid_size))

    def _check_answers(self, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """An artefact's answers, if they are of the classes and keypoints that its description names."""
        count = self.schema.num_keypoints
        missing = [name for name in (OUTPUTS if count else OUTPUTS[:3]) if name not in found]
        if missing:
            raise ValueError(f"{self.path}: found no output {', '.join(missing)}, expected it; export the model again.")
        classes = np.asarray(found["class_ids"])[np.asarray(found["scores"]) > 0]
        points = np.shape(found["keypoints"])[2] if count else 0
        if classes.size and not 0 <= classes.min() <= classes.max() < self.schema.num_classes or points != count:
            raise ValueError(
                f"{self.path}: found objects of class {int(classes.max(initial=0))} and with {points} keypoints, expected what "
                f"its description says, {self.schema.num_classes} classes and {count} keypoints; export the model again."
            )
        return found


class AnySizeDetector(ArtefactDetector):
    """An artefact that letterboxes by itself: around `run_images`."""

    takes_any_size = True

    @abstractmethod
    def run_images(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """An artefact for any size: images (B, H, W, 3) uint8 RGB of one size -> objects in their own pixels."""

    def run_canvas(self, image: np.ndarray, valid_size: np.ndarray) -> dict[str, np.ndarray]:
        """Objects in canvases: without its padding, one is an image that the artefact leaves as large as it is."""
        # One side of a letterboxed picture is as long as the canvas, so that no scaling is left to do. One that is smaller than
        # a tile has neither: it keeps the black beside it, without which it would be shown larger.
        sizes = np.clip(np.rint(valid_size), 1, image.shape[2:0:-1]).astype(int)
        sizes[(sizes < image.shape[2:0:-1]).all(axis=1), 0] = image.shape[2]
        starts = [0, *(np.flatnonzero((sizes[1:] != sizes[:-1]).any(axis=1)) + 1), len(sizes)]
        parts = []
        for start, end in zip(starts[:-1], starts[1:], strict=True):  # neighbours with pictures of one size go together
            width, height = sizes[start]
            pictures = np.ascontiguousarray(image[start:end, :height, :width])
            parts.append(in_batches(self.run_images, self.description.batch, pictures))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def in_batches(run: Callable[..., dict[str, np.ndarray]], batch: int | None, *arrays: np.ndarray) -> dict[str, np.ndarray]:
    """Calls `run` of an artefact on `batch` rows at a time (None: on all), the last ones filled up, and joins the answers."""
    count = len(arrays[0])
    if batch is None or batch == count:
        return run(*arrays)
    parts = []
    for start in range(0, count, batch):
        rows = [array[start : start + batch] for array in arrays]
        missing = batch - len(rows[0])
        rows = [np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) for array in rows] if missing else rows
        parts.append({name: np.asarray(values)[: batch - missing] for name, values in run(*rows).items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def find_artefact(path: str | Path) -> Path | None:
    """The exported artefact a path names; None when it names something for Keras."""
    path = Path(path)
    if path.is_dir():
        return path if (path / "saved_model.pb").is_file() and (path / "schema.json").is_file() else None
    if path.suffix.lower() not in RUNNERS or not path.suffix:
        return None
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a model written by centerkp export.")
    return path


def refuse_unverified(place: Path) -> None:
    """Raises ValueError for an artefact that did not pass its comparison with Keras when it was exported."""
    marked = [folder.name for folder in (place, *place.resolve().parents) if folder.name.endswith(UNVERIFIED)]
    if marked:
        raise ValueError(
            f"{place}: lies in {marked[0]}, expected a model that was compared with the Keras one it was made from and found "
            "equal, which this one was not; read export.json there, and export again."
        )
