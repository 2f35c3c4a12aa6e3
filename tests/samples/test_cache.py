"""Images that stay in memory: the same samples, within a bound, and when a run decides for it."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import squares
from rich.console import Console

from centerkp.distribution.team import Team
from centerkp.images.reading import read_image
from centerkp.labels.coco import read_coco
from centerkp.samples import cache as caching
from centerkp.samples.augment import Augmentation
from centerkp.samples.cache import ImageCache
from centerkp.samples.sample import Sampler
from centerkp.settings.training import TrainSettings
from centerkp.training import caching as choosing
from centerkp.training.caching import CacheWhenSlow

IMAGE = squares.SIZE**2 * 3  # bytes


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("squares")
    return read_coco(squares.write_dataset(folder), images_dir=folder)


@pytest.fixture
def reads(monkeypatch):
    """The paths that were read from their files."""
    paths = []
    monkeypatch.setattr(caching, "read_image", lambda path, levels: paths.append(path) or read_image(path))
    return paths


def test_samples_are_the_same_and_files_read_once(dataset, reads):
    cache = ImageCache(bound=10**9)
    for augmentation in (None, Augmentation()):
        for _ in range(2):
            for number, record in enumerate(dataset.records):
                plain = Sampler(dataset.schema, (64, 64), 4, augmentation)
                kept = Sampler(dataset.schema, (64, 64), 4, augmentation, cache)
                (image, truth), (other, same) = (s(record, np.random.default_rng(number)) for s in (plain, kept))
                assert (image == other).all() and all((truth[name] == same[name]).all() for name in truth)
    assert len(reads) == len(dataset.records) == 3 and cache.size == 3 * IMAGE


def test_the_bound_holds_for_many_threads(dataset, reads):
    cache, paths = ImageCache(bound=2 * IMAGE), [record.path for record in dataset.records]
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(cache, 20 * paths))
    assert all((image == read_image(path)).all() for image, path in zip(images, 20 * paths, strict=True))
    assert cache.size == 2 * IMAGE and cache.reads == len(reads) >= 20
    with pytest.raises(ValueError, match="read-only"):
        images[0][0] = 0


def test_what_is_said(dataset):
    assert ImageCache(bound=10**9).describe(dataset.records) == "3 decoded images in memory, 8.3e-05 GB"
    text = ImageCache(bound=3 * IMAGE // 2).describe(dataset.records)
    assert text == "decoded images in memory up to 4.1e-05 GB, about 50% of 3"


@pytest.mark.parametrize(
    ("free", "bound"), [({"resident": 4_000, "addressed": 3_000}, 1_500), ({"resident": -5}, 0), ({}, caching.UNKNOWN // 2)]
)
def test_by_default_it_takes_half_of_the_memory_that_is_free(monkeypatch, free, bound):
    """Of whatever ends first: the machine, a container, or what the process may address."""
    monkeypatch.setattr(caching, "find_free_memory", lambda: free)
    assert ImageCache().bound == bound


@pytest.mark.parametrize(("reading", "is_on"), [(0.05, True), (0.02, False)])
def test_it_is_turned_on_where_reading_holds_up_the_steps(dataset, monkeypatch, reading, is_on):
    """A step takes 0.2 s; four images on two threads take twice as long to read as one."""
    now = [0.0]
    monkeypatch.setattr(choosing.time, "monotonic", lambda: now[0])
    console = Console(record=True, width=200)
    settings = TrainSettings(batch_size=4, threads=2)
    run = SimpleNamespace(settings=settings, console=console, train_records=dataset.records, team=Team())
    cache = ImageCache(bound=10**9, is_active=False)
    cache(dataset.records[0].path)
    assert cache.size == 0
    cache.reads, cache.seconds = 10, 10 * reading
    one = CacheWhenSlow(run, cache)
    for step in range(20):
        now[0] += 0.2
        one.on_train_batch_end(step)
    assert cache.is_active == is_on
    assert ("because reading images takes 50% of a step" in console.export_text()) == is_on
