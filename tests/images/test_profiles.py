from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms

from centerkp.images.oddities import PROFILE
from centerkp.images.reading import plain_format, read_image

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
COLORS = np.array([[(200, 30, 30), (30, 200, 30), (30, 30, 200), (90, 90, 90)]], np.uint8).repeat(16, 0).repeat(16, 1)


def _swap_red_and_green() -> bytes:
    """A profile in which red numbers mean green light, so that a reader who ignores it is seen at once."""
    data = bytearray(SRGB)
    places = {}
    for entry in range(132, 132 + 12 * int.from_bytes(data[128:132], "big"), 12):
        places[bytes(data[entry : entry + 4])] = int.from_bytes(data[entry + 4 : entry + 8], "big")
    red, green = (slice(places[tag] + 8, places[tag] + 20) for tag in (b"rXYZ", b"gXYZ"))
    data[red], data[green] = data[green], data[red]
    return bytes(data)


SWAPPED = _swap_red_and_green()


MODES = {"JPEG": "RGB", "PNG": "RGB RGBA P", "WEBP": "RGB RGBA", "TIFF": "RGB RGBA P", "AVIF": "RGB RGBA"}


@pytest.mark.parametrize(("kind", "mode"), [(kind, mode) for kind, modes in MODES.items() for mode in modes.split()])
def test_a_profile_is_applied_in_every_format_and_mode(tmp_path, kind, mode):
    picture = Image.fromarray(COLORS).convert(mode, palette=Image.Palette.ADAPTIVE)
    options = (
        {"quality": 95, "subsampling": "4:4:4"} if kind in ("JPEG", "AVIF") else {"lossless": True} if kind == "WEBP" else {}
    )
    picture.save(tmp_path / "a", kind, icc_profile=SWAPPED, **options)
    found = []
    image = read_image(tmp_path / "a", notice=found.append)
    assert found == [PROFILE]
    assert np.abs(image[8, 8::16].astype(int) - COLORS[8, 8::16][:, [1, 0, 2]]).max() < 12
    assert plain_format(tmp_path / "a") is None


def test_srgb_under_any_name_changes_no_byte(tmp_path):
    near = bytearray(SRGB)
    near[-1] ^= 1  # some other file, the same colours
    for kind in ("JPEG", "PNG"):
        for name, profile in (("plain", None), ("srgb", SRGB), ("near", bytes(near)), ("broken", b"no profile at all")):
            Image.fromarray(COLORS).save(tmp_path / name, kind, icc_profile=profile)
            found = []
            image = read_image(tmp_path / name, notice=found.append)
            np.testing.assert_array_equal(image, read_image(tmp_path / "plain"))
            assert not found and plain_format(tmp_path / name) == kind.lower()


def test_a_profile_that_does_not_fit_is_passed_over(tmp_path):
    """Of colours, in a gray picture."""
    Image.fromarray(COLORS[..., 0]).save(tmp_path / "a", "PNG", icc_profile=SWAPPED)
    assert (read_image(tmp_path / "a")[..., 1] == COLORS[..., 0]).all()


def test_transparency_stays_with_its_profile(tmp_path):
    pixels = np.dstack([COLORS, np.full(COLORS.shape[:2], 255, np.uint8)])
    pixels[:, :16, 3] = 0
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", icc_profile=SWAPPED)
    (tmp_path / "a").write_bytes(buffer.getvalue())
    image = read_image(tmp_path / "a")
    assert (image[:, :16] == 255).all() and np.abs(image[8, 24].astype(int) - (200, 30, 30)).max() < 12
