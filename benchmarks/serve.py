"""`centerkp serve` under a hundred clients, beside `centerkp infer` on the same pictures: answers, rates, latencies, memory.

    python benchmarks/serve.py [--clients 100] [--each 10] [--rounds 2]

Clients and server are on this machine and share its processors; nothing leaves it. It takes about six minutes on two cores,
prints its result, and with --output writes it as a page.
"""

import argparse
import http.client
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from threading import Event, Thread

import measure
import page
import psutil
from bulk import DISTINCT, HEIGHT, WIDTH, Command, prepare

FEWER = (1, 10)  # clients of the second table, each with as many pictures as one of the first has, but this many at least:
LEAST = 50
PIXELS, SCORE = 0.1, 0.001  # differences up to which an object is the same one
METHOD = """\
Written by `{command}`. {clients} clients, a thread each in one process of this machine, send {each} JPEG files of
{width}x{height} pixels with drawn tools one after another over connections of their own, the next when the answer to the
last has come ({distinct} different pictures, each under a name of its own), to `centerkp serve` with {backbone} at {size}
with random weights in batches of {batch}, the least score such that three objects an image are found on average. infer is
`centerkp infer --no-save-images` on the same {images} files just before, its rate as it prints it; the clients share the
processors with the server, infer has them alone. Latency is from a client's first byte sent to its last received. Memory is the
resident memory of the server, sampled ten times a second: the highest of the second tenth of a round, and of the last."""
ANSWERS = """\
Every answer of all rounds beside what `centerkp.predict` finds in that picture alone. "lost" has no answer, or another status
than 200, or another picture's name. In batches of other sizes the network's library may choose other algorithms, which round
otherwise: an object is the same with its class, within {pixels} pixels and {score} in score, and one whose score is so near to
the least one may be in one of both only. "not the same" are all others, of both sides. Asked one after another an answer is
that of predict to the last digit (`tests/serving/test_app.py`)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--each", type=int, default=10, help="pictures that a client sends in a round (default: 10)")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--backbone", default="mobilenetv2_fpn")
    parser.add_argument("--size", type=int, default=320, help="side of the network input (default: 320)")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--formats", nargs="*", default=["keras", "openvino"], choices=["keras", "openvino", "onnx"])
    parser.add_argument("--output", type=Path, help="page to write")
    options = parser.parse_args()
    options.images = options.clients * options.each
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as name:
        text = measure_all(Path(name), options)
    print(text)
    if options.output:
        options.output.write_text(text, encoding="utf-8")


def measure_all(folder: Path, options: argparse.Namespace) -> str:
    import keras

    load, (models, least) = os.getloadavg()[0], prepare(folder, options)
    contents = {path.name: path.read_bytes() for path in sorted((folder / "pictures").iterdir())}
    rates, lines, fewer, answers = measure.sample_rates(), [], [], []
    for kind, model in models.items():
        checked = Checked(least, find_alone(model, sorted(set(contents.values())), least - SCORE))
        flags = ["--batch-size", str(options.batch), "--score", f"{least:.6f}"]
        flags += ["--runtime", "keras"] if kind == "keras" else []  # not the fastest that is installed
        unseen = ["--out", str(folder / "infer"), "--no-save-images"]
        with Server([str(model), *flags, "--port", "0"]) as server:
            for turn in range(1, options.rounds + 1):
                shutil.rmtree(folder / "infer", ignore_errors=True)
                infer = Command(["infer", str(folder / "pictures"), "--weights", str(model), *flags, *unseen]).finish().rate
                server.memory.clear()
                asked = ask_all(server.port, contents, options.clients)
                share = f"{100 * asked.rate / infer:.0f} %"
                lines.append([kind, turn, f"{infer:.1f}", f"{asked.rate:.1f}", share, *asked.latencies(), *server.peaks()])
                print(lines[-1], flush=True)
                checked.add(asked.answers, contents)
            for clients in FEWER:
                some = dict(list(contents.items())[: max(LEAST, clients * options.each)])
                asked = ask_all(server.port, some, clients)
                fewer.append([kind, clients, f"{asked.rate:.1f}", *asked.latencies()])
                checked.add(asked.answers, some)
        answers.append([kind, *checked.row(), server.code])
    rates += measure.sample_rates()
    machine = page.machine_facts([{"rates": rates, "backend": keras.backend.backend()}], load)
    return write_page(options, lines, fewer, answers, machine)


def write_page(options: argparse.Namespace, lines: list, fewer: list, answers: list, machine: str) -> str:
    words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
    command = " ".join(["python benchmarks/serve.py", *words])
    sizes = {"width": WIDTH, "height": HEIGHT, "distinct": DISTINCT}
    shares = {kind: page.median([float(line[4].split()[0]) for line in lines if line[0] == kind]) for kind in options.formats}
    latency = ["half within", "95 % within", "99 % within"]
    header = ["model", "round", "infer, images/s", "serve, images/s", "of it", *latency, "MB at first", "at the end"]
    checks = ["model", "answers", "lost", "objects", "not the same", "largest difference", "in score", "exit code"]
    parts = [
        f"# {options.clients} clients of centerkp serve",
        page.paragraph(METHOD.format(command=command, **sizes, **vars(options))),
        "Medians: " + ", ".join(f"{share:.0f} % of infer's rate with {kind}" for kind, share in shares.items()) + ".",
        page.table(header, lines),
        "## Fewer clients",
        page.table(["model", "clients", "images/s", *latency], fewer),
        "## Answers",
        page.paragraph(ANSWERS.format(pixels=PIXELS, score=SCORE)),
        page.table(checks, answers),
        "## Machine",
        machine,
        f"Starlette {version('starlette')}, uvicorn {version('uvicorn')}.",
    ]
    return "\n\n".join(parts) + "\n"


def find_alone(model: Path, contents: list[bytes], least: float) -> dict[bytes, list[dict]]:
    """What `centerkp.predict` finds in each picture by itself."""
    import centerkp

    detector = centerkp.load_detector(model)
    return {data: centerkp.predict(detector, data, min_score=least).to_coco()["annotations"] for data in contents}


class Server:
    """`centerkp serve` in a process of its own, whose memory is sampled."""

    def __init__(self, arguments: list[str]):
        command = [sys.executable, "-u", "-m", "centerkp", "serve", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.memory, self.code, self._ended = [], -1, Event()

    def __enter__(self) -> "Server":
        for line in self.process.stdout:
            if found := re.search(r"127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
                Thread(target=self._sample, daemon=True).start()
                return self
        raise ChildProcessError("the server did not start")

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.process.send_signal(signal.SIGTERM)
        self.process.stdout.read()
        self.code = self.process.wait(60)

    def _sample(self) -> None:
        process = psutil.Process(self.process.pid)
        while not self._ended.wait(0.1):
            self.memory.append(process.memory_info().rss / 1e6)

    def peaks(self) -> list[str]:
        tenth = max(len(self.memory) // 10, 1)
        return [f"{max(part, default=0):.0f}" for part in (self.memory[tenth : 2 * tenth], self.memory[-tenth:])]


@dataclass
class Asked:
    """What became of a round: seconds of all of it and of each answer, and the answers by the name that was sent."""

    seconds: float
    each: list[float]
    answers: dict[str, dict]

    @property
    def rate(self) -> float:
        return len(self.answers) / self.seconds

    def latencies(self) -> list[str]:
        marks = statistics.quantiles(self.each, n=100, method="inclusive")
        return [page.seconds_text(marks[percent - 1]) for percent in (50, 95, 99)]


def ask_all(port: int, contents: dict[str, bytes], clients: int) -> Asked:
    """Sends all pictures, dealt among so many clients."""
    names, answers, each = list(contents), {}, []

    def ask(own: list[str]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        for name in own:
            form = b'--x\r\nContent-Disposition: form-data; name="f"; filename="%s"\r\n\r\n%s\r\n--x--\r\n'
            body = form % (name.encode(), contents[name])
            began = time.perf_counter()
            connection.request("POST", "/predict", body, {"Content-Type": "multipart/form-data; boundary=x"})
            answer = connection.getresponse()
            text = answer.read()
            each.append(time.perf_counter() - began)
            if answer.status == 200:
                answers[name] = text
        connection.close()

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(ask, [names[number::clients] for number in range(clients)]))
    seconds = time.perf_counter() - started
    return Asked(seconds, each, {name: json.loads(text) for name, text in answers.items()})


class Checked:
    """Counts of answers beside what is found in each picture alone, from a score a little below `least` on."""

    def __init__(self, least: float, alone: dict[bytes, list[dict]]):
        self.least, self.alone = least, alone
        self.answers = self.lost = self.objects = self.strange = 0
        self.pixels = self.score = 0.0

    def add(self, answers: dict[str, dict], contents: dict[str, bytes]) -> None:
        self.answers += len(contents)
        for name, data in contents.items():
            if name not in answers or [image["file_name"] for image in answers[name]["images"]] != [name]:
                self.lost += 1
                continue
            ours, theirs = answers[name]["annotations"], list(self.alone[data])
            self.objects += len(ours)
            for one in ours:
                other = min(theirs, key=lambda other: distance(one, other), default=None)
                if other is None or distance(one, other) > PIXELS or abs(one["score"] - other["score"]) > SCORE:
                    self.strange += 1
                    continue
                theirs.remove(other)
                self.pixels = max(self.pixels, distance(one, other))
                self.score = max(self.score, abs(one["score"] - other["score"]))
            self.strange += sum(other["score"] > self.least + SCORE for other in theirs)

    def row(self) -> list:
        return [self.answers, self.lost, self.objects, self.strange, f"{self.pixels:.3f} pixels", f"{self.score:.6f}"]


def distance(one: dict, other: dict) -> float:
    """The largest difference of two annotations' boxes and places, in pixels; infinite between classes."""
    if one["category_id"] != other["category_id"]:
        return float("inf")
    return max(abs(a - b) for a, b in zip(numbers(one), numbers(other), strict=True))


def numbers(annotation: dict) -> list[float]:
    """The box and the places of an annotation."""
    points = annotation.get("keypoints", [])
    return [*annotation["bbox"], *points[0::3], *points[1::3]]


if __name__ == "__main__":
    main()
