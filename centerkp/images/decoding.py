"""The pixels inside an image file that Pillow has opened: decoded by OpenCV where it can be trusted, else by Pillow."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageCms

from centerkp.images.oddities import PROFILE, Notice, look_at_transparency
from centerkp.images.packed import PackedImage
from centerkp.images.pixels import flatten_pillow, to_rgb
from centerkp.images.profiles import convert_colors, find_transform
from centerkp.images.sensors import Levels, read_band, read_values
from centerkp.images.unreadable import PILLOW_ERRORS, unreadable_error

OPENCV_FORMATS = ("JPEG", "MPO", "PNG")
_BITS_TAG = 258


def _decode_opencv(data: bytes) -> np.ndarray | None:
    """The pixels of an image file by OpenCV, unturned; None where it gives up."""
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None


def decode(path: Path | PackedImage, header: Image.Image, data: bytes, notice: Notice) -> np.ndarray:
    """The pixels of an image file by OpenCV where it can be trusted with them, else by Pillow; unturned."""
    transform = find_transform(header)
    if transform is not None:
        notice(PROFILE)
    elif header.format in OPENCV_FORMATS and header.mode in ("RGB", "L") and "transparency" not in header.info:
        image = _decode_opencv(data)
        # Both decoders know the size: a disagreement means that OpenCV read another picture of the file.
        if image is not None and image.shape[1::-1] == header.size:
            return image
    return _decode_pillow(path, header, data, transform, notice)


def _decode_pillow(
    path: Path | PackedImage,
    header: Image.Image,
    data: bytes,
    transform: ImageCms.ImageCmsTransform | None,
    notice: Notice,
) -> np.ndarray:
    """The pixels of an image file by Pillow, unturned; its colours as the transform of its profile says."""
    try:
        header.load()
    except PILLOW_ERRORS as error:
        raise unreadable_error(path, error, data) from None
    if header.mode == "F" or (header.mode == "I" and header.format not in ("PNG", "PPM")):
        bits = max(getattr(header, "tag_v2", {}).get(_BITS_TAG, (32,)))
        kind = f"{bits} bits" if bits == 32 else f"{bits} bits with signs"
        raise ValueError(
            f"{path}: found {header.format} pixels of {kind}, whose range is not known, expected 8 or 16 bits without signs; "
            "say what is black and white with --stretch, or save it with 8 or 16 bits per channel."
        )
    if header.mode.startswith("I"):  # 16 bits; Pillow's own conversion would clip at 255
        return to_rgb(read_band(header).astype(np.uint16))
    picture = convert_colors(header, transform) if transform else header
    image = flatten_pillow(picture)
    if picture.mode in ("RGBA", "LA"):
        look_at_transparency(np.asarray(picture.convert("RGBA")), image, notice)
    return image


def decode_spread(path: Path | PackedImage, header: Image.Image, data: bytes, levels: Levels) -> np.ndarray:
    """The pixels of an image file of more than 8 bits, its range spread over 8 bits; unturned."""
    return levels.spread(decode_values(path, header, data))


def decode_values(path: Path | PackedImage, header: Image.Image, data: bytes) -> np.ndarray:
    """The numbers of an image file of more than 8 bits as they are, unturned."""
    try:
        return read_values(header, data)
    except PILLOW_ERRORS as error:
        raise unreadable_error(path, error, data) from None
