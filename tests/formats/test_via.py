"""The VGG Image Annotator: projects, version 1, CSV."""

import json

import pytest
from tool_files import BOX, END, TIP, VIA_REGIONS, write_via, write_via_csv

from centerkp.labels.coco import read_coco


@pytest.mark.parametrize("write", [write_via, write_via_csv])
def test_regions_of_a_group_are_an_object(tmp_path, write):
    dataset = read_coco(write(tmp_path))
    (record,) = dataset.records
    assert record.boxes_xyxy.tolist() == [list(BOX)] and record.keypoints_xy.tolist() == [[list(TIP), list(END)]]
    assert dataset.schema.class_names == ("rod",) and dataset.schema.classes[0].keypoints == ("tip", "end")
    assert dataset.notes[0] in (
        "VIA project: 1 image, 1 class (rod), 1 object",
        "VIA table: 1 image, 1 class (rod), 1 object",
    )


def test_version_1_numbers_its_regions_and_other_shapes(tmp_path):
    regions = [
        ({"name": "polygon", "all_points_x": [4, 24, 24], "all_points_y": [6, 6, 26]}, {"kind": "rod"}),
        ({"name": "circle", "cx": 10, "cy": 10, "r": 2}, {"kind": {"nut": True, "rod": False}}),
        ({"name": "ellipse", "cx": 20, "cy": 20, "rx": 5, "ry": 2}, {"kind": "nut"}),
        ({"name": "rect", "x": 1, "y": 1, "width": 2, "height": 2}, {"kind": ""}),
    ]
    path = write_via(tmp_path, regions)
    images = json.loads(path.read_text())["_via_img_metadata"]
    images["a.png123"]["regions"] = dict(enumerate(images["a.png123"]["regions"]))
    path.write_text(json.dumps(images))
    dataset = read_coco(path)
    assert dataset.records[0].boxes_xyxy.tolist() == [list(BOX), [8, 8, 12, 12], [15, 18, 25, 22]]
    assert "1 region: no attribute that names its class or keypoint, left out" in dataset.notes


@pytest.mark.parametrize("write", [write_via, write_via_csv])
@pytest.mark.parametrize("key", ["keypoint", "part", "Keypoint "])
@pytest.mark.parametrize("class_key", ["class", "label", "name", "type", "category"])
def test_points_may_name_the_class_of_their_object_too(tmp_path, write, key, class_key):
    (box, _), *points = VIA_REGIONS
    regions = [(box, {class_key: "rod", "group": "1", key: ""})]
    regions += [(shape, {class_key: "rod", key: had["class"], "group": "1"}) for shape, had in points]
    dataset = read_coco(write(tmp_path, regions))
    assert dataset.schema.class_names == ("rod",) and dataset.schema.classes[0].keypoints == ("tip", "end")
    assert dataset.records[0].keypoints_xy.tolist() == [[list(TIP), list(END)]]


@pytest.mark.parametrize("first", ["#filename", '"#filename"', "\ufeff#filename"])
def test_the_csv_of_version_1_begins_with_a_hash(tmp_path, first):
    path = write_via_csv(tmp_path)
    path.write_text(path.read_text().replace("filename", first, 1), encoding="utf-8")
    (record,) = read_coco(path).records
    assert record.path.name == "a.png" and record.boxes_xyxy.tolist() == [list(BOX)]


@pytest.mark.parametrize("write", [write_via, write_via_csv])
@pytest.mark.parametrize("shape", [{"name": "rect", "x": 1}, {"x": 1}, {"name": "point", "cx": "a", "cy": 2}])
def test_faults_name_the_file(tmp_path, write, shape):
    path = write(tmp_path, [*VIA_REGIONS, (shape, {"class": "rod"})])
    with pytest.raises(ValueError, match=rf"{path.name}: found a VIA file with a fault .*, expected one as its tool writes it"):
        read_coco(path)
