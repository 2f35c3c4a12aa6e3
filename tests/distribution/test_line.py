"""Three processes that talk, of which one may die: without JAX, and with nothing to compute."""

import subprocess
import sys

import pytest

# Process 0 publishes where it listens by a file, as JAX does by the devices.
PROGRAM = """
import os, sys, time
from pathlib import Path
from centerkp.distribution import line as room
from centerkp.distribution.line import Line

room.BEAT, room.SILENCE = 0.5, 3
index, place = int(sys.argv[1]), Path(sys.argv[2])

def publish(content):
    if index == 0:
        place.with_suffix(".part").write_bytes(content)
        os.rename(place.with_suffix(".part"), place)
    while not place.exists():
        time.sleep(0.01)
    return place.read_bytes()

line = Line(index, 3, "localhost", publish)
print(line.tell({"first": index}), line.gather(index * 10), line.gather("x" * index), flush=True)
"""
TOLD = "{'first': 0} [0, 10, 20] ['', 'x', 'xx']\n"


def start(tmp_path, ending):
    command = [sys.executable, "-c", PROGRAM + ending]
    pipe = subprocess.PIPE
    return [
        subprocess.Popen([*command, str(i), str(tmp_path / "place")], stdout=pipe, stderr=pipe, text=True) for i in range(3)
    ]


def test_all_know_what_one_says(tmp_path):
    ended = [(one.communicate(timeout=60), one.returncode) for one in start(tmp_path, "line.gather(None); line.close()")]
    assert ended == [((TOLD, ""), 0)] * 3


@pytest.mark.parametrize("victim", [0, 2])
@pytest.mark.parametrize("ending", ["os.kill(os.getpid(), 9)", "line.abandon(); time.sleep(30)"])
def test_the_end_of_one_ends_all_with_a_sentence(tmp_path, victim, ending):
    """Killed or by an error of its own; the others hang in what would never come."""
    processes = start(tmp_path, f"if index == {victim}:\n    {ending}\ntime.sleep(600)")
    others = [i for i in range(3) if i != victim]
    for i in others:
        said = processes[i].communicate(timeout=30)[1]
        assert processes[i].returncode == 2
        assert said.startswith(f"\nerror: process {i} of 3: found process {victim} gone, expected all to the end")
    processes[victim].kill()
    processes[victim].communicate()


@pytest.mark.parametrize("victim", [0, pytest.param(2, marks=pytest.mark.long)])
def test_one_that_is_stopped_ends_all_with_a_sentence(tmp_path, victim):
    """Its connections stay open, and the system goes on to answer for it."""
    busy = "until = time.monotonic() + 5\nwhile time.monotonic() < until: pass\n"  # which is no silence
    processes = start(tmp_path, f"{busy}if index == {victim}: os.kill(os.getpid(), 19)\nline.gather(None)")
    for i in {0, 1, 2} - {victim}:
        said = processes[i].communicate(timeout=60)[1]
        assert processes[i].returncode == 2
        assert said.startswith(f"\nerror: process {i} of 3: found process {victim} silent for 3 s, expected all to the end")
    processes[victim].kill()
    processes[victim].communicate()


def test_what_is_long_arrives_whole(tmp_path):
    long = "line.gather(list(range(index, 900_000)))"
    ended = start(tmp_path, f"print([len(one) for one in {long}], sum(line.tell(list(range(900_000))))); line.close()")
    for one in ended:
        assert one.communicate(timeout=60) == (f"{TOLD}[900000, 899999, 899998] 404999550000\n", "")


def test_nobody_without_the_key_is_heard(tmp_path):
    from multiprocessing.connection import Client

    processes = start(tmp_path, "line.close()")
    processes[1].kill()
    place = tmp_path / "place"
    while not place.exists():
        pass
    machine, port, _ = place.read_text().strip().rsplit(":", 2)
    with pytest.raises(Exception, match="digest|closed|reset|EOF|Errno") as refused:
        Client((machine, int(port)), authkey=b"guessed").send(1)
    assert refused.type.__name__ in ("AuthenticationError", "EOFError", "ConnectionResetError")
    for one in processes:
        one.kill()
        one.communicate()
