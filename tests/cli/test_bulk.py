"""What `centerkp bulk` hands on, without a Ray."""

import pytest

import centerkp.bulk.run as bulk_run
from centerkp.cli import bulk, main


@pytest.mark.parametrize("flags, chosen", [
    ([], True), (["--address", "auto"], False), (["--address", "auto", "--runtime", "onnx"], True),
    (["--runtime", "keras"], True),
])  # fmt: skip
def test_a_runtime_that_was_named_counts_on_a_cluster_too(tmp_path, monkeypatch, flags, chosen):
    """Where nobody names one, the other machines may have GPUs."""
    jobs = []
    monkeypatch.setattr(bulk, "choose_for_use", lambda *_: "chosen.onnx")
    monkeypatch.setattr(bulk_run, "predict_bulk", lambda job, **_: jobs.append(job))
    assert main(["bulk", str(tmp_path), "--weights", "m.keras", *flags]) == 0
    assert jobs[0].weights == ("chosen.onnx" if chosen else "m.keras")
