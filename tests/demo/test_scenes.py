import json

import cv2
import numpy as np
import pytest

from centerkp import geometry
from centerkp.demo.scenes import FINE, _annotate_tool, _Placed, draw_scene, write_demo
from centerkp.demo.shapes import (
    SKETCHES,
    Sketch,
    mirrored,
    paint,
    render_silhouette,
    sketch_nut,
    sketch_pliers,
    sketch_screwdriver,
)
from centerkp.schema import Schema

SIZE = (160, 120)
COUNTS = {"num_train": 24, "num_val": 4, "num_test": 2}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_demo(tmp_path_factory.mktemp("bench") / "demo", **COUNTS, size=SIZE, seed=3)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def sides(points_xy):
    """The sign of each point's side of the pivot-to-jaws axis, in the order of the names: negative is left."""
    pivot, jaws = points_xy[2], points_xy[3:].mean(0)
    ahead, toward = jaws - pivot, points_xy[[0, 1, 3, 4]] - pivot
    return np.sign(ahead[0] * toward[:, 1] - ahead[1] * toward[:, 0]).tolist()


def place(sketch, length, degrees, center):
    affine = geometry.compose(geometry.scaling(length, length), geometry.rotation(degrees), geometry.translation(*center))
    fine = geometry.compose(affine, geometry.scaling(FINE, FINE), geometry.translation(0.5, 0.5))
    return affine, fine


def test_pycocotools_reads_it(files):
    from pycocotools.coco import COCO

    coco = COCO(str(files.train_json))
    assert len(coco.getImgIds()) == 24
    assert {c["name"]: len(c.get("keypoints", ())) for c in coco.loadCats(coco.getCatIds())} == {
        "pliers": 5,
        "screwdriver": 3,
        "nut": 0,
    }
    assert all(coco.getAnnIds(catIds=[category]) for category in (1, 2, 3))
    assert set(read(files.train_json)) == {"info", "licenses", "images", "categories", "annotations"}
    assert len(read(files.val_json)["images"]) == 4
    assert len(read(files.test_json)["images"]) == 2


def test_schema_reads_flip_pairs_from_the_names(files):
    schema = Schema.from_coco(files.train_json)
    pliers = schema.classes[0]
    assert schema.num_keypoints == 8
    assert (pliers.flip_pairs, pliers.flip_source) == (((0, 1), (3, 4)), "names")
    assert pliers.skeleton == ((0, 2), (1, 2), (2, 3), (2, 4))
    assert schema.can_flip


def test_images_lie_where_the_json_says(files):
    for path in (files.train_json, files.val_json, files.test_json):
        for image in read(path)["images"]:
            pixels = cv2.imread(str(path.parent / image["file_name"]))
            assert pixels.shape == (image["height"], image["width"], 3) == (120, 160, 3)
    assert len(list(files.images_dir.glob("*.jpg"))) == 30


def test_annotations_agree_with_themselves(files):
    content = read(files.train_json)
    lengths = {c["id"]: 3 * len(c.get("keypoints", ())) for c in content["categories"]}
    annotations = content["annotations"]
    assert [a["id"] for a in annotations] == list(range(1, len(annotations) + 1))
    for a in annotations:
        x, y, w, h = a["bbox"]
        assert 0 <= x < x + w <= 160 and 0 <= y < y + h <= 120
        assert 0 < a["area"] <= w * h
        points = np.array(a.get("keypoints", [])).reshape(-1, 3)
        assert points.size == lengths[a["category_id"]]
        for px, py, v in points:
            # A keypoint is a place on the object, so it also lies in the box.
            assert (v == 0 and px == py == 0) or (x - 1 <= px <= x + w + 1 and y - 1 <= py <= y + h + 1)
            assert 0 <= px <= 159 and 0 <= py <= 119
        assert a.get("num_keypoints", 0) == (points[:, 2] > 0).sum()


def test_empty_full_hidden_and_cut_off_scenes_occur(files):
    content = read(files.train_json)
    counts = [sum(a["image_id"] == image["id"] for a in content["annotations"]) for image in content["images"]]
    assert counts[20] == 0 and counts.count(0) == 1
    assert 4 <= max(counts) <= 6
    seen = [v for a in content["annotations"] for v in a.get("keypoints", [])[2::3]]
    assert {0, 1, 2} == set(seen)
    assert seen.count(2) > 0.5 * len(seen)


def test_same_arguments_give_same_bytes(files, tmp_path):
    again = write_demo(tmp_path / "demo", **COUNTS, size=SIZE, seed=3)
    for path in (files.train_json, files.val_json, files.test_json, *sorted(files.images_dir.iterdir())):
        assert path.read_bytes() == (again.train_json.parent / path.relative_to(files.train_json.parent)).read_bytes()
    other = write_demo(tmp_path / "other", 2, 0, 0, size=SIZE, seed=4)
    first = "train_0001.jpg"
    assert (other.images_dir / first).read_bytes() != (files.images_dir / first).read_bytes()


def test_longer_dataset_starts_with_the_same_images(files, tmp_path):
    short = write_demo(tmp_path / "demo", 2, 0, 0, size=SIZE, seed=3)
    assert (short.images_dir / "train_0002.jpg").read_bytes() == (files.images_dir / "train_0002.jpg").read_bytes()


def test_second_run_keeps_the_files_and_other_arguments_replace_them(tmp_path):
    folder = tmp_path / "demo"
    first = write_demo(folder, 3, 1, 1, size=SIZE)
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    assert write_demo(folder, 3, 1, 1, size=SIZE) == first
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before
    write_demo(folder, 2, 1, 1, size=SIZE)
    assert len(list(first.images_dir.iterdir())) == 4
    assert [p.name for p in tmp_path.iterdir()] == ["demo"]


def test_lost_image_is_drawn_again(tmp_path):
    files = write_demo(tmp_path / "demo", 2, 0, 0, size=SIZE)
    lost = files.images_dir / "train_0001.jpg"
    lost.unlink()
    write_demo(tmp_path / "demo", 2, 0, 0, size=SIZE)
    assert lost.is_file()


@pytest.mark.parametrize("name", ["train.json", "holiday.jpg"])
def test_foreign_folder_stays_untouched(tmp_path, name):
    (tmp_path / name).write_text("{}")
    with pytest.raises(ValueError, match="no part of a demonstration dataset"):
        write_demo(tmp_path, 1, 0, 0, size=SIZE)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [(name, "{}")]


def test_folder_with_something_beside_the_dataset_is_not_replaced(tmp_path):
    write_demo(tmp_path / "demo", 1, 0, 0, size=SIZE)
    (tmp_path / "demo" / "notes.txt").write_text("mine")
    write_demo(tmp_path / "demo", 1, 0, 0, size=SIZE)
    with pytest.raises(ValueError, match="move them away"):
        write_demo(tmp_path / "demo", 2, 0, 0, size=SIZE)
    assert (tmp_path / "demo" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("wrong", [{"num_val": -1}, {"seed": -1}, {"size": (320, 20)}])
def test_numbers_out_of_range_are_named(tmp_path, wrong):
    with pytest.raises(ValueError, match=str(list(wrong)[0]).removeprefix("num_")):
        write_demo(tmp_path / "demo", **wrong)
    assert not (tmp_path / "demo").exists()


def test_left_is_left_of_the_axis_also_in_the_mirror(files):
    schema = Schema.from_coco(files.train_json)
    order = schema.flip_permutation[:5]
    checked = 0
    for path in (files.train_json, files.val_json, files.test_json):
        for a in read(path)["annotations"]:
            points = np.array(a.get("keypoints", [])).reshape(-1, 3)
            if len(points) == 5 and points[:, 2].all():
                assert sides(points[:, :2]) == [-1, 1, -1, 1]
                moved = geometry.apply_to_points(geometry.mirror(160), points[:, :2])
                assert sides(moved) == [1, -1, 1, -1]
                assert sides(moved[order]) == [-1, 1, -1, 1]
                checked += 1
    assert checked >= 5


@pytest.mark.parametrize("draw", SKETCHES)
def test_mirrored_sketch_is_the_mirror_image(draw):
    sketch = draw(np.random.default_rng(5))
    affine, _ = place(sketch, 60, 0, (49.5, 50))
    left, right = (render_silhouette(s, affine, 100, 100) for s in (sketch, mirrored(sketch)))
    assert np.mean(left[:, ::-1] != right) < 0.002
    assert np.allclose(mirrored(mirrored(sketch)).keypoints_xy, sketch.keypoints_xy)
    if draw is sketch_pliers:
        assert sides(sketch.keypoints_xy) == sides(mirrored(sketch).keypoints_xy) == [-1, 1, -1, 1]


@pytest.mark.parametrize("draw", SKETCHES)
@pytest.mark.parametrize("seed", range(3))
def test_sketch_is_one_long_and_its_points_lie_on_it(draw, seed):
    sketch = draw(np.random.default_rng(seed))
    affine, _ = place(sketch, 200, 0, (150, 150))
    mask = render_silhouette(sketch, affine, 300, 300)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    assert max(np.ptp(rows), np.ptp(columns)) == pytest.approx(200, abs=3)
    near = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8))
    for x, y in np.round(geometry.apply_to_points(affine, sketch.keypoints_xy)).astype(int):
        assert near[y, x]


def test_nut_is_a_hexagon_with_a_hole():
    affine, fine = place(None, 40, 0, (50, 40))
    sketch = sketch_nut(np.random.default_rng(0))
    mask = render_silhouette(sketch, fine, 2 * 100, 2 * 80)
    assert not mask[81, 101] and mask[81, 101 - 36]
    found = _annotate_tool(_Placed(sketch, affine, mask), [], (100, 80))
    x, y, w, h = found["bbox"]
    height = 40 * np.sqrt(3) / 2
    assert (x, y) == pytest.approx((30, 40 - height / 2), abs=1)
    assert (w, h) == pytest.approx((40, height), abs=1.5)
    assert found["area"] == mask.sum() / 4
    assert "keypoints" not in found


def test_covered_point_is_1_and_point_outside_is_0():
    drawn = sketch_screwdriver(np.random.default_rng(0))
    collar = 50 + 80 * drawn.keypoints_xy[1, 1]
    affine, fine = place(drawn, 80, 0, (30, 50))
    item = _Placed(drawn, affine, render_silhouette(drawn, fine, 120, 160))
    top = np.zeros((160, 120), bool)
    top[:40] = True  # the image's upper 20 rows
    found = _annotate_tool(item, [_Placed(drawn, affine, top)], (60, 80))
    assert found["keypoints"] == [30, 10, 1, 30, pytest.approx(collar, abs=0.01), 2, 0, 0, 0]
    assert found["num_keypoints"] == 2
    x, y, w, h = found["bbox"]
    assert y == pytest.approx(10, abs=1) and y + h == 80 and x < 30 < x + w


def test_paint_stays_within_the_silhouette():
    rng = np.random.default_rng(2)
    sketch = sketch_pliers(rng)
    affine, _ = place(sketch, 90, 33, (20, 60))  # half of it outside
    canvas = np.full((120, 100, 3), 128, np.uint8)
    paint(canvas, sketch, affine)
    mask = render_silhouette(sketch, affine, 100, 120)
    near = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    changed = (canvas != 128).any(-1)
    assert not changed[~near].any()
    assert changed[mask].mean() > 0.9


def test_paint_far_outside_changes_nothing():
    canvas = np.full((40, 40, 3), 9, np.uint8)
    paint(canvas, sketch_nut(np.random.default_rng(0)), place(None, 20, 0, (500, 500))[0])
    assert (canvas == 9).all()


def test_scene_without_objects_and_scene_too_full():
    rng = np.random.default_rng(0)
    image, found = draw_scene(rng, (64, 64), 0)
    assert image.shape == (64, 64, 3) and image.dtype == np.uint8 and found == []
    _, found = draw_scene(rng, (96, 64), 40)
    assert 0 < len(found) < 40


def test_sketches_carry_their_own_class():
    rng = np.random.default_rng(0)
    made = [draw(rng) for draw in SKETCHES]
    assert all(isinstance(s, Sketch) for s in made)
    assert [(s.class_id, len(s.keypoints_xy)) for s in made] == [(0, 5), (1, 3), (2, 0)]
