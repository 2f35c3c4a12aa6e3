import json

import pytest

from centerkp.writing import part_path, replacing, write_json


def test_replaces_when_whole(tmp_path):
    path = tmp_path / "new" / "folder" / "model.keras"
    for text in ("one", "two"):
        with replacing(path) as part:
            assert part == part_path(path) and part.suffix == ".keras" and part.parent == path.parent
            part.write_text(text)
            assert not path.exists() or path.read_text() == "one"
    assert path.read_text() == "two" and [p.name for p in path.parent.iterdir()] == ["model.keras"]


def test_failure_leaves_what_stood_there(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})
    with pytest.raises(TypeError):
        write_json(path, {"new": [1, 2, object()]})
    assert json.loads(path.read_text()) == {"old": 1} and [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_json_is_readable_in_any_language_and_survives_half_characters(tmp_path):
    path = write_json(tmp_path / "a.json", {"Größe": "螺丝刀"})
    assert path.read_text(encoding="utf-8") == '{"Größe": "螺丝刀"}'
    broken = {"name": "\udc80 Größe"}
    assert json.loads(write_json(path, broken).read_text(encoding="ascii")) == broken
