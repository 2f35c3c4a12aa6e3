import json

import numpy as np
import pytest

from centerkp.images.sensors import Levels
from centerkp.inference.model_loading import load_detector
from centerkp.results import Thresholds
from centerkp.runtimes.artefact import AnySizeDetector, ArtefactDetector, Description, find_artefact, in_batches
from centerkp.schema import ObjectClass, Schema

SCHEMA = Schema((ObjectClass("Zange", 3, ("Spitze links", "Spitze rechts"), flip_pairs=((0, 1),)), ObjectClass("nut", 7)))


class Counting(ArtefactDetector):
    """Finds as many pixels as the first one of an image is bright, and counts its calls."""

    calls = 0

    def run_canvas(self, image, valid_size):
        self.calls += 1
        assert image.dtype == np.uint8 and valid_size.dtype == np.float32
        scores = image[:, 0, 0, :1] / np.float32(255)
        found = {"scores": scores, "boxes": np.tile(valid_size, (1, 2))[:, None], "class_ids": np.zeros((len(image), 1), int)}
        return found | {"keypoints": np.zeros((len(image), 1, 2, 2)), "keypoint_scores": np.zeros((len(image), 1, 2))}


def test_description_round_trip():
    one = Description(SCHEMA, (96, 64), "onnx", "bf16", 1, Thresholds(0.25, (0.5, 0.25), (30, 0)), Levels(-3, 40.5), 150)
    other = Description.from_json(one.to_json(), "x.onnx")
    assert (other.schema, other.image_size, other.format, other.precision, other.batch) == (SCHEMA, (96, 64), "onnx", "bf16", 1)
    assert other.thresholds == one.thresholds and other.levels == one.levels and other.max_objects == 150
    content = json.loads(one.to_json())
    assert content.pop("thresholds") == {"overall": 0.25, "scores": [0.5, 0.25], "objects": [30, 0]}
    del content["max_objects"]
    earlier = Description.from_json(json.dumps(content), "x.onnx")
    assert earlier.thresholds is None and earlier.max_objects is None
    assert content["class_names"] == ["Zange", "nut"] and content["keypoint_names"][0] == "Zange/Spitze links"
    assert content["outputs"] == ["boxes", "scores", "class_ids", "keypoints", "keypoint_scores"]
    assert Description(Schema.generic(1), (64, 64), "onnx").to_dict()["outputs"] == ["boxes", "scores", "class_ids"]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"image_size": [1], "schema": {}}', '{"image_size": [64, 64], "schema": 3}'])
def test_foreign_descriptions_are_refused(text):
    with pytest.raises(ValueError, match=r"x\.onnx: found no readable description .* export the model again"):
        Description.from_json(text, "x.onnx")


def test_in_batches_fills_up_and_cuts_off():
    seen = []

    def run(values):
        seen.append(values.tolist())
        return {"double": values * 2}

    assert in_batches(run, 2, np.arange(5))["double"].tolist() == [0, 2, 4, 6, 8]
    assert seen == [[0, 1], [2, 3], [4, 4]]
    assert in_batches(run, None, np.arange(3))["double"].tolist() == [0, 2, 4]


def test_predict_on_batch_takes_what_keras_takes(tmp_path):
    detector = Counting(tmp_path, Description(SCHEMA, (4, 2), "x", batch=1))
    image = np.zeros((3, 2, 4, 3), np.float32)
    image[:, 0, 0, 0] = [0.4, 254.6, 300]  # rounded and clipped, not cut off or wrapped around
    found = detector.predict_on_batch({"image": image, "valid_size": [[4, 2], [3, 2], [4, 1]]})
    assert detector.calls == 3 and (found["scores"][:, 0] * 255).round().tolist() == [0, 255, 255]
    assert found["boxes"][1, 0].tolist() == [3, 2, 3, 2]
    assert detector.predict_on_batch(image)["boxes"][0, 0].tolist() == [4, 2, 4, 2]
    with pytest.raises(ValueError, match=r"found images of shape \(4, 2, 3\), expected 2 x 4 x 3"):
        detector.predict_on_batch({"image": np.zeros((1, 4, 2, 3), np.uint8)})


def test_an_artefact_that_letterboxes_scales_no_canvas(tmp_path):
    """Of a picture smaller than a tile, whose sides are both shorter than the canvas, one is filled up with its black."""
    seen = []

    class Seeing(AnySizeDetector):
        def run_images(self, image):
            seen.append(image.shape)
            return {name: np.zeros((len(image), 1)) for name in ("boxes", "scores", "class_ids")}

    detector = Seeing(tmp_path, Description(Schema.generic(1), (8, 4), "x"))
    detector.predict_on_batch({"image": np.zeros((4, 4, 8, 3)), "valid_size": [[8, 2], [3, 4], [3, 4], [5, 3]]})
    assert seen == [(1, 2, 8, 3), (2, 4, 3, 3), (1, 3, 8, 3)]


def test_what_is_an_artefact(tmp_path):
    for name in ("a.onnx", "b.XML", "c.tflite", "d.keras"):
        (tmp_path / name).write_bytes(b"")
    assert find_artefact(tmp_path / "a.onnx") and find_artefact(tmp_path / "b.XML") and find_artefact(tmp_path / "c.tflite")
    assert find_artefact(tmp_path / "d.keras") is None and find_artefact("coco") is None
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"")
    assert find_artefact(folder) is None  # a checkpoint of the zoo has such a file too
    (folder / "schema.json").write_text("{}")
    assert find_artefact(folder) == folder
    with pytest.raises(FileNotFoundError, match=r"gone\.tflite: no such file"):
        load_detector(tmp_path / "gone.tflite")
    with pytest.raises(FileNotFoundError, match=r"gone\.keras"):
        load_detector(tmp_path / "gone.keras")


def test_unverified_artefacts_are_refused(tmp_path):
    folder = tmp_path / "m.tflite.UNVERIFIED"
    folder.mkdir()
    (folder / "m.tflite").write_bytes(b"")
    with pytest.raises(ValueError, match=r"lies in m\.tflite\.UNVERIFIED.*export again"):
        load_detector(folder / "m.tflite")


def test_broken_files_are_named(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(b"TFL3 not really")
    with pytest.raises(ValueError, match=r"m\.tflite: found no schema\.json inside"):
        load_detector(path)
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"nothing")
    Description(SCHEMA, (64, 64), "saved_model").write(folder / "schema.json")
    with pytest.raises(ValueError, match="TensorFlow does not load"):
        load_detector(folder)


def described(**changes):
    return json.dumps(Description(SCHEMA, (96, 64), "onnx").to_dict() | changes)


def schema_with(**changes):
    config = SCHEMA.get_config()
    config["classes"][0] |= changes
    return config


MANY = [str(i) for i in range(20_001)]
ABSURD = {
    "deep": lambda: "[" * 100_000 + "]" * 100_000,
    "long": lambda: json.dumps({"x": "y" * 10_000_001}),
    "negative size": lambda: described(image_size=[-96, 64]),
    "huge size": lambda: described(image_size=[10**9, 64]),
    "size that is no number": lambda: described(image_size=[float("nan"), 64]),
    "size without end": lambda: described(image_size=[float("inf"), 64]),
    "fraction": lambda: described(image_size=[96.5, 64]),
    "batch": lambda: described(batch=0),
    "huge batch": lambda: described(batch=10**9),
    "digits": lambda: described().replace("[96,", "[" + "9" * 5000 + ","),
    "precision": lambda: described(precision="fp1"),
    "list as precision": lambda: described(precision=[]),
    "number as format": lambda: described(format=3),
    "long name": lambda: described(schema=schema_with(name="x" * 10_000)),
    "many keypoints": lambda: described(schema=schema_with(keypoints=MANY, flip_pairs=[], oks_sigmas=[])),
    "numbers as names": lambda: described(schema=schema_with(keypoints=[1, 2])),
    "keypoints that are none": lambda: described(schema=schema_with(keypoints=5)),
    "class that is none": lambda: described(schema={"classes": [3]}),
    "no class": lambda: described(schema={"classes": []}),
    "skeleton elsewhere": lambda: described(schema=schema_with(skeleton=[[0, 7]])),
    "pairs of texts": lambda: described(schema=schema_with(flip_pairs=[["0", "1"]])),
    "huge id": lambda: described(schema=schema_with(category_id=2**70)),
    "thresholds": lambda: described(thresholds={"overall": 0.5, "scores": [0.5], "objects": [1]}),
    "sigma": lambda: described(schema=schema_with(oks_sigmas=[float("nan"), 1])),
}


@pytest.mark.parametrize("kind", ABSURD)
def test_absurd_descriptions_are_refused(kind):
    with pytest.raises(ValueError, match=r"x\.onnx: found no readable description .* export the model again") as caught:
        Description.from_json(ABSURD[kind](), "x.onnx")
    assert len(str(caught.value)) < 1000
    Description.from_json(described(), "x.onnx")


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"class_ids": np.full((1, 1), 2)}, "objects of class 2 .* 2 classes and 2 keypoints"),
        ({"class_ids": np.full((1, 1), -1)}, "2 classes"),
        ({"keypoints": np.zeros((1, 1, 3, 2))}, "with 3 keypoints"),
        ({"keypoints": None}, "no output keypoints"),
    ],
)
def test_a_graph_of_other_classes_than_described(tmp_path, changes, words):
    class Other(Counting):
        def run_canvas(self, image, valid_size):
            found = super().run_canvas(image, valid_size) | changes
            return {name: values for name, values in found.items() if values is not None}

    detector = Other(tmp_path, Description(SCHEMA, (4, 2), "x", batch=1))
    with pytest.raises(ValueError, match=words):
        detector.predict_on_batch(np.full((1, 2, 4, 3), 200, np.uint8))
