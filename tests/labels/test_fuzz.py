"""Damaged label files of every kind: a dataset that keeps its promises, or an error that a user can act on.

`CENTERKP_FUZZ=10000 pytest tests/labels/test_fuzz.py` tries as many cases, others in every run.
"""

import copy
import json
import math
import os

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tool_files import write_cvat, write_deeplabcut, write_label_studio, write_labelme, write_via, write_via_csv, write_yolo

from centerkp.formats.gathering import LabelFault
from centerkp.labels.coco import read_coco, read_schema
from centerkp.labels.content import NotCoco
from centerkp.labels.counts import count_labels
from centerkp.schema import Schema

CASES = int(os.environ.get("CENTERKP_FUZZ", 0))
WIDTH, HEIGHT = 24, 16
CONTENT = {
    "info": {"year": 2024},
    "licenses": [],
    "images": [
        {"id": 7, "file_name": "a.png", "width": WIDTH, "height": HEIGHT},
        {"id": 9, "file_name": "sub/b ü.png", "width": WIDTH, "height": HEIGHT, "license": 1},
        {"id": 10, "file_name": "c.png", "width": 2 * WIDTH, "height": 2 * HEIGHT},
    ],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 15, "bbox": [1, 1, 9, 9.5], "area": 80.5, "iscrowd": 0, "num_keypoints": 2,
         "keypoints": [2, 2, 2, 3.5, 4, 1, 0, 0, 0], "segmentation": [[1, 1, 9, 1, 9, 9]]},
        {"id": 2, "image_id": 9, "category_id": 15, "bbox": [4, 6, 12, 8], "area": 96, "iscrowd": 0, "num_keypoints": 3,
         "keypoints": [5, 7, 2, 9, 9, 2, 6, 12, 2]},
        {"id": 3, "image_id": 9, "category_id": 3, "bbox": [0, 0, 8, 4], "area": 32, "iscrowd": 1,
         "segmentation": {"counts": [0, 5], "size": [16, 24]}},
    ],
    "categories": [
        {"id": 15, "name": "tool", "keypoints": ["tip", "left_grip", "right_grip"], "skeleton": [[1, 2], [2, 3]],
         "flip_pairs": [["left_grip", "right_grip"]], "oks_sigmas": [0.05, 0.1, 0.1], "supercategory": "hand"},
        {"id": 3, "name": "bolt"},
    ],
}  # fmt: skip
NUMBERS = [0, -1, 2, 2.5, -0.0, 1e300, 10**30, 10**400, 2**63, math.nan, math.inf, -math.inf]
TEXTS = ["", " ", "7", "7.0", "nan", "tip", "a.png", "../a.png", "C:\\x\\A.PNG", "%", "%2e%2e", "\0", "\ud800", "é" * 300, "\n"]
NESTED = [[], {}, [[]], [[1]], [None], {"a": [None]}, [[[[[[1]]]]]], [math.nan] * 9, ["x"] * 3]
JUNK = st.one_of(*map(st.sampled_from, ([None, True, False], NUMBERS, TEXTS, NESTED)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("fuzz")
    (root / "sub").mkdir()
    for name in ("a.png", "sub/b ü.png", "c.png"):
        ok, data = cv2.imencode(".png", np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
        (root / name).write_bytes(data.tobytes())
    (root / "broken.png").write_bytes(b"\x89PNG")
    return root


def pick(draw, value) -> tuple:
    """A random place inside nested JSON, as a tuple of keys: down from the top, at each step perhaps no further."""
    path = ()
    while value and isinstance(value, dict | list) and (not path or draw(st.integers(0, 3))):
        key = draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
        path, value = (*path, key), value[key]
    return path


def write(value, twice, path=()) -> str:
    """JSON in which the keys at the places `twice` stand a second time, with that value."""
    if isinstance(value, dict):
        pairs = [(key, write(child, twice, (*path, key))) for key, child in value.items()]
        pairs += [(place[-1], write(junk, {})) for place, junk in twice.items() if place[:-1] == path and place[-1] in value]
        return "{" + ",".join(f"{json.dumps(key)}:{text}" for key, text in pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(write(child, twice, (*path, i)) for i, child in enumerate(value)) + "]"
    return json.dumps(value)


@st.composite
def damaged(draw, content=CONTENT) -> str:
    """The text of a JSON, by default a COCO file, after one to five blows at random places."""
    content, twice = copy.deepcopy(content), {}
    for _ in range(draw(st.integers(1, 5))):
        place = pick(draw, content)
        if not place:
            break
        holder = content
        for step in place[:-1]:
            holder = holder[step]
        key, blow = place[-1], draw(st.sampled_from(["drop", "replace", "wrap", "repeat", "copy", "twice"]))
        if blow == "drop":
            del holder[key]
        elif blow == "replace":
            holder[key] = copy.deepcopy(draw(JUNK))
        elif blow == "wrap":
            holder[key] = draw(st.sampled_from([[holder[key]], {"x": holder[key]}, str(holder[key])]))
        elif blow == "repeat" and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        elif blow == "copy":  # what stands somewhere else
            other = content
            for step in pick(draw, content):
                other = other[step]
            holder[key] = copy.deepcopy(other)
        elif isinstance(holder, dict):
            twice[place] = draw(JUNK)
    text = write(content, twice)
    return text if draw(st.integers(0, 30)) else text[: draw(st.integers(0, len(text)))]


def check_dataset(dataset) -> None:
    """What everything after the reader relies on."""
    points = dataset.schema.num_keypoints
    "\n".join([*dataset.notes, *dataset.schema.class_names, *dataset.schema.keypoint_names]).encode()
    assert Schema.from_config(dataset.schema.get_config()) == dataset.schema
    assert len({record.image_id for record in dataset.records}) == len(dataset.records) > 0
    for r in dataset.records:
        count = len(r.class_ids)
        assert (r.boxes_xyxy.shape, r.keypoints_xy.shape, r.visibility.shape) == (
            (count, 4),
            (count, points, 2),
            (count, points),
        )
        assert (r.boxes_xyxy[:, 2:] > r.boxes_xyxy[:, :2]).all()
        assert (r.boxes_xyxy >= 0).all() and (r.boxes_xyxy <= [r.width, r.height, r.width, r.height]).all()
        assert np.isfinite(r.keypoints_xy).all() and (r.keypoints_xy[r.visibility == 0] == 0).all()
        assert (r.areas > 0).all() and r.visibility.max(initial=0) <= 2
        assert (r.class_ids >= 0).all() and (r.class_ids < dataset.schema.num_classes).all()
        assert not (r.visibility[~dataset.schema.keypoint_mask[r.class_ids]] > 0).any()
    count_labels(dataset.records, dataset.schema)


@given(text=damaged(), check_images=st.booleans(), trained=st.booleans())
@settings(
    max_examples=CASES or 400,
    derandomize=not CASES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_any_damage_gives_a_dataset_or_an_error_that_names_the_place(folder, text, check_images, trained):
    path = folder / "ann.json"
    path.write_text(text, encoding="utf-8")
    try:
        dataset = read_coco(path, check_images=check_images, schema=Schema.from_coco(CONTENT) if trained else None)
    except (ValueError, FileNotFoundError) as error:
        assert type(error) in (ValueError, NotCoco, FileNotFoundError)  # no UnicodeError, which is a ValueError too
        message = str(error)
        message.encode()
        assert message.startswith(f"{path}: ") and len(message) > len(str(path)) + 40, message
        return
    check_dataset(dataset)
    read_schema(path)


# Writers of other tools' files, with what of them is damaged, and what is given to be read.
TOOLS = {
    "labelme": (write_labelme, "a.json", "."),
    "label studio": (write_label_studio, "tasks.json", "tasks.json"),
    "via": (write_via, "via.json", "via.json"),
    "via csv": (write_via_csv, "via.csv", "via.csv"),
    "cvat": (write_cvat, "annotations.xml", "annotations.xml"),
    "yolo rows": (write_yolo, "labels/train/a.txt", "data.yaml"),
    "yolo folder": (write_yolo, "labels/train/a.txt", "labels"),
    "yolo yaml": (write_yolo, "data.yaml", "data.yaml"),
    "deeplabcut": (write_deeplabcut, "labeled-data/v/CollectedData_me.csv", "."),
    "deeplabcut yaml": (write_deeplabcut, "config.yaml", "."),
}
SCRAPS = [
    *'0 -1 2.5 1e300 nan inf , ; " < </ /> & [ ] { } : - / ../ \\ null true é'.split(),
    *" \n\t\0\ufeff'", "", "x" * 300, "9" * 400, "0 0.5 0.5 0.5 0.5\n",
]  # fmt: skip


@st.composite
def torn(draw, text: str) -> str:
    """A text after one to four blows: pieces of it are lost, repeated, moved or become something else."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.sampled_from([0, 1, 2, 5, 20, 200])))
        blow = draw(st.sampled_from(["drop", "scrap", "repeat", "move", "cut"]))
        piece, rest = text[start:end], text[:start] + text[end:]
        if blow == "scrap":
            text = text[:start] + draw(st.sampled_from(SCRAPS)) + text[end:]
        elif blow == "repeat":
            text = text[:end] + piece + text[end:]
        elif blow == "move":
            place = draw(st.integers(0, len(rest)))
            text = rest[:place] + piece + rest[place:]
        else:
            text = rest if blow == "drop" else text[: max(start, 1)]
    return text


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    """A folder for each tool, and the text that is to be damaged there."""
    found = {}
    for name, (write_files, file, _) in TOOLS.items():
        folder = tmp_path_factory.mktemp(name.replace(" ", "_"))
        write_files(folder)
        found[name] = folder, (folder / file).read_text()
    return found


@pytest.mark.parametrize("name", TOOLS)
@given(data=st.data())
@settings(
    max_examples=CASES or 25,
    derandomize=not CASES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_other_tools_files_after_any_damage(tools, name, data):
    (folder, text), (_, file, source) = tools[name], TOOLS[name]
    is_json = file.endswith(".json") and data.draw(st.booleans())
    changed = data.draw(damaged(json.loads(text)) if is_json else torn(text))
    (folder / file).write_bytes(changed.encode("utf-8", "surrogatepass"))
    try:
        dataset = read_coco(folder / source, check_images=False)
    except (ValueError, FileNotFoundError) as error:
        assert type(error) in (ValueError, NotCoco, LabelFault, FileNotFoundError)
        message = str(error)
        message.encode()
        assert message.startswith(str(folder)) and len(message) > len(str(folder)) + 40, message
        return
    check_dataset(dataset)
