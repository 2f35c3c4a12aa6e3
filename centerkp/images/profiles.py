"""Colour profiles inside image files: those that mean other colours than sRGB are converted, as viewers do."""

from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

NEAR = 3  # of 255: a profile that moves no colour further is sRGB under some other name
_SPACES = {"L": "L", "RGB": "RGB", "RGBA": "RGBA", "CMYK": "CMYK", "P": "RGB", "PA": "RGBA"}


def find_transform(header: Image.Image) -> ImageCms.ImageCmsTransform | None:
    """The way to sRGB of an image file's colour profile; None without a profile, and for sRGB itself.

    None also where the profile is damaged or does not fit the picture: viewers then take it for sRGB, too.
    """
    profile, space = header.info.get("icc_profile"), _SPACES.get(header.mode)
    if not profile or space is None:
        return None
    return _build_transform(profile, "RGBA" if header.mode == "P" and "transparency" in header.info else space)


@lru_cache(maxsize=32)
def _build_transform(profile: bytes, space: str) -> ImageCms.ImageCmsTransform | None:
    """The transform of a colour profile from pixels of a Pillow mode to sRGB, None where there is nothing to convert."""
    target = "RGBA" if space == "RGBA" else "RGB"
    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            space,
            target,
            flags=ImageCms.Flags.NOCACHE,  # for many threads at a time
        )
        if space == "CMYK":
            return transform
        side = np.linspace(0, 255, 9).astype(np.uint8)
        colors = np.stack(np.meshgrid(side, side, side), -1).reshape(9, 81, 3)
        before = Image.fromarray(colors).convert(space)
        after = ImageCms.applyTransform(before, transform)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    moved = np.abs(np.asarray(after, int) - np.asarray(before.convert(target), int))
    return transform if moved.max() > NEAR else None


def convert_colors(picture: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    """A decoded picture with its colour profile applied, in RGB or RGBA as sRGB."""
    if picture.mode != transform.input_mode:
        picture = picture.convert(transform.input_mode)
    return ImageCms.applyTransform(picture, transform)
