"""Upright RGB -> image files, which say what made them."""

import zlib
from pathlib import Path

import cv2
import numpy as np

from centerkp.writing import mark, replacing

IMAGE_SUFFIXES = {".jpg": (cv2.IMWRITE_JPEG_QUALITY, 92), ".jpeg": (cv2.IMWRITE_JPEG_QUALITY, 92), ".png": (), ".webp": ()}


def write_image(path: str | Path, image_rgb: np.ndarray, command: str = "") -> Path:
    """Writes an image file, making folders as needed; a half-written file never stands under its name.

    Args:
        command: the one that makes it, which the file then says, see `writing.mark`.

    Raises:
        ValueError: the extension is none of .jpg, .jpeg, .png, .webp, or the image is not (height, width, 3) uint8.
    """
    path, image = Path(path), copy_checked(image_rgb)
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise ValueError(f"{path}: found extension '{path.suffix}', expected one of {list(IMAGE_SUFFIXES)}; rename the file.")
    image, kind = cv2.cvtColor(image, cv2.COLOR_RGB2BGR), path.suffix.lower()
    try:
        done, coded = cv2.imencode(kind, image, IMAGE_SUFFIXES[kind])
    except cv2.error:
        done = False
    if not done:
        raise ValueError(f"{path}: found an image of {image.shape[1]}x{image.shape[0]} pixels, too large for {kind}; use .png.")
    with replacing(path) as part:
        part.write_bytes(_add_comment(coded.tobytes(), mark(command)) if command else coded.tobytes())
    return path


def _add_comment(coded: bytes, text: str) -> bytes:
    """An encoded image with a comment where its format has one: behind the header, or behind the end of a WebP."""
    comment = text.encode()
    if coded.startswith(b"\xff\xd8"):
        end = 4 + int.from_bytes(coded[4:6]) if coded[2:4] == b"\xff\xe0" else 2  # JFIF's segment comes first
        return coded[:end] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2) + comment + coded[end:]
    if coded.startswith(b"\x89PNG"):
        chunk = b"tEXtComment\0" + comment
        whole = (len(chunk) - 4).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4)
        return coded[:33] + whole + coded[33:]
    return coded + comment


def copy_checked(image_rgb: np.ndarray) -> np.ndarray:
    """A copy of an image that can be saved or drawn on; ValueError when it is not (height, width, 3) uint8."""
    image = np.array(image_rgb, order="C")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(
            f"image: found {image.dtype} of shape {image.shape}, expected uint8 (height, width, 3) in RGB; convert it first."
        )
    return image
