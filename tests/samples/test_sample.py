from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import albumentations as A
import numpy as np
import pytest
from PIL import Image
from squares import draw, find_squares

from centerkp import geometry
from centerkp.demo.kinds import KINDS, make_schema
from centerkp.labels.records import Record
from centerkp.samples import sample as sample_module
from centerkp.samples.augment import Augmentation, _thread_transform, draw_affine, read_compose
from centerkp.samples.sample import Sampler
from centerkp.schema import ObjectClass, Schema

FACE = ObjectClass("face", 1, ("left_eye", "right_eye", "nose"), flip_pairs=((0, 1),), flip_source="names")
CUP = ObjectClass("cup", 2, ("rim",))
SCHEMA = Schema((FACE, CUP))  # K = 4
UNPAIRED = Schema(tuple(replace(c, flip_pairs=(), flip_source="unpaired") for c in SCHEMA.classes))
STILL = {"scale": (1, 1), "rotation": 0, "translation": 0, "color": False, "flip": False}


def _record(tmp_path, image, objects, num_keypoints=4):
    """A record over a real PNG; objects: (box xyxy, class id, {flat keypoint: (x, y)}, is_crowd)."""
    path = tmp_path / "image.png"
    Image.fromarray(image).save(path)
    count = len(objects)
    boxes = np.array([o[0] for o in objects], np.float32).reshape(count, 4)
    keypoints, visibility = np.zeros((count, num_keypoints, 2), np.float32), np.zeros((count, num_keypoints), np.uint8)
    for row, (_, _, points, _) in enumerate(objects):
        for index, xy in points.items():
            keypoints[row, index], visibility[row, index] = xy, 2
    return Record(
        image_id=1, path=path, file_name=path.name, width=image.shape[1], height=image.shape[0], boxes_xyxy=boxes,
        class_ids=np.array([o[1] for o in objects], np.int32), keypoints_xy=keypoints, visibility=visibility,
        is_crowd=np.array([o[3] for o in objects], bool), areas=geometry.box_areas(boxes), annotation_ids=np.arange(count),
    )  # fmt: skip


def _gray(width=64, height=64):
    return np.full((height, width, 3), 90, np.uint8)


def _face(box=(10, 20, 30, 40), **points):
    return (box, 0, points or {0: (12, 22), 1: (28, 22), 2: (20, 30)}, False)


def _rng(seed=0):
    return np.random.default_rng(seed)


def _fix_affine(monkeypatch, *affines):
    monkeypatch.setattr(sample_module, "draw_affine", lambda *_: (geometry.compose(*affines), False))


def test_letterboxed_sample_by_hand(tmp_path):
    record = _record(tmp_path, _gray(100, 50), [((10, 10, 50, 40), 0, {0: (20, 12), 2: (50, 40)}, False)])
    image, truth = Sampler(SCHEMA, (64, 64), max_objects=3)(record, _rng())
    assert image.shape == (64, 64, 3) and image.dtype == np.uint8
    assert (image[:32] == 90).all() and not image[32:].any()
    assert {name: (a.shape, a.dtype.name) for name, a in truth.items()} == {
        "boxes_xyxy": ((3, 4), "float32"),
        "class_ids": ((3,), "int32"),
        "object_weights": ((3,), "float32"),
        "is_crowd": ((3,), "float32"),
        "keypoints_xy": ((3, 4, 2), "float32"),
        "visibility": ((3, 4), "int32"),
        "valid_size": ((2,), "float32"),
        "ignored_boxes": ((0, 4), "float32"),
        "ignored_class_ids": ((0,), "int32"),
    }
    assert truth["boxes_xyxy"].tolist() == [pytest.approx([6.4, 6.4, 32, 25.6]), [0] * 4, [0] * 4]
    assert truth["keypoints_xy"][0].tolist() == [pytest.approx([12.8, 7.68]), [0, 0], pytest.approx([32, 25.6]), [0, 0]]
    assert truth["visibility"].tolist() == [[2, 0, 2, 0], [0] * 4, [0] * 4]
    assert truth["object_weights"].tolist() == [1, 0, 0]
    assert truth["valid_size"].tolist() == [64, 32]


def test_image_without_objects_and_schema_without_keypoints(tmp_path):
    for augmentation in (None, Augmentation(), Augmentation(custom=A.HorizontalFlip(p=1))):
        truth = Sampler(SCHEMA, (32, 32), 2, augmentation)(_record(tmp_path, _gray(), []), _rng())[1]
        assert not truth["object_weights"].any() and truth["keypoints_xy"].shape == (2, 4, 2)
    record = _record(tmp_path, _gray(), [_face()])
    boxes_only = Record(**{**vars(record), "keypoints_xy": np.zeros((1, 0, 2)), "visibility": np.zeros((1, 0), np.uint8)})
    truth = Sampler(Schema.generic(1), (64, 64), 2, Augmentation())(boxes_only, _rng())[1]
    assert truth["keypoints_xy"].shape == (2, 0, 2) and truth["object_weights"].tolist() == [1, 0]


def test_flip_moves_points_and_exchanges_left_and_right(tmp_path):
    image = _gray()
    image[:, :32] = 200
    record = _record(tmp_path, image, [_face(), ((40, 5, 50, 15), 1, {3: (45, 6)}, False)])
    sampler = Sampler(SCHEMA, (64, 64), 2, Augmentation(**{**STILL, "flip": True}))
    outcomes = set()
    for seed in range(20):
        picture, truth = sampler(record, _rng(seed))
        flipped = bool(picture[0, 0, 0] == 90)
        outcomes.add(flipped)
        if flipped:  # pixel x -> 63 - x, so that a box, which ends behind its last pixel, goes to 64 - x
            assert truth["boxes_xyxy"].tolist() == [[34, 20, 54, 40], [14, 5, 24, 15]]
            assert truth["keypoints_xy"][0].tolist() == [[35, 22], [51, 22], [43, 30], [0, 0]]
            assert truth["keypoints_xy"][1, 3].tolist() == [18, 6]
        else:
            assert truth["boxes_xyxy"][0].tolist() == [10, 20, 30, 40]
            assert truth["keypoints_xy"][0].tolist() == [[12, 22], [28, 22], [20, 30], [0, 0]]
        assert truth["visibility"].tolist() == [[2, 2, 2, 0], [0, 0, 0, 2]]
    assert outcomes == {True, False}


@pytest.mark.parametrize("size, custom", [
    ((96, 96), None), ((192, 96), None), ((192, 192), None), ((96, 96), A.HorizontalFlip()), ((96, 96), A.D4()),
])  # fmt: skip
def test_boxes_lie_on_a_mirrored_picture_as_on_the_picture_itself(tmp_path, size, custom):
    """What is a pixel beside it in every other sample, and not in prediction, no network can learn."""
    record = _record(tmp_path, draw(("red", 12, 20, 30)), [((12, 20, 42, 50), 1, {}, False)])
    augmentation = Augmentation(**{**STILL, "flip": custom is None}, custom=custom)
    beside, places = [], set()
    for seed in range(20):
        picture, truth = Sampler(SCHEMA, size, 1, augmentation)(record, _rng(seed))
        ((_, found),) = find_squares(picture)
        beside.append(truth["boxes_xyxy"][0] - found)
        places.add(tuple(found))
    assert len(places) > 1 and np.ptp(beside, axis=0).max() < 1e-3


def test_flip_carries_the_visibility_of_the_partner(tmp_path):
    record = _record(tmp_path, _gray(), [((10, 20, 30, 40), 0, {0: (12, 22)}, False)])
    sampler = Sampler(SCHEMA, (64, 64), 1, Augmentation(**{**STILL, "flip": True}))
    seen = {tuple(sampler(record, _rng(seed))[1]["visibility"][0]) for seed in range(20)}
    assert seen == {(2, 0, 0, 0), (0, 2, 0, 0)}


def test_never_flips_what_cannot_be_flipped(tmp_path):
    record = _record(tmp_path, _gray(), [_face()])
    sampler = Sampler(UNPAIRED, (64, 64), 1, Augmentation(**{**STILL, "flip": True}))
    for seed in range(20):
        assert sampler(record, _rng(seed))[1]["boxes_xyxy"][0].tolist() == [10, 20, 30, 40]


@pytest.mark.parametrize("custom", [None, A.Affine(scale=(0.8, 1.2), rotate=(-30, 30), translate_percent=0.1, p=1)])
def test_points_and_pixels_move_together(tmp_path, custom):
    spot = np.array([70.0, 45.0])
    y, x = np.mgrid[:90, :160]
    blob = 255 * np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / (2 * 3.0**2))
    image = np.repeat(blob[..., None], 3, axis=2).astype(np.uint8)
    record = _record(tmp_path, image, [((60, 35, 80, 55), 1, {3: tuple(spot)}, False)])
    augmentation = Augmentation(rotation=180, translation=0.2, color=False, custom=custom)
    found = 0
    for seed in range(20):
        picture, truth = Sampler(SCHEMA, (128, 96), 1, augmentation)(record, _rng(seed))
        point = truth["keypoints_xy"][0, 3]
        if truth["visibility"][0, 3] == 0 or (point < 12).any() or (point > np.array([128, 96]) - 12).any():
            continue
        weights = np.maximum(picture[..., 0].astype(float) - 20, 0)
        ys, xs = np.mgrid[:96, :128]
        center = [(weights * xs).sum() / weights.sum(), (weights * ys).sum() / weights.sum()]
        assert np.abs(center - point).max() < 0.6
        found += 1
    assert found >= 12


def test_drawn_affine_is_centred_and_invertible():
    affine, flipped = draw_affine(Augmentation(**STILL), 100, 50, (64, 64), _rng())
    assert not flipped
    assert geometry.apply_to_points(affine, [[0, 0], [100, 50]]) == pytest.approx(np.array([[0, 16], [64, 48]]))
    middles, scales, rng = [], [], _rng()
    points = rng.uniform(0, 100, (5, 2))
    for _ in range(400):
        affine, _ = draw_affine(Augmentation(flip=False), 100, 50, (64, 64), rng)
        assert geometry.apply_to_points(geometry.invert(affine), geometry.apply_to_points(affine, points)) == pytest.approx(
            points
        )
        middles.append(geometry.apply_to_points(affine, [31.5 / 0.64, 15.5 / 0.64]))
        scales.append(np.hypot(*affine[:, 0]) / 0.64)
    assert 0.6 <= min(scales) < 0.65 and 1.3 < max(scales) <= 1.4
    assert np.median(scales) == pytest.approx(np.sqrt(0.6 * 1.4), abs=0.05)
    assert np.abs(np.mean(middles, axis=0) - 31.5).max() < 1


def test_same_seed_same_sample_and_other_seed_another(tmp_path):
    image = _rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    record = _record(tmp_path, image, [_face()])
    sampler = Sampler(SCHEMA, (64, 64), 1, Augmentation())
    first, other, again = (sampler(record, _rng(seed)) for seed in (3, 4, 3))
    assert (first[0] == again[0]).all() and all((first[1][k] == again[1][k]).all() for k in first[1])
    assert (first[0] != other[0]).any()


def test_colour_leaves_the_points_alone(tmp_path):
    record = _record(tmp_path, _gray(), [_face()])
    changed = 0
    for seed in range(20):
        picture, truth = Sampler(SCHEMA, (64, 64), 1, Augmentation(**{**STILL, "color": True}))(record, _rng(seed))
        changed += bool((picture != 90).any())
        assert truth["boxes_xyxy"][0].tolist() == [10, 20, 30, 40]
        assert truth["keypoints_xy"][0, 2].tolist() == [20, 30]
    assert changed > 10


def test_point_that_leaves_the_canvas_is_unlabelled_and_keeps_its_place(tmp_path, monkeypatch):
    _fix_affine(monkeypatch, geometry.translation(-15, 0))
    record = _record(tmp_path, _gray(), [_face()])
    truth = Sampler(SCHEMA, (64, 64), 1, Augmentation(**STILL))(record, _rng())[1]
    assert truth["visibility"][0].tolist() == [0, 2, 2, 0]
    assert truth["keypoints_xy"][0].tolist() == [[0, 0], [13, 22], [5, 30], [0, 0]]
    assert truth["boxes_xyxy"][0].tolist() == [0, 20, 15, 40]
    assert truth["valid_size"].tolist() == [64, 64]


def test_turned_box_is_around_the_inscribed_ellipse(tmp_path, monkeypatch):
    turn = [geometry.translation(-30, -30), geometry.rotation(45), geometry.translation(30, 30)]
    _fix_affine(monkeypatch, *turn)
    record = _record(tmp_path, _gray(), [((20, 20, 40, 40), 1, {}, False)])
    truth = Sampler(SCHEMA, (64, 64), 1, Augmentation(**STILL))(record, _rng())[1]
    assert truth["boxes_xyxy"][0] == pytest.approx([20, 20, 40, 40], abs=1e-4)  # a circle of radius 10 stays one
    record = _record(tmp_path, _gray(), [((26, 10, 34, 50), 1, {}, False)])
    truth = Sampler(SCHEMA, (64, 64), 1, Augmentation(**STILL))(record, _rng())[1]
    half = np.sqrt((4**2 + 20**2) / 2)
    assert truth["boxes_xyxy"][0] == pytest.approx([30 - half, 30 - half, 30 + half, 30 + half], abs=1e-4)


def test_turned_box_holds_the_points_it_held_and_what_lay_around_them(tmp_path, monkeypatch):
    _fix_affine(monkeypatch, geometry.translation(-30, -30), geometry.rotation(45), geometry.translation(30, 30))

    def move(box, points):
        record = _record(tmp_path, _gray(), [(box, 0, points, False)])
        truth = Sampler(SCHEMA, (64, 64), 1, Augmentation(**STILL))(record, _rng())[1]
        return truth["keypoints_xy"][0], truth["boxes_xyxy"][0]

    # A rod with round ends, aslant, its points the centers of these; another point, outside the box, stretches nothing.
    corner = 30 + 10 * np.sqrt(2)
    points, box = move((18, 18, 42, 42), {0: (40, 20), 1: (20, 40), 2: (50, 50)})
    assert points[:2] == pytest.approx(np.array([[corner, 30], [60 - corner, 30]]), abs=1e-4)
    assert box == pytest.approx([60 - corner - 2, 28, corner + 2, 32], abs=1e-4)
    # Of a square one corner: it, and the box's reach beyond it and the middle.
    _, box = move((20, 20, 40, 40), {0: (40, 20)})
    assert box == pytest.approx([20, 30 - np.sqrt(50), corner, 30 + np.sqrt(50)], abs=1e-4)


def test_turned_boxes_are_those_of_the_turned_objects(tmp_path, monkeypatch):
    """Of drawn objects of many kinds, whose outlines are known; by their boxes alone they come out at 0.91."""
    rng, schema, overlaps = _rng(), make_schema(), []
    for class_id, kind in enumerate(KINDS):
        own = schema.keypoint_slice(class_id)
        for _ in range(20):
            figure = kind.sketch(rng)
            place = [geometry.rotation(rng.uniform(-figure.turn, figure.turn)), geometry.scaling(30, 30)]
            affine = geometry.compose(*place, geometry.translation(32, 32))
            turn = [geometry.translation(-32, -32), geometry.rotation(rng.uniform(-15, 15)), geometry.translation(32, 32)]
            outline = geometry.apply_to_points(affine, np.concatenate([part for part, _ in figure.parts]))
            box = (*outline.min(0), *outline.max(0))
            points = dict(zip(range(own.start, own.stop), geometry.apply_to_points(affine, figure.points), strict=True))
            record = _record(tmp_path, _gray(), [(box, class_id, points, False)], schema.num_keypoints)
            _fix_affine(monkeypatch, *turn)
            truth = Sampler(schema, (64, 64), 1, Augmentation(**STILL))(record, rng)[1]
            turned = geometry.apply_to_points(geometry.compose(*turn), outline)
            whole = np.concatenate([turned.min(0), turned.max(0)])[None]
            overlaps.append(geometry.box_ious(truth["boxes_xyxy"], geometry.clip_boxes(whole, 64, 64))[0, 0])
    assert np.mean(overlaps) > 0.96


def test_objects_mostly_outside_are_dropped_and_counted(tmp_path, monkeypatch):
    _fix_affine(monkeypatch, geometry.translation(-20, 0))
    objects = [((10, 0, 30, 10), 1, {}, False), ((0, 0, 24, 10), 1, {}, False), ((0, 0, 10, 10), 1, {}, False)]
    record = _record(tmp_path, _gray(), objects)  # 50 %, 17 % and nothing stay inside
    sample = Sampler(SCHEMA, (64, 64), 3, Augmentation(**STILL)).sample(record, _rng())
    assert sample.truth["boxes_xyxy"].tolist() == [[0, 0, 10, 10], [0] * 4, [0] * 4]
    assert (sample.dropped, sample.overflow) == (2, 0)
    sample = Sampler(SCHEMA, (64, 64), 3, Augmentation(**STILL, min_visible_area=0)).sample(record, _rng())
    assert sample.truth["object_weights"].tolist() == [1, 1, 0] and sample.dropped == 1


def test_any_part_of_a_crowd_keeps_its_silence(tmp_path, monkeypatch):
    """Of a crowd that is larger than the sample, too, in which nothing else is labelled."""
    _fix_affine(monkeypatch, geometry.translation(-20, 0))
    record = _record(tmp_path, _gray(), [((0, 0, 24, 10), 1, {}, True), ((0, 0, 20, 10), 1, {}, True)])
    sample = Sampler(SCHEMA, (64, 64), 3, Augmentation(**STILL)).sample(record, _rng())
    assert sample.truth["boxes_xyxy"].tolist() == [[0, 0, 4, 10], [0] * 4, [0] * 4]
    assert sample.truth["is_crowd"].tolist() == [1, 0, 0] and sample.dropped == 1
    _fix_affine(monkeypatch, geometry.scaling(4, 4), geometry.translation(-20, -20))
    record = _record(tmp_path, _gray(), [((0, 0, 64, 64), 1, {}, True)])
    truth = Sampler(SCHEMA, (64, 64), 1, Augmentation(**STILL))(record, _rng())[1]
    assert truth["boxes_xyxy"].tolist() == [[0, 0, 64, 64]] and truth["is_crowd"].tolist() == [1]


def test_the_largest_objects_find_a_place_and_crowds_last(tmp_path):
    sides, crowd = [6, 20, 4, 12, 30], [False, False, False, False, True]
    record = _record(tmp_path, _gray(), [((0, 0, s, s), 1, {}, c) for s, c in zip(sides, crowd, strict=True)])
    sample = Sampler(SCHEMA, (64, 64), 3).sample(record, _rng())
    assert sample.truth["boxes_xyxy"][:, 2].tolist() == [6, 20, 12]
    assert (sample.dropped, sample.overflow) == (0, 2)
    assert sample.truth["ignored_boxes"][:, 2].tolist() == [4, 30] and sample.truth["ignored_class_ids"].tolist() == [1, 1]
    truth = Sampler(SCHEMA, (64, 64), 6)(record, _rng())[1]
    assert truth["is_crowd"].tolist() == [0, 0, 0, 0, 1, 0]
    assert truth["object_weights"].tolist() == [1, 1, 1, 1, 0, 0]


@pytest.mark.parametrize("keypoint_params", [None, A.KeypointParams(format="yx", remove_invisible=True)])
def test_own_compose_that_moves_pixels_keeps_identity(tmp_path, keypoint_params):
    custom = A.Compose([A.HorizontalFlip(p=1)], keypoint_params=keypoint_params)
    record = _record(tmp_path, _gray(), [_face(), ((40, 5, 50, 15), 1, {3: (45, 6)}, False)])
    truth = Sampler(SCHEMA, (64, 64), 2, Augmentation(**STILL, custom=custom))(record, _rng())[1]
    assert truth["boxes_xyxy"].tolist() == [[34, 20, 54, 40], [14, 5, 24, 15]]
    assert truth["keypoints_xy"][0].tolist() == [[35, 22], [51, 22], [43, 30], [0, 0]]
    assert truth["visibility"].tolist() == [[2, 2, 2, 0], [0, 0, 0, 2]]


def test_own_compose_turn_is_no_mirror_and_points_may_leave(tmp_path):
    record = _record(tmp_path, _gray(), [_face()])
    truth = Sampler(SCHEMA, (64, 64), 1, Augmentation(**STILL, custom=A.Rotate((180, 180), p=1)))(record, _rng())[1]
    assert truth["keypoints_xy"][0, 0] == pytest.approx([51, 41], abs=0.01)  # still the left eye
    shifted = A.Affine(translate_px={"x": (-15, -15), "y": (0, 0)}, p=1)
    truth = Sampler(SCHEMA, (64, 64), 1, Augmentation(**STILL, custom=shifted))(record, _rng())[1]
    assert truth["visibility"][0].tolist() == [0, 2, 2, 0]
    assert truth["keypoints_xy"][0, 2] == pytest.approx([5, 30], abs=0.01)


def test_own_compose_that_cannot_be_used_is_refused(tmp_path):
    record = _record(tmp_path, _gray(), [_face()])
    for custom in (A.Resize(32, 32), A.ToFloat()):
        with pytest.raises(ValueError, match="custom transform returned"):
            Sampler(SCHEMA, (64, 64), 1, Augmentation(**STILL, custom=custom))(record, _rng())
    with pytest.raises(ValueError, match="flip_pairs"):
        Sampler(UNPAIRED, (64, 64), 1, Augmentation(**STILL, custom=A.HorizontalFlip(p=1)))(record, _rng())


def test_threads_share_no_transform():
    augmentation = Augmentation(custom=A.Compose([A.HorizontalFlip()]))
    with ThreadPoolExecutor(1) as pool:
        elsewhere = pool.submit(_thread_transform, augmentation).result()
    here = _thread_transform(augmentation)
    flips = [augmentation.custom.transforms[0], here.transforms[0], elsewhere.transforms[0]]
    assert len({id(flip) for flip in flips}) == 3
    assert _thread_transform(augmentation) is here


@pytest.mark.parametrize("extension", ["json", "yaml"])
def test_saved_compose_is_read_back(tmp_path, extension):
    path = tmp_path / f"own.{extension}"
    A.save(A.Compose([A.HorizontalFlip(p=1)]), path, data_format=extension)
    record = _record(tmp_path, _gray(), [_face()])
    truth = Sampler(SCHEMA, (64, 64), 1, Augmentation(**STILL, custom=read_compose(path)))(record, _rng())[1]
    assert truth["boxes_xyxy"][0].tolist() == [34, 20, 54, 40]


@pytest.mark.filterwarnings("ignore::UserWarning")  # Albumentations' remarks about the nonsense
def test_faulty_compose_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.json"):
        read_compose(tmp_path / "none.json")
    for text in ("{", "[]", '{"transform": {"__class_fullname__": "Nonsense"}}'):
        (tmp_path / "own.json").write_text(text)
        with pytest.raises(ValueError, match="own.json"):
            read_compose(tmp_path / "own.json")


@pytest.mark.parametrize(
    "wrong",
    [{"scale": (1.4, 0.6)}, {"scale": (0, 1)}, {"rotation": -5}, {"translation": 2}, {"min_visible_area": 25}, {"custom": 3}],
)
def test_augmentation_outside_its_range_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Augmentation(**wrong)


def test_image_that_changed_since_the_dataset_was_read(tmp_path):
    record = _record(tmp_path, _gray(), [_face()])
    Image.fromarray(_gray(32, 64)).save(record.path)
    with pytest.raises(ValueError, match="image.png.*32x64.*64x64"):
        Sampler(SCHEMA, (64, 64))(record, _rng())
