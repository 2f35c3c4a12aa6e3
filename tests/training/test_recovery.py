"""A loss that is no longer a number: what is written down of it, and how the run goes on, once."""

import json
import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from rich.console import Console

import centerkp
from centerkp.demo.scenes import write_demo
from centerkp.images.reading import read_image
from centerkp.model.gradients import measure_batches
from centerkp.samples.sample import Sampler
from centerkp.schema import Schema
from centerkp.training import recovery
from centerkp.training import train as training
from centerkp.training.callbacks import EpochEnd
from centerkp.training.optimizer import rate_at
from centerkp.training.post_mortem import Autopsy, explain
from centerkp.training.recovery import _advise
from centerkp.training.run import Run
from centerkp.training.run_batches import list_batch
from centerkp.training.run_folder import RunFolder
from centerkp.training.run_images import read_records
from centerkp.training.step_watch import BrokenStep, StepWatch
from centerkp.training.train import train

TERMS = {"center_heatmap", "center_offset", "box_size", "keypoint_heatmap", "keypoint_offset", "keypoint_regression"}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return write_demo(tmp_path_factory.mktemp("data") / "demo", num_train=4, num_val=1, num_test=1, size=(96, 80))


@pytest.fixture
def make_settings(make_settings, monkeypatch):
    """Settings of a run, two steps an epoch, that is not evaluated."""
    monkeypatch.setattr(EpochEnd, "_evaluate_model", lambda self: {"score": 0.5})
    return lambda **values: make_settings(warmup=0.0, **values)


@pytest.fixture
def break_labels(monkeypatch):
    """All objects lose their boxes on their way to the network, in the sample at this place of this epoch, counted from 0.

    A fault that does not come again is away when its batch is made once more for the post-mortem.
    """
    sample, look = Sampler.__call__, recovery.examine

    def plant(epoch, position, *, comes_again):
        places = {(epoch, position)}

        def __call__(self, record, rng):
            image, truth = sample(self, record, rng)
            if self.augmentation and tuple(rng.bit_generator.seed_seq.entropy[1:]) in places:
                truth["boxes_xyxy"][:] = np.nan
            return image, truth

        def examine(run, broken):
            if not comes_again:
                places.clear()
            return look(run, broken)

        monkeypatch.setattr(Sampler, "__call__", __call__)
        monkeypatch.setattr(recovery, "examine", examine)

    return plant


def read_post_mortem(folder):
    return json.loads(folder.post_mortem.read_text(), parse_constant=lambda word: pytest.fail(f"no JSON: {word}"))


def test_broken_labels_are_named_and_end_the_run_at_the_second_time(make_settings, break_labels, tmp_path):
    """In the second step: its batch is accused each time, the one before it is not; a resumed run would count on."""
    folder, console = RunFolder(tmp_path / "run"), Console(record=True, width=300)
    break_labels(0, 3, comes_again=True)
    with pytest.raises(ValueError, match="for the second time") as error:
        train(make_settings(epochs=3), console=console)
    text = console.export_text()
    assert "learning rate up to 0.0005;" in text and text.count("with half the learning rate") == 1
    assert text.count("the loss is no longer a number (") == 2
    run = Run(None, read_records(folder.read_settings())[1], (), folder.read_settings(), folder, 0.0, console)
    names = [record.file_name for record in list_batch(run, 0, 1)]
    for words in (", ".join(names), "the batch of step 2 has no finite loss", f"--resume {folder.path}"):
        assert words in str(error.value), words
    for entry in read_post_mortem(folder):
        assert (entry["epoch"], entry["step"]) == (1, 2)
        batch, before = entry["batches_with_the_weights_of_the_last_save"]
        assert [image["file_name"] for image in batch["images"]] == names
        assert batch["terms"].keys() == TERMS | {"loss"} and batch["terms"]["loss"] == "nan"
        assert all(isinstance(value, float) for value in (*before["gradient_norms"].values(), *before["terms"].values()))
        assert {"stem", "stack0", "box_size", "center_heatmap"} < batch["gradient_norms"].keys()
        assert entry["losses_of_the_last_steps"][-1] == "nan" and entry["terms_over_the_epoch"]["box_size"] == "nan"
    assert min(read_image(folder.pictures / "post_mortem.jpg").shape[:2]) >= 32
    assert centerkp.load_model(folder.last).rate_factor == 0.5


@pytest.mark.long
def test_recovers_once_from_where_it_was_saved(make_settings, break_labels, tmp_path):
    """A fault that does not come again, in the last step of a timed run: it goes back by a step, and ends at half the rate."""
    folder, console = RunFolder(tmp_path / "run"), Console(record=True, width=300)
    break_labels(1, 2, comes_again=False)
    train(make_settings(epochs=2, time="1h", save_every="0.001s"), console=console)
    text = console.export_text()
    assert "epoch 2, step 2: the loss" in text and "the steps since then have driven them too far" in text
    assert "back to what was saved after 1 epoch and 1 step, this once, with half the learning rate" in text
    rows, last = folder.read_log(), centerkp.load_model(folder.last)
    assert [row["epoch"] for row in rows] == [1, 2] and all(math.isfinite(row["loss"]) for row in rows)
    assert (last.trained_epochs, last.rate_factor, int(last.optimizer.iterations)) == (2, 0.5, 4)
    assert rows[1]["learning_rate"] == pytest.approx(rate_at(folder.read_settings(), 3 / 4) / 2, rel=1e-2)
    assert len(read_post_mortem(folder)) == 1 and "epoch 2, step 2: the loss was no longer a number" in folder.page.read_text()


def test_what_is_to_blame_and_to_be_done(make_settings, tmp_path):
    """By which of the batches have no finite loss with the weights of the last save."""
    record = SimpleNamespace(file_name="a.jpg")
    well, ill = (Autopsy(3, step, [record] * 10, {"loss": loss}, {"stem": 1.0}) for step, loss in ((6, 2.0), (7, math.inf)))
    run = Run(SimpleNamespace(rate_factor=0.5), (), (), make_settings(learning_rate=0.1), RunFolder(tmp_path), 0.0, None)
    run.folder.best.touch()
    lower = f"start a new run with --weights {run.folder.best} --learning-rate 0.001 or a lower --clip-norm"
    for found, why, what in (
        ([well, well], "its batch has a finite loss", lower),
        ([ill, ill], "no batch has a finite loss", lower),
        ([well, ill], "the batch of step 7 has no finite loss", "mend the labels of these images"),
        ([ill], "look at a.jpg, a.jpg, a.jpg, a.jpg, a.jpg, a.jpg, a.jpg, a.jpg and 2 more", "mend the labels of these images"),
    ):
        error = _advise(run, BrokenStep(3, 7, {}, []), found)
        assert why in error and what in error and explain(found) in error


def test_watch_knows_the_loss_of_every_step():
    """`fit` tells the mean over the epoch."""
    watch, model = StepWatch(), type("Model", (), {"unfinished": None})()
    watch.set_model(model)
    watch.on_epoch_begin(4)
    for batch, mean in enumerate((6.0, 5.0, 7.0)):
        watch.on_train_batch_end(batch, {"loss": mean, "box_size": 1.0})
    assert list(watch.losses) == [6.0, 4.0, 11.0]
    with pytest.raises(BrokenStep) as error:
        watch.on_train_batch_end(3, {"loss": math.inf, "box_size": math.nan})
    assert (error.value.epoch, error.value.step, error.value.losses[-1]) == (5, 4, math.inf)
    model.unfinished = {"steps": 7}
    watch.on_epoch_begin(4)
    watch.on_train_batch_end(0, {"loss": 5.0})
    assert watch.done == 8 and len(watch.losses) == 4


def test_gradient_norms_are_those_of_the_loss(make_settings):
    """As many as the layer groups; along the biases of a head the loss changes no faster; no weight is changed."""
    model = training.build_probe(Schema.generic(1, 1), make_settings())
    truth = {"boxes_xyxy": [[[4, 4, 21, 22]]], "class_ids": [[0]], "object_weights": [[1]], "is_crowd": [[0]],
             "keypoints_xy": [[[[9, 9]]]], "visibility": [[[2]]], "valid_size": [[32, 32]]}  # fmt: skip
    truth = {k: np.array(v, np.int32 if k in ("class_ids", "visibility") else np.float32) for k, v in truth.items()}
    images = np.random.default_rng(0).integers(0, 255, (1, 32, 32, 3), np.uint8)
    before = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    [(terms, norms)] = measure_batches(model, [(images, truth)])
    for one, other in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(one), other)
    assert norms.keys() == {"stem", "stack0"} | TERMS
    assert terms["loss"] == pytest.approx(sum(model.loss_weights[k] * v for k, v in terms.items() if k != "loss"), rel=1e-4)
    bias, losses = model.get_layer("stack0_center_offset").bias, []
    for sign in (1, -2):
        bias.assign_add([sign * 0.01, 0])
        losses.append(measure_batches(model, [(images, truth)])[0][0]["loss"])
    slope = abs(losses[0] - losses[1]) / 0.02
    assert 0.05 * norms["center_offset"] < slope <= norms["center_offset"] * 1.01
