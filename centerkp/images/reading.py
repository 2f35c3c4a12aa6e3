"""Image files -> upright RGB arrays: whatever a real folder contains, or an error that names the file."""

import os
import struct
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from centerkp import geometry
from centerkp.images.kinds import HEIC, RAW, RAW_SUFFIXES, START, FileKind, tell_kind
from centerkp.images.orientation import find_orientation, turn_upright
from centerkp.images.pixels import flatten_pillow, to_rgb

# A file of 1 kB can claim 17000 x 17000 pixels; this many (537 MB of RGB) is where Pillow, too, calls it an attack.
MAX_PIXELS = 178_956_970
# Closed list: Pillow would also open documents (EPS, PDF-like) that start other programs, and scientific stacks.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "TGA", "ICO")

_END_MARKERS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND"}
_DNG_TAG = 0xC612
_EXPECTED = "JPEG, PNG, WebP, TIFF or the like"
_PILLOW_ERRORS = (OSError, RuntimeError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, struct.error)


@runtime_checkable
class PackedImage(Protocol):
    """An encoded image that has no file of its own; its `str()` is what messages call it, its names are as those of a path."""

    @property
    def name(self) -> str:
        """The image's name with its ending, as of an image file's path."""

    @property
    def stem(self) -> str:
        """The image's name without folders and ending, as of an image file's path."""

    def read_bytes(self) -> bytes:
        """The encoded image, read from inside the other file."""
        ...


def read_image(path: str | os.PathLike | PackedImage) -> np.ndarray:
    """Reads one image file, or an image packed into another file, as the upright picture a viewer shows.

    The EXIF orientation is applied. 16-bit values are scaled to 8 bits (65535 becomes 255), transparent parts are laid
    over white, CMYK, palettes and gray become RGB, and of an animation the first frame is taken. The content decides
    the format, not the file's extension.

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
        orientation = find_orientation(header, file)
        if header.format in _END_MARKERS and not _is_complete(data, header.format):
            raise _truncated_error(path, header)
        if header.format in _END_MARKERS and header.mode in ("RGB", "L") and "transparency" not in header.info:
            image = _decode_opencv(data)
            # Both decoders know the size: a disagreement means that OpenCV read another picture of the file.
            if image is not None and image.shape[1::-1] == header.size:
                return turn_upright(image, orientation)
        return turn_upright(_decode_pillow(path, header, data), orientation)


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
                raise _truncated_error(path, header)
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

    None for other formats, an EXIF orientation, more than 8 bits, CMYK and transparent parts.

    Raises:
        FileNotFoundError, ValueError: as `read_image_size`.
    """
    path = _to_path(path)
    with _open_bytes(path) as file, _open_header(path, file) as header:
        name = {"JPEG": "jpeg", "MPO": "jpeg", "PNG": "png"}.get(header.format)
        plain = header.mode in ("RGB", "L") and "transparency" not in header.info and find_orientation(header, file) == 1
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
        raise _too_large_error(path, f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels") from None
    except _PILLOW_ERRORS as error:
        file.seek(0)
        raise _unreadable_error(path, error, file.read(START)) from None
    if header.format == "TIFF" and (
        _DNG_TAG in getattr(header, "tag_v2", ()) or Path(path.name).suffix.lower() in RAW_SUFFIXES
    ):
        header.close()
        raise _foreign_error(path, RAW)
    width, height = header.size
    if width * height > MAX_PIXELS:
        header.close()
        raise _too_large_error(path, f"{width}x{height} pixels")
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


def _decode_opencv(data: bytes) -> np.ndarray | None:
    """The pixels of an image file by OpenCV, unturned; None where it gives up."""
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None


def _decode_pillow(path: Path | PackedImage, header: Image.Image, data: bytes) -> np.ndarray:
    """The pixels of an image file by Pillow, unturned."""
    try:
        header.load()
    except _PILLOW_ERRORS as error:
        raise _unreadable_error(path, error, data) from None
    if header.mode == "F" or (header.mode == "I" and header.format != "PNG"):
        raise ValueError(
            f"{path}: found {header.format} pixels of 32 bits, whose range is not known, expected 8 or 16 bits; "
            "save it with 8 or 16 bits per channel."
        )
    if header.mode.startswith("I"):  # 16 bits; Pillow's own conversion would clip at 255
        return to_rgb(np.asarray(header).astype(np.uint16))
    return flatten_pillow(header)


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


def _truncated_error(path: Path | PackedImage, header: Image.Image) -> ValueError:
    """The error for an image file that was cut off."""
    return ValueError(
        f"{path}: found a {header.format} of {header.width}x{header.height} pixels without its end, the file was cut off; "
        "copy or download it again."
    )


def _too_large_error(path: Path | PackedImage, found: str) -> ValueError:
    """The error for an image file with too many pixels."""
    return ValueError(f"{path}: found a header of {found}, expected at most {MAX_PIXELS}; scale the image down first.")


def _unreadable_error(path: Path | PackedImage, error: Exception, start: bytes) -> ValueError:
    """The error for a file that is no image, with what it seems to be; `start` holds its first bytes."""
    kind = tell_kind(start, Path(path.name).suffix)
    if kind and kind.role != "picture":
        return _foreign_error(path, kind)
    if start[4:8] == b"ftyp":  # AVIF and HEIC: the decoder refuses large pictures and does not say why
        at = start.find(b"ispe")
        width, height = struct.unpack(">II", start[at + 8 : at + 16]) if 0 <= at <= len(start) - 16 else (0, 0)
        if width * height > MAX_PIXELS:
            return _too_large_error(path, f"{width}x{height} pixels")
        found = f"a {start[8:12].decode('latin-1').strip()} picture that cannot be decoded"
    elif not start:
        found = "no bytes at all"
    elif isinstance(error, UnidentifiedImageError) and (kind or start.startswith(b"RIFF")):
        found = "a damaged image (its header cannot be read)"
    elif isinstance(error, UnidentifiedImageError):
        found = f"no image format that is known (the file starts with {start[:8]!r})"
    else:
        found = f"a damaged image ({error})"
    return ValueError(f"{path}: found {found}, expected {_EXPECTED}; save it again as JPEG or PNG.")


def _foreign_error(path: Path | PackedImage, kind: FileKind) -> ValueError:
    """The error for a file that may be whole, but is no image of a kind that is read."""
    remedy = kind.remedy or "centerkp infer takes videos"
    return ValueError(f"{path}: found another kind of file ({kind.name}), expected {_EXPECTED}; {remedy}.")
