"""A real server on this machine around a detector of squares."""

import http.client
import json
from contextlib import contextmanager
from threading import Thread

import squares

from centerkp.serving.app import make_app
from centerkp.serving.server import make_server, open_socket
from centerkp.serving.worker import Worker


class Running:
    def __init__(self, detector, worker, server, service, port):
        self.detector, self.worker, self.server, self.service, self.port = detector, worker, server, service, port
        self.address = f"http://127.0.0.1:{port}/"

    def ask(self, method, path, body=None, **headers):
        """Status, headers and JSON (or text) of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            text = answer.read().decode()
            is_json = answer.headers.get_content_type() == "application/json"
            return answer.status, answer.headers, json.loads(text) if is_json else text
        finally:
            connection.close()

    def predict(self, *pictures, query="", **headers):
        """The answer to a form of (name, bytes)."""
        form = b"".join(
            b'--limit\r\nContent-Disposition: form-data; name="f"; filename="%s"\r\n\r\n%s\r\n' % (name.encode(), data)
            for name, data in pictures
        )
        kind = {"Content-Type": "multipart/form-data; boundary=limit"}
        return self.ask("POST", f"/predict{query}", form + b"--limit--\r\n", **kind | headers)


@contextmanager
def running(detector=None, *, batch_size=8, **options):
    detector = detector or squares.SquareDetector()
    listening = open_socket("127.0.0.1", 0)
    with Worker(detector, batch_size) as worker:
        app, service = make_app(worker, "squares", **options)
        server = make_server(app)
        thread = Thread(target=server.run, args=([listening],))
        thread.start()
        yield Running(detector, worker, server, service, listening.getsockname()[1])
        server.should_exit = True
        thread.join()
