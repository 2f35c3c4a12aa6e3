"""What stands between JAX and process 0: it carries bytes both ways, and keeps the end of process 0 to itself."""

import socket
import subprocess
import sys

import pytest

from centerkp.distribution import relay


@pytest.fixture
def far():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def near(far):
    command = [sys.executable, "-IS", relay.__file__, "127.0.0.1", str(far.getsockname()[1])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        address = "127.0.0.1", int(program.stdout.readline())
        program.terminate()  # as schedulers do it to all processes, which then save first
        yield address
        program.stdin.close()
        assert program.wait(30) == 0


def test_what_is_said_is_carried_and_the_end_of_process_0_is_not(far, near):
    with socket.create_connection(near) as ours:
        theirs = far.accept()[0]
        ours.sendall(b"question")
        assert theirs.recv(100) == b"question"
        theirs.sendall(b"answer")
        assert ours.recv(100) == b"answer"
        theirs.close()
        ours.settimeout(0.5)
        with pytest.raises(TimeoutError):
            ours.recv(100)
        ours.sendall(b"is anybody there?")
        ours.sendall(b"is anybody there?")


def test_before_process_0_is_there_nobody_answers(far, near):
    far.close()
    with socket.create_connection(near) as ours:
        assert ours.recv(100) == b""


def test_when_this_process_goes_the_other_end_is_closed(far, near):
    with socket.create_connection(near):
        theirs = far.accept()[0]
    assert theirs.recv(100) == b""
    theirs.close()
