"""Image names that lead to the same files from another place."""

import json

import pytest
from coco_files import write_coco, write_picture

from centerkp.labels.coco import read_coco, read_label_file
from centerkp.labels.relocate import relocate_names

BEE = [{"id": 1, "name": "bee"}]


def test_names_stay_where_they_lead_to_the_same_file(tmp_path):
    a = write_picture(tmp_path / "images" / "a.png", 1)
    assert relocate_names(["a.png"], [a], tmp_path / "new.json") == ["a.png"]
    assert relocate_names(["a.png"], [a], tmp_path / "parts" / "new.json") == ["a.png"]  # found in ../images


def test_names_change_where_they_would_not(tmp_path):
    a = write_picture(tmp_path / "photos" / "a b.png", 1)
    assert relocate_names(["a b.png"], [a], tmp_path / "x" / "new.json") == ["../photos/a b.png"]
    # Another picture of the same name stands nearer to the new file.
    write_picture(tmp_path / "x" / "a b.png", 2)
    assert relocate_names(["a b.png"], [a], tmp_path / "x" / "new.json") == ["../photos/a b.png"]


@pytest.mark.parametrize(
    "name", ["a b.png", "photos/A B.PNG", "C:\\photos\\a b.png", "/data/local-files/?d=photos/a%20b.png", "photos\\a b.png"]
)
def test_names_that_only_a_search_understands_are_written_anew(tmp_path, name):
    a = write_picture(tmp_path / "photos" / "a b.png", 1)
    assert relocate_names([name], [a], tmp_path / "new.json") == ["photos/a b.png"]


def test_ways_up_are_taken_literally(tmp_path):
    a = write_picture(tmp_path / "set" / "images" / "a.png", 1)
    assert relocate_names(["../set/images/a.png"], [a], tmp_path / "b" / "new.json") == ["../set/images/a.png"]
    assert relocate_names(["../set/images/a.png"], [a], tmp_path / "new.json") == ["set/images/a.png"]


def test_one_file_has_one_name(tmp_path):
    a = write_picture(tmp_path / "images" / "a.png", 1)
    assert relocate_names(["images/a.png", "a.png"], [a, a], tmp_path / "new.json") == ["images/a.png", "images/a.png"]


def test_source_keeps_everything_and_knows_its_files(tmp_path):
    file = write_coco(tmp_path / "ann.json", {"a.png": [1], "b.png": []}, BEE, info={"by": "us"})
    source = read_label_file(file)
    assert source.content == json.loads(file.read_text())
    assert source.images.paths == [tmp_path / "images" / "a.png", tmp_path / "images" / "b.png"]
    assert source.annotations.image_rows.tolist() == source.annotations.class_ids.tolist() == [0]
    assert source.schema == read_coco(file).schema


def test_faulty_source_is_refused(tmp_path):
    file = write_coco(tmp_path / "ann.json", {"a.png": [1, 7]}, BEE)
    with pytest.raises(ValueError, match="category_id"):
        read_label_file(file)
