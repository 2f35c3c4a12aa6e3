"""The accelerators of a machine, as they are described here: how many of them train, and what they are."""

import subprocess
from types import SimpleNamespace

import pytest

from centerkp.distribution import devices
from centerkp.distribution.devices import check_shares, choose_devices, find_accelerator, require_jax
from centerkp.settings.training import TrainSettings

GPUS = [SimpleNamespace(platform="gpu")] * 4


@pytest.mark.parametrize("asked, there, processes, chosen, line", [
    (None, 1, 1, 1, ""),
    (None, 4, 1, 1, "devices: 1, because there are 4 gpus, and nobody asked for more (--devices all trains on them together)"),
    ("all", 4, 1, 4, "devices: 4, of 4 gpus, as asked for"),
    (2, 4, 1, 2, "devices: 2, of 4 gpus, as asked for"),
    (None, 4, 3, 4, "devices: 12, 3 processes of 4 gpus each"),
    (1, 4, 3, 1, "devices: 3, 3 processes of 1 gpu each"),
])  # fmt: skip
def test_how_many_train(asked, there, processes, chosen, line):
    assert choose_devices(TrainSettings(devices=asked), GPUS[:there], processes) == (chosen, line)


def test_more_than_there_are():
    with pytest.raises(ValueError, match="found 4 gpus here, expected 8; take --devices 4, or --devices all"):
        choose_devices(TrainSettings(devices=8), GPUS, 1)


@pytest.mark.parametrize("size, words", [
    (12, "found 12 on 8 devices, .* take --batch-size 16"),
    ("auto", "found auto on 8 devices, .* take --batch-size 8"),
])  # fmt: skip
def test_what_cannot_be_shared_out(size, words):
    with pytest.raises(ValueError, match=words):
        check_shares(TrainSettings(batch_size=size), 8)


def test_what_can_be_shared_out():
    check_shares(TrainSettings(batch_size=16), 8)
    check_shares(TrainSettings(batch_size="auto"), 1)


def test_other_backends_are_told_of_jax(monkeypatch):
    monkeypatch.setattr(devices.keras.backend, "backend", lambda: "tensorflow")
    require_jax(TrainSettings(devices=1))
    for asked in (2, "all"):
        with pytest.raises(ValueError, match=f"found '{asked}' on the tensorflow backend, .* set KERAS_BACKEND=jax"):
            require_jax(TrainSettings(devices=asked))


def test_this_machine():
    found = find_accelerator()
    assert found is None or found[1] is None or found[1] > 1


def test_memory_of_a_gpu(monkeypatch):
    """As the driver's tool lists it: the smallest of several, nothing where it fails."""
    answers = iter(["81559\n24576\n", "No devices were found\n"])
    monkeypatch.setattr(devices.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 0, next(answers), ""))
    monkeypatch.setattr(devices.keras.distribution, "list_devices", lambda: ["cpu:0", "gpu:0"])
    monkeypatch.setattr(devices.keras.backend, "backend", lambda: "tensorflow")
    assert find_accelerator() == ("gpu:0", pytest.approx(25.77, abs=0.01))
    assert find_accelerator() == ("gpu:0", None)
