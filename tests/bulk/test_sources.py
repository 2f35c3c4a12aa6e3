import os
import shutil
import sys

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
from closed_folders import close_folder

from centerkp.bulk.sources import list_parts, open_place, read_part, tell_kind

FILES = [f"sub/{n:02d}.png" for n in range(12)]


def test_kinds_by_name():
    kinds = {
        "a/b.JPG": "picture", "x.tif": "picture", "s-0001.tar": "tar", "s.tar.gz": "tar", "t.parquet": "parquet",
        "train.record-00001-of-00010": "tfrecord", "t.tfrecord": "tfrecord", "t.tfrecords": "tfrecord", "t.json": None,
        "target": None, "a.tarn": None,
    }  # fmt: skip
    assert {name: tell_kind(name) for name in kinds} == kinds


def test_parts_are_of_one_size_and_packed_files_are_their_own(source):
    notes = []
    listed = list_parts(str(source), 5, notes.append).to_pylist()
    assert [row["path"] for row in listed] == [
        "p.parquet",
        "r.tfrecord-00000-of-00001",
        *sorted([*FILES, "sub/05b.png"]),
        "t.tar",
    ]
    assert [row["part"] for row in listed] == [0, 1, *[2] * 5, *[3] * 5, *[4] * 3, 5]
    assert all(row["size"] == (source / row["path"]).stat().st_size for row in listed)
    assert notes == ["left out: 1 other file, such as notes.txt"]
    assert list_parts(str(source / "t.tar"), 5, notes.append).to_pylist() == [listed[-1] | {"part": 0}]


def test_what_disks_have_and_stores_do_not(source):
    """Links in a circle, to nowhere and to folders, pipes, and names that are bytes without letters."""
    (source / "loop").symlink_to(source)
    (source / "more").symlink_to(source / "sub")
    (source / "gone.png").symlink_to("nowhere")
    os.mkfifo(source / "pipe.png")
    for name in (b"a\xff.png", b"b\xff.png"):
        shutil.copy(os.fsencode(source / "sub" / "00.png"), os.path.join(os.fsencode(source), name))
    notes = []
    paths = [row["path"] for row in list_parts(str(source), 1000, notes.append).to_pylist()]
    packed = ["p.parquet", "r.tfrecord-00000-of-00001", "t.tar"]
    assert sorted(paths) == sorted(["gone.png", *FILES, "sub/05b.png", *packed])
    assert notes[0] == r"left out: 2 files with a name that is not text, such as a\udcff.png; rename such"
    assert names_and_errors(source, "gone.png")[1][0].startswith("gone.png: could not be read (")


def test_folders_that_cannot_be_listed_end_it(source, monkeypatch):
    close_folder(monkeypatch, "sub")
    with pytest.raises(ValueError, match=r"source/sub: found a folder that cannot be listed \(Permission denied\), expected"):
        list_parts(str(source), 1000, print)


def test_nothing_to_read(tmp_path):
    (tmp_path / "a.txt").write_text("none")
    with pytest.raises(FileNotFoundError, match="found no picture but 1 other file, expected a folder with"):
        list_parts(str(tmp_path), 5, print)
    with pytest.raises(FileNotFoundError, match="nowhere: found no picture, expected"):
        list_parts(str(tmp_path / "nowhere"), 5, print)
    with pytest.raises(
        ValueError, match="ftps://x/y: found an address that cannot be opened .*; check it, and the access to it."
    ):
        list_parts("ftps://x/y", 5, print)


def names_and_errors(source, path):
    found, errors = [], []
    for one in read_part(str(source), [path]):
        try:
            found.append((str(one), len(one.read_bytes()) > 50))
        except ValueError as error:
            errors.append(str(error))
    return found, errors


def test_pictures_in_packed_files(source):
    assert names_and_errors(source, "t.tar") == ([(f"t.tar/{n}.png", True) for n in range(3)], [])
    assert names_and_errors(source, "p.parquet") == ([(f"p.parquet/{n}", True) for n in range(2)], [])
    records = "r.tfrecord-00000-of-00001"
    assert names_and_errors(source, records) == ([(f"{records}/named.png", True), (f"{records}/1", True)], [])
    pq.write_table(pa.table({"jpg": pa.array([b"x" * 60, None]), "text": ["a", "b"]}), source / "plain.parquet")
    assert names_and_errors(source, "plain.parquet") == (
        [("plain.parquet/0", True)], ["plain.parquet/1: found no bytes, expected a picture."]
    )  # fmt: skip


@pytest.mark.parametrize("name", ["t.tar", "p.parquet", "r.tfrecord-00000-of-00001"])
def test_what_stands_before_damage_is_read(source, name):
    data = (source / name).read_bytes()
    (source / name).write_bytes(data[: len(data) * 2 // 3])
    found, errors = names_and_errors(source, name)
    assert len(errors) == 1 and errors[0].startswith(f"{name}: could not be read") and errors[0].endswith("copy it again.")
    assert len(found) == {"t.tar": 2, "p.parquet": 0}.get(name, 1)
    for rubbish in (b"", b"rubbish" * 99):
        (source / name).write_bytes(rubbish)
        found, errors = names_and_errors(source, name)
        assert found == [] and len(errors) <= 1


def test_which_column_has_the_pictures_must_be_clear(source):
    pq.write_table(pa.table({"a": [b"x"], "b": [b"y"]}), source / "two.parquet")
    assert names_and_errors(source, "two.parquet")[1] == [
        "two.parquet: could not be read (columns of bytes: found ['a', 'b'], expected one, the pictures), expected a whole "
        "file; copy it again."
    ]


def test_a_package_that_is_missing_is_no_damage(source, monkeypatch):
    """The part is not done then: installed, the same command reads it."""
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ValueError, match="found no package tensorflow"):
        list(read_part(str(source), ["r.tfrecord-00000-of-00001"]))


def test_a_file_that_is_gone_is_a_fault_of_its_own(source):
    pictures = list(read_part(str(source), ["sub/00.png", "sub/gone.png", "sub/01.png"]))
    assert [str(one) for one in pictures] == ["sub/00.png", "sub/gone.png", "sub/01.png"]
    with pytest.raises(ValueError, match="sub/gone.png: could not be read"):
        pictures[1].read_bytes()


def test_a_store_that_fails_ends_the_part(source, monkeypatch):
    """Where a disk would have one bad picture, a network says nothing of it."""

    class Failing(pyarrow.fs.FileSystemHandler):
        def open_input_stream(self, path):
            raise OSError("no network")

        def get_type_name(self):
            return "store"

        def normalize_path(self, path):
            return path

    Failing.__abstractmethods__ = frozenset()
    monkeypatch.setattr("centerkp.bulk.sources.find_root", lambda source: (pyarrow.fs.PyFileSystem(Failing()), "bucket"))
    with pytest.raises(OSError, match="no network"):
        list(read_part("store://bucket", ["a.png"]))


def test_addresses_of_stores(tmp_path):
    assert open_place(f"file://{tmp_path}") == (pyarrow.fs.LocalFileSystem(), str(tmp_path))
    files, path = open_place("fsspec+memory://bucket/folder/")
    assert "memory" in files.type_name and path == "/bucket/folder"
