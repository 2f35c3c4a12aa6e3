"""How large a model file may claim to be: looked at before anything is built or unpacked, since a few bytes can claim anything.

The errors say what was found and expected; `keras_file` says in which file.
"""

import io
import math
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import h5py

from centerkp.heads import MAX_MARGIN, MAX_OBJECTS, MAX_PAIRS, MAX_SIDE, MAX_WEIGHT
from centerkp.images.sensors import Levels
from centerkp.images.tiling import Tiling
from centerkp.model.backbone import Backbone
from centerkp.model.backbones import find_backbone, name_backbone
from centerkp.results import MAX_COUNT, Thresholds
from centerkp.schema import MAX_ID, Schema
from centerkp.wording import quote

MAX_DEPTH = 40
MAX_TEXT = 2000
MAX_NUMBER = 10**15
MAX_CHANNELS = 8192
MAX_BLOCKS = 256  # residual blocks in all; the largest of ours has 28
MAX_RATIO = 20  # of the weights as they are to the weights as they are packed; Keras stores them as they are
SLACK = 1 << 24
# Of `DecodeOptions`: least and greatest.
DECODE = {name: (1, MAX_OBJECTS) for name in ("max_objects", "candidates")} | {
    name: (1, 99) for name in ("center_kernel", "keypoint_kernel")
}


def check_values(config: Mapping) -> None:
    """Bounds a model file's config: ValueError for numbers not finite or absurd, long texts, endlessly nested lists."""
    pending = [("", config, 0)]
    while pending:
        name, value, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise ValueError(f"found values nested more than {MAX_DEPTH} deep in {name[:100]}, expected fewer")
        if isinstance(value, Mapping):
            pending += [(f"{name}.{str(key)[:100]}".strip("."), one, depth + 1) for key, one in value.items()]
        elif isinstance(value, list):
            pending += [(name, one, depth + 1) for one in value]
        elif isinstance(value, str) and len(value) > MAX_TEXT:
            raise ValueError(f"{name}: found a text of {len(value)} letters, expected at most {MAX_TEXT}")
        elif isinstance(value, int | float):
            most = MAX_ID if name.endswith("category_id") else MAX_NUMBER
            if not abs(value) <= most:  # false for NaN, too
                raise ValueError(f"{name}: found {value:.3g}, expected a number that is finite and not above {most:.0e}")


def check_fields(config: Mapping, count_parameters: Callable[[Schema, Backbone], int], weight_bytes: int) -> None:
    """Checks that a model file's `CenterNet` could be built in reasonable time and memory; ValueError else.

    Args:
        count_parameters: counts without building.
        weight_bytes: of the weights that the file holds.

    Raises:
        ValueError: it cannot, or fields contradict each other.
    """
    size = config["image_size"]
    for side in size if isinstance(size, list) else [size]:
        _check_number("image_size", side, 1, MAX_SIDE)
    _check_number("bn_momentum", config.get("bn_momentum", 0.9), 0, 1, float)
    _check_number("rate_factor", config.get("rate_factor", 1.0), 1e-9, 1, float)
    for name in ("trained_epochs", "schedule_start"):
        _check_number(name, config.get(name, 0), 0, 10**9)
    _check_state(config)
    for head, weight in (config.get("loss_weights") or {}).items():
        _check_number(f"loss_weights, {head}", weight, 0, MAX_WEIGHT, float)
    schema = Schema.from_config(config["schema"])
    Thresholds.from_config(config.get("thresholds"), schema.num_classes)
    Levels.from_config(config.get("levels"))
    Tiling.from_config(config.get("tiling"))
    decode = config.get("decode") or {}
    for name, (least, most) in DECODE.items():
        _check_number(f"decode, {name}", decode.get(name, least), least, most)
    margins = decode.get("box_margins") or []
    if not isinstance(margins, list) or len(margins) not in (0, schema.num_classes):
        raise ValueError(
            f"decode, box_margins: found {quote(margins)}, expected a list of {schema.num_classes}, or an empty one"
        )
    for margin in margins:
        _check_number("decode, box_margins", 0 if margin is None else margin, 0, MAX_MARGIN, float)
    pairs = math.prod(decode.get(name, 100) for name in ("max_objects", "candidates")) * schema.num_keypoints
    if pairs > MAX_PAIRS:
        raise ValueError(f"decode: found {pairs} pairs of objects and candidates, expected at most {MAX_PAIRS}")
    _check_backbone(config["backbone"], schema, count_parameters, weight_bytes)


def _check_state(config: Mapping) -> None:
    """Bounds what a model file says of an unfinished epoch and of the time of its run."""
    for name, fields in (("unfinished", ("steps",)), ("timed", ("progress", "seconds"))):
        state = config.get(name)
        if state is not None and not isinstance(state, Mapping):
            raise ValueError(f"{name}: found {quote(state)}, expected fields by name, or null")
        for field in fields if state else ():
            _check_number(f"{name}, {field}", state.get(field), -MAX_COUNT, MAX_COUNT, float)


def _check_backbone(config: Any, schema: Schema, count_parameters: Callable[[Schema, Any], int], weight_bytes: int) -> None:
    """Bounds a model file's backbone: its blocks, and no more parameters than the file has weights for."""
    if isinstance(config, Mapping):
        for name, value in config.items():
            _check_widths(name, value)
    spec = find_backbone(config)
    blocks = spec.count_blocks()
    if not 1 <= blocks <= MAX_BLOCKS:
        raise ValueError(f"backbone: found {blocks} blocks of layers, expected 1 to {MAX_BLOCKS}")
    widest = max(spec.head_channels.values()) if isinstance(spec.head_channels, dict) else spec.head_channels
    if name_backbone(spec) and spec.stacks <= 4 and widest <= 512:
        return  # known to be small enough, and counting takes a second or two
    parameters = count_parameters(schema, spec)
    if 2 * parameters > weight_bytes + SLACK:  # the shortest numbers have two bytes
        raise ValueError(
            f"backbone: found widths that make {parameters / 1e6:.0f} million parameters beside {weight_bytes / 1e6:.0f} MB of "
            "weights, expected as many as the file holds"
        )


def _check_widths(name: str, value: Any) -> None:
    """Bounds one field of a backbone, whatever its kind: small numbers, in lists of lists at most."""
    pending = [value]
    while pending:
        value = pending.pop()
        if isinstance(value, Mapping | list):
            if len(value) > 64:
                raise ValueError(f"backbone, {name}: found {len(value)} values, expected at most 64")
            pending += value.values() if isinstance(value, Mapping) else value
        elif isinstance(value, int | float) and not isinstance(value, bool):
            _check_number(f"backbone, {name}", value, 0, MAX_CHANNELS, float)


def _check_number(name: str, value: Any, least: float, most: float, kind: type = int) -> None:
    """Raises ValueError unless a model file's field is a number of this kind from `least` to `most`."""
    is_number = isinstance(value, int | float) and isinstance(value, int | kind) and not isinstance(value, bool)
    if not (is_number and least <= value <= most):
        what = "a whole number" if kind is int else "a number"
        raise ValueError(f"{name}: found {str(value)[:100]}, expected {what} from {least} to {most}")


def check_weights(archive: zipfile.ZipFile, name: str) -> int:
    """Bounds the weights inside a `.keras` file without unpacking their numbers; returns their bytes.

    Raises:
        ValueError: they would unpack to much more than they are, or refer to other files.
    """
    info = archive.getinfo(name)
    if info.file_size > MAX_RATIO * info.compress_size + SLACK:
        raise ValueError(
            f"{name}: found {info.compress_size / 1e6:.0f} MB that unpack to {info.file_size / 1e6:.0f} MB, expected weights "
            "as Keras stores them, which hardly shrink"
        )
    stored = info.compress_type == zipfile.ZIP_STORED
    with _BoundedMember(archive, info) if stored else io.BytesIO(archive.read(info)) as file, h5py.File(file, "r") as weights:
        total, pending, seen = 0, [weights], set()
        while pending:
            group = pending.pop()
            for key in group:
                if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                    raise ValueError(f"{name}: found a link to other places in {group.name}/{key}, expected numbers")
                entry = group[key]
                place = h5py.h5o.get_info(entry.id).addr
                if place in seen:
                    continue
                seen.add(place)
                if isinstance(entry, h5py.Group):
                    pending.append(entry)
                    continue
                if not isinstance(entry, h5py.Dataset) or entry.dtype.kind not in "fiubV" or entry.external or entry.is_virtual:
                    raise ValueError(f"{name}: found no plain numbers in {entry.name}, expected them")
                total += (entry.size or 0) * entry.dtype.itemsize
        if total > info.file_size + SLACK:
            raise ValueError(
                f"{name}: found {info.file_size / 1e6:.0f} MB that unpack to {total / 1e6:.0f} MB of numbers, expected them as "
                "Keras stores them"
            )
    return total


class _BoundedMember(io.RawIOBase):
    """A stored member of a zip, of which any part can be read at once; zipfile's own reader can only go on."""

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo):
        self._file = open(archive.filename, "rb")
        self._file.seek(info.header_offset)
        head = self._file.read(30)
        self._start = info.header_offset + 30 + sum(struct.unpack("<HH", head[26:]))
        self._size, self._at = info.file_size, 0

    def readable(self) -> bool:
        """Always True: `io` asks before it reads the member within its bounds."""
        return True

    def seekable(self) -> bool:
        """Always True: `io` asks before it jumps inside the zip's member."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Goes to a place inside the zip's member, in bytes, and returns it."""
        self._at = max(offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence], 0)
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer from the present place of the zip's member; returns the bytes read, 0 at its end."""
        self._file.seek(self._start + self._at)
        data = self._file.read(max(min(len(buffer), self._size - self._at), 0))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        """Closes the zip file under the bounded member, too."""
        self._file.close()
        super().close()
