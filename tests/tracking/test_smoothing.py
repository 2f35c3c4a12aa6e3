import numpy as np
import pytest
from fishes import FPS, SCHEMA, found

from centerkp.tracking.smoothing import Smoother
from centerkp.tracking.tracker import Tracker


def smooth(detections, times):
    smoother = Smoother()
    return [smoother.smooth(one, seconds) for one, seconds in zip(detections, times, strict=True)]


def test_what_stands_still_stays_where_it_is():
    one = found(50, 60, 30, 2)
    for seconds, calm in zip((0, 0.04, 0.05, 3, 3.04), smooth([one] * 5, (0, 0.04, 0.05, 3, 3.04)), strict=True):
        np.testing.assert_array_equal(calm.box_xyxy, one.box_xyxy, err_msg=str(seconds))
        np.testing.assert_allclose(calm.keypoints_xy, one.keypoints_xy, rtol=1e-6)
        assert (calm.score, calm.keypoint_names, calm.class_id) == (one.score, one.keypoint_names, one.class_id)


@pytest.mark.parametrize("fps", [10, 25, 60])
def test_trembling_is_calmed_at_every_rate(fps):
    rng, times = np.random.default_rng(2), np.arange(0, 8, 1 / fps)
    raw = [found(*(50 + rng.normal(0, 0.6, 2)), 30, 2) for _ in times]
    calm = smooth(raw, times)
    spread = [np.std([d.keypoints_xy[0, 0] for d in some[fps:]]) for some in (raw, calm)]
    steps = [np.std(np.diff([d.keypoints_xy[0, 0] for d in some[fps:]])) for some in (raw, calm)]
    assert spread[1] < 0.85 * spread[0] and steps[1] < 0.7 * steps[0]


@pytest.mark.parametrize("fps", [10, 25, 60])
def test_what_moves_steadily_is_not_late(fps):
    """After a second the lag is below 10 ms, at any speed: 30 pixels are one side."""
    times = np.arange(0, 3, 1 / fps)
    for speed in (5, 30, 150):
        calm = smooth([found(speed * t, 60, 30, 2) for t in times], times)
        late = [t - (d.box_xyxy[0] + 15) / speed for t, d in zip(times, calm, strict=True)]
        assert np.abs(late[fps:]).max() < 0.01, speed


def test_a_sudden_stop_ends_soon():
    """Two sides a second, then nothing: it runs on by a fifth of a side at most, and stands after half a second."""
    times = np.arange(0, 3, 1 / FPS)
    calm = smooth([found(60 * min(t, 1), 60, 30, 2) for t in times], times)
    past = np.array([d.box_xyxy[0] + 15 - 60 for d in calm])
    assert past.max() < 6 and np.abs(past[times > 1.8]).max() < 0.6


def test_after_a_gap_it_is_where_it_was_found():
    times = [0, 0.04, 0.08, 2.0]
    calm = smooth([found(50, 60, 30, 2)] * 3 + [found(110, 60, 30, 2)], times)
    assert abs(calm[-1].box_xyxy[0] - 95) < 6


def test_only_with_smooth_and_each_object_alone():
    rng, trackers = np.random.default_rng(3), [Tracker(SCHEMA), Tracker(SCHEMA, smooth=True)]
    for i in range(10):
        frame = [found(*(50 + rng.normal(0, 1, 2)), 30, 2), found(*(150 + rng.normal(0, 1, 2)), 30, 2)]
        plain, calm = (tracker.update(frame, i / FPS)[0] for tracker in trackers)
        assert plain[0] is frame[0] and plain[1] is frame[1]
        assert (np.abs(calm[0].keypoints_xy - frame[0].keypoints_xy).max() > 0.01) == (i > 0)
        np.testing.assert_allclose(calm[1].keypoints_xy, frame[1].keypoints_xy, atol=4)
