"""Image files as folders have them: missing, broken, turned, resized, copied; each with data where the doctor is silent."""

import json

import cv2
import numpy as np
import pytest
from doctor import found, write
from PIL import Image, ImageCms

from centerkp.doctor.check import check_dataset, write_mended
from centerkp.doctor.settled_labels import turn_points
from centerkp.images.reading import read_image

WIDTH, HEIGHT = 160, 120
SPOT = (40, 100)  # where the white spot lies on the stored picture, and the label


def draw(seed, size=(WIDTH, HEIGHT)):
    coarse = np.random.default_rng(seed).integers(0, 160, (6, 8, 3), np.uint8)
    return cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)


def save(path, picture, orientation=1, quality=95):
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if orientation > 1:
        exif[0x0112] = orientation
    Image.fromarray(picture).save(path, quality=quality, exif=exif)


def dataset(names, size=(WIDTH, HEIGHT), point=SPOT):
    """One bolt on each image, its keypoint and a box of 20 pixels around it."""
    images = [{"id": i + 1, "file_name": name, "width": size[0], "height": size[1]} for i, name in enumerate(names)]
    entry = {"category_id": 1, "iscrowd": 0, "area": 400.0, "bbox": [point[0] - 10, point[1] - 10, 20, 20]}
    entry |= {"keypoints": [*point, 2], "num_keypoints": 1}
    annotations = [entry | {"id": i + 1, "image_id": i + 1} for i in range(len(names))]
    category = {"id": 1, "name": "bolt", "keypoints": ["head"], "oks_sigmas": [0.05]}
    return {"images": images, "annotations": annotations, "categories": [category]}


def wrong(checkup):
    """Headlines of all that is wrong, advice and notes aside."""
    return [f.headline for f in checkup.findings if f.level in ("unusable", "mendable", "suspicious")]


@pytest.fixture
def folder(tmp_path):
    for n in range(3):
        save(tmp_path / f"{n}.jpg", draw(n))
    return tmp_path


NAMES = ["0.jpg", "1.jpg", "2.jpg"]


class TestFiles:
    def test_good_files_are_no_finding(self, folder):
        assert wrong(check_dataset(write(folder, dataset(NAMES)))) == []

    def test_some_missing(self, folder):
        checkup = check_dataset(write(folder, dataset([*NAMES, "3.jpg"])))
        (finding,) = found(checkup, "no such file")
        assert (finding.level, finding.places) == ("unusable", ("image 4 (3.jpg)",))
        write_mended(checkup, folder / "mended.json", drop=True)
        assert wrong(check_dataset(folder / "mended.json")) == []

    def test_all_missing_is_said_once_and_the_json_is_examined_all_the_same(self, tmp_path):
        checkup = check_dataset(write(tmp_path, dataset(NAMES)))
        assert [h for h in wrong(checkup)] == [f"3 images: no such file in {tmp_path} or below"]
        assert "--no-images" in checkup.findings[0].remedy
        assert checkup.statistics.objects.tolist() == [3]
        assert wrong(check_dataset(tmp_path / "ann.json", open_images=False)) == []

    def test_broken_files_are_named(self, folder):
        (folder / "1.jpg").write_bytes((folder / "1.jpg").read_bytes()[:900])
        (folder / "2.jpg").write_bytes(b"")
        (finding,) = found(check_dataset(write(folder, dataset(NAMES))), "cannot be read")
        assert (finding.level, finding.count) == ("suspicious", 2)
        assert "image 2 (1.jpg): found a JPEG of 160x120 pixels without its end" in finding.places[0]
        assert "empty file" in finding.places[1]

    def test_names_of_another_system_are_written_anew(self, folder):
        for n in range(3):
            save(folder / "images" / f"{n} ä.jpg", draw(n + 10))
        content = dataset(["images\\0 ä.jpg", "C:\\data\\images\\1 ä.jpg", "./images/2%20%C3%A4.jpg"])
        checkup = check_dataset(write(folder / "labels", content), images_dir=folder)
        assert found(checkup, "written otherwise")[0].count == 3
        write_mended(checkup, folder / "labels" / "mended.json")
        names = [i["file_name"] for i in json.loads((folder / "labels" / "mended.json").read_text())["images"]]
        assert names == ["../images/0 ä.jpg", "../images/1 ä.jpg", "../images/2 ä.jpg"]

    def test_two_files_of_one_name(self, folder):
        save(folder / "a" / "x.jpg", draw(5))
        save(folder / "b" / "x.jpg", draw(6))
        (finding,) = found(check_dataset(write(folder, dataset([*NAMES, "x.jpg"]))), "several files fit")
        assert finding.level == "unusable" and "a/x.jpg" in finding.places[0]

    def test_one_file_under_two_ids(self, folder):
        assert found(check_dataset(write(folder, dataset([*NAMES, "0.jpg"]))), "listed under several ids")[0].count == 2

    def test_copies_by_content(self, folder):
        (folder / "copy.jpg").write_bytes((folder / "1.jpg").read_bytes())
        (finding,) = found(check_dataset(write(folder, dataset([*NAMES, "copy.jpg"]))), "the same file under another name")
        assert finding.places == ("image 4 (copy.jpg) is image 2 (1.jpg)",)
        assert finding.pairs == ((3, 1),)


class TestSizes:
    def test_resized_pictures_scale_the_labels(self, folder):
        content = dataset(NAMES, size=(2 * WIDTH, 2 * HEIGHT), point=(80, 200))
        checkup = check_dataset(write(folder, content))
        assert found(checkup, "smaller or larger")[0].count == 3
        np.testing.assert_allclose(checkup.labels.points_xy[0, 0], SPOT)
        write_mended(checkup, folder / "mended.json")
        mended = json.loads((folder / "mended.json").read_text())
        assert mended["images"][0]["width"] == WIDTH
        assert mended["annotations"][0]["keypoints"] == [40, 100, 2]
        assert mended["annotations"][0]["bbox"] == [35, 95, 10, 10]
        assert wrong(check_dataset(folder / "mended.json")) == []

    def test_another_shape_is_left_out(self, folder):
        (finding,) = found(check_dataset(write(folder, dataset(NAMES, size=(300, 120)))), "another shape")
        assert finding.level == "suspicious"
        assert finding.places[0] == "image 1 (0.jpg): 300x120 in the JSON, 160x120 on disk"

    def test_sizes_that_are_missing_come_from_the_files(self, folder):
        content = dataset(NAMES)
        del content["images"][1]["width"]
        checkup = check_dataset(write(folder, content))
        write_mended(checkup, folder / "mended.json")
        assert found(checkup, "no width and height")[0].count == 1
        assert json.loads((folder / "mended.json").read_text())["images"][1]["width"] == WIDTH

    def test_exchanged_without_exif_and_the_labels_tell(self, folder):
        content = dataset(NAMES, size=(HEIGHT, WIDTH), point=(145, 100))  # beyond 120 pixels: only the file's frame fits
        checkup = check_dataset(write(folder, content))
        assert found(checkup, "exchanged in the JSON")[0].level == "mendable"
        write_mended(checkup, folder / "mended.json")
        assert wrong(check_dataset(folder / "mended.json")) == []

    def test_exchanged_without_exif_and_the_labels_do_not_tell(self, folder):
        checkup = check_dataset(write(folder, dataset(NAMES, size=(HEIGHT, WIDTH), point=(60, 60))))
        assert found(checkup, "do not tell which way")[0].level == "suspicious"


class TestExif:
    @pytest.mark.parametrize("orientation", [5, 6, 7, 8])
    def test_labelled_as_stored(self, tmp_path, orientation):
        """The label moves with the white spot to where the upright picture shows it."""
        names = [f"{n}.jpg" for n in range(3)]
        for n, name in enumerate(names):
            picture = draw(n)
            cv2.circle(picture, SPOT, 5, (255, 255, 255), -1)
            save(tmp_path / name, picture, orientation)
        checkup = check_dataset(write(tmp_path, dataset(names)))
        (finding,) = found(checkup, "labelled without their EXIF rotation")
        assert (finding.level, finding.count) == ("mendable", 3)
        write_mended(checkup, tmp_path / "mended.json")
        again = check_dataset(tmp_path / "mended.json")
        assert wrong(again) == []
        assert found(again, "labelled upright, as the sizes say")[0].level == "note"
        mended = json.loads((tmp_path / "mended.json").read_text())
        assert (mended["images"][0]["width"], mended["images"][0]["height"]) == (HEIGHT, WIDTH)
        x, y, _ = mended["annotations"][0]["keypoints"]
        assert read_image(tmp_path / "0.jpg")[round(y), round(x)].min() > 230
        bx, by, w, h = mended["annotations"][0]["bbox"]
        assert (abs(bx + w / 2 - x), abs(by + h / 2 - y), w, h) == (0, 0, 20, 20)

    def test_labelled_upright(self, tmp_path):
        for n in range(2):
            save(tmp_path / f"{n}.jpg", draw(n), 6)
        checkup = check_dataset(write(tmp_path, dataset(["0.jpg", "1.jpg"], size=(HEIGHT, WIDTH), point=(60, 140))))
        assert wrong(checkup) == []
        assert found(checkup, "labelled upright, as the sizes say")

    def test_labelled_upright_with_the_stored_size(self, tmp_path):
        """One label of three lies beyond the stored frame, so all were labelled on the upright pictures."""
        names = [f"{n}.jpg" for n in range(3)]
        for n, name in enumerate(names):
            save(tmp_path / name, draw(n), 6)
        content = dataset(names, point=(60, 60))
        content["annotations"][1] |= {"keypoints": [60, 150, 2], "bbox": [50, 140, 20, 20]}
        checkup = check_dataset(write(tmp_path, content))
        assert found(checkup, "exchanged in the JSON")[0].count == 3
        assert not found(checkup, "without their EXIF rotation")
        np.testing.assert_allclose(checkup.labels.points_xy[1, 0], [60, 150])

    def test_turned_upside_down_cannot_be_told_from_sizes(self, tmp_path):
        save(tmp_path / "0.jpg", draw(0), 3)
        checkup = check_dataset(write(tmp_path, dataset(["0.jpg"])))
        assert found(checkup, "in a way that sizes do not tell")[0].level == "advice"

    def test_silent_without_exif(self, folder):
        assert not found(check_dataset(write(folder, dataset(NAMES))), "EXIF")

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_points_turn_as_pictures_do(self, tmp_path, orientation):
        picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        cv2.rectangle(picture, (30, 80), (34, 84), (255, 255, 255), -1)  # centered on 32.5, 82.5
        save(tmp_path / "a.png", picture, orientation)
        rows, columns = np.nonzero(read_image(tmp_path / "a.png")[..., 0])
        expected = columns.mean() + 0.5, rows.mean() + 0.5
        turned = turn_points(np.array([[32.5, 82.5]]), np.array([[WIDTH, HEIGHT]]), orientation)
        np.testing.assert_allclose(turned[0], expected)


class TestTwins:
    def splits(self, tmp_path, val_pictures):
        for n in range(8):
            save(tmp_path / "train" / f"{n}.jpg", draw(n))
        for n, picture in enumerate(val_pictures):
            save(tmp_path / "val" / f"{n}.jpg", picture, quality=70)
        val = write(tmp_path / "val", dataset([f"{n}.jpg" for n in range(len(val_pictures))]))
        return check_dataset(write(tmp_path / "train", dataset([f"{n}.jpg" for n in range(8)])), val=val)

    def test_nearly_the_same_pictures_in_validation(self, tmp_path):
        brighter = np.clip(draw(3).astype(int) + 12, 0, 255).astype(np.uint8)
        smaller = cv2.resize(draw(5), (WIDTH * 3 // 4, HEIGHT * 3 // 4), interpolation=cv2.INTER_AREA)
        checkup = self.splits(tmp_path, [draw(20), brighter, draw(21), smaller])
        (finding,) = found(checkup, "copies of an image of training")
        assert finding.headline == "val: 2 images: copies of an image of training (of 4 images)"
        assert finding.pairs == ((1, 3), (3, 5))
        assert finding.level == "suspicious" and "--group-by phash" in finding.remedy

    def test_the_very_same_file_in_validation(self, tmp_path):
        checkup = self.splits(tmp_path, [draw(20), draw(21)])
        (tmp_path / "val" / "1.jpg").write_bytes((tmp_path / "train" / "4.jpg").read_bytes())
        checkup = check_dataset(tmp_path / "train" / "ann.json", val=tmp_path / "val" / "ann.json")
        assert found(checkup, "the same file is in training")[0].pairs == ((1, 4),)
        assert not found(checkup, "look nearly like")

    def test_silent_on_other_pictures_and_on_pictures_of_one_colour(self, tmp_path):
        flat = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        checkup = self.splits(tmp_path, [draw(20 + n) for n in range(30)] + [flat])
        assert wrong(checkup) == []

    def test_neighbours_in_one_file_are_advice(self, folder):
        save(folder / "3.jpg", np.roll(draw(1), 1, axis=1))
        checkup = check_dataset(write(folder, dataset([*NAMES, "3.jpg"])))
        (finding,) = found(checkup, "look nearly like another")
        assert (finding.level, finding.count, finding.pairs) == ("advice", 2, ((1, 3),))
        assert not found(check_dataset(write(folder, dataset(NAMES))), "look nearly like")

    def test_look_alikes_on_a_plain_background_are_no_twins_and_their_copies_are(self, tmp_path):
        """Validation has other objects, then one saved anew, one cut off at the border and one with all of its pixels."""

        def draw_part(seed, small=False):
            rng, picture = np.random.default_rng(seed), np.full((240, 320, 3), (200, 200, 195), np.uint8)
            reach, axes, turn = ((10, 10), (60, 30), 10) if small else ((40, 30), rng.integers((30, 15), (70, 40)).tolist(), 90)
            x, y = (160 + int(rng.integers(-reach[0], reach[0])), 120 + int(rng.integers(-reach[1], reach[1])))
            cv2.ellipse(picture, (x, y), axes, float(rng.uniform(-turn, turn)), 0, 360, (70, 60, 50), -1)
            for n in range(3):
                cv2.circle(picture, (x - 30 + 30 * n, y), int(rng.integers(4, 10)), rng.integers(0, 255, 3).tolist(), -1)
            return picture

        for small in (False, True):
            cut = cv2.resize(draw_part(7)[5:-3, 6:-4], (320, 240))
            parts = [draw_part(n, small) for n in range(60)]
            more = [parts[5], cut, cv2.resize(parts[9], (200, 150), interpolation=cv2.INTER_AREA)]
            for folder, pictures in (("train", parts[:40]), ("val", parts[40:]), ("copies", more)):
                for n, picture in enumerate(pictures):
                    save(tmp_path / folder / f"{n}.jpg", picture, quality=90 if folder == "train" else 70)
                write(tmp_path / folder, dataset([f"{n}.jpg" for n in range(len(pictures))], size=(320, 240)))
            train, val, copies = (tmp_path / name / "ann.json" for name in ("train", "val", "copies"))
            checkup = check_dataset(train, val=val)
            assert not found(checkup, "copies of") and checkup.exit_code == 0
            if not small:  # where all lie within a few pixels, some may be called alike, which is no fault
                assert not found(checkup, "look nearly") and not found(check_dataset(train), "look nearly")
            checkup = check_dataset(train, val=copies)
            (finding,) = found(checkup, "copies of an image of training")
            assert finding.pairs == ((0, 5), (2, 9)) and finding.level == "suspicious"
            if not small:
                (advice,) = found(checkup, "look nearly like an image of training")
                assert advice.pairs == ((1, 7),) and advice.level == "advice"


class TestOddities:
    """Files that are whole and decode to something else than a viewer would expect."""

    @staticmethod
    def _save_sensor(path, seed):
        values = 7500 + draw(seed)[..., 0].astype(np.uint16) // 4
        cv2.imwrite(str(path), values)

    def test_a_sensor_without_its_range_is_suspicious_and_stretched_is_not(self, tmp_path):
        names = [f"{n}.png" for n in range(3)]
        for n, name in enumerate(names):
            self._save_sensor(tmp_path / name, n)
        path = write(tmp_path, dataset(names))
        (finding,) = [f for f in check_dataset(path).findings if "more than 8 bits" in f.title]
        assert (finding.level, finding.count, finding.noun) == ("suspicious", 3, "image") and "--stretch" in finding.remedy
        stretched = check_dataset(path, stretch="auto")
        assert not wrong(stretched)
        (note,) = [f for f in stretched.findings if "stretched" in f.title]
        assert note.level == "note" and note.remedy == f"train with --stretch {stretched.images.levels}"
        assert 7490 < stretched.images.levels.black < stretched.images.levels.white < 7550
        few = check_dataset(path, val=path, stretch="7000,60000")
        assert {f.part for f in few.findings if "outside of the range" in f.title} == {"", "val"}

    def test_a_fourth_channel_and_a_profile(self, tmp_path):
        infrared = np.random.default_rng(0).integers(0, 30, (HEIGHT, WIDTH))
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        other = bytearray(srgb)
        tags = {bytes(other[i : i + 4]): int.from_bytes(other[i + 4 : i + 8], "big") for i in range(132, 252, 12)}
        red, green = (slice(tags[tag] + 8, tags[tag] + 20) for tag in (b"rXYZ", b"gXYZ"))
        other[red], other[green] = other[green], other[red]
        Image.fromarray(np.dstack([draw(0), infrared.astype(np.uint8)])).save(tmp_path / "0.png")
        Image.fromarray(draw(1)).save(tmp_path / "1.png", icc_profile=bytes(other))
        Image.fromarray(draw(2)).save(tmp_path / "2.png", icc_profile=srgb)
        findings = check_dataset(write(tmp_path, dataset(["0.png", "1.png", "2.png"]))).findings
        levels = {f.title: (f.level, f.count) for f in findings}
        assert levels["a fourth channel that is no transparency mask, laid over white as if it were one"] == ("suspicious", 1)
        assert levels["a colour profile other than sRGB, converted to sRGB"] == ("note", 1)
