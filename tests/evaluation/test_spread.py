import pytest
from scored_objects import SCHEMA, random_records

from centerkp.evaluation.evaluate import evaluate, ground_truth_as_detections
from centerkp.evaluation.spread import measure_spread, spread_table


def test_every_number_by_hand():
    numbers = measure_spread([
        {"box": {"AP": 0.5, "APs": None}, "pck": 0.25, "notes": ["a"], "names": "x", "few": None},
        {"box": {"AP": 0.7, "APs": 0.1}, "pck": None, "notes": [], "names": "x", "few": None},
        {"box": {"AP": 0.9, "APs": 0.3}, "pck": 0.75, "notes": [], "names": "x", "late": {"n": 3}},
    ])  # fmt: skip
    assert numbers["box"]["AP"] == {"mean": pytest.approx(0.7), "spread": pytest.approx(0.2), "values": [0.5, 0.7, 0.9]}
    assert numbers["box"]["APs"]["values"] == [None, 0.1, 0.3] and numbers["box"]["APs"]["mean"] == pytest.approx(0.2)
    assert numbers["pck"]["spread"] == pytest.approx(0.125**0.5)
    assert numbers["late"]["n"] == {"mean": 3, "spread": None, "values": [None, None, 3]}
    assert numbers.keys() == {"box", "pck", "late"}


def test_table_has_every_class_and_fits_a_terminal():
    records = random_records(SCHEMA, images=8, missing=["nut"])
    truth = ground_truth_as_detections(records, SCHEMA)
    parts = [evaluate(records[i::2], truth[i::2] if i else [[]] * 4, SCHEMA).to_dict() for i in range(2)]
    table = spread_table(measure_spread(parts), evaluate(records, truth, SCHEMA))
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["box AP"] == ("0.500", "0.707", "0.000", "1.000", "1.000") and rows["PCK@0.1"][-1] == "1.000"
    assert [row[0] for row in table.rows if len(row) == 1] == ["pliers", "driver", "nut"]
    assert table.rows[[row[0] for row in table.rows].index("nut") + 1] == ("  box AP", *"-----")
