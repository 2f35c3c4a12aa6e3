"""Groups: one is one object, whichever tool says so, and never that of another group."""

import pytest
from tool_files import CVAT, labelme_shape, studio_region, write_cvat, write_label_studio, write_labelme, write_via

from centerkp.labels.coco import read_coco


def labelme(folder, shapes):
    kinds = {1: "point", 2: "rectangle"}
    return write_labelme(folder, shapes=[labelme_shape(label, xy, kinds[len(xy)], group) for label, xy, group in shapes])


def cvat(folder, shapes):
    elements = ""
    for label, xy, group in shapes:
        flat = [number for pair in xy for number in pair]
        mark = "" if group is None else f' group_id="{group}"'
        if len(xy) == 1:
            elements += f'<points label="{label}" points="{flat[0]},{flat[1]}"{mark}></points>'
        else:
            corners = " ".join(f'{key}="{n}"' for key, n in zip(("xtl", "ytl", "xbr", "ybr"), flat, strict=True))
            elements += f'<box label="{label}" {corners}{mark}></box>'
    return write_cvat(folder, CVAT[: CVAT.index("<box")] + elements + "</image></annotations>")


def via(folder, shapes):
    regions = []
    for label, ((x, y), *far), group in shapes:
        shape = {"name": "point", "cx": x, "cy": y}
        if far:
            shape = {"name": "rect", "x": x, "y": y, "width": far[0][0] - x, "height": far[0][1] - y}
        regions.append((shape, {"class": label} if group is None else {"class": label, "id": str(group)}))
    return write_via(folder, regions)


SMALL, BIG, OTHER = [(4, 6), (24, 26)], [(2, 2), (36, 28)], [(30, 1), (39, 9)]
TIP, END = ("tip", [(6, 8)]), ("end", [(20, 22)])
FAR, OUT = ("end", [(34, 24)]), ("end", [(38, 29)])
NO_OUTLINE = "no outline in its group, given to the smallest around the whole group"
JOINED = "joined with another of its label and group"
CASES = {
    "another group's outline takes none": (
        [("rod", SMALL, 1), (*TIP, 3), (*END, 3)],
        [("rod", [4, 6, 24, 26], ""), ("object", [0, 0, 30, 32], "tip end")], "only keypoints and no class",
    ),
    "an outline without a group takes a whole one": (
        [("rod", SMALL, None), (*TIP, 3), (*END, 3)], [("rod", [4, 6, 24, 26], "tip end")], f"2 keypoints: {NO_OUTLINE}",
    ),
    "not the smaller one that holds a part": (
        [("nut", SMALL, None), ("rod", BIG, None), (*TIP, 3), (*FAR, 3)],
        [("nut", [4, 6, 24, 26], ""), ("rod", [2, 2, 36, 28], "tip end")], f"2 keypoints: {NO_OUTLINE}",
    ),
    "and only one": (
        [("rod", BIG, None), (*TIP, 3), (*END, 4), (*FAR, 3)],
        [("rod", [2, 2, 36, 28], "tip end"), ("object", [10, 12, 30, 32], "end")], f"2 keypoints: {NO_OUTLINE}",
    ),
    "an object seen in two parts": (
        [("rod", SMALL, 1), (*TIP, 1), ("rod", OTHER, 1), (*FAR, 1)],
        [("rod", [4, 1, 39, 26], "tip end")], f"1 outline: {JOINED}",
    ),
    "in three": (
        [("rod", SMALL, 1), ("rod", OTHER, 1), ("rod", BIG, 1)], [("rod", [2, 1, 39, 28], "")], f"2 outlines: {JOINED}",
    ),
    "two objects": ([("rod", SMALL, 1), ("rod", OTHER, 2)], [("rod", [4, 6, 24, 26], ""), ("rod", [30, 1, 39, 9], "")], None),
    "two without groups": (
        [("rod", SMALL, None), ("rod", OTHER, None)], [("rod", [4, 6, 24, 26], ""), ("rod", [30, 1, 39, 9], "")], None,
    ),
    "two labels in a group keep its points": (
        [("rod", SMALL, 1), ("nut", OTHER, 1), (*OUT, 1)],
        [("rod", [4, 6, 24, 26], "end"), ("nut", [30, 1, 39, 9], "")], None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("write", [labelme, cvat, via])
@pytest.mark.parametrize("case", CASES)
def test_a_group_is_one_object(tmp_path, write, case):
    shapes, objects, note = CASES[case]
    dataset = read_coco(write(tmp_path, shapes))
    assert sorted(objects_of(dataset)) == sorted(cut(objects))
    if note is None:
        assert not any(text in told for told in dataset.notes for text in (NO_OUTLINE, JOINED, "no class"))
    else:
        assert any(note in told for told in dataset.notes), dataset.notes


def objects_of(dataset):
    """Class, box and labelled keypoints of each object of the one image."""
    (record,) = dataset.records
    kinds = [dataset.schema.classes[number] for number in record.class_ids]
    names = [name for kind in dataset.schema.classes for name in kind.keypoints]
    seen = [{name for name, mark in zip(names, row, strict=True) if mark} for row in record.visibility]
    return [(kind.name, box.tolist(), points) for kind, box, points in zip(kinds, record.boxes_xyxy, seen, strict=True)]


def cut(objects):
    return [(name, [min(n, limit) for n, limit in zip(box, (40, 30, 40, 30), strict=True)], {*points.split()})
            for name, box, points in objects]  # fmt: skip


def test_a_skeleton_has_all_the_boxes_of_its_group(tmp_path):
    more = '<box label="rod" xtl="24" ytl="6" xbr="30" ybr="28" group_id="7"></box><box label="nut" '
    dataset = read_coco(write_cvat(tmp_path, CVAT.replace('<box label="nut" ', more)))
    assert dataset.records[0].boxes_xyxy.tolist() == [[4, 6, 30, 28], [30, 2, 36, 9], [1, 1, 3, 3]]
    assert f"1 outline: {JOINED}" in dataset.notes


def test_ids_that_are_all_different_are_no_groups(tmp_path):
    shapes = [("rod", SMALL, 1), (*TIP, 2), (*END, 3)]
    assert objects_of(read_coco(via(tmp_path, shapes))) == [("rod", [4, 6, 24, 26], {"tip", "end"})]


@pytest.mark.parametrize(
    "ties, owner",
    [(["TR", "TE"], "rod"), (["TE", "ET", "RE"], "rod"), (["TE", "EP"], "rod"), (["TE"], "nut"), (["TN", "EN"], "nut"),
     (["TM", "EM"], "nut")],
)  # fmt: skip
def test_points_of_label_studio_that_are_tied_stay_together(tmp_path, ties, owner):
    """Both lie in the nut, and the rod is larger; P is a point below the rod, and M is a mask."""
    rod, nut = ({"x": x, "y": y, "width": side, "height": side, "rectanglelabels": [name]} for x, y, side, name in
                ((5, 5, 90, "rod"), (10, 20, 60, "nut")))  # fmt: skip
    places = {"T": (15, 30, "tip"), "E": (50, 70, "end"), "P": (80, 80, "leg")}
    regions = [studio_region("R", "rectanglelabels", rod), studio_region("N", "rectanglelabels", nut)]
    regions.append(studio_region("M", "brushlabels", {"rle": [1], "brushlabels": ["x"]}))
    for key, (x, y, name) in places.items():
        more = {"parentID": "R"} if key == "P" else {}
        regions.append(studio_region(key, "keypointlabels", {"x": x, "y": y, "width": 1, "keypointlabels": [name]}, **more))
    regions += [{"type": "relation", "from_id": one, "to_id": other} for one, other in ties]
    found = {name: points for name, _, points in objects_of(read_coco(write_label_studio(tmp_path, regions)))}
    assert found == {"rod": {"leg"}, "nut": set()} | {owner: {"tip", "end"} | ({"leg"} if owner == "rod" else set())}
