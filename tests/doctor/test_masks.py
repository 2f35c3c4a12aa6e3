"""Objects without a box: from the mask, else around the keypoints, else as large as the user says."""

import json

import numpy as np
import pytest
from coco_files import write_picture
from pycocotools import mask as coco_mask

from centerkp.doctor.check import check_dataset, write_mended
from centerkp.doctor.masks import measure_mask
from centerkp.doctor.trainable import read_train_and_val
from centerkp.doctor.verdict import verdict

MASK = np.zeros((120, 160), np.uint8)
MASK[30:70, 20:100] = 1
COMPRESSED = coco_mask.encode(np.asfortranarray(MASK))
RUNS = np.diff([0, *(np.flatnonzero(np.diff(MASK.T.ravel())) + 1), MASK.size]).tolist()
RING = [20, 30, 100, 30, 100, 70, 20, 70]
WAYS = {
    "polygon": [RING],
    "flat polygon": RING,
    "pairs": [[[20, 30], [100, 30], [100, 70], [20, 70]]],
    "flat pairs": [[20, 30], [100, 30], [100, 70]],
    "two polygons": [[20, 30, 40, 30, 40, 40], [60.0, 70, 100, 70, 100, 35]],
    "compressed": {"size": [120, 160], "counts": COMPRESSED["counts"].decode()},
    "runs": {"size": [120, 160], "counts": RUNS},
}
DAMAGED = {
    "none": None, "empty": [], "a point": [[5, 5]], "a line": [[5, 5, 9, 5, 12, 5]], "text": "x", "words": [["a"] * 8],
    "nan": [[float("nan")] * 6], "short runs": {"size": [120, 160], "counts": [5, 5]},
    "size": {"size": [0, 0], "counts": "abc"},
    "no size": {"counts": RUNS}, "all empty": {"size": [120, 160], "counts": [MASK.size]},
    "garbage": {"size": [120, 160], "counts": "zzzzzzzz"}, "unicode": {"size": [120, 160], "counts": "äöü"},
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_boxes_of_masks_by_hand(way):
    assert measure_mask(WAYS[way]) == [20, 30, 80, 40]


@pytest.mark.parametrize("way", DAMAGED)
def test_what_is_no_mask_has_no_box(way):
    assert measure_mask(DAMAGED[way]) is None


@pytest.fixture
def folder(tmp_path):
    for n in range(3):
        write_picture(tmp_path / f"{n}.png", n, (160, 120))
    return tmp_path


def write(folder, **values):
    images = [{"id": n, "file_name": f"{n}.png", "width": 160, "height": 120} for n in range(3)]
    entry = {"category_id": 1, "iscrowd": 0, "keypoints": [40, 100, 2], "num_keypoints": 1, **values}
    annotations = [entry | {"id": n + 1, "image_id": n} for n in range(3)]
    category = {"id": 1, "name": "bolt", "keypoints": ["head"], "oks_sigmas": [0.05]}
    content = {"images": images, "annotations": annotations, "categories": [category]}
    (folder / "ann.json").write_text(json.dumps(content))
    return folder / "ann.json"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("box", [None, [50, 50, 0, 0]])
def test_the_mask_comes_first_and_is_said(folder, way, box):
    path = write(folder, segmentation=WAYS[way], bbox=box)
    read = read_train_and_val(path, point_box=16)[0]
    assert all(record.boxes_xyxy.tolist() == [[20, 30, 100, 70]] for record in read.records)
    assert "3 annotations: no usable box, that of the segmentation taken" in read.notes
    write_mended(check_dataset(path), folder / "mended.json")
    assert {tuple(a["bbox"]) for a in json.loads((folder / "mended.json").read_text())["annotations"]} == {(20, 30, 80, 40)}


@pytest.mark.parametrize("size", [[120, 160], [240, 320], [60, 80], [160, 120]])
def test_run_lengths_of_another_size_than_their_image_are_not_used_and_said(folder, size):
    """Their pixels are other ones than the image's: the box would be wrong, and in another place."""
    runs = np.zeros(size, np.uint8)
    runs[10:30, 20:50] = 1
    mask = coco_mask.encode(np.asfortranarray(runs))
    mask["counts"] = mask["counts"].decode()
    path, title = write(folder, segmentation=mask), "no box, and a mask of another size than its image's, not used"
    read = read_train_and_val(path, point_box=16)[0]
    fits = size == [120, 160]
    assert all(record.boxes_xyxy.tolist() == [[20, 10, 50, 30] if fits else [32, 92, 48, 108]] for record in read.records)
    assert (f"3 annotations: {title}" in read.notes) != fits
    told = [finding for finding in check_dataset(path).findings if finding.title == title]
    assert not told if fits else f"{size} of the mask, [120, 160] of the image" in told[0].places[0]


@pytest.mark.parametrize(("point_box", "side"), [(30, 30), (0.25, 40)])
def test_objects_of_one_keypoint_have_the_size_that_is_given(folder, point_box, side):
    path = write(folder)
    with pytest.raises(ValueError, match="no object that could be trained on, of 3 annotations: .* --point-box 32 makes one"):
        read_train_and_val(path)
    assert any("--point-box" in finding.remedy for finding in check_dataset(path).findings)
    read = read_train_and_val(path, point_box=point_box)[0]
    np.testing.assert_allclose(
        read.records[0].boxes_xyxy, [[40 - side / 2, 100 - side / 2, 40 + side / 2, min(100 + side / 2, 120)]]
    )
    assert f"3 annotations: no usable box, one of --point-box {point_box} made around the only labelled keypoint" in read.notes
    checkup = check_dataset(path, point_box=point_box)
    assert verdict(checkup.findings).startswith("Can be trained on")
    write_mended(checkup, folder / "mended.json", boxes_from_keypoints=True)
    again = read_train_and_val(folder / "mended.json")[0]
    np.testing.assert_allclose(again.records[0].boxes_xyxy, read.records[0].boxes_xyxy)
