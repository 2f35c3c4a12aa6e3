"""Joining COCO files: ids, categories, licences, image names, duplicates."""

import json
import shutil

import pytest
from coco_files import write_coco, write_picture
from tool_files import write_via

from centerkp.labels.coco import read_coco
from centerkp.labels.merging import import_labels, merge_coco

BEE = {"id": 3, "name": "bee", "keypoints": ["head", "sting"], "skeleton": [[1, 2]]}
WASP = {"id": 7, "name": "wasp"}


def read(file):
    return json.loads(file.read_text())


def edit(file, **more):
    file.write_text(json.dumps(read(file) | more))


@pytest.fixture
def two(tmp_path):
    """A file with bees (id 3) and wasps (id 7), and one whose wasps are 3, whose bees are 9, and that has flies (id 7)."""
    a = write_coco(tmp_path / "a" / "a.json", {"1.png": [3, 7], "2.png": []}, [BEE, WASP])
    write_picture(tmp_path / "b" / "images" / "1.png", 101)  # another picture of the same name
    write_picture(tmp_path / "b" / "images" / "2.png", 102)
    others = [WASP | {"id": 3}, {"id": 7, "name": "fly"}, BEE | {"id": 9}]
    return a, write_coco(tmp_path / "b" / "b.json", {"1.png": [9, 7], "2.png": [3]}, others)


def test_ids_and_categories(two, tmp_path):
    merged = merge_coco(two, tmp_path / "out" / "ab.json")
    content = read(merged.file)
    assert [c["id"] for c in content["categories"]] == [3, 7, 8]
    assert [c["name"] for c in content["categories"]] == ["bee", "wasp", "fly"]
    assert [image["id"] for image in content["images"]] == [1, 2, 3, 4]
    rows = [(a["id"], a["image_id"], a["category_id"]) for a in content["annotations"]]
    assert rows == [(1, 1, 3), (2, 1, 7), (3, 3, 3), (4, 3, 8), (5, 4, 7)]
    assert merged.objects == {"bee": 2, "wasp": 2, "fly": 1} and merged.images == 4
    assert merged.notes == ()


def test_images_lead_to_their_own_files(two, tmp_path):
    merged = merge_coco(two, tmp_path / "out" / "ab.json")
    records = read_coco(merged.file).records
    assert [record.path.resolve() for record in records] == [
        tmp_path / f / "images" / n for f in "ab" for n in ("1.png", "2.png")
    ]
    # Beside the first file its own names hold.
    names = [image["file_name"] for image in read(merge_coco(two, tmp_path / "a" / "ab.json").file)["images"]]
    assert names == ["1.png", "2.png", "../b/images/1.png", "../b/images/2.png"]


def test_fields_of_others_are_kept(two, tmp_path):
    content = read(two[1])
    content["annotations"][0] |= {"tracker": 5, "segmentation": [[0, 0, 1, 1, 1, 0]]}
    content["images"][0]["camera"] = "left"
    edit(two[1], images=content["images"], annotations=content["annotations"], info={"by": "us"}, videos=[1])
    content = read(merge_coco(two, tmp_path / "ab.json").file)
    assert content["annotations"][2]["tracker"] == 5 and content["images"][2]["camera"] == "left"
    assert content["info"] == {"by": "us"} and content["videos"] == [1]


def test_licenses_are_joined_by_content(two, tmp_path):
    for file, licenses in (
        (two[0], [{"id": 1, "name": "MIT"}]),
        (two[1], [{"id": 1, "name": "BSD"}, {"id": 4, "name": "MIT"}]),
    ):
        images = [image | {"license": entry["id"]} for image, entry in zip(read(file)["images"], licenses, strict=False)]
        edit(file, licenses=licenses, images=images + read(file)["images"][len(licenses) :])
    content = read(merge_coco(two, tmp_path / "ab.json").file)
    assert content["licenses"] == [{"id": 1, "name": "MIT"}, {"id": 2, "name": "BSD"}]
    assert [image.get("license") for image in content["images"]] == [1, None, 2, 1]


def test_conflict_of_keypoints_names_both(two, tmp_path):
    edit(two[1], categories=[*read(two[1])["categories"][:2], BEE | {"id": 9, "keypoints": ["sting", "head"]}])
    with pytest.raises(ValueError, match=r"'bee': found .*'head', 'sting'.*a\.json and .*'sting', 'head'.*b\.json"):
        merge_coco(two, tmp_path / "ab.json")
    assert not (tmp_path / "ab.json").exists()


def test_details_of_the_first_file_are_believed_and_gaps_filled(two, tmp_path):
    sigmas = {"oks_sigmas": [0.1, 0.2], "color": "#f00"}
    edit(two[1], categories=[*read(two[1])["categories"][:2], BEE | {"id": 9, "skeleton": [[2, 1]]} | sigmas])
    merged = merge_coco(two, tmp_path / "ab.json")
    bee = read(merged.file)["categories"][0]
    assert bee == BEE | sigmas
    assert len(merged.notes) == 1 and "'bee': skeleton of" in merged.notes[0] and "a.json, which is kept" in merged.notes[0]


def test_duplicates_are_reported(two, tmp_path):
    shutil.copy(tmp_path / "a" / "images" / "2.png", tmp_path / "b" / "images" / "2.png")
    third = write_coco(tmp_path / "a" / "again.json", {"1.png": [7]}, [WASP])
    merged = merge_coco([*two, third], tmp_path / "abc.json")
    assert merged.images == 5
    same, copies = merged.notes
    assert same.startswith("1 image: the same file listed more than once") and same.endswith(
        "1.png (a.json) = 1.png (again.json)"
    )
    assert copies.startswith("1 image: different files with the same content")
    assert copies.endswith(f"{tmp_path}/a/images/2.png = {tmp_path}/b/images/2.png")
    assert len(read_coco(merged.file).records) == 5


def test_many_copies_of_one_image_are_one_short_line(tmp_path):
    files = []
    for folder in "ab":
        files.append(write_coco(tmp_path / folder / "ann.json", {f"{n}.png": [7] for n in range(30)}, [WASP]))
        for n in range(30):
            write_picture(tmp_path / folder / "images" / f"{n}.png", 0)
    (note,) = merge_coco(files, tmp_path / "ab.json").notes
    assert note.startswith("1 image: different files") and note.endswith(" = 57 more")


def test_folders_of_images(two, tmp_path):
    (tmp_path / "a" / "images").rename(tmp_path / "x")
    (tmp_path / "b" / "images").rename(tmp_path / "y")
    folders = [tmp_path / "x", tmp_path / "y"]
    content = read(merge_coco(two, tmp_path / "o" / "ab.json", images_dirs=folders).file)
    assert [image["file_name"] for image in content["images"]] == ["../x/1.png", "../x/2.png", "../y/1.png", "../y/2.png"]
    with pytest.raises(ValueError, match="3 images folders for 2 files"):
        merge_coco(two, tmp_path / "ab.json", images_dirs=[*folders, tmp_path])


def test_refusals(two, tmp_path):
    with pytest.raises(ValueError, match="found 1 file, expected two or more"):
        merge_coco(two[:1], tmp_path / "ab.json")
    with pytest.raises(ValueError, match="found as output and among the files"):
        merge_coco(two, two[1])
    with pytest.raises(ValueError, match="twice among the files"):
        merge_coco([two[0], two[0]], tmp_path / "ab.json")
    (tmp_path / "ab.json").write_text("by hand")
    with pytest.raises(FileExistsError, match="ab.json"):
        merge_coco(two, tmp_path / "ab.json")
    assert merge_coco(two, tmp_path / "ab.json", overwrite=True).images == 4


def test_images_without_a_size_have_that_of_their_files(two, tmp_path):
    images = read(import_labels(write_via(tmp_path / "via"), tmp_path / "out.json").file)["images"]
    edit(two[0], images=[{k: v for k, v in image.items() if k != "width"} for image in read(two[0])["images"]])
    images += read(merge_coco(two, tmp_path / "ab.json").file)["images"]
    assert {(image["width"], image["height"]) for image in images} == {(40, 30)}
