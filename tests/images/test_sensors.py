import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from centerkp.images.oddities import FOURTH_CHANNEL, NARROW, OUTSIDE, describe_oddities
from centerkp.images.reading import choose_levels, measure_levels, read_image, read_image_size
from centerkp.images.sensors import Levels

RAMP = np.linspace(0, 1, 32 * 24).reshape(24, 32)


def _sensor(low, high, kind=np.uint16):
    """A ramp over a small part of the range."""
    return (low + (high - low) * RAMP).astype(kind)


def _write(path, values):
    """By OpenCV, which writes every depth; colours as blue, green, red."""
    assert cv2.imwrite(str(path), values[..., ::-1] if values.ndim == 3 else values)
    return path


def _look(path, levels=None):
    found = []
    return read_image(path, levels, found.append), found


SENSORS = {
    "gray.png": _sensor(7500, 7560),
    "gray.tif": _sensor(7500, 7560),
    "gray.pgm": _sensor(7500, 7560),
    "color.png": np.dstack([_sensor(7500, 7560)] * 3),
    "color.tif": np.dstack([_sensor(7500, 7560)] * 3),
    "signed.tif": _sensor(-30, 30, np.int16),
    "celsius.tif": _sensor(-12.5, 31.5, np.float32),
    "whole.tif": _sensor(100_000, 200_000, np.int32),
}


@pytest.mark.parametrize("name", SENSORS)
def test_the_range_that_is_used_is_spread(tmp_path, name):
    values = SENSORS[name]
    path = _write(tmp_path / name, values)
    levels = measure_levels(path)
    assert levels.black == pytest.approx(values.min(), abs=0.02 * float(np.ptp(values)))
    assert levels.white == pytest.approx(values.max(), abs=0.02 * float(np.ptp(values)))
    image, found = _look(path, levels)
    assert not found and image.shape == (24, 32, 3) and image.dtype == np.uint8
    assert np.abs(image[..., 0] - 255 * RAMP).max() < 10


@pytest.mark.parametrize("name", ["gray.png", "gray.tif", "gray.pgm", "color.png", "color.tif"])
def test_a_range_that_is_nearly_empty_is_said(tmp_path, name):
    image, found = _look(_write(tmp_path / name, SENSORS[name]))
    assert found == [NARROW] and np.ptp(image) < 2
    whole = _sensor(0, 65535) if "gray" in name else np.dstack([_sensor(0, 65535)] * 3)
    assert _look(_write(tmp_path / name, whole))[1] == []


def test_numbers_outside_of_the_range_are_said(tmp_path):
    path = _write(tmp_path / "gray.png", SENSORS["gray.png"])
    for levels in (Levels(0, 7400), Levels(8000, 9000)):
        assert _look(path, levels)[1] == [OUTSIDE]
    assert _look(path, Levels(7550, 7650))[1] == []  # a dark picture with a little light


def test_floats_have_no_range_of_their_own(tmp_path):
    path = _write(tmp_path / "celsius.tif", SENSORS["celsius.tif"])
    with pytest.raises(ValueError, match="celsius.tif: found TIFF pixels of 32 bits.*--stretch"):
        read_image(path)


def test_pictures_of_8_bits_stay_as_they_are(tmp_path):
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(tmp_path / "a.png")
    image, found = _look(tmp_path / "a.png", Levels(7500, 7560))
    assert (image == 90).all() and not found and measure_levels(tmp_path / "a.png") is None


def test_levels_of_many_pictures(tmp_path):
    paths = [_write(tmp_path / f"{low}.png", _sensor(low, low + 100)) for low in (7500, 7450)]
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "plain.png")
    (tmp_path / "broken.png").write_bytes(b"x")
    levels = choose_levels("auto", [*paths, tmp_path / "plain.png", tmp_path / "broken.png", tmp_path / "none.png"])
    assert (levels.black, levels.white) == pytest.approx((7450, 7600), abs=3)
    assert Levels.parse(str(levels)) == levels == Levels.from_config(levels.get_config())
    assert choose_levels("-3.5,1e4", []) == Levels(-3.5, 10000)
    with pytest.raises(ValueError, match="stretch: found no picture with more than 8 bits"):
        choose_levels("auto", [tmp_path / "plain.png"])
    for text in ("photos/", "1,2,3", "5,5", "9,1", "nan,1"):
        with pytest.raises(ValueError, match="stretch: found .*expected two numbers"):
            choose_levels(text, [])
    for config in ([1], [1, "2"], {"black": 1}, [True, 2]):
        with pytest.raises(ValueError, match="levels: found"):
            Levels.from_config(config)


def test_a_hot_pixel_does_not_count(tmp_path):
    values = np.random.default_rng(0).integers(500, 600, (100, 100)).astype(np.uint16)
    values[5, 5] = 65535
    assert measure_levels(_write(tmp_path / "a.png", values)).white < 600


def _with_fourth(fourth):
    colors = np.random.default_rng(1).integers(40, 220, (60, 80, 3), dtype=np.uint8)
    return Image.fromarray(np.dstack([colors, np.broadcast_to(fourth, (60, 80)).astype(np.uint8)]))


NOISE = np.random.default_rng(2).integers(0, 256, (60, 80))
DISC = 255 * (np.hypot(*np.mgrid[-30:30, -40:40]) < 25)
FOURTH = {
    "dark infrared": (NOISE // 9, True),
    "infrared": (NOISE, True),
    "empty": (0, True),
    "cut out": (DISC, False),
    "soft edges": (cv2.GaussianBlur(DISC.astype(np.uint8), (9, 9), 3), False),
    "opaque": (255, False),
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("name", FOURTH)
def test_a_fourth_channel_that_is_no_mask_is_said(tmp_path, kind, name):
    fourth, is_odd = FOURTH[name]
    _with_fourth(fourth).save(tmp_path / "a", kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    assert _look(tmp_path / "a")[1] == [FOURTH_CHANNEL] * is_odd


def test_a_picture_that_is_one_colour_is_not_odd_for_its_mask(tmp_path):
    picture = Image.new("RGBA", (20, 20), (200, 0, 0, 255))
    picture.save(tmp_path / "a.png")
    assert _look(tmp_path / "a.png")[1] == []


def test_each_kind_is_one_sentence_with_its_count_and_remedy():
    first, second = describe_oddities([("a", [NARROW]), ("b", [FOURTH_CHANNEL]), ("c", [NARROW]), ("d", [])])
    assert first.startswith("2 images: more than 8 bits") and "such as a" in first and first.endswith("with --stretch")
    assert second.startswith("1 image: a fourth channel")


def _tiff(bands, bits, kind):
    """An uncompressed TIFF of any number of bands, more than Pillow or OpenCV write or read."""
    width, height, size = 6, 4, 6 * 4 * bands * bits // 8
    tags = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, bands, 0), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
    tags += [(277, 3, 1, bands), (278, 3, 1, height), (279, 4, 1, size), (339, 3, 1, kind)]
    more = 8 + size + 2 + 12 * len(tags) + 4  # where the bits of each band stand
    index = struct.pack("<H", len(tags))
    for tag, type_, count, value in tags:
        value = bits if tag == 258 and bands == 1 else bits * 0x10001 if tag == 258 and bands == 2 else value or more
        index += struct.pack("<HHII", tag, type_, count, value)
    return struct.pack("<4sI", b"II*\0", 8 + size) + bytes(size) + index + bytes(4) + struct.pack("<H", bits) * bands


@pytest.mark.parametrize(("bands", "bits", "kind"), [(4, 16, 1), (5, 16, 1), (10, 8, 1), (3, 32, 3), (5, 32, 3), (1, 16, 3)])
def test_tiffs_of_a_kind_that_is_not_read_are_described(tmp_path, bands, bits, kind):
    (tmp_path / "a.tif").write_bytes(_tiff(bands, bits, kind))
    found = f"{bands} bands? of {bits} bits{' in floats' if kind == 3 else ''}"
    for read in (read_image, read_image_size):
        with pytest.raises(ValueError, match=f"a.tif: found a TIFF of {found}, expected .*save") as error:
            read(tmp_path / "a.tif")
        assert "damaged" not in str(error.value)


def test_numbers_with_signs_are_said(tmp_path):
    path = _write(tmp_path / "signed.tif", SENSORS["signed.tif"])
    with pytest.raises(ValueError, match="signed.tif: found TIFF pixels of 16 bits with signs.*--stretch"):
        read_image(path)


def _set_tag(path, tag, old, new):
    """Writes another number into a tag of a TIFF."""
    entries = [struct.pack("<HHIHH", tag, 3, 1, value, 0) for value in (old, new)]
    assert path.read_bytes().count(entries[0]) == 1
    path.write_bytes(path.read_bytes().replace(*entries))


def test_colours_in_separate_planes_are_no_noise(tmp_path):
    path = _write(tmp_path / "a.tif", SENSORS["color.tif"])
    _set_tag(path, 284, 1, 2)
    for read in (read_image, read_image_size, measure_levels):
        with pytest.raises(
            ValueError, match="a TIFF of 3 bands of 16 bits in separate planes, expected .*; save it with inter"
        ):
            read(path)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_where_white_is_zero_the_picture_is_no_negative(tmp_path, kind):
    path = tmp_path / "a.tif"
    Image.fromarray(_sensor(0, np.iinfo(kind).max, kind)).save(path)
    usual = read_image(path)
    _set_tag(path, 262, 1, 0)
    np.testing.assert_allclose(read_image(path).astype(int), 255 - usual.astype(int), atol=1)
    if kind == np.uint16:
        levels = Levels(0, 65535)
        np.testing.assert_allclose(read_image(path, levels).astype(int), 255 - usual.astype(int), atol=1)


def test_a_gray_picture_with_a_second_channel_is_looked_at_too(tmp_path):
    Image.fromarray(np.dstack([NOISE, NOISE[::-1] // 9]).astype(np.uint8)).save(tmp_path / "a.png")
    assert _look(tmp_path / "a.png")[1] == [FOURTH_CHANNEL]
