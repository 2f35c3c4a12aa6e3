"""`centerkp show` as it is typed."""

import albumentations as A
from coco_files import write_coco

from centerkp.cli import main
from centerkp.images.reading import read_image

CATEGORIES = [{"id": 1, "name": "bee"}]


def test_show(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = write_coco(tmp_path / "ann.json", {f"{n}.png": [1] for n in range(3)}, CATEGORIES)
    assert main(["show", str(file)]) == 0
    assert "3 images: ann_show.png" in capsys.readouterr().out
    assert read_image(tmp_path / "ann_show.png").shape[1] == 960
    flags = ["--augment", "--image-size", "96x64", "--count", "5", "--width", "500", "--out", "pictures/five.png"]
    assert main(["show", str(file), *flags]) == 0
    assert "5 images" in capsys.readouterr().out
    assert read_image(tmp_path / "pictures" / "five.png").shape[1] == 500


def test_own_augmentation_is_drawn(tmp_path, capsys):
    file = write_coco(tmp_path / "ann.json", {"a.png": []}, CATEGORIES)
    A.save(A.Compose([A.InvertImg(p=1.0)]), tmp_path / "own.json")
    # The margins that the affine leaves black are white when inverted.
    for flags, bright in (["--augment"], False), (["--augmentation", str(tmp_path / "own.json")], True):
        out = tmp_path / "own.png"
        assert main(["show", str(file), "--image-size", "64", "--count", "1", "--out", str(out), *flags]) == 0
        assert ((read_image(out) > 250).all(-1).mean() > 0.02) == bright


def test_wrong_input(tmp_path, capsys):
    file = write_coco(tmp_path / "ann.json", {"a.png": [1]}, CATEGORIES)
    assert main(["show", str(file), "--count", "-1"]) == 2
    assert "error: show: found --count -1" in capsys.readouterr().err
    assert main(["show", str(file), "--out", str(tmp_path / "x.gif")]) == 2
    assert "found extension '.gif'" in capsys.readouterr().err
