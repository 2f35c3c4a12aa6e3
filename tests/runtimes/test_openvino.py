"""What several threads ask of an OpenVINO model at the same time."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import numpy as np

from centerkp.runtimes.openvino import OpenVinoDetector


class OneSetOfOutputs:
    """A compiled model as OpenVINO's: what is asked while it computes gives the answer to both."""

    compiled = 0

    def __init__(self, *_):
        type(self).compiled += 1

    def __call__(self, inputs, share_inputs):
        self.image = inputs[0]
        time.sleep(0.002)
        return {"boxes": self.image.copy()}


def test_pictures_of_any_size_are_computed_one_after_another(monkeypatch):
    monkeypatch.setattr(OneSetOfOutputs, "compiled", 0)
    detector = OpenVinoDetector.__new__(OpenVinoDetector)
    detector.path, detector._outputs, detector._images, detector._lock = "m.xml", ("boxes",), None, Lock()
    detector._compile = OneSetOfOutputs
    images = np.arange(8).reshape(8, 1)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(detector.run_images, images))
    assert [one["boxes"].tolist() for one in found] == images.tolist() and OneSetOfOutputs.compiled == 1
