"""What labelling tools write: a table of their bends, each read to what it means, or refused by name with the remedy."""

import json

import numpy as np
import pytest
from PIL import Image

from centerkp.labels.coco import read_coco

SIZE = 64, 48


def image(number, name, **more):
    return {"id": number, "file_name": name, "width": SIZE[0], "height": SIZE[1]} | more


def coco(images, annotations, categories, **more):
    return {"images": images, "annotations": annotations, "categories": categories} | more


def coco_annotator():
    """Booleans for iscrowd and isbbox, one category with a high id, image ids from 252, keys of its own, a path elsewhere."""
    category = {"id": 15, "name": "plier", "keypoints": ["right_handle", "left_handle", "middle"], "skeleton": [[1, 2], [1, 3]],
                "color": "#dae182", "keypoint_colors": ["#bf5c4d"] * 3, "metadata": {}, "supercategory": ""}  # fmt: skip
    label = {"category_id": 15, "isbbox": True, "iscrowd": False, "bbox": [4, 5, 30, 20], "area": 600, "num_keypoints": 2,
             "keypoints": [10, 8, 2, 20, 21, 1, 0, 0, 0], "width": 64, "height": 48, "events": [{"_cls": "SessionEvent"}],
             "color": "#db68cd", "metadata": {}, "segmentation": [[4.5, 5, 34, 5, 34, 25]]}  # fmt: skip
    images = [image(n, f"images_{n}.jpg", path=f"/datasets/set 1/images_{n}.jpg", annotated=True) for n in (312, 252)]
    labels = [label | {"id": 173 + n, "image_id": i["id"]} for n, i in enumerate(images)]
    return coco(images, labels, [category], info=[], licenses=[])


def roboflow():
    """Boxes only, a dummy category of id 0 that nothing uses, ids from 0, hashed names, images without labels."""
    categories = [{"id": 0, "name": "codes", "supercategory": "none"}, {"id": 1, "name": "loc", "supercategory": "codes"}]
    names = [f"2023-03-18_jpeg-0{n}_jpg.rf.081d64756b8c06b85f.jpg" for n in range(3)]
    labels = [{"id": n, "image_id": n, "category_id": 1, "bbox": [1, 2, 30.231, 46.5], "area": 1405.74, "iscrowd": 0,
               "segmentation": [[1, 2, 31, 48]]} for n in range(2)]  # fmt: skip
    images = [image(n, name, license=1, date_captured="2023-06-18T14:06:36+00:00") for n, name in enumerate(names)]
    return coco(images, labels, categories, info={"year": "2023"}, licenses=[{"id": 1, "name": "CC BY 4.0"}])


def datumaro():
    """CVAT's writer: a 0-based skeleton, a class with keypoints [] whose labels have some, an RLE crowd, attributes."""
    categories = [{"id": 1, "name": "a", "keypoints": ["a_1", "a_2", "a_3"], "skeleton": [[0, 1], [1, 2]], "supercategory": ""},
                  {"id": 2, "name": "b", "keypoints": [], "skeleton": [[0, 1], [1, 2]], "supercategory": ""}]  # fmt: skip
    common = {"image_id": 40, "keypoints": [1, 2, 2, 3, 4, 2, 2, 3, 2], "num_keypoints": 3, "attributes": {"y": "hello"}}
    labels = [common | {"id": 1, "category_id": 1, "bbox": [0.0, 0.0, 5.0, 6.0], "area": 30.0, "iscrowd": 0},
              common | {"id": 2, "category_id": 2, "bbox": [0.0, 0.0, 20.0, 9.0], "area": 20.0, "iscrowd": 1,
                        "segmentation": {"counts": [0, 20, 30], "size": [10, 5]}}]  # fmt: skip
    return coco([image(40, "b.jpg", date_captured=0, license=0)], labels, categories)


def cvat_tracks():
    """Boxes 0, 0, 0, 0 where the task had points only, and empty keypoints where a shape was not exported."""
    category = {"id": 1, "name": "tool", "keypoints": ["tip", "end"]}
    common = {"category_id": 1, "image_id": 1, "iscrowd": 0, "area": 0.0, "bbox": [0, 0, 0, 0]}
    labels = [common | {"id": 1, "keypoints": [5, 6, 2, 25, 16, 2], "num_keypoints": 2},
              common | {"id": 2, "keypoints": [], "num_keypoints": 0}]  # fmt: skip
    return coco([image(1, "frame_000001.PNG")], labels, [category])


def sleap():
    """Categories and images, no labels yet, no info."""
    names = ["nose", "left_ear", "right_ear"]
    category = {"id": 1, "name": "mouse", "keypoints": names, "skeleton": [[1, 2], [1, 3]], "supercategory": "animal"}
    return coco([image(n, f"image_00{n}.jpg") for n in (1, 2, 3)], [], [category])


def label_studio():
    """Its COCO export: names with backslashes, no keypoint names, ids from 0, areas and boxes of many decimals."""
    label = {"id": 0, "image_id": 0, "category_id": 0, "bbox": [3.3333333, 4.44444444, 20.7777777, 10.1234567], "iscrowd": 0,
             "area": 210.3456, "ignore": 0, "segmentation": []}  # fmt: skip
    return coco([image(0, "images\\72688b1a-9%5Cpage_1.jpg")], [label], [{"id": 0, "name": "page"}])


def labelme_converter():
    """Paths of another machine, ids as text, no area, visibility left out by mistake: numbers with decimals."""
    label = {"id": "1", "image_id": "7", "category_id": "1", "bbox": [1.0, 1.0, 9.0, 9.0], "keypoints": [2.0, 3.0, 2.0]}
    name = "C:\\Users\\me\\Documents\\test\\butterfly (1).png"
    return coco([image("7", name)], [label], [{"id": "1", "name": "wing", "keypoints": ["tip"]}])


def by_hand():
    """A script's: whole numbers as floats, iscrowd and sizes missing, points outside, v = 0 with coordinates, wrong count."""
    keypoints = [2.0, 3.0, 2, 99, 3, 2, 7, 7, 0]
    label = {"id": 1.0, "image_id": 1.0, "category_id": 1.0, "bbox": [-4, 1, 90, 9], "keypoints": keypoints, "num_keypoints": 3}
    category = {"id": 1, "name": "x", "keypoints": ["a", "b", "c"], "skeleton": [[1, 9], [1, 2]]}
    return coco([{"id": 1, "file_name": "./SUB/a.png"}], [label], [category])


# writer, classes with their keypoint counts, objects in each image, labelled points, crowds, words of the notes
READ = [
    (coco_annotator, {"plier": 3}, [1, 1], 4, 0, ["2 annotations: 'iscrowd' is true or false"]),
    (roboflow, {"codes": 0, "loc": 0}, [1, 1, 0], 0, 0, ["1 image: no annotations, kept as negatives", "clipped"]),
    (datumaro, {"a": 3, "b": 0}, [2], 3, 1, ["1 annotation: keypoints of a class that names none, ignored"]),
    (cvat_tracks, {"tool": 2}, [1], 2, 0, ["1 annotation: no usable box, made around", "box of zero", "left out; the ids: 2"]),
    (sleap, {"mouse": 3}, [0, 0, 0], 0, 0, ["3 images: no annotations, kept as negatives"]),
    (label_studio, {"page": 0}, [1], 0, 0, []),
    (labelme_converter, {"wing": 1}, [1], 1, 0, ["'id' written as text", "'area' missing", "found under another path"]),
    (
        by_hand,
        {"x": 3},
        [1],
        1,
        0,
        ["no width and height given", "1 keypoint: outside the image", "coordinates given at visibility 0"],
    ),
]
ON_DISK = {
    "images\\72688b1a-9%5Cpage_1.jpg": "72688b1a-9%5Cpage_1.jpg",
    "C:\\Users\\me\\Documents\\test\\butterfly (1).png": "butterfly (1).png",
    "./SUB/a.png": "sub/a.png",
}


def write(folder, content):
    for entry in content["images"]:
        path = folder / "images" / ON_DISK.get(entry["file_name"], entry["file_name"])
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE).save(path)
    (folder / "ann.json").write_text(json.dumps(content))
    return folder / "ann.json"


@pytest.mark.parametrize(
    ("writer", "classes", "objects", "labelled", "crowds", "notes"), READ, ids=lambda v: getattr(v, "__name__", "")
)
def test_exports_read_to_what_they_mean(tmp_path, writer, classes, objects, labelled, crowds, notes):
    dataset = read_coco(write(tmp_path, writer()))
    assert {kind.name: len(kind.keypoints) for kind in dataset.schema.classes} == classes
    assert [len(record.class_ids) for record in dataset.records] == objects
    assert sum(int((record.visibility > 0).sum()) for record in dataset.records) == labelled
    assert sum(int(record.is_crowd.sum()) for record in dataset.records) == crowds
    text = "\n".join(dataset.notes)
    assert all(words in text for words in notes), text


def test_details_of_the_exports(tmp_path):
    def read(writer):
        (tmp_path / writer.__name__).mkdir()
        return read_coco(write(tmp_path / writer.__name__, writer()))

    plier = read(coco_annotator)
    assert [record.image_id for record in plier.records] == [312, 252]
    assert plier.schema.classes[0].skeleton == ((0, 1), (0, 2)) and plier.schema.classes[0].flip_pairs == ((0, 1),)
    np.testing.assert_array_equal(plier.records[0].keypoints_xy, [[[10, 8], [20, 21], [0, 0]]])
    assert read(roboflow).records[0].class_ids.tolist() == [1]  # the dummy keeps its channel, so that ids stay
    persons = read(datumaro)
    assert persons.schema.classes[0].skeleton == ((0, 1), (1, 2)) and persons.schema.classes[1].skeleton == ()
    assert persons.records[0].visibility.tolist() == [[2, 2, 2], [0, 0, 0]]
    np.testing.assert_array_equal(read(cvat_tracks).records[0].boxes_xyxy, [[3, 4, 27, 18]])
    np.testing.assert_array_equal(read(by_hand).records[0].boxes_xyxy, [[0, 1, 64, 10]])


def results():
    return [{"image_id": 136, "category_id": 1, "keypoints": [36, 181, 2, 20.25, 191, 0], "score": 0.897}]


def label_studio_tasks():
    value = {"x": 64.4, "y": 39.2, "width": 0.22, "keypointlabels": ["nose"]}
    result = {"id": "Yu", "type": "keypointlabels", "value": value, "parentID": "hp", "original_width": 216}
    return [{"id": 10764, "annotations": [{"id": 11996, "result": [result]}], "data": {"image": "/data/upload/a.jpg"}}]


REFUSED = [
    (results, "a COCO results file (predictions with scores)", "give the dataset's own JSON"),
    (label_studio_tasks, "a Label Studio file with a fault (no 'original_height')", "export it again as JSON"),
    (lambda: {"note": "", "cvat": [{"file_name": "a"}]}, "without the list 'images'", "export the labels again"),
    (lambda: {"categories": [], "images": []}, "without the list 'annotations'", "export the labels again"),
    (lambda: sleap() | {"categories": []}, "an empty list 'categories'", "check the export's settings"),
    (lambda: coco([image(1, "a.png")], [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "keypoints": [2, 3]}],
                  [{"id": 1, "name": "x", "keypoints": ["a"]}]), "found 2 numbers, expected 3", "write x, y, visibility"),
]  # fmt: skip


@pytest.mark.parametrize(("writer", "found", "remedy"), REFUSED)
def test_what_cannot_be_read_is_refused_by_name(tmp_path, writer, found, remedy):
    content = writer()
    Image.new("RGB", SIZE).save(tmp_path / "a.png")
    (tmp_path / "ann.json").write_text(json.dumps(content))
    with pytest.raises(ValueError) as error:
        read_coco(tmp_path / "ann.json")
    text = str(error.value)
    assert text.startswith(f"{tmp_path / 'ann.json'}: found") and found in text and remedy in text
