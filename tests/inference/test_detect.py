import json

import cv2
import numpy as np
import pytest
import squares
from pycocotools.coco import COCO

import centerkp
from centerkp.geometry import letterbox
from centerkp.inference.detect import detect
from centerkp.inference.search import find_images
from centerkp.model.hourglass import Hourglass
from centerkp.results import coco_dataset, split_objects, to_source
from centerkp.schema import ObjectClass, Schema
from centerkp.weights.start import build_model
from centerkp.writing import write_json

SCHEMA = Schema((ObjectClass("cup", 4, ("rim", "foot"), ((0, 1),)), ObjectClass("lid", 9)))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    (folder / "sub").mkdir()
    for name, size in (("a.jpg", (90, 60)), ("b.PNG", (33, 70)), ("sub/c.jpg", (64, 64))):
        pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
        cv2.imwrite(str(folder / name), pixels)
    (folder / "notes.txt").write_text("no image")
    (folder / "zero.jpg").write_bytes(b"")
    return folder


def test_find_images(images):
    assert [p.name for p in find_images([images])] == ["a.jpg", "b.PNG", "c.jpg", "zero.jpg"]
    assert [p.name for p in find_images([images / "*.jpg", images / "a.jpg"])] == ["a.jpg", "zero.jpg"]
    assert [p.name for p in find_images([f"{images}/**/c.*"])] == ["c.jpg"]
    for nothing in (images / "no.jpg", images / "*.gif"):
        with pytest.raises(FileNotFoundError, match="found no image"):
            find_images([nothing])


def test_detect_keeps_order_size_and_errors(images):
    """Three images and a broken one in steps of two: source pixels, the same as each image alone."""
    model = build_model(SCHEMA, backbone=Hourglass(4, (8, 8), (1, 1), 1), image_size=64)
    paths = find_images([images])
    results = list(detect(model, paths, batch_size=2))
    assert [r.path for r in results] == paths
    assert [bool(r.error) for r in results] == [False, False, False, True] and "zero.jpg" in results[3].error
    for result, (width, height) in zip(results, [(90, 60), (33, 70), (64, 64)], strict=False):
        assert result.image.shape == (height, width, 3)
        boxes = np.array([d.box_xyxy for d in result.detections])
        assert len(boxes) and boxes.min() >= 0 and boxes[:, 2].max() <= width + 1e-3 and boxes[:, 3].max() <= height + 1e-3
        alone = next(iter(detect(model, [result.path], batch_size=2)))
        np.testing.assert_allclose(alone.detections[0].box_xyxy, result.detections[0].box_xyxy, atol=1e-3)
    first = results[0].detections
    assert [d.score for d in first] == sorted((d.score for d in first), reverse=True)
    assert set(next(d for d in first if d.class_name == "cup").keypoints) == {"rim", "foot"}
    assert next(d for d in first if d.class_name == "lid").keypoints == {}
    assert list(detect(model, paths[:1], min_score=0.9999))[0].detections == []


@pytest.mark.parametrize("batch_size", [0, -1])
def test_steps_have_an_image_at_least(batch_size):
    with pytest.raises(ValueError, match=f"batch_size: found {batch_size}, expected 1 or more"):
        centerkp.predict(squares.SquareDetector(), squares.draw(), batch_size=batch_size)


def test_to_source_undoes_the_letterbox():
    affine, _ = letterbox(200, 100, (64, 64))
    objects = {"boxes": np.array([[0, 0, 32, 16.0]]), "keypoints": np.array([[[16.0, 8]]]), "scores": np.ones(1)}
    objects["keypoint_deviations"] = np.array([[2.0]])
    back = to_source(objects, affine)
    np.testing.assert_allclose(back["keypoint_deviations"], [[6.25]])  # a distance: pixels are 3.125 times as many
    np.testing.assert_allclose(back["boxes"], [[0, 0, 100, 50]])
    np.testing.assert_allclose(back["keypoints"], [[[50, 25]]])


def test_split_objects_and_coco_file(tmp_path):
    decoded = {
        "boxes": np.array([[0, 0, 2, 2], [10, 20, 30, 60], [5, 5, 6, 6.0]]),
        "scores": np.array([0.2, 0.9, 0.0]),
        "class_ids": np.array([1, 0, 0]),
        "keypoints": np.arange(12.0).reshape(3, 2, 2),
        "keypoint_scores": np.full((3, 2), 0.5),
    }
    found = split_objects(decoded, SCHEMA)
    assert [d.class_name for d in found] == ["cup", "lid"]  # best first, the empty row left out
    assert found[0].keypoints == {"rim": (4.0, 5.0, 0.5), "foot": (6.0, 7.0, 0.5)}
    assert len(split_objects(decoded, SCHEMA, min_score=0.5)) == 1
    assert [d.class_name for d in split_objects(decoded, SCHEMA, min_score=(0.95, 0.1))] == ["lid"]
    path = write_json(tmp_path / "deep" / "p.json", coco_dataset(
        [{"id": 3, "file_name": "ä.jpg", "width": 100, "height": 80}], [found], SCHEMA))  # fmt: skip
    coco = COCO(str(path))
    cup = coco.dataset["annotations"][0]
    assert (cup["image_id"], cup["category_id"], cup["bbox"], cup["keypoints"]) == (3, 4, [10, 20, 20, 40], [4, 5, 2, 6, 7, 2])
    assert coco.dataset["categories"][0]["skeleton"] == [[1, 2]] and "keypoints" not in coco.dataset["annotations"][1]
    assert Schema.from_coco(path).classes[0].keypoints == ("rim", "foot")
    assert json.loads(path.read_text())["images"][0]["file_name"] == "ä.jpg"
    assert [p.name for p in path.parent.iterdir()] == ["p.json"]
