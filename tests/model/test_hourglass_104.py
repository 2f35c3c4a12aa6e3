"""The one large model of the suite, made once and by the whole way that a user's `--weights coco` goes.

All of its tests are in this file, because a process that runs them needs a minute and gigabytes for it.
"""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import checkpoints
import keras
import numpy as np
import pytest
import reference
from keras import ops
from rich.console import Console

from centerkp.model.cost import count_gmac
from centerkp.weights.coco_schema import coco_schema
from centerkp.weights.start import load_weights
from centerkp.weights.zoo_sources import Task, weight_sources

pytestmark = pytest.mark.long
ARCHIVE = "centernet_hg104_512x512_kpts_coco17_tpu-32.tar.gz"


@dataclass
class Route:
    """What `--weights coco` left behind: the model, the folder `weights`, what was printed, what the server was asked for."""

    model: object
    folder: Path
    text: str
    requests: list


@pytest.fixture(scope="module")
def hg104_route(tmp_path_factory):
    """The recipe's weights as a checkpoint, packed like the zoo's archive, served over HTTP, fetched, ported and loaded."""
    root = tmp_path_factory.mktemp("hg104")
    console = Console(record=True, width=200)
    with pytest.MonkeyPatch.context() as patch:
        source = root / "source"
        checkpoints.write_checkpoint(source / "checkpoint" / "ckpt-0", checkpoints.make_variables(checkpoints.hg104_shapes()))
        # Stored, not compressed: random numbers hardly get smaller, and packing them would take minutes.
        archive = checkpoints.pack(source, root / ARCHIVE, level=0)
        for file in (source / "checkpoint").iterdir():
            file.unlink()
        patch.chdir(root)
        with checkpoints.serve({ARCHIVE: archive}) as server:
            patch.setenv("CENTERKP_WEIGHTS_URL", server.address(ARCHIVE))
            load_weights("coco", console=console)
        archive.unlink()
        model = load_weights("coco", console=console)  # from now on without a network
    return Route(model, root / "weights", console.export_text(), server.seen)


@pytest.fixture(scope="module")
def hg104(hg104_route):
    return hg104_route.model


def test_route(hg104_route):
    """The real size: asked for once, kept as archive, digest and ported model, with COCO's names."""
    names = {path.name for path in hg104_route.folder.iterdir()} - {".lock"}
    assert names == {f"{ARCHIVE.removesuffix('.tar.gz')}.keras", ARCHIVE, f"{ARCHIVE}.sha256"}
    assert hg104_route.requests == [None] and "ported to weights" in hg104_route.text
    model = hg104_route.model
    assert model.schema == coco_schema() and model.image_size == (512, 512)
    assert model.schema.classes[0].keypoints[0] == "nose" and model.schema.classes[17].name == "dog"


def test_names_are_a_bijection(hg104):
    """848 variables on either side, none twice, none left over, each in its shape; the others normalise the input."""
    manifest = checkpoints.hg104_shapes()
    sources = weight_sources(hg104, {0: Task("human_pose", 17)})
    assert len(manifest) == len(sources) == 848 and {len(parts) for parts in sources.values()} == {1}
    ours = {v.path: tuple(v.shape) for v in hg104.weights if not v.path.startswith("normalise")}
    forward = {path: parts[0].key for path, parts in sources.items()}
    backward = {key: path for path, key in forward.items()}
    assert set(forward) == set(ours) and set(backward) == set(manifest)
    assert {backward[key]: shape for key, shape in manifest.items()} == ours
    assert {forward[path]: shape for path, shape in ours.items()} == manifest
    assert {part.key: part.shape for parts in sources.values() for part in parts} == manifest


def test_ported_every_number(hg104):
    """By the manifest's check sums, every variable of the model that came the whole way; the turned ones are turned back."""
    manifest = json.loads((reference.GOLDEN / "hg104_manifest.json").read_text())
    variables = {v.path: v for v in hg104.weights}
    for path, (source,) in weight_sources(hg104, {0: Task("human_pose", 17)}).items():
        values = source.turn(keras.ops.convert_to_numpy(variables[path]))  # each turn undoes itself
        assert zlib.crc32(np.ascontiguousarray(values, "<f4").tobytes()) == manifest[source.key][1], source.key


@pytest.fixture(scope="module")
def stacks_128(hg104):
    return hg104(reference.letterbox(reference.draw_synth(), 128))


@pytest.fixture(scope="module")
def stacks_512(hg104):
    return hg104(reference.letterbox(reference.draw_synth(), 512))


def test_heads_of_both_stacks_at_128(stacks_128):
    golden = reference.load("hg104_128")
    assert len(stacks_128) == 2
    for i, stack in enumerate(stacks_128):
        for head, values in stack.items():
            expected = reference.read_head(golden, "synth/pred", head, ("human_pose",), f"/{i}")
            np.testing.assert_allclose(keras.ops.convert_to_numpy(values), expected, atol=1e-4, rtol=0, err_msg=f"{head} {i}")


def test_heads_at_512(stacks_512):
    """Every fourth row and column, and mean and deviation of every channel over the whole map."""
    golden = reference.load("hg104_512")
    for head, values in stacks_512[-1].items():
        values = keras.ops.convert_to_numpy(values)
        expected = reference.read_head(golden, "synth/pred_sub", head, ("human_pose",), "/1")
        np.testing.assert_allclose(values[:, 1::4, 1::4], expected, atol=1e-4, rtol=0, err_msg=head)
        for statistic in ("mean", "std"):
            expected = reference.read_head(golden, f"synth/pred_{statistic}", head, ("human_pose",), "/1")
            np.testing.assert_allclose(
                getattr(values.astype("float64"), statistic)((0, 1, 2)), expected, atol=1e-4, err_msg=head
            )


def check_golden_detections(hg104, maps, name):
    golden = reference.load(name)
    found = {k: ops.convert_to_numpy(v)[0] for k, v in hg104.decode(maps).items()}
    expected = {k: golden[f"synth/post/detection_{k}"][0] for k in reference.DETECTIONS}
    assert len(expected["scores"]) == 100 and expected["scores"].min() > 0.6
    reference.check_detections(found, expected, golden["synth/true_shape"][0, 1::-1].astype("float32"))


def test_detections_at_128(hg104, stacks_128):
    check_golden_detections(hg104, stacks_128[-1], "hg104_128")


def test_detections_at_512(hg104, stacks_512):
    check_golden_detections(hg104, stacks_512[-1], "hg104_512")


def test_cost(hg104):
    """Both stacks' heads count in training; the last stack's alone is what prediction computes."""
    assert count_gmac(hg104, (512, 512)) == pytest.approx(293, abs=0.5)
    assert count_gmac(hg104, (512, 512), all_heads=True) == pytest.approx(351, abs=0.5)


def test_size(hg104):
    """The reference's counts; the input normalisation has seven numbers of its own."""
    assert sum(int(np.prod(v.shape)) for v in hg104.trainable_weights) == 194_873_318
    statistics = [v for v in hg104.non_trainable_weights if v.path.split("/")[-1].startswith("moving")]
    assert sum(int(np.prod(v.shape)) for v in statistics) == 117_504 and len(statistics) == 320
