from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from centerkp.drawing import grid
from centerkp.drawing import pictures as drawing
from centerkp.drawing.legend import WIDTH, add_legend
from centerkp.drawing.lettering import find_plate_place, fit_text
from centerkp.drawing.pictures import class_colors, draw_comparison, draw_detections, draw_record, draw_targets, keypoint_colors
from centerkp.results import Detection
from centerkp.schema import ObjectClass, Schema

FISH = ObjectClass("fish", 1, ("fin_R", "tail", "fin_L"), skeleton=((0, 1), (1, 2)), flip_pairs=((0, 2),))
SCHEMA = Schema((FISH, ObjectClass("coin", 2)))
POINTS = np.array([(50, 60), (150, 60), (100, 150)], np.float32)


def detection(points=POINTS, scores=(0.9, 0.9, 0.9), box=(20, 40, 180, 170), class_id=0, name=None):
    kind = SCHEMA.classes[class_id]
    count = len(kind.keypoints)
    return Detection(
        class_id=class_id,
        class_name=name or kind.name,
        category_id=kind.category_id,
        score=0.87,
        box_xyxy=np.array(box, np.float32),
        keypoint_names=kind.keypoints,
        keypoints_xy=np.asarray(points, np.float32)[:count],
        keypoint_scores=np.array(scores, np.float32)[:count],
    )


def gray(width=200, height=200, level=90):
    return np.full((height, width, 3), level, np.uint8)


def test_dots_stand_at_their_points_in_their_colours():
    drawn = draw_detections(gray(), [detection()], SCHEMA)
    for (x, y), color in zip(POINTS.astype(int), keypoint_colors(SCHEMA), strict=True):
        assert drawn[y, x].tolist() == color.tolist()


def test_left_is_blue_and_right_is_orange_and_others_are_neither():
    right, tail, left = keypoint_colors(SCHEMA).astype(int)
    assert left[2] > left[0] + 100 and right[0] > right[2] + 100 and right[1] < right[0]
    assert np.abs(tail - left).max() > 100 and np.abs(tail - right).max() > 100


def test_pairs_of_a_whole_body_stay_on_their_side():
    names = "nose left_eye right_eye left_hip right_hip left_knee right_knee".split()
    pairs = ((1, 2), (3, 4), (5, 6))
    colors = keypoint_colors(Schema((ObjectClass("person", 1, tuple(names), flip_pairs=pairs),))).astype(int)
    assert (colors[1::2, 2] > colors[1::2, 0] + 100).all() and (colors[2::2, 0] > colors[2::2, 2] + 100).all()
    assert len(np.unique(colors, axis=0)) == 7


def test_colours_without_pairs_differ_and_classes_never_run_out():
    schema = Schema.generic(20, [6] + [0] * 19)
    assert len(np.unique(keypoint_colors(schema), axis=0)) == 6
    assert len(np.unique(class_colors(schema), axis=0)) == 20
    assert keypoint_colors(Schema.generic(2)).shape == (0, 3)


def test_weak_keypoint_and_its_lines_are_left_out():
    drawn = draw_detections(gray(), [detection(scores=(0.9, 0.05, 0.9))], SCHEMA, labels=False)
    assert drawn[60, 150].tolist() == drawn[60, 100].tolist() == [90, 90, 90]
    assert draw_detections(gray(), [detection(scores=(0.9, 0.05, 0.9))], SCHEMA, min_keypoint_score=0.0)[60, 150].any()
    between = draw_detections(gray(), [detection()], SCHEMA, labels=False)[60, 100]
    assert between == pytest.approx(class_colors(SCHEMA)[0], abs=25)  # a smoothed line of one pixel


def test_box_lines_lie_on_the_first_and_last_pixel_of_the_box():
    drawn = draw_detections(gray(), [detection(class_id=1)], SCHEMA, labels=False)
    color = class_colors(SCHEMA)[1].tolist()
    for y, x in ((100, 20), (100, 179), (40, 100), (169, 100)):
        assert drawn[y, x].tolist() == color
    assert (drawn[:, :20] == 90).all() and (drawn[:, 180:] == 90).all() and (drawn[41:169, 21:179] == 90).all()


def test_no_detections_give_an_equal_image_of_its_own():
    image = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
    before = image.copy()
    drawn = draw_detections(image, [], SCHEMA)
    assert np.array_equal(drawn, image) and not np.shares_memory(drawn, image)
    draw_detections(image, [detection(box=(2, 2, 30, 20))], SCHEMA)
    assert np.array_equal(image, before)


def test_best_detection_lies_on_top():
    first, second = detection(class_id=1), detection(class_id=0, scores=(0, 0, 0))
    drawn = draw_detections(gray(), [first, second], SCHEMA, labels=False)
    assert drawn[100, 20].tolist() == class_colors(SCHEMA)[1].tolist()


def test_record_draws_full_dot_dark_core_or_nothing():
    points = POINTS[None]
    drawn = draw_record(gray(), [(20, 40, 180, 170)], [0], points, np.array([[2, 1, 0]]), SCHEMA, labels=False)
    colors = keypoint_colors(SCHEMA).tolist()
    assert drawn[60, 50].tolist() == colors[0]
    assert drawn[60, 150].tolist() == list(drawing.EDGE)
    assert drawn[150, 100].tolist() == [90, 90, 90]
    large = draw_record(gray(1200, 1200), [(20, 40, 180, 170)], [0], points, np.array([[2, 1, 0]]), SCHEMA, labels=False)
    assert large[60, 150].tolist() == list(drawing.EDGE) and large[60, 158].tolist() == colors[1]  # radius 10, core 5


def test_record_without_objects_or_keypoints():
    assert np.array_equal(
        draw_record(gray(), np.zeros((0, 4)), np.zeros(0, int), np.zeros((0, 3, 2)), np.zeros((0, 3)), SCHEMA), gray()
    )
    plain = Schema.generic(1)
    drawn = draw_record(gray(), np.array([(5, 5, 50, 50)]), np.array([0]), np.zeros((1, 0, 2)), np.zeros((1, 0)), plain)
    assert drawn[30, 5].tolist() == class_colors(plain)[0].tolist()


@pytest.mark.parametrize(
    "box", [(0, 0, 60, 40), (150, 0, 200, 10), (190, 190, 200, 200), (-50, -50, 300, 300), (0, 198, 9, 200)]
)
@pytest.mark.parametrize("level", [120, 255])
def test_label_is_whole_and_readable_wherever_the_box_lies(box, level):
    found = detection(box=box, class_id=1)
    plain = draw_detections(gray(level=level), [found], SCHEMA, labels=False)
    drawn = draw_detections(gray(level=level), [found], SCHEMA)
    rows, columns = np.nonzero((plain != drawn).any(-1))
    plate = drawn[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    with_room = draw_detections(gray(level=level), [detection(box=(50, 50, 180, 90), class_id=1)], SCHEMA)
    ink, whole_ink = ((part.max(-1) < 40).sum() for part in (plate, with_room))
    assert ink >= 0.9 * whole_ink > 10
    assert (plate == class_colors(SCHEMA)[1]).all(-1).mean() > 0.4


@given(
    st.tuples(*[st.integers(-30, 130)] * 4),
    st.integers(1, 100),
    st.integers(1, 80),
    st.lists(st.tuples(*[st.integers(0, 100)] * 4), max_size=4),
)
def test_plates_never_leave_the_image(box, width, height, taken):
    x, y = find_plate_place(width, height, box, (100, 80), taken)
    assert 0 <= x <= 100 - width and 0 <= y <= 80 - height


def test_second_plate_gives_way_to_the_first():
    assert find_plate_place(30, 10, (20, 40, 80, 60), (100, 100), []) == (20, 30)
    assert find_plate_place(30, 10, (20, 40, 80, 60), (100, 100), [(20, 30, 50, 40)]) == (20, 60)
    assert find_plate_place(30, 10, (20, 4, 80, 60), (100, 100), [(20, 0, 50, 10)]) == (20, 60)


def test_names_in_other_alphabets_come_out_different_and_letters_no_font_has_as_codes():
    pictures = [
        draw_detections(gray(), [detection(name=n)], SCHEMA) for n in ("шшш", "жжж", "äää", "ααα", "中中", "文文", "🐟")
    ]
    assert len({p.tobytes() for p in pictures}) == len(pictures)
    assert fit_text("\U000f0000x", 500, 16)[0] == "\\U000f0000x"
    assert fit_text("ключ ä", 500, 16)[0] == "ключ ä"


def test_long_names_are_shortened_and_line_breaks_are_blanks():
    text, font = fit_text("an endless name " * 100, 120, 16)
    assert text.startswith("an endless") and text.endswith("…") and font.getlength(text) <= 120
    assert fit_text("two\nlines\t", 500, 16)[0] == "two lines"
    assert fit_text("word", 2, 16)[0] == ""
    assert draw_detections(gray(), [detection(name="a\nb" * 300)], SCHEMA).shape == (200, 200, 3)


@pytest.mark.parametrize("width, height", [(8, 8), (1, 1), (1, 300), (500, 3), (2400, 1800)])
def test_any_size_of_image(width, height):
    found = detection(points=POINTS / 200 * (width, height), box=np.array((20, 40, 180, 170)) / 200 * ([width, height] * 2))
    drawn = draw_detections(gray(width, height), [found], SCHEMA)
    assert drawn.shape == (height, width, 3) and (drawn != 90).any()


def test_line_width_follows_the_image():
    thin, thick = (
        draw_detections(gray(s, s), [detection(box=(s // 4, s // 4, s // 2, s // 2), class_id=1)], SCHEMA, labels=False)
        for s in (200, 1600)
    )
    assert (thin[75, :60] != 90).any(-1).sum() == 1
    assert 4 <= (thick[600, :500] != 90).any(-1).sum() <= 8


@pytest.mark.parametrize("wild", [np.nan, np.inf, -1e30, 1e12])
def test_wild_coordinates_do_no_harm(wild):
    points = POINTS.copy()
    points[1] = wild
    drawn = draw_detections(gray(), [detection(points=points)], SCHEMA)
    assert drawn[60, 50].tolist() == keypoint_colors(SCHEMA)[0].tolist()
    draw_detections(gray(), [detection(box=(wild, 0, 50, 50))], SCHEMA)


@pytest.mark.parametrize(
    "image", [np.zeros((9, 9)), np.zeros((9, 9, 3)), np.zeros((9, 9, 4), np.uint8), np.zeros((0, 9, 3), np.uint8)]
)
def test_other_images_are_refused(image):
    with pytest.raises(ValueError, match=r"expected uint8 \(height, width, 3\)"):
        draw_detections(image, [], SCHEMA)


def test_targets_darken_the_image_and_glow_at_their_cells():
    heatmap = np.zeros((5, 5, 2), np.float32)
    colors = np.array([(200, 100, 0), (0, 100, 200)], np.uint8)
    assert (draw_targets(gray(20, 20, 100), heatmap, colors) == 45).all()
    heatmap[1:4, 1:4, 0] = 1
    drawn = draw_targets(gray(20, 20, 100), heatmap, colors)
    assert drawn[10, 10].tolist() == [200, 100, 0] and drawn[0, 0].tolist() == [45, 45, 45]
    heatmap[1:4, 1:4, 1] = 1
    assert draw_targets(gray(20, 20, 100), heatmap, colors)[10, 10].tolist() == [100, 100, 100]
    assert draw_targets(gray(20, 20, 100), 0.5 * heatmap, colors)[10, 10].tolist() == [72, 72, 72]  # half of 45, half of 100
    with pytest.raises(ValueError, match="2 channels|one color per channel"):
        draw_targets(gray(20, 20), heatmap, colors[:1])


def truth_of_one(count=3):
    points = np.zeros((2, count, 2), np.float32)
    points[0] = POINTS[:count] / 4
    return {
        "boxes_xyxy": np.array([(5, 10, 45, 43), (0, 0, 60, 60)], np.float32),
        "class_ids": np.array([0, 0], np.int32),
        "object_weights": np.array([1, 0], np.float32),
        "keypoints_xy": points,
        "visibility": np.full((2, count), 2, np.int32),
    }


def test_training_sample_shows_three_panels_without_padding_rows():
    targets = {"center_heatmap": np.zeros((16, 16, 2)), "keypoint_heatmap": np.zeros((16, 16, 3))}
    targets["keypoint_heatmap"][6:9, 6:9, 1] = 1
    drawn = drawing.draw_training_sample(gray(64, 64), truth_of_one(), targets, SCHEMA)
    bar, gap = drawn.shape[0] - 64 - 2 * 2, 2
    assert drawn.shape[1] == 3 * 64 + 4 * gap
    sample, centers, points = (drawn[gap + bar :, gap + i * 66 :][:64, :64] for i in range(3))
    assert sample[40, 5].tolist() == class_colors(SCHEMA)[0].tolist()
    assert sample[30, 59].tolist() == [90, 90, 90]
    assert (centers == 40).all()
    assert points[30, 30].tolist() == keypoint_colors(SCHEMA)[1].tolist()


def test_training_sample_of_a_plain_detector_shows_two_panels():
    drawn = drawing.draw_training_sample(
        gray(64, 64), truth_of_one(0), {"center_heatmap": np.zeros((16, 16, 1))}, Schema.generic(1)
    )
    assert drawn.shape[1] == 2 * 64 + 3 * 2


def test_comparison_sets_truth_left_and_prediction_right():
    truth = SimpleNamespace(
        boxes_xyxy=np.array([(20, 40, 180, 170)]),
        class_ids=np.array([1]),
        keypoints_xy=np.zeros((1, 3, 2)),
        visibility=np.zeros((1, 3), np.uint8),
    )
    drawn = draw_comparison(gray(400, 400), truth, [], SCHEMA)
    assert drawn.shape[1] == 2 * 400 + 3 * 5
    assert drawn[-305, 5 + 20].tolist() == class_colors(SCHEMA)[1].tolist()
    assert (drawn[-405:-5, 410:810] == 90).all()
    assert draw_comparison(gray(100, 100), truth, [], SCHEMA).shape[1] == 2 * 500 + 3 * 6


def test_mosaic_cells_are_where_they_should_be():
    images = [gray(20, 10, level) for level in (50, 100, 150)]
    drawn = grid.make_grid(images, columns=2)
    assert drawn.shape == (26, 46, 3)
    assert (drawn[2:12, 2:22] == 50).all() and (drawn[2:12, 24:44] == 100).all() and (drawn[14:24, 2:22] == 150).all()
    assert (drawn[14:24, 24:44] == grid.PAPER).all() and (drawn[:2] == grid.PAPER).all()


def test_mosaic_of_different_sizes_keeps_aspects_and_fills_the_width():
    drawn = grid.make_grid([gray(100, 50, 200), gray(10, 10, 100)], titles=("wide", "square"), columns=2, width=206)
    assert drawn.shape[1] == 206
    cells = drawn[-52:-2]
    assert (cells[:, 2:102] == 200).all()
    assert (cells[:, 104:204] == 100).all(-1).sum(1).tolist() == [50] * 50  # a square of 50 in the middle
    assert (cells[:, 129:179] == 100).all()
    titles = drawn[2:-52]
    assert all((titles[:, x : x + 100].max(-1) > 180).any() for x in (2, 104))


@pytest.mark.parametrize(
    "images, options", [([], {}), ([gray()], {"titles": ("a", "b")}), ([gray()], {"columns": -1}), ([gray()] * 9, {"width": 5})]
)
def test_mosaic_refuses_what_it_cannot_lay_out(images, options):
    with pytest.raises(ValueError, match="make_grid: found"):
        grid.make_grid(images, **options)


MANY = Schema((ObjectClass("shirt", 1, tuple(f"landmark_{n}" for n in range(1, 32))), ObjectClass("bee", 2, ("head", "tail"))))


def make_truth(objects, schema=MANY):
    """`objects`: (class_id, box); keypoints lie on an ellipse in the box."""
    points = np.zeros((len(objects), schema.num_keypoints, 2))
    visibility = np.zeros(points.shape[:2], int)
    for row, (class_id, (x0, y0, x1, y1)) in enumerate(objects):
        own = schema.keypoint_slice(class_id)
        turns = np.linspace(0, 2 * np.pi, own.stop - own.start, endpoint=False)
        points[row, own] = np.column_stack(
            [(x0 + x1) / 2 + 0.4 * (x1 - x0) * np.cos(turns), (y0 + y1) / 2 + 0.4 * (y1 - y0) * np.sin(turns)]
        )
        visibility[row, own] = 2
    boxes = np.array([box for _, box in objects], float)
    return SimpleNamespace(
        boxes_xyxy=boxes, class_ids=np.array([c for c, _ in objects]), keypoints_xy=points, visibility=visibility
    )


def test_many_keypoints_have_numbers_and_a_legend():
    truth = make_truth([(0, (40, 40, 360, 360))])
    plain = draw_record(gray(400, 400), *vars(truth).values(), MANY)
    drawn = draw_record(gray(400, 400), *vars(truth).values(), MANY, close_up=True)
    assert drawn.shape == plain.shape
    # As large as it was: numbers have changed pixels, and no dot lies under one.
    dots = truth.keypoints_xy[0, :31].round().astype(int)
    assert (drawn != plain).any(-1).sum() > 20 * 60
    assert all((drawn[y, x] == color).all() for (x, y), color in zip(dots, keypoint_colors(MANY), strict=False))
    both = draw_comparison(gray(400, 400), truth, [], MANY)
    bare = draw_comparison(gray(400, 400), make_truth([(1, (40, 40, 360, 360))]), [], MANY)
    assert both.shape[0] == bare.shape[0] and both.shape[1] == bare.shape[1] + 2 * WIDTH  # 32 lines of 20 pixels
    colors = {tuple(c) for c in both[:, bare.shape[1] :].reshape(-1, 3).tolist()}
    assert {tuple(c) for c in keypoint_colors(MANY)[:31].tolist()} <= colors
    assert add_legend(gray(90, 10), MANY, [0]).shape == (10, 90, 3)  # no room


def test_labels_of_a_small_picture_cover_no_object():
    """A picture that is to be looked at is drawn larger, and has them all."""
    boxes = [(10, 20, 40, 44), (50, 24, 90, 60), (20, 70, 60, 120), (80, 75, 126, 126), (2, 50, 16, 64)]
    truth = make_truth([(1, box) for box in boxes])

    def draw(labels, close_up=False):
        return draw_record(gray(128, 128), *vars(truth).values(), MANY, labels=labels, close_up=close_up)

    plain, drawn = draw(False), draw(True)
    changed = (plain != drawn).any(-1)
    assert changed.any() and not any(changed[y0:y1, x0:x1].any() for x0, y0, x1, y1 in boxes)
    plain, drawn = draw(False, True), draw(True, True)
    assert drawn.shape == (512, 512, 3)
    changed = (plain != drawn).any(-1)
    for x0, y0, x1, y1 in 4 * np.array(boxes):
        assert changed[y0 - 20 : y0, x0 : x0 + 20].any() and not changed[y0:y1, x0:x1].any()
