import dataclasses
import io
import re

import numpy as np
from rich.console import Console
from scored_objects import SCHEMA, blur, make_detection, make_record, random_records

from centerkp.evaluation.evaluate import evaluate, ground_truth_as_detections
from centerkp.evaluation.tables import (
    GUESS,
    class_table,
    collect_notes,
    confusion_table,
    keypoint_table,
    number_table,
    pck_table,
    print_evaluation,
    print_tables,
    threshold_table,
)
from centerkp.schema import ObjectClass, Schema


def measure(pixels=3.0, schema=SCHEMA, **options):
    records = random_records(schema, images=8)
    return evaluate(records, blur(ground_truth_as_detections(records, schema), pixels=pixels), schema, **options)


def find_row(table, name):
    return next(row for row in table.rows if row[0].strip() == name)


def test_all_twelve_numbers_stand_beside_those_of_oks():
    e = measure()
    table = number_table({"": e})
    assert [row[0].split()[0] for row in table.rows] == list(e.box)
    assert table.headings == ("", "boxes", "OKS")
    rows = {row[0].split()[0]: row[1:] for row in table.rows}
    assert rows["AP"] == (f"{e.box['AP']:.3f}", f"{e.keypoints['AP']:.3f}")
    assert rows["AR100"] == (f"{e.box['AR100']:.3f}", f"{e.keypoints['AR']:.3f}")
    assert rows["APs"] == (f"{e.box['APs']:.3f}", "-") and rows["AR1"][1] == "-"
    assert number_table({"": measure(schema=Schema.generic(2))}).headings == ("", "boxes")


def test_models_stand_side_by_side():
    good, bad = measure(1.0), measure(12.0)
    models = {"good": good, "bad": bad}
    assert number_table(models).headings == ("", "boxes good", "OKS good", "boxes bad", "OKS bad")
    rows = class_table(models).rows
    assert rows[0] == ("pliers",) and [r[0] for r in rows[1:3]] == ["  good", "  bad"]
    assert [r[2] for r in rows[1:3]] == [f"{e.box_per_class['pliers']:.3f}" for e in (good, bad)]
    rows = keypoint_table(models).rows
    assert [r[0] for r in rows[:4]] == ["pliers", "  left_handle", "    good", "    bad"]
    assert [r[3] for r in rows[2:4]] == [f"{e.per_keypoint['pliers/left_handle']['median_px']:.1f}" for e in (good, bad)]


def test_models_of_different_classes():
    other = measure(schema=Schema.generic(1, 2))
    rows = {row[0]: row for row in keypoint_table({"a": measure(), "b": other}).rows}
    assert ("class_0",) in rows.values() and "    a" in rows
    models = {"a": measure(), "b": other}
    for table in (class_table(models), pck_table(models), threshold_table(models)):
        assert all(len(row) in (1, len(table.headings)) for row in table.rows)
    rows = class_table(models).rows
    assert rows[rows.index(("class_0",)) + 1] == ("  a", "-", "-", "-", "-", "-", "-")


def test_errors_and_sigmas_by_keypoint():
    e = measure()
    numbers = e.per_keypoint["driver/shaft"]
    row = find_row(keypoint_table({"": e}), "shaft")
    assert row[1:] == (
        str(numbers["labelled"]),
        f"{numbers['pck']:.3f}",
        f"{numbers['median_px']:.1f}",
        f"{numbers['p95_px']:.1f}",
        f"{numbers['median_share']:.1%}",
        f"{numbers['p95_share']:.1%}",
        "0.060 JSON",
    )
    assert numbers["p95_px"] > numbers["median_px"] > 0


def test_pck_grows_with_the_share_and_meets_the_known_number():
    e = measure()
    row = find_row(pck_table({"": e}), "pliers")
    assert row[3] == f"{e.pck_per_class['pliers']:.3f}" and list(row[1:]) == sorted(row[1:])
    assert find_row(pck_table({"": e}), "all classes")[3] == f"{e.pck:.3f}"


def test_thresholds():
    e = measure()
    best, keypoints = e.best_f1["boxes"]["nut"], find_row(threshold_table({"": e}), "nut")[5:]
    assert find_row(threshold_table({"": e}), "nut")[1] == f"{best['threshold']:.3f}" and keypoints == ("-",) * 4


def test_confusion_as_a_matrix_and_as_a_list():
    box = [0, 0, 100, 100]
    record = make_record(SCHEMA, 1, [(0, box, np.zeros((5, 3))), (2, [300, 0, 400, 100], ())])
    found = [make_detection(SCHEMA, 1, box, np.zeros((3, 2)))]
    e = evaluate([record], [found], SCHEMA, min_score=0.25)
    table = confusion_table(e, "m.keras")
    assert table.title == "Confusion of m.keras, detections of score 0.250 or more"
    assert table.headings == ("annotated", "pliers", "driver", "nut", "missed")
    assert find_row(table, "pliers")[1:] == ("0", "1", "0", "0") and find_row(table, "nut")[1:] == ("0", "0", "0", "1")
    assert find_row(table, "nothing")[1:] == ("0", "0", "0", "")
    listed = confusion_table(e, most=2)
    assert listed.rows == (("pliers -> driver", "1"), ("nut -> missed", "1"))


def test_notes_say_whose_they_are():
    a = measure()
    b = dataclasses.replace(a, notes=("only of b",), sigma_sources={"pliers": "json", "driver": "json"})
    a = dataclasses.replace(a, notes=("of both",))
    assert collect_notes({"a": a, "b": dataclasses.replace(b, notes=("of both", "only of b"))}) == [
        GUESS,
        "of both",
        "b: only of b",
    ]
    assert collect_notes({"b": b}) == ["only of b"]


def test_of_many_classes_and_keypoints_the_worst_are_printed():
    """And those that nothing uses take no line; a page has all."""
    kinds = [ObjectClass(f"kind_{n}", n + 1, tuple(f"p{k}" for k in range(10))) for n in range(22)]
    schema = Schema((*kinds, *(ObjectClass(f"unused_{n}", 100 + n) for n in range(20))))
    records = random_records(schema, images=60, missing=[c.name for c in schema.classes[22:]])
    e = evaluate(records, blur(ground_truth_as_detections(records, schema), pixels=8.0), schema)
    file = io.StringIO()
    print_evaluation(e, Console(file=file, width=80))
    text = " ".join(file.getvalue().split())
    assert len(file.getvalue().splitlines()) < 60 and "unused_" not in text
    assert re.search("10 of 42 classes, those with the lowest box AP; 12 others from [0-9. to]+; 20 without any", text)
    assert "10 of 220 keypoints, those with the lowest PCK@0.1; 210 others from" in text
    assert "20 of 42 classes have no annotated objects here." in text
    worst = sorted(known for known in e.box_per_class.values() if known is not None)[:10]
    table = class_table({"": e}, cut=True)
    assert [row[2] for row in table.rows] == [f"{ap:.3f}" for ap in worst]
    assert len(class_table({"": e}).rows) == 42 and len(keypoint_table({"": e}).rows) == 22 + 220
    for make, rows in ((pck_table, 23), (threshold_table, 11)):  # only 22 classes have keypoints
        table = make({"": e}, cut=True)
        assert table.rows[0][0] == "all classes" and len(table.rows) == rows and bool(table.rest) == (rows == 11)
        assert not make({"": e}).rest


def test_everything_fits_80_columns():
    models = {f"runs/a_name_that_is_rather_long_{n}/best.keras": measure(n + 1) for n in range(3)}
    numbered = {str(n): e for n, e in enumerate(models.values(), 1)}
    file = io.StringIO()
    tables = [class_table(models), keypoint_table(models), pck_table(models), threshold_table(models), number_table(numbered)]
    print_tables([*tables, *(confusion_table(e, name) for name, e in models.items())], Console(file=file, width=80))
    text = file.getvalue()
    assert max(map(len, text.splitlines())) <= 80 and "…" not in text and text.count("0.060 JSON") == 3
