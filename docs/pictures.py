"""Draws the pictures of docs/how-it-works.md from a scene of the demonstration dataset, with the code that trains and predicts.

python docs/pictures.py          # writes docs/how/*.jpg
"""

import sys
from pathlib import Path

import cv2
import numpy as np
from keras import ops

from centerkp.codec.decode import decode
from centerkp.codec.ideal import ideal_maps
from centerkp.codec.targets import render_targets
from centerkp.demo.scenes import draw_scene
from centerkp.demo.shapes import DEMO_SCHEMA as SCHEMA
from centerkp.drawing.colors import class_colors, keypoint_colors
from centerkp.drawing.pictures import draw_record, draw_targets
from centerkp.heads import STRIDE

FOLDER = Path(__file__).with_name("how")
SEED, SIZE, OBJECTS = 46, (320, 224), 4  # pixels; multiples of the stride
ENLARGED = 2  # times as large is what is drawn into
NAMES = ("labels", "centers", "keypoints", "vectors", "decoded")


def make_scene() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A drawn scene and its objects, as a batch of one and with nothing to pad, in the words of `samples.Sampler`."""
    image, tools = draw_scene(np.random.default_rng(SEED), SIZE, OBJECTS)
    truth = {
        "boxes_xyxy": np.zeros((1, len(tools), 4), np.float32),
        "class_ids": np.zeros((1, len(tools)), np.int32),
        "object_weights": np.ones((1, len(tools)), np.float32),
        "keypoints_xy": np.zeros((1, len(tools), SCHEMA.num_keypoints, 2), np.float32),
        "visibility": np.zeros((1, len(tools), SCHEMA.num_keypoints), np.int32),
        "valid_size": np.float32([SIZE]),
    }
    ids = {kind.category_id: class_id for class_id, kind in enumerate(SCHEMA.classes)}
    for row, tool in enumerate(tools):
        class_id = ids[tool["category_id"]]
        x, y, width, height = tool["bbox"]
        truth["boxes_xyxy"][0, row] = x, y, x + width, y + height
        truth["class_ids"][0, row] = class_id
        points = np.reshape(tool.get("keypoints", []), (-1, 3))
        truth["keypoints_xy"][0, row, SCHEMA.keypoint_slice(class_id)] = points[:, :2]
        truth["visibility"][0, row, SCHEMA.keypoint_slice(class_id)] = points[:, 2]
    return image, truth


def to_arrays(values: dict) -> dict:
    """The same with NumPy arrays in place of tensors."""
    return {k: to_arrays(v) if isinstance(v, dict) else ops.convert_to_numpy(v) for k, v in values.items()}


def enlarge(image: np.ndarray) -> np.ndarray:
    """An image as large as what is drawn into it."""
    return cv2.resize(image, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_CUBIC)


def draw_objects(image: np.ndarray, objects: dict[str, np.ndarray], labels: bool = True) -> np.ndarray:
    """Objects drawn into the enlarged scene."""
    names = ("boxes_xyxy", "class_ids", "keypoints_xy", "visibility")
    boxes, class_ids, points, visibility = (objects[name][0] for name in names)
    return draw_record(enlarge(image), boxes * ENLARGED, class_ids, points * ENLARGED, visibility, SCHEMA, labels=labels)


def draw_vectors(image: np.ndarray, truth: dict[str, np.ndarray]) -> np.ndarray:
    """Arrows from each object's center to its keypoints, in the colours of the keypoints."""
    canvas = (enlarge(image) * 0.6).astype(np.uint8)
    colors = keypoint_colors(SCHEMA).tolist()
    for box, points, seen in zip(truth["boxes_xyxy"][0], truth["keypoints_xy"][0], truth["visibility"][0], strict=True):
        start = np.round((box[:2] + box[2:]) / 2 * ENLARGED).astype(int).tolist()
        for channel in np.flatnonzero(seen):
            end = np.round(points[channel] * ENLARGED).astype(int).tolist()
            cv2.arrowedLine(canvas, start, end, colors[channel], 2, cv2.LINE_AA, tipLength=0.12)
        cv2.circle(canvas, start, 5, (255, 255, 255), -1, cv2.LINE_AA)
    return canvas


def decode_targets(targets: dict) -> dict[str, np.ndarray]:
    """The objects of an ideal network's maps, in the words of `make_scene`."""
    maps = {head: ops.convert_to_tensor(values) for head, values in ideal_maps(targets, SCHEMA).items()}
    found = to_arrays(decode(maps, SCHEMA.keypoint_mask))
    real = found["scores"][0] > 0.5
    return {
        "boxes_xyxy": found["boxes"][:, real],
        "class_ids": found["class_ids"][:, real],
        "keypoints_xy": found["keypoints"][:, real],
        "visibility": np.where(found["keypoint_scores"][:, real] > 0.5, 2, 0),
    }


def draw_all() -> dict[str, np.ndarray]:
    """Every picture by its name, (height, width, 3) uint8 RGB."""
    image, truth = make_scene()
    targets = to_arrays(render_targets(truth, SCHEMA, (SIZE[1] // STRIDE, SIZE[0] // STRIDE)))
    pictures = (
        draw_objects(image, truth),
        draw_targets(enlarge(image), targets["center_heatmap"][0], class_colors(SCHEMA)),
        draw_targets(enlarge(image), targets["keypoint_heatmap"][0], keypoint_colors(SCHEMA)),
        draw_vectors(image, truth),
        draw_objects(image, decode_targets(targets)),
    )
    return dict(zip(NAMES, pictures, strict=True))


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    for name, picture in draw_all().items():
        cv2.imwrite(str(FOLDER / f"{name}.jpg"), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    return 0


if __name__ == "__main__":
    sys.exit(main())
