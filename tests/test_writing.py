import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from centerkp import writing
from centerkp.writing import (
    WriteGuard,
    claim_part,
    hold_folder,
    is_result,
    mark,
    part_folder,
    part_path,
    replacing,
    says,
    short_name,
    write_json,
    write_jsons,
)


def test_replaces_when_whole(tmp_path):
    path = tmp_path / "new" / "folder" / "model.keras"
    for text in ("one", "two"):
        with replacing(path) as part:
            assert part == part_path(path) and part.suffix == ".keras" and part.parent == path.parent
            part.write_text(text)
            assert not path.exists() or path.read_text() == "one"
    assert path.read_text() == "two" and [p.name for p in path.parent.iterdir()] == ["model.keras"]


def test_failure_leaves_what_stood_there(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})
    with pytest.raises(TypeError):
        write_json(path, {"new": [1, 2, object()]})
    assert json.loads(path.read_text()) == {"old": 1} and [p.name for p in tmp_path.iterdir()] == ["a.json"]


@contextmanager
def writing_jsons(path):
    """Two files that belong together, of which the second cannot be written."""
    yield path
    write_jsons({path: 1, path.with_name("b"): object()})


WAYS = [(shutil, "rmtree", part_folder), (Path, "unlink", replacing), (Path, "unlink", writing_jsons)]


@pytest.mark.parametrize("place, name, write", WAYS)
def test_a_signal_while_it_is_cleared_away_leaves_nothing(place, name, write, tmp_path, monkeypatch):
    """Sent right before the operation."""
    calls, original = [], getattr(place, name)

    def interrupted(*arguments, **options):
        if arguments[0].exists():
            calls.append(arguments)
            if len(calls) == 1:
                raise KeyboardInterrupt
        original(*arguments, **options)

    monkeypatch.setattr(place, name, interrupted)
    with pytest.raises(KeyboardInterrupt), write(tmp_path / "a") as part:
        if write is not writing_jsons:
            part.exists() or part.touch()
            raise ValueError
    assert len(calls) == (3 if write is writing_jsons else 2) and not list(tmp_path.iterdir())


def test_json_is_readable_in_any_language_and_survives_half_characters(tmp_path):
    path = write_json(tmp_path / "a.json", {"Größe": "螺丝刀"})
    assert path.read_text(encoding="utf-8") == '{"Größe": "螺丝刀"}'
    broken = {"name": "\udc80 Größe"}
    assert json.loads(text := write_json(path, broken).read_text(encoding="utf-8")) == broken and "Größe" in text


def test_names_of_any_length_have_a_temporary_one(tmp_path):
    for name in ("n" * 251 + ".jpg", "é" * 125 + ".json", "x" * 255):
        write_json(tmp_path / name, name)
        assert json.loads((tmp_path / name).read_text(encoding="utf-8")) == name
        assert len(os.fsencode(part_path(tmp_path / name).name)) <= 255
        assert len(name) == 255 or part_path(tmp_path / name).suffix == (tmp_path / name).suffix


def test_next_process_clears_away_what_a_killed_one_left(tmp_path):
    """And neither what a living one is writing, nor what another machine's is, nor a file of the user's."""
    code = "import sys, pathlib; from centerkp.writing import claim_part; p = pathlib.Path(sys.argv[1])\n"
    code += "claim_part(p / 'a.json').write_text('[1')\n"
    code += "claim_part(p / 'folder').mkdir(); (claim_part(p / 'folder') / 'x').touch()"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    left = {p.name for p in tmp_path.iterdir()}
    assert len(left) == 2
    others = {f"part-{'0' * 8}-1-far.json", "part-b.json", f"part-{writing._digest_machine()}-{os.getppid()}-c.json"}
    for name in others:
        (tmp_path / name).touch()
    write_json(tmp_path / "b.json", 1)
    assert {p.name for p in tmp_path.iterdir()} == others | {"b.json"}
    with hold_folder(tmp_path, "wait"):
        assert {p.name for p in tmp_path.iterdir()} == {"part-b.json", "b.json", ".lock", ".lock.json"}


def _hold(folder, pipe):
    with hold_folder(folder, "wait"):
        pipe.send("held")
        pipe.recv()


def test_one_process_at_a_time_holds_a_folder(tmp_path):
    """The second is told who the first is; the folder is free again when that was killed."""
    folder, spawn = tmp_path / "run", multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_hold, args=(folder, theirs))
    process.start()
    assert ours.recv() == "held"
    with pytest.raises(ValueError, match=f"run: found process {process.pid} on .* since 20.*; wait for it"):
        with hold_folder(folder, "wait for it"):
            pass
    part = claim_part(folder / "a.json")
    part.touch()
    process.kill()
    process.join()
    with hold_folder(folder, "wait"):
        assert json.loads((folder / ".lock.json").read_text())["process"] == os.getpid() and not part.exists()
    assert [p.name for p in folder.iterdir()] == [".lock"]


@pytest.fixture()
def photo(tmp_path):
    photo = tmp_path / "in" / "photo.jpg"
    photo.parent.mkdir()
    photo.write_bytes(b"precious")
    return photo


def test_an_input_is_never_written_over(photo, tmp_path, monkeypatch):
    """Whatever it is called: relative, by a symbolic link of it or its folder, or a hard link; also with --overwrite."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.jpg").symlink_to(photo)
    (tmp_path / "folder").symlink_to(photo.parent)
    os.link(photo, tmp_path / "hard.jpg")
    for name in (photo, "in/photo.jpg", "in/../in/photo.jpg", "link.jpg", "folder/photo.jpg", "hard.jpg"):
        for reads in ([photo], ["in/photo.jpg"], ["link.jpg"]):
            with pytest.raises(ValueError, match="photo.jpg|link.jpg|hard.jpg: found as output.*never changed"):
                WriteGuard(reads, overwrite=True).check([tmp_path / "new.jpg", name], lambda path: True)
    WriteGuard([photo, "gone.jpg"]).check(["in/other.jpg", "gone2.jpg"])


def test_names_in_another_case_are_one_file_where_the_disk_says_so(photo, monkeypatch):
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda path, **k: real(str(path).lower(), **k))  # as on macOS and Windows
    with pytest.raises(ValueError, match="PHOTO.JPG: found as output, which is .*photo.jpg, and"):
        WriteGuard([photo], overwrite=True).check([photo.with_name("PHOTO.JPG")])


def test_only_own_files_are_written_over_unasked(photo, tmp_path):
    others = [tmp_path / f"{n}.txt" for n in range(5)]
    for path in others:
        path.write_text("")
    dangling = tmp_path / "dangling.txt"
    dangling.symlink_to("nowhere")
    for foreign in (photo, dangling, *others):
        with pytest.raises(FileExistsError, match=f"{foreign.name}: found a file of this name .* with --overwrite"):
            WriteGuard().check([foreign])
        WriteGuard(overwrite=True).check([foreign])
    with pytest.raises(FileExistsError, match="0.txt, .*1.txt, .*2.txt and 2 more: found files of this name"):
        WriteGuard().check(others)
    photo.write_bytes(b"\xff\xd8" + mark("show").encode() + bytes(5000))
    WriteGuard().check([photo], lambda path: says(path, mark("show")))
    with pytest.raises(FileExistsError):
        WriteGuard().check([photo], lambda path: says(path, mark("infer")))
    with pytest.raises(FileExistsError, match="found a folder"):
        WriteGuard(overwrite=True).check([photo.parent])


def test_pipes_and_devices_are_refused_and_not_waited_for(tmp_path):
    """Also with --overwrite, which would put a file in the place of /dev/stdout."""
    os.mkfifo(tmp_path / "page.html")
    for path in (tmp_path / "page.html", Path("/dev/null")):
        for overwrite in (False, True):
            with pytest.raises(FileExistsError, match=f"{path}: found a pipe or device, expected the name of a file to write"):
                WriteGuard(overwrite=overwrite).check([path], lambda path: says(path, mark("check")))


def test_places_that_cannot_be_written_to(photo, tmp_path, monkeypatch):
    with pytest.raises(NotADirectoryError, match="photo.jpg: could not be written: found a file"):
        WriteGuard().check([photo / "new" / "a.json"])
    with pytest.raises(ValueError, match="b.json: found as the name of two outputs"):
        WriteGuard().check([tmp_path / "b.json", tmp_path / "in" / ".." / "b.json"])
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match="found a folder that is read-only"):
        WriteGuard().check([tmp_path / "new" / "a.json"])
    assert not (tmp_path / "new").exists()


def test_a_failed_write_is_a_sentence(tmp_path):
    def fail():
        with replacing(tmp_path / "a.json"):
            raise OSError(28, "No space left on device", "part")

    with pytest.raises(OSError, match=r"a.json: could not be written \(No space left on device\); free some space") as caught:
        fail()
    assert caught.value.errno == 28 and "Errno" not in str(caught.value) and not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file/a.json: could not be written"):
        write_json(tmp_path / "file" / "a.json", {})


def test_names_that_are_too_long_are_cut_and_stay_different():
    names = ["x" * 251 + ending for ending in ("1.jpg", "2.jpg", ".bmp.jpg")] + ["ä" * 200 + ".png"]
    short = [short_name(name) for name in names]
    assert len(set(short)) == 4 and all(len(os.fsencode(name)) <= 255 for name in short)
    assert [name[-4:] for name in short] == [".jpg", ".jpg", ".jpg", ".png"] and short_name("a" * 255) == "a" * 255


def test_results_are_known_by_what_they_say_or_are_called(tmp_path):
    for name, content, known in (
        ("a.jpg", mark("infer").encode() + bytes(3000), True),
        ("b.mp4", bytes(3000) + mark("infer").encode(), True),
        ("c.jpg", bytes(5000), False),
        (part_path(tmp_path / "d.mp4").name, b"", True),
        ("part-two.jpg", b"", False),
    ):
        (tmp_path / name).write_bytes(content)
        assert is_result(tmp_path / name) == known, name
    assert not is_result(tmp_path / "none.jpg")


def test_files_that_belong_together_are_never_mixed(tmp_path, monkeypatch):
    """Broken off at any of its operations: all as before, or only new ones."""
    files, replace = [tmp_path / name for name in "abc"], os.replace
    for stop in range(3):
        write_jsons(dict.fromkeys(files, "old"))
        left = iter(range(stop))

        def broken(*paths, left=left):
            if next(left, None) is None:
                raise OSError("broken off")
            replace(*paths)

        monkeypatch.setattr(os, "replace", broken)
        with pytest.raises(OSError, match="broken off"):
            write_jsons(dict.fromkeys(files, "new"))
        monkeypatch.undo()
        there = {p.name: json.loads(p.read_text()) for p in tmp_path.iterdir()}
        assert there == ({"a": "old"} if stop == 0 else dict.fromkeys("abc"[:stop], "new"))
    with pytest.raises(TypeError):
        write_jsons(dict.fromkeys(files, object()))
    assert there == {p.name: json.loads(p.read_text()) for p in tmp_path.iterdir()}
