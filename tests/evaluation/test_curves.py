import numpy as np
import pytest
from scored_objects import SCHEMA, blur, make_detection, make_record, random_records

from centerkp.evaluation.average_precision import box_precision, build_coco, keypoint_precision
from centerkp.evaluation.curves import HAIR, SCORES, Ranking, best_threshold, pool_rankings, score_curve
from centerkp.evaluation.evaluate import evaluate, ground_truth_as_detections

NOTHING = {"threshold": None, "precision": None, "recall": None, "f1": None}


def rank(*pairs, objects):
    return Ranking(np.array([p[0] for p in pairs], float), np.array([p[1] for p in pairs], bool), objects)


def test_best_threshold_by_hand():
    ranking = rank((0.9, True), (0.8, True), (0.6, False), (0.5, True), (0.2, False), objects=4)
    # F1 after each detection: 2/5, 4/6, 4/7, 6/8, 6/9
    best = best_threshold(ranking)
    assert best == {"threshold": pytest.approx(0.35), "precision": 0.75, "recall": 0.75, "f1": 0.75}


def test_of_nearly_equal_thresholds_the_middle_of_the_widest_range_is_taken():
    flat = rank(*[(0.9 - 0.01 * n, True) for n in range(10)], (0.2, False), objects=10)
    assert best_threshold(flat)["threshold"] == pytest.approx((0.81 + 0.2) / 2) and best_threshold(flat)["f1"] == 1
    # F1 is 1 between 0.705 and 0.7 alone, and within a hair of it from the 193rd of the 196 hits down to the last score.
    hair = rank(*[(0.9 - 0.001 * n, True) for n in range(196)], (0.7, False), (0.1, False), objects=196)
    best = best_threshold(hair)
    assert best["threshold"] == pytest.approx((0.708 + 0) / 2) and 1 - HAIR < best["f1"] < 1
    assert best["precision"] == pytest.approx(196 / 197) and best["recall"] == 1
    # F1 is 2/3 from 0.9 to 0.88 and from 0.5 to 0.1, and less between the two.
    two = rank((0.9, True), (0.88, False), (0.87, False), (0.5, True), (0.1, False), objects=2)
    assert best_threshold(two) == {"threshold": pytest.approx(0.3), "precision": 0.5, "recall": 1, "f1": pytest.approx(2 / 3)}


def test_equal_scores_are_in_or_out_together():
    ranking = rank((0.7, True), (0.7, False), (0.7, False), (0.1, False), objects=1)
    assert best_threshold(ranking) == {"threshold": pytest.approx(0.4), "precision": 1 / 3, "recall": 1, "f1": 0.5}


def test_without_hits_there_is_no_threshold():
    for ranking in (rank(objects=3), rank((0.9, False), objects=3), rank((0.9, False), objects=0)):
        assert best_threshold(ranking) == NOTHING


def test_score_curve_by_hand():
    curve = score_curve(rank((0.9, True), (0.5, False), (0.5, True), objects=4))
    at = {
        score: [curve[k][SCORES.index(score)] for k in ("precision", "recall", "f1")] for score in (0.0, 0.5, 0.51, 0.9, 0.91)
    }
    assert at[0.0] == at[0.5] == pytest.approx([2 / 3, 0.5, 4 / 7])
    assert at[0.51] == at[0.9] == pytest.approx([1, 0.25, 0.4])
    assert at[0.91] == [None, 0, 0]
    assert set(score_curve(rank((0.9, False), objects=0))["f1"]) == {None}


def test_pooling_leaves_out_classes_without_objects():
    pooled = pool_rankings([rank((0.9, True), objects=2), rank((0.95, False), objects=0), rank((0.92, False), objects=1)])
    assert pooled.scores.tolist() == [0.92, 0.9] and pooled.hits.tolist() == [False, True] and pooled.objects == 3


def test_hits_are_those_of_coco():
    """Detections on crowds and, for OKS, on objects without points count nowhere; a second one of an object is false."""
    points = [(110, 110, 2), (120, 120, 2), (130, 130, 2)]
    record = make_record(
        SCHEMA,
        1,
        [
            (1, [100, 100, 200, 200], points),
            (1, [400, 400, 600, 600], points, True),
            (1, [250, 250, 300, 300], np.zeros((3, 3))),
        ],
    )
    exact = [p[:2] for p in points]
    found = [
        make_detection(SCHEMA, 1, [100, 100, 200, 200], exact, 0.9),
        make_detection(SCHEMA, 1, [100, 100, 200, 200], exact, 0.8),
        make_detection(SCHEMA, 1, [420, 420, 500, 500], exact, 0.7),
        make_detection(SCHEMA, 1, [250, 250, 300, 300], [(0, 0)] * 3, 0.6),
    ]
    coco = build_coco([record], [found], SCHEMA)
    boxes = box_precision(*coco, SCHEMA, 100)[1].rankings["driver"]
    assert boxes.scores.tolist() == [0.9, 0.8, 0.6] and boxes.hits.tolist() == [True, False, True] and boxes.objects == 2
    keypoints = keypoint_precision(*coco, SCHEMA, [20] * SCHEMA.num_classes).rankings["driver"]
    assert keypoints.hits.sum() == 1 and keypoints.scores[keypoints.hits].tolist() == [0.9] and keypoints.objects == 1


def test_the_area_under_precision_at_recall_is_ap50():
    records = random_records(SCHEMA, images=10, objects=6)
    result = evaluate(records, blur(ground_truth_as_detections(records, SCHEMA), pixels=6), SCHEMA)
    boxes = [np.mean(values) for values in result.curves["boxes"]["precision_at_recall"].values()]
    assert np.mean(boxes) == pytest.approx(result.box["AP50"]) and 0.1 < np.mean(boxes) < 1
    for name, values in result.curves["keypoints"]["precision_at_recall"].items():
        assert np.mean(values) == pytest.approx(result.keypoints_per_class[name]["AP50"])


def test_the_best_threshold_is_no_worse_than_any_of_the_curve():
    records = random_records(SCHEMA, images=10, objects=6)
    result = evaluate(records, blur(ground_truth_as_detections(records, SCHEMA), pixels=6), SCHEMA)
    for kind in ("boxes", "keypoints"):
        for name, best in result.best_f1[kind].items():
            curve = result.curves[kind]["score"][name]
            assert best["f1"] >= max(curve["f1"]) - HAIR
            place = int(np.floor(best["threshold"] * 100))
            assert min(abs(f - best["f1"]) for f in curve["f1"][place : place + 2]) < 0.05
