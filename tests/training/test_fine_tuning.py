"""Starting from trained weights and freezing, through the commands, on datasets of a few small images."""

import json
import os

import checkpoints
import keras
import numpy as np
import pytest
from quick import run_eagerly

import centerkp
from centerkp.cli.commands import build_parser, main
from centerkp.demo.scenes import write_demo
from centerkp.images.saving import write_image
from centerkp.settings.training import LIGHT_LOSSES, TrainSettings
from centerkp.settings.values import read_keypoint_map
from centerkp.training import callbacks
from centerkp.training.callbacks import EpochEnd
from centerkp.training.run_folder import RunFolder

pytestmark = pytest.mark.usefixtures("eagerly")
FLAGS = ["--image-size", "32", "--batch-size", "4"]
USUAL = {"--backbone": "hourglass_10", "--precision": "float32"}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return write_demo(tmp_path_factory.mktemp("data") / "demo", num_train=10, num_val=4, num_test=1, size=(96, 80))


@pytest.fixture(scope="module")
def trained(demo, tmp_path_factory):
    """A model to start from: one epoch on the same data."""
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "first")
    with pytest.MonkeyPatch.context() as patch:
        run_eagerly(patch)
        assert train(demo, folder, "--epochs", "1") == 0
    return folder


def train(demo, folder, *flags):
    usual = [text for flag, value in USUAL.items() if flag not in flags for text in (flag, value)]
    data = ["--coco", str(demo.train_json), "--val", str(demo.val_json)]
    return main(["train", *data, "--run", str(folder.path), *FLAGS, *usual, *flags])


def read_backbone(path):
    model = centerkp.load_model(path)
    return {v.path: keras.ops.convert_to_numpy(v) for v in model.weights if not model.find_head(v.path.split("/")[0])}


def changed(one, other):
    return {path for path in one if not np.array_equal(one[path], other[path])}


def test_start_from_a_model_with_a_part_frozen(demo, trained, tmp_path, capsys):
    """By name, at the lower learning rate; what is frozen stays, the rest trains, in the evaluated average as well."""
    folder = RunFolder(tmp_path / "run")
    flags = ["--weights", str(trained.best), "--freeze", "stem", "--freeze-bn", "--epochs", "2", "--eval-every", "1"]
    assert train(demo, folder, *flags) == 0
    text = " ".join(capsys.readouterr().out.split())
    for words in (f"weights: {trained.best}", "backbone 70/70 variables", "pliers <- pliers", "learning rate up to 0.00025",
                  "M parameters", "frozen: stem and BatchNormalization"):  # fmt: skip
        assert words in text, words
    assert "fresh" not in text
    settings, first = folder.read_settings(), trained.read_settings()
    assert (settings.weights, settings.learning_rate) == (str(trained.best), 2.5e-4)
    assert (first.weights, first.learning_rate) == ("drawn", 1e-3)
    for path in (folder.last, folder.best):
        moved = changed(read_backbone(trained.best), read_backbone(path))
        assert moved and not [name for name in moved if name.startswith("stem") or "_bn/" in name]


@pytest.mark.long
def test_frozen_then_unfrozen_and_interrupted(demo, trained, tmp_path, monkeypatch):
    """Three epochs, the backbone frozen during the first two: every number of it stays, statistics too, and trains afterwards.

    Interrupted on the border and resumed: the same run.
    """
    whole, folder = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "interrupted")
    flags = ["--weights", str(trained.best), "--freeze", "backbone", "--unfreeze-at", "2", "--epochs", "3", "--eval-every", "3"]
    assert train(demo, whole, *flags) == 0
    rows = whole.read_log()
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    # Each part warms up and decays by itself: low at its end.
    rates = [row["learning_rate"] for row in rows]
    assert max(rates[1], rates[2]) < 2e-5 < 5e-5 < rates[0]
    model = centerkp.load_model(whole.last)
    assert model.frozen == "none" and int(model.optimizer.iterations) == 2  # the two steps of the second part

    original = EpochEnd.on_epoch_end

    def interrupted(self, index, logs=None):
        original(self, index, logs)
        if index == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(EpochEnd, "on_epoch_end", interrupted)
    monkeypatch.setattr(callbacks, "SAVE_COST", 0)  # every epoch is saved
    assert train(demo, folder, *flags) == 130
    model = centerkp.load_model(folder.last)
    assert model.frozen == "backbone" and int(model.optimizer.iterations) == 4
    assert not changed(read_backbone(trained.best), read_backbone(folder.last))
    monkeypatch.undo()
    assert main(["train", "--resume", str(folder.path)]) == 0
    assert len(changed(read_backbone(trained.best), read_backbone(folder.last))) > 30
    for ours, theirs in zip(folder.read_log(), rows, strict=True):
        for name in ("epoch", "loss", "learning_rate", *(n for n in ("val_loss",) if n in theirs)):
            assert ours[name] == pytest.approx(theirs[name], rel=2e-3), (ours["epoch"], name)


@pytest.mark.long
def test_from_drawn_interrupted_and_resumed(demo, tmp_path, monkeypatch, capsys):
    """The light network by its defaults: filters and statistics of the trunk stay as packaged, its 1x1 convolutions train."""
    from centerkp.weights.imagenet import read_imagenet

    whole, folder = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "interrupted")
    flags = ["--backbone", "efficientnet_lite0_fpn", "--epochs", "2", "--eval-every", "2"]
    assert train(demo, whole, *flags) == 0
    text = " ".join(capsys.readouterr().out.split())
    for words in ("weights: drawn (by default)", "box_size and center_offset whole", "frozen: filters"):
        assert words in text, words
    original = EpochEnd.on_epoch_end

    def interrupted(self, index, logs=None):
        original(self, index, logs)
        raise KeyboardInterrupt

    monkeypatch.setattr(EpochEnd, "on_epoch_end", interrupted)
    assert train(demo, folder, *flags) == 130
    monkeypatch.undo()
    assert main(["train", "--resume", str(folder.path)]) == 0
    assert folder.read_log()[-1]["loss"] == pytest.approx(whole.read_log()[-1]["loss"], rel=1e-3)
    model, tensors = centerkp.load_model(folder.last), read_imagenet("efficientnet_lite0_fpn")
    kept = {"stride32_block4_depthwise_conv": "_blocks.15._depthwise_conv.weight", "stem_conv": "_conv_stem.weight"}
    moved = {"stride32_block4_project_conv": "_blocks.15._project_conv.weight"}
    for names, same in ((kept, True), (moved, False)):
        for name, theirs in names.items():
            ours = keras.ops.convert_to_numpy(model.get_layer(name).weights[0])
            assert (np.sort(ours.ravel()) == np.sort(tensors[theirs].ravel())).all() == same, name
    statistics = keras.ops.convert_to_numpy(model.get_layer("stride32_block4_project_bn").moving_mean)
    np.testing.assert_array_equal(statistics, tensors["_blocks.15._bn2.running_mean"])


@pytest.mark.long
def test_float16_keeps_the_average_and_resumes(demo, tmp_path):
    """Keras wraps the optimizer to scale the loss, and steps whose gradients overflow do not count."""
    folder = RunFolder(tmp_path / "run")
    flags = ["--precision", "mixed_float16", "--epochs", "2", "--eval-every", "2"]
    keras.config.set_dtype_policy("mixed_float16")  # to read the files as they are
    try:
        assert train(demo, folder, *flags) == 0
        assert changed(read_backbone(folder.best), read_backbone(folder.last))  # the average is what is judged and kept
        last = centerkp.load_model(folder.last)
        assert last.trained_epochs == 2 and last.optimizer.inner_optimizer.use_ema
        last.optimizer.iterations.assign(last.optimizer.iterations - 1)  # as when a step was left out on the way
        last.save(folder.last)
        settings = json.loads(folder.settings.read_text())
        folder.settings.write_text(json.dumps(settings | {"epochs": 3}))
        assert main(["train", "--resume", str(folder.path)]) == 0
    finally:
        keras.config.set_dtype_policy("float32")
    assert [row["epoch"] for row in folder.read_log()] == [1, 2, 3]


# A dataset whose keypoints overlap COCO's.
POINTS = ["nose", "left_eye", "right_eye", "snout", "antenna"]


@pytest.fixture(scope="module")
def robots(tmp_path_factory):
    folder = tmp_path_factory.mktemp("robots")
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for i in range(1, 6):
        write_image(folder / "images" / f"{i}.jpg", rng.integers(0, 256, (64, 64, 3)).astype(np.uint8))
        images.append({"id": i, "file_name": f"{i}.jpg", "width": 64, "height": 64})
        for name, kind in (("person", 1), ("plier", 2)):
            x, y = (float(v) for v in rng.uniform(2, 20, 2))
            annotation = {"id": len(annotations) + 1, "image_id": i, "category_id": kind, "iscrowd": 0, "area": 900.0}
            annotation["bbox"] = [x, y, 30.0, 30.0]
            if name == "person":
                annotation["keypoints"] = [v for k in range(len(POINTS)) for v in (x + 5 * k + 1, y + 5 * k + 1, 2)]
                annotation["num_keypoints"] = len(POINTS)
            annotations.append(annotation)
    categories = [{"id": 1, "name": "person", "keypoints": POINTS, "skeleton": []}, {"id": 2, "name": "plier"}]
    (folder / "ann.json").write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return folder / "ann.json"


@pytest.fixture(scope="module")
def coco_archive(tmp_path_factory):
    """The reference's hourglass_10 with COCO's heads."""
    folder = tmp_path_factory.mktemp("source")
    variables = checkpoints.make_variables(checkpoints.coco_shapes())
    checkpoints.write_checkpoint(folder / "checkpoint" / "ckpt-0", variables)
    return checkpoints.pack(folder, folder.parent / "coco_hg10.tar.gz")


def test_train_from_coco_by_name(robots, coco_archive, tmp_path, monkeypatch, capsys):
    """The whole way: fetched, ported, moved by name into a dataset that shares some names, trained, and used."""
    monkeypatch.chdir(tmp_path)
    with checkpoints.serve({coco_archive.name: coco_archive}) as server:
        monkeypatch.setenv("CENTERKP_WEIGHTS_URL", server.address(coco_archive.name))
        command = ["train", "--coco", str(robots), "--run", "run", "--weights", "coco", "--map-keypoint", "snout=left_ear",
                   "--map-keypoint", "antenna=right_ear", "--backbone", "hourglass_10", "--image-size", "64",
                   "--batch-size", "2", "--epochs", "1", "--learning-rate", "1e-9"]  # fmt: skip
        assert main(command) == 0
    text = " ".join(capsys.readouterr().out.split())
    for words in ("fetching http", "ported to weights/coco_hg10.keras", "center_heatmap: person <- coco:person, plier fresh",
                  "person/nose <- coco:person/nose", "person/snout <- coco:person/left_ear",
                  "person/antenna <- coco:person/right_ear", "learning rate up to 1e-09"):  # fmt: skip
        assert words in text, words
    ours, theirs = centerkp.load_model("run/last.keras"), centerkp.load_model("weights/coco_hg10.keras")
    bias = keras.ops.convert_to_numpy(ours.get_layer("stack0_keypoint_heatmap").bias)
    np.testing.assert_allclose(
        bias, keras.ops.convert_to_numpy(theirs.get_layer("stack0_keypoint_heatmap").bias)[:5], atol=1e-6
    )
    kernel = keras.ops.convert_to_numpy(ours.get_layer("stack0_box_size").kernel)
    np.testing.assert_allclose(kernel, keras.ops.convert_to_numpy(theirs.get_layer("stack0_box_size").kernel), atol=1e-6)
    # The hidden layers are as wide as the weights' and not as the small variants' own.
    assert kernel.shape == (1, 1, 256, 2) and RunFolder("run").read_settings().weights == "coco"
    picture = robots.parent / "images" / "1.jpg"
    assert main(["infer", str(picture), "--weights", "coco", "--image-size", "128", "--score", "0", "--stacks", "1"]) == 0
    found = json.loads((tmp_path / "predictions" / "predictions.json").read_text())
    kinds = {c["id"]: c["name"] for c in found["categories"]}
    assert found["annotations"] and not [a for a in found["annotations"] if kinds[a["category_id"]].startswith("unused")]
    people = [a for a in found["annotations"] if a["category_id"] == 1]
    assert people and len(people[0]["keypoints"]) == 51


def test_what_auto_means():
    """The weights that a network has, random ones for the others; what suits them follows, unless it is given."""
    large, light = {"backbone": "hourglass_104"}, {"backbone": "efficientnet_lite0_fpn"}
    decided = {
        ("coco", 2.5e-4, 8, "none", 1): (large, large | {"weights": "coco"}),
        ("none", 1e-3, 8, "none", 1): (
            {"backbone": "hourglass_32"},
            {"backbone": "hourglass_10", "stacks": 2},
            large | {"weights": "none"},
        ),
        ("x.keras", 2.5e-4, 8, "none", 1): ({"backbone": "hourglass_20", "weights": "x.keras"},),
        ("coco", 3e-3, 2, "stem", 4): (large | {"learning_rate": 3e-3, "batch_size": 2, "freeze": "stem", "vector_rate": 4.0},),
        ("drawn", 1e-3, 4, "filters", 8): (light,),
        ("drawn", 1e-3, 8, "none", 8): ({"backbone": "hourglass_10"}, {"backbone": "hourglass_20", "stacks": 1}),
        ("none", 1e-3, 4, "none", 1): (light | {"weights": "none"},),
        ("x.keras", 2.5e-4, 4, "filters", 1): (light | {"weights": "x.keras"},),
        ("imagenet", 1e-3, 4, "none", 8): (light | {"freeze": "none", "weights": "imagenet"},),
    }
    for expected, given in decided.items():
        for values in given:
            s = TrainSettings(**values).resolve()
            found = (s.weights, s.learning_rate, s.batch_size, s.freeze, s.vector_rate)
            assert found == expected, values
            assert s.resolve() == s
    assert TrainSettings(**light).resolve().loss_weights == LIGHT_LOSSES
    assert TrainSettings(**light, loss_weights="").resolve().loss_weights == ""  # the zoo's
    assert TrainSettings(**large).resolve().loss_weights is None


def test_settings_that_contradict_themselves():
    late = {"freeze": "stem", "unfreeze_at": 100, "epochs": 100}
    for values in ({"unfreeze_at": 3}, late, {"freeze": "stem", "unfreeze_at": -1}):
        with pytest.raises(ValueError, match="unfreeze_at: found"):
            TrainSettings(backbone="hourglass_10", **values).resolve()
    with pytest.raises(ValueError, match="freeze: found 'all'"):
        TrainSettings(freeze="all")
    with pytest.raises(ValueError, match="expected names as snout=nose"):
        TrainSettings(map_keypoint="snout")
    assert read_keypoint_map(" snout = nose,tail=left_hip,") == {"snout": "nose", "tail": "left_hip"}
    options = build_parser().parse_args(["train", "--map-keypoint", "a=b", "--map-keypoint", "c=d,e=f", "--stacks", "1"])
    assert (options.map_keypoint, options.stacks) == ("a=b,c=d,e=f", 1)


def test_weights_of_another_backbone(demo, trained, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["train", "--coco", str(demo.train_json), "--weights", str(trained.best), "--image-size", "64"]
    assert main([*command, "--backbone", "hourglass_20"]) == 2
    assert "found hourglass_10, expected hourglass_20; use --backbone hourglass_10" in " ".join(capsys.readouterr().err.split())
    assert main([*command, "--backbone", "hourglass_10", "--map-keypoint", "x=y"]) == 2
    assert "map_keypoint: found 'y'" in capsys.readouterr().err
    assert not os.path.exists("runs")
