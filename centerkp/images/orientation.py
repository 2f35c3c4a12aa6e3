"""The EXIF orientation of image files: found wherever it is stored, and applied to the decoded pixels."""

import struct
from typing import BinaryIO

import numpy as np
from PIL import Image

# EXIF orientation -> (quarter turns counter-clockwise, then mirrored left to right).
_UPRIGHT = {2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)}
_ORIENTATION_TAG = 0x0112


def find_orientation(header: Image.Image, file: BinaryIO) -> int:
    """The EXIF orientation 1..8 of an image file that Pillow has opened; 1 without one, or where the EXIF block is damaged.

    A TIFF counts as upright, since Pillow turns it itself.
    """
    # Read here rather than by `header.getexif()`, which decodes the whole picture of a PNG, warns about damaged blocks
    # and also believes XMP, which viewers do not.
    if header.format == "TIFF":
        return 1
    block = header.info.get("exif")
    if block is None and header.format == "PNG":
        block = _find_late_exif(file)
    return _read_orientation(block.removeprefix(b"Exif\0\0")) if isinstance(block, bytes) else 1


def _find_late_exif(file: BinaryIO) -> bytes | None:
    """The EXIF block of a PNG that stands behind its pixels, which Pillow's header does not hold and viewers obey."""
    before = file.tell()  # Pillow goes on reading from here
    try:
        file.seek(8)
        while len(start := file.read(8)) == 8 and start[4:] != b"IEND":
            length = int.from_bytes(start[:4], "big")
            if start[4:] == b"eXIf":
                return file.read(length)
            file.seek(length + 4, 1)
        return None
    finally:
        file.seek(before)


def _read_orientation(block: bytes) -> int:
    """The orientation in an EXIF block, 1 where it holds none or is damaged."""
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", block, entry)
            if tag == _ORIENTATION_TAG and kind == 3:
                return value if value in _UPRIGHT else 1
    except struct.error:
        pass
    return 1


def turn_upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turns decoded pixels as an EXIF orientation says."""
    turns, mirrored = _UPRIGHT.get(orientation, (0, False))
    image = np.rot90(image, turns)
    return np.ascontiguousarray(image[:, ::-1] if mirrored else image)
