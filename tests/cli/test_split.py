"""`centerkp split` as it is typed."""

from coco_files import write_coco

from centerkp.cli import main
from centerkp.labels.coco import read_coco

CATEGORIES = [{"id": 1, "name": "bee"}, {"id": 2, "name": "[b]wasp[/b]"}]


def test_split_prints_a_table(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    file = write_coco(tmp_path / "ann.json", {f"v{n // 2}_{n}.png": [1, 1 + n % 2] for n in range(10)}, CATEGORIES)
    assert (
        main(["split", str(file), "--val", "0.2", "--test", "0.2", "--group-by", "v[0-9]", "--out", str(tmp_path / "o")]) == 0
    )
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["bee", "6", "9", "2", "3", "2", "3"] in lines
    assert ["[b]wasp[/b]", "3", "3", "1", "1", "1", "1"] in lines
    assert ["all", "6", "12", "2", "4", "2", "4"] in lines
    assert ["5", "groups", "of", "10", "images,", "the", "largest", "with", "2"] in lines
    assert ["val:", str(tmp_path / "o" / "ann_val.json")] in lines
    assert len(read_coco(tmp_path / "o" / "ann_test.json").records) == 2


def test_wrong_input_is_one_line(tmp_path, capsys):
    file = write_coco(tmp_path / "ann.json", {"a.png": [1]}, CATEGORIES)
    assert main(["split", str(file), "--val", "1.5"]) == 2
    assert "error: split: found the shares val 1.5" in capsys.readouterr().err
