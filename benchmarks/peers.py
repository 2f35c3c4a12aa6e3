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
CALIBRATION, ROUNDS = 4, 41
# Beginnings of the names that nodes of our networks have in OpenVINO.
PARTS = {
    "letterbox": ("letterbox/",),
    "trunk": ("network/stem", "network/stride"),
    "pyramid": ("network/pyramid",),
    "heads": ("network/stack",),
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
on this machine's processor, in one process in which all networks take turns. Ours start from an image of bytes and end with
decoded objects; the peers' start from the same bytes (scaled to 0..1 inside) and end where their ONNX files do: YOLO26 with its
objects, YOLO11 with raw boxes, so that its non-maximum suppression is not in its time. One class of 17 keypoints, random
weights, NNCF's int8 for all."""

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
    for row in rows:
        best = {p: min(page.median(row["times"][f"{peer} {p}"]) for peer in PEERS) for p in PRECISIONS}
        lines = []
        for name in (*OURS, *PEERS):
            line = [name, f"{row['parameters'][name] / 1e6:.1f} M"]
            for precision in PRECISIONS:
                middle, spread = page.times_text(row["times"][f"{name} {precision}"])
                line += [middle, spread, f"{page.median(row['times'][f'{name} {precision}']) / best[precision]:.2f}"]
            lines.append(line)
        header = ["", "weights", *(h for p in PRECISIONS for h in (p, "range", "times the fastest peer's"))]
        parts += [f"## {row['size']}x{row['size']}", page.table(header, lines)]
        lines = [[name, *(f"{spent[part]:.2g} ms" for part in (*PARTS, "other"))] for name, spent in row["profiles"].items()]
        parts += [PROFILE, page.table(["", *PARTS, "other"], lines)]
    options.output.write_text("\n\n".join(parts) + f"\n\n{(time.monotonic() - started) / 60:.1f} minutes.\n", encoding="utf-8")
    print(f"wrote {options.output}")
    return 0


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
    calls, parameters, profiles, rates = {}, {}, {}, measure.sample_rates()
    with tempfile.TemporaryDirectory() as folder:
        for name in OURS:
            model = latency.build_network(name, None, size, pictures[:2])
            parameters[name] = model.count_params()
            calls |= {f"{name} {way}": call for way, call in open_ours(model, pictures, Path(folder) / name).items()}
            for precision in PRECISIONS if name.endswith("_fpn") else ():  # an hourglass has no such parts
                profiles[f"{name} {precision}"] = profile(Path(folder) / name / f"{precision}.xml", pictures[0][None])
        for name in PEERS:
            parameters[name], ways = open_peer(peer_file(name, size), pictures)
            calls |= {f"{name} {way}": call for way, call in ways.items()}
        times: dict[str, list[float]] = {name: [] for name in calls}
        for turn in range(ROUNDS + 1):
            for name, call in calls.items():
                time.sleep(0.003)
                before = time.perf_counter()
                call(pictures[turn % CALIBRATION][None])
                if turn:
                    times[name].append(time.perf_counter() - before)
    rates += measure.sample_rates()
    row = {"size": size, "times": times, "parameters": parameters, "profiles": profiles, "rates": rates}
    return row | {"backend": keras.backend.backend()}


def open_ours(model, pictures: list, folder: Path) -> dict:
    from centerkp.export.fold import fold
    from centerkp.export.openvino import write_openvino
    from centerkp.inference.model_loading import load_detector

    folder.mkdir()  # of its own: files in use must not be written over
    network, samples, ways = fold(model), [(picture, model.image_size) for picture in pictures], {}
    for precision in PRECISIONS:
        path = write_openvino(network, folder / f"{precision}.xml", precision=precision, samples=samples)
        ways[precision] = load_detector(path).run_images
    return ways


def profile(path: Path, images) -> dict[str, float]:
    """Milliseconds that each part of one of our networks takes."""
    import openvino

    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "PERF_COUNT": True}
    request = openvino.Core().compile_model(path, "CPU", hints).create_infer_request()
    spent: dict[str, list[float]] = {part: [] for part in (*PARTS, "other")}
    for _ in range(ROUNDS):
        request.infer({0: images})
        sums = dict.fromkeys(spent, 0.0)
        for node in request.profiling_info:
            is_change = node.node_type in ("Reorder", "Convert")
            part = next((p for p, starts in PARTS.items() if node.node_name.startswith(starts) and not is_change), "other")
            sums[part] += 1e3 * node.real_time.total_seconds()
        for part, milliseconds in sums.items():
            spent[part].append(milliseconds)
    return {part: page.median(values) for part, values in spent.items()}


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
        ways[precision] = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"})
    return count, {precision: lambda image, run=run: run(image, share_inputs=True) for precision, run in ways.items()}


if __name__ == "__main__":
    sys.exit(main())
