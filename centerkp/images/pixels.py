"""Pictures that a program already holds -> RGB arrays: NumPy arrays of any integer or float type, and Pillow images."""

from typing import Any

import numpy as np
from PIL import Image, ImageOps

_LAYOUT = "(height, width, 3) in RGB, (height, width, 4) in RGBA, or gray (height, width) or (height, width, 1)"


def to_rgb(picture: Any, name: str = "image") -> np.ndarray:
    """Turns a NumPy array or Pillow image into the RGB picture that `read_image` would give for it.

    What the numbers mean follows from their type alone, never from the picture:

    | type | black to white |
    | --- | --- |
    | uint8 | 0 to 255 |
    | uint16 | 0 to 65535 |
    | other integers | 0 to 255 |
    | bool | False, True |
    | floats | 0 to 1 |

    Values outside are refused, so that floats on the scale 0..255 are an error and not a white picture. Gray becomes RGB,
    transparent parts are laid over white, and a Pillow image is turned as its EXIF orientation says.

    Args:
        picture: a Pillow image, or an array (anything NumPy converts) of shape (H, W, 3), (H, W, 4), (H, W, 1) or (H, W).
        name: what messages call it.

    Returns:
        (H, W, 3) uint8; the array itself when it already is that.

    Raises:
        ValueError: another shape or type, no pixels, or values outside the range of the type.
    """
    pixels = _read_pillow(picture, name) if isinstance(picture, Image.Image) else np.asarray(picture)
    shape = pixels.shape
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    _check_shape(pixels, shape, name)
    pixels = _to_bytes(pixels, name)
    if pixels.shape[2] == 4:
        return _lay_over_white(pixels)
    return pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2)


def _read_pillow(picture: Image.Image, name: str) -> np.ndarray:
    """A Pillow image as an upright array, its numbers as they are where they have more than 8 bits."""
    try:
        upright = ImageOps.exif_transpose(picture)
        if upright.mode.startswith(("I", "F")):  # 16 bits, or numbers whose scale their type says
            return np.asarray(upright)
        return flatten_pillow(upright)
    except (OSError, SyntaxError) as error:  # read from its file only now
        raise ValueError(f"{name}: found a damaged Pillow image ({error}), expected a whole one; read it again.") from None


def flatten_pillow(picture: Image.Image) -> np.ndarray:
    """A Pillow image of 8 bits as (H, W, 3) uint8 RGB pixels, its transparent parts laid over white."""
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        return _lay_over_white(np.asarray(picture.convert("RGBA")))
    return np.array(picture.convert("RGB"))


def _check_shape(pixels: np.ndarray, shape: tuple[int, ...], name: str) -> None:
    """Refuses arrays that are no picture by their shape, with the remedy."""
    if pixels.ndim == 3 and pixels.shape[2] in (1, 3, 4) and pixels.size:
        return
    remedy = "pass one image at a time or a list of them"
    if not pixels.size:
        remedy = "it has no pixels"
    elif pixels.ndim == 3 and pixels.shape[0] in (1, 3, 4):
        remedy = "move the channels to the end with array.transpose(1, 2, 0)"
    raise ValueError(f"{name}: found an array of shape {shape}, expected {_LAYOUT}; {remedy}.")


def _to_bytes(pixels: np.ndarray, name: str) -> np.ndarray:
    """Pixels of any integer, float or bool type as uint8; refuses values outside of the type's range."""
    kind = pixels.dtype.kind
    if pixels.dtype == np.uint8:
        return pixels
    if kind == "b":
        return pixels.astype(np.uint8) * 255
    if kind not in "iuf":
        raise ValueError(f"{name}: found an array of {pixels.dtype}, expected integers, floats or bool; convert it first.")
    white = 65535 if pixels.dtype == np.uint16 else 1 if kind == "f" else 255
    values = pixels if white == 255 else np.round(pixels.astype(np.float32) * np.float32(255 / white))
    # Rounding first lets resampling overshoot by half a step. Not a number fails the comparison.
    if not (values.min() >= 0 and values.max() <= 255):
        remedy = "divide it by 255 or convert it with astype('uint8')" if kind == "f" else "scale it to uint8"
        found = f"{pixels.dtype} from {pixels.min():g} to {pixels.max():g}"
        raise ValueError(f"{name}: found an array of {found}, expected 0 to {white} for this type; {remedy}.")
    return values.astype(np.uint8)


def _lay_over_white(pixels: np.ndarray) -> np.ndarray:
    """RGBA pixels (H, W, 4) laid over white, as RGB pixels."""
    picture = Image.fromarray(pixels)
    return np.array(Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB"))
