import time
import zipfile
from io import BytesIO, StringIO
from threading import enumerate as all_threads

import cv2
import numpy as np
import pytest
from PIL import Image

import centerkp
from centerkp.images.sensors import Levels
from centerkp.inference.detect import Frame, detect, read_ahead
from centerkp.inference.predict import _print_once, predict
from centerkp.results import Thresholds
from centerkp.schema import ObjectClass, Schema

SCHEMA = Schema((ObjectClass("spot", 1, ("middle",)),))


class FindBrightest:
    """A detector without a network: one object around the brightest pixel; remembers the sizes of its batches."""

    schema, image_size = SCHEMA, (32, 32)

    def __init__(self):
        self.batches = []

    def predict_on_batch(self, x):
        images = np.asarray(x["image"])
        self.batches.append(len(images))
        flat = images.sum(-1, dtype=int).reshape(len(images), -1).argmax(1)
        middle = np.stack([flat % 32, flat // 32], -1).astype("float32")[:, None]
        return {
            "boxes": np.concatenate([middle - 2, middle + 2], -1), "scores": np.full((len(images), 1), 0.5),
            "class_ids": np.zeros((len(images), 1), int), "keypoints": middle[:, :, None],
            "keypoint_scores": np.full((len(images), 1, 1), 0.25), "keypoint_deviations": np.ones((len(images), 1, 1)),
        }  # fmt: skip


def spot(x, y, size=64, dtype="uint8", white=255):
    image = np.zeros((size, size, 3), dtype)
    image[y : y + 2, x : x + 2] = white
    return image


def test_public_names():
    assert centerkp.predict is predict and centerkp.Frame is Frame and callable(centerkp.load_detector)


SOURCES = {
    "array": lambda p: spot(20, 40),
    "float": lambda p: spot(20, 40, dtype="float32", white=1),
    "uint16": lambda p: spot(20, 40, dtype="uint16", white=65535),
    "gray": lambda p: spot(20, 40)[..., 0],
    "pillow": lambda p: Image.fromarray(spot(20, 40)),
    "path": lambda p: p / "a.png",
    "text path": lambda p: str(p / "a.png"),
    "pattern": lambda p: f"{p}/a.*",
    "folder": lambda p: p,
    "frame": lambda p: Frame("f", spot(20, 40)),
    "list": lambda p: [p / "a.png"],
    "batch": lambda p: spot(20, 40)[None],
    "generator": lambda p: (spot(20, 40) for _ in range(1)),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_of_source(kind, tmp_path):
    """All hold the same picture, whose spot is found in its own pixels: twice the network's."""
    Image.fromarray(spot(20, 40)).save(tmp_path / "a.png")
    results = predict(FindBrightest(), SOURCES[kind](tmp_path))
    assert isinstance(results, list) and len(results) == 1
    (found,) = results[0]
    assert found.class_name == "spot" and found.score == 0.5 and found.box_xyxy.tolist() == [16, 36, 24, 44]
    assert found.keypoints["middle"] == (20, 40, 0.25) and found.keypoint_deviations.tolist() == [2]
    assert results[0].image.shape == (64, 64, 3) and (results[0].image == spot(20, 40)).all()
    assert results[0].path == (tmp_path / "a.png" if kind in ("path", "text path", "pattern", "folder", "list") else None)


def test_many_of_all_kinds_keep_their_order(tmp_path):
    Image.fromarray(spot(2, 2)).save(tmp_path / "a.png")
    buffer = np.zeros((64, 64, 3), np.uint8)

    def clip():
        """A generator that fills one array again and again."""
        for x in range(20, 40, 2):
            buffer[:] = spot(x, 40)
            yield buffer

    results = predict(FindBrightest(), [tmp_path, spot(4, 4), np.stack([spot(6, 6), spot(8, 8)]), clip()], batch_size=3)
    assert [r[0].keypoints["middle"][0] for r in results] == [2, 4, 6, 8, *range(20, 40, 2)]
    assert [r.name for r in results][:3] == [str(tmp_path / "a.png"), "image_1", "image_2"]
    assert results[0].pixels is None and results[0].image.shape == (64, 64, 3)  # files are read again
    assert len(results.to_dataframe()) == 14 and len(results.to_coco()["annotations"]) == 14
    assert predict(FindBrightest(), []) == [] and predict(FindBrightest(), spot(4, 4), min_score=0.6)[0].detections == []


def test_stored_scores_are_the_default_and_are_told_once(capsys):
    _print_once.cache_clear()
    detector = FindBrightest()
    assert [len(predict(detector, spot(4, 4))[0]) for _ in range(2)] == [1, 1]
    detector.thresholds = Thresholds(0.6, (0.6,), (5,))
    assert [len(predict(detector, spot(4, 4), min_score=score)[0]) for score in (None, 0.5, None)] == [0, 1, 0]
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("least score 0.3, since none") and "0.6, stored" in second and "decide it: 5 of spot)" in second


def test_unreadable_files_warn_and_arrays_raise(tmp_path):
    (tmp_path / "zero.jpg").write_bytes(b"")
    with pytest.warns(UserWarning, match="left out: .*zero.jpg"):
        results = predict(FindBrightest(), [tmp_path / "zero.jpg", spot(4, 4)])
    assert "zero.jpg" in results[0].error and len(results[0]) == 0 and len(results[1]) == 1
    with pytest.raises(ValueError, match="image_1: found an array of float32 from 0 to 255, expected 0 to 1"):
        predict(FindBrightest(), [spot(4, 4), spot(4, 4).astype("float32")])
    for source, error, words in [
        (tmp_path / "no.jpg", FileNotFoundError, "no.jpg: found no image"), (None, ValueError, "type NoneType"),
        ([3], ValueError, "type int"), (np.zeros((2, 3, 8, 8)), ValueError, "image_0: .*transpose"),
    ]:  # fmt: skip
        with pytest.raises(error, match=words):
            predict(FindBrightest(), source)


def test_a_few_images_do_not_pay_for_a_full_batch():
    for count, sizes in ((1, [1]), (3, [4]), (8, [8]), (9, [8, 8]), (5, [8])):
        detector = FindBrightest()
        assert len(list(detect(detector, [spot(4, 4)] * count))) == count and detector.batches == sizes


def test_detect_reads_no_further_ahead_than_it_must():
    """An endless source: bounded reading, and leaving the loop ends the threads and closes the source."""
    taken, closed = [], []

    def endless():
        try:
            while True:
                taken.append(1)
                yield spot(4, 4)
        finally:
            closed.append(1)

    before = {t.name for t in all_threads()}
    results = detect(FindBrightest(), endless(), batch_size=2)
    next(results)
    time.sleep(0.3)
    assert len(taken) <= 2 * 7
    results.close()
    assert closed and {t.name for t in all_threads()} <= before
    count = len(taken)
    time.sleep(0.2)
    assert len(taken) == count


def test_faults_of_source_and_detector_are_raised():
    def breaks():
        yield spot(4, 4)
        raise OSError("camera gone")

    with pytest.raises(OSError, match="camera gone"):
        list(detect(FindBrightest(), breaks()))

    class Broken(FindBrightest):
        def predict_on_batch(self, x):
            raise MemoryError("too large")

    with pytest.raises(MemoryError, match="too large"):
        list(detect(Broken(), [spot(4, 4)]))


def test_reading_network_and_caller_overlap():
    """Three steps of 20 ms each, ten times: side by side they take little more than one of them."""

    class Slow(FindBrightest):
        def predict_on_batch(self, x):
            time.sleep(0.02)
            return super().predict_on_batch(x)

    def slow_source():
        for _ in range(10):
            time.sleep(0.02)
            yield spot(4, 4)

    start = time.perf_counter()
    for _ in detect(Slow(), slow_source(), batch_size=1):
        time.sleep(0.02)
    assert time.perf_counter() - start < 0.45  # one after another: 0.6


def test_read_ahead():
    assert list(read_ahead(iter(range(100)), 3)) == list(range(100)) and list(read_ahead([], 1)) == []
    with pytest.raises(TypeError, match="not iterable"):
        list(read_ahead(3, 1))


def test_pictures_of_sensors_are_seen_as_in_training(tmp_path):
    """A spot that is bright for the sensor, and for nobody who takes its numbers for all of 16 bits."""
    path, detector = tmp_path / "a.png", FindBrightest()
    values = np.full((64, 64), 7500, np.uint16)
    values[10:12, 20:22] = 7560
    cv2.imwrite(str(path), values)
    with pytest.warns(UserWarning, match="1 image: more than 8 bits .*--stretch"):
        predict(detector, path)
    detector.levels = Levels(7500, 7560)
    (result,) = predict(detector, path)
    np.testing.assert_allclose(result[0].keypoints["middle"][:2], (20, 10), atol=2)
    assert result.image.max() == 255 and result.image.min() == 0


def _encode(image, kind="PNG"):
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, kind)
    return buffer.getvalue()


def test_bytes_and_open_files(tmp_path):
    """What a web server has in its hands."""
    data, path = _encode(spot(20, 10)), tmp_path / "upload.bin"
    path.write_bytes(data)
    with open(path, "rb") as file, open(path, "rb") as other:
        sources = [data, bytearray(data), memoryview(data), BytesIO(data), file, [[data], data], spot(20, 10)]
        alone = [predict(FindBrightest(), source) for source in (data, BytesIO(data), other)]
        found = predict(FindBrightest(), sources)
    for result in [*found, *(one for (one,) in alone)]:
        np.testing.assert_allclose(result[0].keypoints["middle"][:2], (20, 10), atol=2)
    assert [result.name for result in found] == [f"image_{n}" if n != 4 else str(path) for n in range(8)]
    assert alone[0][0].image.shape == (64, 64, 3)
    for source, words in (
        ([data, b""], "image_1: found no bytes at all"),
        ([data, data[:60]], "image_1: found a PNG of 64x64 pixels without its end"),
        (BytesIO(b"%PDF-1.7"), r"image_0: found another kind of file \(PDF document\)"),
        (StringIO("text"), "image_0: found a file that is open for text, expected one for bytes"),
    ):
        with pytest.raises(ValueError, match=words):
            predict(FindBrightest(), source)


def test_a_zip_archive_is_a_folder(tmp_path):
    """Pictures by their content; what is damaged is named, and pixels are read again when somebody asks."""
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("b/second", _encode(spot(20, 10)))
        archive.writestr("a.jfif", _encode(spot(20, 10), "JPEG"))
        archive.writestr("c.png", b"damaged")
        archive.writestr("notes.txt", "text")
        archive.writestr("page.pdf", b"%PDF-1.7")
        archive.writestr("__MACOSX/._a.jfif", b"\0\5\x16\7")
    with pytest.warns(UserWarning) as warned:
        first, second, damaged = predict(FindBrightest(), path)
    assert [result.name for result in (first, second)] == [f"{path}/a.jfif", f"{path}/b/second"] and not first.pixels
    for result in (first, second):
        np.testing.assert_allclose(result[0].keypoints["middle"][:2], (20, 10), atol=2)
        assert result.image.shape == (64, 64, 3)
    assert damaged.error.startswith(f"{path}/c.png: found no image format")
    listed, failed = (str(one.message) for one in warned)
    assert listed.startswith("left out: 1 PDF document") and "c.png" in failed
