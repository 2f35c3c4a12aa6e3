import numpy as np
import pytest

from centerkp.export.verify import TOLERANCES, Tolerance, compare, measure_size, verify
from centerkp.schema import Schema

SCHEMA = Schema.generic(2, [2, 0])
TIGHT = Tolerance(pixels=0.5, share=0.01, score=0.01, outliers=0.0)


def objects(*rows):
    """(class, score, x, y): boxes 20 x 10 with their two keypoints in the corners; padded with two empty rows."""
    boxes = np.zeros((len(rows) + 2, 4), np.float32)
    found = {"boxes": boxes, "scores": np.zeros(len(boxes), np.float32), "class_ids": np.zeros(len(boxes), np.int32)}
    points = np.zeros((len(boxes), 2, 2), np.float32)
    for i, (class_id, score, x, y) in enumerate(rows):
        boxes[i], found["scores"][i], found["class_ids"][i] = (x, y, x + 20, y + 10), score, class_id
        if class_id == 0:
            points[i] = [(x, y), (x + 20, y + 10)]
    return found | {"keypoints": points, "keypoint_scores": np.ones((len(boxes), 2), np.float32)}


FIVE = [(0, 0.9, 0, 0), (1, 0.8, 30, 0), (0, 0.7, 0, 30), (0, 0.5, 60, 60), (1, 0.3, 90, 90), (0, 0.05, 200, 0)]


def changed(index, **values):
    row = dict(zip(("class_id", "score", "x", "y"), FIVE[index], strict=True)) | values
    return [*FIVE[:index], tuple(row.values()), *FIVE[index + 1 :]]


def test_equal_objects_in_another_order():
    found = compare([objects(*FIVE)], [objects(*FIVE[::-1])], SCHEMA, TIGHT)
    assert (found.objects, found.unmatched, len(found.boxes), len(found.keypoints), len(found.scores)) == (5, 0, 5, 6, 5)
    assert max(found.boxes + found.keypoints + found.scores) == 0 and not found.failures(TIGHT)


def test_differences_are_measured_and_held_against_pixels_and_size():
    found = compare([objects(*FIVE)], [objects(*changed(2, x=0.6, y=30))], SCHEMA, TIGHT)
    assert max(found.boxes) == max(found.keypoints) == pytest.approx(0.6)
    assert not found.failures(TIGHT)  # 0.5 pixels and 1 % of 20
    found = compare([objects(*FIVE)], [objects(*changed(2, x=0.8, y=30.6))], SCHEMA, TIGHT)
    assert max(found.boxes) == pytest.approx(0.8) and max(found.keypoints) == pytest.approx(1.0)
    assert found.over == {"boxes": 1, "keypoints": 2, "scores": 0}
    assert found.failures(TIGHT) == ["boxes that differ: 1 of 5, allowed 0%", "keypoints that differ: 2 of 6, allowed 0%"]
    assert not found.failures(Tolerance(0.5, 0.01, 0.01, 0.4))
    assert found.to_dict()["keypoints"] == {"count": 6, "median": 0.0, "largest": pytest.approx(1.0), "over": 2}
    # In source pixels of an image twice as large, the same is half as much.
    assert not compare([objects(*FIVE)], [objects(*changed(2, x=0.8, y=30.6))], SCHEMA, TIGHT, [2.0]).failures(TIGHT)


def test_scores():
    found = compare([objects(*FIVE)], [objects(*changed(0, score=0.88))], SCHEMA, TIGHT)
    assert found.failures(TIGHT) == ["scores that differ: 1 of 5, allowed 0%"]


@pytest.mark.parametrize(
    "rows", [FIVE[1:], changed(0, class_id=1), changed(0, x=11), [*FIVE, (0, 0.2, 150, 150)], [*FIVE, FIVE[0]]]
)
def test_lost_exchanged_moved_and_invented_objects(rows):
    failures = compare([objects(*FIVE)], [objects(*rows)], SCHEMA, TIGHT).failures(TIGHT)
    assert failures and failures[0].startswith("objects without a partner")


def test_an_object_at_the_limit_of_the_score_is_not_lost():
    limit = [*FIVE, (0, 0.101, 150, 150)]
    below = [*FIVE, (0, 0.099, 150, 150)]
    for one, other in ((limit, below), (below, limit)):
        assert not compare([objects(*one)], [objects(*other)], SCHEMA, TIGHT).failures(TIGHT)


def test_the_last_of_a_full_list_may_change():
    cut = {name: values[:5] for name, values in objects(*FIVE[:4], (1, 0.301, 90, 90)).items()}
    other = {name: values[:5] for name, values in objects(*FIVE[:4], (1, 0.302, 150, 150)).items()}
    assert not compare([cut], [other], SCHEMA, TIGHT).failures(TIGHT)
    better = {name: values[:5] for name, values in objects(*FIVE[:4], (1, 0.4, 150, 150)).items()}
    assert compare([cut], [better], SCHEMA, TIGHT).failures(TIGHT)


def test_numbers_that_are_not_finite():
    broken = objects(*FIVE)
    broken["keypoints"][0, 1, 0] = np.nan
    assert "a number that is not finite" in compare([objects(*FIVE)], [broken], SCHEMA, TIGHT).failures(TIGHT)


def test_models_that_find_hardly_anything_are_compared_on_their_best():
    weak = [(0, 0.05, 0, 0), (0, 0.04, 60, 60)]
    found = compare([objects(*weak)], [objects(*weak[:1])], SCHEMA, TIGHT)
    assert found.unmatched >= 1 and found.failures(TIGHT)
    # The empty rows behind them are no objects.
    same = compare([objects(*weak)], [objects(*weak)], SCHEMA, TIGHT)
    assert (same.objects, same.unmatched, len(same.boxes)) == (2, 0, 2) and not same.failures(TIGHT)


def test_the_model_passes_against_itself_and_fails_against_another(tiny_model, pictures, tmp_path):
    class Same:
        path, takes_any_size = tmp_path, False
        shift = 0.0

        def predict_on_batch(self, inputs):
            found = tiny_model.predict_on_batch(inputs)
            return {name: np.asarray(values) + (self.shift if name == "boxes" else 0) for name, values in found.items()}

    (tmp_path / "weights").write_bytes(b"12345")
    same = verify(Same(), tiny_model, pictures, "fp32", rounds=3)
    assert same.failures == [] and same.canvas.objects >= 5 and same.size == 5 and same.latency > 0
    assert same.to_dict()["passed"] is True
    Same.shift = 1.0
    assert verify(Same(), tiny_model, pictures, "fp32", rounds=3).failures


def test_size_counts_the_files_of_one_name(tmp_path):
    for name, size in (("m.xml", 3), ("m.bin", 5), ("m.json", 100), ("other.bin", 7)):
        (tmp_path / name).write_bytes(b"x" * size)
    assert measure_size(tmp_path / "m.xml") == 8
    assert measure_size(tmp_path) == 15


def test_every_precision_has_a_tolerance_and_wider_ones_follow():
    ordered = [TOLERANCES[p] for p in ("fp32", "fp16", "bf16", "int8")]
    assert all(a.pixels < b.pixels and a.score < b.score for a, b in zip(ordered[:-1], ordered[1:], strict=True))
