"""The doctor's page and its words on a terminal, and the command that prints them."""

import io
import json
import re

import cv2
import numpy as np
import pytest
from rich.console import Console

from centerkp.cli.commands import main
from centerkp.doctor.check import check_dataset
from centerkp.doctor.verdict import verdict
from centerkp.images.reading import read_image
from centerkp.report.dataset_page import choose_samples, write_dataset_page
from centerkp.report.dataset_text import draw_blocks, print_checkup

WIDTH, HEIGHT = 96, 72


def write_dataset(folder, count=4, name="ann.json", **first):
    """One bolt with a keypoint on each image; `first` changes the first annotation."""
    folder.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for n in range(1, count + 1):
        coarse = np.random.default_rng(n).integers(0, 255, (6, 8, 3), np.uint8)
        cv2.imwrite(str(folder / f"{n}.png"), cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC))
        images.append({"id": n, "file_name": f"{n}.png", "width": WIDTH, "height": HEIGHT})
        entry = {"id": n, "image_id": n, "category_id": 1, "bbox": [10, 10, 60, 50], "area": 3000, "iscrowd": 0}
        annotations.append(entry | {"keypoints": [30, 30, 2], "num_keypoints": 1})
    annotations[0] |= first
    category = {"id": 1, "name": "bolt <b>", "keypoints": ["head"], "oks_sigmas": [0.05]}
    path = folder / name
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": [category]}))
    return path


def text_of(checkup):
    console = Console(width=80, record=True, file=io.StringIO())
    print_checkup(console, checkup)
    return console.export_text()


class TestPage:
    def test_holds_the_findings_and_their_pictures_and_nothing_from_elsewhere(self, tmp_path):
        path = write_dataset(tmp_path, bbox=[10, 10, 500, 50])
        page = write_dataset_page(check_dataset(path, image_size=128), tmp_path / "out" / "report.html").read_text()
        assert "box reaches far over the image border" in page
        assert "annotation 1 (image 1, 1.png)" in page
        assert "bolt &lt;b&gt;" in page and "bolt <b>" not in page
        assert page.count("data:image/jpeg") == 1 + 4  # the finding's, and each image once as a sample
        assert not re.search(r"(src|href)=\"(?!data:|#)", page) and "<script" not in page

    def test_of_a_file_that_is_not_coco(self, tmp_path):
        (tmp_path / "a.json").write_text("[]")
        page = write_dataset_page(check_dataset(tmp_path / "a.json"), tmp_path / "r.html").read_text()
        assert "JSON list of 0 entries" in page

    def test_without_images(self, tmp_path):
        checkup = check_dataset(write_dataset(tmp_path), open_images=False)
        assert "data:image" not in write_dataset_page(checkup, tmp_path / "r.html").read_text()

    def test_twins_stand_beside_each_other(self, tmp_path):
        val = write_dataset(tmp_path / "val", 2)
        checkup = check_dataset(write_dataset(tmp_path / "train"), val=val, image_size=128)
        page = write_dataset_page(checkup, tmp_path / "r.html").read_text()
        assert page.count("data:image/jpeg") == 2 * 2 + 4

    def test_findings_of_validation_show_its_own_pictures(self, tmp_path, monkeypatch):
        val = write_dataset(tmp_path / "val", 9, bbox=[10, 10, 500, 50])
        for n in range(1, 10):  # other pictures than those of training, and two of them the same file
            picture = cv2.imread(str(tmp_path / "val" / f"{n}.png"))[::-1, ::-1]
            cv2.imwrite(str(tmp_path / "val" / f"{n}.png"), picture)
        (tmp_path / "val" / "9.png").write_bytes((tmp_path / "val" / "8.png").read_bytes())
        checkup = check_dataset(write_dataset(tmp_path / "train", 2), val=val, image_size=128)
        read = []
        spy = lambda path, levels: read.append(path) or read_image(path)  # noqa: E731
        monkeypatch.setattr("centerkp.report.dataset_page.read_image", spy)
        page = write_dataset_page(checkup, tmp_path / "r.html").read_text()
        names = [path.name for path in read if path.parent.name == "val"]
        assert "val: 1 annotation: box reaches far over" in page and "image 9 (9.png), image 8 (8.png)" in page
        assert sorted(names) == ["1.png", "8.png", "9.png"]

    def test_samples_show_every_class(self, tmp_path):
        path = write_dataset(tmp_path, 30, category_id=2)
        content = json.loads(path.read_text())
        content["categories"].append({"id": 2, "name": "rare"})
        path.write_text(json.dumps(content))
        checkup = check_dataset(path, open_images=False)
        assert 0 in choose_samples(checkup, 4) and len(choose_samples(checkup, 4)) == 4


class TestText:
    def test_findings_with_places_and_remedy(self, tmp_path):
        text = text_of(check_dataset(write_dataset(tmp_path, category_id=7), image_size=128))
        assert "Training would stop: 1 kind of fault needs your hand." in text
        assert "annotation 1 (image 1, 1.png): category_id 7" in text
        assert "-> add the missing ids to 'categories'" in text
        assert max(map(len, text.splitlines())) <= 80

    def test_most_important_first(self, tmp_path):
        text = text_of(check_dataset(write_dataset(tmp_path, num_keypoints=5, bbox=[10, 10, 500, 50]), image_size=128))
        parts = ("Can be trained on", "Wrong, and mended by --fix", "Perhaps wrong, look at", " class  ", " keypoint  ")
        assert sorted(parts, key=text.index) == list(parts)

    def test_verdicts(self, tmp_path):
        assert verdict(check_dataset(write_dataset(tmp_path), image_size=128).findings) == "Nothing is wrong: ready to train."
        checkup = check_dataset(write_dataset(tmp_path, area=0), image_size=128)
        assert verdict(checkup.findings) == "Can be trained on; --fix mends 1 kind of fault."

    def test_fix_does_not_claim_to_mend_the_validation_file(self, tmp_path):
        train, val = write_dataset(tmp_path / "train", area=0), write_dataset(tmp_path / "val", area=0)
        checkup = check_dataset(train, val=val, image_size=128, open_images=False)
        of_val = "the validation file has 1 kind of fault that 'centerkp check' of that file mends with --fix"
        assert verdict(checkup.findings) == f"Can be trained on; --fix mends 1 kind of fault and {of_val}."
        titles = (
            "Wrong, and mended by --fix",
            "1 annotation: 'area'",
            "Wrong in the validation file",
            "val: 1 annotation: 'area'",
        )
        text = text_of(checkup)
        assert sorted(titles, key=text.index) == list(titles)
        good = write_dataset(tmp_path / "good")
        checkup = check_dataset(good, val=val, image_size=128, open_images=False)
        assert verdict(checkup.findings) == f"Can be trained on; {of_val}."

    def test_blocks(self):
        assert draw_blocks(np.array([0, 1, 50, 100])) == " ▁▄█"


class TestCommand:
    def test_exit_codes(self, tmp_path, capsys):
        assert main(["check", str(write_dataset(tmp_path / "a"))]) == 0
        assert main(["check", str(write_dataset(tmp_path / "b", area=0))]) == 1
        assert main(["check", str(write_dataset(tmp_path / "c", category_id=7))]) == 2
        assert "ready to train" in capsys.readouterr().out

    def test_fix_and_html(self, tmp_path, capsys):
        path, out, page = write_dataset(tmp_path, area=0), tmp_path / "mended.json", tmp_path / "r.html"
        assert main(["check", str(path), "--fix", str(out), "--html", str(page)]) == 1
        assert "1 annotation: 'area' written" in capsys.readouterr().out
        assert page.exists() and main(["check", str(out)]) == 0

    def test_wrong_input(self, tmp_path, capsys):
        assert main(["check", str(tmp_path / "none.json")]) == 2
        path = write_dataset(tmp_path)
        assert main(["check", str(path), "--drop"]) == 2
        assert "without --fix" in capsys.readouterr().err
        assert main(["check", str(path), "--fix", str(path)]) == 2

    @pytest.mark.parametrize("flag", ["--no-images"])
    def test_without_images(self, tmp_path, flag):
        path = write_dataset(tmp_path)
        for image in tmp_path.glob("*.png"):
            image.unlink()
        assert main(["check", str(path), flag]) == 0
        assert main(["check", str(path)]) == 2
