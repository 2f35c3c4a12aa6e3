import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event

import cv2
import numpy as np
import pytest
import squares

from centerkp.inference import sources
from centerkp.inference.detect import Frame
from centerkp.inference.sources import Picture, find_sources, read_address, read_items
from centerkp.inference.video import Clip


@pytest.fixture()
def folder(tmp_path):
    for name in ("a.png", "sub/b.PNG", "sub/deep/a.png"):
        squares.write_png(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.md").write_text("no image")
    (tmp_path / "in" / "film.AVI").write_bytes(b"not opened while searching")
    return tmp_path / "in"


@pytest.fixture()
def server(tmp_path):
    """Serves /good.png, /lies.png (shorter than announced), /page.png (not an image); everything else is 404."""
    data = squares.write_png(tmp_path / "served.png", ("red", 10, 20, 30)).read_bytes()
    clip = squares.write_clip(tmp_path / "served.avi", squares.moving_square(5)).read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/camera":
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
                self.end_headers()
                with suppress(OSError):
                    for image in squares.moving_square(20):
                        picture = cv2.imencode(".jpg", image[..., ::-1])[1].tobytes()
                        head = b"--next\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture)
                        self.wfile.write(head + picture + b"\r\n")
                return
            content, length = {
                "/good.png": (data, len(data)),
                "/lies.png": (data[:100], len(data)),
                "/huge.png": (data, 10**12),
                "/page.png": (b"<html>", 6),
                "/get": (clip, len(clip)),
            }.get(self.path.split("?")[0], (None, 0))
            if content is None:
                return self.send_error(404)
            self.send_response(200)
            self.send_header("Content-Type", "video/x-msvideo" if self.path.startswith("/get") else "image/png")
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=web.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{web.server_address[1]}"
    web.shutdown()
    web.server_close()


def names(found):
    return [source.name for source in found]


def test_folders_patterns_and_files(folder):
    assert names(find_sources([folder])) == ["a.png", "film", "sub/b.PNG", "sub/deep/a.png"]
    assert [type(s) for s in find_sources([folder])] == [Picture, Clip, Picture, Picture]
    assert names(find_sources([folder / "a.png", f"{folder}/**/*.png"])) == ["a.png", "sub/deep/a.png"]
    assert names(find_sources([folder / "notes.md"])) == ["notes.md"]  # named on purpose: its content will be judged


def test_outputs_of_an_earlier_run_are_no_sources(folder):
    squares.write_png(folder / "predictions" / "images" / "a.png")
    assert len(find_sources([folder], skip=folder / "predictions")) == 4
    assert len(find_sources([folder])) == 5
    assert len(find_sources([folder], skip=folder)) == 5  # the outputs go where the images are: nothing to tell them by


@pytest.mark.parametrize("nothing", ["no.jpg", "*.gif", "empty", "clip_07"])
def test_nothing_there(tmp_path, nothing):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=f"{nothing.replace('*', '.')}: found no image or video, expected"):
        find_sources([tmp_path / nothing])


def test_addresses_cameras_and_streams():
    given = [
        "0",
        "rtsp://cam:554/live",
        "http://h/a%20b.jpg?size=1",
        "https://h/a b.jpg",
        "http://h/x.mp4",
        "http://h/",
        "https://h/s.m3u8",
    ]
    camera, stream, first, second, video, bare, playlist = find_sources(given)
    assert camera == Clip("camera0", 0, live=True) and stream == Clip("live", "rtsp://cam:554/live", live=True)
    assert first == Picture("a_b.jpg", given[2]) and second == Picture("a_b-2.jpg", given[3])
    assert video == Clip("x", "http://h/x.mp4", live=False) and bare.name == "h" and playlist.live
    with pytest.raises(ValueError, match="ftp://h/a.jpg: found an address that begins with ftp, expected one of http"):
        find_sources(["ftp://h/a.jpg"])


def test_a_file_called_like_a_number_is_a_file(tmp_path, monkeypatch):
    squares.write_png(tmp_path / "0")
    monkeypatch.chdir(tmp_path)
    assert find_sources(["0"]) == [Picture("0", Path("0"))]


def test_list(folder, monkeypatch):
    listed = folder / "list.txt"
    listed.write_text("\ufeff# mine\n\na.png\nsub/*.PNG\nhttp://h/u.png\nmissing.png\n", encoding="utf-8")
    found = find_sources([listed])
    assert [s.address for s in found] == [folder / "a.png", folder / "sub/b.PNG", "http://h/u.png", Path("missing.png")]
    monkeypatch.chdir(folder.parent)
    (folder / "from_here.txt").write_text("in/a.png\n")
    assert find_sources([folder / "from_here.txt"])[0].address == Path("in/a.png")
    (folder / "empty.txt").write_text("# nothing\n")
    with pytest.raises(FileNotFoundError, match="empty.txt: found no line"):
        find_sources([folder / "empty.txt"])
    (folder / "binary.txt").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(ValueError, match="binary.txt: found bytes that are not text"):
        find_sources([folder / "binary.txt"])


def test_names_of_files_in_different_folders_stay_apart(tmp_path):
    paths = [squares.write_png(tmp_path / side / "x.png") for side in ("left", "right")]
    clips = [tmp_path / "left" / name for name in ("c.avi", "c.mp4")]
    for clip in clips:
        clip.write_bytes(b"x")
    assert names(find_sources([*paths, *clips])) == ["left/x.png", "right/x.png", "left/c", "left/c-2"]


def test_download(server):
    image = read_address(f"{server}/good.png?token=1")
    assert image.shape == (96, 96, 3) and image[25, 15].tolist() == [230, 20, 20] and image[5, 5].tolist() == [60, 60, 60]


@pytest.mark.parametrize(
    "name, found",
    [
        ("none.png", "404 Not Found"),
        ("lies.png", "the connection broke"),
        ("page.png", "no image format that is known"),
        ("huge.png", "more than 200 MB"),
    ],
)
def test_download_that_is_no_image(server, name, found):
    with pytest.raises(ValueError, match=f"{server}/{name}: found .*{found}"):
        read_address(f"{server}/{name}")


def test_nobody_answers(monkeypatch):
    monkeypatch.setattr(sources, "DOWNLOAD_TIMEOUT", 1)
    with pytest.raises(ValueError, match="http://127.0.0.1:9/a.png: found no image .*refused"):
        read_address("http://127.0.0.1:9/a.png")


def test_items_of_all_kinds_in_order(tmp_path, server):
    path = squares.write_png(tmp_path / "z.png")
    clip = squares.write_clip(tmp_path / "c.avi", squares.moving_square(3))
    (tmp_path / "bad.mp4").write_bytes(b"not a video")
    given = [path, f"{server}/good.png", f"{server}/gone.png", clip, tmp_path / "bad.mp4"]
    faults, counts = [], []
    items = list(read_items(find_sources(given), faults.append, counts.append, Event()))
    assert [item.name for item in items] == ["z.png", "good.png", "c/000000.jpg", "c/000001.jpg", "c/000002.jpg"]
    assert items[0].content == path and isinstance(items[1].content, Frame) and items[0].clip is None
    assert [(i.index, i.seconds, i.fps) for i in items[2:]] == [(0, 0, 20), (1, 0.05, 20), (2, 0.1, 20)]
    np.testing.assert_allclose(items[2].content.image[40, 10], (230, 20, 20), atol=25)
    assert counts == [3] and len(faults) == 2 and "gone.png: found" in faults[0] and "bad.mp4: found" in faults[1]


def test_a_network_camera_is_known_by_what_it_sends(server):
    faults, counts = [], []
    items = list(read_items(find_sources([f"{server}/camera"]), faults.append, counts.append, Event()))
    assert items and counts == [None]
    assert len(faults) == 1 and "has ended" in faults[0]
    assert items[0].name == "camera/000000.jpg" and items[0].clip.live
    assert len(squares.find_squares(items[-1].content.image)) == 1


def test_a_video_whose_address_does_not_say_so_is_read_whole(server):
    """Not as a camera, of which frames are skipped while the network is busy."""
    items = read_items(find_sources([f"{server}/get?id=3"]), pytest.fail, lambda _: None, Event())
    assert [(i.index, i.seconds, i.clip.live) for i in items] == [(n, n / 20, False) for n in range(5)]


def test_stopping(tmp_path):
    clip = squares.write_clip(tmp_path / "c.avi", squares.moving_square(5))
    stop = Event()
    items = read_items(find_sources([clip, squares.write_png(tmp_path / "a.png")]), print, lambda _: None, stop)
    assert next(items).index == 0
    stop.set()
    assert list(items) == []


def test_addresses_as_people_paste_them(server):
    """Blanks and accents are encoded as browsers do; what cannot be an address is a sentence and not a traceback."""
    with pytest.raises(ValueError, match="found no image .*404"):
        read_address(f"{server}/my photo ä.png")
    with pytest.raises(ValueError, match="found no image"):
        read_address("http://127.0.0.1:port/a.png")
