import json

import cv2
import numpy as np
import pytest
from PIL import Image

from centerkp.labels import image_files
from centerkp.labels.coco import read_coco
from centerkp.labels.image_files import compare_image_sizes, image_folders, locate_images, measure_image_files

CATEGORY = {"id": 1, "name": "tool", "keypoints": ["tip"]}


def coco(*images, category=CATEGORY):
    """One object on each image, its box and its point in the frame of the JSON's 64x48."""
    entry = {"category_id": 1, "bbox": [8, 8, 16, 16], "area": 256, "iscrowd": 0, "keypoints": [20, 10, 2], "num_keypoints": 1}
    annotations = [entry | {"id": i + 1, "image_id": image["id"]} for i, image in enumerate(images)]
    return {"images": list(images), "annotations": annotations, "categories": [category]}


def image(number, name, width=64, height=48):
    return {"id": number, "file_name": name, "width": width, "height": height}


def write_image(path, width=64, height=48):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))


def write_json(folder, content):
    path = folder / "ann.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


QUIRKS = [
    ("a.png", "a.png"),
    ("./sub/a.png", "sub/a.png"),
    ("images\\one.png", "images/one.png"),
    ("images\\1/two.png", "images/1/two.png"),
    ("images\\3__data%5Cpage.png", "images/3__data%5Cpage.png"),
    ("my%20photo%20(1).png", "my photo (1).png"),
    ("C:\\Users\\me\\shots\\bird (1).png", "bird (1).png"),
    ("/home/me/set/shots/a.png", "shots/a.png"),
    ("set/shots/a.png", "shots/a.png"),
    ("photo (1).png", "deep/er/photo (1).png"),
    ("Photo.PNG", "photo.png"),
    ("SUB/Photo.PNG", "sub/photo.png"),
    ("caf\u00e9.png", "cafe\u0301.png"),
    ("cafe\u0301/1.png", "caf\u00e9/1.png"),
    (" blank before and after.png ", "blank before and after.png"),
    ("blank at the end .png", "blank at the end .png"),
    (".\\sub\\..\\a.png", "a.png"),
    ("//server/share/set/a.png", "set/a.png"),
    ("file:///home/me/my%20set/a.png", "my set/a.png"),
    ("https://host/bucket/shots/a.png?token=x%2Fy", "shots/a.png"),
    ("/data/local-files/?d=set%5Cshots%5Ca.png", "shots/a.png"),
    ("twice%2520encoded.png", "twice encoded.png"),
    ("100%.png", "100%.png"),
    ("what?.png", "what?.png"),
    ("a+b.png", "a+b.png"),
    ("IMAGES/Set/A.PNG", "set/a.png"),
    ("\u0130mage.png", "\u0130MAGE.PNG"),
]


class TestFinding:
    @pytest.mark.parametrize(("name", "on_disk"), QUIRKS)
    def test_names_as_exports_write_them(self, tmp_path, name, on_disk):
        (tmp_path / on_disk).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / on_disk).touch()
        (tmp_path / "other.png").touch()
        assert locate_images([name], [tmp_path]) == [[tmp_path / on_disk]]

    def test_the_longest_matching_path_wins_and_equals_are_all_named(self, tmp_path):
        for place in ("x/cam1/0.png", "x/cam2/0.png", "x/cam3/1.png"):
            (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / place).touch()
        found = locate_images(["set/cam2/0.png", "0.png", "9.png", "", "..", "a\0b", "n" * 5000], [tmp_path])
        assert found == [[tmp_path / "x/cam2/0.png"], [tmp_path / "x/cam1/0.png", tmp_path / "x/cam2/0.png"]] + [[]] * 5

    @pytest.mark.parametrize(
        ("name", "fits"),
        [("x/a", ["a.jpg"]), ("A.png", ["a.jpg"]), ("b", ["b.jpg", "b.png"]), ("c", []), ("a.json", [])],
    )
    def test_the_ending_may_be_missing_or_another_where_one_image_fits(self, tmp_path, name, fits):
        for file in ("a.jpg", "b.jpg", "b.png"):
            write_image(tmp_path / file)
        (tmp_path / "a.txt").touch()
        (tmp_path / "c.txt").touch()
        assert locate_images([name], [tmp_path]) == [[tmp_path / file for file in fits]]

    @pytest.mark.parametrize(
        ("form", "neighbours", "other"),
        [
            ("b/{}.jpg", "b", "a/3.jpg"),
            ("b/{}.jpg", "b", "3.jpg"),  # the part of the name without its folder
            ("/old/b/{}.jpg", "set/b", "set/a/3.jpg"),
            ("../images/{}.jpg", "images", "masks/3.jpg"),
            ("images/{}.jpg", "images", "masks/3.png"),
            ("{}.jpg", "images", "masks/3.png"),
        ],
    )
    def test_a_missing_picture_is_not_one_of_that_name_elsewhere(self, tmp_path, form, neighbours, other):
        """Nor in the folder where its neighbours are, unless only case or the ending differ."""
        for place in (*(f"{neighbours}/{n}.jpg" for n in (0, 1, 2)), other, "labels/x.txt"):
            (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / place).touch()
        names, folders = (
            [form.format(n) for n in range(4)],
            [tmp_path, tmp_path / "images", tmp_path / "labels", tmp_path / "set"],
        )
        folders = [folder for folder in folders if folder.is_dir()]
        assert [len(files) for files in locate_images(names, folders)] == [1, 1, 1, 0]
        for own in ("3.JPG", "3.png"):
            (tmp_path / neighbours / own).touch()
            assert [file.resolve() for file in locate_images(names, folders)[3]] == [tmp_path / neighbours / own]
            (tmp_path / neighbours / own).unlink()

    def test_names_whose_folders_are_not_there_are_found_in_any(self, tmp_path):
        for place in ("0.jpg", "x/1.jpg"):
            (tmp_path / place).parent.mkdir(exist_ok=True)
            (tmp_path / place).touch()
        for form in ("/old/place/{}.jpg", "{}.jpg"):
            found = locate_images([form.format(n) for n in (0, 1)], [tmp_path])
            assert found == [[tmp_path / "0.jpg"], [tmp_path / "x/1.jpg"]]

    def test_case_does_not_hide_the_right_folder(self, tmp_path):
        for place in ("cam1/0.png", "cam2/0.png"):
            (tmp_path / place).parent.mkdir()
            (tmp_path / place).touch()
        assert locate_images(["CAM2/0.PNG"], [tmp_path, tmp_path / "cam2"]) == [[tmp_path / "cam2/0.png"]]

    def test_a_link_to_the_images_is_followed(self, tmp_path):
        write_image(tmp_path / "disk" / "deep" / "a.png")
        (tmp_path / "set").mkdir()
        (tmp_path / "set" / "images").symlink_to(tmp_path / "disk", target_is_directory=True)
        dataset = read_coco(write_json(tmp_path / "set", coco(image(1, "a.png"))))
        assert dataset.records[0].path == tmp_path / "set" / "images" / "deep" / "a.png"

    def test_linked_folders_below_are_searched_to_an_end(self, tmp_path):
        write_image(tmp_path / "disk" / "deep" / "a.png")
        (tmp_path / "set" / "day1").mkdir(parents=True)
        (tmp_path / "set" / "day2").symlink_to(tmp_path / "disk", target_is_directory=True)
        (tmp_path / "disk" / "up").symlink_to(tmp_path / "set", target_is_directory=True)
        assert locate_images(["A.png"], [tmp_path / "set"]) == [[tmp_path / "set" / "day2" / "deep" / "a.png"]]

    def test_hidden_folders_are_not_searched(self, tmp_path):
        (tmp_path / ".trash").mkdir()
        (tmp_path / ".trash" / "a.png").touch()
        assert locate_images(["a.png"], [tmp_path]) == [[]]

    @pytest.mark.parametrize("place", ["set/labels", "set/labels/images", "set/images"])
    def test_looks_beside_the_json(self, tmp_path, place):
        write_image(tmp_path / place / "a.png")
        (tmp_path / "set/labels").mkdir(exist_ok=True)
        dataset = read_coco(write_json(tmp_path / "set/labels", coco(image(1, "a.png"))))
        assert dataset.records[0].path.samefile(tmp_path / place / "a.png")

    def test_a_json_inside_the_images_folder_does_not_see_it_twice(self, tmp_path, monkeypatch):
        write_image(tmp_path / "images" / "deep" / "a.png")
        write_json(tmp_path / "images", coco(image(1, "a.png")))
        monkeypatch.chdir(tmp_path)
        assert len(read_coco("images/ann.json").records) == 1

    def test_images_dir_is_the_only_place_when_given(self, tmp_path):
        write_image(tmp_path / "a.png")
        path = write_json(tmp_path, coco(image(1, "a.png")))
        (tmp_path / "empty").mkdir()
        assert image_folders(path, tmp_path / "empty") == [tmp_path / "empty"]
        with pytest.raises(ValueError, match=r"missing images \(1\)"):
            read_coco(path, images_dir=tmp_path / "empty")
        with pytest.raises(FileNotFoundError, match="no such folder"):
            read_coco(path, images_dir=tmp_path / "nowhere")

    def test_several_fitting_files_are_a_fault_that_lists_them(self, tmp_path):
        for place in ("p/a.png", "q/a.png"):
            write_image(tmp_path / place)
        with pytest.raises(ValueError) as caught:
            read_coco(write_json(tmp_path, coco(image(1, "a.png"))))
        message = str(caught.value)
        assert "several files fit" in message and str(tmp_path / "p/a.png") in message and str(tmp_path / "q/a.png") in message

    def test_two_names_that_lead_to_one_file_are_a_fault(self, tmp_path):
        write_image(tmp_path / "0.png")
        with pytest.raises(ValueError, match=r"share one file under different names \(2\)"):
            read_coco(write_json(tmp_path, coco(image(1, "cam1/0.png"), image(2, "cam2/0.png"))))

    def test_one_name_under_two_ids_is_noted(self, tmp_path):
        write_image(tmp_path / "0.png")
        dataset = read_coco(write_json(tmp_path, coco(image(1, "0.png"), image(2, "./0.png"))))
        assert dataset.notes == ("2 images: listed with a file that another image id has too; merge the two",)

    def test_files_found_elsewhere_are_noted(self, tmp_path):
        write_image(tmp_path / "a.png")
        dataset = read_coco(write_json(tmp_path, coco(image(1, "D:\\x\\a.png"))))
        assert dataset.notes == (
            f"1 image: found under another path than 'file_name' says: D:\\x\\a.png -> {tmp_path / 'a.png'}",
        )


class TestFrames:
    def test_a_resized_image_scales_its_annotations(self, tmp_path):
        write_image(tmp_path / "a.png", 32, 24)
        record = (dataset := read_coco(write_json(tmp_path, coco(image(1, "a.png"))))).records[0]
        assert (record.width, record.height) == (32, 24)
        np.testing.assert_array_equal(record.boxes_xyxy, [[4, 4, 12, 12]])
        np.testing.assert_array_equal(record.keypoints_xy, [[[10, 5]]])
        assert record.areas.tolist() == [64]
        assert dataset.notes == ("1 image: smaller or larger than the labels say, annotations scaled to the file",)

    def test_missing_sizes_come_from_the_file(self, tmp_path):
        write_image(tmp_path / "a.png")
        path = write_json(tmp_path, coco({"id": 1, "file_name": "a.png", "width": 0}))
        for check in (True, False):
            dataset = read_coco(path, check_images=check)
            assert (dataset.records[0].width, dataset.records[0].height) == (64, 48)
            assert dataset.notes == ("1 image: no width and height given, taken from the file",)

    def test_labels_on_stored_pixels_of_a_turned_photo_are_left_out(self, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6  # the stored 64x48 is shown as 48x64
        for name in ("stored.jpg", "upright.jpg"):
            Image.new("RGB", (64, 48)).save(tmp_path / name, exif=exif)
        dataset = read_coco(write_json(tmp_path, coco(image(1, "stored.jpg"), image(2, "upright.jpg", 48, 64))))
        assert [(r.file_name, r.width, r.height) for r in dataset.records] == [("upright.jpg", 48, 64)]
        (note,) = dataset.notes
        assert note.startswith("1 image: left out with 1 annotation, width and height exchanged")
        assert note.endswith("stored.jpg (64x48 in the labels, 48x64 on disk)")

    def test_another_shape_is_left_out_by_name(self, tmp_path):
        write_image(tmp_path / "a.png")
        write_image(tmp_path / "b.png", 64, 40)
        dataset = read_coco(write_json(tmp_path, coco(image(1, "a.png"), image(2, "b.png"))))
        assert [r.file_name for r in dataset.records] == ["a.png"]
        assert "b.png (64x48 in the labels, 64x40 on disk)" in dataset.notes[0]

    def test_unreadable_images_are_left_out_and_named(self, tmp_path):
        write_image(tmp_path / "a.png")
        (tmp_path / "b.png").write_bytes(b"")
        (tmp_path / "c.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
        path = write_json(tmp_path, coco(image(1, "a.png"), image(2, "b.png"), image(3, "c.png")))
        dataset = read_coco(path)
        assert [r.image_id for r in dataset.records] == [1]
        (note,) = dataset.notes
        assert note.startswith("2 images: left out with 2 annotations, unreadable") and note.endswith("b.png, c.png")

    def test_no_image_left_is_an_error_with_the_reasons(self, tmp_path):
        (tmp_path / "a.png").write_bytes(b"no image")
        with pytest.raises(ValueError, match=r"found no usable image(.|\n)*1 image: left out(.|\n)*a.png"):
            read_coco(write_json(tmp_path, coco(image(1, "a.png"))))

    def test_a_progress_bar_stands_on_a_terminal_only(self, tmp_path, monkeypatch, capsys):
        write_image(tmp_path / "a.png")
        monkeypatch.setattr(image_files, "BAR_FROM", 0)
        assert measure_image_files([tmp_path / "a.png"], decode=True) == ([(64, 48)], [])
        assert capsys.readouterr().err == ""
        monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
        assert measure_image_files([tmp_path / "a.png"] * 3, decode=False) == ([(64, 48)] * 3, [])
        assert "Reading images" in capsys.readouterr().err


def test_sizes_are_compared_by_hand():
    written = np.array([[64, 48], [0, 0], [48, 64], [32, 24], [64, 64], [0, 0]], float)
    upright = np.array([[64, 48]] * 5 + [[0, 0]], float)
    kinds, scales = compare_image_sizes(written, upright)
    assert kinds.tolist() == ["right", "unknown", "swapped", "resized", "reshaped", "right"]
    assert scales.tolist() == [[1, 1]] * 3 + [[2, 2]] + [[1, 1]] * 2
