import numpy as np

from centerkp.inference.tracking import Tracker
from centerkp.results import Detection


def found(x, y, side=20.0, class_id=0):
    box = np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2], np.float32)
    return Detection(class_id, "thing", 1, 0.9, box, (), np.zeros((0, 2)), np.zeros(0))


def test_one_number_through_an_occlusion_of_five_frames():
    """At 8 pixels a frame the object comes back 48 pixels on, where its box of 20 pixels no longer meets the last one."""
    tracker = Tracker()
    numbers = [tracker.update([] if 10 <= i < 15 else [found(8 * i, 50)], i) for i in range(30)]
    assert numbers == [[] if 10 <= i < 15 else [1] for i in range(30)]


def test_left_out_frames_count_as_time():
    tracker = Tracker()
    assert [tracker.update([found(10 * i, 50)], i) for i in (0, 1, 2, 5, 9, 10)] == [[1]] * 6


def test_who_stands_still_is_known_again_and_forgotten_in_the_end():
    tracker = Tracker(patience=10)
    assert tracker.update([found(50, 50)], 0) == [1]
    assert tracker.update([found(55, 50)], 10) == [1]
    assert tracker.update([found(55, 50)], 21) == [2]


def test_two_that_cross_keep_their_numbers_whatever_their_order():
    tracker = Tracker()
    for i in range(40):
        a, b = found(5 * i, 50), found(200 - 5 * i, 58)
        numbers = tracker.update([a, b] if i % 2 else [b, a], i)
        assert numbers == ([2, 1] if i % 2 else [1, 2]), i


def test_hidden_one_of_two():
    tracker = Tracker()
    for i in range(30):
        hidden = 12 <= i < 17
        numbers = tracker.update([found(6 * i, 50), *([] if hidden else [found(6 * i, 120)])], i)
        assert numbers == ([1] if hidden else [1, 2])


def test_classes_are_different_objects_and_so_are_sizes_and_far_places():
    tracker = Tracker()
    assert tracker.update([found(50, 50), found(50, 50, class_id=1)], 0) == [1, 2]
    assert tracker.update([found(50, 50, class_id=1), found(50, 50, side=200)], 1) == [2, 3]
    assert tracker.update([found(90, 50)], 2) == [4]  # two sides away at once
    assert tracker.update([], 3) == []


def test_each_tracker_counts_for_itself():
    assert [Tracker().update([found(1, 1)], 0), Tracker().update([found(1, 1)], 0)] == [[1], [1]]
