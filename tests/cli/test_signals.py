"""SIGTERM and SIGHUP are what Ctrl-C is: `main` says so, its exit code says which, and afterwards they do what they did."""

import os
import signal
import time
from importlib.machinery import ExtensionFileLoader

import pytest

from centerkp.cli import main, signals
from centerkp.cli.signals import Interrupted, as_interrupts

NUMBERS = (signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def usual():
    """Whose tests run in the background of a script, has a shell that makes its children deaf to some."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in NUMBERS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_command_ends_with_the_code_of_the_signal(number, code, monkeypatch, capsys):
    monkeypatch.setattr(signals, "_leave_terminal", lambda: None)  # which is the test's own
    monkeypatch.setattr("centerkp.labels.splitting.split_coco", lambda *_, **__: signal.raise_signal(number))
    assert main(["split", "ann.json"]) == code
    assert capsys.readouterr().err == "\ninterrupted\n"
    assert [signal.getsignal(n) for n in NUMBERS] == [signal.SIG_DFL] * 2


def test_one_is_enough(monkeypatch):
    """A scheduler or terminal that sends two does not break off what completes the files; one that comes much later does."""
    with as_interrupts():
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGHUP)
        monkeypatch.setattr(signals, "PATIENCE", 0)
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGTERM)


def test_who_is_deaf_stays_deaf():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    with as_interrupts():
        signal.raise_signal(signal.SIGHUP)


def test_waits_until_a_library_is_loaded():
    """An exception inside the initialisation of a library in C++ aborts the process."""
    steps = []

    class Loader(ExtensionFileLoader):
        def exec_module(self, module):
            os.kill(os.getpid(), signal.SIGTERM)
            steps.append("loaded")

    with pytest.raises(Interrupted), as_interrupts():
        Loader("library", "library.so").exec_module(None)
        steps.append("went on")
        time.sleep(30)
        steps.append("ended")
    assert steps == ["loaded", "went on"]
