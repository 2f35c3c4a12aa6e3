import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from centerkp.inference.image_result import ImageResult, Predictions
from centerkp.results import ROW_COLUMNS, Detection, to_rows
from centerkp.schema import ObjectClass, Schema

SCHEMA = Schema((ObjectClass("cup", 4, ("rim", "foot"), ((0, 1),)), ObjectClass("lid", 9)))
CUP = Detection(
    0, "cup", 4, 0.75, np.array([1, 2, 31, 42], "float32"), ("rim", "foot"),
    np.array([[5, 6], [7.5, 40]], "float32"), np.array([0.5, 0.25], "float32"), np.array([1.5, 12], "float32"),
)  # fmt: skip
EMPTY = np.zeros(0, "float32")
LID = Detection(1, "lid", 9, 0.5, np.array([0, 0, 4, 4], "float32"), (), EMPTY.reshape(0, 2), EMPTY, EMPTY)


def make(name="a.png", detections=(CUP, LID), path=None, pixels=None, error=""):
    pixels = np.zeros((50, 60, 3), np.uint8) if pixels is None and not error and path is None else pixels
    return ImageResult(name, path, (0, 0) if error else (60, 50), detections, SCHEMA, error, pixels)


def test_a_result_is_its_detections():
    result = make()
    assert [d.class_name for d in result] == ["cup", "lid"] and len(result) == 2 and result[0] is CUP and result[-1] is LID
    assert result[0].keypoints["foot"] == (7.5, 40.0, 0.25)


def test_rows():
    rows = make().to_rows()
    assert [list(row) for row in rows] == [ROW_COLUMNS] * 3
    assert [list(row.values()) for row in rows] == [
        ["a.png", 1, "cup", 0.75, 1, 2, 31, 42, "rim", 5, 6, 0.5, 1.5],
        ["a.png", 1, "cup", 0.75, 1, 2, 31, 42, "foot", 7.5, 40, 0.25, 12],
        ["a.png", 2, "lid", 0.5, 0, 0, 4, 4, None, None, None, None, None],
    ]
    without = Detection(0, "cup", 4, 0.75, CUP.box_xyxy, CUP.keypoint_names, CUP.keypoints_xy, CUP.keypoint_scores)
    assert [row["keypoint_deviation"] for row in to_rows("a", [without])] == [None, None]


def test_dataframe():
    frame = Predictions([make(), make("b.png", (LID,)), make("c.png", ())], SCHEMA).to_dataframe()
    assert list(frame.columns) == ROW_COLUMNS and frame["image"].tolist() == ["a.png"] * 3 + ["b.png"]
    assert frame[frame.keypoint == "foot"].x.tolist() == [7.5] and frame.keypoint.isna().sum() == 2
    assert list(make(detections=()).to_dataframe().columns) == ROW_COLUMNS


def test_dataframe_without_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="no package pandas.*pip install pandas.*to_rows"):
        make().to_dataframe()


def test_coco():
    """Numbered in order, images that could not be read left out; the same JSON alone and together."""
    results = Predictions([make(), make("bad.jpg", (), error="bad.jpg: found nothing."), make("b.png", (LID,))], SCHEMA)
    coco = results.to_coco()
    assert [(i["id"], i["file_name"], i["width"], i["height"]) for i in coco["images"]] == [
        (1, "a.png", 60, 50),
        (2, "b.png", 60, 50),
    ]
    assert [(a["id"], a["image_id"], a["category_id"], a["bbox"]) for a in coco["annotations"]] == [
        (1, 1, 4, [1, 2, 30, 40]), (2, 1, 9, [0, 0, 4, 4]), (3, 2, 9, [0, 0, 4, 4])]  # fmt: skip
    assert coco["annotations"][0]["keypoint_deviations"] == [1.5, 12] and "keypoints" not in coco["annotations"][1]
    assert make().to_coco()["annotations"] == coco["annotations"][:2]
    nothing = Predictions([], SCHEMA).to_coco()
    assert nothing["images"] == nothing["annotations"] == [] and [c["name"] for c in nothing["categories"]] == ["cup", "lid"]


def test_image_and_plot(tmp_path):
    """Pixels that are kept, or read again from the file; the picture is drawn on a copy."""
    Image.fromarray(np.full((200, 240, 3), 99, np.uint8)).save(tmp_path / "a.png")
    result = make(str(tmp_path / "a.png"), path=tmp_path / "a.png")
    assert result.image.shape == (200, 240, 3) and (result.image == 99).all()
    drawn = result.plot()
    assert drawn.shape == (200, 240, 3) and drawn.dtype == np.uint8 and (drawn != 99).any()
    assert (result.plot(labels=False) != drawn).any()
    assert (make(detections=()).plot() == 0).all()
    (tmp_path / "a.png").unlink()
    with pytest.raises(FileNotFoundError, match="a.png"):
        result.plot()


def test_an_unreadable_image_has_no_picture():
    result = make("bad.jpg", (), path=Path("bad.jpg"), error="bad.jpg: found an empty file.")
    assert result.image is None and list(result) == [] and result.to_rows() == []
    with pytest.raises(ValueError, match="bad.jpg: found an empty file"):
        result.plot()
