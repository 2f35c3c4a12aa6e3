import time
import zipfile
from pathlib import Path
from threading import Event

import cv2
import numpy as np
import pytest
import squares
from closed_folders import close_folder

from centerkp.images import packed
from centerkp.images.packed import ImageBytes
from centerkp.images.reading import read_image
from centerkp.images.saving import write_image
from centerkp.images.sensors import Levels
from centerkp.inference.detect import detect
from centerkp.inference.search import find_images
from centerkp.inference.sources import Picture, find_sources, read_items
from centerkp.inference.video import Clip, ClipWriter


@pytest.fixture()
def folder(tmp_path):
    for name in ("a.png", "sub/b.PNG", "sub/deep/a.png"):
        squares.write_png(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.md").write_text("no image")
    (tmp_path / "in" / "film.AVI").write_bytes(b"not opened while searching")
    return tmp_path / "in"


def names(found):
    return [source.name for source in found]


def test_folders_patterns_and_files(folder):
    assert names(find_sources([folder])) == ["a.png", "film", "sub/b.PNG", "sub/deep/a.png"]
    assert [type(s) for s in find_sources([folder])] == [Picture, Clip, Picture, Picture]
    assert names(find_sources([folder / "a.png", f"{folder}/**/*.png"])) == ["a.png", "sub/deep/a.png"]
    assert names(find_sources([folder / "notes.md"])) == ["notes.md"]  # named on purpose: its content will be judged


def test_results_of_earlier_runs_are_left_out_and_counted(folder, monkeypatch):
    """Wherever they lie, by folder, pattern and list; a file that is named is taken."""
    writer = ClipWriter(folder / "predictions" / "videos" / "film.mp4", 20)
    writer.write(squares.draw())
    writer.close()
    for name in ("predictions/images/a.png", "predictions/images/b.jpg", "predictions/crops/red/a.webp", "moved.jpeg"):
        write_image(folder / name, squares.draw(), "infer")
    squares.write_png(folder / "predictions" / "mine.png")
    (folder / "list.txt").write_text(f"{folder}\n")
    own = ["a.png", "film", "predictions/mine.png", "sub/b.PNG", "sub/deep/a.png"]
    for source, count, kept in (
        (folder, 5, own),
        (folder / "list.txt", 5, own),
        (folder / "predictions", 4, ["mine.png"]),
        (f"{folder}/**/*.png", 1, ["a.png", "predictions/mine.png", "sub/deep/a.png"]),
    ):
        notes = []
        assert names(find_sources([source], notes.append)) == kept
        assert len(notes) == 1 and f"left out: {count} result" in notes[0] and "of earlier runs, such as" in notes[0]
    assert names(find_sources([folder / "predictions/images/a.png"], pytest.fail)) == ["a.png"]
    with pytest.raises(
        FileNotFoundError, match="images: found no image or video but 2 results of earlier runs, such as .*, expected"
    ):
        find_sources([folder / "predictions/images"])
    notes = []
    assert len(find_images([folder], notes.append)) == 4 and "left out: 5 results" in notes[0]


def test_content_decides_and_what_is_left_out_is_named(tmp_path):
    """Pictures and videos of any ending, in linked folders too; the rest in one line with counts, by folder and pattern."""
    (tmp_path / "in").mkdir()
    jpeg = cv2.imencode(".jpg", squares.draw())[1].tobytes()
    for name in ("a.jfif", "b", "c.dat"):
        (tmp_path / "in" / name).write_bytes(jpeg)
    squares.write_png(tmp_path / "store" / "d.jpe")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "loop").symlink_to(tmp_path / "in")
    squares.write_clip(tmp_path / "clip.mp4", squares.moving_square(3), "mp4v").rename(tmp_path / "in" / "film")
    for name, content in (
        ("e.dng", b"II*\0"),
        ("f.dng", b"MM\0*"),
        ("g.md", b"text"),
        ("i.bin", b"\0\7"),
        (".DS_Store", b"\0"),
        ("h.jpg", b"%PDF"),
    ):
        (tmp_path / "in" / name).write_bytes(content)
    for source in (f"{tmp_path}/in", f"{tmp_path}/in/**/*"):
        notes = []
        found = find_sources([source], notes.append)
        assert sorted(Path(s.address).name for s in found) == ["a.jfif", "b", "c.dat", "d.jpe", "film"]
        assert [type(s) for s in found if s.name == "film" or s.name.endswith("/film")] == [Clip]
        (note,) = notes
        for words in ("2 camera raw pictures, such as", "e.dng (develop", "1 PDF document", "h.jpg", "1 other file (.bin 1)"):
            assert words in note
    assert [type(s) for s in find_sources([tmp_path / "in" / "film", tmp_path / "in" / "b"])] == [Clip, Picture]
    notes = []
    assert len(find_images([tmp_path / "in"], notes.append)) == 4 and "1 MP4 video, such as" in notes[0]
    with pytest.raises(FileNotFoundError, match="found no image or video but 2 camera raw pictures, .*develop.*, expected"):
        find_sources([f"{tmp_path}/in/*.dng"])


def test_zip_archives(tmp_path):
    """Named they are searched, in a folder they are left out; names stay apart, and lead out of no folder."""
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name in ("a.png", "../../b.png", "/c.png", "film.mp4"):
            archive.write(squares.write_png(tmp_path / "in" / "a.png"), name) if "film" not in name else archive.writestr(
                name, b"\0\0\0\x20ftypisom"
            )
    notes = []
    found = find_sources([tmp_path / "set.zip", tmp_path / "in"], notes.append)
    assert sorted(names(found)) == ["a.png", "set/a.png", "set/b.png", "set/c.png"]
    assert len(notes) == 1 and "1 MP4 video" in notes[0] and "film.mp4 (unpack the archive)" in notes[0]
    items = list(read_items(found, pytest.fail, pytest.fail, Event()))
    assert all(read_image(item.content).shape == (squares.SIZE, squares.SIZE, 3) for item in items)
    notes = []
    assert names(find_sources([tmp_path], notes.append)) == ["a.png"]
    assert "1 zip archive, such as" in notes[0] and "name it as a source of its own" in notes[0]
    (tmp_path / "set.zip").write_bytes((tmp_path / "set.zip").read_bytes()[:-30])
    with pytest.raises(ValueError, match="set.zip: found a damaged zip archive"):
        find_sources([tmp_path / "set.zip"])


def test_packed_images_that_cannot_be_unpacked_are_named(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.write(squares.write_png(tmp_path / "a.png"), "a.png")
    data = bytearray((tmp_path / "set.zip").read_bytes())
    data[6] |= 1  # the flag of a password, here and in the directory
    data[data.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(data)
    (locked,) = find_sources([tmp_path / "locked.zip"])
    with pytest.raises(ValueError, match="locked.zip/a.png: found an image that cannot be unpacked .*password"):
        read_image(locked.address)
    monkeypatch.setattr(packed, "MAX_BYTES", 10)
    (large,) = find_sources([tmp_path / "set.zip"])
    with pytest.raises(ValueError, match="set.zip/a.png: found an image that cannot be unpacked"):
        read_image(large.address)


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


def test_links_to_pictures_keep_their_own_names(tmp_path):
    """As in the folders of git-annex and DVC, where the files they lead to are called by digests."""
    stored = squares.write_png(tmp_path / "store" / "ab12.png").rename(tmp_path / "store" / "ab12")
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name in ("a.png", "b.png", "sub/a.png"):
        (tmp_path / "in" / name).symlink_to(stored)
    (tmp_path / "door").symlink_to(tmp_path / "in")
    for folder in ("in", "door"):
        assert names(find_sources([tmp_path / folder])) == ["a.png", "b.png", "sub/a.png"]


def test_frames_of_a_video_and_pictures_beside_it_have_different_names(tmp_path):
    """As where somebody has taken a video apart into a folder of its name."""
    clip = squares.write_clip(tmp_path / "walk.avi", squares.moving_square(2))
    folder = squares.write_png(tmp_path / "walk" / "000000.jpg").parent
    for given in ([tmp_path], [clip, folder]):
        items = read_items(find_sources(given), pytest.fail, lambda _: None, Event())
        assert sorted(i.name for i in items) == ["walk-2/000000.jpg", "walk-2/000001.jpg", "walk/000000.jpg"]


def test_pictures_of_addresses_are_read_as_those_of_files(server):
    """With the model's levels, which are white and black for a file of more than 8 bits."""
    (item,) = read_items(find_sources([f"{server}/deep.png"]), pytest.fail, lambda _: None, Event())
    detector = squares.SquareDetector()
    for levels, value in ((None, 29), (Levels(7500, 7560), 128)):
        detector.levels = levels
        (found,) = detect(detector, [item.content])
        assert found.image[0, 0].tolist() == pytest.approx([value] * 3, abs=1) and found.name == f"{server}/deep.png"
    assert "one gray value arrives" in found.oddities[0].text  # which files are warned of as well


def test_folders_that_cannot_be_listed_are_named(folder, monkeypatch):
    close_folder(monkeypatch, "deep")
    notes = []
    assert names(find_sources([folder], notes.append)) == ["a.png", "film", "sub/b.PNG"]
    assert f"1 unreadable folder, such as {folder}/sub/deep (ask for the permission to list it)" in notes[0]


def test_items_of_all_kinds_in_order(tmp_path, server):
    path = squares.write_png(tmp_path / "z.png")
    clip = squares.write_clip(tmp_path / "c.avi", squares.moving_square(3))
    (tmp_path / "bad.mp4").write_bytes(b"not a video")
    given = [path, f"{server}/good.png", f"{server}/gone.png", clip, tmp_path / "bad.mp4"]
    faults, counts = [], []
    items = list(read_items(find_sources(given), faults.append, counts.append, Event()))
    assert [item.name for item in items] == ["z.png", "good.png", "c/000000.jpg", "c/000001.jpg", "c/000002.jpg"]
    assert items[0].content == path and isinstance(items[1].content, ImageBytes) and items[0].clip is None
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
    assert [(i.index, round(i.seconds, 6), i.clip.live) for i in items] == [(n, n / 20, False) for n in range(5)]


def test_stopping(tmp_path):
    clip = squares.write_clip(tmp_path / "c.avi", squares.moving_square(5))
    stop = Event()
    items = read_items(find_sources([clip, squares.write_png(tmp_path / "a.png")]), print, lambda _: None, stop)
    assert next(items).index == 0
    stop.set()
    assert list(items) == []


def test_many_addresses_with_one_last_part():
    """Named in a time that grows with their number and not with its square."""
    find_sources(["http://h/a.jpg"])
    started = time.perf_counter()
    found = find_sources([f"http://h/id{i}/original.jpg" for i in range(4000)])
    assert time.perf_counter() - started < 5  # 27 s as it was
    assert names(found[:2]) == ["original.jpg", "original-2.jpg"] and len(set(names(found))) == 4000


def test_a_number_that_is_taken_is_left_out():
    addresses = [f"http://h/{i}/{name}" for i, name in enumerate(["a.jpg", "a-2.jpg", "a.jpg", "a.jpg", "a-2.jpg"])]
    assert names(find_sources(addresses)) == ["a.jpg", "a-2.jpg", "a-3.jpg", "a-4.jpg", "a-2-2.jpg"]
