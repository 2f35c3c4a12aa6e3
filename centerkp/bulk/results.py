"""What stands in the place of the results: which parts are done, of which run, and whether it may go on there."""

import hashlib
import json
import os
import re
from collections.abc import Callable
from glob import escape
from pathlib import Path
from typing import Any

from centerkp.bulk.parts import MANIFEST, Job, whole_file
from centerkp.bulk.sources import list_parts, open_place
from centerkp.console import import_extra
from centerkp.writing import mark, refuse_place


def refuse_place_of_results(job: Job, overwrite: bool) -> None:
    """Raises unless results may be written where they are to go, whatever they are; before anything is listed or loaded.

    Raises:
        ValueError: it lies inside the source, where the next run would read them.
        FileExistsError: files there have the names of results, but no manifest says whose they are.
        NotADirectoryError, PermissionError: nothing can be written there.
    """
    (source, place), (files, root) = open_place(job.source), open_place(job.out)
    if files.type_name == "local":
        refuse_place(Path(root))
        root, place = map(os.path.realpath, (root, place))  # links are other names of what is read
    if files == source and f"{root}/".startswith(f"{place}/"):
        raise ValueError(
            f"{job.out}: found as output inside {job.source}, the files to read, which are never changed, nor added to; choose "
            "another place."
        )
    names = _find_results(job)
    if names and not overwrite and _read_manifest(job) is None:
        raise FileExistsError(
            f"{job.out}/{names[0]}: found a file of this name that no earlier run of this command left so, expected none; "
            "choose another place, or replace with --overwrite."
        )


def _find_results(job: Job) -> list[str]:
    """The names in the place of the results that are a run's: its parts' and its manifest's."""
    fs = import_extra("pyarrow.fs", "ray")
    files, root = open_place(job.out)
    names = [one.base_name for one in files.get_file_info(fs.FileSelector(root, allow_not_found=True))]
    return sorted(name for name in names if name == MANIFEST or re.fullmatch(r"predictions-\d{6,}\.parquet", name))


def _read_manifest(job: Job) -> Any:
    """The manifest that an earlier run left; None where there is none, or one that no run has written."""
    parquet = import_extra("pyarrow.parquet", "ray")
    files, root = open_place(job.out)
    try:
        table = parquet.read_table(f"{root}/{MANIFEST}", filesystem=files)
    except (OSError, ValueError):
        return None
    return table if (table.schema.metadata or {}).get(b"made_by") == mark("bulk").encode() else None


def _describe_run(job: Job) -> dict:
    """What besides the files decides the results: digest of the weights, score and number of objects."""
    path = Path(job.weights)
    if path.is_dir():
        files = path.rglob("*")
    elif path.is_file():  # and its weights, but not what else lies beside it, where `--runtime` adds other sizes of the model
        files = iter([path, path.with_suffix(".bin") if path.suffix == ".xml" else path.with_name(f"{path.name}.data")])
    else:  # a checkpoint's name, that its files begin with
        files = path.parent.glob(f"{escape(path.name)}.*")
    found = sorted(one for one in files if one.is_file())
    if not found and job.weights != "coco":
        raise FileNotFoundError(f"{path}: found no model, expected a .keras file or an exported model; check the path.")
    digest = hashlib.sha256(job.weights.encode() if not found else b"")
    for one in found:
        with open(one, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return {"model": digest.hexdigest(), "score": job.score, "max objects": job.max_objects}


def make_manifest(job: Job, part_size: int, report: Callable[[str], None]) -> Any:
    """The table of `list_parts` with a description of the run, which together decide the results."""
    listed = list_parts(job.source, part_size, report)
    return listed.replace_schema_metadata({"made_by": mark("bulk"), "run": json.dumps(_describe_run(job))})


def open_results(job: Job, manifest: Any, overwrite: bool) -> set[str]:
    """The names of the files that are done of the run that a manifest describes; a new one gets its manifest.

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
                f"{job.out}: found results of a run with another {', another '.join(others)}, expected none, or of this one "
                "to go on with; choose another place, or replace them with --overwrite."
            )
    files, root = open_place(job.out)
    for name in names:
        if name != MANIFEST:  # which is replaced last: it says whose the other files are, also when this is interrupted
            files.delete_file(f"{root}/{name}")
    with whole_file(job.out, MANIFEST) as path:
        import_extra("pyarrow.parquet", "ray").write_table(manifest, path, row_group_size=1 << 16)
    return set()
