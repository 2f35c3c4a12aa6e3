"""What the zoo's COCO models detect: 80 classes on 90 channels, and the seventeen keypoints of a person."""

from centerkp.schema import COCO_KEYPOINTS, COCO_SIGMAS, ObjectClass, Schema

# By category id from 1 on; COCO dropped ten of its first ninety categories and kept the numbers of the others.
_NAMES = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, -, stop sign,
parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, -, backpack, umbrella, -, -,
handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard,
surfboard, tennis racket, bottle, -, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange,
broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, -, dining table, -, -, toilet, -, tv,
laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, -, book, clock, vase,
scissors, teddy bear, hair drier, toothbrush
""".replace("\n", " ").strip().split(", ")  # fmt: skip
_SKELETON = (
    "left_ankle-left_knee left_knee-left_hip right_ankle-right_knee right_knee-right_hip left_hip-right_hip "
    "left_shoulder-left_hip right_shoulder-right_hip left_shoulder-right_shoulder left_shoulder-left_elbow "
    "right_shoulder-right_elbow left_elbow-left_wrist right_elbow-right_wrist left_eye-right_eye nose-left_eye nose-right_eye "
    "left_eye-left_ear right_eye-right_ear left_ear-left_shoulder right_ear-right_shoulder"
).split()
UNUSED = "unused_"  # followed by the category id


def coco_schema() -> Schema:
    """The schema of the zoo's COCO models, with a class for each of their 90 channels.

    `unused_12` and nine more stand for the gaps in COCO's ids.
    """
    classes = []
    for category_id, name in enumerate(_NAMES, start=1):
        name = f"{UNUSED}{category_id}" if name == "-" else name
        classes.append(_person_class() if name == "person" else ObjectClass(name, category_id))
    return Schema(tuple(classes))


def unused_classes(schema: Schema) -> tuple[int, ...]:
    """The class channels of the COCO schema that stand for gaps: they carry weights, but find no detection."""
    return tuple(i for i, kind in enumerate(schema.classes) if kind.name == f"{UNUSED}{kind.category_id}")


def _person_class() -> ObjectClass:
    """The class "person" of the COCO schema, the only one with keypoints."""
    index = COCO_KEYPOINTS.index
    return ObjectClass(
        "person",
        1,
        tuple(COCO_KEYPOINTS),
        skeleton=tuple((index(a), index(b)) for a, b in (edge.split("-") for edge in _SKELETON)),
        flip_pairs=tuple((index(k), index(k.replace("left", "right"))) for k in COCO_KEYPOINTS if k.startswith("left")),
        oks_sigmas=COCO_SIGMAS,
        flip_source="names",
        sigma_source="coco",
    )
