"""`centerkp sigmas` as it is typed."""

import json

from coco_files import annotation, write_coco

from centerkp.cli import main
from centerkp.labels.coco import read_coco


def test_sigmas(tmp_path, capsys):
    files = []
    for name, y in (("a", 10), ("b", 14)):
        categories = [{"id": 1, "name": "bee", "keypoints": ["head", "sting"]}]
        file = write_coco(tmp_path / f"{name}.json", {"x.png": [1]}, categories)
        content = json.loads(file.read_text())
        content["annotations"] = [annotation(1, 1, keypoints=[10, y, 2, 0, 0, 0], area=400)]
        file.write_text(json.dumps(content))
        files.append(str(file))
    out = tmp_path / "out.json"
    assert main(["sigmas", *files]) == 0 and not out.exists()
    capsys.readouterr()
    assert main(["sigmas", *files, "--out", str(out)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    # 4 pixels apart on an area of 400: sqrt(16 / 400 / 2) = 0.1414, its error 0.1414 / 2.
    assert ["bee/head", "0.1414", "0.0707", "1", "0.0500"] in lines
    assert ["bee/sting", "-", "0", "0.0500"] in lines
    assert read_coco(out).schema.classes[0].oks_sigmas == (0.141, 0.05)
