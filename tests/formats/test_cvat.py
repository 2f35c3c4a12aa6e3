"""CVAT for images 1.1."""

import pytest
from tool_files import BOX, CVAT, END, TIP, write_cvat

from centerkp.labels.coco import read_coco


def test_skeletons_boxes_and_points(tmp_path):
    dataset = read_coco(write_cvat(tmp_path))
    assert dataset.schema.class_names == ("rod", "nut")
    assert [kind.keypoints for kind in dataset.schema.classes] == [("tip", "end"), ("hole",)]
    assert dataset.schema.classes[0].skeleton == ((0, 1),)
    (record,) = dataset.records
    assert record.boxes_xyxy.tolist() == [list(BOX), [30, 2, 36, 9], [1, 1, 3, 3]]
    assert record.keypoints_xy[0, :2].tolist() == [list(TIP), list(END)] and record.keypoints_xy[1, 2].tolist() == [33, 5]
    assert record.visibility.tolist() == [[2, 1, 0], [0, 0, 2], [0, 0, 0]]
    assert dataset.notes[0] == "CVAT file: 1 image, 2 classes (rod, nut), 3 objects"
    assert len(read_coco(tmp_path).records) == 1


def test_points_outside_are_not_labelled_and_boxes_are_derived(tmp_path):
    text = CVAT.replace('group_id="7"', "").replace('occluded="1" outside="0"', 'occluded="1" outside="1"')
    dataset = read_coco(write_cvat(tmp_path, text))
    record = dataset.records[0]
    assert record.visibility[0].tolist() == [2, 0, 0] and record.boxes_xyxy[0].tolist() == [0, 0, 16, 18]
    assert any(note.startswith("1 object: no box, one drawn around its keypoints") for note in dataset.notes)


def test_points_of_one_shape_are_numbered(tmp_path):
    text = CVAT.replace('points="33.00,5.00"', 'points="33.00,5.00;34.00,6.00"')
    assert read_coco(write_cvat(tmp_path, text)).schema.classes[1].keypoints == ("hole_1", "hole_2")


@pytest.mark.parametrize(
    "old, new, words",
    [('width="40"', "", "no 'width'"), ("</annotations>", "", "no whole XML"), ("6.00,8.00", "6.00", "not enough values"),
     ("<image", "<track>", "no whole XML"), ('xtl="4.00"', 'xtl="x"', "could not convert")],
)  # fmt: skip
def test_faults_name_the_file(tmp_path, old, new, words):
    with pytest.raises(ValueError, match=rf"annotations\.xml: found a CVAT file with a fault \(.*{words}.*export it again"):
        read_coco(write_cvat(tmp_path, CVAT.replace(old, new)))


def test_videos_are_refused_with_the_way_out(tmp_path):
    text = '<annotations><version>1.1</version><meta></meta><track id="0" label="rod"></track></annotations>'
    with pytest.raises(ValueError, match="tracks of a CVAT video, expected images; export as 'CVAT for images 1.1'"):
        read_coco(write_cvat(tmp_path, text))
