from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from centerkp.labels.records import Record
from centerkp.samples import pipeline
from centerkp.samples.augment import Augmentation
from centerkp.samples.pipeline import SamplePyDataset, make_batches, make_dataset
from centerkp.samples.sample import Sampler
from centerkp.samples.waiting import Arrivals
from centerkp.schema import Schema

SCHEMA = Schema.generic(2, (2, 1))
TRAIN = Sampler(SCHEMA, (32, 32), 4, Augmentation())
PLAIN = Sampler(SCHEMA, (32, 32), 4)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Seven images; the box of image i is i + 2 pixels wide, so that a plain sample tells which one it is."""
    folder = tmp_path_factory.mktemp("images")
    return [_write_record(folder, i) for i in range(7)]


def _write_record(folder: Path, number: int) -> Record:
    path = folder / f"{number}.png"
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(path)
    return Record(
        image_id=number, path=path, file_name=path.name, width=32, height=24,
        boxes_xyxy=np.array([[8, 8, 10 + number, 16]], np.float32), class_ids=np.zeros(1, np.int32),
        keypoints_xy=np.full((1, 3, 2), 9, np.float32), visibility=np.array([[2, 1, 0]], np.uint8),
        is_crowd=np.zeros(1, bool), areas=np.ones(1, np.float32), annotation_ids=np.array([number]),
    )  # fmt: skip


def _numbers(batch):
    boxes = np.asarray(batch[1]["boxes_xyxy"])[:, 0]
    return [int(round(float(width))) - 2 for width in boxes[:, 2] - boxes[:, 0]]


def _epoch(dataset):
    return [(np.asarray(image), {k: np.asarray(v) for k, v in truth.items()}) for image, truth in dataset]


def _same(first, second):
    return len(first) == len(second) and all(
        (a[0] == b[0]).all() and all((a[1][k] == b[1][k]).all() for k in a[1]) for a, b in zip(first, second, strict=True)
    )


KINDS = pytest.mark.parametrize("make", [make_dataset, SamplePyDataset])


@KINDS
def test_validation_keeps_the_order_and_the_last_batch(records, make):
    dataset = make(records, PLAIN, 3, seed=0, shuffle=False)
    for _ in range(2):
        batches = _epoch(dataset)
        assert [_numbers(b) for b in batches] == [[0, 1, 2], [3, 4, 5], [6]]
    image, truth = batches[0]
    assert image.shape == (3, 32, 32, 3) and image.dtype == np.uint8
    assert truth["keypoints_xy"].shape == (3, 4, 3, 2) and truth["valid_size"].tolist() == [[32, 24]] * 3
    assert truth["visibility"][0, 0].tolist() == [2, 1, 0]


@KINDS
def test_rest_of_an_epoch(records, make):
    """What a run that was interrupted behind two batches has still to see of its epoch: the same, in the same order."""
    whole, rest = (_epoch(make(records, TRAIN, 2, seed=4, shuffle=True, start_epoch=5, skip=skip)) for skip in (0, 2))
    assert len(whole) == 3 and _same(whole[2:], rest)


def test_samples_are_the_same_alone_and_inside_tf_data(records):
    epoch = _epoch(make_dataset(records, TRAIN, 2, seed=5, shuffle=False))
    for position, record in enumerate(records):
        image, truth = TRAIN(record, np.random.default_rng([5, 0, position]))
        batch = epoch[position // 2]
        assert (batch[0][position % 2] == image).all()
        assert all((batch[1][k][position % 2] == truth[k]).all() for k in truth)


def test_shapes_are_static(records):
    image, truth = make_dataset(records, TRAIN, 3, seed=0, shuffle=True).element_spec
    assert image.shape.as_list() == [3, 32, 32, 3] and image.dtype == "uint8"
    assert truth["keypoints_xy"].shape.as_list() == [3, 4, 3, 2]
    image, _ = make_dataset(records, PLAIN, 3, seed=0, shuffle=False).element_spec
    assert image.shape.as_list() == [None, 32, 32, 3]


def test_the_end_of_an_epoch_waits_for_no_tuning(records):
    """Its thread can sleep for most of a minute before an iterator ends; whatever wraps the batches keeps their options."""
    dataset = make_dataset(records, TRAIN, 3, seed=0, shuffle=True, repeat=True)
    assert not dataset.take(2).options().autotune.enabled


@KINDS
def test_each_epoch_has_its_own_order_and_every_run_the_same(records, make):
    dataset = make(records, PLAIN, 7, seed=1, shuffle=True)
    orders = [_numbers(_epoch(dataset)[0]) for _ in range(3)]
    assert all(sorted(order) == list(range(7)) for order in orders)
    assert orders[0] != orders[1] and orders[1] != orders[2]
    dataset = make(records, PLAIN, 7, seed=1, shuffle=True)
    assert [_numbers(_epoch(dataset)[0]) for _ in range(3)] == orders
    resumed = make(records, PLAIN, 7, seed=1, shuffle=True, start_epoch=2)
    assert _numbers(_epoch(resumed)[0]) == orders[2]
    other = make(records, PLAIN, 7, seed=2, shuffle=True)
    assert _numbers(_epoch(other)[0]) != orders[0]


def test_both_kinds_agree_bit_for_bit_however_many_threads(records):
    first = make_dataset(records, TRAIN, 3, seed=0, shuffle=True, threads=1)
    second = make_dataset(records, TRAIN, 3, seed=0, shuffle=True, threads=4)
    third = SamplePyDataset(records, TRAIN, 3, seed=0, shuffle=True, threads=3)
    epochs = [[_epoch(dataset) for _ in range(2)] for dataset in (first, second, third)]
    for epoch in range(2):
        assert len(epochs[0][epoch]) == 2
        assert _same(epochs[0][epoch], epochs[1][epoch])
        assert _same(epochs[0][epoch], epochs[2][epoch])
    assert not _same(epochs[0][0], epochs[0][1])


@KINDS
def test_weights_say_how_often_each_record_is_seen(records, make):
    """Rounded up or down in every epoch, exact over many, in another order each time, and the same in every run."""
    weights = np.array([1, 1, 1, 1, 1, 2, 7.0])
    dataset = make(records, PLAIN, 7, seed=3, shuffle=True, weights=weights)
    epochs = [_numbers(_epoch(dataset)[0]) for _ in range(16)]
    counts = np.array([np.bincount(epoch, minlength=7) for epoch in epochs])
    expected = 7 * weights / weights.sum()
    assert (counts >= np.floor(expected)).all() and (counts <= np.ceil(expected)).all()
    assert counts.mean(0) == pytest.approx(expected, abs=0.4)
    assert epochs[0] != epochs[1] and epochs[0] != sorted(epochs[0])
    again = make(records, PLAIN, 7, seed=3, shuffle=True, weights=weights, start_epoch=5)
    assert _numbers(_epoch(again)[0]) == epochs[5]


@KINDS
def test_fewer_records_than_a_batch_fill_one(records, make):
    dataset = make(records[:3], TRAIN, 8, seed=0, shuffle=True)
    (batch,) = _epoch(dataset)
    assert batch[0].shape[0] == 8
    (plain,) = _epoch(make(records[:3], PLAIN, 8, seed=0, shuffle=True))
    assert set(_numbers(plain)) == {0, 1, 2}
    twice = [i for i, n in enumerate(_numbers(plain)) if n == _numbers(plain)[0]]
    assert (batch[0][twice[0]] != batch[0][twice[1]]).any()  # the same image, augmented in two ways
    (rest,) = _epoch(make(records[:3], PLAIN, 8, seed=0, shuffle=False))
    assert _numbers(rest) == [0, 1, 2]


@KINDS
def test_repeat_goes_on_with_the_next_epochs(records, make):
    once = make(records, TRAIN, 3, seed=0, shuffle=True)
    expected = [*_epoch(once), *_epoch(once), *_epoch(once)]
    endless = iter(make(records, TRAIN, 3, seed=0, shuffle=True, repeat=True))
    assert _same([_epoch([next(endless)])[0] for _ in range(6)], expected)


@KINDS
def test_length_is_known(records, make):
    def length(dataset):
        return dataset.num_batches if make is SamplePyDataset else len(dataset)

    assert length(make(records, PLAIN, 3, seed=0, shuffle=True)) == 2
    assert length(make(records, PLAIN, 3, seed=0, shuffle=False)) == 3
    assert length(make(records, PLAIN, 9, seed=0, shuffle=True)) == 1


class _Recorder(keras.Model):
    """Counts steps and remembers which images it saw."""

    def __init__(self):
        super().__init__()
        self.scale = self.add_weight(shape=(), initializer="zeros", name="scale")
        self.seen = []

    def call(self, x):
        return keras.ops.mean(keras.ops.cast(x, "float32")) * self.scale

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        boxes = keras.ops.convert_to_numpy(y["boxes_xyxy"])
        self.seen += [int(round(float(b[0, 2] - b[0, 0]))) - 2 for b in boxes]
        return y_pred


def test_workers_that_are_early_take_the_epoch_that_comes(records):
    # Keras sets its workers to work before it calls `on_epoch_begin`, and calls `on_epoch_end` before the first epoch.
    dataset, reference = (SamplePyDataset(records, PLAIN, 3, seed=0, shuffle=True) for _ in range(2))
    expected = [_numbers(batch) for _ in range(3) for batch in list(_epoch(reference))[:1]]
    assert expected[0] != expected[1] != expected[2]
    seen = []
    dataset.on_epoch_end()
    for _ in range(3):
        early = _numbers(dataset[0])
        dataset.on_epoch_begin()
        assert _numbers(dataset[0]) == early
        dataset.on_epoch_end()
        seen.append(early)
    assert seen == expected


@KINDS
def test_fit_sees_one_new_epoch_after_the_other(records, make):
    reference = make(records, PLAIN, 3, seed=0, shuffle=True)
    expected = [n for _ in range(3) for batch in _epoch(reference) for n in _numbers(batch)]
    model = _Recorder()
    model(np.zeros((1, 32, 32, 3), np.uint8))
    model.compile(optimizer="sgd", run_eagerly=True)
    model.fit(make(records, PLAIN, 3, seed=0, shuffle=True), epochs=3, shuffle=False, verbose=0)
    assert model.seen == expected


@KINDS
def test_an_image_that_vanished_is_named(records, make, tmp_path):
    lost = _write_record(tmp_path, 3)
    lost.path.unlink()
    with pytest.raises(Exception, match="3.png"):
        _epoch(make([*records, lost], PLAIN, 2, seed=0, shuffle=False))


@KINDS
def test_nothing_to_batch_is_refused(records, make):
    with pytest.raises(ValueError, match="no records"):
        make([], PLAIN, 2, seed=0, shuffle=False)
    with pytest.raises(ValueError, match="batch_size is 0"):
        make(records, PLAIN, 0, seed=0, shuffle=False)


def test_the_backend_decides_which_kind(records, monkeypatch):
    monkeypatch.setattr(pipeline.keras.backend, "backend", lambda: "jax")
    assert isinstance(make_batches(records, PLAIN, 2, seed=0, shuffle=True), SamplePyDataset)
    monkeypatch.setattr(pipeline.keras.backend, "backend", lambda: "tensorflow")
    assert not isinstance(make_batches(records, PLAIN, 2, seed=0, shuffle=True), SamplePyDataset)


@KINDS
def test_arrivals_know_every_batch_once_and_change_none(records, make):
    arrivals = Arrivals()
    options = {"seed": 1, "shuffle": True, "start_epoch": 2, "skip": 1}
    assert _same(_epoch(make(records, TRAIN, 2, arrivals=arrivals, **options)), _epoch(make(records, TRAIN, 2, **options)))
    times = [arrivals.take(2, batch) for batch in range(4)]
    assert times[0] == times[3] == 0 < times[1] and times[2] > 0 == arrivals.take(2, 1)


def test_shares_are_the_rows_of_the_whole_batches(records):
    """Of every process its own, whoever else reads: order and augmentation are those of one process."""
    options = {"seed": 5, "shuffle": True, "start_epoch": 2}
    whole = _epoch(SamplePyDataset(records, TRAIN, 6, **options))
    shares = [_epoch(SamplePyDataset(records, TRAIN, 6, share=(i, 3), **options)) for i in range(3)]
    for number, (image, truth) in enumerate(whole):
        np.testing.assert_array_equal(image, np.concatenate([one[number][0] for one in shares]))
        for name in truth:
            np.testing.assert_array_equal(truth[name], np.concatenate([one[number][1][name] for one in shares]))
