"""Several label files that are one dataset: read together as `merge` joins them, each with its own folder of images."""

import json

import pytest
from coco_files import write_coco, write_picture
from tool_files import labelme_shape, write_deeplabcut, write_labelme

from centerkp.doctor.check import check_dataset, write_mended
from centerkp.formats.gathering import complete_keypoints
from centerkp.labels.coco import read_coco, read_label_file, read_schema
from centerkp.labels.joining import open_label_files
from centerkp.labels.merging import merge_coco

BEE = {"id": 3, "name": "bee", "keypoints": ["head", "sting"], "skeleton": [[1, 2]]}
WASP = {"id": 7, "name": "wasp"}


@pytest.fixture
def two(tmp_path):
    """Bees (3) and wasps (7); wasps (3) and bees (9) with images of the same names."""
    a = write_coco(tmp_path / "a" / "a.json", {"1.png": [3, 7], "2.png": []}, [BEE, WASP])
    for number in (1, 2):
        write_picture(tmp_path / "b" / "images" / f"{number}.png", 100 + number)
    return a, write_coco(tmp_path / "b" / "b.json", {"1.png": [9], "2.png": [3]}, [WASP | {"id": 3}, BEE | {"id": 9}])


def test_it_is_what_the_merged_file_gives(two, tmp_path):
    merged, joined = read_coco(merge_coco(two, tmp_path / "ab.json").file), read_coco(two)
    assert joined.schema == merged.schema == read_schema(two)
    assert [r.image_id for r in joined.records] == [1, 2, 3, 4]
    for one, other in zip(joined.records, merged.records, strict=True):
        assert one.path.resolve() == other.path.resolve()
        assert one.class_ids.tolist() == other.class_ids.tolist() and (one.boxes_xyxy == other.boxes_xyxy).all()
    assert str(joined.path) == f"{two[0]} and 1 more"


def test_one_path_in_a_list_is_that_file(two):
    assert read_label_file([two[0]]).path == read_label_file(two[0]).path == two[0]


def test_folders_of_images_go_with_the_files(two, tmp_path):
    for name in "ab":
        (tmp_path / name / "images").rename(tmp_path / f"pictures_{name}")
    folders = [tmp_path / "pictures_a", str(tmp_path / "pictures_b")]
    paths = [record.path.resolve() for record in read_coco(two, images_dir=folders).records]
    assert paths == [folder / f"{n}.png" for folder in (tmp_path / "pictures_a", tmp_path / "pictures_b") for n in (1, 2)]
    with pytest.raises(ValueError, match="found 3 images folders for 2 files, expected none, one, or one for each"):
        read_coco(two, images_dir=[*folders, tmp_path])
    same = read_coco(two, images_dir=tmp_path / "pictures_a")
    assert len({record.path.resolve() for record in same.records}) == 2
    assert any("the same file listed more than once" in note for note in same.notes)


def test_what_contradicts_is_refused_in_a_sentence(two, tmp_path):
    content = json.loads(two[1].read_text())
    content["categories"][1]["keypoints"] = ["sting", "head"]
    two[1].write_text(json.dumps(content))
    with pytest.raises(ValueError, match="category 'bee': found the keypoints .* expected the same in the same order"):
        read_coco(two)
    with pytest.raises(ValueError, match="twice among the files, expected each once"):
        read_coco([two[0], two[0]])


def test_notes_are_of_all_files(two):
    content = json.loads(two[1].read_text())
    for entry in content["annotations"]:
        del entry["iscrowd"]
    two[1].write_text(json.dumps(content))
    notes = [note for note in read_coco(two).notes if "iscrowd" in note]
    assert notes == ["2 annotations: 'iscrowd' missing, read as 0"]


def test_a_validation_set_of_several_files_has_the_training_classes(two):
    schema = read_schema(two[0])
    assert len(read_coco(two[::-1], schema=schema).records) == 4


def test_the_doctor_examines_them_as_one(two):
    checkup = check_dataset(two, val=[two[1]])
    assert checkup.reading.num_images == 4 and checkup.source.files == tuple(two)
    assert checkup.schema == read_schema(two) and checkup.val.reading.num_images == 2


@pytest.mark.parametrize("order", [1, -1])
def test_a_tool_without_an_order_of_keypoints_takes_that_of_the_json(tmp_path, order):
    """Whichever comes first; the labelme folder has its points the other way round."""
    rod = {"id": 1, "name": "rod", "keypoints": ["end", "tip"], "skeleton": [[1, 2]]}
    files = [write_coco(tmp_path / "a.json", {"1.png": [1]}, [rod]), write_labelme(tmp_path / "tool")]
    dataset = read_coco(files[::order])
    assert dataset.schema.classes[0].keypoints == ("end", "tip") and dataset.schema.classes[0].skeleton == ((0, 1),)
    (record,) = [r for r in dataset.records if r.path.name == "a.png"]
    assert record.keypoints_xy.tolist() == [[[20, 22], [6, 8]]]


def test_edges_go_with_keypoints_that_others_name_first(tmp_path):
    shapes = [labelme_shape("animal", [(1, 1), (30, 25)], "rectangle", 1), labelme_shape("end", [(20, 22)], "point", 1)]
    dataset = read_coco([write_labelme(tmp_path / "tool", shapes=shapes), write_deeplabcut(tmp_path / "dlc")])
    (kind,) = dataset.schema.classes
    assert kind.keypoints == ("end", "tip") and [[kind.keypoints[end] for end in edge] for edge in kind.skeleton] == [
        ["tip", "end"]
    ]


EDITED = {
    "category without name": lambda c: c["categories"][0].pop("name"),
    "category with a list as its name": lambda c: c["categories"][0].update(name=["rod"]),
    "category without keypoints": lambda c: c["categories"][0].pop("keypoints"),
    "keypoints that are text": lambda c: c["categories"][0].update(keypoints="tip"),
    "category that is text": lambda c: c["categories"].append("rod"),
    "category without id": lambda c: c["categories"][0].pop("id"),
    "line that ends nowhere": lambda c: c["categories"][0].update(skeleton=[[1, 9]]),
    "line of names": lambda c: c["categories"][0].update(skeleton=[["tip", "end"]]),
    "null annotation": lambda c: c["annotations"].append(None),
    "unknown category": lambda c: c["annotations"][0].update(category_id=7),
    "category as text": lambda c: c["annotations"][0].update(category_id="1"),
    "keypoints missing": lambda c: c["annotations"][0].update(keypoints=c["annotations"][0]["keypoints"][:3]),
}


@pytest.mark.parametrize("edit", EDITED.values(), ids=list(EDITED))
@pytest.mark.parametrize("order", [1, -1])
def test_edited_labels_of_a_tool_are_read_or_refused_in_a_sentence(tmp_path, edit, order):
    """A hand may change what import wrote, which still says that its tool names only labelled keypoints."""
    folder = write_labelme(tmp_path / "tool")
    content = open_label_files(folder).content
    edit(content)
    (folder / "out.json").write_text(json.dumps(content))
    other = write_coco(tmp_path / "a.json", {"1.png": [1]}, [{"id": 1, "name": "rod", "keypoints": ["end", "tip", "mid"]}])
    for files in (folder / "out.json", [folder / "out.json", other][::order]):
        try:
            read_coco(files)
        except ValueError as error:
            assert "found" in str(error)
        check_dataset(folder / "out.json", val=other)
    check_dataset(other, val=folder / "out.json")


def test_a_number_of_a_class_may_be_text(tmp_path):
    folder = write_labelme(tmp_path / "tool")
    content = open_label_files(folder).content
    EDITED["category as text"](content)
    complete_keypoints(content, {content["categories"][0]["name"]: ["mid", *content["categories"][0]["keypoints"]]})
    assert [len(entry["keypoints"]) for entry in content["annotations"]] == [9] * len(content["annotations"])
    assert all(entry["keypoints"][:3] == [0, 0, 0] for entry in content["annotations"])


def test_keypoints_that_drop_takes_away_take_their_mark_along(tmp_path):
    folder = write_labelme(tmp_path / "tool")
    content = open_label_files(folder).content
    for entry in content["annotations"]:
        entry["keypoints"] = [0] * len(entry["keypoints"])
    (folder / "out.json").write_text(json.dumps(content))
    write_mended(check_dataset(folder / "out.json"), folder / "dropped.json", drop=True)
    (category,) = json.loads((folder / "dropped.json").read_text())["categories"]
    assert "keypoints" not in category and "gathered" not in category
    assert check_dataset(folder / "dropped.json").schema.num_keypoints == 0


@pytest.mark.parametrize("name", ["", "a.json"])
def test_the_command_that_mends_names_labels_as_they_were_named(tmp_path, name):
    """A folder alone, without the files in it, which would be joined with it, and quoted where a shell asks for it."""
    shape = labelme_shape(" ", [(5, 5), (20, 20)], "rectangle")
    path = write_labelme(tmp_path / "my labels", shapes=[shape]) / name
    with pytest.raises(ValueError) as error:
        read_coco(path)
    assert f"centerkp check '{path}' --fix mended.json" in str(error.value)


def test_a_file_that_training_mends_is_refused_with_the_command_that_does(two):
    content = json.loads(two[1].read_text())
    for image in content["images"]:
        image["id"] = f"img_{image['id']}"
    for entry in content["annotations"]:
        entry["image_id"] = f"img_{entry['image_id']}"
    two[1].write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"centerkp check {two[1]} --fix mended.json"):
        read_coco(two)
    write_mended(check_dataset(two[1]), two[1].parent / "mended.json")
    assert len(read_coco([two[0], two[1].parent / "mended.json"]).records) == 4
