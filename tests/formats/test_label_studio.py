"""Label Studio's JSON: percent, parents, relations, turned rectangles."""

import json

import numpy as np
import pytest
from coco_files import write_picture
from tool_files import BOX, END, TIP, studio_region, write_label_studio

from centerkp.labels.coco import read_coco


def test_regions_belong_together_by_parent_and_relation(tmp_path):
    dataset = read_coco(write_label_studio(tmp_path))
    (record,) = dataset.records
    assert record.path.name == "a b.png" and dataset.schema.classes[0].keypoints == ("tip", "end")
    np.testing.assert_allclose(record.boxes_xyxy, [BOX], atol=1e-4)
    np.testing.assert_allclose(record.keypoints_xy, [[TIP, END]], atol=1e-4)
    assert dataset.notes[0] == "Label Studio tasks: 1 image, 1 class (rod), 1 object"


def test_other_regions_and_a_single_task(tmp_path):
    turned = {"x": 50, "y": 0, "width": 25, "height": 50, "rotation": 90, "rectanglelabels": ["nut"]}
    regions = [
        studio_region("a", "polygonlabels", {"points": [[10, 20], [60, 20], [60, 80]], "polygonlabels": ["rod"]}),
        studio_region("b", "ellipselabels", {"x": 50, "y": 50, "radiusX": 10, "radiusY": 20, "ellipselabels": ["nut"]}),
        studio_region("c", "rectanglelabels", turned),
        studio_region("d", "brushlabels", {"rle": [1], "brushlabels": ["nut"]}),
        {"type": "choices", "value": {"choices": ["good"]}, "id": "e"},
    ]  # fmt: skip
    path = write_label_studio(tmp_path, regions)
    path.write_text(json.dumps(json.loads(path.read_text())[0]))
    dataset = read_coco(path)
    expected = [[4, 6, 24, 24], [16, 9, 24, 21], [5, 0, 20, 10]]
    np.testing.assert_allclose(dataset.records[0].boxes_xyxy, expected, atol=1e-4)
    assert "2 regions: no keypoint, rectangle, polygon or ellipse with a label, left out" in dataset.notes
    assert "1 object: a turned rectangle, the upright one around it taken" in dataset.notes


def test_several_annotations_and_tasks_without(tmp_path):
    path = write_label_studio(tmp_path)
    (task,) = json.loads(path.read_text())
    task["annotations"] = [{"result": []}, task["annotations"][0]]
    write_picture(tmp_path / "other.png", 2)
    path.write_text(json.dumps([task, {"data": {"image": "other.png"}, "annotations": []}]))
    notes = read_coco(path).notes
    assert "1 task: annotated more than once, the last annotation taken" in notes


@pytest.mark.parametrize("value", [{"x": "?", "y": 1, "keypointlabels": ["a"]}, {"y": 1, "keypointlabels": ["a"]}])
def test_faults_name_the_file(tmp_path, value):
    path = write_label_studio(tmp_path, [studio_region("a", "keypointlabels", value)])
    with pytest.raises(ValueError, match=r"tasks\.json: found a Label Studio file with a fault .* export it again as JSON"):
        read_coco(path)
