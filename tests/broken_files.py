"""A COCO file with nothing to say about, and the ways to break it, by what is said then."""

import copy

import numpy as np

WIDTH, HEIGHT = 320, 240
NAMES = ["tip", "left_grip", "right_grip"]


def pliers(number, image_id, x=100.0, y=60.0, angle=0.0):
    """One object with the tip up and its left grip on the left, turned by `angle`."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = np.array([[0, -30], [-12, 30], [12, 30]]) @ turn.T + [x, y]
    low, high = points.min(0) - 6, points.max(0) + 6
    box = [*low, *(high - low)]
    triples = [float(v) for point in points for v in (*point, 2)]
    entry = {"id": number, "image_id": image_id, "category_id": 1, "bbox": [round(float(v), 2) for v in box], "iscrowd": 0}
    triples[2::3] = [2, 2, 2]
    return entry | {"area": float(box[2] * box[3]), "keypoints": triples, "num_keypoints": 3}


def dataset(count=24, seed=0):
    """A file with nothing to say about: `count` images, one object each, turned at random."""
    rng = np.random.default_rng(seed)
    images = [{"id": i + 1, "file_name": f"{i + 1}.png", "width": WIDTH, "height": HEIGHT} for i in range(count)]
    objects = [pliers(i + 1, i + 1, *rng.uniform((60, 60), (250, 180)), rng.uniform(0, 6.28)) for i in range(count)]
    category = {"id": 1, "name": "pliers", "keypoints": list(NAMES), "skeleton": [[1, 2], [1, 3]], "oks_sigmas": [0.05] * 3}
    return {"info": {}, "images": images, "annotations": objects, "categories": [category]}


def change(where, **values):
    def apply(content):
        entry = content[where][0]
        entry.update(values)
        for key in [k for k, v in values.items() if v is ...]:
            del entry[key]

    return apply


def repeat(where, **values):
    return lambda content: content[where].append(copy.deepcopy(content[where][0]) | values)


POINTS = dataset()["annotations"][0]["keypoints"]
PAIRS = [v for n, v in enumerate(POINTS) if n % 3 < 2]
MENDABLE = [
    (change("annotations", iscrowd=False), "'iscrowd' is true or false"),
    (change("annotations", iscrowd=...), "'iscrowd' missing"),
    (change("annotations", id="1"), "'id' written as text"),
    (change("annotations", image_id=1.0), "'image_id' written as text"),
    (change("annotations", id=...), "'id' missing"),
    (change("annotations", id=2), "annotation ids that stand more than once"),
    (change("annotations", area=...), "'area' missing or zero"),
    (change("annotations", area=0), "'area' missing or zero"),
    (change("annotations", num_keypoints=1), "'num_keypoints' missing or wrong"),
    (change("annotations", bbox=["10", "10", "90.5", "90"]), "NaN, infinite"),
    (change("annotations", bbox=[10, 10, 400, 90]), "box reaches"),
    (change("annotations", keypoints=PAIRS), "x, y pairs without visibility"),
    (change("annotations", keypoints=[POINTS[:3], POINTS[3:6], POINTS[6:]]), "lists inside the list"),
    (change("annotations", keypoints=[*POINTS[:6], float("nan"), 5, 2]), "NaN, infinite"),
    (change("annotations", keypoints=[*POINTS[:8], 0.9]), "visibility none of 0, 1, 2"),
    (change("annotations", keypoints=[*POINTS[:6], 999, 20, 2]), "labelled outside the image"),
    (repeat("annotations", id=99), "object labelled twice"),
    (repeat("images"), "image ids that stand more than once"),
    (repeat("categories", id=7), "stands more than once, with the same name"),
    (change("images", id="one"), "'id' missing or no whole number"),
    (change("categories", skeleton=[[0, 1], [0, 2]]), "counts keypoints from 0"),
    (change("categories", skeleton=[[1, 2], [2, 9]]), "keypoints that the category does not have"),
    (lambda c: c["categories"].append({"id": 0, "name": "tools", "supercategory": "none"})
     or c["categories"][0].update(supercategory="tools"), "placeholder"),
    (lambda c: [c[name].insert(0, None) for name in ("annotations", "categories")], "that are null"),
]  # fmt: skip
UNUSABLE = [
    (change("annotations", category_id=5), "'category_id' that 'categories' does not hold"),
    (change("annotations", image_id=500), "'image_id' that 'images' does not hold"),
    (lambda c: [image.update(id=f"img_{image['id']}") for image in c["images"]], "'image_id' that 'images' does not hold"),
    (lambda c: change("images", id="one")(c) or change("annotations", image_id=25)(c),
     "'image_id' that 'images' does not hold"),
    (lambda c: repeat("categories", id="plate", name="plate")(c) or change("annotations", category_id=2)(c),
     "'category_id' that 'categories' does not hold"),
    (change("annotations", keypoints=[1, 2, 2]), "whose length is not three times"),
    (change("annotations", iscrowd=3), "neither 0 nor 1"),
    (change("annotations", bbox=[1, 2, 3]), "no list of 4 numbers"),
    (repeat("images", file_name="other.png"), "image ids that stand more than once"),
    (lambda c: repeat("categories", id=7, keypoints=["a"], oks_sigmas=0.1, skeleton=[])(c)
     or c["annotations"][0].update(category_id=7, keypoints=[9, 9, 2]), "names must be unique"),
    (lambda c: c["annotations"].append("junk"), "entries of 'annotations' that are no JSON objects"),
    (lambda c: c["annotations"].append([c["annotations"].pop()]), "entries of 'annotations' that are no JSON objects"),
    (lambda c: c["categories"].append("bolt"), "entries of 'categories' that are no JSON objects"),
    (lambda c: c["annotations"].clear(), "no annotation in this file"),
]  # fmt: skip
