"""Measures our light networks beside the smallest pose networks of Ultralytics in OpenVINO; writes benchmarks/PEERS.md.

    python benchmarks/peers.py

The peers are installed by pip into an environment of their own (build/peers, some 6 GB), which writes their networks with
random weights as ONNX; nothing of them is imported here. Random weights do for speed. Some five minutes on two cores after the
installation.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import latency
import measure
import page

RESULTS = Path(__file__).with_name("PEERS.md")
FOLDER = Path(__file__).parents[1] / "build" / "peers"
PACKAGES = ("ultralytics==8.4.190", "onnx==1.23.2")
PEERS = ("yolo11n-pose", "yolo26n-pose")
OURS = ("efficientnet_lite0_fpn", "mobilenetv2_fpn", "hourglass_10")
SIZES = (320, 512)
PRECISIONS = ("fp32", "int8")
CALIBRATION, ROUNDS, STREAMED, TURNS = 4, 41, 32, 3
# Beginnings of the names that nodes of our networks have in OpenVINO.
PARTS = {
    "trunk": ("network/stem", "network/stride"),
    "pyramid": ("network/pyramid",),
    "heads": ("network/stack", "heads/"),
    "decoding": ("decode/", "TopK"),
}
# Runs in the peers' environment: a network with random weights from its own description, as ONNX.
WRITE_PEER = """
import os, sys
os.environ |= {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
from ultralytics import YOLO
name, size, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
os.replace(YOLO(f"{name}.yaml").export(format="onnx", imgsz=size, simplify=False), out)
"""

START = """\
# Beside other networks

Written by `python benchmarks/peers.py`, which measures everything here anew; do not edit. Times are for one image in OpenVINO
on this machine's processor, in one process in which all networks take turns. Ours start from a letterboxed
image of bytes and end with decoded objects; the peers' start from the same bytes (scaled to 0..1 inside) and end where their
ONNX files do: YOLO26 with its objects, YOLO11 with raw boxes, so that its non-maximum suppression is not in its time. Images/s
are of the same networks compiled for throughput and fed without waiting. One class of 17 keypoints, random weights, NNCF's int8
for all."""

PROFILE = """\
Where the time of ours goes, by OpenVINO's own profile: medians of what the nodes of each part take. "Other" are nodes that
belong to no layer, as normalisation, conversions from and to int8, and changes of layout."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument(
        "--output", type=Path, default=RESULTS, help=f"file to write (default: {RESULTS.name} beside this program)"
    )
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.size:
        print(json.dumps(measure_size(options.size)))
        return 0
    load = os.getloadavg()[0]
    started = time.monotonic()
    install_peers()
    rows = [measure.run_apart(__file__, ["--size", str(size)]) for size in SIZES]
    parts = [START, page.machine_facts(rows, load), f"Peers: {', '.join(PACKAGES)}."]
    parts += [write_size(row) for row in rows]
    options.output.write_text("\n\n".join(parts) + f"\n\n{(time.monotonic() - started) / 60:.1f} minutes.\n", encoding="utf-8")
    print(f"wrote {options.output}")
    return 0


def write_size(row: dict) -> str:
    """The section of the page about one image size."""
    best = {p: min(page.median(row["times"][f"{peer} {p}"]) for peer in PEERS) for p in PRECISIONS}
    lines = []
    for name in (*OURS, *PEERS):
        line = [name, f"{row['parameters'][name] / 1e6:.1f} M"]
        for precision in PRECISIONS:
            way = f"{name} {precision}"
            middle, spread = page.times_text(row["times"][way])
            ratio = page.median(row["times"][way]) / best[precision]
            line += [middle, spread, f"{ratio:.2f}", f"{page.median(row['throughput'][way]):.3g}"]
        lines.append(line)
    header = ["", "weights", *(h for p in PRECISIONS for h in (p, "range", "times the fastest peer's", "images/s"))]
    parts = [f"## Beside other networks at {row['size']}x{row['size']}", page.table(header, lines)]
    lines = [[name, *(f"{spent[part]:.2g} ms" for part in (*PARTS, "other"))] for name, spent in row["profiles"].items()]
    return "\n\n".join([*parts, PROFILE, page.table(["", *PARTS, "other"], lines)])


def install_peers() -> None:
    """Makes the environment of the peers, once, and has their networks written there."""
    python = FOLDER / "bin" / "python"
    if not (FOLDER / "installed").exists():
        venv.create(FOLDER, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (FOLDER / "installed").touch()
    for size in SIZES:
        for peer in PEERS:
            if not peer_file(peer, size).exists():
                command = [python, "-c", WRITE_PEER, peer, str(size), str(peer_file(peer, size))]
                subprocess.run(command, check=True, cwd=FOLDER, stdout=subprocess.DEVNULL)


def peer_file(peer: str, size: int) -> Path:
    return FOLDER / f"{peer}-{size}.onnx"


def measure_size(size: int) -> dict:
    """Times every network at one image size, all in turns; seconds by "name precision"."""
    import keras
    import numpy as np

    from centerkp.demo.scenes import draw_scene

    rng = np.random.default_rng(0)
    pictures = [draw_scene(rng, (size, size), 6)[0] for _ in range(CALIBRATION)]
    calls, streams, parameters, profiles, rates = {}, {}, {}, {}, measure.sample_rates()
    with tempfile.TemporaryDirectory() as folder:
        for name in OURS:
            model = latency.build_network(name, None, size, pictures[:2])
            parameters[name] = model.count_params()
            for precision, path in write_ours(model, pictures, Path(folder) / name).items():
                way = f"{name} {precision}"
                calls[way], streams[way] = open_ours(path, size)
                if name.endswith("_fpn"):  # an hourglass has no such parts
                    profiles[way] = add_up(measure.profile_canvases(path, pictures, ROUNDS))
        for name in PEERS:
            parameters[name], ways = open_peer(peer_file(name, size), pictures)
            for precision, (call, stream) in ways.items():
                calls[f"{name} {precision}"], streams[f"{name} {precision}"] = call, stream
        times: dict[str, list[float]] = {name: [] for name in calls}
        for turn in range(ROUNDS + 1):
            for name, call in calls.items():
                time.sleep(0.003)
                before = time.perf_counter()
                call(pictures[turn % CALIBRATION][None])
                if turn:
                    times[name].append(time.perf_counter() - before)
        throughput: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(TURNS):
            for name, stream in streams.items():
                throughput[name].append(count_per_second(stream, pictures))
    rates += measure.sample_rates()
    row = {
        "size": size,
        "times": times,
        "throughput": throughput,
        "parameters": parameters,
        "profiles": profiles,
        "rates": rates,
    }
    return row | {"backend": keras.backend.backend()}


def write_ours(model, pictures: list, folder: Path) -> dict[str, Path]:
    from centerkp.export.fold import fold
    from centerkp.export.openvino import write_openvino

    folder.mkdir()  # of its own: files in use must not be written over
    network, samples = fold(model), [(picture, model.image_size) for picture in pictures]
    return {p: write_openvino(network, folder / f"{p}.xml", precision=p, samples=samples) for p in PRECISIONS}


def open_ours(path: Path, size: int) -> tuple:
    """What runs one of our networks on an image, and what runs it on many."""
    import numpy as np
    import openvino

    from centerkp.runtimes.openvino import start_at_canvas

    core, sides = openvino.Core(), np.float32([[size, size]])
    model = start_at_canvas(core.read_model(path), 1, (size, size))
    return compile_both(core, model, lambda image: (image, sides))


def compile_both(core, model, feed) -> tuple:
    """A network compiled for single images, and compiled for many, all of which it is given without waiting."""
    import openvino

    hints = {"INFERENCE_PRECISION_HINT": "f32"}
    one = core.compile_model(model, "CPU", hints | {"PERFORMANCE_HINT": "LATENCY"})
    queue = openvino.AsyncInferQueue(core.compile_model(model, "CPU", hints | {"PERFORMANCE_HINT": "THROUGHPUT"}))

    def run_many(images: list) -> None:
        for image in images:
            queue.start_async(feed(image))
        queue.wait_all()

    return lambda image: one(feed(image), share_inputs=True), run_many


def count_per_second(run_many, pictures: list) -> float:
    images = [pictures[number % len(pictures)][None] for number in range(STREAMED)]
    before = time.perf_counter()
    run_many(images)
    return STREAMED / (time.perf_counter() - before)


def add_up(nodes: list[dict]) -> dict[str, float]:
    """Milliseconds that each part of one of our networks takes."""
    spent = dict.fromkeys((*PARTS, "other"), 0.0)
    for node in nodes:
        is_change = node["kind"] in ("Reorder", "Convert")
        part = next((p for p, starts in PARTS.items() if node["name"].startswith(starts) and not is_change), "other")
        spent[part] += node["ms"]
    return spent


def open_peer(path: Path, pictures: list) -> tuple[int, dict]:
    """Number of weights of a peer's network, and what runs it in each precision."""
    import nncf
    import openvino

    core, ways = openvino.Core(), {}
    steps = openvino.preprocess.PrePostProcessor(core.read_model(path))
    steps.input().tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    steps.input().model().set_layout(openvino.Layout("NCHW"))
    steps.input().preprocess().convert_element_type(openvino.Type.f32).scale(255.0)
    model = steps.build()
    count = sum(op.get_output_size() and op.data.size for op in model.get_ordered_ops() if op.get_type_name() == "Constant")
    for precision in PRECISIONS:
        if precision == "int8":
            model = nncf.quantize(
                model,
                nncf.Dataset([picture[None] for picture in pictures]),
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=len(pictures),
            )
        ways[precision] = compile_both(core, model, lambda image: (image,))
    return count, ways


if __name__ == "__main__":
    sys.exit(main())
