"""`centerkp merge` as it is typed."""

import os

import pytest
from coco_files import annotation, write_coco

from centerkp.cli import main
from centerkp.labels.coco import read_coco


def test_merge(tmp_path, capsys):
    files = [
        str(write_coco(tmp_path / name / "ann.json", {"x.png": [1]}, [{"id": 1, "name": kind}]))
        for name, kind in (("a", "bee"), ("b", "fly"))
    ]
    out = tmp_path / "all.json"
    assert main(["merge", *files, "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert ["fly", "1"] in [line.split() for line in text.splitlines()]
    assert "different files with the same content" in text and f"2 images: {out}" in text
    assert read_coco(out).schema.class_names == ("bee", "fly")
    assert main(["merge", *files, "--out", files[0]]) == 2
    assert "never changed; choose another name" in capsys.readouterr().err


LINKED = {
    "check": (["check", "a.json", "--fix", "new.json"], 1),
    "check two": (["check", "a.json", "b.json"], 1),
    "merge": (["merge", "a.json", "b.json", "--out", "new.json"], 0),
    "split": (["split", "a.json", "--val", "0.4", "--out", "halves"], 0),
    "split by looks": (["split", "a.json", "--val", "0.4", "--group-by", "phash", "--out", "halves"], 0),
    "sigmas": (["sigmas", "a.json", "b.json"], 0),
    "file": (["check", "loop.json"], 2),
    "two files": (["check", "a.json", "loop.json"], 2),
    "folder": (["check", "a.json", "--images", "loop.json"], 2),
    "file among labels": (["merge", "a.json", "loop.json", "--out", "new.json"], 2),
}


@pytest.mark.parametrize(("words", "code"), LINKED.values(), ids=list(LINKED))
def test_links_that_lead_nowhere_are_pictures_that_cannot_be_read(tmp_path, monkeypatch, capsys, words, code):
    """To themselves, or to a file that was not fetched, as git-annex and DVC leave them."""
    monkeypatch.chdir(tmp_path)
    kind = {"id": 1, "name": "bee", "keypoints": ["head", "sting"]}
    for name, right in (("a", 12), ("b", 13)):
        points = {"keypoints": [8, 8, 2, 20, right, 2], "num_keypoints": 2}
        objects = [annotation(n, n, **points) for n in range(1, 7)]
        write_coco(tmp_path / f"{name}.json", {f"{n}.png": [] for n in range(6)}, [kind], annotations=objects)
    for name, place in (("images/0.png", "0.png"), ("images/1.png", "lost.png"), ("loop.json", "loop.json")):
        (tmp_path / name).unlink(missing_ok=True)
        os.symlink(place, tmp_path / name)
    assert main(words) == code
    text = "".join(capsys.readouterr())
    assert "Traceback" not in text and "free some space" not in text
