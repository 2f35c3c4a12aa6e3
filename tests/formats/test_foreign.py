"""Files that are no COCO dataset: each is told what it seems to be."""

import json

import pytest

from centerkp.labels.content import NotCoco, load_json, require_coco

CONTENT = {
    "images": [{"id": 1, "file_name": "ä.png", "width": 64, "height": 48}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [8, 8, 16, 16]}],
    "categories": [{"id": 1, "name": "tool"}],
}
FOREIGN = [
    (b"", "an empty file"),
    (b" \n ", "an empty file"),
    (b"\xef\xbb\xbf", "an empty file"),
    (b'<?xml version="1.0"?><annotations/>', "XML, as CVAT"),
    (b"<!DOCTYPE html><html></html>", "a web page"),
    (b"0 0.5 0.5 0.1 0.2 0.4 0.4 2\n1 0.1 0.1 0.1 0.1 0.2 0.2 1\n", "a YOLO label file"),
    (b"\x08" + b"\0" * 7 + b"abcd" + b"x" * 8 + b"abcd", "a TFRecord"),
    (b"PK\x03\x04....", "a zip archive"),
    (b"\xff\xd8\xff\xe0....", "an image"),
    (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    (b'{"images": [', "JSON that is cut off"),
    (b'{"images": [{"file_name": "a.pn', "JSON that is cut off"),
    (b"[" * 100_000, "JSON that is cut off or nested too deeply"),
    (b'{"data": {"id": "a"}}\n{"data": {"id": "b"}}\n', "JSON lines, one object in each line"),
    (b"\n[1, 2]\r\n\r\n[3, 4]\r\n", "JSON lines, one object in each line"),
    (b'{"images": [],\n "annotations": [],\n}', "JSON with a comma behind the last entry (line"),
    (b'{"images": [1, 2,], "annotations": []}', "JSON with a comma behind the last entry (line 1)"),
    (b'// my labels\n{"images": []}', "JSON with a comment (line 1)"),
    (b'\xef\xbb\xbf# my labels\n{"images": []}', "JSON with a comment (line 1)"),
    (b'/* my\nlabels */ // all\n{"images": []}', "JSON with a comment (line 1)"),
    (b"# settings\ntrain: [images\n", "no JSON at all"),
    (b'#filename;file_size\n0.png;1;"{}"\n', "no JSON at all"),
    (b'{"images": [],\n  /* later */ "annotations": []}', "JSON with a comment (line 2)"),
    (b"{'images': [], 'annotations': []}", "a printed Python object (line 1)"),
    (b'[{"iscrowd": False}]', "a printed Python object (line 1)"),
    (b'{"images": [1 2]}', "JSON with a mistake (Expecting ',' delimiter"),
    (b"hello", "no JSON at all"),
    (b"5", "nothing but one int"),
    (b"[]", "a JSON list of 0 entries"),
    (b'[{"image_id": 1, "category_id": 1, "score": 0.5, "keypoints": []}]', "a COCO results file"),
    (b'[{"id": 1, "image_id": 1, "category_id": 1, "bbox": []}]', "the 'annotations' list of a COCO dataset alone"),
    (b'[{"id": 1, "annotations": [{"result": []}], "data": {}}]', "a Label Studio task list"),
    (b'[{"id": 1, "predictions": [{"result": []}]}]', "a Label Studio task list"),
    (b'{"shapes": [], "imagePath": "a.jpg", "version": "5"}', "a labelme file"),
    (b'{"_via_img_metadata": {}, "_via_settings": {}}', "VGG Image Annotator"),
    (b'{"a.jpg123": {"filename": "a.jpg", "regions": []}}', "VGG Image Annotator"),
    (b'{"images": [], "annotations": {}}', "without the list 'annotations' and 'categories'"),
]


def read(path):
    return require_coco(path, load_json(path))


class TestJson:
    @pytest.mark.parametrize(("data", "found"), FOREIGN)
    def test_says_what_the_file_seems_to_be(self, tmp_path, data, found):
        path = tmp_path / "ann.json"
        path.write_bytes(data)
        with pytest.raises(NotCoco) as caught:
            read(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: found what seems to be ") and found in message
        assert "expected a COCO dataset" in message
        assert message == f"{path}: {caught.value.found}; {caught.value.remedy}." and ";" not in caught.value.remedy

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    def test_reads_json_with_and_without_a_byte_order_mark(self, tmp_path, encoding):
        path = tmp_path / "ann.json"
        path.write_text(json.dumps(CONTENT, ensure_ascii=False), encoding=encoding)
        assert read(path)["images"][0]["file_name"] == "ä.png"

    def test_no_such_file_and_a_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="no such file"):
            read(tmp_path / "none.json")
        (tmp_path / "ann.json").write_text("{}")
        with pytest.raises(ValueError, match=r"a folder with the JSON files \['ann.json'\]"):
            read(tmp_path)


class TestRepeatedKeys:
    def test_a_key_that_stands_twice_is_not_read_half(self, tmp_path):
        text = json.dumps(CONTENT)
        (tmp_path / "ann.json").write_text(text[:-1] + ', "annotations": []}')
        with pytest.raises(ValueError, match=r"ann.json: found the key 'annotations' twice .* join the two"):
            read(tmp_path / "ann.json")
        (tmp_path / "ann.json").write_text(text.replace('"category_id": 1', '"category_id": 1, "category_id": 2'))
        with pytest.raises(ValueError, match="'category_id' twice with different values in the object with id 1"):
            read(tmp_path / "ann.json")

    def test_the_same_twice_is_no_harm(self, tmp_path):
        text = json.dumps(CONTENT).replace('"category_id": 1', '"category_id": 1, "category_id": 1')
        (tmp_path / "ann.json").write_text(text)
        assert read(tmp_path / "ann.json")["annotations"][0]["category_id"] == 1


def test_another_encoding_is_named(tmp_path):
    path = tmp_path / "ann.json"
    path.write_bytes(json.dumps(CONTENT, ensure_ascii=False).encode("cp1252"))
    with pytest.raises(ValueError, match="another encoding than UTF-8.*save it as UTF-8"):
        read(path)
