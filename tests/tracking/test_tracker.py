"""What users expect of numbers: who crosses, hides or is missed keeps his, and nobody gets another's."""

import numpy as np
import pytest
from fishes import FPS, SCHEMA, found

from centerkp.tracking.tracker import Tracker


def number(frames, times=None, least=0.5):
    """The numbers of the detections of every frame, in order; frames follow each other in 1 / FPS seconds."""
    tracker = Tracker(SCHEMA, least)
    return [tracker.update(frame, i / FPS if times is None else times[i])[1] for i, frame in enumerate(frames)]


def test_one_number_through_an_occlusion_of_five_frames():
    """At 8 pixels a frame the object comes back 48 pixels on, where its box of 20 pixels no longer meets the last one."""
    numbers = number([[] if 10 <= i < 15 else [found(8 * i, 50)] for i in range(30)])
    assert numbers == [[] if 10 <= i < 15 else [1] for i in range(30)]


def test_hidden_for_nearly_a_second_and_for_longer():
    for hidden, last in ((FPS - 2, 1), (2 * FPS, 2)):
        numbers = number([[found(50 + i / 2, 50)] for i in range(20)] + [[]] * hidden + [[found(60 + hidden / 2, 50)]])
        assert numbers[-1] == [last], hidden


def test_what_stopped_behind_something_is_known_again():
    frames = [[found(5 * i, 50)] for i in range(20)] + [[]] * 12 + [[found(95, 50)]]
    assert number(frames)[-1] == [1]


@pytest.mark.parametrize("class_id", [0, 2])
def test_two_that_cross_keep_their_numbers_whatever_their_order(class_id):
    for i, numbers in enumerate(number([_cross(i, class_id)[:: 1 if i % 2 else -1] for i in range(40)])):
        assert numbers == ([2, 1] if i % 2 else [1, 2]), i


def _cross(i, class_id):
    return [found(200 - 5 * i, 58, class_id=class_id, turn=np.pi), found(5 * i, 50, class_id=class_id)]


def test_keypoints_tell_apart_what_boxes_do_not():
    """Two lie on each other, head to tail; both are found a little nearer to the other's place."""
    frames = [[found(50, 50, 40, 2), found(54, 50, 40, 2, turn=np.pi)]] * 5
    frames.append([found(53, 50, 40, 2), found(51, 50, 40, 2, turn=np.pi)])
    assert number(frames)[-1] == [1, 2]
    boxes_alone = [[found(50, 50, 40), found(54, 50, 40)]] * 5 + [[found(53, 50, 40), found(51, 50, 40)]]
    assert number(boxes_alone)[-1] == [2, 1]


def test_hidden_one_of_two():
    frames = [[found(6 * i, 50), *([] if 12 <= i < 17 else [found(6 * i, 120)])] for i in range(30)]
    assert number(frames) == [[1] if 12 <= i < 17 else [1, 2] for i in range(30)]


def test_who_leaves_and_who_comes_have_numbers_of_their_own():
    """One leaves to the right; half a second later another comes in there, and a third on the left."""
    leaving = [[found(200 + 6 * i, 50)] for i in range(20)]
    coming = [[found(300 - 6 * i, 50), found(10 + 6 * i, 50)] for i in range(20)]
    numbers = number(leaving + [[]] * 26 + coming)
    assert numbers == [[1]] * 20 + [[]] * 26 + [[2, 3]] * 20


def test_numbers_are_never_given_twice():
    rng = np.random.default_rng(1)
    frames = [[found(*rng.uniform(0, 5000, 2)) for _ in range(rng.integers(4))] if i % 3 == 0 else [] for i in range(90)]
    numbers = [n for frame in number(frames, times=np.arange(90) / 2) for n in frame]
    assert len(numbers) > 30 and numbers == list(range(1, len(numbers) + 1))


def test_classes_sizes_and_far_places_are_different_objects():
    frames = [[found(50, 50), found(50, 50, class_id=1)], [found(50, 50, class_id=1), found(50, 50, side=2000)]]
    assert number([*frames, [found(90, 50)], []]) == [[1, 2], [2, 3], [4], []]  # 4 is two sides away at once


def test_low_scores_continue_objects_and_begin_none():
    steady = [[found(50 + i, 50)] for i in range(10)]
    tracker = Tracker(SCHEMA, (0.6, 0.9, 0.9))
    frames = [*steady, [found(60, 50, score=0.35), found(300, 50, score=0.55)], [found(61, 50, score=0.25)]]
    kept = [tracker.update(frame, i / FPS) for i, frame in enumerate(frames)]
    assert [numbers for _, numbers in kept] == [[1]] * 11 + [[]]
    assert [d.score for d in kept[10][0]] == [0.35]


def test_low_scores_do_not_revive_what_was_long_hidden():
    frames = [[found(50, 50)]] * 10 + [[]] * 15 + [[found(50, 50, score=0.3)]] + [[found(50, 50)]]
    assert number(frames)[-2:] == [[], [1]]


def test_times_count_and_not_frames():
    """An object of even speed whose frames come when they want, and one whose frames are two seconds apart."""
    times = np.cumsum([0.04, 0.04, 0.04, 0.04, 0.5, 0.04, 0.3, 0.02, 0.6, 0.1, 0.04])
    assert number([[found(300 * t, 50), found(300 * t, 90)] for t in times], times) == [[1, 2]] * 11
    assert number([[found(50, 50)], [found(52, 50)], [], [found(50, 50)], [], [], [found(50, 50)]], np.arange(7) * 2.0) == [
        [1], [1], [], [1], [], [], [2],
    ]  # fmt: skip


def test_a_single_sighting_is_waited_for_briefly():
    """False detections last a frame, and shall not give their numbers to what comes there later."""
    assert number([[found(50, 50)], *[[]] * 10, [found(50, 50)]])[-1] == [2]
    assert number([[found(50, 50)], *[[]] * 3, [found(50, 50)]])[-1] == [1]


def test_each_tracker_counts_for_itself():
    assert number([[found(1, 1)]]) == number([[found(1, 1)]]) == [[1]]


def test_detections_are_given_back_as_they_came():
    detections = [found(50, 50, class_id=2), found(150, 50)]
    tracker = Tracker(SCHEMA)
    for i in range(3):
        kept, numbers = tracker.update(detections, i / FPS)
        assert kept[0] is detections[0] and kept[1] is detections[1] and numbers == [1, 2]
