from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from centerkp.images import kinds
from centerkp.images.kinds import judge_file, tell_kind, walk_folder
from centerkp.images.reading import read_image, read_image_size


def _encode(kind, **options):
    pytest.importorskip("pillow_heif").register_heif_opener()
    buffer = BytesIO()
    Image.fromarray(np.full((24, 32, 3), (200, 30, 30), np.uint8)).save(buffer, kind, **options)
    return buffer.getvalue()


PICTURES = ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "AVIF", "JPEG2000", "HEIF"]
TS_PACKET = b"\x47" + bytes(187)
VIDEOS = {
    "mp4": b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41",
    "mov": b"\0\0\0\x14ftypqt  \0\0\2\0qt  ",
    "old mov": b"\0\0\0\x08wide\0\0\1\0mdat",
    "webm": b"\x1aE\xdf\xa3" + bytes(30),
    "ts": TS_PACKET * 4,
    "m2ts": b"\0\0\0\0".join([b"", *[TS_PACKET] * 4]),
    "mpg": b"\0\0\1\xba" + bytes(20),
    "avi": b"RIFF\0\0\0\0AVI LIST",
    "wmv": b"0&\xb2u\x8ef\xcf\x11" + bytes(20),
    "ogv": b"OggS" + bytes(20),
}
OTHERS = {
    "PDF document": b"%PDF-1.7",
    "JPEG XL picture": b"\xff\x0a" + bytes(20),
    "Photoshop picture": b"8BPS\0\1",
    "camera raw picture": b"II*\0\x10\0\0\0CR\2\0",
    "SVG drawing": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "web page": b"\n<!DOCTYPE html><title>Login</title>",
    "DICOM picture": bytes(128) + b"DICM",
    "zip archive": b"PK\3\4" + bytes(30),
    "Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\n",
    "NumPy array": b"\x93NUMPY\1\0",
}


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("name", ["photo", "photo.bin", "photo.mp4", "photo.txt"])
def test_a_picture_is_one_under_every_name(tmp_path, kind, name):
    (tmp_path / name).write_bytes(_encode(kind))
    assert judge_file(tmp_path / name).role == "picture"
    assert read_image(tmp_path / name).shape == (24, 32, 3) and read_image_size(tmp_path / name) == (32, 24)
    assert np.abs(read_image(tmp_path / name)[12, 16].astype(int) - (200, 30, 30)).max() < 12


@pytest.mark.parametrize("start", VIDEOS.values(), ids=VIDEOS)
def test_a_video_is_none_under_every_name(tmp_path, start):
    (tmp_path / "a.jpg").write_bytes(start)
    assert judge_file(tmp_path / "a.jpg").role == "video"
    with pytest.raises(ValueError, match=r"a.jpg: found another kind of file \(.*video\), expected JPEG.*centerkp infer"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("name", OTHERS)
def test_what_is_known_and_not_read_is_never_called_damaged(tmp_path, name):
    (tmp_path / "a.png").write_bytes(OTHERS[name])
    kind = judge_file(tmp_path / "a.png")
    assert (kind.name, kind.role) == (name, "other") and kind.remedy
    for read in (read_image, read_image_size):
        with pytest.raises(ValueError, match="a.png: found another kind of file") as error:
            read(tmp_path / "a.png")
        assert name in str(error.value) and kind.remedy in str(error.value) and "damaged" not in str(error.value)


def test_a_raw_picture_is_not_its_preview(tmp_path):
    """It is a TIFF in which other programs see a thumbnail."""
    (tmp_path / "a.nef").write_bytes(_encode("TIFF"))
    (tmp_path / "a.tif").write_bytes(_encode("TIFF", tiffinfo={0xC612: b"\1\4\0\0"}))
    assert judge_file(tmp_path / "a.nef").name == "camera raw picture"
    for name in ("a.nef", "a.tif"):
        with pytest.raises(ValueError, match="camera raw picture.*develop"):
            read_image(tmp_path / name)


def test_endings_decide_where_the_content_says_nothing(tmp_path):
    for name, role in (("a.jpg", "picture"), ("a.avi", "video"), ("a.md", "other"), ("a", "other")):
        (tmp_path / name).write_bytes(b"P4rticular text")
        assert judge_file(tmp_path / name).role == role
    assert judge_file(tmp_path / "missing.jpg").role == "picture"
    (tmp_path / "a.mjpg").write_bytes(_encode("JPEG"))  # one picture behind another
    assert judge_file(tmp_path / "a.mjpg").role == "video"


def test_heic_without_its_package(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(_encode("HEIF"))
    monkeypatch.setattr(kinds, "find_spec", lambda name: None)
    assert judge_file(tmp_path / "a.jpg").role == "other"
    for read in (read_image, read_image_size):
        with pytest.raises(ValueError, match=r"a.jpg: found another kind of file \(HEIC.*pip install 'centerkp\[heic\]'"):
            read(tmp_path / "a.jpg")


def test_linked_folders_are_walked_once_and_to_an_end(tmp_path):
    for folder in ("photos/day1", "store/deep"):
        (tmp_path / folder).mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "store" / "deep" / "b.png"), np.zeros((4, 4, 3), np.uint8))
    links = {"photos/a": "store", "photos/day1/again": "store", "store/deep/up": "photos", "photos/broken": "nowhere"}
    for link, target in links.items():
        (tmp_path / link).symlink_to(tmp_path / target)
    found = [Path(folder, name) for folder, _, names in walk_folder(tmp_path / "photos") for name in names]
    assert [path.relative_to(tmp_path / "photos") for path in found if path.is_file()] == [Path("a/deep/b.png")]


def test_text_is_no_picture():
    for text in (b"BM is how this begins", b"P3rhaps", b"RIFF raff", b"GAME", b"", b"Movie ftyp"):
        assert tell_kind(text.ljust(600)) is None
