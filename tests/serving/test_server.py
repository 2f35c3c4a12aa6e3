"""The command: its flags, its words, and its end."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import squares

from centerkp.cli import commands
from centerkp.inference import model_loading
from centerkp.serving import server
from centerkp.serving.server import describe_address, is_local, open_socket

TESTS = Path(__file__).parents[1]
CHILD = """
import sys
import squares
from centerkp.cli import commands
from centerkp.inference import model_loading

model_loading.load_for_use = lambda weights, **_: squares.SquareDetector(1.0)
sys.exit(commands.main(["serve", "m.keras", "--port", "0", "--batch-size", "1"]))
"""


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_when_the_work_is_done(tmp_path, sent):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)]), "PYTHONUNBUFFERED": "1"}
    environment["KERAS_BACKEND"] = "jax"  # which is read in a third of the time; there is no network here
    command = [sys.executable, "-c", CHILD]
    with (
        subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process,
        ThreadPoolExecutor(2) as pool,
    ):
        lines = []
        while not (found := re.search(r"is at http://127\.0\.0\.1:(\d+) ", lines[-1] if lines else "")):
            lines.append(process.stdout.readline())
            assert lines[-1], process.stderr.read()
        data = squares.write_png(tmp_path / "a.png", ("red", 10, 10, 40)).read_bytes()

        def ask(method, path, body=None):
            with closing(http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=600)) as connection:
                connection.request(method, path, body)
                answer = connection.getresponse()
                return answer.status, json.loads(answer.read())

        inside = [pool.submit(ask, "POST", "/predict", data) for _ in range(2)]
        while ask("GET", "/health")[1]["requests"] < 2:
            pass
        process.send_signal(sent)
        for one in inside:
            status, content = one.result()
            assert status == 200 and content["annotations"][0]["bbox"] == [10, 10, 40, 40]
        said, errors = process.communicate(timeout=600)
    assert process.returncode == 0 and "ended; 2 pictures answered" in said, said + errors
    assert "Traceback" not in errors
    assert "".join(lines).startswith("least score 0.3, since none is stored") and "m.keras, 2 classes, is at" in lines[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.fixture()
def asked(monkeypatch):
    """What the command asks of loading and serving, in place of a network and a server."""
    asked = {}
    monkeypatch.setattr(commands, "import_quietly", lambda name: None)
    monkeypatch.setattr(model_loading, "load_for_use", lambda *given, **options: asked.update(given=given, **options))
    monkeypatch.setattr(
        server, "serve", lambda *given, **options: asked.update(name=given[1], at=given[2].getsockname(), **options)
    )
    return asked


def test_every_flag_arrives(asked, capsys):
    flags = (
        "serve run/best.onnx --image-size 96x64 --device cpu --precision float32 --batch-size 3 --score 0.4 --host 0.0.0.0 "
        "--port 0 --allow-host a.example --allow-host b.example --max-megabytes 2.5 --max-megapixels 3 --max-pictures 4 "
        "--max-waiting 5"
    )
    assert commands.main(flags.split()) == 0
    assert asked["given"] == ("run/best.onnx",) and asked["name"] == "run/best.onnx" and asked["at"][0] == "0.0.0.0"
    assert (asked["image_size"], asked["device"], asked["precision"]) == ((96, 64), "cpu", "float32")
    assert (asked["batch_size"], asked["min_score"], asked["hosts"]) == (3, 0.4, ["0.0.0.0", "a.example", "b.example"])
    assert vars(asked["limits"]) == {"megabytes": 2.5, "megapixels": 3, "pictures": 4, "waiting": 5, "seconds": 60}
    text = " ".join(capsys.readouterr().out.split())
    assert "can use the model: there is no password, and pictures travel unencrypted" in text


def test_by_default_for_this_machine_alone(asked, tmp_path, monkeypatch, capsys):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "best.keras").write_text("")
    monkeypatch.chdir(tmp_path)
    assert commands.main(["serve", "--port", "0"]) == 0
    assert asked["name"] == "mine/best.keras" and asked["at"][0] == "127.0.0.1" and capsys.readouterr().out == ""


@pytest.mark.parametrize("given, name", [(".", "mine"), ("..", "runs"), ("../mine", "../mine"), ("best.keras", "best.keras")])
def test_every_model_has_a_name(asked, tmp_path, monkeypatch, given, name):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "runs" / "mine")
    assert commands.main(["serve", given, "--port", "0"]) == 0 and asked["name"] == name


def test_no_answer_waits_for_an_acknowledgement():
    """What stands behind the first packet of an answer is sent at once, and not when the client has said that it has that."""
    with (
        open_socket("127.0.0.1", 0) as listening,
        socket.create_connection(listening.getsockname()),
        listening.accept()[0] as one,
    ):
        assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_taken_port(asked, capsys):
    with open_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert commands.main(["serve", "m.keras", "--port", str(port)]) == 2
    assert f"127.0.0.1, port {port}: could not be opened (Address already in use)" in capsys.readouterr().err
    assert not asked  # said before the network is loaded


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--port", "70000"], "port 70000: could not be opened"),
        (["--host", "192.0.2.1", "--port", "0"], "192.0.2.1, port 0: could not be opened"),
        (["--max-pictures", "0"], "--max-pictures: found 0, expected more than 0"),
    ],
)
def test_wrong_input(asked, capsys, flags, message):
    assert commands.main(["serve", "m.keras", *flags]) == 2
    assert message in capsys.readouterr().err and not asked


def test_what_is_not_installed(asked, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "python_multipart", None)
    assert commands.main(["serve", "m.keras"]) == 2
    assert "run: pip install 'centerkp[serve]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "host, local", [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("x", False)]
)
def test_what_is_local(host, local):
    assert is_local(host) == local


def test_addresses_for_a_browser(monkeypatch):
    monkeypatch.setattr(server.socket, "gethostname", lambda: "box")
    for host, expected in (("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "box"), ("::1", "[::1]")):
        with open_socket(host, 0) as listening:
            assert describe_address(listening) == f"http://{expected}:{listening.getsockname()[1]}"
