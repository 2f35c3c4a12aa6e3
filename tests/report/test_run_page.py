"""Pages of training runs: whatever a run has or does not have, and whatever its names are."""

import re
from dataclasses import replace

import numpy as np
import pytest
from scored_objects import SCHEMA, blur, random_records

from centerkp.evaluation.evaluate import Evaluation, evaluate, ground_truth_as_detections
from centerkp.evaluation.tables import TextTable
from centerkp.images.saving import write_image
from centerkp.report.run_page import RunFacts, write_run_page
from centerkp.report.runs_page import write_runs_page
from centerkp.report.training_curves import find_best
from centerkp.schema import ObjectClass, Schema

WICKED = "<script>alert(1)</script>\"'&"
WITHOUT_POINTS = Schema((ObjectClass("nut", 1),))
MANY_POINTS = Schema((ObjectClass("face", 1, tuple(f"point_{n}" for n in range(200))), ObjectClass(WICKED, 2, (WICKED,))))


def measure(schema):
    records = random_records(schema, images=5)
    return evaluate(records, blur(ground_truth_as_detections(records, schema)), schema)


def make_rows(epochs, *terms):
    """A log whose every second epoch was evaluated, from the first on; the last of these is the best."""
    rows = []
    for epoch in range(1, epochs + 1):
        row = {"epoch": epoch, "seconds": 2.0, "learning_rate": 1e-4, "loss": 9 / epoch} | {term: 3 / epoch for term in terms}
        if epoch % 2:
            row |= {"val_loss": 10 / epoch, "box_ap": epoch / 9, "score": epoch / 9, "best": 1}
        rows.append(row)
    return rows


def make_facts(**values):
    return RunFacts(**{"name": "a", "path": "runs/a", "state": "finished"} | values)


def check_html(path):
    text = path.read_text(encoding="utf-8")
    assert "<script" not in text and not re.search(r"(src|href)=\"(?!data:|#)", text)
    assert text.count("<details>") == text.count("</details>") and "nan" not in re.sub(r"<svg.*?</svg>", "", text, flags=re.S)
    return text


@pytest.mark.parametrize("rows", [[], make_rows(1), make_rows(4, "center_heatmap", "new_term"), make_rows(2)[1:]])
@pytest.mark.parametrize("schema", [None, WITHOUT_POINTS, SCHEMA, MANY_POINTS])
def test_every_kind_of_run_has_a_page(rows, schema, tmp_path):
    evaluation = measure(schema) if schema else None
    facts = make_facts(rows=rows, evaluation=evaluation, evaluated="best.keras", seconds={"steps": 3.0, "whole": 9.0})
    text = check_html(write_run_page(facts, tmp_path / "r.html"))
    assert text.count("<svg") == (0 if not rows else sum(any(k in r for r in rows) for k in (
        "box_ap", "loss", "center_heatmap", "new_term", "learning_rate")))  # fmt: skip
    assert ("Error by keypoint" in text) == bool(schema and schema.num_keypoints)
    assert ("has not been evaluated yet" in text) == (schema is None)
    check_html(write_runs_page([facts, make_facts(name="b"), make_facts(name="c", rows=make_rows(3))], tmp_path / "rs.html"))


def test_of_many_keypoints_the_worst_come_first(tmp_path):
    evaluation = measure(MANY_POINTS)
    for n, name in enumerate(evaluation.per_keypoint):
        evaluation.per_keypoint[name] |= {"median_px": float(n), "p95_px": n + 1.0}
    text = write_run_page(make_facts(evaluation=evaluation), tmp_path / "r.html").read_text()
    shown, folded = text.split("<details>", 1)
    labels = re.findall(r'<div class="label">(.*?)</div>', shown)
    assert len(labels) == 24 and labels[1] == "face, point_199" and "point_100<" not in shown and "point_100<" in folded


def test_hostile_names_are_text(tmp_path):
    picture = tmp_path / "p.jpg"
    write_image(picture, np.zeros((8, 8, 3), np.uint8))
    facts = make_facts(
        name=WICKED, path=WICKED, state="stopped", error=WICKED, values={WICKED: WICKED}, notes=[WICKED],
        differences=[(WICKED, WICKED, WICKED, WICKED)], rows=make_rows(2, WICKED), command=WICKED, versions={WICKED: WICKED},
        tables=[TextTable(WICKED, (WICKED, "n"), ((WICKED, "1"),) * count) for count in (1, 99)], evaluated=WICKED,
        evaluation=measure(MANY_POINTS), pictures=[(WICKED, {WICKED: picture}), ("gone", {"truth": tmp_path / "gone.jpg"})],
    )  # fmt: skip
    assert check_html(write_run_page(facts, tmp_path / "r.html")).count("data:image/jpeg") == 1
    check_html(write_runs_page([facts, make_facts()], tmp_path / "rs.html"))


@pytest.mark.parametrize(("waited", "told"), [(0.5, True), (0.05, False)])
def test_data_that_hold_up_the_steps_have_a_remedy(waited, told, tmp_path):
    seconds = {"data": 100 * waited, "steps": 100 * (1 - waited), "whole": 130.0}
    text = write_run_page(make_facts(rows=make_rows(1), seconds=seconds), tmp_path / "r.html").read_text()
    assert (f"waited for images {waited:.0%} of their time" in text) == told == ("--threads" in text)
    assert "30 s, 23%" in text  # start and all else


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("interrupted", "--resume runs/a"),
        ("stopped", "the loss is nan"),
        ("training", "The run goes on"),
        ("finished", "Finished after 2 epochs"),
    ],
)
def test_page_says_where_the_run_stands(state, words, tmp_path):
    facts = make_facts(state=state, error="the loss is nan" * (state == "stopped"), rows=make_rows(2))
    assert words in write_run_page(facts, tmp_path / "r.html").read_text()


def test_runs_side_by_side_show_what_differs_and_what_is_best(tmp_path):
    runs = [
        make_facts(name=f"run{n}", rows=make_rows(3), evaluation=measure(SCHEMA), values={"epochs": str(n), "seed": "0"})
        for n in range(8)
    ]
    text = write_runs_page(runs, tmp_path / "rs.html").read_text()
    assert ">epochs</th>" in text and ">seed</th>" not in text and 'class="best"' in text
    assert text.count("border-top-style:dashed") == 2 * 2  # of eight runs two come after the last colour, in two legends


def test_runs_of_the_same_name_are_told_apart(tmp_path):
    """By what their paths differ in: curves and numbers of both are there."""
    facts = make_facts(name="fold_1", rows=make_rows(3), evaluation=measure(SCHEMA))
    runs = [replace(facts, path=f"runs/{name}/fold_1") for name in "ab"]
    text = write_runs_page(runs, tmp_path / "rs.html").read_text()
    assert text.count("</i>a</li>") == text.count("</i>b</li>") == 2  # beside curves, and errors by keypoint
    text = write_runs_page([*runs, runs[1]], tmp_path / "rs.html").read_text()
    assert "runs/b/fold_1 (2)" in text and "runs/b/fold_1 (3)" in text


def test_best_epoch_is_the_last_that_was_best():
    assert find_best(make_rows(4)) == 3 and find_best(make_rows(2)[1:]) is None


def test_evaluation_comes_back_from_its_numbers():
    evaluation = measure(SCHEMA)
    assert Evaluation.from_dict(evaluation.to_dict() | {"folds": {}}).to_dict() == evaluation.to_dict()
    for wrong in ({}, evaluation.to_dict() | {"notes": 3}, {"notes": []}):
        with pytest.raises(ValueError, match="expected the numbers of this version"):
            Evaluation.from_dict(wrong)
