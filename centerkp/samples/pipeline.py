"""Samples -> batches, in an order that depends on the seed and the epoch alone."""

import itertools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import keras
import numpy as np

from centerkp.labels.records import Record
from centerkp.samples.sample import Sampler
from centerkp.samples.waiting import Arrivals


def make_batches(
    records: Sequence[Record],
    sampler: Sampler,
    batch_size: int,
    *,
    seed: int,
    shuffle: bool,
    repeat: bool = False,
    threads: int | None = None,
    start_epoch: int = 0,
    skip: int = 0,
    weights: np.ndarray | None = None,
    arrivals: Arrivals | None = None,
    share: tuple[int, int] = (0, 1),
) -> Any:
    """Batches for `fit(..., shuffle=False)` and `evaluate`: tf.data on TensorFlow, a `SamplePyDataset` on other backends.

    Both give the same batches, bit for bit; see `make_dataset` for the arguments, and `SamplePyDataset` for `share`, which it
    alone has.
    """
    make = make_dataset if keras.backend.backend() == "tensorflow" else SamplePyDataset
    options: dict[str, Any] = {"repeat": repeat, "threads": threads, "start_epoch": start_epoch, "skip": skip}
    if share != (0, 1):
        options["share"] = share
    return make(records, sampler, batch_size, seed=seed, shuffle=shuffle, weights=weights, arrivals=arrivals, **options)


def make_dataset(
    records: Sequence[Record],
    sampler: Sampler,
    batch_size: int,
    *,
    seed: int,
    shuffle: bool,
    repeat: bool = False,
    threads: int | None = None,
    start_epoch: int = 0,
    skip: int = 0,
    weights: np.ndarray | None = None,
    arrivals: Arrivals | None = None,
) -> Any:
    """A `tf.data.Dataset` of batches (image (B, height, width, 3) uint8, truth as `Sampler` with a leading B).

    Each pass over it, also one broken off, is one epoch, with another order and other augmentations; the n-th pass is the
    same in every run with the same seed, however many threads there are. An error inside names the image file.

    Args:
        records: at least one.
        sampler: makes the samples.
        batch_size: B.
        seed: of order and augmentations.
        shuffle: True for training: a new order each epoch, full batches only (what is left over differs from epoch to
            epoch; fewer records than B are repeated to fill one batch). False keeps the order, and a smaller last batch.
        repeat: epoch after epoch without end, for `steps_per_epoch`.
        threads: samples made at the same time; None takes one for each processor.
        start_epoch: where a resumed run goes on, so that it sees what it would have seen.
        skip: the first batches of each epoch that are left out, since they have been seen.
        weights: (n,) how often each record is seen in comparison, when shuffled; an epoch has as many samples as without.
        arrivals: is told when a batch is ready.

    Raises:
        ValueError: no records, or a batch size below 1.
    """
    import tensorflow as tf

    plan = _Plan(records, sampler, batch_size, seed, shuffle, skip, weights, arrivals)
    epochs = itertools.count(start_epoch)

    def next_epoch() -> Iterator[tuple[int, np.ndarray]]:
        epoch = next(epochs)  # counts passes: tf.data starts this generator anew for each
        yield epoch, plan.order(epoch)[plan.skipped :]

    def make_sample(epoch: Any, position: Any, index: Any) -> tuple[Any, dict]:
        tensors = tf.numpy_function(plan.make_flat, [epoch, position, index], plan.dtypes, stateful=False)
        image, *truth = (tf.ensure_shape(tensor, shape) for tensor, shape in zip(tensors, plan.shapes, strict=True))
        return image, dict(zip(plan.names, truth, strict=True))

    def list_samples(epoch: Any, order: Any) -> Any:
        samples = tf.data.Dataset.from_tensor_slices(order).enumerate(plan.skipped)
        return samples.map(lambda position, index: (epoch, position, index))

    signature = (tf.TensorSpec((), tf.int64), tf.TensorSpec((None,), tf.int64))
    dataset = tf.data.Dataset.from_generator(next_epoch, output_signature=signature)
    if repeat:
        dataset = dataset.repeat()
    dataset = dataset.flat_map(list_samples)
    dataset = dataset.map(make_sample, num_parallel_calls=threads or os.cpu_count() or 1, deterministic=True)
    dataset = dataset.batch(batch_size, drop_remainder=shuffle)
    cardinality = tf.data.INFINITE_CARDINALITY if repeat else plan.num_batches
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(cardinality)).prefetch(2)
    # There is nothing to tune, and TensorFlow's thread for it does not always hear that an iterator ends: then the end of an
    # epoch waits until it wakes by itself, 20 or 41 seconds after the beginning, or up to a minute.
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


class SamplePyDataset(keras.utils.PyDataset):
    """The batches of `make_dataset` without TensorFlow, for the other Keras backends; same arguments, same batches.

    `dataset[i]` is batch i of the epoch that comes or runs. Each `fit` epoch and each `for` loop over it takes a new one. Give
    `fit` `shuffle=False`: the samples are shuffled already, and Keras would exchange the batches by a chance of its own.

    Args:
        share: (number, count) of a process among those that train together: of every whole batch it reads the rows of its own
            alone, which are those that it would have had in the whole. The batch size must be a multiple of the count.
    """

    def __init__(
        self,
        records: Sequence[Record],
        sampler: Sampler,
        batch_size: int,
        *,
        seed: int,
        shuffle: bool,
        repeat: bool = False,
        threads: int | None = None,
        start_epoch: int = 0,
        skip: int = 0,
        weights: np.ndarray | None = None,
        arrivals: Arrivals | None = None,
        share: tuple[int, int] = (0, 1),
    ):
        # Two workers: with one, Keras makes batches between the training steps instead of during them.
        super().__init__(workers=2, max_queue_size=2)
        self._plan = _Plan(records, sampler, batch_size, seed, shuffle, skip, weights, arrivals)
        self._pool = ThreadPoolExecutor(threads or os.cpu_count() or 1)
        self._repeat, self._share = repeat, share
        self._epoch, self._is_running = start_epoch, False

    @property
    def num_batches(self) -> int | None:
        """Batches that the pipeline has in an epoch, None for ever."""
        return None if self._repeat else self._plan.num_batches

    def on_epoch_begin(self) -> None:
        """Begins an epoch of the pipeline; Keras calls it when workers make batches already, so the number stays."""
        self._is_running = True

    def on_epoch_end(self) -> None:
        """Ends an epoch of the pipeline's batches; called by Keras also before the first."""
        self._epoch += self._is_running and not self._repeat
        self._is_running = False

    def __getitem__(self, index: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        return self._make_batch(self._epoch, index)

    def _make_batch(self, epoch: int, index: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The pipeline's batch at one place of an epoch, or of those after it."""
        ahead, batch = divmod(index, self._plan.num_batches)
        epoch += ahead
        order = self._plan.order(epoch)
        first = self._plan.skipped + batch * self._plan.batch_size
        positions = range(first, min(first + self._plan.batch_size, len(order)))
        number, count = self._share
        positions = positions[len(positions) * number // count : len(positions) * (number + 1) // count]
        rows = list(self._pool.map(lambda p: self._plan.make_flat(epoch, p, int(order[p])), positions))
        image, *truth = (np.stack(column) for column in zip(*rows, strict=True))
        return image, dict(zip(self._plan.names, truth, strict=True))

    def __iter__(self) -> Iterator[tuple[np.ndarray, dict]]:
        epoch, index = self._epoch, 0
        self._epoch += not self._repeat
        while self.num_batches is None or index < self.num_batches:
            yield self._make_batch(epoch, index)
            index += 1


def order_records(count: int, batch_size: int, seed: int, epoch: int, weights: np.ndarray | None = None) -> np.ndarray:
    """Which of `count` records stands where in an epoch of shuffled, full batches, (n,) int64; see `make_dataset`."""
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(count)
    if weights is not None:
        # Even steps along the weights laid end to end: each record comes as often as it should, rounded up or down.
        ends = np.cumsum(weights[order])
        order = rng.permutation(order[np.searchsorted(ends, (np.arange(count) + rng.random()) * ends[-1] / count)])
    # Batch normalisation wants full batches: a tiny dataset fills one by repetition.
    return np.resize(order, max(count // batch_size, 1) * batch_size)


class _Plan:
    """Which sample stands where in which epoch: what both kinds of dataset share."""

    def __init__(
        self,
        records: Sequence[Record],
        sampler: Sampler,
        batch_size: int,
        seed: int,
        shuffle: bool,
        skip: int,
        weights: np.ndarray | None,
        arrivals: Arrivals | None,
    ):
        if not records:
            raise ValueError(
                "Found no records to make batches of, expected at least one image; check the dataset and its split."
            )
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, expected 1 or more.")
        self._records, self._sampler = list(records), sampler
        self._seed, self._shuffle, self._weights = seed, shuffle, weights
        self._arrivals = arrivals
        self.batch_size = batch_size
        self.skipped = skip * batch_size  # samples
        full, rest = divmod(len(self._records), batch_size)
        self.num_batches = (max(full, 1) if shuffle else full + (rest > 0)) - skip
        # The samples already run side by side, one thread each; OpenCV's own threads inside them would only compete.
        cv2.setNumThreads(1)
        count, (width, height) = sampler.max_objects, sampler.size
        points = sampler.schema.num_keypoints
        beyond = max(max(len(record.boxes_xyxy) for record in self._records) - count, 0)
        layout = {
            "image": (np.uint8, (height, width, 3)),
            "boxes_xyxy": (np.float32, (count, 4)),
            "class_ids": (np.int32, (count,)),
            "object_weights": (np.float32, (count,)),
            "is_crowd": (np.float32, (count,)),
            "keypoints_xy": (np.float32, (count, points, 2)),
            "visibility": (np.int32, (count, points)),
            "valid_size": (np.float32, (2,)),
            "ignored_boxes": (np.float32, (beyond, 4)),
            "ignored_class_ids": (np.int32, (beyond,)),
        }
        self.names = list(layout)[1:]
        self.dtypes = [dtype for dtype, _ in layout.values()]
        self.shapes = [shape for _, shape in layout.values()]

    def order(self, epoch: int) -> np.ndarray:
        """Which record stands where in one epoch of the pipeline's batches, (n,) int64."""
        count = len(self._records)
        if not self._shuffle:
            return np.arange(count)
        return order_records(count, self.batch_size, self._seed, epoch, self._weights)

    def make_flat(self, epoch: int, position: int, index: int) -> list[np.ndarray]:
        """The pipeline's sample at one position of one epoch as a list: the image, then the truth in order of `names`."""
        # The position, not the record, seeds it: a record that stands twice in an epoch is augmented in two ways.
        rng = np.random.default_rng([self._seed, int(epoch), int(position)])
        image, truth = self._sampler(self._records[int(index)], rng)
        if self._arrivals is not None:
            self._arrivals.note(int(epoch), int(position) // self.batch_size)
        for name, shape in zip(self.names[-2:], self.shapes[-2:], strict=True):  # padded to those of the fullest image
            truth[name] = np.concatenate([truth[name], np.zeros((shape[0] - len(truth[name]), *shape[1:]), truth[name].dtype)])
        return [image, *(truth[name] for name in self.names)]
