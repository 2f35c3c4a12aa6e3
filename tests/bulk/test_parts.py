"""The work of one process, without Ray: a part's number goes in, its rows come out."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest

import centerkp
from centerkp.bulk.parts import Job, Worker, make_schema, part_name, whole_file
from centerkp.bulk.results import make_manifest, open_results


def do_all(job, part_size) -> tuple[list[dict], list[dict]]:
    """The rows of all parts, and what was said of each."""
    manifest = make_manifest(job, part_size, lambda note: None)
    open_results(job, manifest, overwrite=False)
    worker, rows, answers = Worker(job), [], []
    for part in range(manifest["part"][-1].as_py() + 1):
        answers.append({name: values[0] for name, values in worker({"part": np.array([part])}).items()})
        if not answers[-1]["fault"]:
            rows += pq.read_table(f"{job.out}/{part_name(part)}", schema=make_schema()).to_pylist()
    return rows, answers


@pytest.fixture(scope="module")
def done(made, model, tmp_path_factory):
    out = tmp_path_factory.mktemp("done") / "out"
    return do_all(Job(str(made), str(model), str(out), score=0.01, max_objects=3, threads=2), 6)


def test_every_picture_has_one_row(done):
    rows, answers = done
    assert len(rows) == len({row["image"] for row in rows}) == 20
    assert [row["image"] for row in rows if row["error"]] == ["sub/05b.png"]
    sizes = {bool(row["error"]): (row["width"], row["height"]) for row in rows}
    assert sizes == {False: (40, 30), True: (None, None)}
    totals = {name: sum(answer[name] for answer in answers) for name in ("images", "unread", "objects", "parts")}
    assert totals == {"images": 20, "unread": 1, "objects": 57, "parts": 6}
    assert {answer["least"] for answer in answers} == {"least score 0.01, as given"}
    assert [bool(answer["error"]) for answer in answers] == [False, False, False, True, False, False]


def test_rows_are_what_predict_finds(done, made, model):
    rows = {row["image"]: row for row in done[0]}
    results = centerkp.predict(model, sorted((made / "sub").glob("[01]?.png")), min_score=0.01)
    assert len(results) == 12
    for result in results:
        found = rows[f"sub/{result.path.name}"]["objects"]
        assert len(found) == 3
        for one, detection in zip(found, result.detections[:3], strict=True):
            assert one["class_name"] == detection.class_name
            assert one["score"] == pytest.approx(detection.score, abs=1e-5)
            np.testing.assert_allclose([one[side] for side in ("x0", "y0", "x1", "y1")], detection.box_xyxy, atol=1e-3)
            assert tuple(point["keypoint"] for point in one["keypoints"]) == detection.keypoint_names
            points = [[p[name] for name in ("x", "y", "keypoint_score", "keypoint_deviation")] for p in one["keypoints"]]
            columns = [detection.keypoints_xy, detection.keypoint_scores[:, None], detection.keypoint_deviations[:, None]]
            np.testing.assert_allclose(np.reshape(points, (-1, 4)), np.concatenate(columns, axis=1), atol=1e-3)


def test_an_exported_model_is_run_without_keras(source, exported, tmp_path):
    """Whose import takes a worker longer than most parts do."""
    code = (
        "import sys; from bulk.test_parts import Job, do_all; "
        "answers = do_all(Job(*sys.argv[1:], score=0.01), 6)[1]; "
        "assert not any(answer['fault'] for answer in answers), answers; "
        "assert not {'keras', 'tensorflow', 'jax'} & set(sys.modules)"
    )
    tests = Path(__file__).parents[1]
    variables = os.environ | {"PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)])}
    arguments = [str(source / "sub"), str(exported), str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_ends_the_run_is_said_in_a_sentence(source, model, tmp_path):
    shutil.copy(source / "notes.txt", bad := tmp_path / "bad.keras")
    (answer,) = do_all(Job(str(source / "t.tar"), str(bad), str(tmp_path / "out")), 6)[1]
    assert "bad.keras" in answer["fault"] and answer["images"] == 0
    (answer,) = do_all(Job(str(source / "t.tar"), str(model), str(tmp_path / "out2"), score=7), 6)[1]
    assert answer["fault"] == "score: found 7, expected a number from 0 to 1."
    assert sorted(path.name for path in (tmp_path / "out2").iterdir()) == ["_manifest.parquet"]


def test_into_a_store():
    """In the memory of this process, as fsspec has it."""
    with whole_file("fsspec+memory://bucket/out", "a.txt") as path:
        path.write_text("whole")
    assert fsspec.filesystem("memory").cat("/bucket/out/a.txt") == b"whole"
