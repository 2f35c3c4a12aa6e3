import pytest

from centerkp.images.reading import read_image
from centerkp.inference import addresses
from centerkp.inference.addresses import read_address


def test_download(server):
    image = read_image(read_address(f"{server}/good.png?token=1"))
    assert image.shape == (96, 96, 3) and image[25, 15].tolist() == [230, 20, 20] and image[5, 5].tolist() == [60, 60, 60]


@pytest.mark.parametrize(
    "name, found",
    [
        ("none.png", "404 Not Found"),
        ("lies.png", "the connection broke"),
        ("page.png", r"another kind of file \(web page\)"),
        ("huge.png", "more than 200 MB"),
    ],
)
def test_download_that_is_no_image(server, name, found):
    with pytest.raises(ValueError, match=f"{server}/{name}: found .*{found}"):
        read_address(f"{server}/{name}")


def test_nobody_answers(monkeypatch):
    monkeypatch.setattr(addresses, "DOWNLOAD_TIMEOUT", 1)
    with pytest.raises(ValueError, match="http://127.0.0.1:9/a.png: found no image .*refused"):
        read_address("http://127.0.0.1:9/a.png")


def test_addresses_as_people_paste_them(server):
    """Blanks and accents are encoded as browsers do; what cannot be an address is a sentence and not a traceback."""
    with pytest.raises(ValueError, match="found no image .*404"):
        read_address(f"{server}/my photo ä.png")
    with pytest.raises(ValueError, match="found no image"):
        read_address("http://127.0.0.1:port/a.png")
