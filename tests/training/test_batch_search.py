"""The search for a batch size: on machines that are described here, and once on this one with trials of its own."""

import io
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from centerkp.schema import Schema
from centerkp.settings.training import TrainSettings
from centerkp.training import batch_search, batch_trial
from centerkp.training.batch_search import Search, choose_batch_size, find_largest

SCHEMA = Schema.generic(1, 2)
RECORDS = [SimpleNamespace(boxes_xyxy=np.zeros((count, 4))) for count in (0, 3)]


class Machine:
    """Holds batches up to a size; notes the sizes that were tried, those of a process in a list of their own."""

    def __init__(self, most):
        self.most, self.processes = most, []

    def try_sizes(self, sizes):
        fitting = [size for size in sizes if size <= self.most]
        self.processes.append([*fitting, *[size for size in sizes if size > self.most][:1]])
        return fitting


@pytest.mark.parametrize("holds, first, most, found, processes", [
    (1000, 4, 100, 100, [[4, 8, 16, 32, 64, 100]]),
    (27, 4, 100, 24, [[4, 8, 16, 32], [24], [28]]),
    (3, 8, 100, 3, [[8], [4], [2], [3]]),
    (1, 8, 100, 1, [[8], [4], [2], [1]]),
    (0, 4, 100, 0, [[4], [2], [1]]),
    (5, 4, 4, 4, [[4]]),
    (0, 1, 1, 0, [[1]]),
])  # fmt: skip
def test_few_trials_find_the_largest(holds, first, most, found, processes):
    machine = Machine(holds)
    assert find_largest(first, most, machine.try_sizes) == found
    assert machine.processes == processes


@pytest.fixture
def choose(monkeypatch):
    """Chooses a batch size for so many images, on a machine that holds so many."""

    def run(images, holds, **settings):
        monkeypatch.setattr(Search, "try_sizes", lambda self, sizes: Machine(holds).try_sizes(sizes))
        network = {"backbone": "efficientnet_lite0_fpn", "weights": "none", "image_size": 320}
        settings = TrainSettings(batch_size="auto", **network, **settings).resolve()
        return choose_batch_size(settings, SCHEMA, RECORDS, images, Console(file=io.StringIO()))

    return run


@pytest.mark.parametrize("images, holds, given, batch, rate", [
    (1000, 8, {}, 8, 1e-3 * 2**0.5),
    (1000, 64, {}, 64, 2e-3),  # twice at most
    (1000, 1, {}, 1, 0.5e-3),
    (1000, 999, {}, 100, 2e-3),  # ten steps an epoch
    (20, 999, {}, 4, 1e-3),  # but the usual size
    (3, 999, {}, 3, 1e-3 * 0.75**0.5),
    (1000, 4, {"accumulate": 4}, 4, 2e-3),
    (1000, 64, {"learning_rate": 0.5}, 64, 0.5),
])  # fmt: skip
def test_rate_grows_with_the_step(choose, images, holds, given, batch, rate):
    settings, lines = choose(images, holds, **given)
    assert (settings.batch_size, settings.learning_rate) == (batch, pytest.approx(rate))
    assert lines[0].startswith(f"batch size: {batch}, tried")
    assert (len(lines) == 2) == (rate not in (1e-3, 0.5))


def test_not_one_image_is_one_sentence(choose):
    with pytest.raises(ValueError, match=r"--batch-size auto: found no memory for a step of one image of 320, .* --remat"):
        choose(1000, 0)


def test_numbers_are_kept():
    settings = TrainSettings(batch_size=7).resolve()
    assert choose_batch_size(settings, SCHEMA, RECORDS, 100, Console(file=io.StringIO())) == (settings, [])


def fake_trial(monkeypatch, code):
    """Runs a program in place of the trial, with the job as `job`."""
    real = subprocess.Popen
    program = f"import json, os, sys, time\njob = json.load(sys.stdin)\n{code}"
    monkeypatch.setattr(batch_search.subprocess, "Popen", lambda _, **options: real([sys.executable, "-c", program], **options))


def make_search(seconds=100.0):
    return Search({}, seconds, Console(file=io.StringIO()))


@pytest.mark.parametrize("end", [
    "sys.exit(3)", "os.kill(os.getpid(), 9)", "os.abort()", "held = bytearray(10**8); time.sleep(60)",
])  # fmt: skip
def test_whatever_ends_a_trial_does_not_fit(monkeypatch, end):
    """A library that says so, the kernel, a library that gives up, and more memory than may be."""
    fake_trial(monkeypatch, f"for size in job['sizes']:\n    if size == 8: {end}\n    print(size, flush=True)")
    search = make_search()
    search.limits = {"resident": 6 * 10**7}
    assert search.try_sizes([2, 4, 8, 16]) == [2, 4]
    assert search.explain("").startswith("tried: 2, 4 fit, 8 does not in 0.1 GB (")


def test_a_fault_is_no_lack_of_memory(monkeypatch):
    fake_trial(monkeypatch, "raise KeyError('backbone')")
    with pytest.raises(ValueError, match=r"found a trial that failed \(KeyError: 'backbone'\)"):
        make_search().try_sizes([4])


def test_time_ends_a_search_that_has_found_something(monkeypatch):
    fake_trial(monkeypatch, "print(job['sizes'][0], flush=True)\ntime.sleep(60)")
    search = make_search(seconds=0.0)
    assert search.try_sizes([4, 8]) == [4] and search.try_sizes([6]) == []
    assert "no more in the time for it" in search.explain("")


@pytest.mark.long
def test_a_real_trial():
    """The smallest network, in the format that the run has."""
    network = {"backbone": "hourglass_10", "weights": "none", "image_size": 64, "precision": "float32"}
    settings = TrainSettings(**network, batch_size="auto")
    job = {"settings": settings.to_dict(), "schema": SCHEMA.get_config(), "objects": 2, "sizes": [2]}
    done = subprocess.run(
        [sys.executable, "-m", batch_trial.__name__], input=json.dumps(job), capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("2\n", 0), done.stderr
