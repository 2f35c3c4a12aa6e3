"""The label map's text form, and the way of a schema through it."""

import pytest

from centerkp.cli import main
from centerkp.formats.label_map import format_label_map, read_label_map, write_label_map
from centerkp.formats.text_format import quote_text, read_text_format
from centerkp.schema import ObjectClass, Schema

CAT = ObjectClass("cat", 15, ("nose", "left_ear", "right_ear"))
BOX = ObjectClass('box "A"\\B', 3)
DOG = ObjectClass("Hünd", 20, ("nose",))


def test_text_format(tmp_path):
    text = "a: 1 b { c: 'x' d: [1, 2.5] d: 3 } b <> e: true f: 'it\\'s' '\\n' # g: 4\n"
    (tmp_path / "x").write_text(text)
    expected = {"a": ["1"], "b": [{"c": ["x"], "d": ["1", "2.5", "3"]}, {}], "e": ["true"], "f": ["it's\n"]}
    assert read_text_format(tmp_path / "x") == expected


def test_letters_written_as_bytes(tmp_path):
    """As the protocol buffers' own printer writes what is not ASCII."""
    (tmp_path / "x").write_text(r"a: 'H\303\274nd' b: '\x41\7\q' c: '\\n\9'")
    assert read_text_format(tmp_path / "x") == {"a": ["Hünd"], "b": ["A\x07q"], "c": ["\\n9"]}


@pytest.mark.parametrize("text", ["", "plain", "quo\"te's", "back\\slash\\n", "two\nlines\r", "ünïcödé 木", "\\"])
def test_strings_come_back(tmp_path, text):
    (tmp_path / "x").write_text(f"a: {quote_text(text)}", encoding="utf-8")
    assert read_text_format(tmp_path / "x") == {"a": [text]}


def test_by_hand():
    """Keypoint ids are places on the flat axis, so that the Object Detection API finds them in the records written here."""
    assert format_label_map(Schema((ObjectClass("nut", 1), ObjectClass("cat", 2, ("nose", "tail"))))) == (
        'item {\n  id: 1\n  name: "nut"\n}\n'
        'item {\n  id: 2\n  name: "cat"\n'
        '  keypoints {\n    id: 0\n    label: "nose"\n  }\n  keypoints {\n    id: 1\n    label: "tail"\n  }\n}\n'
    )


def test_classes_and_keypoints_come_back(tmp_path):
    schema = Schema((BOX, CAT, DOG))
    write_label_map(tmp_path / "deep" / "map.pbtxt", schema)
    categories = read_label_map(tmp_path / "deep" / "map.pbtxt")
    assert [category["keypoint_ids"] for category in categories] == [[], [0, 1, 2], [3]]
    back = Schema.from_coco({"categories": categories})
    facts = [[(k.name, k.category_id, k.keypoints) for k in s.classes] for s in (schema, back)]
    assert facts[0] == facts[1]


def test_ids_below_one_are_numbered_anew():
    text = format_label_map(Schema((ObjectClass("none", 0), ObjectClass("nut", 7))))
    assert "id: 1\n" in text and "id: 2\n" in text and "id: 7" not in text


def test_a_map_without_keypoint_ids_and_with_other_names(tmp_path):
    text = "item { name: '/m/01yrx' id: 4 display_name: 'cat' keypoints { label: 'nose' } keypoints { id: 9 label: 'tail' } }"
    (tmp_path / "x").write_text(text)
    assert read_label_map(tmp_path / "x") == [
        {"id": 4, "name": "cat", "label": "/m/01yrx", "keypoints": ["nose", "tail"], "keypoint_ids": [None, 9]}
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "found no item"),
        ("item { id: 0 name: 'x' }", "an id from 1 on"),
        ("item { id: 1 }", "an id from 1 on and a name"),
        ("item { id: 1 name: ", "ends early"),
        ("item { id: 1 name: } }", "line 1"),
        ("item: 3", "found an item '3'"),
        ("item { id {} name: 'x' }", "an item with id ''"),
        ("item { id: [] name: 'x' }", "an item with id ''"),
        ("item { id: 00 name: 'x' }", "an id from 1 on"),
        ("item { id: ² name: 'x' }", "an id from 1 on"),
        ("item { id: 1 name { a: 1 } }", "an id from 1 on and a name"),
        ("item { id: 1 name: 'x' keypoints { id {} label: 'y' } } item { id: 2 }", "an id from 1 on and a name"),
        ("item {" * 5000, "brackets within brackets"),
        ("item: " + "[" * 5000, "brackets within brackets"),
    ],
)
def test_faulty_maps_are_refused(tmp_path, text, words):
    (tmp_path / "map.pbtxt").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="map.pbtxt") as error:
        read_label_map(tmp_path / "map.pbtxt")
    assert words in str(error.value)
    with pytest.raises(FileNotFoundError, match="none.pbtxt"):
        read_label_map(tmp_path / "none.pbtxt")


def test_command(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    categories = '[{"id": 0, "name": "cat", "keypoints": ["nose", "tail"], "skeleton": [[1, 2]]}]'
    (tmp_path / "ann.json").write_text(f'{{"images": [{{}}], "annotations": [], "categories": {categories}}}')
    assert main(["label-map", "ann.json"]) == 0
    text = capsys.readouterr().out
    assert "label_map.pbtxt: 1 class, 2 keypoints" in text and "--label-map ann.json" in text and "numbered from 1" in text
    assert max(map(len, text.splitlines())) <= 80
    assert read_label_map("label_map.pbtxt")[0]["keypoints"] == ["nose", "tail"]
    assert main(["label-map", "ann.json"]) == 0  # the same again is no harm
    (tmp_path / "label_map.pbtxt").write_text("item {}")
    assert main(["label-map", "ann.json"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main(["label-map", "ann.json", "--overwrite"]) == 0
    assert main(["label-map", "none.json"]) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ann.json", "label_map.pbtxt"]
