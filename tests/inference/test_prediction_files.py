import csv
import json

import numpy as np
import pytest
import squares
from pycocotools.coco import COCO

from centerkp.inference.prediction_files import COLUMNS, CocoFile, CsvFile
from centerkp.results import Detection, coco_dataset

POINTS, SURE = np.array([[1, 2], [6, 12.0]]), np.array([0.5, 0.25])
RED = Detection(0, "red", 3, 0.75, np.array([1, 2, 11, 22.0]), ("corner", "middle"), POINTS, SURE, np.array([1.5, 2]))
GREEN = Detection(1, "green", 7, 0.5, np.array([0, 0, 5, 5.0]), (), np.zeros((0, 2)), np.zeros(0))
IMAGES = [{"file_name": name, "width": 30, "height": 40} for name in ("ä.jpg", "none.jpg", "c/000007.jpg")]
IMAGES[2] |= {"video": "c.mp4", "frame": 7, "seconds": 0.28}


def test_coco_file_equals_the_dataset_made_at_once(tmp_path):
    file = CocoFile(tmp_path / "new" / "p.json", squares.SCHEMA)
    found = [[RED, GREEN], [], [GREEN]]
    for image, detections in zip(IMAGES, found, strict=True):
        file.add(image, detections)
    assert not (tmp_path / "new" / "p.json").exists()
    path = file.close()
    whole = coco_dataset([{"id": i, **image} for i, image in enumerate(IMAGES, 1)], found, squares.SCHEMA)
    assert json.loads(path.read_text(encoding="utf-8")) == whole
    assert [len(COCO(str(path)).getAnnIds(imgIds=[i])) for i in (1, 2, 3)] == [2, 0, 1]
    assert [p.name for p in path.parent.iterdir()] == ["p.json"]


def test_coco_file_with_nothing_and_with_numbers_of_objects(tmp_path):
    path = CocoFile(tmp_path / "empty.json", squares.SCHEMA).close()
    assert json.loads(path.read_text()) == coco_dataset([], [], squares.SCHEMA)
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
