import json

import cv2
import numpy as np
import pytest

from centerkp.export.fold import fold
from centerkp.export.saved_model import _letterbox_in_tensorflow, write_saved_model
from centerkp.images.reading import letterbox_image
from centerkp.inference.detect import detect
from centerkp.inference.model_loading import load_detector
from centerkp.results import to_source
from centerkp.runtimes.artefact import OUTPUTS


@pytest.fixture(scope="module")
def path(tiny_model, tmp_path_factory):
    return write_saved_model(fold(tiny_model), tmp_path_factory.mktemp("saved") / "m")


@pytest.fixture(scope="module")
def detector(path):
    return load_detector(path)


def test_names_order_and_description(path, tiny_model):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    names = {"boxes", "scores", "class_ids", "keypoints", "keypoint_scores"}
    one = loaded.signatures["serving_default"]
    assert set(one.structured_outputs) == set(loaded.signatures["canvas"].structured_outputs) == names
    assert one.structured_input_signature[1]["image"].shape.as_list() == [None, None, None, 3]
    assert one.structured_outputs["class_ids"].dtype == tf.int32
    inside, beside = (json.loads((path / part).read_text()) for part in ("assets/schema.json", "schema.json"))
    assert inside == beside and inside["class_names"] == list(tiny_model.schema.class_names)
    assert inside["image_size"] == [96, 64]


def test_canvas_equals_keras(detector, tiny_model, inputs):
    ours, theirs = detector.predict_on_batch(inputs), tiny_model.predict_on_batch(inputs)
    assert (detector.schema, detector.image_size) == (tiny_model.schema, (96, 64))
    assert detector.thresholds == tiny_model.thresholds and detector.thresholds.objects == (40, 25, 0)
    assert np.asarray(theirs["scores"])[:, 0].min() > 0.2  # something is found
    for name in OUTPUTS:
        np.testing.assert_allclose(ours[name], theirs[name], atol=2e-3, err_msg=name)


def test_images_of_any_size_come_back_in_their_own_pixels(detector, tiny_model, pictures):
    for picture in pictures:
        canvas, affine, size = letterbox_image(picture, (96, 64))
        expected = tiny_model.predict_on_batch({"image": canvas[None], "valid_size": np.float32([size])})
        expected = to_source({name: np.asarray(values)[0] for name, values in expected.items()}, affine)
        found = {name: values[0] for name, values in detector.run_images(picture[None]).items()}
        assert found["boxes"][:, 2].max() <= picture.shape[1] + 1e-3 and found["boxes"][:, 3].max() <= picture.shape[0] + 1e-3
        assert abs(found["scores"][0] - expected["scores"][0]) < 0.02
        np.testing.assert_allclose(found["boxes"][0], expected["boxes"][0], atol=0.5 / affine[0, 0])


def test_letterbox_differs_from_opencv_by_rounding_only():
    """The last digit of a weight decides which way a half falls."""
    rng = np.random.default_rng(0)
    for width, height in ((96, 64), (64, 64), (640, 360), (33, 500), (97, 65), (1, 1), (2, 7)):
        image = cv2.GaussianBlur(rng.integers(0, 256, (height, width, 3), np.uint8), (0, 0), 1.5)
        canvas, affine, size = letterbox_image(image, (96, 64))
        ours, valid_size, scale = _letterbox_in_tensorflow(np.stack([image, image[::-1]]), (96, 64))
        assert tuple(valid_size.numpy()) == size
        np.testing.assert_allclose(scale, [affine[0, 0], affine[1, 1]], rtol=1e-6)
        difference = np.abs(ours.numpy()[0] - canvas)
        assert difference.max() <= 1 and (difference > 0).mean() < 0.01, (width, height, difference.max())
        assert not ours.numpy()[:, size[1] :].any() and not ours.numpy()[:, :, size[0] :].any()


def test_a_detector_like_any_other(detector, pictures):
    results = list(detect(detector, pictures, batch_size=3))
    assert len(results) == 4 and all(r.detections for r in results)


def test_fixed_batch_and_other_numbers(tiny_model, inputs, tmp_path):
    one = load_detector(write_saved_model(fold(tiny_model, "bfloat16"), tmp_path / "m", precision="bf16", batch=1))
    assert (one.description.precision, one.description.batch) == ("bf16", 1)
    assert one.predict_on_batch({"image": inputs["image"]})["boxes"].shape == (4, 20, 4)
    with pytest.raises(ValueError, match="found image size 128 x 128 asked for, expected 96 x 64"):
        load_detector(tmp_path / "m", image_size=128)
    with pytest.raises(ValueError, match="stacks=1"):
        load_detector(tmp_path / "m", stacks=1)
