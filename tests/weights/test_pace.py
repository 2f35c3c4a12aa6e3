"""Servers that say nothing, drip, never end or lie about lengths: each is left within bounds, in one sentence."""

import gc
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import squares
from rich.console import Console

from centerkp.inference import addresses
from centerkp.inference.addresses import read_address
from centerkp.weights import download as downloading
from centerkp.weights.download import download

OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"


def drip(head: bytes, then: bytes = b"x", pause: float = 0.05):
    """Sends `head` at once and `then`, over and over, a byte at a time."""

    def answer(connection):
        connection.sendall(head)
        while True:
            for byte in then:
                connection.sendall(bytes([byte]))
                time.sleep(pause)

    return answer


def flood(head: bytes):
    def answer(connection):
        connection.sendall(head)
        while True:
            connection.sendall(bytes(1 << 16))

    return answer


@contextmanager
def serving(answer):
    """Calls `answer(connection)` for every connection, in a thread of its own; yields the address and how many there were."""
    listener = socket.create_server(("127.0.0.1", 0))
    seen = []

    def talk(connection):
        with connection:
            try:
                connection.recv(65536)
                answer(connection)
            except OSError:
                pass  # the other side has gone

    def accept():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            seen.append(connection)
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/a.png", seen
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    for module, names in ((addresses, ("DOWNLOAD_TIMEOUT", "DOWNLOAD_GRACE")), (downloading, ("TIMEOUT", "GRACE"))):
        for name, seconds in zip(names, (0.4, 1.0), strict=True):
            monkeypatch.setattr(module, name, seconds)
    yield
    gc.collect()  # connections that nobody closed are this test's failure, not a later one's


def wait(connection):
    time.sleep(5)


SLOW = {
    "silence": (wait, "timed out"),
    "status": (drip(b"", b"HTTP/1.1 200 OK                    "), "too slow"),
    "head": (drip(OK, b"X-Header: on and on\r\n"), "too slow"),
    "body": (drip(OK + b"\r\n"), "too slow"),
    "body with a length": (drip(OK + b"Content-Length: 1000000\r\n\r\n"), "too slow"),
    "chunks": (drip(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"), "too slow"),
    "redirection": (drip(b"HTTP/1.1 302 Found\r\nLocation: /b.png\r\n\r\n"), "too slow"),
    "pauses": (drip(OK + b"\r\n", pause=0.6), "timed out"),
}


@pytest.mark.parametrize("kind", SLOW)
def test_slow_servers(kind, tmp_path):
    """Of images and of archives."""
    answer, words = SLOW[kind]
    started = time.monotonic()
    with serving(answer) as (address, seen):
        with pytest.raises(ValueError, match=rf"{address}: found no image \(.*{words}.*expected one"):
            read_address(address)
        assert len(seen) == 1
        with pytest.raises(ConnectionError, match=words):
            download(address, tmp_path / "a.part", Console())
    assert time.monotonic() - started < 5


def test_a_server_that_ends_after_every_byte(tmp_path):
    """Each attempt gets further, and all together get nowhere."""
    data = bytes(1_000_000)
    sent = []

    def answer(connection):
        start = len(sent)
        sent.append(1)
        span = b"Content-Range: bytes %d-999999/1000000\r\n" % start
        connection.sendall(b"HTTP/1.1 206 Partial\r\n" + span + b"\r\n" + data[:1])

    with serving(answer) as (address, seen), pytest.raises(ConnectionError, match="too slow"):
        (tmp_path / "a.part").write_bytes(b"")
        download(address, tmp_path / "a.part", Console())
    assert len(seen) > 3


def test_a_redirection_with_a_body_that_never_ends():
    with serving(flood(b"HTTP/1.1 302 Found\r\nLocation: /b.png\r\n\r\n")) as (address, seen):
        with pytest.raises(ValueError, match="infinite loop|would lead to"):
            read_address(address)
        assert len(seen) > 1


@pytest.mark.parametrize("length", ["abc", "-5", "1e3", "", "9" * 5000, "٣"])
def test_lengths_that_are_no_numbers(length, tmp_path):
    """Taken as not said, as browsers do."""
    data = Path(squares.write_png(tmp_path / "a.png")).read_bytes()
    head = OK + f"Content-Length: {length}\r\n\r\n".encode()
    with serving(lambda connection: connection.sendall(head + data)) as (address, _):
        assert read_address(address).data == data
        download(address, tmp_path / "a.part", Console())
    assert (tmp_path / "a.part").read_bytes() == data


def test_what_comes_fast_enough_may_take_longer(tmp_path):
    """More than the grace, at more than the least rate."""

    def answer(connection):
        connection.sendall(OK + b"Content-Length: 60000\r\n\r\n")
        for _ in range(15):
            connection.sendall(bytes(4000))
            time.sleep(0.1)

    with serving(answer) as (address, seen):
        download(address, tmp_path / "a.part", Console())
    assert (tmp_path / "a.part").stat().st_size == 60000 and len(seen) == 1
