"""labelme and X-AnyLabeling: folders of JSONs with grouped shapes."""

import json

import pytest
from coco_files import write_picture
from tool_files import BOX, END, TIP, labelme_shape, write_labelme

from centerkp.doctor.trainable import read_train_and_val
from centerkp.labels.coco import read_coco
from centerkp.labels.merging import merge_coco
from centerkp.labels.splitting import split_coco


def test_a_folder_is_read_and_says_what_it_is(tmp_path):
    dataset = read_coco(write_labelme(tmp_path))
    (record,) = dataset.records
    assert dataset.schema.class_names == ("rod",) and dataset.schema.classes[0].keypoints == ("tip", "end")
    assert record.boxes_xyxy.tolist() == [list(BOX)]
    assert record.keypoints_xy.tolist() == [[list(TIP), list(END)]] and record.visibility.tolist() == [[2, 1]]
    assert dataset.notes[0] == "labelme folder: 1 image, 1 class (rod), 1 object"


def test_what_is_written_from_it_says_the_same(tmp_path):
    for name in "ab":
        write_labelme(tmp_path / "in", name=name)
    said = "labelme folder: 2 images, 1 class (rod), 2 objects"
    assert said in split_coco(tmp_path / "in", val=0.5, out_dir=tmp_path / "out").notes
    assert f"in: {said}" in merge_coco([tmp_path / "in", tmp_path / "out" / "in_val.json"], tmp_path / "all.json").notes


def test_one_file_is_one_image_and_a_folder_goes_down(tmp_path):
    write_labelme(tmp_path / "x")
    write_labelme(tmp_path / "y", name="b")
    assert len(read_coco(tmp_path / "x" / "a.json").records) == 1
    assert [r.path.name for r in read_coco(tmp_path).records] == ["a.png", "b.png"]


@pytest.mark.parametrize("image", ["..\\pictures\\a.png", "../pictures/a.png", "C:\\me\\pictures\\a.png"])
def test_images_are_found_from_the_file_by_paths_of_any_system(tmp_path, image):
    write_labelme(tmp_path / "labels", imagePath=image)
    (tmp_path / "labels" / "a.png").unlink()
    write_picture(tmp_path / "pictures" / "a.png", 1)
    images = None if image.startswith("..") and "/" in image else tmp_path / "pictures"
    assert read_coco(tmp_path / "labels", images_dir=images).records[0].path.name == "a.png"


def test_points_without_groups_go_to_the_smallest_outline_around_them(tmp_path):
    shapes = [
        labelme_shape("plate", [(0, 0), (38, 0), (38, 29), (0, 29)], "polygon"),
        labelme_shape("rod", [(24, 26), (4, 6)], "rectangle"),
        labelme_shape("tip", [TIP], "point"),
        labelme_shape("tip", [END], "point"),
        labelme_shape("far", [(39, 1)], "point"),
        labelme_shape("hole", [(20, 15), (20, 20)], "circle"),
    ]
    dataset = read_coco(write_labelme(tmp_path, shapes=shapes))
    assert dataset.schema.class_names == ("plate", "rod", "hole")
    assert [kind.keypoints for kind in dataset.schema.classes] == [(), ("tip",), ()]
    assert dataset.records[0].boxes_xyxy.tolist() == [[0, 0, 38, 29], list(BOX), [15, 10, 25, 20]]
    assert "2 keypoints: no group, given to the smallest outline around it" in dataset.notes
    assert "1 keypoint: its object has one of that name already, left out" in dataset.notes
    assert "1 keypoint: no group, and no outline around it, left out" in dataset.notes


def test_points_alone_get_a_class_and_a_box_with_a_margin(tmp_path):
    shapes = [labelme_shape("tip", [(12, 13)], "point"), labelme_shape("end", [(22, 15)], "point")]
    dataset = read_coco(write_labelme(tmp_path, shapes=shapes))
    assert dataset.schema.class_names == ("object",)
    assert dataset.records[0].boxes_xyxy.tolist() == [[2, 3, 32, 25]]
    assert "1 object: only keypoints and no class, called 'object'" in dataset.notes
    assert any(
        "drawn around its keypoints with a margin of 10% of its longer side, 10 pixels at least" in n for n in dataset.notes
    )


def test_x_anylabeling_marks_what_is_difficult_and_has_four_corners(tmp_path):
    corners = [(4, 6), (24, 6), (24, 26), (4, 26)]
    shapes = [
        labelme_shape("rod", corners, "rectangle", 1),
        labelme_shape("tip", [TIP], "point", 1, difficult=True, description=""),
    ]
    (record,) = read_coco(write_labelme(tmp_path, shapes=shapes, version="2.4.4")).records
    assert record.boxes_xyxy.tolist() == [list(BOX)] and record.visibility.tolist() == [[1]]


def test_a_validation_folder_need_not_show_every_keypoint(tmp_path):
    train = read_coco(write_labelme(tmp_path / "train"))
    shapes = [labelme_shape("rod", [(4, 6), (24, 26)], "rectangle", 1), labelme_shape("end", [END], "point", 1)]
    val = read_coco(write_labelme(tmp_path / "val", shapes=shapes), schema=train.schema)
    assert val.records[0].visibility.tolist() == [[0, 2]]
    _, held = read_train_and_val(tmp_path / "train", val=tmp_path / "val")
    assert held.records[0].visibility.tolist() == [[0, 2]] and held.notes[0].startswith("labelme folder: 1 image")
    joined = read_coco([tmp_path / "val", tmp_path / "train"])
    assert joined.schema.classes[0].keypoints == ("end", "tip") and len(joined.records) == 2


@pytest.mark.parametrize(
    "more",
    [{"shapes": [{"label": "x"}]}, {"shapes": 5}, {"imagePath": 5}, {"shapes": [labelme_shape("x", [("a", 1)], "point")]}],
)
def test_faults_name_the_file(tmp_path, more):
    with pytest.raises(
        ValueError, match=r"a\.json: found a labelme file with a fault .*, expected one as its tool writes it; export"
    ):
        read_coco(write_labelme(tmp_path, **more))


@pytest.mark.parametrize("name", ["", "a.json"])
def test_labels_without_any_object_are_called_so(tmp_path, name):
    """They are no COCO JSON that lacks a list."""
    path = write_labelme(tmp_path, shapes=[]) / name
    with pytest.raises(ValueError, match=r"found a labelme (folder|file) of 1 image without any labelled object, expected one"):
        read_coco(path)


def test_other_json_in_the_folder_is_no_labels(tmp_path):
    (write_labelme(tmp_path) / "package.json").write_text(json.dumps({"name": "x"}))
    assert len(read_coco(tmp_path).records) == 1
