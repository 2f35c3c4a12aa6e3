import numpy as np
import pytest
from PIL import Image

from centerkp.images.pixels import to_rgb
from centerkp.images.reading import read_image


def ramp(*values, dtype):
    """One row of pixels, the three channels alike."""
    return np.repeat(np.array(values, dtype)[None, :, None], 3, axis=2)


@pytest.mark.parametrize(
    "pixels, expected",
    [
        (ramp(0, 7, 255, dtype="uint8"), [0, 7, 255]),
        (ramp(0, 257, 65535, dtype="uint16"), [0, 1, 255]),
        (ramp(0, 7, 255, dtype="int64"), [0, 7, 255]),
        (ramp(0, 127, dtype="int8"), [0, 127]),
        (ramp(0, 255, dtype="uint32"), [0, 255]),
        (ramp(False, True, dtype="bool"), [0, 255]),
        (ramp(0, 0.5, 1, dtype="float64"), [0, 128, 255]),
        (ramp(0, 1, 1.001, -0.001, dtype="float32"), [0, 255, 255, 0]),  # overshoot of resampling
        (ramp(0, 1, dtype="float16"), [0, 255]),
    ],
    ids=lambda value: str(getattr(value, "dtype", "")),
)
def test_types_and_their_ranges(pixels, expected):
    rgb = to_rgb(pixels)
    assert rgb.dtype == np.uint8 and rgb.shape == (1, len(expected), 3)
    np.testing.assert_array_equal(rgb, ramp(*expected, dtype="uint8"))


@pytest.mark.parametrize(
    "pixels, words",
    [
        (
            ramp(0, 255, dtype="float32"),
            r"frame 7: found .* float32 from 0 to 255, expected 0 to 1 .*divide it by 255",
        ),
        (ramp(-0.5, 1, dtype="float32"), "float32 from -0.5 to 1, expected 0 to 1"),
        (ramp(0, np.nan, dtype="float32"), "expected 0 to 1"),
        (ramp(0, np.inf, dtype="float32"), "expected 0 to 1"),
        (ramp(0, 256, dtype="int32"), "int32 from 0 to 256, expected 0 to 255"),
        (ramp(-1, 4, dtype="int16"), "int16 from -1 to 4, expected 0 to 255"),
        (np.zeros((3, 40, 50), "uint8"), r"shape \(3, 40, 50\).*transpose\(1, 2, 0\)"),
        (np.zeros((40, 50, 2), "uint8"), r"shape \(40, 50, 2\)"),
        (np.zeros((2, 40, 50, 3), "uint8"), "one image at a time"),
        (np.zeros(12, "uint8"), r"shape \(12,\)"),
        (np.zeros((0, 50, 3), "uint8"), "no pixels"),
        (np.zeros((4, 5, 3), complex), "complex128"),
        (np.full((4, 5, 3), "a"), "<U1"),
    ],
)
def test_refused(pixels, words):
    with pytest.raises(ValueError, match=words):
        to_rgb(pixels, "frame 7")


def test_gray_and_transparent():
    gray = np.array([[0, 200]], "uint8")
    np.testing.assert_array_equal(to_rgb(gray), to_rgb(gray[..., None]))
    assert to_rgb(gray)[0, 1].tolist() == [200, 200, 200]
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], "uint8")
    assert to_rgb(rgba).tolist() == [[[10, 20, 30], [255, 255, 255]]]  # over white
    assert to_rgb(rgba / 255.0).tolist() == to_rgb(rgba).tolist()


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "CMYK", "1", "I;16"])
def test_pillow_images_are_what_their_files_are(mode, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 4), np.uint8)
    picture = Image.fromarray(pixels).convert("L" if mode == "I;16" else "RGB" if mode == "CMYK" else mode)
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)
    picture = picture.convert("CMYK") if mode == "CMYK" else picture
    path = tmp_path / f"a.{'tif' if mode == 'CMYK' else 'png'}"
    picture.save(path)
    np.testing.assert_array_equal(to_rgb(Image.open(path)), read_image(path))


def test_pillow_images_are_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif)
    with Image.open(tmp_path / "a.jpg") as picture:
        assert to_rgb(picture).shape == (80, 60, 3)
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[:-120])
    with Image.open(tmp_path / "cut.jpg") as picture, pytest.raises(ValueError, match="cut: found a damaged Pillow image"):
        to_rgb(picture, "cut")
