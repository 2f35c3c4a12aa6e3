import resource
import struct
import time
import zlib
from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps, TiffImagePlugin

from centerkp.images.reading import letterbox_image, plain_format, read_image, read_image_size, read_orientation


def _picture(width=32, height=24):
    """Smooth colours without any symmetry, so that every turn and mirror is told apart."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 / (width - 1), y * 255 / (height - 1), (x + y) * 255 / (width + height)], axis=-1).astype(np.uint8)


def _png_chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png_claiming(width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(*part) for part in parts)


def _refused(path, *words):
    """Both readers refuse the file, and say its name and the words."""
    for read in (read_image, read_image_size):
        with pytest.raises(ValueError) as error:
            read(path)
        for word in (str(path), *words):
            assert word in str(error.value)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, file_format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"photo.{file_format.lower()}"
    Image.fromarray(_picture()).save(path, exif=exif, quality=95)
    with Image.open(path) as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored).convert("RGB"), int)
    image = read_image(path)
    assert image.shape == ((24, 32, 3) if orientation < 5 else (32, 24, 3))
    assert image.dtype == np.uint8 and image.flags.c_contiguous
    assert np.abs(image - expected).max() <= 2
    assert read_image_size(path) == (image.shape[1], image.shape[0])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_behind_the_pixels_of_a_png(tmp_path, orientation):
    exif, buffer = Image.Exif(), BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(_picture()).save(buffer, "PNG")
    plain, block = buffer.getvalue(), exif.tobytes().removeprefix(b"Exif\0\0")
    (tmp_path / "a.png").write_bytes(plain[:-12] + _png_chunk(b"eXIf", block) + plain[-12:])
    Image.fromarray(_picture()).save(tmp_path / "b.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), read_image(tmp_path / "b.png"))
    assert read_image_size(tmp_path / "a.png") == read_image_size(tmp_path / "b.png")
    assert read_orientation(tmp_path / "a.png") == orientation
    assert plain_format(tmp_path / "a.png") == ("png" if orientation == 1 else None)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_exif_counts_as_upright(tmp_path):
    path = tmp_path / "photo.jpg"
    Image.fromarray(_picture()).save(path, exif=b"Exif\0\0II*\0\xff\xff\xff\x7f\x01")
    assert read_image(path).shape == (24, 32, 3)
    assert read_image_size(path) == (32, 24)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    for name in ("gray.png", "gray.tif"):
        cv2.imwrite(str(tmp_path / name), values)
        assert read_image(tmp_path / name)[0].tolist() == [[v] * 3 for v in (0, 1, 128, 255)]
    cv2.imwrite(str(tmp_path / "color.png"), np.stack([values, values // 2, values * 0], axis=-1))  # B, G, R
    assert np.abs(read_image(tmp_path / "color.png")[0, 3].astype(int) - [0, 127, 255]).max() <= 1


def test_transparency_is_laid_over_white(tmp_path):
    pixels = np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "color.png")
    assert read_image(tmp_path / "color.png")[0].tolist() == [[10, 20, 30], [255, 255, 255]]
    Image.fromarray(np.array([[[7, 255], [7, 0]]], np.uint8)).save(tmp_path / "gray.png")
    assert read_image(tmp_path / "gray.png")[0].tolist() == [[7, 7, 7], [255, 255, 255]]
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.save(tmp_path / "palette.png", transparency=1)
    assert read_image(tmp_path / "palette.png")[0].tolist() == [[10, 20, 30], [255, 255, 255]]


def test_gray_palette_cmyk_and_wrong_extension_become_rgb(tmp_path):
    picture = Image.fromarray(_picture())
    for mode, name in (("L", "gray.jpg"), ("P", "palette.png"), ("CMYK", "print.jpg"), ("1", "bits.png")):
        picture.convert(mode).save(tmp_path / name)
        assert read_image(tmp_path / name).shape == (24, 32, 3)
    picture.convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "print.jpg").astype(int) - _picture()).mean() < 3
    picture.save(tmp_path / "inside.jpg", format="PNG")
    assert (read_image(tmp_path / "inside.jpg") == _picture()).all()


def _raw_png(values, *, bits, color, interlaced=False):
    """A PNG of raw rows, also in layouts that Pillow does not write: 16 bits with colours or alpha, Adam7 interlacing."""
    height, width = values.shape[:2]
    steps = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    passes = [values[y::dy, x::dx] for y, x, dy, dx in steps] if interlaced else [values]
    rows = b"".join(b"\0" + row.astype(f">u{bits // 8}").tobytes() for part in passes if part.size for row in part)
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, int(interlaced))
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(*chunk) for chunk in chunks)


def test_rare_layouts_become_rgb(tmp_path):
    path, ramp = tmp_path / "file", np.arange(32 * 32).reshape(32, 32) * 64
    path.write_bytes(_raw_png(ramp, bits=16, color=0, interlaced=True))
    assert np.abs(read_image(path)[..., 1] - ramp / 257).max() <= 0.5 and read_image_size(path) == (32, 32)
    rgba = np.stack([ramp, ramp[::-1], ramp.T, np.full_like(ramp, 65535)], axis=-1)
    rgba[0, 0, 3] = 0
    path.write_bytes(_raw_png(rgba, bits=16, color=6))
    found = read_image(path)
    assert found[0, 0].tolist() == [255, 255, 255]
    assert np.abs(found.astype(float) - rgba[..., :3] / 257)[1:].max() <= 1
    Image.fromarray(_picture()).save(path, "JPEG", progressive=True, quality=95)
    assert np.abs(read_image(path).astype(int) - _picture()).mean() < 3
    for kind in ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP"):
        Image.new("RGB", (1, 1), (0, 0, 0)).save(path, kind)
        assert read_image(path).shape == (1, 1, 3) and read_image_size(path) == (1, 1)
    Image.new("CMYK", (1, 1)).save(path, "TIFF")
    assert read_image(path).tolist() == [[[255, 255, 255]]]
    exif = Image.Exif()
    exif[0x011A] = TiffImagePlugin.IFDRational(1, 0)  # a resolution that is divided by zero
    Image.fromarray(_picture()).save(path, "JPEG", exif=exif)
    assert read_image(path).shape == (24, 32, 3)


class _Packed:
    """Bytes without a file of their own."""

    name, stem = "a.png", "a"

    def __init__(self, data):
        self.data = data

    def __str__(self):
        return "pack: a.png"

    def read_bytes(self):
        return self.data


def test_images_inside_other_files(tmp_path):
    for kind in ("PNG", "JPEG", "WEBP"):
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(_picture()).save(tmp_path / "a", kind, exif=exif)
        packed = _Packed((tmp_path / "a").read_bytes())
        np.testing.assert_array_equal(read_image(packed), read_image(tmp_path / "a"))
        assert read_image_size(packed) == (24, 32)
    for data, words in ((b"", "no bytes"), (b"junk", "no image format"), (packed.data[:50], "damaged")):
        for read in (read_image, read_image_size):
            with pytest.raises(ValueError, match=f"^pack: a.png: found .*{words}"):
                read(_Packed(data))
    with pytest.raises(ValueError, match="^pack: a.png: .*cut off"):
        read_image(_Packed(_jpeg_with_thumbnail()[:-100]))


def test_what_every_decoder_shows_alike(tmp_path):
    picture, path = Image.fromarray(_picture()), tmp_path / "file"
    turned, upright = Image.Exif(), Image.Exif()
    turned[0x0112], upright[0x0112] = 3, 1
    cases = [
        (picture, "JPEG", {}, "jpeg"),
        (picture, "JPEG", {"exif": upright}, "jpeg"),
        (picture, "JPEG", {"exif": turned}, None),
        (picture.convert("L"), "JPEG", {}, "jpeg"),
        (picture.convert("CMYK"), "JPEG", {}, None),
        (picture, "PNG", {}, "png"),
        (picture, "PNG", {"exif": turned}, None),
        (picture.convert("RGBA"), "PNG", {}, None),
        (picture.convert("P"), "PNG", {}, None),
        (picture, "PNG", {"transparency": (0, 0, 0)}, None),
        (picture, "WEBP", {}, None),
        (picture, "BMP", {}, None),
    ]
    for image, kind, options, expected in cases:
        image.save(path, kind, **options)
        assert plain_format(path) == plain_format(_Packed(path.read_bytes())) == expected, (image.mode, kind, options)
    for color, shape in ((0, (4, 4)), (2, (4, 4, 3))):
        path.write_bytes(_raw_png(np.zeros(shape, int), bits=16, color=color))
        assert plain_format(path) is None
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="0 bytes"):
        plain_format(path)


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (8, 6), color) for color in ("red", "blue")]
    for name in ("moving.gif", "moving.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
        assert (read_image(tmp_path / name) == [255, 0, 0]).all()
        assert read_image_size(tmp_path / name) == (8, 6)


def test_name_with_umlaut_and_kanji(tmp_path):
    path = tmp_path / "Bäume 木.png"
    Image.fromarray(_picture()).save(path)
    assert (read_image(path) == _picture()).all()
    assert read_image_size(str(path)) == (32, 24)


def _jpeg_with_thumbnail():
    thumbnail = BytesIO()
    Image.new("RGB", (8, 8)).save(thumbnail, "JPEG")
    plain = BytesIO()
    Image.fromarray(_picture(128, 96)).save(plain, "JPEG", quality=95)
    block = b"Exif\0\0" + b"MM\0*\0\0\0\x08\0\0\0\0\0\0" + thumbnail.getvalue()
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
    return plain.getvalue()[:2] + segment + plain.getvalue()[2:]


def test_truncated_files_are_refused(tmp_path):
    whole = _jpeg_with_thumbnail()
    path = tmp_path / "cut.jpg"
    path.write_bytes(whole)
    assert read_image(path).shape == (96, 128, 3)
    for missing in (1, 2, 50, len(whole) // 2):
        path.write_bytes(whole[:-missing])
        _refused(path, "cut off", "again")
    buffer = BytesIO()
    Image.fromarray(_picture(128, 96)).save(buffer, "PNG")
    path = tmp_path / "cut.png"
    path.write_bytes(buffer.getvalue()[:-200])
    _refused(path, "cut off")
    buffer = BytesIO()
    Image.fromarray(_picture(128, 96)).save(buffer, "BMP")
    path = tmp_path / "cut.bmp"
    path.write_bytes(buffer.getvalue()[:-200])
    with pytest.raises(ValueError, match="cut.bmp"):
        read_image(path)


def test_bytes_after_the_end_do_no_harm(tmp_path):
    path = tmp_path / "trailer.jpg"
    path.write_bytes(_jpeg_with_thumbnail() + b"camera maker's notes" * 10)
    assert read_image(path).shape == (96, 128, 3)
    assert read_image_size(path) == (128, 96)


def test_bombs_are_refused_from_their_header(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(_png_claiming(20000, 20000))
    _refused(path, "pixels", "scale")
    path = tmp_path / "bomb.avif"
    size_box = b"ispe" + struct.pack(">III", 0, 17000, 17000)
    path.write_bytes(b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + b"\0\0\0\x14" + size_box)
    _refused(path, "17000x17000", "scale")


def test_a_bomb_takes_neither_memory_nor_time(tmp_path):
    """A whole file of a few kB whose pixels would be 1.2 GB."""
    path, row = tmp_path / "bomb.png", zlib.compressobj(9)
    header = struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)
    packed = b"".join(row.compress(bytes(60001)) for _ in range(200)) + row.flush()
    chunks = [(b"IHDR", header), (b"IDAT", packed), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(*chunk) for chunk in chunks))
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    _refused(path, "pixels", "scale")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB
    assert time.perf_counter() - start < 1


def test_what_is_no_image(tmp_path):
    path = tmp_path / "empty.jpg"
    path.write_bytes(b"")
    _refused(path, "empty", "0 bytes")
    path = tmp_path / "page.jpg"
    path.write_bytes(b"<html>404</html>")
    _refused(path, "another kind of file (web page)")
    _refused(tmp_path, "folder")
    for read in (read_image, read_image_size):
        with pytest.raises(FileNotFoundError, match="nowhere.png"):
            read(tmp_path / "nowhere.png")
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "depth.tif")
    with pytest.raises(ValueError, match="depth.tif.*32 bits"):
        read_image(tmp_path / "depth.tif")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's remarks about damaged tags
def test_random_damage_never_raises_anything_else(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "file"
    for file_format in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "AVIF"):
        buffer = BytesIO()
        Image.fromarray(_picture()).save(buffer, file_format)
        for _ in range(25):
            data = bytearray(buffer.getvalue())
            for _ in range(4):
                data[rng.integers(min(len(data), 300))] = rng.integers(256)
            path.write_bytes(data[: rng.integers(1, 2 * len(data))])
            for read in (read_image, read_image_size):
                try:
                    read(path)
                except ValueError as error:
                    assert str(path) in str(error)


def _resize_by_the_rule(image, width, height):
    """source = target * old / new, no half pixel, the last row and column repeated."""

    def places(new, old):
        at = np.arange(new) * (old / new)
        low = np.floor(at).astype(int)
        return low, np.minimum(low + 1, old - 1), at - low

    y0, y1, fy = places(height, image.shape[0])
    x0, x1, fx = places(width, image.shape[1])
    image = image.astype(float)
    rows = image[y0] * (1 - fy)[:, None, None] + image[y1] * fy[:, None, None]
    return rows[:, x0] * (1 - fx)[None, :, None] + rows[:, x1] * fx[None, :, None]


@pytest.mark.parametrize(
    ("shape", "size", "valid"),
    [((37, 50), (128, 128), (128, 95)), ((90, 40), (64, 96), (43, 96)), ((64, 64), (64, 64), (64, 64))],
)
def test_letterbox_resizes_by_the_rule(shape, size, valid):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    canvas, affine, valid_size = letterbox_image(image, size)
    assert canvas.shape == (size[1], size[0], 3) and canvas.dtype == np.uint8
    assert valid_size == valid
    expected = _resize_by_the_rule(image, *valid)
    assert np.abs(canvas[: valid[1], : valid[0]] - expected).max() <= 1
    assert not canvas[valid[1] :].any() and not canvas[:, valid[0] :].any()
    assert np.allclose(affine, [[valid[0] / shape[1], 0, 0], [0, valid[1] / shape[0], 0]])
