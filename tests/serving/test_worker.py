"""Many requests at once: full batches, and every answer that of its own picture."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import cv2
import numpy as np
import pytest
import squares
from served import running

from centerkp.images.packed import ImageBytes
from centerkp.serving.limits import Limits
from centerkp.serving.worker import Worker


def png(x, side=20):
    return cv2.imencode(".png", squares.draw(("red", x, 30, side))[..., ::-1])[1].tobytes()


class Gate(squares.SquareDetector):
    """Waits at its first picture until it is opened; knows how many pictures with a square each batch had."""

    def __init__(self):
        super().__init__()
        self.opened, self.reached, self.batches = Event(), Event(), []

    def predict_on_batch(self, inputs):
        self.batches.append(sum(bool(squares.find_squares(image)) for image in np.asarray(inputs["image"])))
        self.reached.set()
        assert self.opened.wait(60)
        return super().predict_on_batch(inputs)


def wait_for(condition):
    ends = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_concurrent_requests_are_batched():
    """What comes while the network is busy is one stream of full batches, whatever request it is from."""
    gate = Gate()
    with running(gate, batch_size=4) as served, ThreadPoolExecutor(20) as pool:
        first = pool.submit(served.predict, ("first.png", png(1)))
        assert gate.reached.wait(60)
        others = [pool.submit(served.predict, *[(f"{x}-{n}.png", png(x + n)) for n in range(1 + x % 2)]) for x in range(2, 18)]
        wait_for(lambda: len(served.worker._waiting) == 16)
        gate.opened.set()
        assert first.result()[2]["annotations"][0]["bbox"] == [1, 30, 20, 20]
        for x, answer in enumerate(others, 2):
            status, _, found = answer.result()
            assert status == 200
            assert [image["file_name"] for image in found["images"]] == [f"{x}-{n}.png" for n in range(1 + x % 2)]
            assert [one["bbox"] for one in found["annotations"]] == [[x + n, 30, 20, 20] for n in range(1 + x % 2)]
        assert gate.batches == [1, *[4] * 6]


def test_a_hundred_clients():
    with running(squares.SquareDetector(0.01), batch_size=8) as served, ThreadPoolExecutor(100) as pool:
        answers = pool.map(lambda n: served.predict((f"{n}.png", png(n % 70))), range(300))
        for n, (status, _, found) in enumerate(answers):
            assert status == 200 and found["images"][0]["file_name"] == f"{n}.png"
            assert [one["bbox"] for one in found["annotations"]] == [[n % 70, 30, 20, 20]]
        assert served.detector.calls < 200 and served.service.pictures == 300


def test_no_more_than_may_wait():
    gate = Gate()
    with running(gate, limits=Limits(waiting=2)) as served, ThreadPoolExecutor(2) as pool:
        inside = [pool.submit(served.predict, ("a.png", png(x))) for x in (3, 4)]
        wait_for(lambda: served.service.door.requests == 2)
        status, headers, content = served.predict(("a.png", png(5)))
        assert status == 503 and headers["Retry-After"] == "1"
        assert content["error"] == "found 2 requests waiting, expected at most 2; try again later."
        assert served.ask("GET", "/health")[2]["requests"] == 2
        gate.opened.set()
        assert [one.result()[0] for one in inside] == [200, 200]
        assert served.predict(("a.png", png(5)))[0] == 200


def test_no_more_bytes_than_there_is_memory_for(monkeypatch):
    gate = Gate()
    monkeypatch.setattr("centerkp.serving.limits.MEMORY", 500)
    with running(gate) as served, ThreadPoolExecutor(1) as pool:
        alone = pool.submit(served.ask, "POST", "/predict", png(3))  # one is always let in
        assert gate.reached.wait(60)
        status, _, content = served.ask("POST", "/predict", png(5))
        assert status == 503 and "found no memory for more requests beside" in content["error"]
        gate.opened.set()
        assert alone.result()[0] == 200
        assert served.service.door.bytes == served.service.door.requests == 0


def test_whoever_leaves_costs_nothing():
    gate = Gate()
    with running(gate) as served, ThreadPoolExecutor(2) as pool:
        first = pool.submit(served.predict, ("a.png", png(1)))
        assert gate.reached.wait(60)
        data = png(9)
        leaver = socket.create_connection(("127.0.0.1", served.port))
        leaver.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data))
        wait_for(lambda: len(served.worker._waiting) == 1)
        leaver.close()
        wait_for(lambda: served.service.door.requests == 1)
        gate.opened.set()
        assert first.result()[0] == 200 and served.predict(("a.png", png(1)))[0] == 200
        assert gate.batches == [1, 1] and served.service.pictures == 2


class Failing(squares.SquareDetector):
    """Fails at every other batch."""

    def predict_on_batch(self, inputs):
        found = super().predict_on_batch(inputs)
        if self.calls % 2:
            raise RuntimeError("the detector is broken")
        return found


def test_a_detector_that_fails_stops_nobody_else(caplog):
    with running(Failing()) as served:
        for _ in range(2):
            status, _, content = served.predict(("a.png", png(3)), ("b.png", png(3)))
            assert status == 500 and content["error"].startswith("predict: the model failed at these pictures")
            wait_for(lambda: "the detector is broken" in caplog.text)
            caplog.clear()
            assert served.predict(("a.png", png(3)))[0] == 200
        assert served.service.door.requests == 0


def test_worker_ends_with_what_was_submitted():
    with Worker(squares.SquareDetector(0.05), 1) as worker:
        submitted = [worker.submit([ImageBytes(f"{x}", png(x))]) for x in range(3)]
    assert [one.result(0)[0].detections[0].box_xyxy[0] for one in submitted] == [0, 1, 2]
    assert submitted[0].result()[0].pixels is None
    with pytest.raises(RuntimeError, match="has ended"):
        worker.submit([ImageBytes("late", png(1))])
    with pytest.raises(ValueError, match="batch_size: found 0"):
        Worker(squares.SquareDetector(), 0)
