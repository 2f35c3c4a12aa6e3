"""Model files that claim to be large: refused before anything of that size is made, in one sentence that names the file."""

import io
import json
import resource
import time
import zipfile

import h5py
import keras
import numpy as np
import pytest

from centerkp.model.backbones import BACKBONES
from centerkp.model.center_net import count_parameters, load_model
from centerkp.model.hourglass import Hourglass
from centerkp.schema import MAX_ID, Schema
from centerkp.weights.start import build_model

TINY = Hourglass(4, (4, 4), (1, 1), 1)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "good.keras"
    build_model(num_classes=1, num_keypoints=2, backbone=TINY, image_size=16).save(path)
    return path


def change(source, target, edit=None, weights=None, method=zipfile.ZIP_STORED):
    """A copy with `edit(config of the CenterNet)`, and other bytes as weights."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", method) as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json" and edit:
                config = json.loads(data)
                edit(config["config"])
                data = json.dumps(config)
            new.writestr(name, weights if name == "model.weights.h5" and weights is not None else data)
    return target


def refused(path, words):
    """Loading takes neither long nor much memory."""
    started, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=f"{path.name}: not a readable centerkp model .*{words}") as caught:
        load_model(path)
    assert len(str(caught.value)) < 1000
    assert time.process_time() - started < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000  # kB


def field(name, value, part=None):
    def edit(config):
        (config[part] if part else config)[name] = value

    return edit


def threshold(**values):
    return field("thresholds", {"overall": 0.5, "scores": [0.5], "objects": [3]} | values)


def nest(config):
    inner = config["decode"] = {}
    for _ in range(300):
        inner["x"] = inner = {}


NAN = float("nan")
MOBILE = {"kind": "mobilenet"}
ABSURD = {
    "stacks": (field("stacks", 10**9, "backbone"), "backbone, stacks: found 1000000000, expected a number from 0 to 8192"),
    "stacks within": (field("stacks", 8000, "backbone"), "found 16000 blocks of layers, expected 1 to 256"),
    "blocks": (field("blocks", [1, 5000], "backbone"), "found 5001 blocks"),
    "channels": (field("channels", [20_000, 20_000], "backbone"), "channels: found 20000, expected"),
    "channels within": (field("channels", [8000, 8000], "backbone"), r"found widths that make \d+ million parameters"),
    "negative channels": (field("channels", [-4, 4], "backbone"), "channels: found -4, expected"),
    "many stages": (field("channels", [4] * 1000, "backbone"), "channels: found 1000 values"),
    "width of the heads": (lambda c: c["backbone"].update(feature_channels=512, head_channels=8192), "million parameters"),
    "filters of the heads": (
        lambda c: c["backbone"].update(feature_channels=512, head_channels=8192, separable_heads=9),
        "million parameters",
    ),
    "texts": (field("channels", ["4", "4"], "backbone"), ""),
    "known backbone": (
        field("backbone", BACKBONES["hourglass_104"].get_config() | {"stacks": 5}),
        "million parameters",
    ),
    "another kind": (field("backbone", MOBILE | {"stages": [[3, 4000, 8, 1, 2]] * 3}), "blocks|MobileNet"),
    "unknown kind": (field("backbone", {"kind": "x"}), "kind: found 'x'"),
    "size": (field("image_size", 10**9), "image_size: found 1000000000, expected a whole number from 1 to 16384"),
    "negative size": (field("image_size", [-16, 16]), "image_size: found -16"),
    "half a size": (field("image_size", [16.5, 16]), "image_size: found 16.5"),
    "objects": (field("max_objects", 10**8, "decode"), "decode, max_objects: found 100000000"),
    "pairs": (lambda c: c["decode"].update(max_objects=5000, candidates=5000) or many_points(c), "pairs of objects"),
    "margins": (field("box_margins", 0.5, "decode"), "decode, box_margins: found 0.5, expected a list of 1"),
    "margins of others": (field("box_margins", [None, 0.5], "decode"), "box_margins: found .*0.5., expected a list of 1"),
    "margin": (field("box_margins", [-1], "decode"), "decode, box_margins: found -1, expected a number from 0 to 10"),
    "window": (field("keypoint_kernel", 10**6, "decode"), "keypoint_kernel: found 1000000"),
    "no number": (field("box_scale", NAN, "decode"), "box_scale: found nan"),
    "without end": (field("bn_momentum", float("inf")), "bn_momentum: found inf"),
    "momentum": (field("bn_momentum", 2), "bn_momentum: found 2"),
    "weight": (field("box_size", -1, "loss_weights"), "box_size: found -1"),
    "thresholds": (field("thresholds", [0.5]), "thresholds: found .0.5., expected the fields"),
    "levels": (field("levels", [5, "9"]), "levels: found .*, expected two numbers"),
    "levels the wrong way": (field("levels", [9, 5]), "stretch: found 9,5, expected two numbers"),
    "field of thresholds": (threshold(other=1), "thresholds: found .*, expected the fields"),
    "threshold": (
        threshold(overall=2),
        "thresholds: found the scores 2 and .0.5., expected a number from 0 to 1",
    ),
    "threshold that is none": (threshold(scores=[NAN]), "scores: found nan"),
    "text as threshold": (threshold(scores=["0.5"]), "thresholds: found the scores"),
    "truth as threshold": (threshold(scores=[True]), "thresholds: found the scores"),
    "many thresholds": (threshold(scores=[0.5] * 10_000), "thresholds: found the scores"),
    "objects of thresholds": (threshold(objects=[-1]), "thresholds: found the counts .-1., expected 1 whole numbers from 0"),
    "half an object": (threshold(objects=[0.5]), "thresholds: found the counts"),
    "epochs": (field("trained_epochs", -1), "trained_epochs: found -1"),
    "half an epoch": (field("unfinished", {"steps": "many"}), "unfinished, steps: found"),
    "time": (field("timed", {"progress": 0.5}), "timed, seconds: found None, expected a number"),
    "times": (field("timed", [1]), r"timed: found \[1\]"),
    "deep": (nest, "nested more than 40 deep"),
    "long name": (lambda c: c["schema"]["classes"][0].update(name="x" * 1500), "a name of 1500 letters"),
    "long text": (lambda c: c["schema"]["classes"][0].update(name="x" * 10**6), "a text of 1000000 letters"),
    "many classes": (
        lambda c: c["schema"].update(classes=[{"name": str(i), "category_id": i} for i in range(30_000)]),
        "30000",
    ),
    "no schema": (lambda c: c.pop("schema"), "schema"),
}


def many_points(config):
    config["schema"]["classes"][0] |= {"keypoints": [str(i) for i in range(100)], "oks_sigmas": [0.1] * 100}


def test_ids_of_categories_are_as_large_as_labels_may_have_them(tmp_path):
    """Some tools make them of hashes."""
    schema = Schema.from_coco({"categories": [{"id": MAX_ID - 1, "name": "bee", "keypoints": ["head"]}]})
    build_model(schema, backbone=TINY, image_size=16).save(tmp_path / "bee.keras")
    assert load_model(tmp_path / "bee.keras").schema == schema


@pytest.mark.parametrize("kind", ABSURD)
def test_absurd_fields(good, tmp_path, kind):
    edit, words = ABSURD[kind]
    refused(change(good, tmp_path / "bad.keras", edit), words)


def write_h5(write):
    file = io.BytesIO()
    with h5py.File(file, "w") as weights:
        write(weights)
    return file.getvalue()


GIGA = 10**9
WEIGHTS = {
    "zeros in the zip": (lambda: bytes(400_000_000), zipfile.ZIP_DEFLATED, "found 0 MB that unpack to 400 MB"),
    "zeros inside": (
        lambda: write_h5(lambda w: w.create_dataset("x", (GIGA,), "f4", compression="gzip", chunks=(1 << 20,))),
        zipfile.ZIP_STORED,
        "that unpack to 4000 MB of numbers",
    ),
    "inside both": (
        lambda: write_h5(lambda w: w.create_dataset("x", (GIGA,), "f4", compression="gzip", chunks=(1 << 20,))),
        zipfile.ZIP_DEFLATED,
        "that unpack to 4000 MB of numbers",
    ),
    "another file": (
        lambda: write_h5(lambda w: w.create_dataset("x", (10,), "u1", external=[("/etc/hostname", 0, 10)])),
        zipfile.ZIP_STORED,
        "no plain numbers in /x",
    ),
    "a link": (
        lambda: write_h5(lambda w: w.__setitem__("x", h5py.ExternalLink("/tmp/other.h5", "/y"))),
        zipfile.ZIP_STORED,
        "a link to other places in //x",
    ),
    "objects": (
        lambda: write_h5(lambda w: w.create_dataset("x", data=["a", "b"])),
        zipfile.ZIP_STORED,
        "no plain numbers",
    ),
    "nothing": (lambda: b"", zipfile.ZIP_STORED, ""),
    "noise": (lambda: bytes(range(256)) * 20, zipfile.ZIP_STORED, ""),
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_that_unpack_to_more(good, tmp_path, kind):
    make, method, words = WEIGHTS[kind]
    refused(change(good, tmp_path / "bad.keras", weights=make(), method=method), words)


@pytest.mark.filterwarnings("ignore:Skipping")  # Keras, before it says which layers are missing
def test_a_group_inside_itself(good, tmp_path):
    """Ends, with whatever Keras says of what is missing."""

    def write(weights):
        weights.create_group("a")["b"] = weights["/"]

    refused(change(good, tmp_path / "bad.keras", weights=write_h5(write)), "")


def test_files_that_were_packed_again_load(good, tmp_path):
    path = change(good, tmp_path / "again.keras", method=zipfile.ZIP_DEFLATED)
    image = np.full((1, 16, 16, 3), 99, np.float32)
    np.testing.assert_array_equal(load_model(path)(image)[0]["box_size"], load_model(good)(image)[0]["box_size"])


def test_what_was_counted_is_never_built():
    """Not in the next scope either, at whose end Keras gives values to all variables that have none."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert count_parameters(Schema.generic(1), Hourglass(4, (4096, 4096), (1, 1), 1, head_channels=4)) > 10**9
    with keras.StatelessScope():
        pass
    keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x)])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000  # kB


def test_parameters_are_counted_without_building():
    schema = Schema.generic(2, 3)
    for backbone in (TINY, BACKBONES["hourglass_10"], BACKBONES["mobilenetv2_fpn"]):
        count = count_parameters(schema, backbone)
        assert count == build_model(schema, backbone=backbone, image_size=128).count_params()


@pytest.mark.parametrize("name", BACKBONES)
def test_our_own_backbones_are_far_within(name):
    assert 1 <= BACKBONES[name].count_blocks() <= 64
