"""Image files -> upright RGB arrays: whatever a real folder contains, or an error that names the file."""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from centerkp import geometry
from centerkp.images.decoding import decode, decode_spread, decode_values
from centerkp.images.kinds import HEIC, RAW, RAW_SUFFIXES, START, tell_kind
from centerkp.images.oddities import Notice, look_for_narrow_range
from centerkp.images.orientation import find_orientation, turn_upright
from centerkp.images.packed import PackedImage
from centerkp.images.profiles import find_transform
from centerkp.images.sensors import Levels, is_deep, join_levels, measure_range
from centerkp.images.unreadable import (
    MAX_PIXELS,
    PILLOW_ERRORS,
    find_planes,
    foreign_error,
    too_large_error,
    truncated_error,
    unreadable_error,
)

# Closed list: Pillow would also open documents (EPS, PDF-like) that start other programs, and scientific stacks.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "TGA", "ICO")

_END_MARKERS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND"}
_DNG_TAG = 0xC612


def read_image(
    path: str | os.PathLike | PackedImage, levels: Levels | None = None, notice: Notice = lambda oddity: None
) -> np.ndarray:
    """Reads one image file, or an image packed into another file, as the upright picture a viewer shows.

    The EXIF orientation is applied, and a colour profile other than sRGB is converted. 16-bit values are scaled to 8 bits
    (65535 becomes 255), transparent parts are laid over white, CMYK, palettes and gray become RGB, and of an animation the
    first frame is taken. The content decides the format, not the file's extension.

    Args:
        levels: what is black and white in pictures of more than 8 bits; those of 8 bits stay as they are.
        notice: called with what is odd about the picture, see `images.oddities`.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty, truncated, too large (see `MAX_PIXELS`) or not an image; names the file.
    """
    path = _to_path(path)
    data = _read_bytes(path)
    file = BytesIO(data)
    with _open_header(path, file) as header:
        orientation, deep = find_orientation(header, file), is_deep(header, data)
        if header.format in _END_MARKERS and not _is_complete(data, header.format):
            raise truncated_error(path, header)
        image = decode_spread(path, header, data, levels) if deep and levels else decode(path, header, data, notice)
    if deep:
        look_for_narrow_range(image, levels is not None, notice)
    return turn_upright(image, orientation)


def measure_levels(path: str | os.PathLike | PackedImage) -> Levels | None:
    """The range of numbers that an image file of more than 8 bits uses; None for one of 8 bits.

    Raises:
        FileNotFoundError, ValueError: as `read_image`.
    """
    path = _to_path(path)
    data = _read_bytes(path)
    with _open_header(path, BytesIO(data)) as header:
        return measure_range(decode_values(path, header, data)) if is_deep(header, data) else None


def choose_levels(stretch: str, paths: Iterable[str | os.PathLike | PackedImage]) -> Levels:
    """The levels that `--stretch` means: its two numbers, or for "auto" the range that the image files use.

    Files that cannot be read are passed over, since whatever reads them next says so.

    Raises:
        ValueError: it is something else, or no file has more than 8 bits.
    """
    if stretch != "auto":
        return Levels.parse(stretch)

    def measure(path: str | os.PathLike | PackedImage) -> Levels | None:
        try:
            return measure_levels(path)
        except (ValueError, OSError):
            return None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return join_levels(pool.map(measure, paths))


def read_image_size(path: str | os.PathLike | PackedImage) -> tuple[int, int]:
    """Reads the (width, height) of the upright image from the file's header, without decoding pixels.

    JPEG and PNG files that were cut off are refused here already, by their missing end marker.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: as `read_image`.
    """
    path = _to_path(path)
    with _open_bytes(path) as file, _open_header(path, file) as header:
        width, height = header.size
        turned = find_orientation(header, file) >= 5
        if header.format in _END_MARKERS:
            file.seek(-min(file.seek(0, os.SEEK_END), 16), os.SEEK_END)
            if _END_MARKERS[header.format] not in file.read() and not _is_complete(path.read_bytes(), header.format):
                raise truncated_error(path, header)
    return (height, width) if turned else (width, height)


def read_orientation(path: str | os.PathLike | PackedImage) -> int:
    """Reads the EXIF orientation 1..8 that `read_image` applies; 1 where there is none, and for TIFF, which is stored upright.

    Raises:
        FileNotFoundError, ValueError: no such file, or not an image.
    """
    path = _to_path(path)
    with _open_bytes(path) as file, _open_header(path, file) as header:
        return find_orientation(header, file)


def plain_format(path: str | os.PathLike | PackedImage) -> str | None:
    """ "jpeg" or "png" when every decoder sees in the image file what `read_image` does, else None.

    None for other formats, an EXIF orientation, a colour profile other than sRGB, more than 8 bits, CMYK and transparent parts.

    Raises:
        FileNotFoundError, ValueError: as `read_image_size`.
    """
    path = _to_path(path)
    with _open_bytes(path) as file, _open_header(path, file) as header:
        name = {"JPEG": "jpeg", "MPO": "jpeg", "PNG": "png"}.get(header.format)
        plain = header.mode in ("RGB", "L") and "transparency" not in header.info and find_transform(header) is None
        plain = plain and find_orientation(header, file) == 1
        # Pillow opens 16 bits per colour as RGB too; the depth stands behind the size in the first chunk.
        file.seek(24)
        return name if plain and (name != "png" or file.read(1) == b"\x08") else None


def letterbox_image(image: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Fits an image that was read into the network's input, keeping its aspect, with black padding right and below.

    Bilinear without half-pixel shift and without smoothing (source = target * old / new, the last row and column
    repeated), as the reference resizes. Training, evaluation and inference all go through here.

    Args:
        image: (H, W, 3) uint8.
        size: (width, height) of the canvas.

    Returns:
        The canvas (height, width, 3) uint8; the 2x3 affine from image to canvas; the (width, height) of the resized
        image inside the canvas.
    """
    affine, valid_size = geometry.letterbox(image.shape[1], image.shape[0], size)
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    # Warped at its own size, not at the canvas's: the last row and column must not fade into the black padding.
    resized = cv2.warpAffine(image, affine, valid_size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    canvas[: valid_size[1], : valid_size[0]] = resized
    return canvas, affine, valid_size


def _to_path(path: str | os.PathLike | PackedImage) -> Path | PackedImage:
    """An image file's name as a path; a packed image stays as it is."""
    return Path(path) if isinstance(path, str | os.PathLike) else path


def _open_bytes(path: Path | PackedImage) -> BinaryIO:
    """An image file or packed image, opened for reading bytes."""
    if not isinstance(path, Path):
        return BytesIO(path.read_bytes())
    _check_is_file(path)
    return path.open("rb")


def _check_is_file(path: Path) -> None:
    """Refuses what is no image file at all: folders, missing and empty files."""
    if path.is_dir():
        raise ValueError(f"{path}: found a folder where an image file was expected; give the path of one image.")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such image file; check the path and the images folder.")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: found an empty file (0 bytes), expected an image; copy or download it again.")


def _read_bytes(path: Path | PackedImage) -> bytes:
    """All bytes of an image file or packed image."""
    if isinstance(path, Path):
        _check_is_file(path)
    return path.read_bytes()


def _open_header(path: Path | PackedImage, file: BinaryIO) -> Image.Image:
    """Opens an image file by Pillow, which reads the header only and decodes later, on `load`."""
    try:
        header = _open_any(file)
    except Image.DecompressionBombError:
        raise too_large_error(path, f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels") from None
    except PILLOW_ERRORS as error:
        file.seek(0)
        start = file.read(START)
        rest = file.read() if start[:2] in (b"II", b"MM") else b""  # a TIFF says at any place what it holds
        raise unreadable_error(path, error, start + rest) from None
    if header.format == "TIFF" and (
        _DNG_TAG in getattr(header, "tag_v2", ()) or Path(path.name).suffix.lower() in RAW_SUFFIXES
    ):
        header.close()
        raise foreign_error(path, RAW)
    if planes := find_planes(path, header):
        header.close()
        raise planes
    width, height = header.size
    if width * height > MAX_PIXELS:
        header.close()
        raise too_large_error(path, f"{width}x{height} pixels")
    return header


def _open_any(file: BinaryIO) -> Image.Image:
    """Opens an image file of one of the `FORMATS`, or HEIC where the package for it is installed."""
    try:
        return Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        file.seek(0)
        if tell_kind(file.read(START)) != HEIC:
            raise
    import pillow_heif  # only now, since hardly anybody needs it

    pillow_heif.register_heif_opener()
    file.seek(0)
    return Image.open(file, formats=("HEIF",))


def _is_complete(data: bytes, file_format: str) -> bool:
    """Whether an image file's end marker is there; some OpenCV versions fill what is missing with gray and say nothing."""
    end = _END_MARKERS[file_format]
    if end in data[-16:]:
        return True
    if file_format == "PNG":
        return end in data
    # Walk over the header's segments first: a thumbnail inside EXIF has an end marker of its own. After the start of
    # scan (0xDA) the marker cannot occur by chance, because every 0xFF of the compressed data is followed by a zero.
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            position += 1
            continue
        marker = data[position + 1]
        if marker == 0xDA:
            return data.find(end, position) >= 0
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:  # no length follows
            position += 1 if marker == 0xFF else 2
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return False
