"""Memory is counted in bytes: of pictures read ahead, in the network, and waiting to be drawn and written."""

import gc
import json
import threading
import time
import weakref
from threading import Thread

import numpy as np
import pytest
import squares
from PIL import Image

from centerkp.images.budget import Budget
from centerkp.inference import detect as detecting
from centerkp.inference import outputs
from centerkp.inference.detect import Frame, detect
from centerkp.inference.sources import find_sources
from centerkp.inference.stream import predict_sources

SIDE = 100
BYTES = 3 * SIDE * SIDE


class Alive:
    """How many pictures that were read are in memory, at most so far."""

    def __init__(self, monkeypatch):
        self.now = self.most = 0
        self.lock = threading.Lock()
        read = detecting.read_image

        def count(path, *more):
            image = read(path)
            with self.lock:
                self.now += 1
                self.most = max(self.most, self.now)
            weakref.finalize(image, self.end)
            return image

        monkeypatch.setattr(detecting, "read_image", count)

    def end(self):
        with self.lock:
            self.now -= 1


@pytest.fixture()
def alive(monkeypatch):
    return Alive(monkeypatch)


@pytest.fixture()
def folder(tmp_path):
    for i in range(40):
        squares.write_png(tmp_path / "in" / f"{i:02d}.png", ("red", i, 30, 20), size=(SIDE, SIDE))
    return tmp_path / "in"


@pytest.mark.parametrize("budget, most", [(1, 1), (3 * BYTES, 3), (5.5 * BYTES, 5), (1000 * BYTES, 40)])
def test_pictures_ahead_of_the_caller(folder, alive, monkeypatch, budget, most):
    """As many as the bytes allow, one at least; beside those, the one that the caller holds while it asks for the next."""
    monkeypatch.setattr(detecting, "PICTURE_BYTES", int(budget))
    gc.collect()
    found = []
    for result in detect(squares.SquareDetector(), sorted(folder.iterdir()), batch_size=4):
        time.sleep(0.005)
        found.append(result.detections[0].box_xyxy[0])
    np.testing.assert_allclose(found, range(40), atol=1)
    assert most - 1 <= alive.most <= most + 1 or budget > 40 * BYTES


def test_steps_of_few_pictures_are_not_filled_up(folder, monkeypatch):
    """Two huge pictures at a time through a network for eight are two rows of work, traced once."""
    monkeypatch.setattr(detecting, "PICTURE_BYTES", 2 * BYTES)
    rows = []

    class Counting(squares.SquareDetector):
        def predict_on_batch(self, inputs):
            rows.append(len(inputs["image"]))
            return super().predict_on_batch(inputs)

    assert len(list(detect(Counting(), sorted(folder.iterdir())[:7], batch_size=8))) == 7
    assert rows == [2, 2, 2, 2]
    rows.clear()
    sizes = [(1, 1)] * 9 + [(SIDE, SIDE)] * 3
    pictures = [np.zeros((h, w, 3), np.uint8) for w, h in sizes]
    assert len(list(detect(Counting(), pictures, batch_size=8))) == 12
    assert rows == [8] * 3  # a step for eight that is there already


@pytest.mark.parametrize("seed", range(4))
def test_sizes_of_all_kinds_go_through_in_order(monkeypatch, seed):
    """Larger than the budget, unreadable, videos and Pillow images among small ones: nobody waits for ever."""
    monkeypatch.setattr(detecting, "PICTURE_BYTES", 30_000)
    rng = np.random.default_rng(seed)

    def items():
        for i in range(60):
            width, height = rng.integers(1, 200, 2)
            image = np.zeros((height, width, 3), np.uint8)
            yield [image, Frame(f"frame {i}", image), Image.fromarray(image), f"missing_{i}.png"][rng.integers(4)]

    sizes = [r.size for r in detect(squares.SquareDetector(), items(), batch_size=int(rng.integers(1, 9)))]
    assert len(sizes) == 60


def test_leaving_early_ends_the_threads(folder, monkeypatch):
    monkeypatch.setattr(detecting, "PICTURE_BYTES", BYTES)
    before, started = threading.active_count(), time.monotonic()
    results = detect(squares.SquareDetector(), sorted(folder.iterdir()), batch_size=2)
    next(results)
    results.close()
    assert time.monotonic() - started < 5 and threading.active_count() == before


def test_pictures_that_wait_to_be_written(folder, tmp_path, alive, monkeypatch):
    """The writer is slow: the pictures that wait for it are bounded, too, and all are written in order."""
    for module in (detecting, outputs):
        monkeypatch.setattr(module, "PICTURE_BYTES", 2 * BYTES)
    write = outputs.write_image

    def slowly(*arguments, **options):
        time.sleep(0.01)
        return write(*arguments, **options)

    monkeypatch.setattr(outputs, "write_image", slowly)
    path = predict_sources(squares.SquareDetector(), find_sources([folder]), tmp_path / "out", batch_size=4)
    assert alive.most <= 2 + 1 + 1  # ahead; with the caller; drawn
    assert [image["file_name"] for image in json.loads(path.read_text())["images"]] == [f"{i:02d}.png" for i in range(40)]


def test_budget():
    budget = Budget(10)
    budget.take(50)  # alone
    done = []

    def take():
        budget.take(4)
        budget.take(6)
        done.append("both")
        budget.take(1)
        done.append("closed")

    thread = Thread(target=take)
    thread.start()
    time.sleep(0.05)
    assert done == []
    budget.give_back(50)
    time.sleep(0.05)
    assert done == ["both"]
    budget.close()
    thread.join(5)
    assert done == ["both", "closed"]
