"""What a run takes by itself, on machines that are described here."""

from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from centerkp.console import make_console
from centerkp.distribution import devices
from centerkp.images.tiling import Tiling
from centerkp.model.backbone import check_image_size
from centerkp.model.backbones import find_backbone
from centerkp.model.center_net import CenterNet, save_model
from centerkp.model.hourglass import Hourglass
from centerkp.schema import Schema
from centerkp.settings.canvas import choose_canvas
from centerkp.settings.training import TrainSettings
from centerkp.settings.values import read_box_margins, read_canvas
from centerkp.training import choice
from centerkp.training.choice import choose, choose_box_margins, choose_epochs, choose_room
from centerkp.training.train import start_model


def test_boxes_are_made_as_the_labels_are(monkeypatch):
    schema, measured = Schema.generic(3, [2, 3, 0]), [0.25, 0.0, None]
    monkeypatch.setattr(choice, "measure_box_margins", lambda records, schema: measured)
    settings, (line,) = choose_box_margins(TrainSettings(), [], schema)
    assert settings.box_margins == "0.25,0,none" and line.startswith(
        "boxes: around the keypoints of class_0 (25%), class_1 (0%), "
    )
    model = start_model(schema, replace(settings, backbone="hourglass_10", weights="none", image_size=32), make_console())
    assert model.decode_options.box_margins == tuple(measured)
    assert choose_box_margins(settings, [], schema) == (settings, [])  # a resumed run's, and what somebody says
    measured[:] = [None] * 3
    settings, lines = choose_box_margins(TrainSettings(), [], schema)
    assert settings.box_margins == "none" and not lines and read_box_margins("none") == ()
    with pytest.raises(ValueError, match="box_margins: found 2, expected 3, one for each class, or none alone"):
        choose_box_margins(TrainSettings(box_margins="0.1,none"), [], schema)
    for wrong in ("a,none", "-0.1", "nan", "0.1;0.2"):
        with pytest.raises(ValueError, match="box_margins: found '.*', expected a share from 0 to 10"):
            TrainSettings(box_margins=wrong)


@pytest.fixture
def machine(monkeypatch):
    """Sets the accelerator, and how long convolutions take."""

    def describe(accelerator=None, single=0.004, half=0.002):
        monkeypatch.setattr(choice, "find_accelerator", lambda: accelerator)
        seconds = {"float32": single, "bfloat16": half}
        monkeypatch.setattr(choice, "measure_convolutions", lambda *dtypes: [seconds[dtype] for dtype in dtypes])

    return describe


def decide(**values):
    settings, lines = choose(TrainSettings(**values))
    settings, _ = choose_canvas(settings, [pictured(9, 9)])
    return (settings.backbone, settings.weights, settings.image_size, settings.batch_size), lines[0]


def pictured(width, height, *sides):
    """An image's record with square objects of these sides, one as large as it may be where none is given, and a crowd."""
    boxes = np.float32([(0, 0, side, side) for side in sides or [min(width, height)]] + [(0, 0, 1, 1)])
    return SimpleNamespace(width=width, height=height, boxes_xyxy=boxes, is_crowd=np.arange(len(boxes)) == len(boxes) - 1)


LIGHT = ("efficientnet_lite0_fpn", "drawn", 320, 4)


@pytest.mark.parametrize("accelerator, given, expected, why", [
    (None, {}, LIGHT, "because there is no accelerator here"),
    (("gpu:0", None), {}, LIGHT, "gpu:0 does not tell its memory"),
    (("gpu:0", 8.0), {}, LIGHT, "gpu:0 has 8 GB, hourglass_104 needs 11 for 2 images of 512"),
    (("gpu:0", 12.0), {}, ("hourglass_104", "coco", 512, 2), "gpu:0 has 12 GB and it needs 11 for 2 images of 512"),
    (("gpu:0", 80.0), {}, ("hourglass_104", "coco", 512, 8), "it needs 36 for 8 images of 512"),
    (("gpu:0", 8.0), {"image_size": 256, "batch_size": 4}, ("hourglass_104", "coco", 256, 4), "it needs 7 for 4 images"),
    (("gpu:0", 80.0), {"image_size": "256x192"}, (*LIGHT[:2], "256x192", 4), "104 takes multiples of 128, not 256x192"),
    (("gpu:0", 80.0), {"image_size": "512x384"}, ("hourglass_104", "coco", "512x384", 8), "for 8 images of 512x384"),
    (("gpu:0", 80.0), {"batch_size": 64}, LIGHT[:3] + (64,), "needs 266 for 64 images of 512"),
    (("gpu:0", 80.0), {"weights": "imagenet"}, (LIGHT[0], "imagenet", *LIGHT[2:]), "which --weights imagenet is for"),
    (None, {"weights": "coco"}, ("hourglass_104", "coco", 512, 8), "which --weights coco is for"),
    (None, {"weights": "none"}, ("efficientnet_lite0_fpn", "none", 320, 4), "no accelerator"),
])  # fmt: skip
def test_backbone(machine, accelerator, given, expected, why):
    machine(accelerator)
    found, line = decide(**given)
    assert found == expected
    assert why in line and line.startswith(f"backbone: {expected[0]}")


def test_the_backbone_of_a_model(machine, tmp_path):
    machine()
    for name, spec in (("own", Hourglass(8, (8, 8), (1, 1), stacks=1)), ("named", "hourglass_10")):
        save_model(CenterNet(Schema.generic(1, 1), spec, 64), tmp_path / f"{name}.keras")
    assert decide(weights=str(tmp_path / "named.keras"))[0][0] == "hourglass_10"
    with pytest.raises(ValueError, match="own.keras: found a backbone of widths of its own"):
        decide(weights=str(tmp_path / "own.keras"))


@pytest.mark.parametrize("backbone, shapes, expected, said", [
    (LIGHT[0], {(640, 480): 9}, "320x256", "because the images are wider than high: 80% of the work of 320x320"),
    (LIGHT[0], {(4000, 3000): 98, (3000, 4000): 2}, "320x256", "(--image-size 320 suits any shape)"),
    (LIGHT[0], {(4000, 3000): 97, (3000, 4000): 3}, 320, "by default, because no narrower one suits the shapes"),
    (LIGHT[0], {(1920, 1080): 50, (1280, 1024): 50}, "320x256", "wider than high"),  # as high as the highest need it
    (LIGHT[0], {(1920, 1080): 3}, "320x192", "60% of the work"),
    (LIGHT[0], {(1080, 1920): 3}, "192x320", "higher than wide"),
    (LIGHT[0], {(1000, 100): 3}, "320x160", "50%"),
    (LIGHT[0], {(396, 406): 70}, 320, ""),
    ("hourglass_10", {(1000, 950): 70}, 512, ""),
    (LIGHT[0], {(640, 360): 90, (360, 640): 21}, 320, ""),
    ("hourglass_10", {(640, 480): 9}, "512x368", "72%"),
    ("hourglass_104", {(640, 480): 9}, "512x384", "75%"),
])  # fmt: skip
def test_the_input_has_the_shape_of_nearly_all_images(backbone, shapes, expected, said):
    records = [pictured(w, h) for (w, h), count in shapes.items() for _ in range(count)]
    settings, (line,) = choose_canvas(TrainSettings(backbone=backbone), records)
    assert settings.image_size == expected and line.startswith(f"image size: {expected}, ") and said in line
    check_image_size(read_canvas(expected), find_backbone(backbone).multiple)
    assert choose_canvas(settings, records) == (settings, [])  # a resumed run's, and what somebody says
    tiled, (line,) = choose_canvas(TrainSettings(backbone=backbone, tile=640), records)
    assert tiled.image_size in (320, 512) and "square as tiles are" in line


@pytest.mark.parametrize("backbone, size, sides, expected, said", [
    (LIGHT[0], (1280, 1280), [96] * 20, 320, "by default"),  # 24 pixels at 320
    (LIGHT[0], (1280, 1280), [60] * 20, 512, "at 320 one object in 20 is smaller than 15 pixels: 256% of the work of 320x320"),
    (LIGHT[0], (1280, 960), [60] * 20, "512x384", "15 pixels and the images are wider than high: 192% of the work"),
    (LIGHT[0], (1280, 1280), [30] * 20, 640, "400% of the work of 320x320 (--image-size 320 is quicker"),
    (LIGHT[0], (1280, 1280), [96] * 200 + [5], 320, "by default"),  # one of two hundred decides nothing
    (LIGHT[0], (400, 400), [10] * 20, 448, "at 320 one object in 20 is smaller than 8 pixels"),  # hardly larger than they are
    (LIGHT[0], (200, 200), [10] * 20, 320, "by default"),
    (LIGHT[0], (8000, 8000), [10] * 5 + [3000] * 20, 640, "at 320 one object in 20 is smaller than 0.4 pixels"),
    ("hourglass_10", (2000, 2000), [60] * 20, 832, "at 512 one object in 20 is smaller than 15 pixels"),
    ("hourglass_104", (2000, 2000), [60] * 20, 512, "by default"),  # of which the memory was reckoned
])  # fmt: skip
def test_the_input_shows_small_objects_large_enough(backbone, size, sides, expected, said):
    settings, (line,) = choose_canvas(TrainSettings(backbone=backbone), [pictured(*size, *sides)])
    assert (settings.image_size, settings.tile) == (expected, None) and said in line
    check_image_size(read_canvas(expected), find_backbone(backbone).multiple)


def test_what_is_too_small_in_any_input_is_seen_in_tiles():
    """Of 6000 pixels 640 are shown: objects of 30 to 60 are 3 to 6 there, and 16 to 32 in tiles of 600 or so at 320."""
    large = [pictured(6000, 4000, *([30, 60] * 20))] * 3
    settings, (tile, size) = choose_canvas(TrainSettings(backbone=LIGHT[0]), large)
    assert (settings.tile, settings.image_size) == (608, 320) and "square as tiles are" in size
    count = len(Tiling(608).cut(6000, 4000, (320, 320)))
    assert tile == (
        "tile: 608, because one object in 20 is smaller than 3.2 pixels even at 640: a picture is seen in tiles of 608 "
        f"pixels, {count} of them (--tile 0 shows it whole)"
    )
    assert choose_canvas(settings, large) == (settings, [])  # a resumed run's
    whole, (line,) = choose_canvas(TrainSettings(backbone=LIGHT[0], tile=0), large)
    assert (whole.tile, whole.image_size) == (0, "640x416") and "wider than high" in line
    given, _ = choose_canvas(TrainSettings(backbone=LIGHT[0], image_size=640), large)
    assert (given.tile, given.image_size) == (None, 640)  # who says the size says what is seen
    _, (tile, _) = choose_canvas(TrainSettings(backbone=LIGHT[0]), [*large, pictured(600, 400, 40)])
    assert f"of 608 pixels, 1 to {count} of them" in tile
    mixed, _ = choose_canvas(TrainSettings(backbone=LIGHT[0]), [pictured(6000, 4000, *([30] * 5 + [1500] * 20))])
    assert mixed.tile is None
    # In tiles for the larger ones the small ones would be 5 pixels.
    mixed, _ = choose_canvas(TrainSettings(backbone=LIGHT[0]), [pictured(8000, 5000, *([30] * 5 + [400] * 20))])
    assert mixed.tile is None  # what is large would be cut


def test_pictures_that_are_turned_upright_want_a_square():
    records = [pictured(1280, 720)] * 3
    for turn, expected in ((15, "320x192"), (45, "320x256"), (180, 320)):
        assert choose_canvas(TrainSettings(backbone=LIGHT[0], rotation=turn), records)[0].image_size == expected


def test_a_size_that_the_network_cannot_halve_is_told_before_anything_is_read(machine):
    machine()
    with pytest.raises(ValueError, match="image_size, height: found 200, expected a multiple of 32"):
        choose(TrainSettings(backbone=LIGHT[0], image_size="320x200"))


def test_a_given_size_that_does_not_suit_the_images_is_said():
    records = [pictured(1080, 1920)] * 3
    settings, (line,) = choose_canvas(TrainSettings(image_size="320x192"), records)
    assert settings.image_size == "320x192"
    assert line == (
        "320x192 was given and does not have the images' shape: half of the images have there 60% of the "
        "size that they have at 320x320, or less"
    )
    for suited in ("192x320", 320, "224x320"):
        assert choose_canvas(TrainSettings(image_size=suited), records)[1] == []


@pytest.mark.parametrize("fullest, points, given, expected, said", [
    (7, 2, None, 100, "objects of an image: up to 100, because the fullest of 3 has 7, and takes 0.013 MB"),
    (66, 2, None, 100, "has 66"),
    (150, 2, None, 230, "has 150, and takes 0.29 MB (--max-objects decides otherwise)"),
    (150, 294, None, 184, "has 150, and takes 41 MB"),
    (184, 294, None, 184, "has 184, and takes 51 MB"),
    (3, 0, None, 100, "has 3, and takes less than 0.01 MB (--max-objects"),
    (9000, 0, None, 5000, "no place for 4000 objects of 1 image, the smallest there: neither learned nor taken for background"),
    (150, 2, 100, 100, "no place for 50 objects of 1 image"),
    (150, 2, 400, 400, ""),
])  # fmt: skip
def test_room(fullest, points, given, expected, said):
    records = [SimpleNamespace(boxes_xyxy=np.zeros((n, 4))) for n in (3, fullest, 0)]
    settings, lines = choose_room(TrainSettings(max_objects=given), records, points)
    assert settings.max_objects == expected and settings.decode == {"max_objects": expected, "candidates": expected}
    assert said in "\n".join(lines) and bool(lines) == bool(said)
    assert choose_room(settings, records, points)[0] == settings


def test_room_that_takes_too_much_memory():
    records = [SimpleNamespace(boxes_xyxy=np.zeros((3, 4)))]
    for points, most in ((0, 5000), (294, 583)):
        with pytest.raises(ValueError, match=f"max_objects: found 6000, expected at most {most}"):
            choose_room(TrainSettings(max_objects=6000), records, points)
    with pytest.raises(ValueError, match="max_objects: found 0, expected 1 or more"):
        TrainSettings(max_objects=0)


def test_precision(machine):
    for half, expected in ((0.001, "mixed_bfloat16"), (0.0035, "float32"), (0.008, "float32")):
        machine(half=half)
        settings, lines = choose(TrainSettings())
        assert settings.precision == expected
        took = f"take 4.0 ms here in float32, {1e3 * half:.1f} in bfloat16"
        assert lines[1] == f"precision: {expected}, because a convolution and its gradient {took}"


def test_memory_is_counted_for_the_share_of_a_device(machine):
    machine(("gpu:0", 24.0))
    settings, lines = choose(TrainSettings(), devices=8)
    assert (settings.backbone, settings.batch_size) == ("hourglass_104", 8) and "needs 7 for 1 images" in lines[0]
    settings, _ = choose(TrainSettings())
    assert settings.batch_size == 4


def test_what_is_given_is_kept(machine):
    machine(("gpu:0", 80.0))
    settings, lines = choose(TrainSettings(backbone="hourglass_10", precision="float32"))
    assert (settings.backbone, settings.precision, lines) == ("hourglass_10", "float32", [])
    assert choose(settings) == (settings, [])


def test_this_machine():
    assert all(0 < seconds < 10 for seconds in choice.measure_convolutions("float32", "bfloat16"))


def test_a_gradient_that_is_slow_in_bfloat16_decides(monkeypatch):
    """As on processors whose forward convolutions alone are as quick in it."""
    clock = [0.0]

    def take(seconds):
        def convolve(maps, kernel, padding):
            clock[0] += seconds[keras.backend.standardize_dtype(maps.dtype)]
            return np.zeros((1, 1, 1, 1))

        return convolve

    monkeypatch.setattr(devices.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(devices.ops, "conv", take({"float32": 0.017, "bfloat16": 0.012}))
    monkeypatch.setattr(devices.ops, "conv_transpose", take({"float32": 0.009, "bfloat16": 0.257}))
    assert choose(TrainSettings(backbone="hourglass_10"))[0].precision == "float32"


def test_what_a_call_costs_decides_nothing(monkeypatch):
    """As on accelerators, whose convolution of four images is over long before Python has asked for it."""
    clock, rates = [0.0], {"float32": 2e-5, "bfloat16": 2e-6}

    def convolve(maps, kernel, padding):
        clock[0] += 1e-3 + len(maps) * rates[keras.backend.standardize_dtype(maps.dtype)]
        return np.zeros((1, 1, 1, 1))

    monkeypatch.setattr(devices.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(devices.ops, "conv", convolve)
    monkeypatch.setattr(devices.ops, "conv_transpose", convolve)
    assert choose(TrainSettings(backbone="hourglass_10"))[0].precision == "mixed_bfloat16"


def test_a_busy_moment_decides_nothing(monkeypatch):
    """Half of the measurement falls into a time in which everything takes ten times as long."""
    clock, costs = [0.0], iter([5] * 12 + [0.5] * 12)

    def convolve(maps, kernel, padding):
        clock[0] += next(costs)
        return np.zeros((1, 1, 1, 1))

    monkeypatch.setattr(devices.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(devices.ops, "conv", convolve)
    monkeypatch.setattr(devices.ops, "conv_transpose", convolve)
    assert choice.measure_convolutions("float32", "bfloat16") == [1, 1]


@pytest.mark.parametrize("images, batch, epochs, why", [
    (10, 4, 300, "for 2000 steps, within 12 to 300 epochs"),
    (100, 4, 80, "because 100 images in batches of 4 are to be trained on for 2000 steps (--epochs"),
    (160, 4, 63, "for 2530 steps (--epochs"),
    (10_000, 8, 16, "for 20000 steps (--epochs"),
    (100_000, 8, 12, "for 63246 steps, within 12 to 300 epochs"),
])  # fmt: skip
def test_epochs_suit_the_number_of_images(images, batch, epochs, why):
    settings, lines = choose_epochs(TrainSettings(batch_size=batch), images)
    assert settings.epochs == epochs and why in lines[0] and lines[0].startswith(f"epochs: {epochs}, because")
    assert choose_epochs(settings, 5) == (settings, [])


@pytest.mark.parametrize("given, images, views, epochs, every", [
    ({}, 100, 100, 80, 5), ({}, 40, 40, 200, 10), ({}, 8, 8, 300, 50), ({}, 8, 800, 1000, 50), ({"epochs": 20}, 8, 8, 20, 20),
    ({"epochs": 20, "eval_every": 3}, 8, 8, 20, 3), ({"time": "5m"}, 8, 8, None, None),
])  # fmt: skip
def test_evaluations_lie_a_hundred_steps_apart(given, images, views, epochs, every):
    """Of eight images an epoch is two steps; of their hundred tiles each it shows one, so that more epochs repeat nothing."""
    settings, _ = choose_epochs(TrainSettings(batch_size=4, **given), images, views)
    assert (settings.epochs, settings.eval_every) == (epochs, every)


def test_unfreezing_fits_into_the_chosen_epochs():
    settings = TrainSettings(batch_size=8, freeze="backbone", unfreeze_at=12)
    with pytest.raises(ValueError, match="unfreeze_at: found 12 with freeze 'backbone' and epochs 12"):
        choose_epochs(settings, 100_000)
    assert choose_epochs(settings, 10_000)[0].epochs == 16
