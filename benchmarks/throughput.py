"""Throughput of `infer.py`: images per second from files to files, as a share of what the runtime alone does.

    python benchmarks/throughput.py

Writes benchmarks/THROUGHPUT.md: every backbone, with the runtime that infer.py takes by itself where OpenVINO is installed.
Some twenty minutes on two cores that are otherwise idle. Every network has a process of its own, without Keras as infer.py's.
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

RESULTS = Path(__file__).with_name("THROUGHPUT.md")
CASES = ["efficientnet_lite0_fpn", "mobilenetv2_fpn", "hourglass_10", "hourglass_20", "hourglass_32", "hourglass_52"]
CASES += ["resnet50_v1_fpn", "resnet50_v2", "hourglass_104"]
WIDTH, HEIGHT = 640, 480
DISTINCT = 50  # images that differ; the rest are copies of them
OBJECTS = 3  # drawn per image, on average
LEAST, SECONDS, OWN_SECONDS = 48, 60.0, 8.0

METHOD = f"""\
JPEG files of {WIDTH}x{HEIGHT} pixels, written by the program itself ({DISTINCT} different ones), go through
`predict_sources`, the function behind infer.py, with the OpenVINO file that `--runtime auto` makes of a network, here of
random weights: read, letterboxed, detected in batches of {{batch}}, drawn, and written as annotated JPEG files and
predictions.json; and once more with `--no-save-images`. There are {{images}} of them, or as many as a slow network sees in
{SECONDS:g} s. The least score is chosen such that {OBJECTS} objects an image are drawn on average. "The runtime's own" is
OpenVINO's queue of asynchronous requests with its hint THROUGHPUT, fed with canvases that are ready, for {OWN_SECONDS:g} s
before, between and after the two runs in the same process; the share is infer.py's rate over the mean of the two around
it. Memory is the resident memory of the process, sampled at every image: the highest of the second tenth of the images,
and of the last tenth."""


def main(arguments: list[str] | None = None) -> int:
    options = read_arguments(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if options.make:
        print(json.dumps(make_artefact(options)))
        return 0
    if options.case:
        print(json.dumps(measure_case(Path(options.case), options)))
        return 0
    load, rows = os.getloadavg()[0], []
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder) / "images", options.images)
        for backbone in options.backbones:
            print(f"{backbone} ... ", end="", flush=True)
            place = Path(folder) / backbone
            place.mkdir()
            size = ["--size", str(options.size)]
            made = measure.run_apart(__file__, ["--make", str(place), "--backbones", backbone, *size])
            more = ["--images", str(options.images), "--batch", str(options.batch)]
            rows.append(made | measure.run_apart(__file__, ["--case", str(place), *more]))
            print(describe(rows[-1]), flush=True)
            text = write_page(rows, load, options)
            if options.output:
                options.output.write_text(text, encoding="utf-8")
    print(f"wrote {options.output}" if options.output else f"\n{text}")
    return 0


def read_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures the throughput of infer.py.", allow_abbrev=False)
    parser.add_argument("--backbones", nargs="+", default=CASES)
    parser.add_argument("--size", type=int, default=512, help="side of the network input (default: 512)")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--output", type=Path, help=f"page to write (default: {RESULTS.name}, for all backbones)")
    for name in ("--make", "--case"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.backbones == CASES and not (options.output or options.make or options.case):
        options.output = RESULTS
    return options


def make_artefact(options: argparse.Namespace) -> dict:
    """Writes a network with random weights as `--runtime auto` does, which has no objects to be compared."""
    import keras
    import latency
    import numpy as np

    from centerkp.demo.scenes import draw_scene
    from centerkp.export.fold import fold
    from centerkp.export.openvino import write_openvino

    rates, rng = measure.sample_rates(), np.random.default_rng(0)
    pictures = [draw_scene(rng, (options.size, options.size), 6)[0] for _ in range(2)]
    model = latency.build_network(options.backbones[0], None, options.size, pictures)
    write_openvino(fold(model), Path(options.make) / "best.xml")
    rates += measure.sample_rates()
    return {"backbone": options.backbones[0], "rates": rates, "backend": keras.backend.backend()}


def measure_case(folder: Path, options: argparse.Namespace) -> dict:
    """The rates of infer.py with and without pictures, with the runtime's own around each, and the memory."""
    from centerkp.inference.model_loading import load_detector
    from centerkp.inference.outputs import OutputChoice
    from centerkp.inference.sources import find_sources

    artefact = folder / "best.xml"
    detector = load_detector(artefact)
    sources = find_sources([str(folder.parent / "images")])
    batch, least = make_batch(detector, sources[: options.batch])
    own = OwnRate(artefact, batch)
    row: dict = {"own": [own.sample()]}
    count = int(max(LEAST, min(options.images, SECONDS * row["own"][0])))
    memory = watch_memory()
    for name, pictures in (("with pictures", None), ("without", False)):
        row[name] = run_infer(detector, sources[:count], folder / name, least, OutputChoice(pictures=pictures), options.batch)
        row["own"].append(own.sample())
    assert len(list((folder / "with pictures" / "images").iterdir())) == count
    return row | {"images": count, "memory": memory[:count]}


class OwnRate:
    """Images per second of OpenVINO's asynchronous requests on canvases that are ready, as its own benchmark has them."""

    def __init__(self, artefact: Path, batch: dict):
        import openvino

        from centerkp.runtimes.openvino import start_at_canvas

        core, size = openvino.Core(), batch["image"].shape[2:0:-1]
        hints = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
        compiled = core.compile_model(start_at_canvas(core.read_model(artefact), 1, size), "CPU", hints)
        self.queue = openvino.AsyncInferQueue(compiled, compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self.inputs = list(zip(batch["image"][:, None], batch["valid_size"][:, None], strict=True))

    def sample(self) -> float:
        for one in self.inputs[:2]:
            self.queue.start_async(one, share_inputs=True)
        self.queue.wait_all()
        count, started = 0, time.perf_counter()
        while time.perf_counter() - started < OWN_SECONDS:
            for one in self.inputs:
                self.queue.start_async(one, share_inputs=True)
            count += len(self.inputs)
        self.queue.wait_all()
        return count / (time.perf_counter() - started)


def run_infer(detector, sources, out: Path, least: float, choice, batch_size: int) -> float:
    """Images per second of `predict_sources`."""
    from rich.console import Console

    from centerkp.inference.stream import Selection, predict_sources

    started = time.perf_counter()
    with open(os.devnull, "w") as nowhere:
        predict_sources(
            detector, sources, out, selection=Selection(min_score=least), choice=choice, batch_size=batch_size,
            console=Console(file=nowhere),
        )  # fmt: skip
    return len(sources) / (time.perf_counter() - started)


def write_images(folder: Path, count: int) -> None:
    """Gradients, blotches and noise, so that they decode like photographs of their size."""
    import cv2
    import numpy as np

    folder.mkdir()
    rng = np.random.default_rng(0)
    files = []
    for _ in range(min(count, DISTINCT)):
        blotches = cv2.resize(rng.normal(128, 50, (12, 16, 3)), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        image = np.clip(blotches + rng.normal(0, 9, blotches.shape), 0, 255).astype(np.uint8)
        files.append(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    for i in range(count):
        (folder / f"{i:05d}.jpg").write_bytes(files[i % len(files)])


def make_batch(model, sources) -> tuple[dict, float]:
    """A ready batch of the first images, and the score that `OBJECTS` of an image reach on average."""
    import numpy as np

    from centerkp.images.reading import letterbox_image, read_image

    fitted = [letterbox_image(read_image(source.address), model.image_size) for source in sources]
    batch = {
        "image": np.stack([canvas for canvas, *_ in fitted]),
        "valid_size": np.array([valid_size for *_, valid_size in fitted], np.float32),
    }
    scores = np.sort(np.asarray(model.predict_on_batch(batch)["scores"]).ravel())
    return batch, float(scores[-OBJECTS * len(sources)])


def watch_memory() -> list[int]:
    """The list that will hold the resident bytes at every result, as the writing thread comes to it."""
    from centerkp.inference.outputs import Outputs

    samples: list[int] = []
    write = Outputs._write_result

    def watched(self, *args) -> None:
        samples.append(measure.read_rss())
        write(self, *args)

    Outputs._write_result = watched
    return samples


def share(row: dict, name: str, before: int) -> float:
    """The rate of infer.py over the mean of the runtime's own before and after it."""
    return row[name] / (sum(row["own"][before : before + 2]) / 2)


def describe(row: dict) -> str:
    own, pictures, without = page.median(row["own"]), share(row, "with pictures", 0), share(row, "without", 1)
    return f"{own:.1f} images/s by itself, infer.py {pictures:.0%} of it, without pictures {without:.0%}"


def write_page(rows: list[dict], load: float, options: argparse.Namespace) -> str:
    header = ["network", "images", "the runtime's own", "range", "infer.py", "share", "without pictures", "its share"]
    lines = []
    for row in rows:
        start = [row["backbone"], row["images"], f"{page.median(row['own']):.1f} images/s"]
        rates = [f"{min(row['own']):.1f} to {max(row['own']):.1f}", f"{row['with pictures']:.1f} images/s"]
        shares = [f"{share(row, name, k):.0%}".replace("%", " %") for k, name in enumerate(("with pictures", "without"))]
        tenth = max(len(row["memory"]) // 10, 1)
        memory = max(row["memory"][tenth : 2 * tenth]), max(row["memory"][-tenth:])
        lines.append([*start, *rates, shares[0], f"{row['without']:.1f} images/s", shares[1]])
        lines[-1] += [f"{one / 1e6:.0f} MB" for one in memory]
    method = METHOD.format(images=options.images, batch=options.batch)
    header += ["memory", "at the end"]
    title = f"# Throughput of infer.py at {options.size}x{options.size}"
    return "\n\n".join([title, page.table(header, lines), page.paragraph(method), page.machine_facts(rows, load)]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
