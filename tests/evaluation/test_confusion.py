import numpy as np
from scored_objects import SCHEMA, blur, make_detection, make_record, random_records

from centerkp.evaluation.confusion import count_confusion, match_image
from centerkp.evaluation.evaluate import evaluate, ground_truth_as_detections

A, B, C = [0, 0, 100, 100], [200, 0, 300, 100], [400, 0, 500, 100]


def test_every_outcome_once():
    record = make_record(SCHEMA, 1, [(0, A, np.zeros((5, 3))), (1, B, np.zeros((3, 3))), (2, C, ())])
    found = [
        make_detection(SCHEMA, 0, A, np.zeros((5, 2)), 0.6),  # right
        make_detection(SCHEMA, 2, [0, 0, 100, 90], score=0.9),  # on an object that its own class's detection has
        make_detection(SCHEMA, 2, [200, 0, 300, 95], score=0.5),  # a driver taken for a nut
        make_detection(SCHEMA, 1, [600, 600, 640, 640], np.zeros((3, 2)), 0.4),  # nothing there
    ]
    outcome = match_image(record, found)
    assert outcome.matches.tolist() == [0, -1, -1] and outcome.mistaken.tolist() == [-1, 2, -1]
    assert outcome.missed.tolist() == [False, False, True] and outcome.false.tolist() == [1, 3]
    counts = count_confusion([record], [found], SCHEMA, 0.0)
    assert counts == [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 1, 1, 0]]
    assert count_confusion([record], [found], SCHEMA, 0.55) == [[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 1, 0]]


def test_crowds_count_nowhere():
    record = make_record(SCHEMA, 1, [(2, [0, 0, 300, 300], (), True)])
    inside, other_class = make_detection(SCHEMA, 2, A), make_detection(SCHEMA, 1, A, np.zeros((3, 2)))
    half_out = make_detection(SCHEMA, 2, [201, 0, 401, 100])
    assert match_image(record, [inside, other_class, half_out]).false.tolist() == [1, 2]
    assert count_confusion([record], [[inside]], SCHEMA, 0.0) == np.zeros((4, 4)).tolist()


def test_nothing_annotated_or_nothing_found():
    empty, record = make_record(SCHEMA, 1, []), make_record(SCHEMA, 2, [(2, A, ())])
    assert match_image(empty, [make_detection(SCHEMA, 2, A)]).false.tolist() == [0]
    assert match_image(record, []).missed.tolist() == [True]
    assert match_image(empty, []).false.tolist() == []


def test_rows_are_the_objects_and_columns_the_detections():
    records = random_records(SCHEMA, images=8)
    detections = blur(ground_truth_as_detections(records, SCHEMA), pixels=8)
    result = evaluate(records, detections, SCHEMA, min_score=0.4)
    counts = np.array(result.confusion["counts"])
    assert counts[:-1].sum(1).tolist() == list(result.objects.values())
    kept = sum(d.score >= 0.4 for found in detections for d in found)
    assert 0 < counts[:, :-1].sum() <= kept and result.confusion["min_score"] == 0.4
    best = evaluate(records, detections, SCHEMA)
    assert best.confusion["min_score"] == best.best_f1["boxes"]["all classes"]["threshold"]
    assert best.confusion["names"] == ["pliers", "driver", "nut", "background"]
