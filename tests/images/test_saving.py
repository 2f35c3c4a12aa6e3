import cv2
import numpy as np
import pytest
from PIL import Image

from centerkp.images.reading import plain_format, read_image
from centerkp.images.saving import write_image
from centerkp.writing import is_result


@pytest.mark.parametrize("name", ["ä b.png", "x.PNG", "photo.jpg", "photo.jpeg", "photo.webp"])
def test_written_image_reads_back_in_rgb(tmp_path, name):
    image = np.empty((24, 32, 3), np.uint8)
    image[:] = (200, 40, 90)
    path = write_image(tmp_path / "new" / "folder" / name, image)
    back = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(back.astype(int) - image).max() <= (0 if path.suffix.lower() == ".png" else 12)
    assert [p.name for p in path.parent.iterdir()] == [name]


def test_unknown_extension_writes_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"found extension '\.txt'"):
        write_image(tmp_path / "new" / "picture.txt", np.zeros((8, 8, 3), np.uint8))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp"])
def test_a_picture_says_what_made_it_and_is_otherwise_the_same(tmp_path, ending):
    """For our own reader, for Pillow to the last chunk, and for OpenCV."""
    image = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)
    plain, marked = write_image(tmp_path / f"a{ending}", image), write_image(tmp_path / f"b{ending}", image, "show")
    assert is_result(marked) and not is_result(plain)
    np.testing.assert_array_equal(read_image(marked), read_image(plain))
    np.testing.assert_array_equal(*(cv2.imdecode(np.fromfile(p, np.uint8), cv2.IMREAD_COLOR) for p in (marked, plain)))
    assert plain_format(marked) == plain_format(plain)
    with Image.open(marked) as picture:
        picture.verify()
    with Image.open(marked) as picture:
        picture.load()
        assert ending == ".webp" or "Made by centerkp show." in str(picture.info.get("Comment") or picture.info["comment"])


@pytest.mark.parametrize("ending", [".jpg", ".webp"])
def test_an_image_too_large_for_its_format(tmp_path, ending):
    with pytest.raises(ValueError, match=f"a{ending}: found an image of 70000x2 pixels, too large for {ending}"):
        write_image(tmp_path / f"a{ending}", np.zeros((2, 70000, 3), np.uint8))
    assert not list(tmp_path.iterdir())
