"""The run over all parts: what is done already, and a pool of workers under Ray for what is missing."""

import math
import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from centerkp.bulk.parts import Job, Worker, part_name
from centerkp.bulk.results import make_manifest, open_results, refuse_place_of_results
from centerkp.bulk.sources import open_place
from centerkp.console import import_extra, native_silence
from centerkp.weights.trained import find_model
from centerkp.wording import count_of
from centerkp.writing import hold_folder

TRIES = 3  # more of a part whose worker died: by a lost machine, or by the memory that its pictures take
CPU_ONLY = (".xml", ".tflite")  # artefacts that are run on the processor alone


def predict_bulk(
    job: Job, *, part_size: int, workers: int | None, address: str | None, overwrite: bool, console: Console
) -> None:
    """Predicts all pictures of a source into Parquet files, and goes on where an earlier run of the same was ended.

    Args:
        part_size: pictures of a part, which is done anew when it was interrupted.
        workers: processes with a detector; by default one for each GPU, or where there is none for each machine.
        address: of a Ray cluster; by default Ray is started here and ended again.
        overwrite: replaces what is in the way: another run's results, or files of nobody's.

    Raises:
        FileNotFoundError: no pictures, no model, or Ray is not installed.
        FileExistsError: the place has results of another run, or other files under the names of the results.
        ValueError: a wrong number, results inside the source, or parts whose workers died every time.
        OSError: the results cannot be written.
    """
    for name, number in {**vars(job), "part_size": part_size, "workers": workers}.items():
        if name in ("batch_size", "max_objects", "part_size", "workers") and number is not None and number < 1:
            raise ValueError(f"{name}: found {number}, expected 1 or more.")
    source, weights, out = map(_make_absolute, (job.source, str(find_model(job.weights)), job.out))
    job = replace(job, source=source, weights=weights, out=out)
    refuse_place_of_results(job, overwrite)
    manifest = make_manifest(job, part_size, lambda note: console.print(note, style="yellow", soft_wrap=True))
    files, root = open_place(job.out)
    with hold_folder(root, "wait for its end") if files.type_name == "local" else nullcontext():
        done = open_results(job, manifest, overwrite)
        count = manifest["part"][-1].as_py() + 1
        missing = [part for part in range(count) if part_name(part) not in done]
        console.print(f"{count_of(len(manifest), 'file')} in {count_of(count, 'part')}, {count - len(missing)} of them done")
        if missing:
            _run_missing(job, missing, workers, address, console)
        console.print(f"   parts: {job.out}", soft_wrap=True)


def _make_absolute(address: str) -> str:
    """A path as workers find it, which need not start where this process did; addresses, and words for weights, stay."""
    return address if "://" in address or address == "coco" else os.path.abspath(address)


def _run_missing(job: Job, missing: list[int], workers: int | None, address: str | None, console: Console) -> None:
    """Has the missing parts done, and says on the console how it goes and what came of it."""
    total, begun, ended = {"images": 0, "objects": 0, "unread": 0, "parts": 0}, math.inf, 0.0
    columns = [
        TextColumn("{task.description}"),
        BarColumn(20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    ]
    progress, fault, error = Progress(*columns, console=console, transient=True), "", ""
    with native_silence(), connect_ray(address) as ray, progress:  # Ray writes much about workers that it ends itself
        task = progress.add_task("parts", total=len(missing))
        for row in _start_pool(ray, job, missing, workers, console):
            if fault := row["fault"]:
                break
            if not total["parts"]:
                console.print(row["least"])
            total = {name: count + row[name] for name, count in total.items()}
            error = error or row["error"]
            begun, ended = min(begun, row["started"]), max(ended, row["ended"])
            rate = total["images"] / max(ended - begun, 1e-9)
            progress.update(task, advance=1, description=f"{total['images']} images, {rate:.1f} images/s, parts")
    if fault:
        raise ValueError(fault)
    if total["parts"]:
        unread = f"; {count_of(total['unread'], 'fault')}, in the column error, such as: {error}" if error else ""
        found = f"{count_of(total['objects'], 'object')} in {count_of(total['images'] - total['unread'], 'image')}"
        console.print(f"{found}{unread}\n{rate:.1f} images/s", soft_wrap=True)
    if total["parts"] < len(missing):
        raise ValueError(
            f"{job.out}: found {total['parts']} of {count_of(len(missing), 'part')} done, expected all: the workers of the "
            f"others died {TRIES + 1} times, mostly for want of memory; the same command tries them again."
        )


@contextmanager
def connect_ray(address: str | None) -> Iterator[Any]:
    """Ray's module, connected to a cluster, or to one that is started here and ends with the block, unless one is in use."""
    own: dict[str, Any] = {"address": address}
    if address is None:
        # Nobody else may use it: it listens on this machine alone, has a key of its own, and leaves none in the home.
        os.environ |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        own = {"address": "local", "include_dashboard": False, "object_store_memory": 1 << 27}  # what it holds are numbers
    ray = import_extra("ray", "ray")
    import_extra("ray.data", "ray")
    found = ray.is_initialized()
    if not found:
        on_termination = signal.getsignal(signal.SIGTERM)
        ray.init(**own, logging_level="error", log_to_driver=False)
        # Ray takes the signal for itself, in the main thread, and never gives it back.
        if on_termination not in (None, signal.getsignal(signal.SIGTERM)):
            signal.signal(signal.SIGTERM, on_termination)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars, context.max_errored_blocks = False, -1
    try:
        yield ray
    finally:
        if not found:
            ray.shutdown()


def _start_pool(ray: Any, job: Job, missing: list[int], workers: int | None, console: Console) -> Iterator[dict]:
    """What the workers say of each part, as it is done."""
    machines = [one["Resources"] for one in ray.nodes() if one["Alive"] and one["Resources"].get("CPU")]
    with_gpu = [] if Path(job.weights).suffix in CPU_ONLY else [one for one in machines if one.get("GPU")]
    gpus = int(sum(one["GPU"] for one in with_gpu))
    count = workers or gpus or len(machines)
    shares = [one["CPU"] / one["GPU"] for one in with_gpu] or [one["CPU"] // -(-count // len(machines)) for one in machines]
    cpus = max(int(min(shares)), 1)
    why = "one for each GPU" if gpus else "one for each machine, whose network uses all of it"
    console.print(f"{count_of(count, 'worker')} of {count_of(cpus, 'CPU')}: {'as asked' if workers else why}")
    parts = ray.data.from_items([{"part": part} for part in missing], override_num_blocks=len(missing))
    results = parts.map_batches(
        Worker,
        fn_constructor_args=(replace(job, threads=cpus),),
        batch_size=1,
        # One part at a time: those that wait for a worker lose a try with it when it dies.
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=min(count, len(missing)), max_tasks_in_flight_per_actor=1),
        num_cpus=cpus,
        num_gpus=1 if gpus else 0,
        ray_remote_args_fn=lambda: {"max_task_retries": TRIES},
    )
    return results.iter_rows()
