"""Shows pictures as they come, in a browser: OpenCV's headless build has no windows, and a browser also looks in from afar."""

import re
import secrets
import socket
import webbrowser
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread
from typing import Any

import cv2
import numpy as np

PAGE = b"""<!doctype html><meta charset="utf-8"><title>centerkp</title>
<style>body{margin:0;background:#181a1e}img{display:block;width:100%;height:100vh;object-fit:contain}</style>
<img src="stream" alt="newest picture">"""
BOUNDARY = b"next-picture"
MAX_VIEWERS = 8
STALLED = 20  # seconds in which a viewer takes nothing of a picture, after which it is sent away


class Screen:
    """A page on this machine that shows the newest picture; a viewer that is too slow misses some, nobody waits for it.

    `address` is where it is, and `opened` whether a browser could be started. The path in it is a secret of this run, since all
    users and programs of the machine reach the port, and so does any web page, by a name of its own that leads here.
    """

    def __init__(self) -> None:
        self._picture: np.ndarray | None = None
        self._count = self._shown = 0
        self._news = Condition()
        self._closed = False
        self.path = f"/{secrets.token_urlsafe(16)}/"
        self._server = _Server(("127.0.0.1", 0), self._make_handler())
        self.port = self._server.server_address[1]
        self.address = f"http://127.0.0.1:{self.port}{self.path}"
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.opened = webbrowser.open(self.address)

    def show(self, picture_rgb: np.ndarray) -> None:
        """Shows another picture, (H, W, 3) uint8 RGB, in the browser."""
        with self._news:
            self._picture, self._count = picture_rgb, self._count + 1
            self._news.notify_all()

    def close(self, patience: float = 5.0) -> None:
        """Ends the browser's page with all its threads; one that was started here gets some seconds for the last picture."""
        with self._news:
            if self.opened and self._count:
                self._news.wait_for(lambda: self._shown >= self._count, patience)
            self._closed = True
            self._news.notify_all()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()

    def _wait_for_picture(self, seen: int) -> tuple[int, np.ndarray | None]:
        """Waits for a picture to show that is newer than number `seen`."""
        with self._news:
            self._news.wait_for(lambda: self._count > seen or self._closed)
            return (self._count, self._picture) if self._count > seen else (seen, None)

    def _mark_shown(self, number: int) -> None:
        """Notes that a browser has got picture number `number` to show."""
        with self._news:
            self._shown = max(self._shown, number)
            self._news.notify_all()

    def _make_handler(self) -> type[BaseHTTPRequestHandler]:
        """How the page of the screen answers a browser: the page itself, and the stream of pictures."""
        screen = self

        class Handler(BaseHTTPRequestHandler):
            timeout = STALLED
            disable_nagle_algorithm = True  # the end of a picture does not wait until its beginning is acknowledged

            def do_GET(self) -> None:  # noqa: N802
                # A tunnel has a port of its own; a name that is not this machine's is that of a page which wants to look in.
                host = self.headers.get("Host", "").lower()
                with suppress(OSError):  # the viewer has left, or takes nothing
                    if not re.fullmatch(r"(127\.0\.0\.1|localhost)(:\d+)?", host) or not self.path.startswith(screen.path):
                        self.send_error(404)
                    elif self.path == screen.path:
                        self._begin("text/html", len(PAGE))
                        self.wfile.write(PAGE)
                    elif self.path == f"{screen.path}stream":
                        self._stream()
                    else:
                        self.send_error(404)

            def _begin(self, kind: str, length: int | None = None) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Cache-Control", "no-store")
                self.send_header("Referrer-Policy", "no-referrer")
                if length is not None:
                    self.send_header("Content-Length", str(length))
                self.end_headers()

            def _stream(self) -> None:
                self._begin(f"multipart/x-mixed-replace; boundary={BOUNDARY.decode()}")
                number, picture = screen._wait_for_picture(0)
                self.wfile.write(b"--" + BOUNDARY)
                while picture is not None:
                    data = cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes()
                    head = b"\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data)
                    # The boundary behind a picture tells the browser that it is whole.
                    self.wfile.write(head + data + b"\r\n--" + BOUNDARY)
                    screen._mark_shown(number)
                    number, picture = screen._wait_for_picture(number)
                self.wfile.write(b"--\r\n")

            def log_message(self, *_: object) -> None:
                pass

        return Handler


class _Server(ThreadingHTTPServer):
    """Has a bounded number of connections, and can end them all: no thread outlives it, which would abort the process."""

    daemon_threads = False  # those are not waited for

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._connections: set[socket.socket] = set()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Lets a browser see the screen unless `MAX_VIEWERS` do already."""
        return len(self._connections) < MAX_VIEWERS

    def process_request(self, request: Any, client_address: Any) -> None:
        """Keeps the connection of a browser that begins to look, and answers it in a thread."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forgets the connection of a browser that has left, and closes it."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of a browser's connection that breaks."""

    def hang_up(self) -> None:
        """Ends every browser's connection, whatever its thread waits for."""
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
