import numpy as np
import pytest
from scored_objects import ONE_POINT, SCHEMA, SIGMA, make_detection, make_record

from centerkp.evaluation.evaluate import evaluate
from centerkp.evaluation.image_quality import measure_image

BOX = [0, 0, 100, 100]


def test_quality_is_the_oks_of_a_found_object():
    record = make_record(ONE_POINT, 1, [(0, BOX, [(50, 50, 2)])])
    for oks in (0.97, 0.72):
        distance = np.sqrt(-2 * 100**2 * (2 * SIGMA) ** 2 * np.log(oks))
        found = [make_detection(ONE_POINT, 0, BOX, [(50 + distance, 50)])]
        assert measure_image(record, found, ONE_POINT, 0.3).quality == pytest.approx(oks, rel=1e-4)
        ap = evaluate([record], [found], ONE_POINT).keypoints["AP"]
        assert ap == pytest.approx(np.mean(oks >= np.linspace(0.5, 0.95, 10)))


def test_quality_is_the_iou_without_points_and_zero_for_mistakes():
    record = make_record(SCHEMA, 1, [(2, BOX, ()), (2, [200, 0, 300, 100], ()), (2, [400, 0, 500, 100], (), True)])
    found = [make_detection(SCHEMA, 2, [0, 0, 100, 80]), make_detection(SCHEMA, 2, [200, 300, 300, 400])]
    quality = measure_image(record, found, SCHEMA, 0.3)
    assert (quality.objects, quality.missed, quality.mistaken, quality.false) == (2, 1, 0, 1)
    assert quality.quality == pytest.approx(0.8 / 3)
    assert quality.describe() == "1 of 2 objects missed, 1 false, quality 0.27"
    weak = measure_image(record, [make_detection(SCHEMA, 2, BOX, score=0.2)], SCHEMA, 0.3)
    assert measure_image(make_record(SCHEMA, 1, [(2, BOX, ())]), found[:1], SCHEMA, 0.3).describe().startswith("1 object found")
    assert weak.quality == 0 and weak.missed == 2 and weak.false == 0


def test_an_empty_image_without_detections_is_perfect():
    record = make_record(SCHEMA, 1, [])
    assert measure_image(record, [], SCHEMA, 0.3).quality == 1
    assert measure_image(record, [make_detection(SCHEMA, 2, BOX)], SCHEMA, 0.3).quality == 0
