"""`centerkp convert` as a user would drive it, with the names from every place they may stand."""

import json

import checkpoints
import numpy as np
import pytest
import reference
from keras import ops

import centerkp
from centerkp.cli import main
from centerkp.formats.label_map import read_label_map
from centerkp.weights.convert import keep_stacks
from centerkp.weights.pipeline_config import read_pipeline

LABEL_MAP = """
item { id: 1 name: "/m/0a" display_name: 'pliers'  # as the API writes it
  keypoints { id: 0 label: "head" } keypoints { id: 1 label: "left" } keypoints { id: 2 label: "right" }
  keypoints { id: 3 label: "tail" } keypoints { id: 4 label: "mid" } }
item: < name: "nut" id: 2; keypoints: { id: 5, label: "t" "ip" } keypoints { id: 6 label: "\\"l\\"" }
  keypoints { id: 7 label: "r" } >
item { id: 3 name: "bolt" }
"""
PIPELINE = """
model { center_net { num_classes: 3
  image_resizer { keep_aspect_ratio_resizer { min_dimension: 128 max_dimension: 128 } }
  keypoint_estimation_task { task_name: "task_a" keypoint_class_name: "/m/0a" }
  keypoint_estimation_task { task_name: "task_b" keypoint_class_name: "nut" } } }
"""
POINTS = {"pliers": ["head", "left", "right", "tail", "mid"], "nut": ["tip", '"l"', "r"]}


def category(number, name, **more):
    return {"id": number, "name": name, **({"keypoints": POINTS[name]} if name in POINTS else {}), **more}


@pytest.fixture(scope="module")
def hg10(tmp_path_factory):
    return checkpoints.write_small("small_hg10", tmp_path_factory.mktemp("hg10")).parent.parent


@pytest.fixture
def files(tmp_path):
    (tmp_path / "label_map.pbtxt").write_text(LABEL_MAP)
    (tmp_path / "pipeline.config").write_text(PIPELINE)
    categories = [category(1, "pliers", skeleton=[[1, 2]]), category(2, "nut", oks_sigmas=0.1), category(3, "bolt")]
    (tmp_path / "ann.json").write_text(json.dumps({"images": [], "annotations": [], "categories": categories}))
    return tmp_path


def run(capsys, *arguments):
    """Exit code, printed text and error text, each on one line."""
    code = main(["convert", *map(str, arguments)])
    printed = capsys.readouterr()
    return code, " ".join(printed.out.split()), " ".join(printed.err.split())


def test_names_from_the_label_map(hg10, files, capsys):
    out = files / "new" / "model.keras"
    code, text, _ = run(capsys, hg10, out, "--label-map", files / "label_map.pbtxt", "--pipeline", files / "pipeline.config")
    assert code == 0 and [p.name for p in out.parent.iterdir()] == ["model.keras"]
    for words in ("106 of 106 variables", "hourglass_10, 1 stack,", "1.8 M parameters, 1.63 GMAC per image of 128x128",
                  "5 keypoints of 'pliers' (class /m/0a in pipeline.config)", "'nut' (class nut in", "names: "):  # fmt: skip
        assert words in text, words
    model = centerkp.load_model(out)
    assert model.schema.class_names == ("pliers", "nut", "bolt") and model.image_size == (128, 128)
    assert {c.name: list(c.keypoints) for c in model.schema.classes if c.keypoints} == POINTS
    golden = reference.load("small_hg10")
    maps = model(reference.letterbox(reference.draw_synth(), 128))[-1]
    for head, values in maps.items():
        expected = reference.read_head(golden, "synth/pred", head, suffix="/0")
        np.testing.assert_allclose(ops.convert_to_numpy(values), expected, atol=1e-4, err_msg=head)


def test_names_from_the_json(hg10, files, capsys):
    code, text, _ = run(capsys, hg10 / "checkpoint" / "ckpt-0", files / "m.keras", "--coco", files / "ann.json")
    assert code == 0 and "'pliers' (the only class with so many)" in text and "(size: the default)" in text
    kinds = centerkp.load_model(files / "m.keras").schema.classes
    assert kinds[0].skeleton == ((0, 1),) and kinds[0].flip_pairs == ((1, 2),) and kinds[1].oks_sigmas == (0.1, 0.1, 0.1)


def test_ids_with_gaps(hg10, files, capsys):
    """Channel = id - 1: a channel without a class is named, and never found; as many classes as channels go by rank."""
    gap = [category(1, "pliers"), category(3, "nut")]
    (files / "ann.json").write_text(json.dumps({"categories": gap}))
    code, text, _ = run(capsys, hg10, files / "m.keras", "--coco", files / "ann.json")
    assert code == 0 and "never detections: unused_2" in text
    model = centerkp.load_model(files / "m.keras")
    assert model.schema.class_names == ("pliers", "unused_2", "nut") and model.decode_options.ignored_classes == (1,)
    # The task of three keypoints belongs to the third class now; the flat axis and the weights are the same.
    assert model.schema.keypoint_slice(2) == slice(5, 8)
    found = model.decode(model(reference.letterbox(reference.draw_synth(), 128))[-1])
    assert 1 not in ops.convert_to_numpy(found["class_ids"])[ops.convert_to_numpy(found["scores"]) > 0]
    ranked = [category(7, "pliers"), category(20, "nut"), category(90, "bolt", keypoints=list("abcd"))]
    (files / "ann.json").write_text(json.dumps({"categories": ranked}))
    code, text, _ = run(capsys, hg10, files / "m.keras", "--coco", files / "ann.json")
    assert code == 0 and "'bolt': 4 keypoints named, but the checkpoint has no task for them" in text
    assert [c.category_id for c in centerkp.load_model(files / "m.keras").schema.classes] == [7, 20, 90]


def test_task_order_follows_the_classes(hg10, files, capsys):
    """task_b first on our axis when its class comes first."""
    (files / "ann.json").write_text(
        json.dumps({"categories": [category(1, "nut"), category(2, "pliers"), category(3, "bolt")]})
    )
    assert run(capsys, hg10, files / "m.keras", "--coco", files / "ann.json")[0] == 0
    golden = reference.load("small_hg10")
    maps = centerkp.load_model(files / "m.keras")(reference.letterbox(reference.draw_synth(), 128))[-1]
    for head in ("keypoint_heatmap", "keypoint_regression"):
        expected = reference.read_head(golden, "synth/pred", head, tasks=("task_b", "task_a"), suffix="/0")
        np.testing.assert_allclose(ops.convert_to_numpy(maps[head]), expected, atol=1e-4, err_msg=head)


@pytest.mark.long
def test_coco_model_needs_no_names(files, capsys):
    """The pipeline.config inside the archive gives the image size; one stack alone is what the first one says."""
    folder = files / "source"
    variables = checkpoints.make_variables(checkpoints.coco_shapes("small_tiny2"))
    checkpoints.write_checkpoint(folder / "checkpoint" / "ckpt-0", variables)
    archive = checkpoints.pack(folder, files / "coco.tar.gz")
    code, text, _ = run(capsys, archive, files / "two.keras")
    assert code == 0 and "COCO's own" in text and "512x512 (size: " in text and "unused_12" in text
    code, text, _ = run(capsys, archive, files / "one.keras", "--stacks", 1, "--image-size", 128)
    assert code == 0 and "hourglass, 1 stack," in text and "128x128 (size: given)" in text
    two, one = (centerkp.load_model(files / f"{name}.keras") for name in ("two", "one"))
    image = reference.letterbox(reference.draw_synth(), 128)
    first, alone = two(image)[0], one(image)
    assert len(alone) == 1 and one.schema == two.schema and one.decode_options == two.decode_options
    for head, values in alone[0].items():
        np.testing.assert_array_equal(ops.convert_to_numpy(values), ops.convert_to_numpy(first[head]), err_msg=head)
    with pytest.raises(ValueError, match="stacks: found 3, expected 1 to 2"):
        keep_stacks(two, 3)
    assert sorted(p.name for p in files.iterdir()) == sorted(
        ["ann.json", "coco.tar.gz", "label_map.pbtxt", "one.keras", "pipeline.config", "source", "two.keras"]
    )


def test_one_class_needs_no_names(tmp_path, capsys):
    shapes = {key: shape for key, shape in checkpoints.small_shapes("small_hg10").items() if "task_b" not in key}
    for key, shape in shapes.items():
        if "object_center/0/layer_with_weights-1" in key:
            shapes[key] = (*shape[:-1], 1)
    prefix = checkpoints.write_checkpoint(tmp_path / "ckpt-3", checkpoints.make_variables(shapes))
    code, text, _ = run(capsys, prefix, tmp_path / "m.keras")
    assert code == 0 and "made up; give --label-map or --coco" in text and "(the only class)" in text
    assert centerkp.load_model(tmp_path / "m.keras").schema.keypoint_names == tuple(f"class_0/point_{i}" for i in range(5))


def test_errors_say_what_to_pass(hg10, files, capsys):
    def write(name, text):
        (files / name).write_text(text if isinstance(text, str) else json.dumps({"categories": text}))
        return files / name

    same = [category(1, "pliers"), category(2, "nut"), category(3, "bolt", keypoints=list("abc"))]
    other = LABEL_MAP.replace('keypoints { id: 4 label: "mid" }', "")
    swapped = PIPELINE.replace('task_name: "task_b"', 'task_name: "task_c"').replace('class_name: "/m/0a"', 'class_name: "nut"')
    out = ["--label-map", files / "label_map.pbtxt"]
    cases = [
        ([], "pass --label-map label_map.pbtxt or --coco ann.json"),
        (["--coco", write("a.json", same)], "fits 2 classes ['nut', 'bolt'], expected one; pass --pipeline"),
        (["--coco", write("b.json", [category(1, "pliers"), category(5, "nut")])], "ids 1 to 5, expected ids 1 to 3"),
        (["--label-map", write("c.pbtxt", other)], "task 'task_a' with 5 keypoints, which fits 0 classes"),
        (
            ["--label-map", files / "c.pbtxt", "--pipeline", files / "pipeline.config"],
            "expected 4, which is what class 'pliers'",
        ),
        ([*out, "--pipeline", write("d.config", swapped)], "found 5 keypoints in the task 'task_a', expected 3"),
        ([*out, "--pipeline", write("e.config", PIPELINE.replace("3", "4", 1))], "num_classes 4, expected the 3"),
        ([*out, "--pipeline", write("f.config", "model { ssd { num_classes: 3 } }")], "found a model of ['ssd']"),
        ([*out, "--pipeline", write("g.config", PIPELINE.replace("128", "100"))], "found 100, expected a multiple of 8"),
        ([*out, "--pipeline", "nowhere.config"], "nowhere.config: no such file"),
        ([*out, "--coco", files / "ann.json"], "expected one of them"),
        (["--coco", "nowhere.json"], "nowhere.json: no such file"),
        (["--label-map", write("h.pbtxt", "item { id: 1 }")], "expected an id from 1 on and a name"),
        (["--label-map", write("i.pbtxt", "item { id: 1 name: 'a' ")], "line 1: the file ends early"),
        (["--label-map", write("j.pbtxt", "{}")], "line 1: found '{', expected the name of a field"),
        (["--label-map", write("k.pbtxt", "\n\nitem { id: } }")], "line 3: found '}', expected a value"),
        (["--label-map", write("l.pbtxt", "# empty")], "found no item"),
    ]
    for arguments, words in cases:
        code, _, error = run(capsys, hg10, files / "m.keras", *arguments)
        assert code == 2 and words in error, (arguments, error)
    for source, target, words in [
        (files / "nowhere", "m.keras", "no such archive, folder or checkpoint"),
        (files / "ann.json", "m.keras", "cut off or no archive"),
        (hg10, "m.h5", "found the ending '.h5'"),
        ("model.keras", "m.keras", "already a .keras file"),
    ]:
        code, _, error = run(capsys, source, files / target)
        assert code == 2 and words in error, (source, error)
    assert not list(files.glob("*.keras")) and not list(files.glob("unpack*"))


def test_label_map_and_pipeline(files):
    first, second, _ = read_label_map(files / "label_map.pbtxt")
    assert (first["id"], first["name"], first["label"]) == (1, "pliers", "/m/0a")
    assert (first["keypoints"], second["keypoints"]) == (POINTS["pliers"], POINTS["nut"])
    facts = read_pipeline(files / "pipeline.config")
    assert (facts.num_classes, facts.image_size) == (3, (128, 128))
    assert facts.task_classes == {"task_a": "/m/0a", "task_b": "nut"}
    (files / "zoo.config").write_text(checkpoints.PIPELINE)
    assert read_pipeline(files / "zoo.config").task_classes == {"human_pose": "/m/01g317"}
    (files / "fixed.config").write_text(
        "model { center_net { image_resizer { fixed_shape_resizer { height: 64 width: 128 } } } }"
    )
    assert read_pipeline(files / "fixed.config").image_size == (128, 64)
    (files / "bad.config").write_text("model { center_net { num_classes: many } }")
    with pytest.raises(ValueError, match="found num_classes 'many', expected a whole number"):
        read_pipeline(files / "bad.config")


def test_only_an_earlier_conversion_is_replaced_unasked(hg10, files, capsys):
    """A model that somebody trained is not, and nothing that is read ever is."""
    model, names = files / "m.keras", ("--label-map", files / "label_map.pbtxt", "--pipeline", files / "pipeline.config")
    model.write_bytes(b"trained for a week")
    code, _, error = run(capsys, hg10, model, *names)
    assert code == 2 and "m.keras: found a file of this name" in error and model.read_bytes() == b"trained for a week"
    assert run(capsys, hg10, model, *names, "--overwrite")[0] == 0
    assert run(capsys, hg10, model, *names)[0] == 0
    centerkp.load_model(model).save(model)
    assert run(capsys, hg10, model, *names)[0] == 2
    code, _, error = run(capsys, hg10, model, "--label-map", model, "--overwrite")
    assert code == 2 and "never changed" in error
