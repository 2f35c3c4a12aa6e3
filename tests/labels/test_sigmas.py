"""OKS sigmas from repeated annotation: the definition by hand, and what synthetic annotators had is found again."""

import json
from pathlib import Path

import numpy as np
import pytest
from coco_files import annotation, write_coco

from centerkp.labels.coco import read_coco
from centerkp.labels.records import Dataset, Record
from centerkp.labels.sigmas import estimate_sigmas, match_annotated_objects, read_annotators, write_sigmas
from centerkp.schema import ObjectClass, Schema

BEE = {"id": 1, "name": "bee", "keypoints": ["left_eye", "right_eye", "sting"]}


def make_record(number, boxes, points, visibility=None, areas=None, class_ids=None, is_crowd=None):
    boxes, points = np.array(boxes, np.float32).reshape(-1, 4), np.array(points, np.float32)
    n = len(boxes)
    return Record(
        image_id=number,
        path=Path(f"/images/{number}.png"),
        file_name=f"{number}.png",
        width=1000,
        height=1000,
        boxes_xyxy=boxes,
        class_ids=np.array([0] * n if class_ids is None else class_ids, np.int32),
        keypoints_xy=points,
        visibility=np.array(np.full(points.shape[:2], 2) if visibility is None else visibility, np.uint8),
        is_crowd=np.array([False] * n if is_crowd is None else is_crowd, bool),
        areas=np.array((boxes[:, 2:] - boxes[:, :2]).prod(1) if areas is None else areas, np.float32),
        annotation_ids=np.arange(n),
    )


def make_dataset(schema, records):
    return Dataset(Path("ann.json"), schema, tuple(records), ())


def one_point_schema():
    return Schema((ObjectClass("bee", 1, ("head",)),))


def test_two_annotators_by_hand():
    # Area 100 * 100 for both; the points are (6, 8) = 10 pixels apart: sigma^2 = 10^2 / 100^2 / 2, sigma = 0.0707.
    pair = [make_record(1, [[0, 0, 100, 100]], [[p]]) for p in ((50, 50), (56, 58))]
    sigmas = estimate_sigmas([make_dataset(one_point_schema(), [r]) for r in pair])
    assert sigmas.values == pytest.approx([0.1 / 2**0.5], rel=1e-6)
    assert (sigmas.images, sigmas.objects.tolist(), sigmas.differences.tolist(), sigmas.notes) == (1, [1], [1], ())
    # A second object of area 400, 2 pixels apart: (0.01 / 2 + 4 / 400 / 2) / 2 = 0.005.
    more = [make_record(2, [[0, 0, 20, 20]], [[p]]) for p in ((10, 10), (10, 12))]
    sigmas = estimate_sigmas([make_dataset(one_point_schema(), [a, b]) for a, b in zip(pair, more, strict=True)])
    assert sigmas.values == pytest.approx([0.005**0.5], rel=1e-6) and sigmas.objects.tolist() == [2]


def test_areas_of_annotators_are_averaged():
    pair = [make_record(1, [[0, 0, 100, 100]], [[p]], areas=[a]) for p, a in (((50, 50), 3000), ((50, 60), 5000))]
    sigmas = estimate_sigmas([make_dataset(one_point_schema(), [r]) for r in pair])
    assert sigmas.values == pytest.approx([(100 / 4000 / 2) ** 0.5], rel=1e-6)


def test_three_annotators_by_hand():
    # x = 0, 3, 6 around their mean 3: 9 + 0 + 9 = 18, through n - 1 = 2 and area 10000.
    trio = [make_record(1, [[0, 0, 100, 100]], [[(50 + x, 50)]]) for x in (0, 3, 6)]
    sigmas = estimate_sigmas([make_dataset(one_point_schema(), [r]) for r in trio])
    assert sigmas.values == pytest.approx([(18 / 2 / 10000) ** 0.5], rel=1e-6)
    assert sigmas.objects.tolist() == [1] and sigmas.differences.tolist() == [2]


def test_points_that_one_alone_labelled_do_not_count():
    schema = Schema((ObjectClass("bee", 1, ("head", "sting")),))
    a = make_record(1, [[0, 0, 100, 100]], [[(50, 50), (9, 9)]], [[2, 2]])
    b = make_record(1, [[0, 0, 100, 100]], [[(56, 58), (0, 0)]], [[1, 0]])
    sigmas = estimate_sigmas([make_dataset(schema, [a]), make_dataset(schema, [b])])
    assert sigmas.values[0] == pytest.approx(0.1 / 2**0.5, rel=1e-6) and np.isnan(sigmas.values[1])
    assert sigmas.objects.tolist() == [1, 0]


def test_partners_share_their_value():
    schema = Schema((ObjectClass("bee", 1, ("l", "r", "sting"), flip_pairs=((0, 1),)),))
    a = make_record(1, [[0, 0, 100, 100]], [[(10, 10), (20, 10), (30, 30)]])
    b = make_record(1, [[0, 0, 100, 100]], [[(10, 12), (20, 14), (30, 35)]])
    sigmas = estimate_sigmas([make_dataset(schema, [a]), make_dataset(schema, [b])])
    # Left and right: (4 + 16) / 2 through 2 objects = 5; the sting 25 / 2; over the area 10000.
    assert sigmas.values == pytest.approx([0.0005**0.5, 0.0005**0.5, 0.00125**0.5], rel=1e-6)
    assert sigmas.objects.tolist() == [2, 2, 1]


@pytest.mark.parametrize("annotators", [2, 4])
def test_known_sigmas_are_found_again(annotators):
    """Each annotator misses by sigma * sqrt(area) in all, sigma * sqrt(area / 2) along x and along y."""
    true, objects = np.array([0.02, 0.05, 0.11]), 1500
    rng = np.random.default_rng(5)
    schema = Schema((ObjectClass("bee", 1, ("a", "b", "c")),))
    datasets = [[] for _ in range(annotators)]
    for number in range(objects):
        side = rng.uniform(30, 300)
        places = rng.uniform(300, 600, (1, 3, 2))
        for records in datasets:
            points = places + rng.normal(size=(1, 3, 2)) * (true * side / 2**0.5)[None, :, None]
            box = np.array([[300, 300, 300 + side, 300 + side]]) + rng.uniform(-0.05, 0.05, 4) * side
            records.append(make_record(number, box, points, areas=[side * side]))
    sigmas = estimate_sigmas([make_dataset(schema, records) for records in datasets])
    assert (sigmas.differences == objects * (annotators - 1)).all()
    errors = sigmas.values / (2 * np.sqrt(sigmas.differences))
    assert (np.abs(sigmas.values - true) < 3.5 * errors).all()
    assert (errors / sigmas.values < 0.014).all()  # so that a wrong factor of 2 cannot pass


def test_objects_are_matched_by_overlap_and_class():
    a = make_record(1, [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10]], np.zeros((4, 1, 2)),
                    class_ids=[0, 0, 1, 0], is_crowd=[0, 0, 0, 1])  # fmt: skip
    b = make_record(1, [[60, 0, 70, 10], [40, 0, 50, 10], [21, 0, 31, 10], [3, 0, 13, 10], [1, 0, 11, 10]],
                    np.zeros((5, 1, 2)), class_ids=[0, 0, 0, 0, 0])  # fmt: skip
    # The third object is of another class there, the fourth a crowd; of two that overlap the first, the nearer is taken.
    assert match_annotated_objects([a, b]).tolist() == [[0, 4], [1, 2], [2, -1]]
    assert match_annotated_objects([a, None, b]).tolist() == [[0, -1, 4], [1, -1, 2], [2, -1, -1]]
    empty = make_record(1, [], np.zeros((0, 1, 2)))
    assert match_annotated_objects([empty, a]).shape == (0, 2) and match_annotated_objects([a, empty])[:, 1].tolist() == [
        -1,
        -1,
        -1,
    ]


def test_swapped_labels_are_told():
    schema, rng = one_point_schema(), np.random.default_rng(0)
    sides = [[], []]
    for number in range(30):
        for records in sides:
            off = rng.normal(size=2) + (60 if number == 7 and records is sides[1] else 0)
            records.append(make_record(number, [[0, 0, 100, 100]], [[50 + off]]))
    (note,) = estimate_sigmas([make_dataset(schema, records) for records in sides]).notes
    assert note.startswith("1 difference: more than 4 times") and note.endswith("bee/head in 7.png")


def write_annotator(path, shift, keypoints=BEE["keypoints"], name="{}.png"):
    """Two images, one object each, of area 400; `shift` moves the eyes down, the sting by twice as much."""
    places = {"left_eye": (8, 8), "right_eye": (14, 8), "sting": (20, 12)}
    file = write_coco(path, {name.format(n): [1] for n in (1, 2)}, [BEE | {"keypoints": keypoints}])
    content = json.loads(file.read_text())
    points = [v for k in keypoints for v in (places[k][0], places[k][1] + shift * (2 if k == "sting" else 1), 2)]
    content["annotations"] = [annotation(n, n, keypoints=points, area=400) for n in (1, 2)]
    file.write_text(json.dumps(content))
    return file


def test_files_of_annotators_are_read_and_written(tmp_path):
    a = write_annotator(tmp_path / "a.json", 0)
    b = write_annotator(tmp_path / "anna" / "b.json", 2, ["sting", "left_eye", "right_eye"])  # own copies, other order
    sigmas = estimate_sigmas(read_annotators([a, b]))
    eye, sting = (4 / 400 / 2) ** 0.5, (16 / 400 / 2) ** 0.5
    assert sigmas.values == pytest.approx([eye, eye, sting]) and sigmas.images == 2
    for source, expected in ((a, [0.0707, 0.0707, 0.141]), (b, [0.141, 0.0707, 0.0707])):
        out = write_sigmas(source, sigmas, tmp_path / "far" / source.name)
        content, before = json.loads(out.read_text()), json.loads(source.read_text())
        assert content["categories"][0] == before["categories"][0] | {"oks_sigmas": expected}
        assert content["annotations"] == before["annotations"]
        data = read_coco(out)
        assert data.schema.classes[0].sigma_source == "json" and len(data.records) == 2
    with pytest.raises(FileExistsError):
        write_sigmas(a, sigmas, tmp_path / "far" / "a.json")


def test_sigma_that_was_not_measured_stays(tmp_path):
    a, b = write_annotator(tmp_path / "a.json", 0), write_annotator(tmp_path / "b.json", 2)
    content = json.loads(b.read_text())
    for entry in content["annotations"]:
        entry["keypoints"][8] = 0  # the sting is not labelled
    b.write_text(json.dumps(content))
    sigmas = estimate_sigmas(read_annotators([a, b]))
    assert np.isnan(sigmas.values[2]) and sigmas.objects.tolist() == [4, 4, 0]
    out = write_sigmas(a, sigmas, tmp_path / "out.json")
    assert json.loads(out.read_text())["categories"][0]["oks_sigmas"] == [0.0707, 0.0707, 0.05]


def test_refusals(tmp_path):
    a = write_annotator(tmp_path / "a.json", 0)
    with pytest.raises(ValueError, match="found 1 file, expected one for each"):
        read_annotators([a])
    same = write_annotator(tmp_path / "copy.json", 0)
    with pytest.raises(ValueError, match="a.json: found the same coordinates everywhere, as in a copy, in 2 shared images"):
        estimate_sigmas(read_annotators([a, same]))
    other = write_annotator(tmp_path / "x" / "other.json", 1, name="other{}.png")
    with pytest.raises(ValueError, match="no image that another file holds too.*1.png.*other1.png"):
        estimate_sigmas(read_annotators([a, other]))
    content = json.loads(same.read_text())
    for entry in content["annotations"]:
        entry["bbox"] = [0, 0, 5, 5]
    same.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="no keypoint of one object labelled twice"):
        estimate_sigmas(read_annotators([a, same]))


def test_images_of_another_size_are_left_out(tmp_path):
    import cv2

    a, b = write_annotator(tmp_path / "a.json", 0), write_annotator(tmp_path / "anna" / "b.json", 2)
    content = json.loads(b.read_text())
    content["images"][0] |= {"width": 80, "height": 60}
    b.write_text(json.dumps(content))
    image = cv2.imread(str(tmp_path / "anna" / "images" / "1.png"))
    cv2.imwrite(str(tmp_path / "anna" / "images" / "1.png"), cv2.resize(image, (80, 60)))
    sigmas = estimate_sigmas(read_annotators([a, b]))
    assert sigmas.images == 1 and sigmas.notes == ("1 image: of another size in b.json, left out",)
