import csv
import json

import numpy as np
import pytest
import squares
from pycocotools.coco import COCO

from centerkp.inference.prediction_files import COLUMNS, CocoFile, CsvFile, is_untouched
from centerkp.results import Detection, coco_dataset

POINTS, SURE = np.array([[1, 2], [6, 12.0]]), np.array([0.5, 0.25])
RED = Detection(0, "red", 3, 0.75, np.array([1, 2, 11, 22.0]), ("corner", "middle"), POINTS, SURE, np.array([1.5, 2]))
GREEN = Detection(1, "green", 7, 0.5, np.array([0, 0, 5, 5.0]), (), np.zeros((0, 2)), np.zeros(0))
IMAGES = [{"file_name": name, "width": 30, "height": 40} for name in ("ä.jpg", "none.jpg", "c/000007.jpg")]
IMAGES[2] |= {"video": "c.mp4", "frame": 7, "seconds": 0.28}


def read(path):
    """The file as JSON, without what it says about who made it."""
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["info"].pop("made_by") == "Made by centerkp infer." and len(content["info"].pop("sha256")) == 64
    return content


def test_coco_file_equals_the_dataset_made_at_once(tmp_path):
    file = CocoFile(tmp_path / "new" / "p.json", squares.SCHEMA)
    found = [[RED, GREEN], [], [GREEN]]
    for image, detections in zip(IMAGES, found, strict=True):
        file.add(image, detections)
    assert not (tmp_path / "new" / "p.json").exists()
    path = file.close()
    whole = coco_dataset([{"id": i, **image} for i, image in enumerate(IMAGES, 1)], found, squares.SCHEMA)
    assert read(path) == whole
    assert [len(COCO(str(path)).getAnnIds(imgIds=[i])) for i in (1, 2, 3)] == [2, 0, 1]
    assert [p.name for p in path.parent.iterdir()] == ["p.json"]


def test_coco_file_with_nothing_and_with_numbers_of_objects(tmp_path):
    path = CocoFile(tmp_path / "empty.json", squares.SCHEMA).close()
    assert read(path) == coco_dataset([], [], squares.SCHEMA)
    file = CocoFile(tmp_path / "tracks.json", squares.SCHEMA)
    file.add(IMAGES[0], [RED, GREEN], [5, 2])
    assert [a["track_id"] for a in json.loads(file.close().read_text())["annotations"]] == [5, 2]


def test_failure_leaves_the_file_of_before(tmp_path, monkeypatch):
    path = tmp_path / "p.json"
    path.write_text("before")
    file = CocoFile(path, squares.SCHEMA)
    file.add(IMAGES[0], [RED])

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("centerkp.inference.prediction_files.shutil.copyfileobj", full)
    with pytest.raises(OSError, match="No space"):
        file.close()
    assert path.read_text() == "before" and [p.name for p in tmp_path.iterdir()] == ["p.json"]


def test_table(tmp_path):
    file = CsvFile(tmp_path / "p.csv")
    file.add(IMAGES[0], [RED, GREEN])
    file.add(IMAGES[1], [])
    file.add(IMAGES[2], [GREEN], [9])
    with open(file.close(), encoding="utf-8", newline="") as lines:
        header, *rows = csv.reader(lines)
    assert header == list(COLUMNS)
    box = ["1.0", "2.0", "11.0", "22.0"]
    assert rows[:2] == [
        ["ä.jpg", "", "", "1", "", "red", "0.75", *box, "corner", "1.0", "2.0", "0.5", "1.5"],
        ["ä.jpg", "", "", "1", "", "red", "0.75", *box, "middle", "6.0", "12.0", "0.25", "2.0"],
    ]
    assert rows[2] == ["ä.jpg", "", "", "2", "", "green", "0.5", "0.0", "0.0", "5.0", "5.0", "", "", "", "", ""]
    assert rows[3][:5] == ["c/000007.jpg", "7", "0.28", "1", "9"] and len(rows) == 4


def test_a_file_that_somebody_worked_on_is_known(tmp_path):
    """By hand, or by a tool that writes the JSON anew and keeps what it said about itself."""
    file = CocoFile(tmp_path / "p.json", squares.SCHEMA)
    file.add(IMAGES[0], [RED])
    path = file.close()
    assert is_untouched(path)
    text = path.read_text(encoding="utf-8")
    for other in (text.replace("0.75", "0.76"), json.dumps(json.loads(text)), text + " ", text[:-3], ""):
        path.write_text(other, encoding="utf-8")
        assert not is_untouched(path)
    path.write_text(text, encoding="utf-8")
    assert is_untouched(path) and not is_untouched(tmp_path / "none.json")


def test_names_that_are_no_letters(tmp_path):
    image = IMAGES[0] | {"file_name": "a\udcff\x1b\n.jpg"}
    for kind in (lambda path: CocoFile(path, squares.SCHEMA), CsvFile):
        file = kind(tmp_path / "file")
        file.add(image, [RED])
        text = file.close().read_bytes().decode("utf-8")
        if kind is CsvFile:
            assert "a\\udcff\x1b\n.jpg" in text
        else:
            assert json.loads(text)["images"][0]["file_name"] == image["file_name"]
