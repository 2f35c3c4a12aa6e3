"""Images that all processes of a machine keep together, here two that share one process."""

from threading import Thread

import numpy as np
import pytest
import squares

from centerkp.images.reading import read_image
from centerkp.labels.coco import read_coco
from centerkp.samples import shared
from centerkp.samples.cache import ImageCache
from centerkp.samples.shared import SharedImages

IMAGE = squares.SIZE**2 * 3  # bytes


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("squares")
    return read_coco(squares.write_dataset(folder), images_dir=folder).records


def open_together(records, bound, count=2):
    """What `SharedImages.open` gives to so many that run side by side."""
    from threading import Barrier

    barrier, values, opened = Barrier(count), [None] * count, [None] * count

    def run(number):
        def gather(value):
            values[number] = value
            barrier.wait()
            every = list(values)
            barrier.wait()
            return every

        opened[number] = SharedImages.open(records, bound, gather)

    threads = [Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return opened


def test_what_one_has_decoded_another_has(records):
    first, second = (ImageCache(shared=one) for one in open_together(records, 10**9))
    for record in records:
        image = first(record.path)
        assert (second(record.path) == image).all() and (image == read_image(record.path)).all()
    assert (first.reads, second.reads, first.size) == (3, 0, 3 * IMAGE)
    with pytest.raises(ValueError, match="read-only"):
        second(records[0].path)[0] = 0


def test_those_beyond_the_bound_are_read_again(records):
    first, second = (ImageCache(shared=one) for one in open_together(records, 2 * IMAGE))
    for record in records:
        first(record.path)
    for record in records:
        assert (second(record.path) == read_image(record.path)).all()
    assert (second.reads, first.size, second.size) == (1, 2 * IMAGE, 0)
    assert first.describe(records).endswith("about 67% of 3")


def test_nothing_is_kept_before_it_is_to_be(records):
    first, second = open_together(records, 10**9)
    reader = ImageCache(is_active=False, shared=first)
    reader(records[0].path)
    assert second.find(records[0].path, None) is None
    reader.is_active = True
    reader(records[0].path)
    assert second.find(records[0].path, None) is not None


def test_an_image_of_another_size_than_labelled_is_not_kept(records):
    (images,) = open_together(records, 10**9, count=1)
    assert not images.keep(records[0].path, None, np.zeros((3, 3, 3), np.uint8))
    assert not images.keep("unknown.png", None, np.zeros((3, 3, 3), np.uint8))


def test_another_machine_has_memory_of_its_own(records, monkeypatch):
    real = shared.SharedImages.open
    foreign = ("another machine", 1, 2, b"", 5)
    images = real(records, 10**9, lambda value: [foreign, value])
    assert images.bound == 3 * IMAGE
    monkeypatch.delattr(shared.os, "memfd_create")
    assert real(records, 10**9, lambda value: [foreign, value]) is None
