"""What outputs are called, what they may replace, and that a fault of one ends no other."""

import io
import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import squares

from centerkp.console import make_console
from centerkp.drawing.legend import LINE
from centerkp.images.saving import write_image
from centerkp.inference import video
from centerkp.inference.outputs import OutputChoice, OutputNames
from centerkp.inference.sources import Item, Picture, find_sources
from centerkp.inference.stream import predict_sources
from centerkp.inference.video import Clip
from centerkp.schema import ObjectClass, Schema


def predict(given, out, detector=None, **options):
    console = make_console(record=True, width=200, file=io.StringIO())
    sources = find_sources(given, lambda note: None)
    path = predict_sources(detector or squares.SquareDetector(), sources, out, console=console, **options)
    return json.loads(path.read_text(encoding="utf-8")), console.export_text()


def snapshot(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture()
def dataset(tmp_path):
    squares.write_png(tmp_path / "ds" / "images" / "a.png", ("red", 20, 30, 40))
    squares.write_png(tmp_path / "ds" / "images" / "sub" / "b.png", ("green", 20, 30, 40))
    (tmp_path / "ds" / "videos").mkdir()
    squares.write_clip(tmp_path / "ds" / "videos" / "c.mp4", squares.moving_square(3), "mp4v")
    return tmp_path / "ds"


class Untouched(squares.SquareDetector):
    def predict_on_batch(self, inputs):
        raise AssertionError("the network ran before it was known whether its results may be written")


@pytest.mark.parametrize("given, out", [
    (["only"], "only"), (["ds/images"], "ds"), (["ds/images/a.png"], "ds"), (["images/../ds/images/a.png"], "other/../ds"),
    (["ds/videos/c.mp4"], "ds"), (["ds/videos/c.mp4"], "link"),
])  # fmt: skip
def test_originals_are_never_written_over(dataset, tmp_path, monkeypatch, given, out):
    monkeypatch.chdir(tmp_path)
    for folder in ("images", "other"):
        (tmp_path / folder).mkdir()
    (tmp_path / "link").symlink_to(dataset)
    squares.write_png(tmp_path / "only" / "images" / "a.png")  # what "ds" in the place of "only" gives is called images/images/
    before = snapshot(tmp_path)
    for overwrite in (False, True):
        with pytest.raises(ValueError, match="found as output.* and among the files to read, which are never changed"):
            predict(given, out, Untouched(), overwrite=overwrite)
    assert snapshot(tmp_path) == before


def test_an_output_folder_inside_the_source_is_no_trouble(dataset):
    """Twice: the second time its own results are left out of the search, and replaced."""
    before = snapshot(dataset)
    for _ in range(2):
        found, _ = predict([dataset], dataset / "predictions")
        assert len(found["images"]) == 5
    after = snapshot(dataset)
    assert before.items() <= after.items() and len(after) == len(before) + 4


def test_files_of_others_are_replaced_only_when_asked(dataset, tmp_path):
    """Of each kind of output: a table, a picture, a video, a crop; those of an earlier run are."""
    out, choice = tmp_path / "out", OutputChoice(csv=True, crops=True)
    predict([dataset], out, choice=choice)
    own = snapshot(out)
    assert len(own) == 10
    predict([dataset], out, choice=choice)
    for name in ("predictions.json", "predictions.csv", "images/images/a.png", "videos/videos/c.mp4"):
        (out / name).write_bytes(b"precious")
        with pytest.raises(FileExistsError, match=f"{name}: found a file of this name that no earlier run"):
            predict([dataset], out, Untouched(), choice=choice)
        assert (out / name).read_bytes() == b"precious"
        predict([dataset], out, choice=choice, overwrite=True)
        assert (out / name).read_bytes() != b"precious"


def test_predictions_that_somebody_corrected_are_kept(dataset, tmp_path):
    predict([dataset], tmp_path / "out")
    path = tmp_path / "out" / "predictions.json"
    path.write_text(path.read_text().replace('"iscrowd": 0', '"iscrowd": 1'))
    with pytest.raises(FileExistsError, match="predictions.json"):
        predict([dataset], tmp_path / "out", Untouched())


def test_what_is_in_the_way_of_a_crop_or_frame_is_kept_and_named(dataset, tmp_path):
    """Which crops and frames there will be, nobody knows before: each is left out by itself."""
    crop, frame = tmp_path / "out/crops/red/images/a.png_1.jpg", tmp_path / "out/images/videos/c/000001.jpg"
    for path in (crop, frame):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"precious")
    choice = OutputChoice(pictures=True, crops=True)
    found, text = predict([dataset], tmp_path / "out", choice=choice)
    assert crop.read_bytes() == frame.read_bytes() == b"precious" and "2 faults" in text
    assert len(found["annotations"]) == 5 and (frame.parent / "000002.jpg").is_file()
    predict([dataset], tmp_path / "out", choice=choice, overwrite=True)
    assert b"precious" not in (crop.read_bytes(), frame.read_bytes())


def test_an_interrupted_run_may_be_repeated(dataset, tmp_path):
    """A killed process leaves pictures and half a file under a temporary name."""
    predict([dataset], tmp_path / "out")
    (tmp_path / "out" / "predictions.json").rename(tmp_path / "out" / "part-00000000-1-predictions.json")
    (tmp_path / "out" / "videos" / "videos" / "c.mp4").rename(tmp_path / "out" / "videos" / "videos" / "part-00000000-1-c.mp4")
    assert len(predict([dataset], tmp_path / "out")[0]["images"]) == 5
    assert len(find_sources([tmp_path], lambda note: None)) == 3


def item(name, clip=None):
    return Item(name, None, clip)


def test_names_stay_different(tmp_path):
    """Second endings, names too long for them, other cases, and frames called like a picture."""
    long = "x" * 252
    sources = [Picture(name, tmp_path / name) for name in
               ("a.bmp", "a.bmp.jpg", "A.BMP", "c/000001.jpg", f"{long}.bm", f"{long}.tf", "d/" + "ä" * 126)]  # fmt: skip
    clip = Clip("c", "c.avi")
    names = OutputNames(tmp_path / "out", [*sources, clip], OutputChoice(pictures=True))
    paths = [names.picture(item(s.name)) for s in sources] + [names.picture(item("c/000001.jpg", clip))]
    assert [p.name for p in paths[:4]] == ["a.bmp.jpg", "a.bmp-2.jpg", "A.BMP-3.jpg", "000001.jpg"]
    assert len({str(p).casefold() for p in paths}) == len(paths)
    assert all(len(os.fsencode(p.name)) <= 255 and p.suffix == ".jpg" for p in paths)
    crops = {names.crop(item(f"{long}{i}.jp"), "cup", 1).name for i in range(3)}
    assert len(crops) == 3 and all(len(name) <= 255 for name in crops)
    assert names.video(Clip("v" * 255, "v")).name.endswith(".mp4")


def test_cameras_are_no_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = OutputNames("0", [Clip("camera_0", 0, live=True)], OutputChoice())
    assert names.video(Clip("camera_0", 0, live=True)) == Path("0/videos/camera_0.mp4")


BAD_LINES = ["http://", "http://[::1/x", "http:///a.jpg", "ftp://h/a.jpg", "https://h:port/a.jpg", "http://127.0.0.1:9/a.jpg",
             "http://" + "a" * 70 + "/a.jpg", "http://h/\ud83d.jpg", "rtsp://", "udp://", "y" * 300 + ".jpg", "z/" * 2500,
             "missing.png", "[", "none/**", "12x", "\x1b[31mred.png", "~/none.png"]  # fmt: skip


def test_one_bad_thing_among_good_ones(tmp_path, monkeypatch):
    """All good ones are predicted, and every bad one is named: damaged, badly called, of odd rates, and no sources at all."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(video, "TIMEOUT", 1)  # nobody answers at udp://
    folder = tmp_path / "in"
    encoded = squares.write_png(folder / "a.png", ("red", 20, 30, 40)).read_bytes()
    # Legal names: control characters, bytes that are no letters, 252 bytes and more, a protocol, a pattern, a quote.
    for name in (b"b\x1b[31m.png", b"c\n.png", b"d\xff.png", b"e" * 248 + b".png", b"f" * 251 + b".png",
                 b"\xc3\xa4" * 125 + b".png", b"h:g.png", b"%03d.png", b"'\".png", b"[i].png", b" .png",
                 b"j" * 251 + b".pgm", b"concat:k.png"):  # fmt: skip
        with open(os.fsencode(folder) + b"/" + name, "wb") as file:
            file.write(encoded)
    bad = {"empty.jpg": b"", "text.png": b"no image", "cut.png": encoded[:-30], "film.mp4": b"no film", "broken.avi": bytes(99)}
    for name, content in bad.items():
        (folder / name).write_bytes(content)
    (folder / "folder.jpg").mkdir()
    (folder / "gone.png").symlink_to("nowhere")
    pictures = 14
    rates = (66.667, 100.003, 998.98, 0.1, 7.5)
    for rate in rates:
        squares.write_clip(folder / f"rate {rate}.avi", squares.moving_square(3), fps=rate)
    squares.write_clip(folder / "wide.avi", [squares.draw(("red", 9, 3, 9), size=(9000, 16))] * 2)
    shutil.copy(folder / "rate 7.5.avi", os.fsencode(folder) + b"/nobody\xff.avi")
    shutil.copy(folder / "rate 7.5.avi", folder / "colon:one.avi")
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join([*BAD_LINES, "in/a.png", ""]), encoding="utf-8", errors="surrogatepass")
    found, text = predict([folder, listed, squares.write_png(tmp_path / "last.png")], tmp_path / "out",
                          choice=OutputChoice(csv=True, crops=True))  # fmt: skip
    frames = 3 * (len(rates) + 1) + 2  # in the last two the square is too small to be seen
    assert (
        len(found["images"]) == pictures + 1 + frames and len(found["annotations"]) == pictures + frames - 2
    )  # too small in "wide"
    drawn = [p for p in (tmp_path / "out" / "images").rglob("*") if p.is_file()]
    assert len(drawn) == pictures + 1 and len(list((tmp_path / "out/videos").rglob("*.mp4"))) == len(rates) + 1
    for rate in rates:
        film = cv2.VideoCapture(str(tmp_path / "out" / "videos" / "in" / f"rate {rate}.mp4"))
        assert film.get(cv2.CAP_PROP_FPS) == pytest.approx(rate, rel=1e-3) and film.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    for name in (*bad, "nobody", "wide.mp4: no video of 9000 x 16 pixels"):
        assert name in text, name
    for number, line in enumerate(BAD_LINES, 1):
        if "://" not in line:
            assert f"list.txt, line {number}: " in text, line
    for line in ("http://: found an address without a host", "http://[::1/x: found no address (Invalid IPv6 URL)"):
        assert f": {line}" in text


def test_a_picture_too_large_for_its_format_is_named(tmp_path):
    write_image(tmp_path / "wide.png", squares.draw(size=(70000, 2)))
    (tmp_path / "wide.png").rename(tmp_path / "wide.bmp")  # the content decides, but the output is to be a JPEG
    found, text = predict([tmp_path / "wide.bmp", squares.write_png(tmp_path / "a.png")], tmp_path / "out")
    assert len(found["images"]) == 2 and "wide.bmp.jpg: found an image of 70000x2 pixels, too large for .jpg" in text


class ManyKeypoints(squares.SquareDetector):
    """Finds the same with three times as many keypoints, seven and more of which need names."""

    schema = Schema((ObjectClass("red", 3, tuple(f"p{n}" for n in range(7))), squares.SCHEMA.classes[1]))

    def predict_on_batch(self, inputs):
        found = super().predict_on_batch(inputs)
        return found | {name: np.repeat(found[name], 4, axis=2)[:, :, :7] for name in ("keypoints", "keypoint_scores")}


def test_names_of_many_keypoints_lie_beside_the_pictures(dataset, tmp_path):
    """Where pictures are written and nobody else's file lies; few keypoints are told apart without."""
    found, text = predict([dataset / "images"], tmp_path / "out", ManyKeypoints())
    legend = cv2.imread(str(tmp_path / "out" / "legend.png"))
    assert legend.shape[0] == 8 * LINE and f"legend: {tmp_path}/out/legend.png" in text and len(found["images"]) == 2
    predict([dataset / "images"], tmp_path / "few")
    predict([dataset / "images"], tmp_path / "none", ManyKeypoints(), choice=OutputChoice(pictures=False))
    assert not list(tmp_path.glob("few/legend*")) and not list(tmp_path.glob("none/legend*"))
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "legend.png").write_bytes(b"mine")
    found, text = predict([dataset / "images"], tmp_path / "own", ManyKeypoints())
    assert (tmp_path / "own" / "legend.png").read_bytes() == b"mine" and "left out: " in text and len(found["images"]) == 2
