"""Maps -> objects: the only other place that thinks in grid cells.

One vectorised pass over images, classes and keypoints, in `keras.ops`, so that it runs inside the predict graph and in
every export. Follows TensorFlow's CenterNet post-processing (2021) with its defaults; unlike it, centers in the padding are
not detections.
"""

from dataclasses import dataclass

import numpy as np
from keras import ops

from centerkp.codec.cells import take_cells, take_pairs, valid_cells
from centerkp.heads import STRIDE

FAR = 1e5  # distance given to candidates that do not count, in cells


@dataclass(frozen=True)
class DecodeOptions:
    """How maps become objects; the defaults are the reference's.

    Attributes:
        max_objects: M, objects kept per image, best first.
        peak_kernel: side of the window in which a peak must be the highest, in cells.
        candidates: heat map peaks considered per keypoint.
        candidate_score: least heat map score of a candidate.
        unmatched_score: score of a keypoint that found no candidate and stays where the center's vector points.
        box_scale: candidates must lie inside the object's box enlarged by this factor about its center.
        search_scale: and no further from where the vector points than this share of the enlarged box's longer side.
        clip_keypoints: moves keypoints outside the image to its border with score 0 (what the zoo's 2020 exports do).
        ignored_classes: class channels that never become detections, such as the gaps in COCO's ids.
    """

    max_objects: int = 100
    peak_kernel: int = 3
    candidates: int = 100
    candidate_score: float = 0.1
    unmatched_score: float = 0.1
    box_scale: float = 1.2
    search_scale: float = 0.3
    clip_keypoints: bool = False
    ignored_classes: tuple[int, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "ignored_classes", tuple(self.ignored_classes))


def decode(maps: dict, keypoint_mask: np.ndarray, options: DecodeOptions = DecodeOptions(), valid_size=None) -> dict:
    """Decodes the maps of one stack.

    Args:
        maps: `{head: (B, H, W, channels)}` as the network gives them, heat maps as logits.
        keypoint_mask: (C, K) bool, which keypoints belong to which class.
        valid_size: (B, 2) width and height of the image inside the canvas in input pixels; None when it fills the canvas.

    Returns:
        boxes (B, M, 4) xyxy in input pixels clipped to the image, scores (B, M) in descending order, class_ids (B, M)
        int32; with K > 0 keypoints (B, M, K, 2) in input pixels and keypoint_scores (B, M, K), both 0 for the keypoints of
        other classes. Rows with score 0 are empty.
    """
    maps = {head: ops.cast(values, "float32") for head, values in maps.items()}
    height, width, classes = maps["center_heatmap"].shape[1:]
    extent = ops.convert_to_tensor([[width, height]], "float32")  # (1, 2)
    limit = extent * STRIDE if valid_size is None else ops.cast(valid_size, "float32")  # (1 or B, 2)
    scores = ops.sigmoid(maps["center_heatmap"])
    if valid_size is not None:
        scores = scores * valid_cells(valid_size, (height, width))
    if options.ignored_classes:
        scores = scores * np.isin(np.arange(classes), options.ignored_classes, invert=True).astype("float32")
    peaks = keep_peaks(scores, options.peak_kernel)
    k = min(options.max_objects, height * width * classes)
    scores, flat = ops.top_k(ops.reshape(peaks, (-1, height * width * classes)), k)
    flat = ops.cast(flat, "int32")
    index, class_ids = flat // classes, flat % classes  # (B, M)
    cell = ops.cast(ops.stack([index % width, index // width], axis=-1), "float32")  # (B, M, 2)
    center = cell + take_cells(maps["center_offset"], index)
    half = ops.maximum(take_cells(maps["box_size"], index), 0.0) / 2
    low, high = (ops.clip(corner, 0.0, extent[:, None]) for corner in (center - half, center + half))
    boxes = ops.concatenate([low, high], axis=-1) * STRIDE
    boxes = ops.clip(boxes, 0.0, ops.concatenate([limit, limit], axis=-1)[:, None])
    found = {"boxes": boxes, "scores": scores, "class_ids": class_ids}
    if keypoint_mask.shape[1]:
        own = ops.take(ops.convert_to_tensor(keypoint_mask.astype("float32")), class_ids, axis=0)  # (B, M, K)
        points, point_scores = _snap_keypoints(maps, index, cell, low, high, options)
        points = points * STRIDE
        if options.clip_keypoints:
            clipped = ops.clip(points, 0.0, limit[:, None, None])
            point_scores = ops.where(ops.all(clipped == points, axis=-1), point_scores, 0.0)
            points = clipped
        found |= {"keypoints": points * own[..., None], "keypoint_scores": point_scores * own}
    return found


def keep_peaks(scores, kernel: int):
    """Scores (B, H, W, channels) that are the highest of their kernel x kernel neighbourhood; all others become 0."""
    highest = ops.max_pool(scores, kernel, strides=1, padding="same", data_format="channels_last")
    return ops.where(ops.abs(scores - highest) < 1e-6, scores, 0.0)


def find_candidates(maps: dict, options: DecodeOptions):
    """The best heat map peaks of every keypoint: positions (B, K, P, 2) in cells and scores (B, K, P)."""
    height, width, count = maps["keypoint_heatmap"].shape[1:]
    peaks = keep_peaks(ops.sigmoid(maps["keypoint_heatmap"]), options.peak_kernel)
    by_channel = ops.reshape(ops.transpose(peaks, (0, 3, 1, 2)), (-1, count, height * width))
    scores, index = ops.top_k(by_channel, min(options.candidates, height * width))
    index = ops.cast(index, "int32")
    cell = ops.cast(ops.stack([index % width, index // width], axis=-1), "float32")
    own_pair = ops.reshape(index * count + np.arange(count, dtype="int32")[:, None], (-1, count * index.shape[-1]))
    return cell + ops.reshape(take_pairs(maps["keypoint_offset"], own_pair), (-1, *cell.shape[1:])), scores


def _snap_keypoints(maps, index, cell, low, high, options):
    """Regressed points (B, M, K, 2) in cells, each moved to its nearest candidate where the rules allow, and scores.

    The scores are (B, M, K).
    """
    count = maps["keypoint_heatmap"].shape[-1]
    vectors = ops.reshape(take_cells(maps["keypoint_regression"], index), (-1, index.shape[1], count, 2))
    regressed = cell[:, :, None] + vectors
    positions, scores = find_candidates(maps, options)
    difference = regressed[:, :, :, None] - positions[:, None]  # (B, M, K, P, 2)
    distance = ops.sqrt(ops.sum(ops.square(difference), axis=-1))
    distance = ops.where(scores[:, None] >= options.candidate_score, distance, FAR)
    nearest = ops.argmin(distance, axis=-1)  # (B, M, K)
    least = ops.min(distance, axis=-1)
    position, score = _take_candidates(positions, scores, ops.cast(nearest, "int32"))

    center, half = (low + high) / 2, (high - low) / 2 * options.box_scale
    inside = ops.all(ops.abs(position - center[:, :, None]) <= half[:, :, None], axis=-1)
    reach = options.search_scale * 2 * ops.max(half, axis=-1)[:, :, None]
    snapped = ops.logical_and(ops.logical_and(inside, least <= reach), score >= options.candidate_score)
    points = ops.where(snapped[..., None], position, regressed)
    return points, ops.where(snapped, score, options.unmatched_score)


def _take_candidates(positions, scores, chosen):
    """Position (B, M, K, 2) and score (B, M, K) of candidate `chosen` (B, M, K) of each keypoint."""
    count, candidates = scores.shape[1:]
    images = ops.arange(ops.shape(scores)[0], dtype="int32")[:, None, None]
    channel = np.arange(count, dtype="int32")
    flat = (images * count + channel) * candidates + chosen
    return ops.take(ops.reshape(positions, (-1, 2)), flat, axis=0), ops.take(ops.reshape(scores, (-1,)), flat, axis=0)
