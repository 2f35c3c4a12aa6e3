"""A detector without a network: it finds red and green squares, so that tests know every number in advance."""

import json
import time
from pathlib import Path

import cv2
import numpy as np

from centerkp.schema import ObjectClass, Schema

SCHEMA = Schema((ObjectClass("red", 3, ("corner", "middle"), ((0, 1),)), ObjectClass("green", 7)))
SIZE = 96
OBJECTS = 4


class SquareDetector:
    """Boxes of red (class 0) and green (class 1) areas; a red one's keypoints are its upper left corner and its middle."""

    schema = SCHEMA
    image_size = (SIZE, SIZE)

    def __init__(self, seconds: float = 0.0):
        self.seconds, self.calls = seconds, 0

    def predict_on_batch(self, inputs):
        images = np.asarray(inputs["image"])
        time.sleep(self.seconds)
        self.calls += 1
        count = len(images)
        found = {
            "boxes": np.zeros((count, OBJECTS, 4), np.float32),
            "scores": np.zeros((count, OBJECTS), np.float32),
            "class_ids": np.zeros((count, OBJECTS), np.int32),
            "keypoints": np.zeros((count, OBJECTS, 2, 2), np.float32),
            "keypoint_scores": np.zeros((count, OBJECTS, 2), np.float32),
        }
        for i, image in enumerate(images):
            for row, (class_id, box) in enumerate(find_squares(image)[:OBJECTS]):
                found["boxes"][i, row] = box
                found["scores"][i, row] = 0.9 - 0.1 * row
                found["class_ids"][i, row] = class_id
                if class_id == 0:
                    found["keypoints"][i, row] = [box[:2], (box[:2] + box[2:]) / 2]
                    found["keypoint_scores"][i, row] = 0.8
        return found


def find_squares(image: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """(class, xyxy box) of every area that is clearly red or green."""
    found = []
    for class_id, channel in ((0, 0), (1, 1)):
        others = np.delete(image, channel, axis=2).max(-1)
        area = (image[..., channel].astype(int) - others > 90).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(area)
        found += [(class_id, np.array([x, y, x + w, y + h], float)) for x, y, w, h, size in stats[1:] if size > 9]
    return found


def draw(*squares: tuple[str, int, int, int], size: tuple[int, int] = (SIZE, SIZE)) -> np.ndarray:
    """A gray image of (width, height) with squares (colour, x, y, side)."""
    image = np.full((size[1], size[0], 3), 60, np.uint8)
    for color, x, y, side in squares:
        image[max(y, 0) : y + side, max(x, 0) : x + side] = (230, 20, 20) if color == "red" else (20, 230, 20)
    return image


def write_png(path: Path, *squares: tuple[str, int, int, int], size: tuple[int, int] = (SIZE, SIZE)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = cv2.imencode(".png", draw(*squares, size=size)[..., ::-1])[1]
    path.write_bytes(data.tobytes())
    return path


def write_clip(path: Path, images, codec: str = "MJPG", fps: float = 20) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, images[0].shape[1::-1])
    for image in images:
        writer.write(image[..., ::-1])
    writer.release()
    return path


def moving_square(count: int, step: int = 2, side: int = 16) -> list[np.ndarray]:
    """`count` frames of a red square that goes right by `step` pixels each."""
    return [draw(("red", 4 + step * i, 30, side)) for i in range(count)]


SQUARES = {  # what the detector finds in each image
    "one.png": [("red", 10, 10, 40)],
    "two.png": [("red", 6, 8, 30), ("green", 50, 50, 40)],
    "empty.png": [],
}


def write_dataset(folder, shift=0):
    """The squares of `SQUARES`, annotated where they are; keypoints `shift` pixels beside."""
    images, annotations = [], []
    for image_id, (name, squares) in enumerate(SQUARES.items(), 1):
        write_png(folder / name, *squares)
        images.append({"id": image_id, "file_name": name, "width": SIZE, "height": SIZE})
        for color, x, y, side in squares:
            entry = {"id": len(annotations) + 1, "image_id": image_id, "category_id": 3 if color == "red" else 7, "iscrowd": 0}
            entry |= {"bbox": [x, y, side, side], "area": side * side}
            if color == "red":
                middle = [x + side / 2 + shift, y + side / 2, 2]
                entry |= {"keypoints": [x + shift, y, 2, *middle], "num_keypoints": 2}
            annotations.append(entry)
    categories = [{"id": 3, "name": "red", "keypoints": ["corner", "middle"]}, {"id": 7, "name": "green"}]
    path = folder / "val.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path
