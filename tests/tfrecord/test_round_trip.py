"""TFRecords: what is written key by key, that it comes back as it was, and records as others write them."""

import gzip
import json
import pickle
from dataclasses import fields

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from centerkp.cli import main
from centerkp.formats.label_map import write_label_map
from centerkp.images.reading import read_image, read_image_size
from centerkp.labels.coco import read_coco
from centerkp.samples.augment import Augmentation
from centerkp.samples.pipeline import SamplePyDataset, make_dataset
from centerkp.samples.sample import Sampler
from centerkp.schema import Schema
from centerkp.tfrecord.reader import read_tfrecords, restore_pixels
from centerkp.tfrecord.writer import StoredImage, name_shards, write_tfrecords

CATEGORIES = [
    {"id": 2, "name": "cat", "keypoints": ["nose", "left_ear", "right_ear"], "flip_pairs": [["left_ear", "right_ear"]]},
    {"id": 5, "name": "box"},
    {"id": 9, "name": "dog", "keypoints": ["nose", "tail"], "oks_sigmas": [0.03, 0.1]},
]
# The keys and types that the Object Detection API's own writer gives COCO keypoints.
STANDARD = {
    "image/encoded": "bytes_list",
    "image/filename": "bytes_list",
    "image/format": "bytes_list",
    "image/height": "int64_list",
    "image/key/sha256": "bytes_list",
    "image/object/area": "float_list",
    "image/object/bbox/xmax": "float_list",
    "image/object/bbox/xmin": "float_list",
    "image/object/bbox/ymax": "float_list",
    "image/object/bbox/ymin": "float_list",
    "image/object/class/label": "int64_list",
    "image/object/class/text": "bytes_list",
    "image/object/is_crowd": "int64_list",
    "image/object/keypoint/num": "int64_list",
    "image/object/keypoint/text": "bytes_list",
    "image/object/keypoint/visibility": "int64_list",
    "image/object/keypoint/x": "float_list",
    "image/object/keypoint/y": "float_list",
    "image/source_id": "bytes_list",
    "image/width": "int64_list",
}


def draw(width, height, seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def write_images(folder):
    """One image of each kind that is stored in another way; the (name, upright width, height) of each."""
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(draw(61, 47, 1)).save(folder / "plain.jpg", quality=90)
    Image.fromarray(draw(40, 30, 2)).save(folder / "plain.png")
    Image.fromarray(draw(50, 40, 3)).save(folder / "turned.jpg", exif=exif)
    Image.fromarray(draw(33, 35, 4)).save(folder / "web ü.webp", lossless=True)
    cv2.imwrite(str(folder / "deep.png"), draw(20, 24, 5).astype(np.uint16) * 257)
    Image.fromarray(draw(48, 48, 6)).convert("L").save(folder / "gray.jpg")
    Image.fromarray(draw(48, 32, 7)).convert("CMYK").save(folder / "print.jpg")
    return [("plain.jpg", 61, 47), ("plain.png", 40, 30), ("turned.jpg", 40, 50), ("web ü.webp", 33, 35), ("deep.png", 20, 24),
            ("gray.jpg", 48, 48), ("print.jpg", 48, 32)]  # fmt: skip


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    """A dataset with all kinds of images and objects; the last image is a negative."""
    folder = tmp_path_factory.mktemp("coco")
    images, annotations = [], []
    for number, (name, width, height) in enumerate(write_images(folder / "images")):
        images.append({"id": 70 - number, "file_name": name, "width": width, "height": height})
        box = [1.3 + number, 2.57, width / 2 + 0.125, height - 4.31]
        points = [3.21 + number, 4.1, 2, width - 1.7, 5.55, 1, 0, 0, 0]
        common = {"image_id": 70 - number, "iscrowd": 0, "bbox": [round(side, 2) for side in box], "area": 77.7}
        if name == "print.jpg":
            continue
        annotations += [
            common | {"category_id": 2, "keypoints": [round(p, 2) for p in points], "num_keypoints": 2},
            common | {"category_id": 9, "keypoints": [2, 3, 2, 0, 0, 0], "num_keypoints": 1, "area": 12.25},
            common | {"category_id": 5, "iscrowd": number % 2},
        ]
    for number, annotation in enumerate(annotations, 1):
        annotation["id"] = number
    path = folder / "ann.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": CATEGORIES}))
    return path


@pytest.fixture(scope="module")
def written(coco, tmp_path_factory):
    """The COCO dataset, and the pattern of three shards made from it."""
    dataset = read_coco(coco)
    assert dataset.notes == ("1 image: no annotations, kept as negatives",)
    folder = tmp_path_factory.mktemp("records")
    pattern = str(folder / "out" / "train.record-?????-of-00003")
    files, converted = write_tfrecords(pattern, dataset.records, dataset.schema)
    assert [file.rsplit("-", 3)[1:] for file in files] == [[f"0000{i}", "of", "00003"] for i in range(3)]
    assert converted == 4  # turned, WebP, 16 bits, CMYK
    write_label_map(folder / "map.pbtxt", dataset.schema)
    return dataset, pattern, folder / "map.pbtxt"


def examples(path):
    import tensorflow as tf

    return [tf.train.Example.FromString(data.numpy()) for data in tf.data.TFRecordDataset(path)]


def test_every_key_has_the_standard_type(written):
    for pattern in name_shards(written[1]):
        for example in examples(pattern):
            assert {key: value.WhichOneof("kind") for key, value in example.features.feature.items()} == STANDARD


def test_without_keypoints_there_are_no_keypoint_keys(written, tmp_path):
    record = written[0].records[-1]
    schema = Schema.generic(1)
    bare = type(record)(**{f.name: getattr(record, f.name) for f in fields(record)} | {"visibility": np.zeros((0, 0))})
    write_tfrecords(tmp_path / "x.record", [bare], schema)
    (example,) = examples(tmp_path / "x.record")
    assert set(example.features.feature) == {key for key in STANDARD if "keypoint" not in key}


def test_values_by_hand(tmp_path):
    """One object and a crowd on a 40x20 image, keypoints of two classes on one axis."""
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((20, 40, 3), np.uint8))
    entry = {"image_id": 3, "bbox": [10, 5, 20, 10], "area": 150, "iscrowd": 0, "num_keypoints": 1}
    annotations = [
        entry | {"id": 1, "category_id": 9, "keypoints": [12, 6, 1, 0, 0, 0]},
        entry | {"id": 2, "category_id": 5, "iscrowd": 1},
    ]
    images = [{"id": 3, "file_name": "a.png", "width": 40, "height": 20}]
    (tmp_path / "ann.json").write_text(json.dumps({"images": images, "annotations": annotations, "categories": CATEGORIES}))
    dataset = read_coco(tmp_path / "ann.json")
    write_tfrecords(tmp_path / "x.record", dataset.records, dataset.schema)
    (example,) = examples(tmp_path / "x.record")
    found = {key: list(getattr(value, value.WhichOneof("kind")).value) for key, value in example.features.feature.items()}
    assert found.pop("image/encoded") == [(tmp_path / "a.png").read_bytes()]
    assert len(found.pop("image/key/sha256")[0]) == 64
    tenths = found.pop("image/object/keypoint/x"), found.pop("image/object/keypoint/y")
    assert [[round(v, 6) for v in values] for values in tenths] == [[0] * 3 + [0.3] + [0] * 6, [0] * 3 + [0.3] + [0] * 6]
    assert found == {
        "image/format": [b"png"],
        "image/filename": [b"a.png"],
        "image/source_id": [b"3"],
        "image/height": [20],
        "image/width": [40],
        "image/object/bbox/xmin": [0.25, 0.25],
        "image/object/bbox/xmax": [0.75, 0.75],
        "image/object/bbox/ymin": [0.25, 0.25],
        "image/object/bbox/ymax": [0.75, 0.75],
        "image/object/class/text": [b"dog", b"box"],
        "image/object/class/label": [9, 5],
        "image/object/is_crowd": [0, 1],
        "image/object/area": [150, 150],
        "image/object/keypoint/num": [1, 0],
        "image/object/keypoint/visibility": [0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        "image/object/keypoint/text": [b"nose", b"left_ear", b"right_ear", b"nose", b"tail"] * 2,
    }


def test_images_are_what_every_decoder_shows(written):
    """TensorFlow's own decoder, which knows neither EXIF nor WebP, sees the upright picture; plain files are copied."""
    import tensorflow as tf

    dataset, pattern, _ = written
    by_name = {record.file_name: record for record in dataset.records}
    for file in name_shards(pattern):
        for example in examples(file):
            feature = example.features.feature
            name = feature["image/filename"].bytes_list.value[0].decode()
            encoded = feature["image/encoded"].bytes_list.value[0]
            shown = tf.io.decode_image(encoded, channels=3).numpy()
            expected = read_image(by_name[name].path)
            assert shown.shape == expected.shape
            assert np.abs(shown.astype(int) - expected).max() <= 4, name  # JPEG decoders differ a little
            if name in ("plain.jpg", "plain.png", "gray.jpg"):
                assert encoded == by_name[name].path.read_bytes()
            else:
                np.testing.assert_array_equal(shown, expected)


def assert_same_records(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        for field in fields(a):
            if field.name not in ("path", "annotation_ids"):  # records have no annotation ids
                one, other = getattr(a, field.name), getattr(b, field.name)
                np.testing.assert_array_equal(one, other, err_msg=field.name)
                assert getattr(one, "dtype", None) == getattr(other, "dtype", None), field.name


def test_records_come_back_in_order_bit_for_bit(written):
    dataset, pattern, label_map = written
    back = read_tfrecords(pattern, label_map)
    assert_same_records(back.records, dataset.records)
    assert back.notes == dataset.notes
    for found, record in zip(back.records, dataset.records, strict=True):
        assert isinstance(found.path, StoredImage) and found.file_name in str(found.path)
        np.testing.assert_array_equal(read_image(found.path), read_image(record.path))
        assert read_image_size(found.path) == (record.width, record.height)
    assert back.schema.keypoint_names == dataset.schema.keypoint_names
    assert [kind.category_id for kind in back.schema.classes] == [2, 5, 9]


def test_samples_and_batches_come_back_bit_for_bit(written, coco):
    """With the JSON as label map the schema is the same too, so that flips and colours are."""
    dataset, pattern, _ = written
    back = read_tfrecords(pattern, coco)
    assert back.schema == dataset.schema
    sampler = Sampler(dataset.schema, (64, 64), 5, Augmentation())
    pairs = [make_dataset(records, sampler, 3, seed=4, shuffle=True, threads=2) for records in (dataset.records, back.records)]
    count = 0
    for one, other in zip(*pairs, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        for name in one[1]:
            np.testing.assert_array_equal(one[1][name], other[1][name])
        count += 1
    assert count == 2


def test_each_process_reads_the_images_of_its_own_share(written, monkeypatch):
    """Of records that process 0 has read and sent to the others: together the batches of one, and no image twice."""
    _, pattern, label_map = written
    back = read_tfrecords(pattern, label_map)
    sampler, read, real = Sampler(back.schema, (64, 64), 5, Augmentation()), [], StoredImage.read_bytes
    monkeypatch.setattr(StoredImage, "read_bytes", lambda self: read.append(self.name) or real(self))

    def take(share):
        records = pickle.loads(pickle.dumps(back.records))
        read.clear()
        batches = list(SamplePyDataset(records, sampler, 2, seed=4, shuffle=True, share=share))
        return np.concatenate([image for image, _ in batches]), set(read)

    (whole, every), (first, ours), (second, theirs) = (take(share) for share in ((0, 1), (0, 2), (1, 2)))
    assert ours | theirs == every and not ours & theirs and len(ours) == len(theirs)
    np.testing.assert_array_equal(whole[::2], first)
    np.testing.assert_array_equal(whole[1::2], second)


def test_records_of_records_are_the_same(written, tmp_path, coco):
    """Records can be cut into other shards; images are copied, and what had become PNG stays."""
    dataset, pattern, _ = written
    once = read_tfrecords(pattern, coco)
    assert write_tfrecords(tmp_path / "one.record", once.records, once.schema) == ([str(tmp_path / "one.record")], 0)
    assert_same_records(read_tfrecords(tmp_path / "one.record", coco).records, dataset.records)


def test_a_validation_file_needs_no_label_map_of_its_own(written):
    dataset, pattern, _ = written
    assert_same_records(read_tfrecords(pattern, schema=dataset.schema).records, dataset.records)
    with pytest.raises(ValueError, match="found no label map"):
        read_tfrecords(pattern)
    with pytest.raises(ValueError, match=r"class 'cat'; known are \['class_0', 'class_1'\]"):
        read_tfrecords(pattern, schema=Schema.generic(2, 2))


@given(st.integers(1, 8000), st.integers(0, 3), st.integers(0, 10**9))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_coordinates_with_three_decimals_come_back(size, digits, number):
    written = np.round(number % (size * 1000) / 1000, digits)
    share = np.float32(np.float64(np.float32(written)) / size)
    assert np.float32(restore_pixels(np.array([share]), np.array([size]))[0]) == np.float32(written)


@given(st.floats(0, 1), st.integers(1, 8000))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_other_coordinates_move_by_less_than_a_thousandth_pixel(share, size):
    pixels = restore_pixels(np.array([share], np.float32), np.array([size]))[0]
    assert abs(pixels - np.float64(np.float32(share)) * size) < 1e-3


# -- as others write them ------------------------------------------------------------------------------------------------


PNG = cv2.imencode(".png", np.zeros((20, 40, 3), np.uint8))[1].tobytes()
BOXES = {"xmin": [0.25, 0.5], "xmax": [0.75, 1.0], "ymin": [0.25, 0.0], "ymax": [0.75, 0.5]}
MAP = """item { id: 1 name: '/m/cat' display_name: 'cat' keypoints { id: 0 label: 'nose' } keypoints { id: 1 label: 'tail' } }
item { id: 2 name: 'box' }"""


def foreign(path, *records, **common):
    """Writes records of these features; without a prefix they belong to image/object."""
    import tensorflow as tf

    kinds = {bytes: "bytes_list", float: "float_list", int: "int64_list"}
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records or [{}]:
            values = {"image/encoded": [PNG], "image/width": [40], "image/height": [20]}
            for key, column in (common | record).items():
                values[key if key.startswith("image") else f"image/object/{key}"] = column
            example = tf.train.Example()
            for key, column in values.items():
                if column:
                    getattr(example.features.feature[key], kinds[type(column[0])]).value.extend(column)
            writer.write(example.SerializeToString())
    return path


def two_objects(**changes):
    boxes = {f"bbox/{side}": values for side, values in BOXES.items()}
    return boxes | {"class/label": [1, 1]} | {key.replace("__", "/"): value for key, value in changes.items()}


def read(tmp_path, *records, label_map=MAP, **common):
    (tmp_path / "map.pbtxt").write_text(label_map)
    return read_tfrecords(foreign(tmp_path / "x.record", *records, **common), tmp_path / "map.pbtxt")


POINTS = {"keypoint__x": [0.25, 0.5, 0.75, 1.0], "keypoint__y": [0.5, 0.5, 1.0, 0.0]}
EXPECTED = [[[10, 10], [20, 10]], [[30, 20], [40, 0]]]


class TestForeignRecords:
    def test_the_least_there_can_be(self, tmp_path):
        """Labels without texts, no visibility, no areas, no ids, no file name."""
        dataset = read(tmp_path, two_objects(**POINTS), {})
        first, negative = dataset.records
        np.testing.assert_array_equal(first.boxes_xyxy, [[10, 5, 30, 15], [20, 0, 40, 10]])
        np.testing.assert_array_equal(first.keypoints_xy, EXPECTED)
        assert first.visibility.tolist() == [[2, 2], [2, 2]] and first.areas.tolist() == [200, 200]
        assert len(negative.boxes_xyxy) == 0 and negative.file_name.startswith("record at byte ")
        assert [record.image_id for record in dataset.records] == [1, 2]
        notes = "\n".join(dataset.notes)
        assert "2 images: 'image/source_id' no number" in notes and "1 image: no annotations, kept as negatives" in notes

    def test_classes_by_either_name(self, tmp_path):
        for texts in ([b"cat", b"box"], [b"/m/cat", b"box"]):
            record = read(tmp_path, two_objects(class__text=texts, class__label=[])).records[0]
            assert record.class_ids.tolist() == [0, 1]

    def test_keypoints_in_another_order_are_found_by_their_texts(self, tmp_path):
        texts = [b"tail", b"nose"] * 2
        record = read(tmp_path, two_objects(keypoint__text=texts, **POINTS)).records[0]
        np.testing.assert_array_equal(record.keypoints_xy, np.array(EXPECTED)[:, ::-1])

    def test_ids_of_the_label_map_are_places(self, tmp_path):
        label_map = MAP.replace("id: 0", "id: 7").replace("id: 1 label", "id: 0 label").replace("id: 7", "id: 1")
        record = read(tmp_path, two_objects(**POINTS), label_map=label_map).records[0]
        np.testing.assert_array_equal(record.keypoints_xy, np.array(EXPECTED)[:, ::-1])

    @pytest.mark.parametrize("ids", [("id: 0 label", "id: 1 label"), ("id: 1 label", "id: 2 label"), ("label", "label")])
    def test_places_counted_from_one_or_not_at_all(self, tmp_path, ids):
        label_map = MAP.replace("id: 0 label", "FIRST").replace("id: 1 label", ids[1]).replace("FIRST", ids[0])
        record = read(tmp_path, two_objects(**POINTS), label_map=label_map).records[0]
        np.testing.assert_array_equal(record.keypoints_xy, EXPECTED)

    def test_a_class_without_keypoints_may_have_zeros_or_nothing(self, tmp_path):
        whole = {
            "keypoint__x": [0.25, 0.5, 0.0, 0.0],
            "keypoint__y": [0.5, 0.5, 0.0, 0.0],
            "keypoint__visibility": [2, 1, 0, 0],
        }
        short = {key: values[:2] for key, values in whole.items()}
        for points in (whole, short):
            record = read(tmp_path, two_objects(class__label=[1, 2], **points)).records[0]
            assert record.visibility.tolist() == [[2, 1], [0, 0]]
            np.testing.assert_array_equal(record.keypoints_xy, [EXPECTED[0], [[0, 0], [0, 0]]])

    def test_two_classes_with_one_name_on_one_axis_or_each_its_own(self, tmp_path):
        label_map = MAP.replace("'box'", "'dog' keypoints { label: 'nose' }").replace("id: 0 label", "label")
        flat = {
            "keypoint__x": [0.25, 0.5, 0.0, 0.0, 0.0, 0.75],
            "keypoint__y": [0.5] * 6,
            "keypoint__visibility": [2, 2, 0, 0, 0, 2],
        }
        own = {"keypoint__x": [0.25, 0.5, 0.75], "keypoint__y": [0.5] * 3, "keypoint__text": [b"nose", b"tail", b"nose"]}
        for points in (flat, own):
            record = read(tmp_path, two_objects(class__label=[1, 2], **points), label_map=label_map).records[0]
            assert record.visibility.tolist() == [[2, 2, 0], [0, 0, 2]]
            np.testing.assert_array_equal(record.keypoints_xy[:, :, 0], [[10, 20, 0], [0, 0, 30]])

    def test_what_has_no_number_is_not_labelled(self, tmp_path):
        points = POINTS | {"keypoint__x": [float("nan"), 0.5, 0.75, 1.0], "keypoint__visibility": [2, 2, 5, 1]}
        record = read(tmp_path, two_objects(**points)).records[0]
        assert record.visibility.tolist() == [[0, 2], [0, 1]]

    def test_groups_and_crowds_are_crowds(self, tmp_path):
        record = read(tmp_path, two_objects(is_crowd=[1, 0], group_of=[0, 1])).records[0]
        assert record.is_crowd.tolist() == [True, True]

    def test_a_missing_size_is_taken_from_the_image(self, tmp_path):
        dataset = read(tmp_path, two_objects(), **{"image/width": [1], "image/height": []})
        np.testing.assert_array_equal(dataset.records[0].boxes_xyxy, [[10, 5, 30, 15], [20, 0, 40, 10]])
        assert any("taken from the file" in note for note in dataset.notes)

    def test_a_smaller_image_scales_and_a_turned_one_is_left_out(self, tmp_path):
        wide, high = {"image/width": [80], "image/height": [40]}, {"image/width": [20], "image/height": [40]}
        dataset = read(tmp_path, two_objects() | wide, two_objects() | high)
        assert len(dataset.records) == 1
        np.testing.assert_array_equal(dataset.records[0].boxes_xyxy, [[10, 5, 30, 15], [20, 0, 40, 10]])
        assert "exchanged" in "\n".join(dataset.notes)

    def test_the_validation_order_of_keypoints_does_not_matter(self, tmp_path):
        schema = Schema.from_coco(
            {"categories": [{"id": 4, "name": "cat", "keypoints": ["tail", "nose"]}, {"id": 1, "name": "box"}]}
        )
        (tmp_path / "map.pbtxt").write_text(MAP)
        path = foreign(tmp_path / "x.record", two_objects(**POINTS))
        record = read_tfrecords(path, tmp_path / "map.pbtxt", schema=schema).records[0]
        assert record.class_ids.tolist() == [1, 1]
        np.testing.assert_array_equal(record.keypoints_xy, np.array(EXPECTED)[:, ::-1])


FAULTS = [
    (two_objects(bbox__xmax=[30.0, 40.0]), "not from 0 to 1", "divide x by the width"),
    (two_objects(bbox__xmax=[float("nan"), 1.0]), "not from 0 to 1", "[nan]"),
    (two_objects(bbox__xmax=[0.5]), "differ in length", "[2, 2, 1, 2] box sides"),
    (two_objects(class__label=[1, 7]), "classes that the label map does not hold", "class 7; known are"),
    (two_objects(class__text=[b"cat", b"bus"]), "classes that the label map does not hold", "class 'bus'"),
    (two_objects(class__text=[b"cat"]), "differ in length", "1 classes"),
    (two_objects(keypoint__x=[0.5] * 4, keypoint__y=[0.5] * 3), "differ in length", "4 x, 3 y"),
    (two_objects(keypoint__x=[0.5] * 3, keypoint__y=[0.5] * 3), "cannot be shared out", "3 points for 2 objects with [2, 2]"),
    (two_objects(keypoint__text=[b"nose", b"paw"] * 2, **POINTS), "do not fit the label map", "named ['nose', 'paw']"),
    ({"image/encoded": []}, "records without 'image/encoded'", "write the encoded image"),
    ({"image/encoded": [b"junk"], "image/width": []}, "without a size", "no image format"),
]


class TestRefusals:
    @pytest.mark.parametrize(("record", "kind", "words"), FAULTS)
    def test_faults_name_the_record(self, tmp_path, record, kind, words):
        with pytest.raises(ValueError) as error:
            read(tmp_path, {"image/filename": [b"good.png"]}, {"image/filename": [b"bad.png"]} | record)
        text = str(error.value)
        assert text.startswith(f"{tmp_path / 'x.record'}: found 1 fault of 1 kind")
        assert kind in text and words in text and f"{tmp_path / 'x.record'}: bad.png" in text and "good.png" not in text

    def test_unreadable_images_are_left_out_and_named(self, tmp_path):
        dataset = read(tmp_path, {"image/encoded": [b"junk"], "image/filename": [b"bad.png"]}, {})
        assert len(dataset.records) == 1 and "x.record: bad.png: found no image format" in "\n".join(dataset.notes)

    def test_damaged_files(self, tmp_path):
        whole = foreign(tmp_path / "a.record", two_objects()).read_bytes()
        flipped = bytearray(whole)
        flipped[60] ^= 1
        cases = [
            (whole[:-5], "damaged"),
            (bytes(flipped), "damaged"),
            (b"hello, no records here", "damaged"),
            (b"", "no records"),
        ]
        cases += [(gzip.compress(whole), "gunzip")]
        for data, words in cases:
            (tmp_path / "x.record").write_bytes(data)
            with pytest.raises(ValueError, match="x.record") as error:
                read_tfrecords(tmp_path / "x.record", schema=Schema.generic(2, 0))
            assert words in str(error.value)

    def test_a_record_that_is_no_example(self, tmp_path):
        import tensorflow as tf

        with tf.io.TFRecordWriter(str(tmp_path / "x.record")) as writer:
            writer.write(b"\xff\xff\xff")
        with pytest.raises(ValueError, match="x.record: found a damaged TFRecord"):
            read_tfrecords(tmp_path / "x.record", schema=Schema.generic(1))

    def test_missing_files_and_shards(self, written, tmp_path):
        with pytest.raises(FileNotFoundError, match="none-"):
            read_tfrecords(tmp_path / "none-?????-of-00002", schema=Schema.generic(1))
        for number in (0, 2):
            foreign(tmp_path / f"x-0000{number}-of-00003")
        for pattern in ("x-?????-of-00003", "x-*", "*"):
            with pytest.raises(ValueError, match=r"found 2 of 3 shards, expected also .*x-00001-of-00003"):
                read_tfrecords(tmp_path / pattern, schema=Schema.generic(1))
        assert len(read_tfrecords(tmp_path / "x-00002-of-00003", schema=Schema.generic(1)).records) == 1

    def test_a_file_that_changed_is_named(self, written, tmp_path):
        with pytest.raises(ValueError, match="x.record: a.jpg: found 0 bytes, expected 10"):
            (tmp_path / "x.record").write_bytes(b"short")
            read_image(StoredImage(str(tmp_path / "x.record"), 90, 10, "a.jpg"))


class TestWriting:
    def test_patterns(self):
        assert name_shards("a/b.record-?????-of-00002") == ["a/b.record-00000-of-00002", "a/b.record-00001-of-00002"]
        assert name_shards("b-?????-of-2.tfrecord") == ["b-00000-of-00002.tfrecord", "b-00001-of-00002.tfrecord"]
        assert name_shards("plain.record") == ["plain.record"]
        for wrong in ("b-?????", "b-?????-of-00000", "b-*-of-00002", "b-?????-of-NNNNN"):
            with pytest.raises(ValueError, match="-of-00010"):
                name_shards(wrong)

    def test_nothing_is_left_of_a_write_that_failed(self, written, tmp_path, monkeypatch):
        records = written[0].records
        gone = [*records[:3], type(records[0])(**vars(records[3]) | {"path": tmp_path / "gone.png"})]
        with pytest.raises(FileNotFoundError, match="gone.png"):
            write_tfrecords(tmp_path / "x-?????-of-00002", gone, written[0].schema)
        assert list(tmp_path.iterdir()) == []

    def test_existing_files_and_too_many_shards(self, written, tmp_path):
        dataset = written[0]
        (tmp_path / "x.record").write_bytes(b"precious")
        with pytest.raises(FileExistsError, match="--overwrite"):
            write_tfrecords(tmp_path / "x.record", dataset.records, dataset.schema)
        assert (tmp_path / "x.record").read_bytes() == b"precious"
        write_tfrecords(tmp_path / "x.record", dataset.records, dataset.schema, overwrite=True)
        assert len(examples(tmp_path / "x.record")) == len(dataset.records)
        with pytest.raises(ValueError, match="found 8 shards for 7 images"):
            write_tfrecords(tmp_path / "x-?????-of-00008", dataset.records, dataset.schema)


def test_commands(coco, tmp_path, monkeypatch, capsys):
    """Written by a command, and what the training command refuses."""
    monkeypatch.chdir(tmp_path)
    assert main(["tfrecord", "write", str(coco), "out/cats.record-?????-of-00002", "--label-map", "out/map.pbtxt"]) == 0
    text = capsys.readouterr().out
    for words in (
        "7 images with 18 objects in 2 files",
        "cats.record-00001-of-00002",
        "4 of 7 images stored as PNG",
        "map.pbtxt",
    ):
        assert words in text
    assert max(len(line) for line in text.splitlines() if str(coco) not in line) <= 80
    flags = ["--tfrecord", "out/cats.record-?????-of-00002"]
    assert main(["train", *flags, "--coco", str(coco)]) == 2
    assert "coco and tfrecord" in capsys.readouterr().err
    assert main(["train", *flags]) == 2
    assert "--label-map label_map.pbtxt" in capsys.readouterr().err
    assert main(["train", "--coco", str(coco), "--label-map", "out/map.pbtxt"]) == 2
    assert "label_map without tfrecord" in capsys.readouterr().err
    assert main(["tfrecord", "write", str(coco), "out/cats.record-?????-of-00002"]) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_training_reads_them_like_a_json(written, coco, monkeypatch, tmp_path):
    """The same images on both sides, the run called after the records, and detections for images without a path."""
    from centerkp.inference.detect import detect_records
    from centerkp.settings.training import TrainSettings
    from centerkp.training.dry_run import build_probe
    from centerkp.training.run_folder import RunFolder
    from centerkp.training.train import read_records

    _, pattern, label_map = written
    common = {"val_fraction": 0.3, "image_size": 64}
    from_json = read_records(TrainSettings(coco=str(coco), **common))
    from_records = TrainSettings(tfrecord=pattern, label_map=str(coco), **common)
    schema, train, val, notes = read_records(from_records)
    # Of a JSON it is also said what may be wrong with the labels.
    assert schema == from_json[0] and notes == [note for note in from_json[3] if note in notes]
    assert_same_records(train, from_json[1])
    assert_same_records(val, from_json[2])
    by_map = TrainSettings(tfrecord=pattern, label_map=str(label_map), val_tfrecord=pattern, flip_pairs="left_ear:right_ear")
    schema, train, val, _ = read_records(by_map)
    assert len(train) == len(val) == 7 and schema.classes[0].flip_pairs == ((1, 2),)
    assert_same_records(read_records(TrainSettings(coco=str(coco), val_tfrecord=pattern))[2], val)
    monkeypatch.chdir(tmp_path)
    assert RunFolder.create(from_records).path.as_posix() == "runs/train"
    model = build_probe(schema, from_records)
    assert len(detect_records(model, val, 4)) == 7
