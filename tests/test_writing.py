import json
import multiprocessing
import os
import subprocess
import sys

import pytest

from centerkp import writing
from centerkp.writing import claim_part, hold_folder, part_path, replacing, write_json


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


def test_json_is_readable_in_any_language_and_survives_half_characters(tmp_path):
    path = write_json(tmp_path / "a.json", {"Größe": "螺丝刀"})
    assert path.read_text(encoding="utf-8") == '{"Größe": "螺丝刀"}'
    broken = {"name": "\udc80 Größe"}
    assert json.loads(write_json(path, broken).read_text(encoding="ascii")) == broken


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
    others = {f"part-{'0' * 8}-1-far.json", "part-b.json", f"part-{writing._machine()}-{os.getppid()}-c.json"}
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
