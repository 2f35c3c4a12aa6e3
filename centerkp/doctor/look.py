"""Finds and opens the image files of a dataset: size, EXIF orientation, digest and thumbnail of each."""

import hashlib
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from centerkp.images.oddities import Oddity
from centerkp.images.phash import hash_thumbnail, make_thumbnail
from centerkp.images.reading import choose_levels, read_image, read_orientation
from centerkp.images.sensors import Levels
from centerkp.labels.image_files import locate_images, map_image_files
from centerkp.wording import count_of


@dataclass(frozen=True)
class Look:
    """One image file: its upright (width, height), EXIF orientation, digest, thumbnail and oddities; or why not.

    `thumbnail` has the 32 x 32 bytes of `make_thumbnail`; it is empty for pictures of one colour.
    """

    size: tuple[int, int] = (0, 0)
    orientation: int = 1
    digest: bytes = b""
    thumbnail: bytes = b""
    error: str = ""
    oddities: tuple[Oddity, ...] = ()

    @property
    def stored(self) -> tuple[int, int]:
        """The (width, height) of the image file's pixels before the EXIF orientation turns them."""
        return self.size[::-1] if self.orientation >= 5 else self.size


@dataclass(eq=False)
class Images:
    """The files of a dataset, one place for each entry of its list of images; empty `looks` when none was opened.

    `levels` is with what `read_image` looked at them.
    """

    paths: list[Path | None]
    looks: list[Look]
    unclear: dict[int, list[Path]]
    levels: Levels | None = None


def look_at_images(names: Sequence[str], folders: Sequence[Path], stretch: str | None = None) -> Images:
    """Finds every image file of a dataset and looks at it, decoded whole: on all cores, with a bar on a terminal.

    Args:
        stretch: as in `images.reading.choose_levels`.
    """
    fits = locate_images(names, folders)
    paths = [paths[0] if len(paths) == 1 else None for paths in fits]
    unclear = {row: paths for row, paths in enumerate(fits) if len(paths) > 1}
    levels = choose_levels(stretch, filter(None, paths)) if stretch else None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Corrupt EXIF")  # the picture is whole; viewers ignore such a block, too
        looks = map_image_files(partial(_look_at_image, levels=levels), paths, "Looking at the images")
    return Images(paths, looks, unclear, levels)


def _look_at_image(path: Path | None, levels: Levels | None) -> Look:
    """One look at an image file: size, orientation, digest and thumbnail, or why it cannot be read."""
    if path is None:
        return Look()
    oddities: list[Oddity] = []
    try:
        image = read_image(path, levels, oddities.append)
        digest = hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
        small = make_thumbnail(image)
        thumbnail = small.tobytes() if hash_thumbnail(small) else b""
        return Look(image.shape[1::-1], read_orientation(path), digest, thumbnail, "", tuple(oddities))
    except (ValueError, OSError) as error:
        return Look(error=str(error))


def describe_looks(looks: Sequence[Look]) -> str:
    """What the looks at the image files show, as in "120 images of 4 sizes, the most common 640x480"."""
    sizes = Counter(look.size for look in looks if look.digest)
    if not sizes:
        return "no readable image"
    (((width, height), _),) = sizes.most_common(1)
    number = sizes.total()
    if len(sizes) == 1:
        return f"{count_of(number, 'image')} of {width}x{height} pixels"
    return f"{count_of(number, 'image')} of {len(sizes)} sizes, the most common {width}x{height}"
