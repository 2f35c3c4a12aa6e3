"""The errors for image files that cannot be read: what was found, what was expected, and the remedy."""

import struct
import warnings
from io import BytesIO
from pathlib import Path

from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from centerkp.images.kinds import START, FileKind, tell_kind
from centerkp.images.packed import PackedImage
from centerkp.wording import count_of

# A file of 1 kB can claim 17000 x 17000 pixels; this many (537 MB of RGB) is where Pillow, too, calls it an attack.
MAX_PIXELS = 178_956_970
PILLOW_ERRORS = (OSError, RuntimeError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, struct.error)
_BITS_TAG, _BANDS_TAG, _KIND_TAG, _PLANES_TAG = 258, 277, 339, 284
_FLOATS = 3  # as the kind of numbers
_EXPECTED = "JPEG, PNG, WebP, TIFF or the like"


def truncated_error(path: Path | PackedImage, header: Image.Image) -> ValueError:
    """The error for an image file that was cut off."""
    return ValueError(
        f"{path}: found a {header.format} of {header.width}x{header.height} pixels without its end, the file was cut off; "
        "copy or download it again."
    )


def too_large_error(path: Path | PackedImage, found: str) -> ValueError:
    """The error for an image file with too many pixels."""
    return ValueError(f"{path}: found a header of {found}, expected at most {MAX_PIXELS}; scale the image down first.")


def unreadable_error(path: Path | PackedImage, error: Exception, data: bytes) -> ValueError:
    """The error for a file that is no image that can be read, with what it seems to be by its bytes."""
    start = data[:START]
    kind = tell_kind(start, Path(path.name).suffix)
    if kind and kind.role != "picture":
        return foreign_error(path, kind)
    if start[4:8] == b"ftyp":  # AVIF and HEIC: the decoder refuses large pictures and does not say why
        at = start.find(b"ispe")
        width, height = struct.unpack(">II", start[at + 8 : at + 16]) if 0 <= at <= len(start) - 16 else (0, 0)
        if width * height > MAX_PIXELS:
            return too_large_error(path, f"{width}x{height} pixels")
        found = f"a {start[8:12].decode('latin-1').strip()} picture that cannot be decoded"
    elif not start:
        found = "no bytes at all"
    elif isinstance(error, UnidentifiedImageError) and kind and kind.name == "TIFF" and (bands := _describe_tiff(data)):
        return ValueError(
            f"{path}: found a TIFF of {bands}, expected 1 or 3 bands of whole numbers of 8 or 16 bits, or 1 band of 32; save "
            "it so, of several bands three as colours, or one."
        )
    elif isinstance(error, UnidentifiedImageError) and (kind or start.startswith(b"RIFF")):
        found = "a damaged image (its header cannot be read)"
    elif isinstance(error, UnidentifiedImageError):
        found = f"no image format that is known (the file starts with {start[:8]!r})"
    else:
        found = f"a damaged image ({error})"
    return ValueError(f"{path}: found {found}, expected {_EXPECTED}; save it again as JPEG or PNG.")


def _describe_tiff(data: bytes) -> str:
    """The bands of a TIFF whose kind cannot be read, such as "5 bands of 16 bits"; empty where its header says nothing."""
    file = BytesIO(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about damaged tags
            tags = TiffImagePlugin.ImageFileDirectory_v2(file.read(16 if data[2:3] == b"+" else 8))
            file.seek(tags.next)
            tags.load(file)
            bands, bits = int(tags[_BANDS_TAG]), max(tags[_BITS_TAG])
            kind = " in floats" if _FLOATS in tags.get(_KIND_TAG, ()) else ""
    except PILLOW_ERRORS:
        return ""
    return f"{count_of(bands, 'band')} of {bits} bits{kind}"


def find_planes(path: Path | PackedImage, header: Image.Image) -> ValueError | None:
    """The error for a TIFF that has its colours of more than 8 bits one behind the other: decoders take them for pixels."""
    tags = getattr(header, "tag_v2", {})
    if header.format != "TIFF" or tags.get(_PLANES_TAG) != 2:
        return None
    bands, bits = tags.get(_BANDS_TAG, 1), max(tags.get(_BITS_TAG, (8,)))
    if bands == 1 or bits <= 8:
        return None
    return ValueError(
        f"{path}: found a TIFF of {bands} bands of {bits} bits in separate planes, expected the bands of each pixel together; "
        "save it with interleaved bands (PlanarConfiguration 1)."
    )


def foreign_error(path: Path | PackedImage, kind: FileKind) -> ValueError:
    """The error for a file that may be whole, but is no image of a kind that is read."""
    remedy = kind.remedy or "centerkp infer takes videos"
    return ValueError(f"{path}: found another kind of file ({kind.name}), expected {_EXPECTED}; {remedy}.")
