"""YOLO-pose: data.yaml and folders of label files, read, and written and read back."""

import json

import numpy as np
import pytest
from coco_files import write_coco, write_picture
from tool_files import BOX, END, TIP, write_yolo

from centerkp.cli import main
from centerkp.doctor.check import check_dataset
from centerkp.labels.coco import read_coco


def check(dataset):
    record = dataset.records[0]
    assert dataset.schema.class_names == ("rod",)
    np.testing.assert_allclose(record.boxes_xyxy, [BOX], atol=1e-4)
    np.testing.assert_allclose(record.keypoints_xy, [[TIP, END]], atol=1e-4)
    assert record.visibility.tolist() == [[2, 1]]
    return dataset


def test_data_yaml(tmp_path):
    dataset = check(read_coco(write_yolo(tmp_path)))
    kind = dataset.schema.classes[0]
    assert kind.keypoints == ("tip", "end") and (kind.flip_source, kind.flip_pairs) == ("json", ((0, 1),))
    assert [len(record.class_ids) for record in dataset.records] == [1, 0]
    assert dataset.notes[0] == "YOLO dataset: 2 images, 1 class (rod), 1 object"
    told = "validation images (images/val) are not read with it; train and check take the folder of their labels as --val"
    assert any(told in note for note in dataset.notes)
    assert len(check(read_coco(tmp_path)).records) == 2


def test_a_folder_of_labels_has_the_names_of_the_data_yaml_above(tmp_path):
    write_yolo(tmp_path)
    assert check(read_coco(tmp_path / "labels" / "train")).schema.classes[0].keypoints == ("tip", "end")
    (tmp_path / "data.yaml").unlink()
    (tmp_path / "labels" / "classes.txt").write_text("rod\n")
    dataset = check(read_coco(tmp_path / "labels" / "train"))
    assert dataset.schema.classes[0].keypoints == ("point_1", "point_2") and len(dataset.records) == 1
    assert any("without names, called point_1" in note for note in dataset.notes)


def test_labels_beside_images_two_numbers_a_point_and_no_names(tmp_path):
    write_picture(tmp_path / "sub" / "a.JPG".lower(), 1)
    (tmp_path / "sub" / "a.txt").write_text("3 0.35 0.5333 0.5 0.6667 0.15 0.26667 0 0\n")
    dataset = read_coco(tmp_path)
    assert dataset.schema.class_names == ("class_3",) and dataset.records[0].visibility.tolist() == [[2, 0]]


@pytest.mark.parametrize("train", ["../train/images", ["train/images"], "train.txt", "train\\\\images"])
def test_ways_to_say_where_the_images_are(tmp_path, train):
    write_picture(tmp_path / "train" / "images" / "a.png", 1)
    (tmp_path / "train" / "labels").mkdir()
    (tmp_path / "train" / "labels" / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "train.txt").write_text("./train/images/a.png\n")
    (tmp_path / "data.yaml").write_text(f"train: {json.dumps(train)}\nnc: 1\nnames: ['rod']\n".replace("\\\\\\\\", "\\\\"))
    assert read_coco(tmp_path / "data.yaml").records[0].boxes_xyxy.tolist() == [[10, 7.5, 30, 22.5]]


@pytest.mark.parametrize(
    "train, labels, images",
    [("images/train", "labels/train/a.txt", "a.png"), ("./images/train", "labels/train/a.txt", "sub/a.png"),
     (["images/x", "images/train"], "labels/train/sub/a.txt", "sub/a.png"), ("../data/images", "labels/a.txt", "a.png"),
     ("images", "labels/train/a.txt", "train/a.png"), ("nowhere", "labels/a.txt", "a.png"), (None, "labels/a.txt", "a.png"),
     ("train", "train/a.txt", "a.png"), ("train.txt", "labels/train/a.txt", "a.png"),
     ("images", "../pictures/labels/a.txt", "images/a.png"), ("images", "../pictures/a.txt", "a.png")],
)  # fmt: skip
@pytest.mark.parametrize("absolute", [False, True])
def test_images_elsewhere_have_their_labels_where_the_data_yaml_says(tmp_path, monkeypatch, train, labels, images, absolute):
    """The folder is named as it is seen from the working directory; beside the data.yaml lies another of that name."""
    write_yolo(tmp_path / "first")
    (tmp_path / "data" / "pictures").mkdir(parents=True)
    text = (tmp_path / "first" / "data.yaml").read_text().replace(f"path: {tmp_path / 'first'}", "path: .")
    says = f"train: {json.dumps(train)}" if train else "test: images/x"
    (tmp_path / "data" / "data.yaml").write_text(text.replace("train: images/train", says))
    (tmp_path / "data" / "train.txt").write_text("./images/train/a.png\n")
    for path, source in (("pictures/" + images, "images/train/a.png"), ("data/" + labels, "labels/train/a.txt")):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes((tmp_path / "first" / source).read_bytes())
    write_picture(tmp_path / "pictures" / "empty.png", 2)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "pictures" if absolute else "pictures"
    dataset = read_coco(tmp_path / "data" / "data.yaml", images_dir=folder)
    records = {record.path.name: record for record in dataset.records}
    assert {name: len(record.class_ids) for name, record in records.items()} == {"a.png": 1, "empty.png": 0}
    np.testing.assert_allclose(records["a.png"].keypoints_xy, [[TIP, END]], atol=1e-4)
    assert records["a.png"].path.resolve() == (tmp_path / "pictures" / images).resolve()
    assert not any("another path" in note for note in dataset.notes)


def test_two_images_of_one_name_do_not_share_a_label_file(tmp_path):
    config = write_yolo(tmp_path)
    for place in "xy":
        write_picture(tmp_path / "pictures" / place / "a.png", 1)
    write_picture(tmp_path / "pictures" / "b.png", 2)
    (tmp_path / "labels" / "train" / "b.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    found = {r.path.relative_to(tmp_path / "pictures").as_posix(): len(r.class_ids)
             for r in read_coco(config, images_dir=tmp_path / "pictures").records}  # fmt: skip
    assert found == {"x/a.png": 0, "y/a.png": 0, "b.png": 1}


@pytest.mark.parametrize("images", [None, "pictures"])
def test_not_one_label_file_is_a_fault_and_no_dataset_of_backgrounds(tmp_path, images):
    config = write_yolo(tmp_path)
    (tmp_path / "labels" / "train" / "a.txt").unlink()
    write_picture(tmp_path / "pictures" / "a.png", 1)
    with pytest.raises(
        ValueError, match=r"data\.yaml: found .* without a label file for any of [12] images?, .*a\.txt.*--images"
    ):
        read_coco(config, images_dir=images and tmp_path / images)


def test_a_folder_of_images_that_is_not_there(tmp_path):
    with pytest.raises(
        ValueError, match=r"data\.yaml: found no folder .*nowhere, expected the images there; correct images_dir"
    ):
        read_coco(write_yolo(tmp_path), images_dir=tmp_path / "nowhere")


def test_what_a_network_is_certain_of_is_labelled(tmp_path):
    config = write_yolo(tmp_path)
    rows = ["0 0.5 0.5 0.5 0.5 0.4 0.4 0.93 0.6 0.6 0.5", "0 0.5 0.5 0.6 0.6 0.4 0.4 1 0.6 0.6 -0.5"]
    (tmp_path / "labels" / "train" / "a.txt").write_text("\n".join(rows) + "\n")
    dataset = read_coco(config)
    assert dataset.records[0].visibility.tolist() == [[2, 2], [1, 0]]
    assert any("3 keypoints: a visibility that is none of 0, 1, 2, read as 2" in note for note in dataset.notes)


def test_polygons_are_boxes(tmp_path):
    write_yolo(tmp_path)
    (tmp_path / "data.yaml").write_text("train: images/train\nnames: [rod]\n")
    (tmp_path / "labels" / "train" / "a.txt").write_text("0 0.1 0.2 0.6 0.2 0.6 0.8 0.1 0.8\n")
    dataset = read_coco(tmp_path)
    np.testing.assert_allclose(dataset.records[0].boxes_xyxy, [[4, 6, 24, 24]], atol=1e-4)
    assert "1 object: a polygon, the box around it taken" in dataset.notes


@pytest.mark.parametrize("source", [".", "labels/train"])
def test_a_certainty_behind_a_box_makes_no_polygon_of_it(tmp_path, source):
    """As Ultralytics writes what it found, with save_conf; a folder alone has no names."""
    write_yolo(tmp_path)
    (tmp_path / "data.yaml").write_text("train: images/train\nnames: [rod]\n")
    (tmp_path / "labels" / "train" / "a.txt").write_text("0 0.5 0.5 0.2 0.4 0.87\n0 0.5 0.5 0.4 0.4\n")
    if source != ".":
        (tmp_path / "data.yaml").unlink()
    dataset = read_coco(tmp_path / source)
    np.testing.assert_allclose(dataset.records[0].boxes_xyxy, [[16, 9, 24, 21], [12, 9, 28, 21]], atol=1e-4)
    assert any("1 object: a number behind its box or polygon" in note for note in dataset.notes)
    assert not any("the box around it" in note for note in dataset.notes)


def test_a_certainty_behind_a_polygon_is_no_corner(tmp_path):
    write_yolo(tmp_path)
    (tmp_path / "data.yaml").write_text("train: images/train\nnames: [rod]\n")
    (tmp_path / "labels" / "train" / "a.txt").write_text("0 0.1 0.2 0.6 0.2 0.6 0.8 0.1 0.8 0.95\n")
    np.testing.assert_allclose(read_coco(tmp_path).records[0].boxes_xyxy, [[4, 6, 24, 24]], atol=1e-4)


def test_label_files_that_nobody_reads_are_counted(tmp_path):
    config = write_yolo(tmp_path)
    for name in ("c", "d", "._a", "classes"):
        (tmp_path / "labels" / "train" / f"{name}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    assert "2 label files: without an image among those to train on, not read" in check(read_coco(config)).notes


def test_classes_of_one_name_are_refused(tmp_path):
    config = write_yolo(tmp_path)
    config.write_text(config.read_text().replace("  0: rod\n", "  0: rod\n  1: rod\n"))
    with pytest.raises(
        ValueError, match=r"data\.yaml: found the name 'rod' for several classes of YOLO, expected another for each"
    ):
        read_coco(config)


def test_hidden_and_broken_pictures_do_not_stop_the_others(tmp_path):
    """macOS and notebooks leave hidden ones; one that is broken is listed, and the doctor names it."""
    config, folder = write_yolo(tmp_path), tmp_path / "images" / "train"
    (folder / "._a.png").write_bytes(b"\0\5\x16\7")
    write_picture(folder / ".ipynb_checkpoints" / "a-checkpoint.png", 1)
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:40])
    (tmp_path / "labels" / "train" / "b.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    for source in (config, tmp_path / "labels"):
        checkup = check_dataset(source)
        assert [path.name for path in checkup.images.paths] == ["a.png", "b.png"]
        (finding,) = [finding for finding in checkup.findings if finding.title == "cannot be read"]
        assert finding.count == 1 and "b.png" in finding.places[0]
        assert len(read_coco(source).records) == 1


@pytest.mark.parametrize(
    "text, words",
    [("0 0.5 0.5 0.5\n", "4 numbers in a row"), ("0 0.5 0.5 0.5 0.5 0.1\n", "6 numbers in a row, expected 11"),
     ("7 0.5 0.5 0.5 0.5\n", "class 7, expected one of"), ("0 a b c d\n", "could not convert")],
)  # fmt: skip
def test_faults_name_the_label_file(tmp_path, text, words):
    config = write_yolo(tmp_path)
    (tmp_path / "labels" / "train" / "a.txt").write_text(text)
    with pytest.raises(ValueError, match=rf"a\.txt: found .*{words}"):
        read_coco(config)


def test_missing_images_and_wrong_configs(tmp_path):
    config = write_yolo(tmp_path)
    (tmp_path / "images" / "train" / "a.png").unlink()
    with pytest.raises(ValueError, match="folder of YOLO labels without an image for 1 of 1 files .*--images"):
        read_coco(tmp_path / "labels")
    config.write_text("train: nowhere\nnames: [rod]\n")
    with pytest.raises(ValueError, match=r"data\.yaml: found a YOLO dataset with the training images 'nowhere'"):
        read_coco(config)
    config.write_text("train: images\nnames: [rod]\nkpt_shape: [2, 3]\nflip_idx: [0, 5]\n")
    with pytest.raises(
        ValueError, match=r"data\.yaml: found a YOLO data.yaml with a fault \('kpt_shape, kpt_names and flip_idx"
    ):
        read_coco(config)
    with pytest.raises(ValueError, match="give the folder of the label files, or their data.yaml"):
        read_coco(tmp_path / "labels" / "train" / "a.txt")


def test_what_is_written_is_read_back(tmp_path, capsys):
    """Classes with different keypoints, a crowd, an image without objects."""
    images = [{"id": n, "file_name": f"{n}.png", "width": 40, "height": 30} for n in (1, 2)]
    objects = [
        {"id": 1, "image_id": 1, "category_id": 5, "bbox": [4, 6, 20, 20], "keypoints": [6, 8, 2, 20, 22, 1], "iscrowd": 0},
        {"id": 2, "image_id": 1, "category_id": 9, "bbox": [1, 2, 30, 7], "keypoints": [3, 4, 2], "iscrowd": 0},
        {"id": 3, "image_id": 1, "category_id": 9, "bbox": [1, 2, 3, 7], "keypoints": [0, 0, 0], "iscrowd": 1},
    ]
    rod = {"id": 5, "name": "rod", "keypoints": ["left_end", "right_end"]}
    categories = [rod, {"id": 9, "name": "nut", "keypoints": ["hole"]}]
    for number in (1, 2):
        write_picture(tmp_path / f"{number}.png", number)
    (tmp_path / "ann.json").write_text(json.dumps({"images": images, "annotations": objects, "categories": categories}))
    assert main(["export-labels", str(tmp_path / "ann.json"), str(tmp_path / "yolo")]) == 0
    text = capsys.readouterr().out
    assert "1 crowd region: left out" in text and "YOLO has one 'flip_idx' for all classes" in text
    one, other = read_coco(tmp_path / "ann.json"), read_coco(tmp_path / "yolo" / "data.yaml")
    assert [c.keypoints for c in other.schema.classes] == [c.keypoints for c in one.schema.classes]
    assert [r.path.name for r in other.records] == ["1.png", "2.png"]
    a, b = one.records[0], other.records[0]
    np.testing.assert_allclose(b.boxes_xyxy, a.boxes_xyxy[:2], atol=1e-3)
    np.testing.assert_allclose(b.keypoints_xy, a.keypoints_xy[:2], atol=1e-3)
    assert b.visibility.tolist() == a.visibility[:2].tolist()
    assert main(["export-labels", str(tmp_path / "ann.json"), str(tmp_path / "yolo")]) == 2
    assert "expected a new folder" in capsys.readouterr().err


def test_no_image_is_written_over_another(tmp_path, capsys):
    """Names that several have get their ids, which may make them those of others, or differ in case only."""
    names = ["d1/a.png", "d2/a.png", "a_1.png", "A_1_1.png", "d3/A.png"]
    categories = [{"id": number, "name": f"kind_{number}"} for number in range(5)]
    write_coco(tmp_path / "ann.json", {name: [number] for number, name in enumerate(names)}, categories)
    assert main(["export-labels", str(tmp_path / "ann.json"), str(tmp_path / "yolo")]) == 0
    records = read_coco(tmp_path / "yolo" / "data.yaml").records
    assert len({record.path.stem.casefold() for record in records}) == 5 and {"a_1", "A_1_1"} <= {r.path.stem for r in records}
    assert sorted(record.class_ids.item() for record in records) == [0, 1, 2, 3, 4]
    for record in records:
        assert record.path.read_bytes() == (tmp_path / "images" / names[record.class_ids.item()]).read_bytes()


def test_what_does_not_swap_for_certain_is_not_written_as_if_it_stayed(tmp_path, capsys):
    """Points without sides in their names, on too few objects to show any: Ultralytics mirrors nothing without 'flip_idx'."""
    write_picture(tmp_path / "1.png", 1)
    image = {"id": 1, "file_name": "1.png", "width": 40, "height": 30}
    one = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 6, 20, 20], "keypoints": [6, 8, 2, 20, 22, 2], "iscrowd": 0}
    category = {"id": 1, "name": "paw", "keypoints": ["p1", "p2"]}
    (tmp_path / "ann.json").write_text(json.dumps({"images": [image], "annotations": [one], "categories": [category]}))
    assert main(["export-labels", str(tmp_path / "ann.json"), str(tmp_path / "yolo")]) == 0
    assert "what swaps in a mirror: not known, so 'flip_idx' is left out" in " ".join(capsys.readouterr().out.split())
    assert "flip_idx" not in (tmp_path / "yolo" / "data.yaml").read_text()
    assert not read_coco(tmp_path / "yolo" / "data.yaml").schema.can_flip


def test_what_yolo_cannot_say_is_said(tmp_path, capsys):
    """Skeletons, OKS sigmas and the areas of masks; the areas of boxes are no loss."""
    write_picture(tmp_path / "1.png", 1)
    image = {"id": 1, "file_name": "1.png", "width": 40, "height": 30}
    kind = {"id": 1, "name": "rod", "keypoints": ["left_end", "right_end"], "skeleton": [[1, 2]], "oks_sigmas": [0.02, 0.03]}
    one = {"image_id": 1, "category_id": 1, "bbox": [4, 6, 20, 20], "keypoints": [6, 8, 2, 20, 22, 1], "iscrowd": 0}
    objects = [one | {"id": 1, "area": 150}, one | {"id": 2, "area": 300, "bbox": [4, 6, 20, 15]}]
    (tmp_path / "ann.json").write_text(json.dumps({"images": [image], "annotations": objects, "categories": [kind]}))
    assert main(["export-labels", str(tmp_path / "ann.json"), str(tmp_path / "yolo")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "skeletons and OKS sigmas: left out, YOLO has none" in text
    assert "1 object: area left out, YOLO has that of the box alone" in text
    plain = {name: value for name, value in kind.items() if name in ("id", "name", "keypoints")}
    objects = [one | {"id": 1, "area": 400}]
    (tmp_path / "ann.json").write_text(json.dumps({"images": [image], "annotations": objects, "categories": [plain]}))
    assert main(["export-labels", str(tmp_path / "ann.json"), str(tmp_path / "plain")]) == 0
    assert "left out" not in capsys.readouterr().out


def test_import_writes_a_coco_file(tmp_path, capsys):
    config = write_yolo(tmp_path / "data")
    assert main(["import", str(config), str(tmp_path / "ann.json")]) == 0
    assert "YOLO dataset: 2 images, 1 class (rod), 1 object" in capsys.readouterr().out
    assert [r.path.name for r in check(read_coco(tmp_path / "ann.json")).records] == ["a.png", "b.png"]
    assert main(["import", str(config), str(tmp_path / "ann.json")]) == 2
    assert "replace with --overwrite" in capsys.readouterr().err
