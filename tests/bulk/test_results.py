import json

import pyarrow.parquet as pq
import pytest

from centerkp.bulk.parts import MANIFEST, Job
from centerkp.bulk.results import make_manifest, open_results, refuse_place_of_results


@pytest.fixture()
def job(tmp_path):
    (tmp_path / "pictures").mkdir()
    for name in "abc":
        (tmp_path / "pictures" / f"{name}.png").write_bytes(name.encode())
    (tmp_path / "m.onnx").write_bytes(b"weights")
    (tmp_path / "out").mkdir()
    return Job(str(tmp_path / "pictures"), str(tmp_path / "m.onnx"), str(tmp_path / "out"))


def begin(job, part_size=2, overwrite=False) -> set[str]:
    refuse_place_of_results(job, overwrite)
    return open_results(job, make_manifest(job, part_size, print), overwrite)


def test_the_same_run_goes_on(job, tmp_path):
    assert begin(job) == set()
    (tmp_path / "out" / "predictions-000001.parquet").write_bytes(b"done")
    assert begin(job) == {MANIFEST, "predictions-000001.parquet"}
    assert begin(job, overwrite=True) == {MANIFEST, "predictions-000001.parquet"}


@pytest.mark.parametrize("name, weights", [("m[1].xml", "m[1].bin"), ("m.onnx", "m.onnx.data")])
def test_models_beside_it_are_not_the_model(job, tmp_path, name, weights):
    """Such as --runtime puts there: of another size, for another runtime, and notes on them."""
    for one in (name, weights):
        (tmp_path / one).write_bytes(b"weights")
    job.__dict__.update(weights=str(tmp_path / name))
    begin(job)
    (tmp_path / "out" / "predictions-000001.parquet").write_bytes(b"done")
    stem = name.partition(".")[0]
    for other in (f"{stem}_512.xml", f"{stem}_512.bin", f"{name}.kept.json", f"{stem}.tflite"):
        (tmp_path / other).write_bytes(b"others")
    assert begin(job) == {MANIFEST, "predictions-000001.parquet"}
    (tmp_path / weights).write_bytes(b"trained on")
    with pytest.raises(FileExistsError, match="another model"):
        begin(job)


OTHERS = {
    "model": lambda folder, job: (folder / "m.onnx").write_bytes(b"others"),
    "files": lambda folder, job: (folder / "pictures" / "b.png").write_bytes(b"longer"),
    "score": lambda folder, job: job.__dict__.update(score=0.5),
    "max objects": lambda folder, job: job.__dict__.update(max_objects=5),
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_run_is_refused(job, tmp_path, what):
    begin(job)
    part = tmp_path / "out" / "predictions-000001.parquet"
    part.write_bytes(b"done")
    OTHERS[what](tmp_path, job)
    with pytest.raises(
        FileExistsError, match=f"out: found results of a run with another {what}, expected none, or of this one"
    ):
        begin(job)
    assert part.read_bytes() == b"done"
    assert begin(job, overwrite=True) == set() and not part.exists()
    assert begin(job) == {MANIFEST}


def test_parts_of_another_size_are_another_run_but_none_is_lost_without_parts(job, tmp_path):
    begin(job)
    assert begin(job, part_size=1) == set()
    (tmp_path / "out" / "predictions-000000.parquet").write_bytes(b"done")
    with pytest.raises(FileExistsError, match="another files"):
        begin(job, part_size=2)


def test_files_of_others_are_refused(job, tmp_path):
    (tmp_path / "out" / "predictions-000000.parquet").write_bytes(b"precious")
    with pytest.raises(FileExistsError, match="predictions-000000.parquet: found a file of this name that no earlier run"):
        begin(job)
    assert begin(job, overwrite=True) == set()
    assert [path.name for path in (tmp_path / "out").iterdir()] == [MANIFEST]


def test_results_among_what_is_read_are_refused(job, tmp_path):
    for out in (tmp_path / "pictures", tmp_path / "pictures" / "new"):
        with pytest.raises(ValueError, match="found as output inside .*/pictures, the files to read, which are never"):
            refuse_place_of_results(Job(job.source, job.weights, str(out)), True)
    refuse_place_of_results(Job(job.source, job.weights, str(tmp_path / "pictures2")), False)


def test_results_among_what_is_read_by_another_name_are_refused(job, tmp_path):
    """Which the next run would take for pictures that have come, and not go on."""
    (tmp_path / "link").symlink_to("pictures")
    for source, out in (("link", "pictures/new"), ("pictures", "link"), ("pictures", "link/new")):
        with pytest.raises(ValueError, match="found as output inside"):
            refuse_place_of_results(Job(str(tmp_path / source), job.weights, str(tmp_path / out)), False)


def test_the_manifest_says_what_decides_the_results(job, tmp_path):
    begin(job)
    table = pq.read_table(tmp_path / "out" / MANIFEST)
    assert table.to_pylist() == [{"part": n // 2, "path": f"{name}.png", "size": 1} for n, name in enumerate("abc")]
    assert set(json.loads(table.schema.metadata[b"run"])) == {"model", "score", "max objects"}


def test_a_model_that_is_not_there(job):
    with pytest.raises(FileNotFoundError, match="none.keras: found no model, expected"):
        make_manifest(Job(job.source, job.source + "/none.keras", job.out), 2, print)
