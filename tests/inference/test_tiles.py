"""Large pictures by tiles: every object once, where it is, whatever seam it lies on."""

import numpy as np
import pytest
import squares

import centerkp
from centerkp.images.tiling import Tiling
from centerkp.inference.detect import detect
from centerkp.inference.detector import find_room
from centerkp.inference.model_loading import require_room
from centerkp.inference.tiles import choose_tiling, join_tiles

TILE, SIDE = 64, 12


def draw_grid(size, step, seed):
    """A picture with red squares all over it, and their boxes."""
    rng, places = np.random.default_rng(seed), []
    for y in range(3, size[1] - SIDE, step):
        for x in range(3, size[0] - SIDE, step):
            places.append((x + int(rng.integers(0, step - SIDE - 2)), y + int(rng.integers(0, step - SIDE - 2))))
    places = [(x, y) for x, y in places if x + SIDE <= size[0] and y + SIDE <= size[1]]
    return squares.draw(*(("red", x, y, SIDE) for x, y in places), size=size), np.array(places)


class RoomyDetector(squares.SquareDetector):
    """Finds more squares than the tests' own detector has rows for."""

    def predict_on_batch(self, inputs):
        self.sizes = inputs["valid_size"]
        squares.OBJECTS, former = 40, squares.OBJECTS
        try:
            found = super().predict_on_batch(inputs)
        finally:
            squares.OBJECTS = former
        return found | {"scores": np.where(found["boxes"].any(-1), np.linspace(0.9, 0.5, 40), 0)}


@pytest.mark.parametrize("size", [(64, 64), (65, 64), (200, 130), (331, 217), (500, 61)])
@pytest.mark.parametrize("overlap", [0.2, 0.25, 0.5])
def test_every_object_is_found_once(size, overlap):
    """Objects of 12 pixels fit into an overlap of a fifth of 64 pixels, so that each is whole in some tile."""
    image, places = draw_grid(size, 24, seed=size[0])
    [result] = detect(RoomyDetector(), [image], tiling=Tiling(TILE, overlap), batch_size=3)
    found = np.array(sorted(d.box_xyxy.tolist() for d in result.detections))
    expected = np.array(sorted([x, y, x + SIDE, y + SIDE] for x, y in places.tolist()))
    assert len(found) == len(expected) > 1
    np.testing.assert_allclose(found, expected, atol=1.0)  # a tile is shown half as large again
    for one in result.detections:
        np.testing.assert_allclose(one.keypoints_xy[0], one.box_xyxy[:2], atol=1e-3)


def test_each_tile_gives_as_many_objects_as_a_whole_picture():
    """So that a picture in tiles may have more, and more may be asked for."""
    detector = squares.SquareDetector()
    detector.max_objects = 2
    with pytest.raises(ValueError, match="--max-objects: found 5, expected at most 2"):
        require_room(detector, 5)
    detector.tiling = Tiling(TILE)
    require_room(detector, 5)
    assert find_room(detector) is None


@pytest.mark.parametrize("length", [10, 64, 65, 100, 128, 129, 1000])
def test_tiles_cover_a_picture_and_areas_leave_no_gap(length):
    tiles = Tiling(TILE, 0.25).cut(length, 20, (96, 96))
    assert tiles[0].x == 0 and tiles[-1].x + tiles[-1].width == length
    assert tiles[0].area_xyxy[0] == -np.inf and tiles[-1].area_xyxy[2] == np.inf
    for one, following in zip(tiles, tiles[1:], strict=False):
        shared = one.x + one.width - following.x
        assert shared >= 0.25 * TILE - 1 and one.width == following.width == TILE
        # Both have the middle half of what they share; nothing lies in neither.
        assert one.area_xyxy[2] - following.area_xyxy[0] == shared / 2


def test_tiles_have_the_shape_of_the_networks_input():
    tiles = Tiling(64, 0.25).cut(200, 100, (96, 48))
    assert {(tile.width, tile.height) for tile in tiles} == {(64, 32)}


def test_smaller_pictures_are_not_made_larger_than_tiles_are():
    """Objects have one size in pixels of the network's input, on every picture."""
    detector = RoomyDetector()
    list(detect(detector, [squares.draw(("red", 5, 5, 12), size=(40, 20))], tiling=Tiling(TILE)))
    assert detector.sizes[0].tolist() == [60, 30]


def test_of_objects_found_twice_the_whole_one_stays():
    """The cut one has the higher score; a neighbour of another class, and one that hardly overlaps, are other objects."""
    first, second = Tiling(100, 0.4).cut(160, 100, (96, 96))
    assert (first.x, second.x) == (0, 60)

    def rows(*objects):
        boxes, scores, classes = zip(*objects, strict=True)
        return {"boxes": np.array(boxes, float), "scores": np.array(scores), "class_ids": np.array(classes)}

    cut, whole = ([66, 0, 100, 30], 0.9, 0), ([66, 0, 110, 30], 0.6, 0)
    other, apart = ([66, 0, 110, 30], 0.5, 1), ([66, 28, 110, 60], 0.5, 0)
    joined = join_tiles([(first, rows(cut)), (second, rows(whole, other, apart))])
    assert sorted(joined["boxes"].tolist()) == sorted([whole[0], other[0], apart[0]])


def test_objects_that_overlap_stay_two_where_more_than_two_tiles_see_them():
    """Of each the deepest is kept, of one from the first tile, of the other from the second; a third must not make them one."""
    tiles = Tiling(100, 0.7).cut(220, 100, (96, 96))
    boxes = np.array([[52, 40, 72, 60], [60, 40, 80, 60]], float)
    for order in ([0.9, 0.8], [0.8, 0.9]):
        one = {"boxes": boxes, "scores": np.array(order), "class_ids": np.zeros(2, int)}
        assert join_tiles((tile, one) for tile in tiles)["boxes"].tolist() == boxes.tolist()


def test_pictures_without_objects():
    [result] = detect(RoomyDetector(), [squares.draw(size=(150, 90))], tiling=Tiling(TILE))
    assert result.detections == [] and result.size == (150, 90)


def test_predict_takes_tiles():
    image, places = draw_grid((200, 130), 24, seed=1)
    [result] = centerkp.predict(RoomyDetector(), image, tile=TILE, min_score=0.0)
    assert len(result.detections) == len(places)


def test_what_a_model_was_trained_with_is_what_nobody_says():
    stored = Tiling(64, 0.3)
    assert choose_tiling(stored, None, None) == stored
    assert choose_tiling(stored, 0, None) is None and choose_tiling(None, None, None) is None
    assert choose_tiling(stored, 96, None) == Tiling(96, 0.3) and choose_tiling(stored, None, 0.1) == Tiling(64, 0.1)
    assert choose_tiling(None, 96, None) == Tiling(96, 0.2)


@pytest.mark.parametrize(
    "tile, overlap, sentence",
    [(8, None, "--tile: found 8"), (64, 1.0, "--overlap: found 1.0"), (64, -0.1, "--overlap"), (None, 0.2, "without --tile"),
     (0, 0.2, "without --tile"), (-5, None, "--tile: found -5")],
)  # fmt: skip
def test_numbers_that_cannot_be(tile, overlap, sentence):
    with pytest.raises(ValueError, match=sentence):
        choose_tiling(None, tile, overlap)


@pytest.mark.parametrize("config", [5, [64], [64, "a"], [64.5, 0.2], [8, 0.2], [64, 2], [10**9, 0.2]])
def test_files_of_models_with_other_tiles_are_refused(config):
    with pytest.raises(ValueError, match="expected"):
        Tiling.from_config(config)


def test_the_tile_that_stands_for_a_picture_is_one_with_something_in_it():
    image = squares.draw(("red", 150, 20, 12), size=(200, 130))
    assert (Tiling(TILE).pick(image, (96, 96))[..., 0] > 200).sum() == 144
