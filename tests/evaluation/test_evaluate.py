import dataclasses
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rich.console import Console
from scored_objects import DRIVER, ONE_POINT, SCHEMA, SIGMA, blur, make_detection, make_record, random_records

from centerkp.evaluation.average_precision import BOX_NUMBERS, KEYPOINT_NUMBERS
from centerkp.evaluation.evaluate import evaluate, ground_truth_as_detections
from centerkp.evaluation.keypoint_error import match_objects
from centerkp.evaluation.tables import number_table, print_evaluation, print_tables
from centerkp.schema import COCO_KEYPOINTS, COCO_SIGMAS, ObjectClass, Schema


def values_of(numbers):
    return [v for v in numbers.values() if v is not None]


def test_perfect_detections_score_one_everywhere():
    records = random_records(SCHEMA)
    result = evaluate(records, ground_truth_as_detections(records, SCHEMA), SCHEMA)
    assert values_of(result.box_per_class) == pytest.approx([1, 1, 1])
    # AR1 counts one detection per image and class, so several objects of a class keep it below 1
    assert values_of({k: v for k, v in result.box.items() if k != "AR1"}) == pytest.approx([1] * 11)
    assert values_of(result.keypoints) == pytest.approx([1] * 10)
    assert values_of(result.keypoints_per_class["pliers"]) == pytest.approx([1] * 10)
    assert result.pck == 1 and set(result.pck_per_class.values()) == {1.0}
    for numbers in result.per_keypoint.values():
        assert numbers["labelled"] == numbers["matched"] > 0
        assert (numbers["pck"], numbers["median_px"], numbers["median_share"]) == (1, 0, 0)
    assert [result.score(m) for m in ("mean", "box_ap", "keypoint_ap")] == pytest.approx([1, 1, 1])


def test_no_detections_score_zero():
    records = random_records(SCHEMA)
    result = evaluate(records, [[] for _ in records], SCHEMA)
    assert set(result.box.values()) == set(result.box_per_class.values()) == {0.0}
    assert set(result.keypoints.values()) == {0.0}
    assert result.pck == 0 and result.score() == 0
    for numbers in result.per_keypoint.values():
        assert (numbers["pck"], numbers["matched"], numbers["median_px"], numbers["median_share"]) == (0, 0, None, None)


def write_coco_files(folder, records, detections, schema, class_ids):
    """Ground truth and results as files, with COCO ids, as a user of pycocotools would have them."""
    truth, found = [], []
    for record, objects in zip(records, detections, strict=True):
        for n, class_id in enumerate(record.class_ids):
            own = schema.keypoint_slice(class_id)
            points = np.column_stack([record.keypoints_xy[n, own], record.visibility[n, own]])
            x0, y0, x1, y1 = record.boxes_xyxy[n].tolist()
            entry = {"id": len(truth) + 1, "image_id": record.image_id, "iscrowd": int(record.is_crowd[n])}
            entry |= {"category_id": schema.classes[class_id].category_id, "bbox": [x0, y0, x1 - x0, y1 - y0]}
            entry |= {"area": float(record.areas[n]), "keypoints": points.astype(float).ravel().tolist()}
            truth.append(entry | {"num_keypoints": int((record.visibility[n, own] > 0).sum())})
        for d in objects:
            x0, y0, x1, y1 = d.box_xyxy.tolist()
            points = np.column_stack([d.keypoints_xy, np.full(len(d.keypoints_xy), 2)])
            entry = {"image_id": record.image_id, "category_id": d.category_id, "score": d.score}
            found.append(entry | {"bbox": [x0, y0, x1 - x0, y1 - y0], "keypoints": points.astype(float).ravel().tolist()})
    wanted = [schema.classes[i].category_id for i in class_ids]
    dataset = {
        "info": {},
        "images": [{"id": r.image_id} for r in records],
        "categories": [{"id": i} for i in wanted],
        "annotations": [a for a in truth if a["category_id"] in wanted],
    }
    (folder / "truth.json").write_text(json.dumps(dataset))
    (folder / "found.json").write_text(json.dumps([a for a in found if a["category_id"] in wanted]))
    truth_coco = COCO(str(folder / "truth.json"))
    if dataset["annotations"] and json.loads((folder / "found.json").read_text()):
        return truth_coco, truth_coco.loadRes(str(folder / "found.json"))
    return truth_coco, COCO()  # loadRes cannot read an empty list


def run_pycocotools(files, kind, sigmas=None):
    evaluator = COCOeval(*files, kind)
    if sigmas is not None:
        evaluator.params.kpt_oks_sigmas = np.array(sigmas)
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    return evaluator.stats


MIXED = Schema(
    (
        ObjectClass("person", 1, tuple(COCO_KEYPOINTS), oks_sigmas=COCO_SIGMAS),
        ObjectClass("dot", 4, ("center",), oks_sigmas=(0.2,)),
        ObjectClass("box", 9),
        ObjectClass("rare", 12, ("a", "b")),
        ObjectClass("snake", 30, tuple(f"joint_{i}" for i in range(24)), oks_sigmas=tuple(np.linspace(0.02, 0.3, 24))),
    )
)


def check_against_pycocotools(folder, records, detections, schema):
    """Every number equals that of pycocotools, run on files with COCO's ids: boxes at once, keypoints class by class."""
    result = evaluate(records, detections, schema)
    stats = run_pycocotools(write_coco_files(folder, records, detections, schema, range(schema.num_classes)), "bbox")
    assert_equal(result.box, BOX_NUMBERS, stats)
    by_class = {}
    for class_id, c in enumerate(schema.classes):
        files = write_coco_files(folder, records, detections, schema, [class_id])
        assert_equal({"AP": result.box_per_class[c.name]}, ("AP",), run_pycocotools(files, "bbox"))
        if c.keypoints:
            by_class[c.name] = run_pycocotools(files, "keypoints", c.oks_sigmas)
            assert_equal(result.keypoints_per_class[c.name], KEYPOINT_NUMBERS, by_class[c.name])
    assert list(result.keypoints_per_class) == list(by_class)
    stats = np.array(list(by_class.values()))
    means = [column[column >= 0].mean() if (column >= 0).any() else -1 for column in stats.T]
    assert_equal(result.keypoints, KEYPOINT_NUMBERS, means)
    return result


def assert_equal(numbers, names, stats):
    ours = [-1 if numbers[name] is None else numbers[name] for name in names]
    assert ours == pytest.approx(list(stats)[: len(ours)], abs=1e-6)


def test_agrees_with_pycocotools_run_by_hand_class_by_class(tmp_path):
    records = random_records(SCHEMA, images=15, objects=7)
    detections = blur(ground_truth_as_detections(records, SCHEMA))
    result = check_against_pycocotools(tmp_path, records, detections, SCHEMA)
    assert all(0.1 < ap < 0.9 for ap in (result.box["AP"], result.keypoints["AP"]))
    assert result.score() == pytest.approx((result.box["AP"] + result.keypoints["AP"]) / 2)
    assert result.score("box_ap") == result.box["AP"] and result.score("keypoint_ap") == result.keypoints["AP"]


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_pycocotools_on_classes_of_any_keypoint_count(tmp_path, seed):
    """Crowds, a class that is nowhere annotated but found, one that is annotated but never found, images without either."""
    rng = np.random.default_rng(seed)
    records = random_records(MIXED, images=14, objects=9, seed=seed, missing=("rare",))
    records.append(make_record(MIXED, 99, []))
    detections = blur(ground_truth_as_detections(records, MIXED), seed=seed, pixels=rng.choice([2.0, 8.0]))
    detections = [[d for d in found if d.class_name != ("dot" if seed % 2 else "box")] for found in detections]
    detections[-1] = [make_detection(MIXED, 3, [5, 5, 80, 80], [(9, 9), (20, 20)]), make_detection(MIXED, 2, [5, 5, 80, 80])]
    detections[0] = []
    assert any(r.is_crowd.any() for r in records)
    result = check_against_pycocotools(tmp_path, records, detections, MIXED)
    assert result.keypoints_per_class["rare"]["AP"] is None and 0.05 < result.box["AP"] < 0.95


def test_agrees_with_pycocotools_when_nothing_was_found_or_annotated(tmp_path):
    records = random_records(MIXED, images=5, objects=4)
    check_against_pycocotools(tmp_path, records, [[] for _ in records], MIXED)
    empty = [make_record(MIXED, i, []) for i in range(3)]
    found = [[make_detection(MIXED, 1, [5, 5, 80, 80], [(9, 9)])], [], []]
    check_against_pycocotools(tmp_path, empty, found, MIXED)


@pytest.mark.parametrize(("oks", "passed"), [(0.475, 0), (0.525, 1), (0.725, 5), (0.925, 9), (0.975, 10)])
def test_oks_of_one_point_by_hand(oks, passed):
    area = 5000.0  # not the box's
    distance = np.sqrt(-2 * area * (2 * SIGMA) ** 2 * np.log(oks))
    record = make_record(ONE_POINT, 7, [(0, [100, 100, 200, 200], [(150, 150, 2)], False, area)])
    found = [make_detection(ONE_POINT, 0, [100, 100, 200, 200], [(150 + distance * 0.6, 150 + distance * 0.8)])]
    result = evaluate([record], [found], ONE_POINT)
    assert result.keypoints["AP"] == pytest.approx(passed / 10)
    assert result.box["AP"] == pytest.approx(1)
    numbers = result.per_keypoint["dot/center"]
    assert numbers["median_px"] == pytest.approx(distance, rel=1e-5)
    assert numbers["median_share"] == pytest.approx(distance / np.sqrt(area), rel=1e-5)


def test_oks_is_the_mean_over_labelled_points_only():
    box = [100, 100, 200, 200]
    points = [(110, 110, 2), (120, 120, 1), (130, 130, 2), (0, 0, 0), (0, 0, 0)]
    record = make_record(SCHEMA, 1, [(0, box, points)])
    exact = make_detection(SCHEMA, 0, box, [(110, 110), (120, 120), (130, 130), (600, 5), (9, 600)])
    result = evaluate([record], [[exact]], SCHEMA)
    assert result.keypoints["AP"] == pytest.approx(1) and result.pck == 1
    assert result.per_keypoint["pliers/left_jaw"] == {
        "pck": None, "median_px": None, "p95_px": None, "median_share": None, "p95_share": None, "labelled": 0, "matched": 0,
    }  # fmt: skip
    one_far = make_detection(SCHEMA, 0, box, [(110, 110), (600, 600), (130, 130), (600, 5), (9, 600)])
    result = evaluate([record], [[one_far]], SCHEMA)
    assert result.keypoints["AP"] == pytest.approx(0.4)  # OKS 2/3 passes 0.5, 0.55, 0.6 and 0.65
    assert result.pck == pytest.approx(2 / 3)


def test_each_class_is_measured_with_its_own_sigmas():
    schema = Schema((ObjectClass("strict", 1, ("a",), oks_sigmas=(0.01,)), ObjectClass("lax", 2, ("a",), oks_sigmas=(0.5,))))
    record = make_record(schema, 1, [(0, [0, 0, 100, 100], [(50, 50, 2)]), (1, [300, 0, 400, 100], [(350, 50, 2)])])
    found = [
        make_detection(schema, 0, [0, 0, 100, 100], [(55, 50)]),
        make_detection(schema, 1, [300, 0, 400, 100], [(355, 50)]),
    ]
    result = evaluate([record], [found], schema)
    assert result.keypoints_per_class["strict"]["AP"] == 0
    assert result.keypoints_per_class["lax"]["AP"] == pytest.approx(1)
    assert result.keypoints["AP"] == pytest.approx(0.5)


def test_pck_and_pixel_errors_by_hand():
    points = [(10, 10, 2), (50, 10, 1), (90, 10, 2), (0, 0, 0), (60, 40, 2)]
    first = make_record(SCHEMA, 1, [(0, [0, 0, 100, 50], points)])  # within 10 px is right
    missed = make_record(SCHEMA, 2, [(0, [0, 0, 100, 50], points)])
    found = [make_detection(SCHEMA, 0, [0, 0, 100, 50], [(10, 10), (53, 14), (90, 19.9), (400, 400), (60, 50.1)])]
    result = evaluate([first, missed], [found, []], SCHEMA)
    assert result.pck == result.pck_per_class["pliers"] == 3 / 8
    assert result.pck_per_class["driver"] is None and "nut" not in result.pck_per_class
    right = result.per_keypoint["pliers/right_handle"]
    assert (right["pck"], right["labelled"], right["matched"]) == (0.5, 2, 1)
    assert right["median_px"] == pytest.approx(5) and right["median_share"] == pytest.approx(5 / np.sqrt(5000))
    assert result.per_keypoint["pliers/joint"]["pck"] == 0.5
    assert result.per_keypoint["pliers/right_jaw"]["pck"] == 0
    assert result.per_keypoint["pliers/left_jaw"]["labelled"] == 0
    assert result.objects == {"pliers": 2, "driver": 0, "nut": 0} and result.images == 2


def test_matching_is_greedy_by_score_within_a_class():
    record = make_record(SCHEMA, 1, [(2, [0, 0, 100, 100], ()), (2, [10, 0, 110, 100], ()), (2, [400, 0, 500, 100], (), True)])
    found = [
        make_detection(SCHEMA, 2, [10, 0, 110, 100], score=0.5),  # fits the second best, which is taken
        make_detection(SCHEMA, 2, [12, 0, 112, 100], score=0.9),
        make_detection(SCHEMA, 1, [0, 0, 100, 100], np.zeros((3, 2)), score=0.99),  # another class
        make_detection(SCHEMA, 2, [400, 0, 500, 100], score=0.8),  # on the crowd
    ]
    assert match_objects(record, found).tolist() == [0, 1, -1]
    assert match_objects(record, []).tolist() == [-1, -1, -1]
    assert match_objects(make_record(SCHEMA, 1, []), found).tolist() == []


@pytest.mark.parametrize(("right", "match"), [(199, 0), (201, -1)])
def test_matching_needs_half_the_union(right, match):
    record = make_record(SCHEMA, 1, [(2, [0, 0, 100, 100], ())])
    assert match_objects(record, [make_detection(SCHEMA, 2, [0, 0, right, 100])]).tolist() == [match]


def test_crowds_are_neither_hit_nor_missed():
    points = [(150, 150, 2)]
    alone = make_record(ONE_POINT, 1, [(0, [100, 100, 200, 200], points)])
    crowd = (0, [300, 300, 600, 600], [(400, 400, 2)], True)
    crowded = make_record(ONE_POINT, 1, [crowd, (0, [100, 100, 200, 200], points)])
    found = ground_truth_as_detections([crowded], ONE_POINT)
    assert len(found[0]) == 1
    inside = [make_detection(ONE_POINT, 0, [310, 310, 400, 400], [(400, 400)], score=1.5)]
    result = evaluate([crowded], [found[0] + inside], ONE_POINT)
    assert result.box["AP"] == pytest.approx(1) and result.keypoints["AP"] == pytest.approx(1)
    assert result.objects == {"dot": 1} and result.per_keypoint["dot/center"]["labelled"] == 1
    assert evaluate([alone], [found[0] + inside], ONE_POINT).per_keypoint == result.per_keypoint
    # without the crowd region the same detection is a false one
    assert evaluate([alone], [found[0] + inside], ONE_POINT).box["AP"] == pytest.approx(0.5)


def test_order_does_not_matter():
    records = random_records(SCHEMA)
    detections = blur(ground_truth_as_detections(records, SCHEMA))
    order = np.random.default_rng(0).permutation(len(records))
    shuffled = evaluate([records[i] for i in order], [detections[i][::-1] for i in order], SCHEMA)
    assert shuffled == evaluate(records, detections, SCHEMA)
    assert 0 < shuffled.score() < 1


def test_sizes_without_objects_are_none():
    record = make_record(ONE_POINT, 1, [(0, [100, 100, 300, 300], [(150, 150, 2)])])
    result = evaluate([record], ground_truth_as_detections([record], ONE_POINT), ONE_POINT)
    assert [name for name, value in result.box.items() if value is None] == ["APs", "APm", "ARs", "ARm"]
    assert result.box["APl"] == pytest.approx(1)
    assert result.keypoints["APm"] is None and result.keypoints["APl"] == pytest.approx(1)
    assert any("No small or medium objects" in note for note in result.notes)


def test_classes_without_objects_or_points_are_none_with_a_note():
    record = make_record(SCHEMA, 1, [(0, [0, 0, 100, 100], np.zeros((5, 3)))])
    found = [make_detection(SCHEMA, 0, [0, 0, 100, 100], np.zeros((5, 2))), make_detection(SCHEMA, 2, [0, 0, 9, 9])]
    result = evaluate([record], [found], SCHEMA)
    assert result.box_per_class == {"pliers": pytest.approx(1), "driver": None, "nut": None}
    assert result.keypoints["AP"] is None and result.pck is None
    assert "'pliers' has no labelled keypoints here: no keypoint AP, no PCK." in result.notes
    assert "'nut' has no annotated objects here; its detections count nowhere, 1 in all." in result.notes
    assert result.score() == result.score("box_ap") == pytest.approx(1)
    with pytest.raises(ValueError, match="found no labelled keypoints in the 1 evaluated images"):
        result.score("keypoint_ap")


def test_images_without_any_object():
    for records in ([], [make_record(SCHEMA, 1, [])]):
        result = evaluate(records, [[] for _ in records], SCHEMA)
        assert set(result.box.values()) == set(result.keypoints.values()) == {None}
        with pytest.raises(ValueError, match="found no annotated objects"):
            result.score()


def test_a_schema_without_keypoints():
    schema = Schema.generic(2)
    records = random_records(schema)
    result = evaluate(records, ground_truth_as_detections(records, schema), schema)
    assert result.box["AP"] == pytest.approx(1) == result.score()
    assert set(result.keypoints.values()) == {None} and result.per_keypoint == {} and "By keypoint" not in print_at_80(result)


def test_numbers_that_are_not_finite_are_left_out():
    record = make_record(ONE_POINT, 1, [(0, [100, 100, 200, 200], [(150, 150, 2)])])
    lost = [
        make_detection(ONE_POINT, 0, [100, 100, 200, 200], [(np.nan, 150)]),
        make_detection(ONE_POINT, 0, [np.inf, 100, 200, 200], [(150, 150)]),
        make_detection(ONE_POINT, 0, [100, 100, 200, 200], [(150, 150)], score=np.nan),
    ]
    result = evaluate([record], [lost], ONE_POINT)
    assert result.box["AP"] == result.keypoints["AP"] == result.pck == 0
    assert any(note.endswith("not finite: 3.") for note in result.notes)


@pytest.mark.parametrize("count, notes", [
    (20, []),
    (21, ["Images with more than 20 objects of 'dot': 1; keypoint AP counts up to 42 detections"]),
    (150, ["Images with more than 100 objects of a class: 1; box AP counts up to 300 detections",
           "Images with more than 20 objects of 'dot': 1; keypoint AP counts up to 300 detections"]),
])  # fmt: skip
def test_more_objects_than_coco_counts_are_counted_and_noted(count, notes):
    """All are found, behind as many that are nothing and score higher."""
    rows = [(0, [20 * i, 0, 20 * i + 15, 15], [(20 * i + 5, 5, 2)]) for i in range(count)]
    record = make_record(ONE_POINT, 1, rows)
    exact = ground_truth_as_detections([record], ONE_POINT)
    result = evaluate([record], exact, ONE_POINT)
    assert result.box["AP"] == result.box["AR100"] == result.keypoints["AP"] == result.keypoints["AR"] == 1
    found = [note for note in result.notes if note.startswith("Images with more")]
    assert len(found) == len(notes) and all(f.startswith(n) for f, n in zip(found, notes, strict=True))
    assert result.max_detections == (300 if count > 100 else 100)
    nothing = [make_detection(ONE_POINT, 0, [9000, 0, 9010, 10], [(9005, 5)], score=1.5)] * count
    result = evaluate([record], [nothing + exact[0]], ONE_POINT)
    assert result.box["AR100"] == 1 and result.keypoints["AR"] == (1 if count > 20 else 0)
    text = io.StringIO()
    print_tables([number_table({"": result})], Console(file=text, width=80))
    assert f"AR{result.max_detections} {result.max_detections} detections" in text.getvalue()


def test_an_area_of_zero_is_survived():
    record = make_record(ONE_POINT, 1, [(0, [100, 100, 200, 200], [(150, 150, 2)], False, 0.0)])
    found = [make_detection(ONE_POINT, 0, [100, 100, 200, 200], [(153, 154)])]
    assert evaluate([record], [found], ONE_POINT).per_keypoint["dot/center"]["median_share"] == pytest.approx(5)


def test_ground_truth_as_detections():
    points = [(10, 20, 2), (0, 0, 0), (30, 40, 1)]
    record = make_record(SCHEMA, 1, [(1, [10, 20, 50, 100], points), (2, [0, 0, 5, 5], (), True)])
    ((d,),) = ground_truth_as_detections([record], SCHEMA)
    assert (d.class_name, d.category_id, d.score) == ("driver", 16, 1.0)
    assert d.keypoints == {"tip": (10, 20, 1), "shaft": (30, 60, 0), "grip": (30, 40, 1)}


def test_mistakes_are_named():
    records = random_records(SCHEMA, images=2)
    with pytest.raises(ValueError, match="found lists for 1 images, expected 2"):
        evaluate(records, [[]], SCHEMA)
    with pytest.raises(ValueError, match=r"image ids \[0\] more than once"):
        evaluate([records[0], records[0]], [[], []], SCHEMA)
    with pytest.raises(ValueError, match="image 1: found a detection of class 0 'dot' with 1 keypoints"):
        evaluate(records, [[], [make_detection(ONE_POINT, 0, [0, 0, 9, 9], [(1, 1)])]], SCHEMA)
    with pytest.raises(ValueError, match="found 'box', expected one of"):
        evaluate(records, [[], []], SCHEMA).score("box")


def print_at_80(result):
    file = io.StringIO()
    print_evaluation(result, Console(file=file, width=80))
    return file.getvalue()


def test_tables_fit_80_columns():
    long = ObjectClass(
        "[red]a class whose name goes on and on and never ends, as it were", 3, ("an_end_of_some_extraordinary_part",)
    )
    person = ObjectClass("person", 1, tuple(COCO_KEYPOINTS), oks_sigmas=COCO_SIGMAS, sigma_source="coco")
    schema = Schema((person, *SCHEMA.classes, long))
    records = random_records(schema)
    result = evaluate(records, blur(ground_truth_as_detections(records, schema)), schema)
    text = print_at_80(dataclasses.replace(result, notes=("a note with [brackets] that says what was left out " * 3,)))
    assert max(map(len, text.splitlines())) <= 80
    assert "Images: 12, annotated" in text and text.count("[red]a class") == 2 and "[brackets]" in text
    assert f"{result.box['AP']:.3f}" in text and f"{result.keypoints['AP']:.3f}" in text
    rows = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert rows["left_jaw"].endswith("0.050 guess") and "set oks_sigmas" in text
    assert rows["left_ankle"].endswith("0.089 COCO") and rows["shaft"].endswith("0.060 JSON")
    assert f"{result.per_keypoint['person/nose']['median_px']:.1f}" in rows["nose"]


def test_known_sigmas_are_not_called_a_guess():
    schema = Schema((DRIVER,))
    record = make_record(schema, 1, [(0, [0, 0, 50, 50], [(5, 5, 2)] * 3)])
    text = print_at_80(evaluate([record], [[]], schema))
    assert "guess" not in text and "0.030 JSON" in text


def test_missing_numbers_are_dashes():
    record = make_record(SCHEMA, 1, [])
    text = print_at_80(evaluate([record], [[]], SCHEMA))
    assert "-1" not in text and "nan" not in text and "None" not in text
    assert "'nut' has no annotated objects here." in text


def test_thresholds_of_a_class_stand_in_for_those_that_nothing_decides():
    """Of the nuts none was found, and there is no driver: theirs is that of all classes, decided by none of their objects."""
    boxes = [[10 + 60 * n, 10, 50 + 60 * n, 50] for n in range(4)]
    record = make_record(SCHEMA, 1, [(0, boxes[0], []), (0, boxes[1], []), (2, boxes[2], [])])
    found = [
        make_detection(SCHEMA, 0, box, [(0, 0)] * 5, score)
        for box, score in ((boxes[0], 0.5), (boxes[1], 0.3), (boxes[3], 0.1))
    ]
    missed = make_detection(SCHEMA, 2, boxes[3], score=0.4)
    result = evaluate([record], [[*found, missed]], SCHEMA)
    thresholds = result.find_thresholds()
    assert thresholds.scores == pytest.approx((0.2, thresholds.overall, thresholds.overall))
    assert thresholds.overall == result.best_f1["boxes"]["all classes"]["threshold"] == pytest.approx(0.2)
    assert thresholds.objects == (2, 0, 0) and thresholds.guessed == [0, 1, 2]
    assert evaluate([record], [[]], SCHEMA).find_thresholds() is None


def test_to_dict_is_json_and_pycocotools_is_silent(capsys):
    records = random_records(SCHEMA, images=2)
    result = evaluate(records, [[], []], SCHEMA)
    content = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert content == result.to_dict()
    assert content["sigmas"]["driver"] == {"tip": 0.03, "shaft": 0.06, "grip": 0.1}
    assert content["sigma_sources"] == {"pliers": "guess", "driver": "json"}
    assert capsys.readouterr().out == ""
