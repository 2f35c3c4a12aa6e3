"""The errors for image files that cannot be read: what was found, what was expected, and the remedy."""

import struct
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from centerkp.images.kinds import FileKind, tell_kind
from centerkp.images.packed import PackedImage

# A file of 1 kB can claim 17000 x 17000 pixels; this many (537 MB of RGB) is where Pillow, too, calls it an attack.
MAX_PIXELS = 178_956_970
PILLOW_ERRORS = (OSError, RuntimeError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, struct.error)
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


def unreadable_error(path: Path | PackedImage, error: Exception, start: bytes) -> ValueError:
    """The error for a file that is no image, with what it seems to be; `start` holds its first bytes."""
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
    elif isinstance(error, UnidentifiedImageError) and (kind or start.startswith(b"RIFF")):
        found = "a damaged image (its header cannot be read)"
    elif isinstance(error, UnidentifiedImageError):
        found = f"no image format that is known (the file starts with {start[:8]!r})"
    else:
        found = f"a damaged image ({error})"
    return ValueError(f"{path}: found {found}, expected {_EXPECTED}; save it again as JPEG or PNG.")


def foreign_error(path: Path | PackedImage, kind: FileKind) -> ValueError:
    """The error for a file that may be whole, but is no image of a kind that is read."""
    remedy = kind.remedy or "centerkp infer takes videos"
    return ValueError(f"{path}: found another kind of file ({kind.name}), expected {_EXPECTED}; {remedy}.")
