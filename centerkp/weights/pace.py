"""Answers of servers, read within bounds of time: neither one that says nothing nor one that drips can hold a program."""

import http.client
import io
import re
import time
import urllib.request
from functools import partial
from typing import Any


class TooSlow(TimeoutError):
    """A server sends less than `Pace` asks for."""


class Pace:
    """How slowly an answer may come, over one connection or several in a row.

    Args:
        silence: seconds without a byte after which a connection has ended.
        grace: seconds that everything together may take; one more for each `rate` bytes that have come.
        rate: bytes a second.
    """

    def __init__(self, silence: float, grace: float, rate: float = 10_000):
        self.silence, self.grace, self.rate = silence, grace, rate
        self.received = 0
        self._started = time.monotonic()

    def next_timeout(self) -> float:
        """Seconds that a server has for its next byte; raises TooSlow when there are none left."""
        elapsed = time.monotonic() - self._started
        left = self.grace + self.received / self.rate - elapsed
        if left <= 0:
            raise TooSlow(f"{self.received} bytes in {elapsed:.0f} s, which is too slow")
        return min(self.silence, left)


def open_at_pace(request: urllib.request.Request, pace: Pace) -> http.client.HTTPResponse:
    """What `urllib.request.urlopen` gives, but every byte of the server's answer is read at a pace.

    `read` waits for as many bytes as it is asked for, `read1` does not.

    Raises:
        URLError, HTTPException, TimeoutError, ConnectionError: as `urlopen`; also while reading.
    """
    before = pace.received
    handler = _Handler(pace)
    try:
        response = urllib.request.build_opener(handler).open(request, timeout=pace.next_timeout())
    except BaseException:
        for answer in handler.answers:  # errors and redirections that nobody reads to their end, with their connections
            answer.close()
        raise
    pace.received = before  # heads earn no time, or a server could end every answer behind its own
    return response


def read_length(headers: http.client.HTTPMessage) -> int | None:
    """The bytes that a server's answer announces; None where there is no number, as browsers take it."""
    text = headers.get("Content-Length", "")
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


class _Handler(urllib.request.HTTPSHandler, urllib.request.HTTPHandler):
    """Opens http and https alike, in place of the handlers that `urlopen` has; keeps the `answers` of all servers."""

    def __init__(self, pace: Pace):
        super().__init__()
        self._pace = pace
        self.answers: list[http.client.HTTPResponse] = []

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        """Opens http for `urllib` by connections whose answers are read at the pace."""
        return self._open(http.client.HTTPConnection, request)

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        """Opens https for `urllib` by connections whose answers are read at the pace."""
        return self._open(http.client.HTTPSConnection, request)

    def _open(self, kind: type[http.client.HTTPConnection], request: urllib.request.Request) -> http.client.HTTPResponse:
        """A server's answer to a request, and one more of `answers`."""
        self.answers.append(self.do_open(partial(self._connect, kind), request))
        return self.answers[-1]

    def _connect(self, kind: type[http.client.HTTPConnection], host: str, **options: Any) -> http.client.HTTPConnection:
        """A connection to a server whose answers are read at the pace."""
        connection: Any = kind(host, **options)
        connection.response_class = partial(_Response, pace=self._pace)
        return connection


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, pace: Pace, **options: Any):
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_Stream(self.fp.detach(), sock, pace))

    def read(self, amt: int | None = None) -> bytes:
        """The server's answer; without a count at most 1 MiB, as urllib reads what stands behind a redirection to its end."""
        return super().read(1 << 20 if amt is None else amt)


class _Stream(io.RawIOBase):
    """The bytes of a connection, each of which may be waited for as long as the pace says."""

    def __init__(self, raw: io.RawIOBase, sock: Any, pace: Pace):
        self._raw, self._sock, self._pace = raw, sock, pace

    def readable(self) -> bool:
        """Always True: `io` asks before it reads the connection's bytes."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Fills a buffer with the connection's next bytes, waiting as long as the pace says; returns their number."""
        self._sock.settimeout(self._pace.next_timeout())
        try:
            count = self._raw.readinto(buffer)
        except TimeoutError:
            self._pace.next_timeout()  # if all the time is used up, it says so
            raise
        self._pace.received += count or 0
        return count

    def close(self) -> None:
        """Closes the connection's bytes below it, too."""
        self._raw.close()
        super().close()
