from threading import Event
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import squares

from centerkp.inference import video
from centerkp.inference.frame_times import set_frame_times
from centerkp.inference.video import Clip, ClipWriter, open_clip


def read(path, live=False):
    faults = []
    with open_clip(Clip("c", str(path), live)) as reader:
        frames = list(reader.read_frames(faults.append, Event()))
    return frames, faults, reader


def left_edges(frames):
    return [round(squares.find_squares(image)[0][1][0]) for *_, image in frames]


@pytest.mark.parametrize("codec, name", [("MJPG", "a.avi"), ("mp4v", "a.mp4")])
def test_frames_positions_and_colours(tmp_path, codec, name):
    path = squares.write_clip(tmp_path / name, squares.moving_square(30), codec)
    frames, faults, reader = read(path)
    assert [index for index, *_ in frames] == list(range(30)) and not faults
    assert [seconds for _, seconds, _ in frames] == pytest.approx([i / 20 for i in range(30)])
    assert (reader.fps, reader.frame_count) == (20, 30)
    np.testing.assert_allclose(left_edges(frames), [4 + 2 * i for i in range(30)], atol=1.5)


def test_cut_off(tmp_path):
    data = squares.write_clip(tmp_path / "a.avi", squares.moving_square(40)).read_bytes()
    (tmp_path / "cut.avi").write_bytes(data[: len(data) * 6 // 10])
    frames, (fault,), _ = read(tmp_path / "cut.avi")
    assert 15 < len(frames) < 30 and [f[0] for f in frames] == list(range(len(frames)))
    assert fault == f"{tmp_path}/cut.avi: found {len(frames)} of 40 frames, the video is cut off or damaged."


def test_broken_frame_in_the_middle_keeps_the_positions_of_the_others(tmp_path):
    data = bytearray(squares.write_clip(tmp_path / "a.avi", squares.moving_square(30)).read_bytes())
    starts = [i for i in range(len(data)) if data[i : i + 3] == b"\xff\xd8\xff"]
    data[starts[10] : starts[11] - 8] = bytes(starts[11] - 8 - starts[10])
    (tmp_path / "broken.avi").write_bytes(data)
    frames, (fault,), _ = read(tmp_path / "broken.avi")
    assert [index for index, *_ in frames] == [i for i in range(30) if i != 10]
    assert "found 1 frame that cannot be decoded" in fault
    np.testing.assert_allclose(left_edges(frames), [4 + 2 * i for i in range(30) if i != 10], atol=1.5)


@pytest.mark.parametrize("codec", ["AV01", "zzzz"])
def test_a_codec_that_is_not_known_is_no_damage(codec):
    """A whole file of 6 frames, of which this OpenCV decodes none."""
    properties = {cv2.CAP_PROP_FPS: 10.0, cv2.CAP_PROP_FRAME_COUNT: 6.0}
    properties[cv2.CAP_PROP_FOURCC] = cv2.VideoWriter.fourcc(*codec)
    capture = SimpleNamespace(get=properties.__getitem__, read=lambda: (False, None), grab=lambda: False, release=lambda: None)
    reader, faults = video.ClipReader(Clip("c", "whole.mp4"), capture), []
    assert list(reader.read_frames(faults.append, Event())) == []
    (fault,) = faults
    assert fault.startswith(f"whole.mp4: found {codec} video, which OpenCV cannot decode") and "ffmpeg -i" in fault


@pytest.mark.parametrize("codec", ["MJPG", "XVID"])
def test_a_video_without_a_frame_is_named(tmp_path, codec):
    """As of a camera that was switched off at once: its header promises no frame either."""
    cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter.fourcc(*codec), 20, (96, 96)).release()
    frames, (fault,), _ = read(tmp_path / "a.avi")
    assert not frames and fault.startswith(f"{tmp_path}/a.avi: found a video without a frame that can be read, expected one;")


def test_nothing_to_play(tmp_path, monkeypatch):
    data = squares.write_clip(tmp_path / "a.mp4", squares.moving_square(10), "mp4v").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])  # its index stands at the end
    with pytest.raises(ValueError, match="cut.mp4: found nothing that can be played, expected a video, whole or"):
        open_clip(Clip("c", str(tmp_path / "cut.mp4")))
    with pytest.raises(FileNotFoundError, match="none.mp4: no such video"):
        open_clip(Clip("c", str(tmp_path / "none.mp4")))
    monkeypatch.setattr(video, "TIMEOUT", 1)
    with pytest.raises(ValueError, match="rtsp://127.0.0.1:9/x: found nothing .*expected a stream"):
        open_clip(Clip("c", "rtsp://127.0.0.1:9/x", live=True))
    with pytest.raises(ValueError, match="camera 99: found none"):
        open_clip(Clip("c", 99, live=True))


def test_live_leaves_out_what_it_has_no_time_for(tmp_path, monkeypatch):
    """A camera at 20 frames a second for half a second, looked at every 0.1 s."""
    clock = [0.0]
    images = [image[..., ::-1] for image in squares.moving_square(10)]

    class Camera:
        def get(self, what):
            return {cv2.CAP_PROP_FPS: 20.0, cv2.CAP_PROP_FRAME_COUNT: -1.0, cv2.CAP_PROP_FOURCC: -1.0}[what]

        def read(self):
            Event().wait(0.05)
            clock[0] += 0.05
            return (True, images.pop(0)) if images else (False, None)

        def release(self):
            pass

    monkeypatch.setattr(video.time, "monotonic", lambda: clock[0])
    reader = video.ClipReader(Clip("c", 0, live=True), Camera())
    assert reader.frame_count is None
    frames = []
    for frame in reader.read_frames(print, Event()):
        frames.append(frame)
        Event().wait(0.1)
    positions = [index for index, *_ in frames]
    assert positions[0] == 0 and 3 <= len(positions) < 9 and positions == sorted(set(positions))
    np.testing.assert_allclose(left_edges(frames), [4 + 2 * i for i in positions], atol=1.5)


def test_written_video_reads_back(tmp_path):
    writer = ClipWriter(tmp_path / "new" / "out.mp4", 12.5)
    for image in squares.moving_square(25):
        writer.write(image)
    assert not (tmp_path / "new" / "out.mp4").exists()  # not before it is whole
    assert writer.close() == tmp_path / "new" / "out.mp4"
    frames, faults, reader = read(tmp_path / "new" / "out.mp4")
    assert len(frames) == 25 and reader.fps == 12.5 and not faults
    np.testing.assert_allclose(left_edges(frames), [4 + 2 * i for i in range(25)], atol=1.5)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["out.mp4"]


UNEVEN = [0.0, 0.04, 0.08, 0.5, 0.52, 2.0]  # of a screen recording or a phone


def _write_at(path, times):
    writer = ClipWriter(path, 12.5)
    for seconds in times:
        writer.write(squares.draw(("red", round(20 * seconds), 30, 16)), seconds)
    return writer.close()


def test_every_picture_has_its_own_time(tmp_path):
    """Of two with one time the first is shown."""
    path = _write_at(tmp_path / "out.mp4", [*UNEVEN[:3], 0.08, *UNEVEN[3:]])
    frames, faults, _ = read(path)
    assert [seconds for _, seconds, _ in frames] == pytest.approx(UNEVEN, abs=1e-3) and not faults
    np.testing.assert_allclose(left_edges(frames), [20 * seconds for seconds in UNEVEN], atol=1.5)


@pytest.mark.parametrize("rate", [24, 25, 30, 60, 30000 / 1001, 12.5, 1000 / 7])
def test_even_times_stay_even(tmp_path, rate):
    frames, _, reader = read(_write_at(tmp_path / "out.mp4", np.arange(8) / rate))
    assert [seconds for _, seconds, _ in frames] == pytest.approx(np.arange(8) / rate, abs=2e-4)
    assert reader.fps == pytest.approx(rate, rel=1e-2)


def test_a_day_fits(tmp_path):
    frames, _, _ = read(_write_at(tmp_path / "out.mp4", [0, 1, 2, 90_000]))
    assert [seconds for _, seconds, _ in frames] == pytest.approx([0, 1, 2, 90_000], abs=1e-2)


@pytest.mark.parametrize("stride", [2, 4, 100])
def test_a_stride_leaves_out_frames_and_keeps_times(tmp_path, stride):
    path, faults = _write_at(tmp_path / "out.mp4", UNEVEN), []
    with open_clip(Clip("c", str(path))) as reader:
        frames = list(reader.read_frames(faults.append, Event(), stride))
    assert [index for index, *_ in frames] == list(range(0, 6, stride)) and not faults
    assert [seconds for _, seconds, _ in frames] == pytest.approx(UNEVEN[::stride], abs=1e-3)


def test_files_without_times_count_frames(tmp_path):
    capture = cv2.VideoCapture(str(_write_at(tmp_path / "out.mp4", UNEVEN)))
    timeless = SimpleNamespace(
        get=lambda what: 0.0 if what == cv2.CAP_PROP_POS_MSEC else 10.0 if what == cv2.CAP_PROP_FPS else capture.get(what),
        grab=capture.grab,
        retrieve=capture.retrieve,
        release=capture.release,
    )
    frames = list(video.ClipReader(Clip("c", "a.h264"), timeless).read_frames(pytest.fail, Event()))
    assert [seconds for _, seconds, _ in frames] == pytest.approx(np.arange(6) / 10)


@pytest.mark.parametrize(
    "clock, expected",
    [
        ([0, 0.1, 0.2, 0.2, 0.25, 0.3, 0.35, 2], [0, 0.1, 0.2, 0.3, 0.35, 0.4, 0.45, 2]),  # two frames at once
        ([5, 5.1, 5.2, 0, 0.1, 0.2, 0.4, 0.5], [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.8]),  # two recordings in one file
        ([0, 0.1, 0.2, 0, 0.4, 0.5, 0, 0.7], [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]),  # frames without a time
        ([900, 900.1, 0, 900.11, 900.12, 900.13, 900.5, 901], [0, 0.1, 0.2, 0.3, 0.31, 0.32, 0.5, 1]),
    ],
)
def test_times_go_on_at_the_pace_of_a_clock_that_stands_still_or_goes_back(clock, expected):
    """The mean of 2 frames a second says nothing of them."""
    left, grabbed = iter(clock), iter([True] * len(clock))
    answers = {cv2.CAP_PROP_FPS: 2.0, cv2.CAP_PROP_FRAME_COUNT: len(clock)}
    capture = SimpleNamespace(
        get=lambda what: 1000 * next(left) if what == cv2.CAP_PROP_POS_MSEC else answers.get(what, 0),
        grab=lambda: next(grabbed, False),
        retrieve=lambda: (True, np.zeros((2, 2, 3), np.uint8)),
    )
    frames = list(video.ClipReader(Clip("c", "a.mkv"), capture).read_frames(pytest.fail, Event()))
    assert [seconds for _, seconds, _ in frames] == pytest.approx(expected)


def test_only_a_file_as_opencv_writes_it_is_timed(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x10moov" + bytes(8) + b"\0\0\0\x08mdat")
    with pytest.raises(ValueError, match="found no index of frames behind them"):
        set_frame_times(tmp_path / "a.mp4", [0.0], 1.0)


def test_odd_and_changing_sizes(tmp_path):
    writer = ClipWriter(tmp_path / "out.mp4", 10)
    for size in ((97, 65), (97, 65), (194, 130), (50, 80)):
        writer.write(squares.draw(size=size))
    writer.close()
    assert [image.shape for *_, image in read(tmp_path / "out.mp4")[0]] == [(64, 96, 3)] * 4


def test_no_picture_no_video(tmp_path):
    assert ClipWriter(tmp_path / "out.mp4", 10).close() is None and not list(tmp_path.iterdir())


def test_a_video_that_is_not_whole_is_an_error(tmp_path):
    writer = ClipWriter(tmp_path / "out.mp4", 10)
    writer.write(squares.draw())
    writer.times.append(1.0)  # as if the disk had swallowed one
    with pytest.raises(OSError, match="out.mp4: the video could not be written whole"):
        writer.close()
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        ClipWriter(tmp_path / "file" / "out.mp4", 10).write(squares.draw())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]


def test_only_our_own_lines(tmp_path, capfd):
    (tmp_path / "bad.mp4").write_bytes(b"\x00\x00\x00\x20ftypisom" + bytes(100))
    for address in (str(tmp_path / "bad.mp4"), 99):
        with pytest.raises(ValueError):
            open_clip(Clip("c", address))
    assert capfd.readouterr() == ("", "")
