import socket
import subprocess
import sys
import textwrap
import threading
import time
from http.client import HTTPConnection
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
        open_ones = [one for one in list(screen._server._connections) if one.fileno() >= 0]
        delays = [not one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for one in open_ones]
        assert delays and not any(delays)  # no part of a picture waits
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
    assert not screen.opened and screen.address.startswith(f"http://127.0.0.1:{screen.port}/")


@pytest.mark.parametrize("host, found", [
    ("127.0.0.1:{port}", 200), ("localhost:{port}", 200), ("localhost:9000", 200), ("LOCALHOST", 200),
    ("evil.example:{port}", 404), ("127.0.0.1.evil.example", 404), ("evil.example@127.0.0.1x", 404), ("[::", 404), ("", 404),
    (None, 404),
])  # fmt: skip
def test_only_its_own_names_are_answered(screen, host, found):
    """A page of a stranger may call this machine by its own name (DNS rebinding); a tunnel has another port."""
    screen.show(squares.draw())
    for path in (screen.path, f"{screen.path}stream"):
        connection = HTTPConnection("127.0.0.1", screen.port, timeout=5)
        connection.putrequest("GET", path, skip_host=True)
        if host is not None:
            connection.putheader("Host", host.format(port=screen.port))
        connection.endheaders()
        assert connection.getresponse().status == found
        connection.close()


def test_nobody_guesses_the_path(screen, monkeypatch):
    screen.show(squares.draw())
    for path in ("", "stream", "index.html", f"{screen.path[1:-3]}aa/", screen.path[1:-1] + "x", screen.path[1:] + "x"):
        with pytest.raises(HTTPError, match="404"):
            urlopen(f"http://127.0.0.1:{screen.port}/{path}")
    other = Screen()
    assert len(screen.path) >= 22 and other.path != screen.path
    other.close(patience=0)


STALLED = """
    import socket, sys, threading, time
    import numpy as np
    from centerkp.inference import screen as module

    module.webbrowser.open = lambda address: False
    screen = module.Screen()
    picture = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3)).astype(np.uint8)
    viewers = []
    for n in range(20):  # some say nothing, some half a request, some ask and then read nothing
        viewers.append(socket.create_connection(("127.0.0.1", screen.port)))
        request = f"GET {screen.path}stream HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\n\\r\\n".encode()
        viewers[-1].sendall((b"", request[:20], request, request)[n % 4])
        screen.show(picture)
        time.sleep(0.05)
    for _ in range(10):
        screen.show(picture)
        time.sleep(0.05)
    started = time.monotonic()
    screen.close()
    assert time.monotonic() - started < 5, time.monotonic() - started
    assert threading.active_count() == 1, threading.enumerate()
"""


def test_stalled_viewers_do_not_hold_or_abort_the_process():
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(STALLED)], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0 and not run.stderr, run.stderr


def test_a_stalled_viewer_makes_room_for_another(monkeypatch):
    monkeypatch.setattr(module.webbrowser, "open", lambda address: False)
    monkeypatch.setattr(module, "STALLED", 0.3)
    screen = Screen()
    stalled = [socket.create_connection(("127.0.0.1", screen.port)) for _ in range(module.MAX_VIEWERS)]
    deadline = time.monotonic() + 20
    while True:
        try:
            assert urlopen(screen.address, timeout=5).status == 200
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    screen.close(patience=0)
    for connection in stalled:
        connection.close()
