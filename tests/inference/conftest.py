"""What several tests of inference share."""

import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest
import squares


@pytest.fixture()
def server(tmp_path):
    """Serves /good.png, /deep.png (16 bits, all 7530), /lies.png (shorter than announced), /page.png (not an image).

    Everything else is 404.
    """
    deep = cv2.imencode(".png", np.full((8, 8), 7530, np.uint16))[1].tobytes()
    data = squares.write_png(tmp_path / "served.png", ("red", 10, 20, 30)).read_bytes()
    clip = squares.write_clip(tmp_path / "served.avi", squares.moving_square(5)).read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/camera":
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
                self.end_headers()
                with suppress(OSError):
                    for image in squares.moving_square(20):
                        picture = cv2.imencode(".jpg", image[..., ::-1])[1].tobytes()
                        head = b"--next\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture)
                        self.wfile.write(head + picture + b"\r\n")
                return
            content, length = {
                "/good.png": (data, len(data)),
                "/deep.png": (deep, len(deep)),
                "/lies.png": (data[:100], len(data)),
                "/huge.png": (data, 10**12),
                "/page.png": (b"<html>", 6),
                "/get": (clip, len(clip)),
            }.get(self.path.split("?")[0], (None, 0))
            if content is None:
                return self.send_error(404)
            self.send_response(200)
            self.send_header("Content-Type", "video/x-msvideo" if self.path.startswith("/get") else "image/png")
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=web.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{web.server_address[1]}"
    web.shutdown()
    web.server_close()
