"""`centerkp merge` as it is typed."""

from coco_files import write_coco

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
