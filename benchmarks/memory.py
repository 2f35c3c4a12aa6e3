"""What a training step costs in time and memory, and what --precision, --remat and --accumulate make of that.

And what the loader adds, ahead of the steps or between them. The imports of the package stand inside the functions: the program
that starts the cases must stay small, see `measure`.
"""

import itertools
import tempfile
from pathlib import Path

import measure
import network
import page
import pipeline

PLAIN = "as it is"
# By name: the number format, the parts that a batch is computed in, whether what layers give is computed twice.
WAYS = {
    PLAIN: ("float32", 1, False),
    "--precision mixed_bfloat16": ("mixed_bfloat16", 1, False),
    "--remat": ("float32", 1, True),
    "--accumulate 4": ("float32", 4, False),
    "--remat --accumulate 4": ("float32", 4, True),
}
# Network, image size, images of a step; the largest network stands at a size at which all its cases take few minutes.
SHAPES = (
    ("hourglass_104", 128, 8),
    ("hourglass_20", 256, 8),
    ("efficientnet_lite0_fpn", 320, 8),
    ("mobilenetv2_fpn", 320, 8),
)
LOADERS = ("in memory", "ahead of the steps", "ahead of the steps, --cache ram", "between the steps")
LOADED = ("efficientnet_lite0_fpn", 320, 8)

METHOD = f"""\
`train_on_batch` of random images as in RESULTS.md, medians of {measure.LEAST} calls or more (3 or more for hourglass_104) after
two that are not counted. "memory for the step" is the highest resident memory of the process during the steps, less what
it held before the network was built, with Python, the backend and the package loaded: weights, gradients, moments and average,
which no way of computing makes smaller, and what the batch takes. `--accumulate 4` computes the same images in four batches of
two, which is one step. The columns behind time and memory hold them against "{PLAIN}"."""

LOADER_METHOD = f"""\
The same step of {LOADED[0]} on batches of augmented JPEG files of {pipeline.WIDTH}x{pipeline.HEIGHT} pixels, as in the
input pipeline of RESULTS.md: made "ahead of the steps" by `make_batches`, as training does, or "between the steps",
when the one before is done, on as many threads. `--cache ram` decodes each file once and keeps its pixels. On a machine
whose steps take all cores, images that are made ahead
take their time from the steps; what is made beside a GPU is free."""


def list_cases(quick: bool) -> list[dict]:
    if quick:
        return [{"backbone": "hourglass_10", "way": way, "size": 64, "batch": 4, "loader": "in memory"} for way in WAYS]
    cases = [
        {"backbone": backbone, "way": way, "size": size, "batch": batch, "loader": "in memory"}
        for backbone, size, batch in SHAPES
        for way in WAYS
    ]
    backbone, size, batch = LOADED
    loaded = [{"backbone": backbone, "way": PLAIN, "size": size, "batch": batch, "loader": loader} for loader in LOADERS[1:]]
    return cases + loaded


def name_case(case: dict) -> str:
    return f"{case['backbone']}, {case['way']}, images {case['loader']}"


def measure_case(backbone: str, way: str, size: int, batch: int, loader: str) -> dict:
    import keras

    from centerkp.schema import Schema
    from centerkp.training import train as training  # noqa: F401  loaded before the first look at memory
    from centerkp.weights.start import build_model

    keras.utils.set_random_seed(0)
    precision, parts, remat = WAYS[way]
    rates = measure.sample_rates()
    keras.config.set_dtype_policy(precision)
    measure.release_memory()
    measure.reset_peak_rss()
    start_rss = measure.read_rss()
    model = build_model(Schema.generic(1, network.KEYPOINTS), backbone=backbone, image_size=size)
    model.save_memory(parts, remat)
    step = network.make_training_step(model, batch)
    with tempfile.TemporaryDirectory() as folder:
        if loader != "in memory":
            batches = make_loaded_batches(loader, Path(folder), model, batch)
            step = lambda: model.train_on_batch(*next(batches))  # noqa: E731
        for _ in range(2):
            step()
        times = measure.sample_times(step, 3 if backbone == "hourglass_104" else measure.LEAST)
    peak_rss = measure.read_peak_rss()
    keras.config.set_dtype_policy("float32")
    rates += measure.sample_rates()
    return {"seconds": [seconds / batch for seconds in times], "rates": rates, "memory": peak_rss - start_rss}


def make_loaded_batches(loader: str, folder: Path, model, batch: int):
    from centerkp.images.reading import read_image
    from centerkp.samples.augment import Augmentation
    from centerkp.samples.cache import ImageCache
    from centerkp.samples.pipeline import SamplePyDataset, make_batches
    from centerkp.samples.sample import Sampler

    read = ImageCache() if "--cache ram" in loader else read_image
    sampler = Sampler(model.schema, model.image_size, augmentation=Augmentation(), read=read)
    records = pipeline.write_records(folder)
    if loader.startswith("ahead of the steps"):
        return iter(make_batches(records, sampler, batch, seed=0, shuffle=True, repeat=True))
    dataset = SamplePyDataset(records, sampler, batch, seed=0, shuffle=True, repeat=True)
    return (dataset[i] for i in itertools.count())


def describe(row: dict) -> str:
    return f"{page.seconds_text(page.median(row['seconds']))} an image, {row['memory'] / 1e9:.2f} GB"


def write_section(rows: list[dict]) -> str:
    still = [row for row in rows if row["loader"] == "in memory"]
    tables = [page.table(_HEADER, [_list_cells(row, rows, row["way"]) for row in still]), page.paragraph(METHOD)]
    chosen = [row for row in rows if (row["backbone"], row["way"]) == (LOADED[0], PLAIN)]
    if len(chosen) > 1:
        tables += ["## The loader", page.table(_HEADER, [_list_cells(row, rows, row["loader"]) for row in chosen])]
        tables.append(page.paragraph(LOADER_METHOD))
    return "\n\n".join(["## A training step in less time or memory", *tables])


_HEADER = ("network", "image", "images a step", "how", "time an image", "range", "of it", "memory for the step", "of it")


def _list_cells(row: dict, rows: list[dict], how: str) -> list:
    start = [row["backbone"], f"{row['size']}x{row['size']}", row["batch"], how]
    plain = next(r for r in rows if (r["backbone"], r["way"], r["loader"]) == (row["backbone"], PLAIN, "in memory"))
    if "error" in row or "error" in plain:
        return [*start, row.get("error", "")]
    times = [page.median(one["seconds"]) for one in (row, plain)]
    memory = f"{row['memory'] / 1e9:.2f} GB"
    return [
        *start,
        *page.times_text(row["seconds"]),
        f"{times[0] / times[1]:.0%}",
        memory,
        f"{row['memory'] / plain['memory']:.0%}",
    ]
