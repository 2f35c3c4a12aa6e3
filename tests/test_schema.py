import json

import numpy as np
import pytest

from centerkp.results import coco_dataset
from centerkp.schema import COCO_KEYPOINTS, COCO_SIGMAS, ObjectClass, Schema
from centerkp.sides import guess_flip_pairs


def category(name="cat", keypoints=("left_eye", "right_eye", "nose"), **extra):
    return {"id": 7, "name": name, "keypoints": list(keypoints)} | extra


def read(*categories, **options):
    return Schema.from_coco({"categories": list(categories)}, **options)


@pytest.mark.parametrize(
    "names",
    [("left_x", "right_x"), ("l_x", "r_x"), ("x_L", "x_R"), ("xLeft", "xRight"), ("LeftEye", "RightEye"), ("LEye", "REye"),
     ("lefteye", "righteye"), ("FL_paw", "FR_paw"), ("LF", "RF"), ("eye left", "eye right"), ("LEFT_EYE", "RIGHT_EYE"),
     ("kp-l-1", "kp-r-1")],
)  # fmt: skip
def test_pairs_from_names(names):
    assert guess_flip_pairs(("a", names[0], "bright", names[1])) == (((1, 3),), ())


def test_names_without_sides():
    assert guess_flip_pairs(("tail", "bright", "collar", "reel", "leftover")) == ((), ("leftover",))
    assert guess_flip_pairs(()) == ((), ())


def test_sided_names_without_partner_switch_flipping_off():
    pairs, unpaired = guess_flip_pairs(("paw1LH", "paw2LF", "paw3RF", "paw4RH", "tailBase"))
    assert pairs == () and unpaired == ("paw1LH", "paw2LF", "paw3RF", "paw4RH")
    schema = read(category(keypoints=("paw1LH", "paw4RH", "nose")))
    assert not schema.can_flip and schema.classes[0].flip_source == "unpaired"
    assert schema.flip_permutation.tolist() == [0, 1, 2]


def test_flip_pairs_of_the_json_and_of_the_user():
    mouse = category(keypoints=("paw1LH", "paw4RH", "nose"), flip_pairs=[["paw1LH", "paw4RH"]])
    assert read(mouse).classes[0].flip_source == "json" and read(mouse).flip_permutation.tolist() == [1, 0, 2]
    given = read(category(), flip_pairs=[("left_eye", "nose")])
    assert given.flip_permutation.tolist() == [2, 1, 0] and given.classes[0].flip_source == "flag"
    assert read(mouse, flip_pairs=[]).can_flip and read(mouse, flip_pairs=[]).flip_permutation.tolist() == [0, 1, 2]
    by_class = read(category(), category("dog") | {"id": 8}, flip_pairs={"dog": []})
    assert by_class.flip_permutation.tolist() == [1, 0, 2, 3, 4, 5]
    with pytest.raises(ValueError, match="category 'cat': flip_pairs name \\['tail'\\]"):
        read(category(flip_pairs=[["nose", "tail"]]))


def test_sigmas_and_where_they_came_from():
    assert read(category()).classes[0].oks_sigmas == (0.05,) * 3
    assert read(category()).classes[0].sigma_source == "guess"
    person = read(category("person", COCO_KEYPOINTS)).classes[0]
    assert person.oks_sigmas == COCO_SIGMAS and person.sigma_source == "coco"
    assert read(category(oks_sigmas=0.1)).classes[0].oks_sigmas == (0.1,) * 3
    assert read(category(oks_sigmas=[0.1, 0.2, 0.3])).classes[0].sigma_source == "json"
    assert read(category(oks_sigmas=0.1), oks_sigmas={"nose": 0.02}).classes[0].oks_sigmas == (0.1, 0.1, 0.02)
    assert read(category(), oks_sigmas=0.3).classes[0].sigma_source == "flag"
    with pytest.raises(ValueError, match="found 2 oks_sigmas for 3 keypoints"):
        read(category(oks_sigmas=[0.1, 0.2]))


def test_sigmas_by_name_and_by_number():
    schema = Schema(
        (ObjectClass("a", 1, ("p", "q"), oks_sigmas=(0.1, 0.2), sigma_source="json"), ObjectClass("b", 2, ("r", "s")))
    )
    named = schema.with_sigmas({"q": 0.3, "r": 0.4})
    assert named.classes[0].oks_sigmas == (0.1, 0.3) and named.classes[0].sigma_source == "flag"
    assert named.classes[1].oks_sigmas == (0.4, 0.05) and named.classes[1].sigma_source == "guess"
    assert schema.with_sigmas({"q": 0.3}).classes[1] == schema.classes[1]
    assert schema.with_sigmas(0.07).classes[1].oks_sigmas == (0.07, 0.07) and schema.with_sigmas(None) is schema
    with pytest.raises(ValueError, match="found 'z', expected keypoints of"):
        schema.with_sigmas({"z": 0.1})


def test_names_that_no_class_has_are_refused():
    """A slip of the pen must not pass for "nothing swaps"."""
    cat, dog = category(), category("dog", ("left_paw", "right_paw")) | {"id": 8}
    both = read(cat, dog, flip_pairs=[("right_eye", "left_eye")])
    assert both.flip_permutation.tolist() == [1, 0, 2, 4, 3] and both.classes[1].flip_source == "names"
    for pairs in ([("left_eye", "right_eie")], [("left_eye", "left_paw")], {"dgo": []}):
        with pytest.raises(ValueError, match="flip_pairs: found"):
            read(cat, dog, flip_pairs=pairs)
    with pytest.raises(ValueError, match="did you mean 'right_eye'"):
        read(cat, dog, flip_pairs=[("left_eye", "right_eie")])
    with pytest.raises(ValueError, match="found 'nsoe', .* did you mean 'nose'"):
        read(cat, oks_sigmas={"nsoe": 0.1})


def test_what_was_guessed_does_not_come_back_as_known():
    """Predictions are pre-labels: trained on, a class without known pairs must still not be mirrored."""
    mouse = category(keypoints=("paw1LH", "paw4RH", "nose"))
    known = category("dog", oks_sigmas=0.1, flip_pairs=[["left_eye", "right_eye"]], skeleton=[[1, 3]]) | {"id": 8}
    nameless = category("cup", ("rim", "foot")) | {"id": 9}
    schema = read(mouse, known, nameless)
    again = Schema.from_coco(coco_dataset([], [], schema))
    assert again == schema and not again.can_flip
    assert [c.sigma_source for c in again.classes] == ["guess", "json", "guess"]
    assert [c.flip_source for c in again.classes] == ["unpaired", "json", "none"]  # which places decide anew


def test_skeleton_counts_from_one_unless_it_uses_zero():
    assert read(category(skeleton=[[1, 2], [2, 3], [3, 9]])).classes[0].skeleton == ((0, 1), (1, 2))
    assert read(category(skeleton=[[0, 1], [1, 2]])).classes[0].skeleton == ((0, 1), (1, 2))


def test_flat_axis():
    schema = read(category("b", ("p", "q")) | {"id": 9}, category("none", ()) | {"id": 3}, category("a", ("p",)) | {"id": 1})
    assert schema.class_names == ("a", "none", "b")  # by category id
    assert schema.keypoint_names == ("a/p", "b/p", "b/q") and schema.num_keypoints == 3
    np.testing.assert_array_equal(schema.keypoint_mask, [[1, 0, 0], [0, 0, 0], [0, 1, 1]])
    assert schema.keypoint_slice(2) == slice(1, 3) and schema.class_id("b") == 2
    with pytest.raises(ValueError, match="no class 'c'"):
        schema.class_id("c")


def test_config_round_trip(tmp_path):
    schema = read(category(skeleton=[[1, 3]]), category("plate", ()) | {"id": 2})
    assert Schema.from_config(json.loads(json.dumps(schema.get_config()))) == schema
    path = tmp_path / "ann.json"
    path.write_text(json.dumps({"categories": [category()]}))
    assert Schema.from_coco(path) == read(category())
    with pytest.raises(ValueError, match="newer centerkp"):
        Schema.from_config({"classes": [{"name": "a", "category_id": 1, "colour": "red"}]})


@pytest.mark.parametrize(
    "content, words",
    [
        ("{", "not readable as JSON"),
        ("[]", "no list 'categories'"),
        ('{"categories": []}', "no list"),
        ('{"categories": [{"id": 1}]}', "lack 'id' or 'name'"),
    ],
)
def test_files_that_are_not_coco(tmp_path, content, words):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ValueError, match=words):
        Schema.from_coco(tmp_path / "x.json")


def test_contradictions():
    for categories, words in (
        ([category(), category()], "must be unique"),
        ([category(), category() | {"id": 8}], "must be unique"),
        ([category(keypoints=("a", "a"))], "stand twice"),
        ([category(flip_pairs=[["nose", "nose"]])], "different keypoints"),
        ([category(oks_sigmas=-1)], "positive"),
    ):
        with pytest.raises(ValueError, match=words):
            read(*categories)
    with pytest.raises(ValueError, match="at least one class"):
        Schema(())


def test_generic():
    assert Schema.generic(2, 3).keypoint_names[3:] == ("class_1/point_0", "class_1/point_1", "class_1/point_2")
    assert Schema.generic(2, [3, 0]).num_keypoints == 3
    for bad in ((0, 1), (2, [1]), (1, -1)):
        with pytest.raises(ValueError, match="at least one class"):
            Schema.generic(*bad)


def test_objects_stay_as_they_are():
    with pytest.raises(AttributeError):
        ObjectClass("a", 1).name = "b"
