"""The run over all parts: what is done already, and a pool of workers under Ray for what is missing."""

import hashlib
import json
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from centerkp.bulk.parts import MANIFEST, Job, Worker, part_name, whole_file
from centerkp.bulk.sources import find_root, list_parts, open_place
from centerkp.console import import_extra, native_silence
from centerkp.wording import count_of
from centerkp.writing import hold_folder, mark, refuse_place

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
    job = replace(job, **{name: _make_absolute(getattr(job, name)) for name in ("source", "weights", "out")})
    files, root = open_place(job.out)
    is_local = files.type_name == "local"
    if is_local:
        refuse_place(Path(root))
    _refuse_inside_source(job)
    _refuse_strangers(job, overwrite)
    manifest = list_parts(job.source, part_size, lambda note: console.print(note, style="yellow", soft_wrap=True))
    manifest = manifest.replace_schema_metadata({"made_by": mark("bulk"), "run": json.dumps(_describe_run(job))})
    with hold_folder(root, "wait for its end") if is_local else nullcontext():
        done = _open_results(job, manifest, overwrite)
        count = manifest["part"][-1].as_py() + 1
        missing = [part for part in range(count) if part_name(part) not in done]
        listed = f"{count_of(len(manifest), 'file')} in {count_of(count, 'part')}"
        console.print(f"{listed}, {count - len(missing)} of them done" if len(missing) < count else listed)
        if missing:
            _run_missing(job, missing, workers, address, console)
        console.print(f"   parts: {job.out}", soft_wrap=True)


def _make_absolute(address: str) -> str:
    """A path as workers find it, which need not start where this process did; addresses, and words for weights, stay."""
    return address if "://" in address or address == "coco" else os.path.abspath(address)


def _refuse_inside_source(job: Job) -> None:
    """Raises ValueError where the results would be found among the pictures, and be read by the next run."""
    (source, place), (files, root) = find_root(job.source), open_place(job.out)
    if files == source and f"{root}/".startswith(f"{place}/") and open_place(job.source)[1] == place:
        raise ValueError(
            f"{job.out}: found as output inside the folder to read, whose files are never changed, nor added to; choose another "
            "place."
        )


def _find_results(job: Job) -> list[str]:
    """The names in the place of the results that are a run's: its parts' and its manifest's."""
    fs = import_extra("pyarrow.fs", "ray")
    files, root = open_place(job.out)
    names = [one.base_name for one in files.get_file_info(fs.FileSelector(root, allow_not_found=True))]
    return sorted(name for name in names if name == MANIFEST or name.startswith("part-") and name.endswith(".parquet"))


def _read_manifest(job: Job) -> Any:
    """The manifest that an earlier run left; None where there is none, or one that no run has written."""
    parquet = import_extra("pyarrow.parquet", "ray")
    files, root = open_place(job.out)
    try:
        table = parquet.read_table(f"{root}/{MANIFEST}", filesystem=files)
    except (OSError, ValueError):
        return None
    return table if (table.schema.metadata or {}).get(b"made_by") == mark("bulk").encode() else None


def _refuse_strangers(job: Job, overwrite: bool) -> None:
    """Raises FileExistsError where files have the names of results, but no manifest says whose they are."""
    names = _find_results(job)
    if names and not overwrite and _read_manifest(job) is None:
        raise FileExistsError(
            f"{job.out}/{names[0]}: found a file of this name that no earlier run of this command left so, expected none; choose "
            "another place, or replace with --overwrite."
        )


def _describe_run(job: Job) -> dict:
    """What besides the files decides the results: digest of the weights, score and number of objects."""
    path = Path(job.weights)
    inside = path.rglob("*") if path.is_dir() else path.parent.glob(f"{path.stem if path.suffix == '.xml' else path.name}*")
    found = sorted(one for one in inside if one.is_file())
    if not found and job.weights != "coco":
        raise FileNotFoundError(f"{path}: found no model, expected a .keras file or an exported model; check the path.")
    digest = hashlib.sha256(job.weights.encode() if not found else b"")
    for one in found:
        with open(one, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return {"model": digest.hexdigest(), "score": job.score, "max objects": job.max_objects}


def _open_results(job: Job, manifest: Any, overwrite: bool) -> set[str]:
    """The names of the parts that are done, of this very run; a new one gets its manifest.

    Raises:
        FileExistsError: there are results of another run.
    """
    former, names = _read_manifest(job), _find_results(job)
    if former is not None:
        ours, theirs = (json.loads(table.schema.metadata[b"run"]) for table in (manifest, former))
        others = [name for name in ours if ours[name] != theirs.get(name)] + ["files"] * (not former.equals(manifest))
        if not others:
            return set(names)
        if names != [MANIFEST] and not overwrite:  # a run that was wrong from the start has no results
            raise FileExistsError(
                f"{job.out}: found results of a run with another {', another '.join(others)}, expected none, or of this one to go "
                "on with; choose another place, or replace them with --overwrite."
            )
    files, root = open_place(job.out)
    for name in names:
        if name != MANIFEST:  # which is replaced last: it says whose the other files are, also when this is interrupted
            files.delete_file(f"{root}/{name}")
    with whole_file(job.out, MANIFEST) as path:
        import_extra("pyarrow.parquet", "ray").write_table(manifest, path, row_group_size=1 << 16)
    return set()


def _run_missing(job: Job, missing: list[int], workers: int | None, address: str | None, console: Console) -> None:
    """Has the missing parts done, and says on the console how it goes, and what came of it."""
    total, started, ended = {"images": 0, "objects": 0, "unread": 0, "parts": 0}, [], 0.0
    columns = [TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn()]
    progress, fault, error = Progress(*columns, console=console, transient=True), "", ""
    with native_silence(), _connect(address) as ray, progress:  # what Ray writes about workers that it ends itself helps nobody
        task = progress.add_task("parts", total=len(missing))
        for row in _start_pool(ray, job, missing, workers, console):
            if fault := row["fault"]:
                break
            if not started:
                console.print(row["least"])
            started, ended = [*started[:1], row["started"]], max(ended, row["ended"])
            total = {name: count + row.get(name, 1) for name, count in total.items()}
            error = error or row["error"]
            rate = total["images"] / max(ended - min(started), 1e-9)
            progress.update(task, advance=1, description=f"{total['images']} images, {rate:.1f} images/s, parts")
    if fault:
        raise ValueError(fault)
    if total["parts"]:
        unread = f"; {count_of(total['unread'], 'fault')}, in the column error, such as: {error}" if error else ""
        found = f"{count_of(total['objects'], 'object')} in {count_of(total['images'] - total['unread'], 'image')}"
        console.print(f"{found}{unread}\n{rate:.1f} images/s", soft_wrap=True)
    if total["parts"] < len(missing):
        raise ValueError(
            f"{job.out}: found {total['parts']} of {count_of(len(missing), 'part')} done, expected all: the workers of the others "
            f"died {TRIES + 1} times, mostly for want of memory; the same command tries them again, with a smaller --batch-size."
        )


@contextmanager
def _connect(address: str | None) -> Iterator[Any]:
    """Ray's module, connected to a cluster, or to one that is started here and ends with the block, unless one is in use."""
    ray = import_extra("ray", "ray")
    import_extra("ray.data", "ray")
    own: dict[str, Any] = {"address": address}
    if address is None:
        # Nobody else on this machine may use it, nor is a key left in the home; what goes through its store are numbers.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        own = {"address": "local", "_node_ip_address": "127.0.0.1", "include_dashboard": False, "object_store_memory": 1 << 27}
    found = ray.is_initialized()
    if not found:
        ray.init(**own, logging_level="error", log_to_driver=False)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars, context.max_errored_blocks = False, -1
    logging.getLogger("ray.data").setLevel("ERROR")
    try:
        yield ray
    finally:
        if not found:
            ray.shutdown()


def _start_pool(ray: Any, job: Job, missing: list[int], workers: int | None, console: Console) -> Iterator[dict]:
    """What the workers say of each part, as it is done."""
    machines = [one["Resources"] for one in ray.nodes() if one["Alive"] and one["Resources"].get("CPU")]
    gpus = 0 if Path(job.weights).suffix in CPU_ONLY else int(sum(one.get("GPU", 0) for one in machines))
    count = workers or gpus or len(machines)
    each = -(-count // len(machines))  # on a machine
    cpus = max(int(min(one["CPU"] for one in machines)) // each, 1)
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
