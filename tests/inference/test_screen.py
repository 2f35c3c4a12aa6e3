import threading
from urllib.error import HTTPError
from urllib.request import urlopen

import cv2
import numpy as np
import pytest
import squares

from centerkp.inference import screen as module
from centerkp.inference.screen import Screen


@pytest.fixture()
def screen(monkeypatch):
    monkeypatch.setattr(module.webbrowser, "open", lambda address: True)
    screen = Screen()
    yield screen
    screen.close(patience=0)


def read_picture(stream):
    """The next picture of a stream, as a browser reads it."""
    while not (line := stream.readline()).startswith(b"Content-Length"):
        assert line
    data = stream.read(int(line.split(b":")[1]) + 2)[2:]
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)


def test_a_browser_sees_the_newest_picture(screen):
    assert b'src="stream"' in urlopen(screen.address).read()
    with urlopen(screen.address + "stream") as stream:
        for x in (10, 50):
            screen.show(squares.draw(("red", x, 30, 20)))
            (_, box), *_ = squares.find_squares(read_picture(stream))
            assert abs(box[0] - x) <= 2
    with pytest.raises(HTTPError, match="404"):
        urlopen(screen.address + "../../etc/passwd")


def test_closing_waits_until_the_last_picture_was_seen(screen):
    screen.show(squares.draw())
    seen = []

    def look():
        with urlopen(screen.address + "stream") as stream:
            seen.append(read_picture(stream).shape)

    threading.Timer(0.2, look).start()
    screen.close(patience=5)
    assert screen._shown == 1
    threading.Event().wait(0.1)
    assert seen == [(96, 96, 3)]


def test_without_a_browser_nobody_waits(monkeypatch):
    monkeypatch.setattr(module.webbrowser, "open", lambda address: False)
    screen = Screen()
    screen.show(squares.draw())
    screen.close(patience=60)
    assert not screen.opened and screen.address == f"http://127.0.0.1:{screen.port}/"
