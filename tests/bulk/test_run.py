"""Whole runs under a Ray that is started once: workers that die, a driver that is killed, and what the user is told."""

import gc
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import centerkp.bulk.run as bulk_run
from centerkp.bulk.parts import Worker
from centerkp.cli import main
from centerkp.console import import_quietly, native_silence

ROOT = Path(__file__).parents[2]


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(scope="module")
def handlers():
    return [signal.getsignal(number) for number in SIGNALS]


@pytest.fixture(scope="module", autouse=True)
def ray(handlers):
    """Without its log: pytest keeps its records, their tracebacks keep the workers of a run, and the next waits for theirs."""
    logging.disable(logging.ERROR)
    connection = bulk_run.connect_ray(None)
    with native_silence():
        ray = connection.__enter__()
    yield ray
    connection.__exit__(None, None, None)
    logging.disable(logging.NOTSET)


@pytest.fixture()
def command(source, exported, tmp_path):
    gc.collect()  # the workers of the run before end with Ray's handles of them, which cycles hold where one has died
    out = str(tmp_path / "out")
    return ["bulk", str(source), "--weights", str(exported), "--out", out, "--score", "0.01", "--part-size", "4"]


def read_rows(out) -> list[dict]:
    return [row for path in sorted(out.glob("predictions-*.parquet")) for row in pq.read_table(path).to_pylist()]


def say(capsys) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_signals_stay_those_of_the_process(handlers):
    """Ray's own handler, left behind, ended whatever ran in the process later, and not with the signal's exit code."""
    assert [signal.getsignal(number) for number in SIGNALS] == handlers


@pytest.mark.long
def test_workers_that_die(command, tmp_path, capsys, monkeypatch):
    """One once, by a signal in the middle of its work; another whenever it has a certain part, and the others are done."""
    died = tmp_path / "died"

    class Mortal(Worker):  # in this place, so that it is sent to the workers and not looked for by them
        def _write_part(self, part, answer):
            if part == 4 or part == 1 and not died.exists():
                died.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            super()._write_part(part, answer)

    monkeypatch.setattr(bulk_run, "Worker", Mortal)
    monkeypatch.setattr(bulk_run, "TRIES", 1)
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "found 6 of 7 parts done, expected all: the workers of the others died 2 times" in error
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("predictions-*")}
    assert died.exists() and len(before) == 6
    monkeypatch.undo()
    gc.collect()
    assert main(command) == 0
    assert "16 files in 7 parts, 6 of them done" in say(capsys)
    names = [row["image"] for row in read_rows(tmp_path / "out")]
    assert len(names) == len(set(names)) == 20
    assert before == {path: path.stat().st_mtime_ns for path in before}


@pytest.mark.long
def test_a_killed_run_is_gone_on_with(command, model, tmp_path, capsys):
    """By Keras, which the workers import."""
    out, command[3] = tmp_path / "out", str(model)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    killed = subprocess.Popen([sys.executable, "-m", "centerkp", *command], env=environment, start_new_session=True)
    until = time.monotonic() + 240
    while not list(out.glob("predictions-*.parquet")) and killed.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    assert main(command) == 0
    text = say(capsys)
    assert "16 files in 7 parts, " in text and "1 fault, in the column error, such as: sub/05b.png: found no" in text
    assert "1 worker of " in text and "least score 0.01, as given" in text and "images/s" in text
    rows = read_rows(out)
    assert len({row["image"] for row in rows}) == len(rows) == 20
    assert main(command) == 0 and "16 files in 7 parts, 7 of them done" in say(capsys)


@pytest.mark.long
def test_a_fault_of_the_model_ends_the_run(command, tmp_path, capsys):
    command[3] = str(tmp_path / "bad.keras")
    Path(command[3]).write_bytes(b"no model")
    assert main(command) == 2
    error = capsys.readouterr().err
    assert (
        "bad.keras: not a readable centerkp model" in error
        and "Traceback" not in error
        and len(error.strip().splitlines()) == 1
    )


def test_numbers_that_cannot_be(command, capsys):
    for flag in ("--batch-size", "--max-objects", "--workers"):
        assert main([*command, flag, "0"]) == 2
        assert f"{flag[2:].replace('-', '_')}: found 0, expected 1 or more." in capsys.readouterr().err


def test_without_ray(command, capsys, monkeypatch):
    def miss(name):
        raise ModuleNotFoundError(name=name.split(".")[0])

    monkeypatch.setattr("centerkp.console.import_module", miss)
    assert main(command) == 2
    assert "run: pip install 'centerkp[ray]'" in capsys.readouterr().err


def test_nothing_phones_home():
    import_quietly("centerkp")
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
