"""Measures porting the model zoo's largest checkpoint and loading what comes of it; writes benchmarks/CONVERT.md.

    python benchmarks/convert.py

Needs 6 GB of disk in the temporary folder and some five minutes. The checkpoint is hourglass_104 with the tests'
deterministic weights, packed as the zoo packs it: a gzipped archive with the checkpoint, and a SavedModel with all weights
once more, which is read past. Every case has a process of its own, so that peak memory is the case's own.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import page
from measure import read_peak_rss, run_apart, sample_rates

RESULTS = Path(__file__).with_name("CONVERT.md")
TESTS = Path(__file__).parents[1] / "tests"
TARGETS = {"convert": "under 60 s and 4 GB", "load": "under 10 s"}

START = """\
# Converting and loading Hourglass104

Written by `python benchmarks/convert.py`, which measures everything here anew; do not edit. The archive holds the checkpoint
and a SavedModel of 780 MB each, gzipped, as the model zoo's does; its weights are the tests' deterministic ones, which
compress as badly as trained ones. Each line is a process of its own; seconds are from the call to its return, without the
imports, and memory is the process's peak, with them."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--folder", type=Path, help="where to work; the archive is kept there and used again (default: temporary)"
    )
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.case:
        print(json.dumps(run_case(options.case, options.folder)))
        return 0
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"The machine is busy (load {load:.1f}): expect slow times.")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        rows = {case: start_case(case, folder) for case in ("pack", "convert", "load", "load one stack")}
    text = write_page(rows, load)
    RESULTS.write_text(text, encoding="utf-8")
    print(text)
    return 0


def start_case(case: str, folder: Path) -> dict:
    print(f"{case} ... ", end="", flush=True)
    row = run_apart(__file__, ["--case", case, "--folder", str(folder)])
    print(f"{row['seconds']:.1f} s", flush=True)
    return row


def run_case(case: str, folder: Path) -> dict:
    archive, model = folder / "centernet_hg104_512x512_kpts_coco17_tpu-32.tar.gz", folder / "model.keras"
    if case == "pack":
        started = time.perf_counter()
        if not archive.exists():
            write_archive(archive)
        return {"seconds": time.perf_counter() - started, "archive": archive.stat().st_size}
    import keras

    from centerkp.model.center_net import load_model
    from centerkp.model.cost import count_gmac
    from centerkp.weights.convert import convert, keep_stacks

    before = sample_rates(count=2)
    started = time.perf_counter()
    if case == "convert":
        loaded = convert(archive, model)
    else:
        loaded = load_model(model)
    seconds, peak = time.perf_counter() - started, read_peak_rss()
    if case == "load one stack":
        loaded = keep_stacks(loaded, 1)
    row = {"parameters": loaded.count_params(), "gmac": count_gmac(loaded), "predict": time_predict(loaded)}
    return row | {
        "seconds": seconds,
        "peak": peak,
        "backend": keras.backend.backend(),
        "rates": before + sample_rates(count=2),
        "size": model.stat().st_size,
    }


def time_predict(model) -> float:
    """Seconds for one image, once the network is traced."""
    import numpy as np

    image = np.zeros((1, model.image_size[1], model.image_size[0], 3), np.uint8)
    times = []
    for _ in range(4):
        started = time.perf_counter()
        model.predict_on_batch(image)
        times.append(time.perf_counter() - started)
    return min(times[1:])


def write_archive(archive: Path) -> None:
    sys.path.insert(0, str(TESTS))
    import checkpoints

    with tempfile.TemporaryDirectory(dir=archive.parent) as temporary:
        source = Path(temporary) / "source"
        checkpoint = source / "checkpoint" / "ckpt-0"
        checkpoints.write_checkpoint(checkpoint, checkpoints.make_variables(checkpoints.hg104_shapes()))
        (source / "saved_model" / "variables").mkdir(parents=True)
        for suffix in (".index", ".data-00000-of-00001"):
            shutil.copy(f"{checkpoint}{suffix}", source / "saved_model" / "variables" / f"variables{suffix}")
        packed = checkpoints.pack(source, Path(temporary) / archive.name)
        os.replace(packed, archive)


def write_page(rows: dict[str, dict], load: float) -> str:
    convert, two, one = rows["convert"], rows["load"], rows["load one stack"]
    size = f"archive of {rows['pack']['archive'] / 1e9:.2f} GB -> .keras of {convert['size'] / 1e9:.2f} GB"
    times = page.table(
        ["what", "seconds", "peak memory", "wanted"],
        [
            [f"convert: {size}", f"{convert['seconds']:.1f}", f"{convert['peak'] / 1e9:.2f} GB", TARGETS["convert"]],
            ["load the .keras", f"{two['seconds']:.1f}", f"{two['peak'] / 1e9:.2f} GB", TARGETS["load"]],
        ],
    )
    stacks = page.table(
        ["hourglasses", "parameters", "GMAC at 512x512", "one image, all through"],
        [
            [number, f"{row['parameters'] / 1e6:.1f} M", f"{row['gmac']:.0f}", page.seconds_text(row["predict"])]
            for number, row in ((2, two), (1, one))
        ],
    )
    explained = page.paragraph(
        "The first hourglass alone (`--stacks 1`) has its own trained heads. GMAC are the multiplications in the "
        "convolutions, in billions, with the heads that prediction computes; the time is the best of three."
    )
    facts = page.machine_facts([convert, two, one], load)
    return "\n\n".join([START, facts, "## Times", times, "## One hourglass of two", explained, stacks]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
