import csv
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import squares
from pycocotools.coco import COCO
from rich.console import Console

from centerkp.inference import outputs, stream
from centerkp.inference.outputs import OutputChoice
from centerkp.inference.sources import find_sources
from centerkp.inference.stream import Selection, predict_sources
from centerkp.inference.video import ClipWriter
from centerkp.results import Thresholds

TESTS = Path(__file__).parent


def predict(sources, out, detector=None, **options):
    """Predicts with the squares' detector; returns what predictions.json holds and what the user read."""
    console = Console(record=True, width=200, file=io.StringIO())
    try:
        path = predict_sources(detector or squares.SquareDetector(), find_sources(sources), out, console=console, **options)
    finally:
        predict.text = console.export_text()
    return json.loads(path.read_text()), predict.text


def files_in(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_no_more_objects_than_the_detector_gives(images, tmp_path):
    detector = squares.SquareDetector()
    detector.max_objects = 2
    with pytest.raises(ValueError, match="--max-objects: found 3, expected at most 2, as many as this model gives"):
        predict([images], tmp_path / "out", detector, selection=Selection(max_objects=3))
    assert not (tmp_path / "out").exists()
    _, text = predict([images], tmp_path / "out", detector, selection=Selection(max_objects=1))
    assert "1 image with as many objects as this model gives, 2: there may be more, see --max-objects" in text


def read_png(path):
    return cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR_RGB)


@pytest.fixture()
def images(tmp_path):
    squares.write_png(tmp_path / "in" / "a.png", ("red", 20, 30, 40), ("green", 70, 5, 20))
    squares.write_png(tmp_path / "in" / "none.png")
    squares.write_png(tmp_path / "in" / "sub" / "wide.png", ("green", 100, 20, 40), size=(192, 96))
    (tmp_path / "in" / "zero.jpg").write_bytes(b"")
    return tmp_path / "in"


def test_images(images, tmp_path):
    found, text = predict([images], tmp_path / "out")
    assert [(i["id"], i["file_name"], i["width"]) for i in found["images"]] == [
        (1, "a.png", 96), (2, "none.png", 96), (3, "sub/wide.png", 192),
    ]  # fmt: skip
    red, green, wide = found["annotations"]
    assert (red["image_id"], red["category_id"], red["bbox"]) == (1, 3, [20, 30, 40, 40])
    assert red["keypoints"] == [20, 30, 2, 40, 50, 2] and (green["category_id"], green["image_id"]) == (7, 1)
    np.testing.assert_allclose(wide["bbox"], [100, 20, 40, 40], atol=2)  # through a network input half as large
    assert files_in(tmp_path / "out") == [
        "images/a.png", "images/none.png", "images/sub/wide.png", "predictions.json",
    ]  # fmt: skip
    drawn, plain = read_png(tmp_path / "out/images/a.png"), read_png(images / "a.png")
    assert (drawn[30:70, 20:60] != plain[30:70, 20:60]).any() and (read_png(tmp_path / "out/images/none.png") == 60).all()
    assert "left out: " in text and "zero.jpg: found an empty file" in text
    assert "3 objects in 3 images; 1 fault, see above" in text and "images/s" in text
    assert "least score 0.3, since none is stored with the model" in text and "its average precision is lower than" in text
    assert len(COCO(str(tmp_path / "out/predictions.json")).anns) == 3


def test_selection(images, tmp_path):
    def kinds(**options):
        found, _ = predict([images], tmp_path / "out", selection=Selection(**options))
        return [(a["image_id"], a["category_id"]) for a in found["annotations"]]

    assert kinds(classes=["green"]) == [(1, 7), (3, 7)]
    assert kinds(max_objects=1) == [(1, 3), (3, 7)]
    assert kinds(classes=["green"], max_objects=1) == [(1, 7), (3, 7)]
    assert kinds(min_score=0.85) == [(1, 3), (3, 7)]
    for wrong, message in (
        ({"classes": ["gren"]}, "found 'gren', expected some of .*did you mean 'green'"),
        ({"max_objects": 0}, "max_objects: found 0"),
        ({"min_score": 30}, "score: found 30"),
    ):
        with pytest.raises(ValueError, match=message):
            predict([images], tmp_path / "none", selection=Selection(**wrong))
    assert not (tmp_path / "none").exists()


def test_the_least_scores_are_those_stored_with_the_model_unless_given(images, tmp_path):
    detector = squares.SquareDetector()
    detector.thresholds = Thresholds(0.2, (0.95, 0.2), (40, 3))  # in a.png red has 0.9, green 0.8

    def found(**options):
        content, text = predict([images], tmp_path / "out", detector, selection=Selection(**options))
        return [a["category_id"] for a in content["annotations"]], text

    kinds, text = found()
    assert kinds == [7, 7] and "least scores red 0.95, green 0.2, stored with the model" in text
    assert text.count("(a guess where few objects decide it: 3 of green)") == 1
    kinds, text = found(min_score=0)
    assert kinds == [3, 7, 7] and "least score 0, as given" in text and "average precision" not in text


def test_table_crops_and_no_pictures(images, tmp_path):
    choice = OutputChoice(pictures=False, csv=True, crops=True)
    predict([images], tmp_path / "out", choice=choice)
    assert files_in(tmp_path / "out") == [
        "crops/green/a.png_2.jpg", "crops/green/sub/wide.png_1.jpg", "crops/red/a.png_1.jpg",
        "predictions.csv", "predictions.json",
    ]  # fmt: skip
    crop = read_png(tmp_path / "out/crops/red/a.png_1.jpg")
    assert crop.shape == (40, 40, 3) and np.abs(crop.astype(int) - (230, 20, 20)).max() < 30  # nothing drawn into it
    with open(tmp_path / "out/predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["image"], r["class_name"], r["keypoint"]) for r in rows] == [
        ("a.png", "red", "corner"), ("a.png", "red", "middle"), ("a.png", "green", ""), ("sub/wide.png", "green", ""),
    ]  # fmt: skip


def test_nothing_readable_leaves_earlier_files_alone(tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/predictions.json").write_text("{}")
    with pytest.raises(ValueError, match="bad.jpg: found 1 fault and not one readable image"):
        predict([tmp_path / "bad.jpg"], tmp_path / "out", overwrite=True)
    assert files_in(tmp_path / "out") == ["predictions.json"] and (tmp_path / "out/predictions.json").read_text() == "{}"


def test_video(tmp_path):
    clip = squares.write_clip(tmp_path / "c.avi", squares.moving_square(30))
    found, text = predict([clip], tmp_path / "out", batch_size=4)
    assert files_in(tmp_path / "out") == ["predictions.json", "videos/c.mp4"]
    assert [(i["file_name"], i["frame"], i["seconds"]) for i in found["images"]][7] == ("c/000007.jpg", 7, 0.35)
    assert {i["video"] for i in found["images"]} == {str(clip)}
    np.testing.assert_allclose([a["bbox"][0] for a in found["annotations"]], [4 + 2 * i for i in range(30)], atol=1.5)
    film = cv2.VideoCapture(str(tmp_path / "out/videos/c.mp4"))
    assert (film.get(cv2.CAP_PROP_FRAME_COUNT), film.get(cv2.CAP_PROP_FPS)) == (30, 20)
    assert "30 images" in text and "videos:" in text


def test_stride_keeps_times_and_tracks(tmp_path):
    """Objects keep their numbers although 40 frames lie between two that are looked at."""
    clip = squares.write_clip(tmp_path / "c.avi", [squares.draw(("red", 20, 30, 16))] * 90)
    found, _ = predict([clip], tmp_path / "out", stride=40, selection=Selection(track=True))
    assert [(i["frame"], i["seconds"]) for i in found["images"]] == [(0, 0), (40, 2), (80, 4)]
    assert {a["track_id"] for a in found["annotations"]} == {1}
    film = cv2.VideoCapture(str(tmp_path / "out" / "videos" / "c.mp4"))
    times = []
    while film.read()[0]:
        times.append(film.get(cv2.CAP_PROP_POS_MSEC))
    assert times == pytest.approx([0, 2000, 4000], abs=1)
    with pytest.raises(ValueError, match="stride: found 0, expected 1 or more"):
        predict([clip], tmp_path / "out", stride=0)


def test_a_video_that_ticks_unevenly_plays_like_the_original(tmp_path):
    times = [0, 0.04, 0.08, 0.6, 1.1]
    writer = ClipWriter(tmp_path / "c.mp4", 25)
    for seconds in times:
        writer.write(squares.draw(("red", 20, 30, 16)), seconds)
    clip = writer.close().rename(tmp_path / "d.mp4")
    found, _ = predict([clip], tmp_path / "out")
    assert [i["seconds"] for i in found["images"]] == pytest.approx(times, abs=2e-3)
    film = cv2.VideoCapture(str(tmp_path / "out" / "videos" / "d.mp4"))
    assert [film.read()[0] and film.get(cv2.CAP_PROP_POS_MSEC) for _ in times] == pytest.approx(
        [1000 * t for t in times], abs=2
    )


def test_zipped_pictures_and_odd_ones(tmp_path):
    """Pictures in an archive are written like others; what is odd is said once, with its count."""
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.write(squares.write_png(tmp_path / "a.png", ("red", 20, 30, 40)), "deep/a.png")
        cv2.imwrite(str(tmp_path / "b.png"), np.full((96, 96), 7500, np.uint16))
        archive.write(tmp_path / "b.png", "b.png")
    found, text = predict([tmp_path / "set.zip"], tmp_path / "out")
    assert [i["file_name"] for i in found["images"]] == ["set/b.png", "set/deep/a.png"] and len(found["annotations"]) == 1
    assert files_in(tmp_path / "out" / "images") == ["set/b.png", "set/deep/a.png"]
    assert "1 image: more than 8 bits" in text and "set.zip/b.png; spread the range that they use with --stretch" in text


def test_frames_as_pictures_and_images_and_two_videos_in_one_run(images, tmp_path):
    clips = [squares.write_clip(tmp_path / f"{c}.avi", squares.moving_square(n)) for c, n in (("b", 3), ("c", 5))]
    choice = OutputChoice(pictures=True)
    found, _ = predict([images / "a.png", *clips], tmp_path / "out", choice=choice, batch_size=2)
    frames = [f"images/{c}/{i:06d}.jpg" for c, n in (("b", 3), ("c", 5)) for i in range(n)]
    assert files_in(tmp_path / "out") == sorted(
        ["images/in/a.png", "predictions.json", "videos/b.mp4", "videos/c.mp4", *frames]
    )
    assert [i["file_name"] for i in found["images"]] == ["in/a.png", *[f.removeprefix("images/") for f in frames]]
    choice = OutputChoice(video=False)
    predict(clips, tmp_path / "no_video", choice=choice)
    assert files_in(tmp_path / "no_video") == ["predictions.json"]


def test_truncated_video_ends_with_a_message_and_a_valid_video(tmp_path):
    data = squares.write_clip(tmp_path / "a.avi", squares.moving_square(40)).read_bytes()
    (tmp_path / "cut.avi").write_bytes(data[: len(data) // 2])
    found, text = predict([tmp_path / "cut.avi"], tmp_path / "out")
    count = len(found["images"])
    assert f"cut.avi: found {count} of 40 frames, the video is cut off or damaged" in text and 10 < count < 30
    assert cv2.VideoCapture(str(tmp_path / "out/videos/cut.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == count


def test_track(tmp_path):
    """Two squares, one hidden for five frames: both keep their numbers, in the table, the JSON and the video."""
    frames = [squares.draw(("red", 3 * i, 10, 14), *([] if 8 <= i < 13 else [("red", 80 - 3 * i, 60, 14)])) for i in range(25)]
    clip = squares.write_clip(tmp_path / "c.avi", frames)
    found, _ = predict([clip], tmp_path / "out", selection=Selection(track=True), choice=OutputChoice(csv=True))
    rows = {}
    for annotation in found["annotations"]:
        rows.setdefault(annotation["track_id"], set()).add(annotation["bbox"][1] > 35)
    assert rows == {1: {False}, 2: {True}}
    with open(tmp_path / "out/predictions.csv", newline="") as file:
        assert {row["track"] for row in csv.DictReader(file)} == {"1", "2"}


class FadingDetector(squares.SquareDetector):
    """Sees the square with less and less certainty."""

    def predict_on_batch(self, inputs):
        found = super().predict_on_batch(inputs)
        first = sum(self.shown) if hasattr(self, "shown") else 0
        self.shown = [*getattr(self, "shown", []), len(found["scores"])]
        found["scores"][:, 0] = np.where(found["scores"][:, 0] > 0, 0.9 - 0.04 * (first + np.arange(len(found["scores"]))), 0)
        return found


def test_tracked_objects_are_followed_below_the_least_score(tmp_path):
    """At 0.5 of the least score they end; without --track at the least score; a picture in the same run knows no such thing."""
    clip = squares.write_clip(tmp_path / "c.avi", [squares.draw(("red", 20 + i, 30, 16)) for i in range(20)])
    for track, least in ((True, 0.3), (False, 0.6)):
        selection = Selection(min_score=0.6, track=track)
        found, text = predict([clip], tmp_path / str(track), FadingDetector(), selection=selection, batch_size=4)
        scores = [a["score"] for a in found["annotations"]]
        assert least <= min(scores) < least + 0.05
        assert ("objects of videos are followed down to 50% of it" in text) == track
    picture = squares.write_png(tmp_path / "a.png", ("red", 20, 30, 16), ("red", 60, 30, 16))
    found, _ = predict([picture, clip], tmp_path / "both", selection=Selection(min_score=0.85, track=True))
    assert [a["score"] for a in found["annotations"] if a["image_id"] == 1] == [0.9]


def test_smooth(tmp_path):
    """A square that trembles by 2 pixels: calmer in all files, which say so; pictures stay as they are found."""
    frames = [squares.draw(("red", 40 + 2 * (i % 2), 30, 30)) for i in range(30)]
    sources = [squares.write_png(tmp_path / "a.png", ("red", 20, 30, 40)), squares.write_clip(tmp_path / "c.avi", frames)]
    left = {}
    for smooth in (False, True):
        selection = Selection(track=True, smooth=smooth)
        found, _ = predict(sources, tmp_path / str(smooth), selection=selection, choice=OutputChoice(csv=True))
        assert found["annotations"][0]["bbox"][0] == pytest.approx(20, abs=1) and "track_id" not in found["annotations"][0]
        left[smooth] = np.array([[a["bbox"][0], a["keypoints"][0]] for a in found["annotations"][10:]])
        assert ("smoothed" in found["info"]) == smooth
        with open(tmp_path / str(smooth) / "predictions.csv", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["track"] and row["keypoint"] == "corner"]
        np.testing.assert_allclose([float(row["x"]) for row in rows][9:], left[smooth][:, 1], atol=1e-3)
    assert np.all(np.diff(left[True], axis=0).std(0) < 0.5 * np.diff(left[False], axis=0).std(0))
    predict(sources, tmp_path / "True", selection=Selection(track=True))  # and it stays a file that may be written over
    with pytest.raises(ValueError, match="--smooth: found no --track"):
        Selection(smooth=True)


@pytest.mark.parametrize("options", [{"choice": OutputChoice(video=True)}, {"selection": Selection(track=True)}])
def test_choices_that_need_a_video(images, tmp_path, options):
    with pytest.raises(ValueError, match="--(save-video|track): found images only, expected a video"):
        predict([images], tmp_path / "out", **options)


def test_show(images, tmp_path, monkeypatch):
    shown = []

    class Window:
        opened, address, port = False, "http://127.0.0.1:1/", 1
        show = shown.append

        def close(self):
            shown.append("closed")

    monkeypatch.setattr(stream, "Screen", Window)
    _, text = predict([images], tmp_path / "out", choice=OutputChoice(show=True, pictures=False))
    assert [getattr(s, "shape", s) for s in shown] == [(96, 96, 3), (96, 96, 3), (96, 192, 3), "closed"]
    assert "showing at http://127.0.0.1:1/" in text and "ssh -L 1:127.0.0.1:1" in text


def test_disk_errors_end_the_run_with_whole_files(tmp_path, monkeypatch):
    many = [squares.write_png(tmp_path / f"{i:02d}.png", ("red", 20, 30, 40)) for i in range(40)]
    written = []

    def write(path, picture, command):
        if len(written) == 5:
            raise OSError(28, "No space left on device", str(path))
        written.append(outputs.write_image.__name__)

    monkeypatch.setattr(outputs, "write_image", write)
    detector = squares.SquareDetector()
    with pytest.raises(OSError, match=r"out: could not be written \(.*No space left .*free some space"):
        predict(many, tmp_path / "out", detector, batch_size=2)
    found = json.loads((tmp_path / "out/predictions.json").read_text())
    assert 1 <= len(found["images"]) <= 5 and detector.calls < 20
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file: could not be written"):
        predict(many, tmp_path / "file")


def test_error_of_the_detector_comes_through_and_leaves_whole_files(images, tmp_path):
    class Failing(squares.SquareDetector):
        def predict_on_batch(self, inputs):
            if self.calls == 1:
                raise RuntimeError("out of memory")
            return super().predict_on_batch(inputs)

    with pytest.raises(RuntimeError, match="out of memory"):
        predict([images], tmp_path / "out", Failing(), batch_size=1)
    assert len(json.loads((tmp_path / "out/predictions.json").read_text())["images"]) <= 1


INTERRUPTED = """
    import sys
    from pathlib import Path
    import squares
    from centerkp.inference import model_loading
    from centerkp.cli import commands

    model_loading.load_for_use = lambda *a, **k: squares.SquareDetector(seconds=0.05)
    commands.import_quietly = lambda name: None
    sys.exit(commands.main(["infer", *sys.argv[1:]]))
"""


def test_interrupt_leaves_whole_files(tmp_path):
    """Ctrl-C in the middle of a video: exit code 130, and JSON, table and video of the same frames."""
    clip = squares.write_clip(tmp_path / "c.avi", squares.moving_square(2000, step=0))
    command = [sys.executable, "-c", textwrap.dedent(INTERRUPTED), str(clip), "--weights", "x", "--csv", "--batch-size", "2"]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "out")], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=os.environ | {"PYTHONPATH": f"{TESTS}:{TESTS.parent}"},
        # Whose tests run in the background of a script, has a shell that makes its children deaf to Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    videos = tmp_path / "out" / "videos"
    deadline = time.monotonic() + 30
    while not list(videos.glob("part-*-c.mp4")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    text = process.communicate(timeout=90)[0]
    assert process.returncode == 130, text
    assert "interrupted; what was finished is complete" in text and "Traceback" not in text
    found = json.loads((tmp_path / "out/predictions.json").read_text())
    film = cv2.VideoCapture(str(tmp_path / "out/videos/c.mp4"))
    assert 2 <= len(found["images"]) < 2000 and film.get(cv2.CAP_PROP_FRAME_COUNT) == len(found["images"])
    with open(tmp_path / "out/predictions.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 2 * len(found["annotations"])
    assert files_in(tmp_path / "out") == ["predictions.csv", "predictions.json", "videos/c.mp4"]


def test_few_images_are_in_hand_at_once(tmp_path, monkeypatch):
    """The network may not run away from a slow disk: what waits in between is memory."""
    many = [squares.write_png(tmp_path / f"{i:03d}.png") for i in range(120)]
    monkeypatch.setattr(outputs, "write_image", lambda *_: time.sleep(0.01))
    detector, most = squares.SquareDetector(), []
    monkeypatch.setattr(outputs.Outputs, "_write_result", _counting(outputs.Outputs._write_result, detector, most))
    predict(many, tmp_path / "out", detector, batch_size=4)
    assert detector.calls == 30 and max(most) <= 40


def _counting(write, detector, most):
    def counted(self, *args):
        most.append(4 * detector.calls - self.image_count)
        return write(self, *args)

    return counted
