"""Full memory and full disks, as the libraries really report them: one sentence and exit code 2."""

import re
import sys
from types import SimpleNamespace

import cv2
import keras
import numpy as np
import pytest
import squares

from centerkp.cli import commands
from centerkp.cli.exhaustion import explain_exhaustion
from centerkp.inference import detect as detecting
from centerkp.inference import model_loading

HUGE = 1 << 20


def numpy_array():
    np.ones((HUGE, HUGE * 32))


def opencv_picture():
    cv2.resize(np.zeros((9, 9, 3), np.uint8), (HUGE, HUGE))


def backend_array():
    keras.ops.convert_to_numpy(keras.ops.ones((HUGE, HUGE)) + 1)


def tensorflow_worker():
    import tensorflow as tf

    def load(_):
        return np.ones((HUGE, HUGE * 32))

    list(tf.data.Dataset.range(3).map(lambda i: tf.numpy_function(load, [i], tf.float64)))


def layer_of_keras():
    """Keras wraps the errors of layers into others."""
    layer = keras.layers.Conv2D(HUGE, 1, kernel_initializer="zeros")
    layer(np.zeros((1, 1, 1, HUGE), np.float32))


def wrapped():
    try:
        numpy_array()
    except MemoryError as error:
        raise RuntimeError("a worker failed") from error


def xla_on_a_gpu():
    raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 17179869184 bytes.")


MEMORY = {
    numpy_array: "an array of 1048576 x 33554432 numbers",
    opencv_picture: "3298.5 GB",
    backend_array: "(an array of 1048576 x 1048576 numbers|4398.0 GB)",
    tensorflow_worker: "an array of 1048576 x 33554432 numbers",
    layer_of_keras: "",
    wrapped: "an array of 1048576 x 33554432 numbers",
    xla_on_a_gpu: "17.2 GB",
}


@pytest.fixture()
def infer(tmp_path, monkeypatch, capsys):
    """Runs `infer` with a detector that does something in the thread of the network; gives code and error text."""
    squares.write_png(tmp_path / "a.png")
    monkeypatch.setattr(commands, "import_quietly", lambda name: None)

    def run(work, *flags):
        class Failing(squares.SquareDetector):
            def predict_on_batch(self, inputs):
                work()
                return super().predict_on_batch(inputs)

        monkeypatch.setattr(model_loading, "load_for_use", lambda *_, **__: Failing())
        code = commands.main(["infer", str(tmp_path / "a.png"), "--weights", "x", "--out", str(tmp_path / "out"), *flags])
        return code, capsys.readouterr().err.strip()

    return run


@pytest.mark.parametrize(
    "work",
    # TensorFlow waits for ten seconds before it says so.
    [pytest.param(work, marks=pytest.mark.long) if work is layer_of_keras else work for work in MEMORY],
    ids=lambda work: work.__name__,
)
def test_memory(infer, work):
    code, text = infer(work)
    assert code == 2 and len(text.splitlines()) == 1
    assert text.startswith("error: infer: found no memory for ") and "--batch-size (now 8), --image-size, --stacks" in text
    assert re.search(f"found no memory for {MEMORY[work]}", text), text


@pytest.mark.parametrize("size", ["96", "96x64"])
def test_the_size_that_was_too_large_is_told(infer, size):
    assert f"--image-size (now {size}), " in infer(next(iter(MEMORY)), "--image-size", size)[1]


def test_memory_while_a_picture_is_read(infer, monkeypatch):
    """In a pool's thread, far from the command."""
    monkeypatch.setattr(detecting, "read_image", lambda *_: numpy_array())
    code, text = infer(lambda: None)
    assert code == 2 and "an array of 1048576 x 33554432 numbers" in text


def options_of(command):
    return SimpleNamespace(run_command=SimpleNamespace(__module__=f"centerkp.cli.{command}"), batch_size=16)


@pytest.mark.parametrize("command", commands.COMMANDS)
def test_flags_are_those_of_the_command(command):
    """Each flag that is named exists there."""
    text = explain_exhaustion(MemoryError(), options_of(command))
    flags = {word.strip(",.;()") for word in text.split() if word.startswith("--")}
    parser = commands.build_parser()
    known = parser._subparsers._group_actions[0].choices[command.replace("_", "-")]._option_string_actions
    assert flags <= set(known) and text.startswith(f"{command}: found no memory for what was to be computed")
    assert flags or "close other programs" in text
    text = explain_exhaustion(OSError(28, "No space left on device", "/a/b"), options_of(command))
    assert {word.strip(",.;()") for word in text.split() if word.startswith("--")} <= set(known)


def tensorflow_record():
    import tensorflow as tf

    with tf.io.TFRecordWriter("/dev/full") as writer:
        writer.write(b"x" * 10**6)


def tensorflow_file():
    import tensorflow as tf

    tf.io.write_file("/dev/full", "x" * 10**5)


def hdf5():
    import h5py

    with h5py.File("/dev/full", "w") as file:
        file["x"] = np.ones(10**6)


def python_file():
    with open("/dev/full", "w") as file:
        file.write("x" * 10**6)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/dev/full, which is always full, is Linux's")
@pytest.mark.parametrize("write", [tensorflow_record, tensorflow_file, hdf5, python_file], ids=lambda write: write.__name__)
def test_disk(write):
    with pytest.raises(Exception) as caught:
        write()
    text = explain_exhaustion(caught.value, options_of("train"))
    place = "writing" if write is python_file else "/dev/full"
    assert text == f"{place}: found the disk full, expected room; free some or write to another disk with --run."


def test_other_errors_stay_what_they_are(infer):
    for error in (RuntimeError("shape [3,4]"), KeyError("x"), ZeroDivisionError()):
        assert explain_exhaustion(error, options_of("train")) is None

    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        infer(fail)
