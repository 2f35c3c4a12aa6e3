"""The zoo's CenterNet keypoint models besides the hourglass: the whole way of `--weights coco`, and the reference's numbers.

Archives are written with the manifests' keys and served by this machine. The 2020 archives of the ResNets hold more than the
network; what is left there is named.
"""

import json
import re
import zlib
from dataclasses import replace

import checkpoints
import keras
import numpy as np
import pytest
import reference
import weights_recipe_more
from keras import layers, ops
from rich.console import Console
from training_step import run_training_step

from centerkp.cli import main
from centerkp.model.backbones import BACKBONES, name_backbone
from centerkp.model.center_net import CenterNet, load_model
from centerkp.model.cost import count_gmac
from centerkp.model.hourglass import Hourglass
from centerkp.model.losses import DEFAULT_WEIGHTS
from centerkp.model.mobilenet import MobileNet
from centerkp.model.resnet import ResNetV1, ResNetV2
from centerkp.model.transfer import transfer_weights
from centerkp.schema import ObjectClass, Schema
from centerkp.weights import addresses
from centerkp.weights.checkpoint import open_checkpoint
from centerkp.weights.checkpoint_structure import describe_use, read_structure
from centerkp.weights.coco_schema import coco_schema
from centerkp.weights.convert import port_checkpoint
from centerkp.weights.start import load_weights
from centerkp.weights.zoo_layers import spare_keys
from centerkp.weights.zoo_sources import Task, port_weights, weight_sources

PERSON = {0: Task("human_pose", 17)}
TASKS = {0: Task("task_a", 5), 1: Task("task_b", 3)}
CLASSES = {"mobilenetv2_fpn": 1, "resnet50_v1_fpn": 90, "resnet50_v2": 90}
VARIABLES = {"mobilenetv2_fpn": 319, "resnet50_v1_fpn": 368, "resnet50_v2": 326}
SPARE = {
    "mobilenetv2_fpn": "",
    "resnet50_v1_fpn": "; left behind: the ImageNet classifier (2)",
    "resnet50_v2": "; left behind: the ImageNet classifier (2), the unused post_bn (4)",
}
TRAINABLE = {"mobilenetv2_fpn": 2_379_210, "resnet50_v1_fpn": 25_742_195, "resnet50_v2": 30_315_699 - 4096}
STATISTICS = {"mobilenetv2_fpn": 34_272, "resnet50_v1_fpn": 53_632, "resnet50_v2": 47_232 - 4096}
GMAC = {"mobilenetv2_fpn": (1.62, 2.63), "resnet50_v1_fpn": (22.29, 37.54), "resnet50_v2": (20.45, 35.69)}


# Of each golden the cells that are kept, from the first on with a step, and the name of the part.
IMAGES = {("synth", 128): (0, 1, "pred"), ("real", 128): (0, 2, "pred_sub"), ("synth", 256): (1, 4, "pred_sub")}


@pytest.fixture(scope="module", params=CLASSES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def route(name, tmp_path_factory):
    """The model as `--weights coco --backbone NAME` leaves it, and what was printed; afterwards the server is gone."""
    root, console = tmp_path_factory.mktemp(name), Console(record=True, width=300)
    address = addresses.find_archive(name, 512)[0].removeprefix(addresses.ZOO)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        source = root / "source"
        variables = checkpoints.make_zoo_variables(name)
        checkpoints.write_checkpoint(source / "checkpoint" / "ckpt-301", variables)
        archive = checkpoints.pack(source, root / "archive.tar.gz", level=0)
        with checkpoints.serve({address: archive}) as server:
            patch.setattr(addresses, "ZOO", server.address(""))
            load_weights("coco", console=console, backbone=name)
            assert server.seen == [None]
        for file in [archive, *(source / "checkpoint").iterdir()]:
            file.unlink()
        model = load_weights("coco", console=console, backbone=name)
        stem = address.split("/")[1].removesuffix(".tar.gz")
        left = {p.name for p in (root / "weights").iterdir()} - {".lock"}
        assert left == {f"{stem}.keras", f"{stem}.tar.gz", f"{stem}.tar.gz.sha256"}
        (root / "weights" / f"{stem}.tar.gz").unlink()
    return model, console.export_text()


@pytest.fixture(scope="module")
def model(route):
    return route[0]


@pytest.fixture(scope="module")
def golden(name):
    return reference.load(name)


def read_image(image: str, size: int) -> np.ndarray:
    pixels = reference.draw_synth() if image == "synth" else reference.load("small_hg10")["input/real"]
    return reference.letterbox(pixels, size)


@pytest.fixture(scope="module")
def maps(model):
    """Those of both images at 128 and of one at 256, each computed once."""
    return {
        (image, size): model(read_image(image, size))[-1] for image, size in (("synth", 128), ("real", 128), ("synth", 256))
    }


def test_route(route, name):
    model, text = route
    assert name_backbone(model.backbone) == name and model.image_size == (512, 512)
    assert model.schema.classes == coco_schema().classes[: CLASSES[name]]
    assert model.schema.num_keypoints == 17 and model.decode_options.ignored_classes == (() if CLASSES[name] == 1 else
        tuple(i for i, kind in enumerate(model.schema.class_names) if kind.startswith("unused")))  # fmt: skip
    total = len(checkpoints.zoo_manifest(name))
    assert f"weights: {VARIABLES[name]} of {total} variables in place{SPARE[name]}\n" in text and "ported to weights/" in text


def test_names_are_a_bijection(model, name):
    """Every variable of the network on either side, none twice, none left over but what is known to be spare."""
    manifest = {key: entry[0] for key, entry in checkpoints.zoo_manifest(name).items()}
    sources = weight_sources(model, PERSON)
    ours = {v.path: tuple(v.shape) for v in model.weights if not v.path.startswith("normalise")}
    assert {path: parts[0].shape for path, parts in sources.items()} == ours and {len(p) for p in sources.values()} == {1}
    theirs = {parts[0].key: parts[0].shape for parts in sources.values()}
    assert len(theirs) == len(ours) == VARIABLES[name]
    spare = {key: shape for key, shape in manifest.items() if key.rsplit("/", 1)[0] in spare_keys(model.backbone)}
    assert not spare.keys() & theirs.keys() and theirs | spare == manifest


def test_every_number_is_ported(model, name):
    manifest = checkpoints.zoo_manifest(name)
    variables = {v.path: v for v in model.weights}
    for path, (source,) in weight_sources(model, PERSON).items():
        values = source.turn(ops.convert_to_numpy(variables[path]))  # each turn undoes itself
        assert zlib.crc32(np.ascontiguousarray(values, "<f4").tobytes()) == manifest[source.key][2], source.key


def test_size_and_cost(model, name):
    """The reference's counts; what it stores and does not use is not counted."""
    assert sum(int(np.prod(v.shape)) for v in model.trainable_weights) == TRAINABLE[name]
    statistics = [v for v in model.non_trainable_weights if v.path.split("/")[-1].startswith("moving")]
    assert sum(int(np.prod(v.shape)) for v in statistics) == STATISTICS[name]
    assert count_gmac(model, (512, 512)) == pytest.approx(GMAC[name][1], abs=0.006)
    assert model.multiple == 32


@pytest.mark.parametrize("image, size", IMAGES)
def test_preprocessing(model, name, golden, image, size):
    """Black padding and all; the reference's first convolution reads ResNet V1's channels as blue, green, red."""
    values = ops.convert_to_numpy(model.get_layer("normalise")(read_image(image, size)))
    values = values[..., ::-1] if name == "resnet50_v1_fpn" else values
    scale = np.abs(golden[f"{size}/{image}/preprocessed_sub"]).max()
    np.testing.assert_allclose(values[:, 1::4, 1::4], golden[f"{size}/{image}/preprocessed_sub"], atol=1e-6 * scale)
    for statistic in ("mean", "std"):
        expected = golden[f"{size}/{image}/preprocessed_channel_{statistic}"]
        np.testing.assert_allclose(getattr(values.astype("float64"), statistic)((0, 1, 2)), expected, atol=1e-6 * scale)


@pytest.mark.parametrize("image, size", IMAGES)
def test_heads(maps, golden, image, size):
    """Within 1e-4 of each head's standard deviation; of the second image every second cell, at 256 every fourth is kept."""
    first, step, part = {("synth", 128): (0, 1, "pred"), ("real", 128): (0, 2, "pred_sub")}.get(
        (image, size), (1, 4, "pred_sub")
    )
    for head, values in maps[image, size].items():
        values = ops.convert_to_numpy(values)
        expected = reference.read_head(golden, f"{size}/{image}/{part}", head, ("human_pose",), "/0")
        tolerance = 1e-4 * expected.std()
        np.testing.assert_allclose(values[:, first::step, first::step], expected, atol=tolerance, rtol=0, err_msg=head)
        for statistic in ("mean", "std") if size == 256 else ():
            expected = reference.read_head(golden, f"256/synth/pred_{statistic}", head, ("human_pose",), "/0")
            found = getattr(values.astype("float64"), statistic)((0, 1, 2))
            np.testing.assert_allclose(found, expected, atol=tolerance, err_msg=f"{head} {statistic}")


@pytest.mark.parametrize("image, size", IMAGES)
def test_detections(model, maps, golden, image, size):
    found = {k: ops.convert_to_numpy(v)[0] for k, v in model.decode(maps[image, size]).items()}
    expected = {k: golden[f"{size}/{image}/post/detection_{k}"][0] for k in reference.DETECTIONS}
    scale = golden[f"{size}/{image}/true_shape"][0, 1::-1].astype("float32")
    # The channels of the gaps in COCO's ids are never detections here.
    classes = set(range(model.schema.num_classes)) - set(model.decode_options.ignored_classes)
    reference.check_detections(found, expected, scale, classes)


@pytest.fixture(scope="module")
def step(name, golden):
    """One step of the same network with three classes and two keypoint tasks, with the reference's momenta."""
    heads = ("center_heatmap", "center_offset", "box_size", "keypoint_heatmap", "keypoint_offset", "keypoint_regression")
    spec = BACKBONES[name]
    spec = replace(
        spec,
        head_channels={head: 512 if head.startswith("keypoint") else 256 for head in heads},
        separable_heads={head: 2 if head.startswith("keypoint") else 1 for head in heads} if spec.separable_heads else 0,
    )
    model = CenterNet(reference.SCHEMA, spec, reference.SIZE)
    manifest = checkpoints.zoo_manifest(name)
    shapes = {source.key: source.shape for parts in weight_sources(model, TASKS).values() for source in parts}
    read = lambda key: weights_recipe_more.make_variable(  # noqa: E731
        key + checkpoints.SUFFIX, shapes[key], manifest.get(key, ("", ""))[1], name
    )
    variables = {v.path: v for v in model.weights}
    for path, value in port_weights(model, read, TASKS):
        variables[path].assign(value)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            is_trunk = name == "mobilenetv2_fpn" and layer.name.startswith(("stem", "stride"))
            layer.momentum = 0.9997 if is_trunk else 0.99
    before = {v.path: ops.convert_to_numpy(v) for v in model.non_trainable_variables}
    images = np.concatenate([read_image("synth", reference.SIZE), read_image("real", reference.SIZE)])
    truth = reference.read_truth(reference.load("train_math"), reference.SIZE, golden["train/true_shapes"])
    return model, before, run_training_step(model, images, truth)


def test_training_losses_and_predictions(step, golden):
    total, terms, stacks, _, _ = step[2]
    for head, theirs in reference.HEADS.items():
        names = [f"{task.name}/{theirs}" for task in TASKS.values()] if theirs.startswith("keypoint/") else [theirs]
        expected = sum(float(golden[f"train/loss/Loss/{name}"]) for name in names)
        assert DEFAULT_WEIGHTS[head] * float(terms[head]) == pytest.approx(expected, rel=5e-5), head
        expected = reference.read_head(golden, "train/pred", head, ("task_a", "task_b"), "/0")
        values = ops.convert_to_numpy(stacks[0][head])[:, 1::4, 1::4]
        np.testing.assert_allclose(values, expected, atol=1e-3 * max(1.0, expected.std()), rtol=0, err_msg=head)
    assert total == pytest.approx(float(golden["train/total"]), rel=5e-5)


def test_gradients(step, golden):
    """Norm and sum of every variable's gradient, as near as the reference's own stay when the input gets noise of 1e-5.

    Norms move by 0.2 % then in the median and by 3 % at most, for these networks have many kinks. Where a gradient is zero but
    for rounding (a bias before a BatchNormalization), it is so here.
    """
    gradients, ours = step[2][3], {}
    for path, sources in weight_sources(step[0], TASKS).items():
        ours |= {source.key: gradients[path][source.where] for source in sources if path in gradients}
    keys = [key.decode().removesuffix(checkpoints.SUFFIX) for key in golden["train/grad_keys"]]
    spare = {key for key in keys if key.rsplit("/", 1)[0] in spare_keys(step[0].backbone)}
    assert set(keys) - spare == set(ours)
    columns = ("norm", "sum", "norm_rel_change_input_noise_1e-5", "rel_change_input_noise_1e-5")
    differences = []
    for key, norm, total, norm_change, change in zip(keys, *(golden[f"train/grad_{c}"] for c in columns), strict=True):
        if key in spare:
            continue
        gradient = ours[key].astype("float64")
        if norm < 1e-5:
            assert np.linalg.norm(gradient) < 1e-4, key
            continue
        differences.append(abs(np.linalg.norm(gradient) / norm - 1))
        assert differences[-1] < max(3 * norm_change, 0.03), key
        allowed = max(3 * change, 0.01) * norm * np.sqrt(gradient.size)
        assert gradient.sum() == pytest.approx(total, rel=0, abs=allowed + 1e-6), key
    assert np.median(differences) < 2e-3


def test_moving_statistics(step, golden):
    """The reference's moving variance takes n / (n - 1) of the batch's, ours the batch's own, as the hourglass's does there.

    With that factor, for n = batch x height x width, they are equal.
    """
    model, before, (_, _, _, _, after) = step
    norms = {layer.name: layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)}
    network = keras.Model(model.inputs, [layer.output for layer in norms.values()])
    shapes = network.compute_output_shape((2, reference.SIZE, reference.SIZE, 3))
    counts = {name: int(np.prod(shape[:3])) for name, shape in zip(norms, shapes, strict=True)}
    checked = 0
    for path, (source, *_) in weight_sources(model, TASKS).items():
        expected = golden.get(f"train/after/{source.key}{checkpoints.SUFFIX}")
        if expected is None:
            continue
        layer = norms[path.split("/")[-2]]
        found = after[path].astype("float64")
        if path.endswith("moving_variance"):
            kept = layer.momentum * before[path].astype("float64")
            n = counts[layer.name]
            assert n > 1 and np.abs(found / expected - 1).max() < 1.01 / n + 1e-4  # what it differs by, by design
            found = kept + (found - kept) * n / (n - 1)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max(), err_msg=path)
        checked += 1
    assert checked == 2 * len(norms) == sum(key.startswith("train/after/") for key in golden)


def test_transfer_and_freeze(model):
    """A dataset of one's own starts from it by name, and may keep the trunk down to a stride from training."""
    schema = Schema((ObjectClass("pet", 1, ("tail", "nose")), ObjectClass("person", 2)))
    own = CenterNet(schema, model.backbone, 64)
    lines = transfer_weights(model, own, source_name="coco").lines()
    assert (
        "center_heatmap: person <- coco:person, pet fresh" in lines
        and "keypoint heads: pet/nose <- coco:person/nose, pet/tail fresh" in lines
    )
    for layer in own.layers:
        if not own.find_head(layer.name):
            for ours, theirs in zip(layer.weights, model.get_layer(layer.name).weights, strict=True):
                np.testing.assert_array_equal(ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs))
    own.freeze("stride8")
    frozen = {layer.name.split("_")[0] for layer in own.layers if layer.weights and not layer.trainable}
    assert {"stem", "stride4", "stride8"} <= frozen <= {"stem", "stride2", "stride4", "stride8", "normalise"}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Variables of the lightest of them, and the model made of them."""
    variables = checkpoints.make_zoo_variables("mobilenetv2_fpn")
    return variables, port(checkpoints.write_checkpoint(tmp_path_factory.mktemp("small") / "ckpt-0", variables))


def port(path, **arguments):
    with open_checkpoint(path, **arguments) as checkpoint:
        return port_checkpoint(checkpoint, read_structure(checkpoint), Schema(coco_schema().classes[:1]), PERSON, 128)


def check_equal(model, expected):
    for ours, theirs in zip(model.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs), err_msg=ours.path)


@pytest.mark.once
def test_saved_model_is_read_by_its_graph(small, tmp_path):
    """Every variable of the backbone under the number of its place in a list; the names are ways through the graph alone.

    The graph also counts all layers (`layer-N`), and holds the trunk as the first layer of the pyramid's model.
    """
    variables = small[0]
    files, places = {}, {}
    for i, key in enumerate(sorted(variables)):
        where = key.replace("model/", "_model/", 1) if "_prediction_head" in key else f"_model/_feature_extractor/variables/{i}"
        files[where] = variables[key]
        places[key.replace("model/", "_model/", 1)] = where
        if "_base_model" in key:
            nested = "_feature_extractor_model/layer_with_weights-0/layer_with_weights-"
            places[key.replace("model/", "_model/", 1).replace("_base_model/layer_with_weights-", nested)] = where
            places[key.replace("model/", "_model/", 1).replace("layer_with_weights-", "layer-")] = where
    folder = tmp_path / "NAME" / "saved_model"
    checkpoints.write_checkpoint(folder / "variables" / "variables", files, graph=checkpoints.make_graph(places))
    check_equal(port(folder), small[1])


@pytest.mark.once
def test_training_checkpoint_with_an_optimizer(small, tmp_path):
    more = {f"{key}/.OPTIMIZER_SLOT/optimizer/m": value for key, value in list(small[0].items())[:5]}
    more |= {"optimizer/learning_rate": np.float32(1), "step": np.int64(7)}
    prefix = checkpoints.write_checkpoint(tmp_path / "ckpt-7", small[0] | more)
    check_equal(port(prefix), small[1])
    with open_checkpoint(prefix) as checkpoint:
        text = describe_use(checkpoint, small[1].backbone)
    assert text == "319 of 326 variables in place; left behind: optimizer state (6), step (1)"


LAYER = "model/_feature_extractor/_base_model/layer_with_weights"


@pytest.mark.once
@pytest.mark.parametrize(
    "change, words",
    [
        (lambda v: v.pop(f"{LAYER}-57/beta"), f"1 of 319 variables are missing, the first is {LAYER}-57/beta with shape"),
        (lambda v: v.update({f"{LAYER}-2/depthwise_kernel": np.zeros((5, 5, 32, 1), "f")}), "1 of 319 variables differ"),
        (lambda v: v.update({f"{LAYER}-104/kernel": np.zeros((1280, 1000), "f")}), "1 variables belong to no part"),
        (lambda v: [v.pop(k) for k in list(v) if "box.Sscale" in k], "missing: ['box.Sscale']"),
        (
            lambda v: [v.pop(k) for k in list(v) if "_feature_extractor_model" in k],
            "found no variable model/_feature_extractor",
        ),
        (lambda v: [v.pop(k) for k in list(v) if "_base_model" in k], "found a CenterNet with another backbone"),
    ],
)
def test_incomplete_and_other_networks(small, tmp_path, change, words):
    variables = dict(small[0])
    change(variables)
    with pytest.raises(ValueError, match=re.escape(words)):
        port(checkpoints.write_checkpoint(tmp_path / "ckpt-0", variables))


STRUCTURES = {
    "mobilenetv2_fpn": MobileNet(head_channels=8),
    "ordinary convolutions": MobileNet(pyramid_channels=(64, 40, 24, 16), separable_pyramid=False, separable_heads=0),
    "resnet101_v1_fpn": ResNetV1(blocks=(3, 4, 23, 3), pyramid_channels=(256, 64, 64, 32), head_channels=8),
    "resnet101_v2": ResNetV2(blocks=(3, 4, 23, 3), upsample_channels=(64, 32, 32), head_channels=8),
    "hourglass with separable heads": Hourglass(4, (8, 8), (1, 1), 1, separable_heads=1),
}


@pytest.mark.once
@pytest.mark.parametrize("kind, tasks", [*((kind, TASKS) for kind in STRUCTURES), ("mobilenetv2_fpn", {})])
def test_structure_is_read_from_the_keys(kind, tasks):
    """Networks of users: other depths and widths, several keypoint tasks or none."""
    schema = reference.SCHEMA if tasks else Schema.generic(2)
    spec, sums = STRUCTURES[kind], len(tasks)
    if tasks:
        heads = ("center_heatmap", "center_offset", "box_size", "keypoint_heatmap", "keypoint_offset", "keypoint_regression")
        filters = {head: sums if head.startswith("keypoint") else 1 for head in heads}
        widths = {head: spec.hidden_channels(head) * filters[head] for head in heads}
        spec = replace(spec, head_channels=widths, separable_heads=filters if spec.separable_heads else 0)
    sources = weight_sources(CenterNet(schema, spec, 64), tasks)

    class Named:
        shapes = {source.key: source.shape for parts in sources.values() for source in parts}
        path = "here"

    structure = read_structure(Named)
    assert structure.backbone == spec and structure.num_classes == schema.num_classes and len(structure.tasks) == sums


def test_convert(small, tmp_path, capsys):
    """People's names come from the keys of the task; a model of one's own gets its names from a file as ever."""
    source, out = tmp_path / "source", tmp_path / "person.keras"
    checkpoints.write_checkpoint(source / "checkpoint" / "ckpt-301", small[0])
    assert main(["convert", str(source), str(out)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for words in ("319 of 319 variables in place", "network: mobilenetv2_fpn, stem channels 32", "COCO's own, as 17 keypoints",
                  "2.4 M parameters, 2.63 GMAC per image of 512x512"):  # fmt: skip
        assert words in text, words
    check_equal(load_model(out), small[1])
    (tmp_path / "ann.json").write_text(
        json.dumps({"categories": [{"id": 1, "name": "mouse", "keypoints": list("abcdefghijklmnopq")}]})
    )
    assert main(["convert", str(source), str(out), "--coco", str(tmp_path / "ann.json")]) == 0
    assert load_model(out).schema.class_names == ("mouse",)
    with pytest.raises(ValueError, match="found mobilenetv2_fpn, expected resnet50_v2; use --backbone mobilenetv2_fpn"):
        load_weights(out, backbone="resnet50_v2")
