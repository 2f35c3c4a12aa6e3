import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from centerkp.settings.training import TrainSettings
from centerkp.trials.ranges import DEFAULT, Range, read_ranges

SETTINGS = TrainSettings(coco="a.json")


def test_ranges_as_they_are_written():
    texts = ("rotation=0..45", "learning_rate = 1e-4..1e-2", "batch_size=2..8", "color=true,false", "monitor=box_ap,mean")
    assert [one.make_distribution(optuna) for one in read_ranges(texts, SETTINGS)] == [
        FloatDistribution(0.0, 45.0),
        FloatDistribution(1e-4, 1e-2, log=True),
        IntDistribution(2, 8),
        CategoricalDistribution((True, False)),
        CategoricalDistribution(("box_ap", "mean")),
    ]
    assert [one.name for one in read_ranges(DEFAULT, SETTINGS)][0] == "learning_rate"
    assert read_ranges(["epochs=3,5"], SETTINGS) == (Range("epochs", (3, 5)),)
    assert read_ranges(["image_size=256,320"], SETTINGS) == (Range("image_size", (256, 320)),)
    assert read_ranges(["image_size=256x192,320"], SETTINGS) == (Range("image_size", ("256x192", 320)),)
    # As a trial's settings have them, by which an interrupted one is asked for again.
    assert read_ranges(["eval_every=5,10m"], SETTINGS) == (Range("eval_every", (5, "10m")),)


@pytest.mark.parametrize(
    "text, words",
    [
        ("rotatoin=0..4", "did you mean 'rotation'"),
        ("rotation=4..0", "from low to high"),
        ("run=a,b", "a setting in which trainings can differ"),
        ("folds=2,3", "a setting in which trainings can differ"),
        ("rotation=a..b", "could not convert"),
        ("rotation", "could not convert"),
        ("warmup=0.1..1.5", "from 0 to below 1"),
        ("color=maybe", "maybe"),
        ("monitor=a..b", "expected one of"),
        ("scale=0.5..2", "expected"),
    ],
)
def test_ranges_that_are_none(text, words):
    with pytest.raises(ValueError, match=f"--search: found .*{words}"):
        read_ranges([text], SETTINGS)
    with pytest.raises(ValueError, match="rotation more than once"):
        read_ranges(["rotation=0..4", "rotation=1,2"], SETTINGS)
