"""Throughput of `infer.py`: images per second from files to files, as a share of what the network alone does.

Run it on a quiet machine: python benchmarks/throughput.py, about two minutes on two cores. It prints its result and, with
--output, writes it as a page.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import measure
import page

WIDTH, HEIGHT = 640, 480
DISTINCT = 50  # images that differ; the rest are copies of them
OBJECTS = 3  # drawn per image, on average

METHOD = f"""\
{{images}} JPEG files of {WIDTH}x{HEIGHT} pixels, written by the program itself ({DISTINCT} different ones), go through
`predict_sources`, the function behind infer.py: read, letterboxed, detected by {{backbone}} at {{size}} with random
weights in batches of {{batch}}, drawn, and written as annotated JPEG files and predictions.json. The least score is chosen
such that {OBJECTS} objects an image are drawn on average. "network alone" is `predict_on_batch` on one ready batch, again
and again, in the same process, half of it before and half after; the share is infer.py's rate over the median of these.
Memory is the resident memory of the process, sampled at every image; "after warm-up" is the highest of the second tenth
of the images, "at the end" that of the last tenth."""


def main(arguments: list[str] | None = None) -> int:
    options = read_arguments(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as folder:
        row = measure_all(Path(folder), options)
    text = write_page(row, options)
    print(text)
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    return 0


def read_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures the throughput of infer.py.", allow_abbrev=False)
    parser.add_argument("--backbone", default="hourglass_20")
    parser.add_argument("--size", type=int, default=320, help="side of the network input (default: 320)")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--output", type=Path, help="page to write")
    return parser.parse_args(arguments)


def measure_all(folder: Path, options: argparse.Namespace) -> dict:
    import keras
    import numpy as np
    from rich.console import Console

    from centerkp.inference.outputs import OutputChoice
    from centerkp.inference.sources import find_sources
    from centerkp.inference.stream import Selection, predict_sources
    from centerkp.schema import Schema
    from centerkp.weights.start import build_model

    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(options.precision)
    model = build_model(Schema.generic(1, 5), backbone=options.backbone, image_size=options.size)
    write_images(folder / "images", options.images)
    sources = find_sources([folder / "images"])
    batch, least = make_batch(model, sources[: options.batch])

    def step() -> None:
        {name: np.asarray(values) for name, values in model.predict_on_batch(batch).items()}

    step()
    rates = measure.sample_rates()
    steps = measure.sample_times(step, 15, 0)
    memory = watch_memory()
    started = time.perf_counter()
    with open(os.devnull, "w") as nowhere:
        predict_sources(
            model, sources, folder / "out", selection=Selection(min_score=least),
            choice=OutputChoice(), batch_size=options.batch, console=Console(file=nowhere),
        )  # fmt: skip
    seconds = time.perf_counter() - started
    steps += measure.sample_times(step, 15, 0)
    rates += measure.sample_rates()
    return {
        "network": [options.batch / s for s in steps],
        "images/s": options.images / seconds,
        "written": len(list((folder / "out" / "images").iterdir())),
        "memory": memory,
        "rates": rates,
        "backend": f"{keras.backend.backend()} on {keras.distribution.list_devices()[0]}",
    }


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


def write_page(row: dict, options: argparse.Namespace) -> str:
    network, share = page.median(row["network"]), row["images/s"] / page.median(row["network"])
    tenth = max(len(row["memory"]) // 10, 1)
    after_warm_up, at_the_end = max(row["memory"][tenth : 2 * tenth]), max(row["memory"][-tenth:])
    header = ["images", "network alone", "range", "infer.py", "share", "after warm-up", "at the end"]
    spread = f"{min(row['network']):.1f} to {max(row['network']):.1f}"
    line = [row["written"], f"{network:.1f} images/s", spread, f"{row['images/s']:.1f} images/s", f"{100 * share:.0f} %"]
    line += [f"{after_warm_up / 1e6:.0f} MB", f"{at_the_end / 1e6:.0f} MB"]
    method = METHOD.format(
        images=options.images, backbone=f"{options.backbone} ({options.precision})", size=options.size, batch=options.batch
    )
    facts = page.machine_facts([row], os.getloadavg()[0]).replace("load before the first case", "load at the end")
    return f"# Throughput of infer.py\n\n{page.table(header, [line])}\n\n{page.paragraph(method)}\n\n{facts}\n"


if __name__ == "__main__":
    sys.exit(main())
