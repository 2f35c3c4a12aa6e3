import pytest
import squares

from centerkp.inference.augmented import AugmentedDetector
from centerkp.inference.model_loading import OnDevice
from centerkp.inference.scores import choose_least_scores
from centerkp.results import Thresholds
from centerkp.schema import Schema
from centerkp.weights.start import build_model


def detector(thresholds=None, schema=squares.SCHEMA):
    one = squares.SquareDetector()
    one.schema, one.thresholds = schema, thresholds
    return one


def test_what_is_given_comes_before_what_is_stored_and_that_before_the_fallback():
    stored = Thresholds(0.1, (0.125, 0.05), (20, 30))
    given, known, unknown = (choose_least_scores(detector(one), score) for one, score in
                             ((stored, 0.5), (stored, None), (None, None)))  # fmt: skip
    assert given.values == (0.5, 0.5) and given.sentence == "least score 0.5, as given"
    assert known.values == (0.125, 0.05)
    assert known.sentence == "least scores red 0.125, green 0.05, stored with the model: the best F1 on its validation images"
    assert unknown.values == (0.3, 0.3) and unknown.sentence.startswith("least score 0.3, since none is stored with the model")
    assert choose_least_scores(squares.SquareDetector()) == unknown  # which has no such attribute
    for wrong in (30, -0.1, float("nan")):
        with pytest.raises(ValueError, match="score: found .*, expected a number from 0 to 1"):
            choose_least_scores(detector(stored), wrong)


def test_what_few_objects_decided_is_called_a_guess():
    few = choose_least_scores(detector(Thresholds(0.1, (0.125, 0.1), (19, 0))))
    assert few.sentence.endswith("images (a guess where few objects decide it: 19 of red, 0 of green)")
    alone = choose_least_scores(detector(Thresholds(0.1, (0.1,), (1,)), Schema.generic(1)))
    assert alone.sentence.startswith("least score 0.1, stored") and "decide it: 1 of class_0)" in alone.sentence
    many = choose_least_scores(detector(Thresholds(0.1, (0.05,) + (0.25,) * 8, (5,) * 9), Schema.generic(9)))
    assert many.sentence.startswith("least scores from 0.05 to 0.25 by class, stored")
    assert many.sentence.endswith("5 of class_5 and few of 3 classes more)")


def test_stored_scores_are_not_those_of_several_passes():
    model = build_model(Schema.generic(1), backbone="hourglass_10", image_size=32)
    model.thresholds = Thresholds(0.1, (0.1,), (30,))
    mirrored = AugmentedDetector(model, flip=True)
    for asked in (mirrored, OnDevice(mirrored, "cpu:0")):
        assert choose_least_scores(asked).sentence.endswith("validation images, without --tta")
