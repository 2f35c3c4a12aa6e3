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


SKIPPED = {"was_cancelled": True, "result": [studio_region("c", "choices", {"choices": ["bad"]})]}


@pytest.mark.parametrize("annotations", [[], None, [SKIPPED], [SKIPPED, SKIPPED]])
@pytest.mark.parametrize("place", [0, 1])
def test_tasks_that_nobody_finished_are_no_negatives(tmp_path, annotations, place):
    path = write_label_studio(tmp_path)
    tasks = json.loads(path.read_text())
    write_picture(tmp_path / "other.png", 2)
    tasks.insert(place, {"data": {"image": "other.png"}, "annotations": annotations})
    path.write_text(json.dumps([*tasks, {"data": {"image": "other.png"}, "annotations": [{"result": []}]}]))
    dataset = read_coco(path)
    assert [len(record.class_ids) for record in dataset.records] == [1, 0]
    assert "1 task: skipped or without a finished annotation, left out" in dataset.notes

    path.write_text(json.dumps([tasks[place]]))
    with pytest.raises(ValueError, match=r"tasks\.json: found .*(a JSON list|tasks without a finished)"):
        read_coco(path)


PLACE = {"x": 10, "y": 20, "width": 50, "height": 200 / 3, "rotation": 0}
ROUND = {"x": 35, "y": 160 / 3, "radiusX": 25, "radiusY": 100 / 3, "rotation": 0}
CORNERS = {"points": [[10, 20], [60, 20], [60, 260 / 3]], "closed": True}


@pytest.mark.parametrize("kind, place", [("rectangle", PLACE), ("ellipse", ROUND), ("polygon", CORNERS)])
@pytest.mark.parametrize("more", ["choices", "textarea", "number", "labels"])
@pytest.mark.parametrize("turn", [1, -1])
def test_all_results_of_one_id_are_one_region(tmp_path, kind, place, more, turn):
    """The label in a result of its own beside the shape's, or a choice, text or number about the region."""
    asked = {"choices": ["good"], "textarea": ["a"], "number": 3, "labels": ["rod"]}[more]
    named = {} if more == "labels" else {f"{kind}labels": ["rod"]}
    shape = studio_region("R", kind if more == "labels" else f"{kind}labels", place | named)
    about = studio_region("R", more, place | {"text" if more == "textarea" else more: asked})
    tip = {"x": TIP[0] / 0.4, "y": TIP[1] / 0.3, "width": 1}
    point = studio_region("T", "keypoint", tip, parentID="R")
    called = studio_region("T", "labels", tip | {"labels": ["tip"]}, parentID="R")
    dataset = read_coco(write_label_studio(tmp_path, [shape, about, point, called][::turn]))
    (record,) = dataset.records
    np.testing.assert_allclose(record.boxes_xyxy, [BOX], atol=1e-4)
    np.testing.assert_allclose(record.keypoints_xy, [[TIP]], atol=1e-4)
    assert dataset.schema.class_names == ("rod",) and not any("left out" in note for note in dataset.notes)


@pytest.mark.parametrize("value", [{"x": "?", "y": 1, "keypointlabels": ["a"]}, {"y": 1, "keypointlabels": ["a"]}])
def test_faults_name_the_file(tmp_path, value):
    path = write_label_studio(tmp_path, [studio_region("a", "keypointlabels", value)])
    with pytest.raises(ValueError, match=r"tasks\.json: found a Label Studio file with a fault .* export it again as JSON"):
        read_coco(path)


@pytest.mark.parametrize("data", [{}, {"title": 3}, {"image": None}, {"image": ["a.png", "b.png"]}])
def test_a_task_whose_data_name_no_image_is_named(tmp_path, data):
    path = write_label_studio(tmp_path)
    tasks = json.loads(path.read_text())
    tasks[0] |= {"id": 17, "data": data}
    path.write_text(json.dumps(tasks))
    with pytest.raises(
        ValueError, match=r"tasks\.json: found task 17 with the data .*, expected the name of one image in them"
    ):
        read_coco(path)
