"""`centerkp bulk` beside `infer.py`: rates in turn, memory, and a run whose driver and workers are killed on the way.

    python benchmarks/bulk.py [--images 5000] [--rounds 3] [--formats onnx]

Both save no pictures. It takes about ten minutes on two cores, prints its result, and with --output writes it as a page.
"""

import argparse
import datetime
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
from importlib.metadata import version
from pathlib import Path

import numpy as np
import page
import psutil
import pyarrow.parquet as pq
from throughput import make_batch

WIDTH, HEIGHT, DISTINCT = 320, 240, 200
METHOD = """\
Written by `{command}`. {images} JPEG files of {width}x{height} pixels with drawn tools ({distinct} different ones, the rest
copies) go through `centerkp infer --no-save-images` and `centerkp bulk` with parts of {part_size}, in turn, each in processes
of its own: {backbone} at {size} with random weights in batches of {batch}, the least score such that three objects an image
are found on average. Rates are those that the commands print, from the first image to the last; seconds are those of the whole
command, with its start. Memory is the proportional memory of all processes of `bulk`, Ray's own included, sampled every second:
the highest of the second tenth of the run, and of the last."""
KILLS = """\
A run of its own: the worker is killed (SIGKILL) when a fifth of the parts is done, the driver with all of Ray when half of them
are, and then the same command is given again. Two of Ray's agents outlive their driver by about a minute. infer.py's
predictions.json has thousandths of pixels."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backbone", default="mobilenetv2_fpn")
    parser.add_argument("--size", type=int, default=320, help="side of the network input (default: 320)")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--part-size", type=int, default=250)
    parser.add_argument("--formats", nargs="*", default=["openvino"], choices=["keras", "openvino", "onnx"])
    parser.add_argument("--output", type=Path, help="page to write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        text = measure(Path(name), options)
    print(text)
    if options.output:
        options.output.write_text(text, encoding="utf-8")


def measure(folder: Path, options: argparse.Namespace) -> str:
    models, score = prepare(folder, options)
    flags = ["--batch-size", str(options.batch), "--score", f"{score:.6f}"]
    lines = []
    for kind, model in models.items():
        common = [str(folder / "pictures"), "--weights", str(model), *flags]
        for turn in range(1, options.rounds + 1):
            for out in ("infer", "bulk"):
                shutil.rmtree(folder / out, ignore_errors=True)
            infer = Command(["infer", *common, "--out", str(folder / "infer"), "--no-save-images"]).finish()
            bulk = Command(["bulk", *common, "--out", str(folder / "bulk"), "--part-size", str(options.part_size)]).finish()
            compare(folder / "bulk", folder / "infer" / "predictions.json", options.images)
            share = f"{100 * bulk.rate / infer.rate:.0f} %"
            lines.append(
                [kind, turn, infer.rate, bulk.rate, share, f"{infer.seconds:.0f} s", f"{bulk.seconds:.0f} s", *bulk.peaks()]
            )
            print(lines[-1], flush=True)
    header = "model|round|infer, images/s|bulk, images/s|of it|infer took|bulk took|MB at first|at the end".split("|")
    middle = statistics.median(float(line[4].split()[0]) for line in lines)
    killed = kill_and_go_on(folder, common, options)
    command = " ".join(["python benchmarks/bulk.py", *sys.argv[1:]])
    method = METHOD.format(command=command, width=WIDTH, height=HEIGHT, distinct=DISTINCT, **vars(options))
    facts = f"{os.cpu_count()} processors, Ray {version('ray')}, {datetime.date.today()}."
    return (
        f"# Bulk prediction beside infer.py\n\n{page.paragraph(method)}\n\nMedian: {middle:.0f} % of infer's rate.\n\n"
        f"{page.table(header, lines)}\n\n{facts}\n\n## Killed on the way\n\n{page.paragraph(KILLS)}\n\n{killed}\n"
    )


def prepare(folder: Path, options: argparse.Namespace) -> tuple[dict[str, Path], float]:
    """The pictures, the models by format, and the score that three objects an image have."""
    import keras

    from centerkp.demo.scenes import write_demo
    from centerkp.inference.sources import find_sources
    from centerkp.schema import Schema
    from centerkp.weights.start import build_model

    demo = write_demo(folder / "demo", num_train=DISTINCT, num_val=1, num_test=1, size=(WIDTH, HEIGHT))
    drawn = sorted(demo.images_dir.glob("train_*"))
    (folder / "pictures").mkdir()
    for number in range(options.images):
        shutil.copy(drawn[number % len(drawn)], folder / "pictures" / f"{number:06d}.jpg")
    keras.utils.set_random_seed(0)
    schema = Schema.from_coco(json.loads(demo.train_json.read_text()))
    model = build_model(schema, backbone=options.backbone, image_size=options.size)
    model.save(folder / "model.keras")
    score = make_batch(model, find_sources([folder / "demo" / "images"])[: options.batch])[1]
    models = {"keras": folder / "model.keras", "openvino": folder / "model.xml", "onnx": folder / "model.onnx"}
    for kind in options.formats:
        if kind != "keras":
            Command(["export", str(folder / "model.keras"), "--format", kind, "--out", str(models[kind])]).finish()
    return {kind: models[kind] for kind in options.formats}, score


class Command:
    """A command of centerkp in a process of its own, whose memory and that of its children is sampled."""

    def __init__(self, arguments: list[str]):
        self.started, self.memory = time.perf_counter(), []
        self.process = subprocess.Popen([sys.executable, "-m", "centerkp", *arguments], stdout=subprocess.PIPE, text=True)

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def finish(self) -> "Command":
        while self.process.poll() is None:
            self.sample()
            time.sleep(1)
        text = self.process.stdout.read()
        if self.process.returncode:
            raise ChildProcessError(text)
        rates = re.findall(r"([\d.]+) images/s", text)
        self.seconds, self.rate = time.perf_counter() - self.started, float(rates[-1]) if rates else 0.0
        return self

    def sample(self) -> None:
        total = 0
        try:
            for one in [psutil.Process(self.process.pid), *self.children()]:
                total += one.memory_full_info().pss
        except psutil.Error:
            return  # one that has just ended
        self.memory.append(total / 1e6)

    def peaks(self) -> list[str]:
        tenth = max(len(self.memory) // 10, 1)
        return [
            f"{max(part, default=0):.0f}" for part in (self.memory[2 * tenth : 3 * tenth], self.memory[-2 * tenth : -tenth])
        ]


def kill_and_go_on(folder: Path, common: list[str], options: argparse.Namespace) -> str:
    """Runs `bulk`, kills its worker, then its driver, and runs it again; what became of it."""
    out, parts = folder / "killed", -(-options.images // options.part_size)
    arguments = ["bulk", *common, "--out", str(out), "--part-size", str(options.part_size)]
    first = Command(arguments)
    wait_for(out, parts // 5, first)
    worker = next(one for one in first.children() if "MapWorker" in " ".join(one.cmdline()))
    worker.kill()
    wait_for(out, parts // 2, first)
    done, family = {path: path.stat().st_mtime_ns for path in out.glob("predictions-*.parquet")}, first.children()
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    _, left = psutil.wait_procs(family, 60)
    Command(arguments).finish()
    kept = sum(path.stat().st_mtime_ns == stamp for path, stamp in done.items())
    worst = compare(out, folder / "infer" / "predictions.json", options.images)
    rows = [
        ["rows, each picture once", options.images],
        ["parts that were done when the driver was killed", len(done)],
        ["of these done again", len(done) - kept],
        ["processes left a minute after the driver was killed", len(left)],
        *[[f"largest difference to infer.py's files: {name}", value] for name, value in worst.items()],
    ]
    return page.table(["what", "number"], rows)


def wait_for(out: Path, count: int, command: Command) -> None:
    while len(list(out.glob("predictions-*.parquet"))) < count:
        if command.process.poll() is not None:
            raise ChildProcessError(f"ended before {count} parts were done")
        time.sleep(0.05)


def compare(out: Path, predictions: Path, images: int) -> dict[str, str]:
    """The largest differences of boxes, scores and keypoints; raises unless both found the same objects in all images once."""
    rows = {row["image"]: row for path in sorted(out.glob("predictions-*.parquet")) for row in pq.read_table(path).to_pylist()}
    counts = sum(pq.read_metadata(path).num_rows for path in out.glob("predictions-*.parquet"))
    content = json.loads(predictions.read_text())
    assert len(rows) == counts == images == len(content["images"]), (len(rows), counts, images, len(content["images"]))
    names = {one["id"]: one["name"] for one in content["categories"]}
    found: dict[int, list] = {image["id"]: [] for image in content["images"]}
    for one in content["annotations"]:
        found[one["image_id"]].append(one)
    worst = {"box sides in pixels": 0.0, "score": 0.0, "keypoints in pixels": 0.0}
    for image in content["images"]:
        ours, theirs = rows[image["file_name"]]["objects"], found[image["id"]]
        assert [one["class_name"] for one in ours] == [names[one["category_id"]] for one in theirs], image["file_name"]
        for a, b in zip(ours, theirs, strict=True):
            x, y, width, height = b["bbox"]
            points = [c for p in a["keypoints"] for c in (p["x"], p["y"])]
            expected = np.reshape(b.get("keypoints", []), (-1, 3))[:, :2].ravel()
            box = [a[side] for side in ("x0", "y0", "x1", "y1")]
            others = [x, y, x + width, y + height], [b["score"]], expected
            for name, one, other in zip(worst, (box, [a["score"]], points), others, strict=True):
                worst[name] = max(worst[name], float(np.abs(np.subtract(one, other)).max(initial=0)))
    return {name: f"{value:.6f}" for name, value in worst.items()}


if __name__ == "__main__":
    main()
