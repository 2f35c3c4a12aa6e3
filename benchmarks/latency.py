"""Measures one image's way through Keras, ONNX Runtime and OpenVINO side by side; writes benchmarks/LATENCY.md.

    python benchmarks/latency.py
    python benchmarks/latency.py --weights runs/parts/best.keras --coco val.json --calibrate train_images/

    python benchmarks/latency.py --peers

The second line also says what the narrow numbers cost in average precision on a trained model, the third compares with the
networks that `peers.py` installs. Some eight minutes on two cores, 12 GB of memory. Every network has a process of its own, in
which all ways of running it take turns.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import measure
import page

RESULTS = Path(__file__).with_name("LATENCY.md")
# Backbone, hourglasses kept of it (None: all), side of the image.
CASES = [("hourglass_104", None, 512)]
HOURGLASSES = ("hourglass_52", "hourglass_32", "hourglass_20", "hourglass_10")
TRUNKS = ("resnet50_v1_fpn", "resnet50_v2", "mobilenetv2_fpn", "efficientnet_lite0_fpn")
CASES += [(name, None, 512) for name in HOURGLASSES + TRUNKS]
KEYPOINTS, PICTURES, CALIBRATION = 17, 2, 4
PROFILES, PROFILED = 3, 7  # processes that profile a file, and the calls in each
PAUSE = 0.03
MEASURED = ("not the network", "reorders inside")
ROUNDS, SECONDS = 7, 12.0  # of every network: turns of everything, and how long they may take when there are three
WANTED = {"OpenVINO bf16": 2.2, "OpenVINO int8": 4.0}  # on processors that have instructions for both

START = """\
# Latency of one image

Written by `python benchmarks/latency.py`, which measures everything here anew; do not edit. Times are for one image, from the
letterboxed canvas of bytes to decoded objects. Each table is one process, in which all ways of running the network take
turns, so that whatever else the machine does hits all of them alike; the matrix-product rate is that of float32 in the same
process, before and after."""

METHOD = f"""\
The networks have one class of {KEYPOINTS} keypoints and random weights, scaled to what a trained network's activations and maps
look like on drawn pictures. Before every call the program sleeps for {PAUSE:g} s, so that no runtime's waiting threads take
time from the next one's. "Keras" is `predict_on_batch` of the model as it is trained, and "folded" the same network with its
BatchNormalization inside the convolutions. ONNX Runtime and OpenVINO start behind the letterbox of their files, as `infer.py`
has them. "Not the network" is what OpenVINO's own profile gives for normalisation, decoding, and changes of type and layout
around the network, the median of {PROFILES} processes that run nothing else; heads that are computed only at the cells which
decoding reads are of the network, with the gathering of what they read there. "Reorders inside" are changes of layout between
its layers, which OpenVINO chooses for the processor. Without `avx512_bf16` or `amx_bf16` among its instructions a processor
computes bf16 files in float32.
int8 is NNCF's post-training quantisation. Behind the times stand differences from Keras over {PICTURES} drawn pictures: the
largest of the scores, rank by rank, and the median and the largest of the corners and keypoints of objects that both found. A
random network's peaks are hardly higher than their neighbours, so that the last digit decides which of them is the object,
which then has no partner, or one a few cells of 4 pixels away."""

ACCURACY = """\
Average precision of a trained model, {name}, on {images} annotated images; int8 was calibrated on {calibrated} others."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the benchmark; returns 1 when the fastest ways are slower than wanted."""
    options = read_arguments(arguments)
    if options.case:
        print(json.dumps(run_case(*json.loads(options.case)), default=lambda number: number.item()))
        return 0
    if options.profile:
        nodes = measure.profile_canvases(options.profile, draw_pictures(options.side), PROFILED)
        print(json.dumps(measure.add_up_parts(nodes)))
        return 0
    if options.accuracy:
        print(json.dumps(measure_loss(options.weights, options.coco, options.calibrate)))
        return 0
    load, started = os.getloadavg()[0], time.monotonic()
    if load > 0.5:
        print(f"The machine is busy (load {load:.1f}): expect slow and scattered times.")
    cases = [("hourglass_10", None, 128)] if options.quick else CASES
    rows, loss, beside = [], None, ""
    output = options.output or (None if options.quick else RESULTS)
    if options.weights:
        wanted = ["--weights", options.weights, "--coco", options.coco, "--calibrate", *options.calibrate]
        loss = measure.run_apart(__file__, ["--accuracy", *wanted])
    if options.peers:
        import peers

        peers.install_peers()
        beside = peers.write_size(measure.run_apart(peers.__file__, ["--size", "512"]))
    for case in cases:
        print(f"{name_case(*case)} ... ", end="", flush=True)
        rows.append(measure.run_apart(__file__, ["--case", json.dumps(case)]))
        print(", ".join(f"{way} {page.seconds_text(page.median(t))}" for way, t in rows[-1]["times"].items()), flush=True)
        text = write_page(rows, loss, beside, load, time.monotonic() - started)
        if output:  # after every case, so that an interrupted run leaves what it has measured
            output.write_text(text, encoding="utf-8")
    print(f"wrote {output}" if output else f"\n{text}")
    is_judged = not options.quick and page.has_flag("avx512_bf16", "amx_bf16") and page.has_flag("avx512_vnni", "avx_vnni")
    return int(is_judged and any(speed(rows[0], way) < least for way, least in WANTED.items()))


def read_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="one tiny case, to see that all works; prints")
    parser.add_argument("--weights", help="a trained .keras file whose loss of average precision is measured")
    parser.add_argument("--coco", help="annotated images for that")
    parser.add_argument(
        "--calibrate", nargs="+", default=[], help="images, folders or patterns from which int8 takes its ranges"
    )
    parser.add_argument("--peers", action="store_true", help="compare with the networks that benchmarks/peers.py installs, too")
    parser.add_argument("--output", type=Path, help=f"file to write (default: {RESULTS.name} beside this program)")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--accuracy", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--profile", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--side", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.weights and not (options.coco and options.calibrate):
        parser.error("--weights needs --coco and --calibrate")
    return options


def name_case(backbone: str, stacks: int | None, size: int) -> str:
    return f"{backbone}{f' --stacks {stacks}' if stacks else ''} at {size}x{size}"


def run_case(backbone: str, stacks: int | None, size: int) -> dict:
    """Builds the network, writes it in all formats, and times them in turns."""
    import keras
    import numpy as np

    from centerkp.export.verify import first_row
    from centerkp.model.cost import count_gmac

    pictures = draw_pictures(size)
    model = build_network(backbone, stacks, size, pictures[:2])
    row = {"case": (backbone, stacks, size), "gmac": count_gmac(model), "rates": measure.sample_rates()}
    with tempfile.TemporaryDirectory() as folder:
        ways, row["bytes"] = open_ways(model, pictures[:CALIBRATION], Path(folder))
        inputs = [{"image": p[None], "valid_size": np.float32([[size, size]])} for p in pictures[:PICTURES]]
        found = {way: [first_row(call(one)) for one in inputs] for way, call in ways.items()}
        row["differences"] = {
            way: describe_differences(found["Keras"], objects, model.schema) for way, objects in found.items()
        }
        row["times"] = time_in_turns(ways, inputs[0])
        row["parts"] = profile_ways(Path(folder), size)
    row["rates"] += measure.sample_rates()
    return row | {"backend": keras.backend.backend(), "peak": measure.read_peak_rss()}


def draw_pictures(size: int) -> list:
    import numpy as np

    from centerkp.demo.scenes import draw_scene

    rng = np.random.default_rng(0)
    return [draw_scene(rng, (size, size), 6)[0] for _ in range(max(PICTURES, CALIBRATION))]


def build_network(backbone: str, stacks: int | None, size: int, pictures: list):
    """A network whose activations and maps have the spread of a trained one's on such pictures."""
    import keras
    import numpy as np

    from centerkp.schema import Schema
    from centerkp.weights.convert import keep_stacks
    from centerkp.weights.start import build_model

    keras.utils.set_random_seed(0)
    model = build_model(Schema.generic(1, KEYPOINTS), backbone=backbone, image_size=size, bn_momentum=0.0)
    images = np.stack(pictures).astype(np.float32)
    model(images, training=True)  # with momentum 0 the statistics are these pictures'
    spreads = {"center_heatmap": 2.0, "keypoint_heatmap": 2.0, "box_size": 2.0, "keypoint_regression": 3.0}
    for stack, maps in enumerate(model(images[:1], training=False)):
        for head, values in maps.items():
            layer = model.get_layer(f"stack{stack}_{head}")
            layer.kernel.assign(layer.kernel * (spreads.get(head, 0.2) / np.std(np.asarray(values))))
            if head == "box_size":
                layer.bias.assign([12.0, 9.0])
    return model if stacks is None else keep_stacks(model, stacks)


def open_ways(model, pictures: list, folder: Path) -> tuple[dict, dict]:
    """What runs the network, by name, and the bytes of the files."""
    from centerkp.export.fold import fold
    from centerkp.export.onnx_file import write_onnx
    from centerkp.export.openvino import write_openvino
    from centerkp.export.verify import measure_size
    from centerkp.inference.model_loading import load_detector

    network = fold(model)
    samples = [(picture, model.image_size) for picture in pictures]
    ways, size = {"Keras": model.predict_on_batch, "Keras folded": compile_folded(network)}, {}
    paths = {"ONNX Runtime fp32": write_onnx(network, folder / "onnx_fp32.onnx")}
    for precision in ("fp32", "bf16", "int8"):
        path = folder / f"openvino_{precision}.xml"
        paths[f"OpenVINO {precision}"] = write_openvino(network, path, precision=precision, samples=samples)
    for way, path in paths.items():
        ways[way], size[way] = load_detector(path).predict_on_batch, measure_size(path)
    return ways, size


def profile_ways(folder: Path, size: int) -> dict[str, dict[str, float]]:
    """Milliseconds of the network and of what is not, by name of the way: medians of processes that run nothing else."""
    files = {f"OpenVINO {precision}": folder / f"openvino_{precision}.xml" for precision in ("fp32", "bf16", "int8")}
    found: dict[str, list[dict[str, float]]] = {way: [] for way in files}
    for _ in range(PROFILES):
        for way, path in files.items():
            found[way].append(measure.run_apart(__file__, ["--profile", str(path), "--side", str(size)]))
    return {way: {part: page.median([one[part] for one in all_of]) for part in all_of[0]} for way, all_of in found.items()}


def compile_folded(network):
    import tensorflow as tf

    from centerkp.export.saved_model import detect_canvas

    predict = tf.function(detect_canvas(network), jit_compile=False)
    return lambda inputs: predict(inputs["image"], inputs["valid_size"])


def describe_differences(expected: list[dict], found: list[dict], schema) -> dict:
    import numpy as np

    from centerkp.export.verify import TOLERANCES, compare

    objects = compare(expected, found, schema, TOLERANCES["fp32"])
    scores = [np.abs(e["scores"] - f["scores"]).max() for e, f in zip(expected, found, strict=True)]
    kinds = {kind: [float(f(getattr(objects, kind))) for f in (np.median, np.max)] for kind in ("boxes", "keypoints")}
    return kinds | {"scores": float(max(scores)), "objects": objects.objects, "unmatched": objects.unmatched}


def time_in_turns(ways: dict, inputs: dict) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {way: [] for way in ways}
    for call in ways.values():
        call(inputs)
    started = time.perf_counter()
    while len(times["Keras"]) < ROUNDS and (len(times["Keras"]) < 3 or time.perf_counter() - started < SECONDS):
        for way, call in ways.items():
            time.sleep(PAUSE)
            before = time.perf_counter()
            call(inputs)
            times[way].append(time.perf_counter() - before)
    return times


def measure_loss(weights: str, coco: str, calibrate: list[str]) -> dict:
    """Average precision of the trained model in all ways of running it."""
    from rich.console import Console

    from centerkp.doctor.trainable import read_dataset
    from centerkp.export.accuracy import measure_accuracy
    from centerkp.export.fold import fold
    from centerkp.export.openvino import write_openvino
    from centerkp.images.reading import letterbox_image, read_image
    from centerkp.inference.model_loading import load_detector
    from centerkp.inference.search import find_images
    from centerkp.model.backbones import name_backbone
    from centerkp.model.center_net import load_model

    model, console = load_model(weights), Console(file=open(os.devnull, "w"))  # noqa: SIM115
    paths, dataset = find_images(calibrate), read_dataset(coco, schema=model.schema)
    boxed = [letterbox_image(read_image(path), model.image_size) for path in paths]
    rows, accuracy = {}, None
    with tempfile.TemporaryDirectory() as folder:
        for precision in ("fp32", "bf16", "int8"):
            path = Path(folder) / f"{precision}.xml"
            write_openvino(fold(model), path, precision=precision, samples=[(canvas, size) for canvas, _, size in boxed])
            accuracy = measure_accuracy(load_detector(path), model, dataset, coco, console)
            rows[f"OpenVINO {precision}"] = accuracy.artefact
    backbone = name_backbone(model.backbone) or "hourglass"
    name = f"{backbone} at {model.image_size[0]}x{model.image_size[1]}"
    return {"name": name, "images": accuracy.images, "calibrated": len(paths), "ways": {"Keras": accuracy.keras} | rows}


def speed(row: dict, way: str) -> float:
    """How many times as fast as Keras as it was built."""
    return page.median(row["times"]["Keras"]) / page.median(row["times"][way])


def write_page(rows: list[dict], loss: dict | None, beside: str, load: float, seconds: float) -> str:
    parts = [START, page.machine_facts(rows, load)]
    for row in rows:
        rate = page.median(row["rates"])
        floor = page.seconds_text(2e9 * row["gmac"] / rate)
        rates = f"{rate / 1e9:.0f} GFLOP/s of a matrix product in float32"
        spread = f"{min(row['rates']) / 1e9:.0f} to {max(row['rates']) / 1e9:.0f} in this process"
        facts = f"{row['gmac']:.3g} billion multiply-adds, which take {floor} at the {rates} ({spread}). "
        facts += f"The process, with all of them loaded, took {row['peak'] / 1e9:.1f} GB at most."
        parts += [f"## {name_case(*row['case'])}", write_table(row), page.paragraph(facts)]
    parts += [beside] if beside else []
    parts += ["## How", page.paragraph(METHOD)]
    if loss:
        lines = [[way, *cells(values, loss["ways"]["Keras"])] for way, values in loss["ways"].items()]
        table = page.table(["", "box AP", "lost", "keypoint AP", "lost"], lines)
        parts += ["## What narrow numbers cost", page.paragraph(ACCURACY.format(**loss)), table]
    return "\n\n".join([*parts, f"{len(rows)} networks, {seconds / 60:.1f} minutes."]) + "\n"


def cells(values: dict, keras_values: dict) -> list[str]:
    pairs = ((values[name], keras_values[name]) for name in ("box_ap", "keypoint_ap"))
    return [cell for own, keras in pairs for cell in ([f"{own:.4f}", f"{keras - own:.4f}"] if own is not None else ["", ""])]


def write_table(row: dict) -> str:
    differ = ["scores", "corners, px", "keypoints, px", "without partner"]
    header = ["", "one image", "range", "times as fast", *MEASURED, "file", *differ]
    lines = []
    for way, times in row["times"].items():
        d = row["differences"][way]
        size = f"{row['bytes'][way] / 1e6:.1f} MB" if way in row["bytes"] else ""
        pixels = [f"{d[kind][0]:.2g}, {d[kind][1]:.2g}" for kind in ("boxes", "keypoints")]
        differences = [f"{d['scores']:.1g}", *pixels, f"{d['unmatched']} of {d['objects']}"]
        parts = [f"{row['parts'][way][part]:.2f} ms" if way in row["parts"] else "" for part in MEASURED]
        lines.append([way, *page.times_text(times), f"{speed(row, way):.2f}", *parts, size, *differences])
    return page.table(header, lines)


if __name__ == "__main__":
    sys.exit(main())
