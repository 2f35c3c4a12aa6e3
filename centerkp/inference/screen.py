"""Shows pictures as they come, in a browser: OpenCV's headless build has no windows, and a browser also looks in from afar."""

import webbrowser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread

import cv2
import numpy as np

PAGE = b"""<!doctype html><meta charset="utf-8"><title>centerkp</title>
<style>body{margin:0;background:#181a1e}img{display:block;width:100%;height:100vh;object-fit:contain}</style>
<img src="stream" alt="newest picture">"""
BOUNDARY = b"next-picture"


class Screen:
    """A page on this machine that shows the newest picture; a viewer that is too slow misses some, nobody waits for it.

    `address` is where it is, and `opened` whether a browser could be started.
    """

    def __init__(self):
        self._picture: np.ndarray | None = None
        self._count = self._shown = 0
        self._news = Condition()
        self._closed = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.address = f"http://127.0.0.1:{self.port}/"
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.opened = webbrowser.open(self.address)

    def show(self, picture_rgb: np.ndarray) -> None:
        """Replaces the picture, (H, W, 3) uint8 RGB."""
        with self._news:
            self._picture, self._count = picture_rgb, self._count + 1
            self._news.notify_all()

    def close(self, patience: float = 5.0) -> None:
        """Ends the page; a browser that was started here gets some seconds to come for the last picture."""
        with self._news:
            if self.opened and self._count:
                self._news.wait_for(lambda: self._shown >= self._count, patience)
            self._closed = True
            self._news.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def _next(self, seen: int) -> tuple[int, np.ndarray | None]:
        """Waits for a picture newer than number `seen`."""
        with self._news:
            self._news.wait_for(lambda: self._count > seen or self._closed)
            return (self._count, self._picture) if self._count > seen else (seen, None)

    def _mark_shown(self, number: int) -> None:
        with self._news:
            self._shown = max(self._shown, number)
            self._news.notify_all()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        screen = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):  # noqa: N802
                if self.path == "/":
                    self._send(b"text/html", PAGE)
                elif self.path == "/stream":
                    try:
                        self._stream()
                    except OSError:
                        pass  # the viewer has left
                else:
                    self.send_error(404)

            def _send(self, kind: bytes, content: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind.decode())
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def _stream(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY.decode()}")
                self.end_headers()
                number, picture = screen._next(0)
                self.wfile.write(b"--" + BOUNDARY)
                while picture is not None:
                    data = cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes()
                    head = b"\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data)
                    # The boundary behind a picture tells the browser that it is whole.
                    self.wfile.write(head + data + b"\r\n--" + BOUNDARY)
                    screen._mark_shown(number)
                    number, picture = screen._next(number)
                self.wfile.write(b"--\r\n")

            def log_message(self, *_):
                pass

        return Handler
