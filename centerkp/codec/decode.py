"""Maps -> objects: the only other place that thinks in grid cells.

One vectorised pass over images, classes and keypoints, in `keras.ops`, so that it runs inside the predict graph and in
every export. Follows TensorFlow's CenterNet post-processing (2021) with its defaults; unlike it, centers in the padding are
not detections.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from keras import ops

from centerkp.codec.cells import take_cells, take_pairs, valid_cells
from centerkp.codec.targets import gaussian_sigma
from centerkp.heads import STRIDE, Tensor

FAR = 1e5  # distance given to candidates that do not count, in cells
LIKENESS = 0.5  # least overlap of a box around keypoints with that of the head: else one of the points is not the object's
SPREAD_RADIUS = 6  # cells on each side of a peak over which its spread is measured


@dataclass(frozen=True)
class DecodeOptions:
    """How maps become objects; the defaults are the reference's.

    Attributes:
        max_objects: M, objects kept per image, best first.
        center_kernel: side of the window in which an object's center must be the highest of its class, in cells.
        keypoint_kernel: the same for the candidates of a keypoint (the reference's peak_max_pool_kernel_size, which leaves the
            centers alone).
        candidates: heat map peaks considered per keypoint.
        candidate_score: least heat map score of a candidate.
        unmatched_score: score of a keypoint that found no candidate and stays where the center's vector points.
        box_scale: candidates must lie inside the object's box enlarged by this factor about its center.
        search_scale: and no further from where the vector points than this share of the enlarged box's longer side.
        clip_keypoints: moves keypoints outside the image to its border with score 0 (what the zoo's 2020 exports do).
        ignored_classes: class channels that never become detections, such as the gaps in COCO's ids.
        box_margins: by class, how far boxes reach beyond the outermost keypoints on each side, as a share of the longer side of
            the keypoints' own extent, where labels have them so and the network's box is alike; None for a class whose boxes
            the network alone tells, empty for none but these.
    """

    max_objects: int = 100
    center_kernel: int = 3
    keypoint_kernel: int = 3
    candidates: int = 100
    candidate_score: float = 0.1
    unmatched_score: float = 0.1
    box_scale: float = 1.2
    search_scale: float = 0.3
    clip_keypoints: bool = False
    ignored_classes: tuple[int, ...] = ()
    box_margins: tuple[float | None, ...] = ()

    def __post_init__(self) -> None:
        for name in ("ignored_classes", "box_margins"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @classmethod
    def from_config(cls, config: Mapping) -> "DecodeOptions":
        """Options of decoding by name, also from files whose `peak_kernel` was both windows in one."""
        config = dict(config)
        if "peak_kernel" in config:
            both = config.pop("peak_kernel")
            config = {"center_kernel": both, "keypoint_kernel": both} | config
        return cls(**config)


def decode(
    maps: Mapping[str, Tensor],
    keypoint_mask: np.ndarray,
    options: DecodeOptions = DecodeOptions(),
    valid_size: Tensor | None = None,
    keypoint_std: Sequence[float] | np.ndarray | None = None,
) -> dict:
    """Decodes the maps of one stack into objects: boxes, scores, classes and keypoints.

    Args:
        maps: `{head: (B, H, W, channels)}` as the network gives them, heat maps as logits.
        keypoint_mask: (C, K) bool, which keypoints belong to which class.
        valid_size: (B, 2) width and height of the image inside the canvas in input pixels; None when it fills the canvas.
        keypoint_std: (K,) as in `codec.targets.render_targets`; with it the deviations are computed.

    Returns:
        boxes (B, M, 4) xyxy in input pixels clipped to the image, scores (B, M) in descending order, class_ids (B, M)
        int32; with K > 0 keypoints (B, M, K, 2) in input pixels and keypoint_scores (B, M, K), both 0 for the keypoints of
        other classes; with `keypoint_std` also keypoint_deviations (B, M, K), see `_measure_deviations`. Rows with score 0 are
        empty.
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
    peaks = keep_peaks(scores, options.center_kernel)
    k = min(options.max_objects, height * width * classes)
    scores, flat = ops.top_k(ops.reshape(peaks, (-1, height * width * classes)), k)
    flat = ops.cast(flat, "int32")
    index, class_ids = flat // classes, flat % classes  # (B, M)
    cell = ops.cast(ops.stack([index % width, index // width], axis=-1), "float32")  # (B, M, 2)
    center = cell + take_cells(maps["center_offset"], index)
    half = ops.maximum(take_cells(maps["box_size"], index), 0.0) / 2
    low, high = (ops.clip(corner, 0.0, extent[:, None]) for corner in (center - half, center + half))
    boxes = ops.concatenate([low, high], axis=-1) * STRIDE
    borders = ops.concatenate([limit, limit], axis=-1)[:, None]
    found = {"boxes": ops.clip(boxes, 0.0, borders), "scores": scores, "class_ids": class_ids}
    if keypoint_mask.shape[1]:
        own = ops.take(ops.convert_to_tensor(keypoint_mask.astype("float32")), class_ids, axis=0)  # (B, M, K)
        points, point_scores, snapped, deviations = _snap_keypoints(maps, index, cell, low, high, options, keypoint_std)
        points = points * STRIDE
        if options.box_margins:
            margins = ops.take(
                ops.convert_to_tensor(fill_margins(options.box_margins, keypoint_mask)), class_ids, axis=0
            )  # (B, M)
            found["boxes"] = _frame_keypoints(points, snapped, own, margins, found["boxes"], borders)
        if options.clip_keypoints:
            clipped = ops.clip(points, 0.0, limit[:, None, None])
            point_scores = ops.where(ops.all(clipped == points, axis=-1), point_scores, 0.0)
            points = clipped
        found |= {"keypoints": points * own[..., None], "keypoint_scores": point_scores * own}
        if keypoint_std is not None:
            found["keypoint_deviations"] = deviations * STRIDE * own
    return found


def keep_peaks(scores: Tensor, kernel: int) -> Tensor:
    """Scores of a map (B, H, W, channels) that are peaks to decode, the highest of kernel x kernel cells; others become 0."""
    highest = ops.max_pool(scores, kernel, strides=1, padding="same", data_format="channels_last")
    return ops.where(ops.abs(scores - highest) < 1e-6, scores, 0.0)


def find_candidates(maps: Mapping[str, Tensor], options: DecodeOptions) -> tuple[Tensor, Tensor, Tensor]:
    """The best heat map peaks of every keypoint, to which decoding snaps the regressed points.

    Returns:
        Positions (B, K, P, 2) in cells, scores (B, K, P), and the cells they stand in, flattened, (B, K, P) int32.
    """
    height, width, count = maps["keypoint_heatmap"].shape[1:]
    peaks = keep_peaks(ops.sigmoid(maps["keypoint_heatmap"]), options.keypoint_kernel)
    by_channel = ops.reshape(ops.transpose(peaks, (0, 3, 1, 2)), (-1, count, height * width))
    scores, index = ops.top_k(by_channel, min(options.candidates, height * width))
    index = ops.cast(index, "int32")
    cell = ops.cast(ops.stack([index % width, index // width], axis=-1), "float32")
    own_pair = ops.reshape(index * count + np.arange(count, dtype="int32")[:, None], (-1, count * index.shape[-1]))
    return cell + ops.reshape(take_pairs(maps["keypoint_offset"], own_pair), (-1, *cell.shape[1:])), scores, index


def _snap_keypoints(
    maps: Mapping[str, Tensor],
    index: Tensor,
    cell: Tensor,
    low: Tensor,
    high: Tensor,
    options: DecodeOptions,
    keypoint_std: Sequence[float] | np.ndarray | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Decoded points (B, M, K, 2) in cells: each regressed one moved to its nearest candidate where the rules allow.

    Also their scores, whether they were moved, and deviations, (B, M, K); the deviations are None without `keypoint_std`.
    """
    count = maps["keypoint_heatmap"].shape[-1]
    vectors = ops.reshape(take_cells(maps["keypoint_regression"], index), (-1, index.shape[1], count, 2))
    regressed = cell[:, :, None] + vectors
    positions, scores, peaks = find_candidates(maps, options)
    difference = regressed[:, :, :, None] - positions[:, None]  # (B, M, K, P, 2)
    distance = ops.sqrt(ops.sum(ops.square(difference), axis=-1))
    distance = ops.where(scores[:, None] >= options.candidate_score, distance, FAR)
    least = ops.min(distance, axis=-1)  # (B, M, K)
    # The first that is nearest. `ops.argmin` of floats handles -0.0 by an operation that LiteRT does not have.
    nearest = ops.cast(ops.argmax(ops.cast(distance <= least[..., None], "int32"), axis=-1), "int32")
    position, score, peak = (_take_candidates(values, nearest) for values in (positions, scores, peaks))

    center, half = (low + high) / 2, (high - low) / 2 * options.box_scale
    inside = ops.all(ops.abs(position - center[:, :, None]) <= half[:, :, None], axis=-1)
    reach = options.search_scale * 2 * ops.max(half, axis=-1)[:, :, None]
    snapped = ops.logical_and(ops.logical_and(inside, least <= reach), score >= options.candidate_score)
    points = ops.where(snapped[..., None], position, regressed)
    deviations = None
    if keypoint_std is not None:
        spread = _measure_deviations(maps["keypoint_heatmap"], peak, low, high, keypoint_std)
        deviations = ops.where(snapped, spread, reach)
    return points, ops.where(snapped, score, options.unmatched_score), snapped, deviations


def fill_margins(box_margins: Sequence[float | None], keypoint_mask: np.ndarray) -> np.ndarray:
    """`DecodeOptions.box_margins` (C,) as float32, with -1 for a class whose boxes the network alone tells."""
    margins = np.array([-1.0 if margin is None else margin for margin in box_margins], "float32")
    return np.where(keypoint_mask.any(1), margins, np.float32(-1))


def _frame_keypoints(points: Tensor, snapped: Tensor, own: Tensor, margins: Tensor, boxes: Tensor, borders: Tensor) -> Tensor:
    """Boxes (B, M, 4) around decoded points (B, M, K, 2), in their unit, where they are made so; else `boxes`.

    They are where the class has a margin (B, M) and each of the object's `own` (B, M, K) points has a peak of the heat map:
    such points are exact where the head's lengths, one cell to tell them for all of an object, are not. A point on a peak that
    is not its own, as after a short training, would spoil all of the box, which is then not like that of the head.
    """
    others = (1.0 - own)[..., None] * FAR
    low, high = ops.min(points + others, axis=2), ops.max(points - others, axis=2)
    reach = margins[..., None] * ops.max(high - low, axis=-1, keepdims=True)
    frames = ops.clip(ops.concatenate([low - reach, high + reach], axis=-1), 0.0, borders)
    framed = ops.logical_and(margins >= 0, ops.all(ops.logical_or(snapped, own == 0), axis=-1))
    framed = ops.logical_and(framed, _are_alike(frames, boxes))
    return ops.where(framed[..., None], frames, boxes)


def _are_alike(ours: Tensor, theirs: Tensor) -> Tensor:
    """Whether boxes (B, M, 4) overlap by `LIKENESS`, intersection over union: (B, M)."""

    def area(low: Tensor, high: Tensor) -> Tensor:
        return ops.prod(ops.maximum(high - low, 0.0), axis=-1)

    shared = area(ops.maximum(ours[..., :2], theirs[..., :2]), ops.minimum(ours[..., 2:], theirs[..., 2:]))
    return shared >= LIKENESS * (sum(area(one[..., :2], one[..., 2:]) for one in (ours, theirs)) - shared)


def _take_candidates(values: Tensor, chosen: Tensor) -> Tensor:
    """Of `values` (B, K, P, ...), those of the candidate peak `chosen` (B, M, K) of each keypoint: (B, M, K, ...)."""
    count, candidates = values.shape[1:3]
    images = ops.arange(ops.shape(values)[0], dtype="int32")[:, None, None]
    flat = (images * count + np.arange(count, dtype="int32")) * candidates + chosen
    return ops.take(ops.reshape(values, (-1, *values.shape[3:])), flat, axis=0)


def _measure_deviations(
    heatmap: Tensor, peak: Tensor, low: Tensor, high: Tensor, keypoint_std: Sequence[float] | np.ndarray
) -> Tensor:
    """How unsure decoded keypoints are, by how much wider their peaks (B, M, K) are than a certain point's, in cells.

    The squared heat map within `SPREAD_RADIUS` is taken for a distribution of the point: its second moment about the peak,
    averaged over x and y and doubled, is the variance of the Gaussian whose square it would be. Squaring keeps the faint rest
    of the map, which has many cells, from outweighing the peak. Training draws even a point that is known exactly as a
    Gaussian, wider for larger objects: what the same measure gives for that one is subtracted, down to 0 where the peak is no
    wider.
    """
    width, count = heatmap.shape[2:]
    steps = np.arange(-SPREAD_RADIUS, SPREAD_RADIUS + 1, dtype="int32")
    squares = np.square(steps).astype("float32")
    # First over rows, for all cells: the sum, and the sum weighted with the squared distance. Beyond the border nothing counts.
    kernel = np.tile(np.stack([np.ones_like(squares), squares], axis=-1)[:, None, None], (1, 1, count, 1))
    scores = ops.square(ops.sigmoid(heatmap))
    sums = ops.depthwise_conv(scores, kernel, padding="same", data_format="channels_last")
    # Then over columns, around the peaks alone.
    sums = ops.pad(sums, ((0, 0), (0, 0), (SPREAD_RADIUS, SPREAD_RADIUS), (0, 0)))
    first = peak // width * (width + 2 * SPREAD_RADIUS) + peak % width + SPREAD_RADIUS
    pairs = (first[..., None] + steps) * count + np.arange(count, dtype="int32")[:, None]  # (B, M, K, columns)
    window = take_pairs(sums, ops.reshape(pairs, (-1, int(np.prod(pairs.shape[1:])))))
    window = ops.reshape(window, (-1, *pairs.shape[1:], 2))
    total = ops.sum(window[..., 0], axis=-1)
    # Halved for the mean of x and y, doubled for the square.
    variance = ops.sum(window[..., 0] * squares + window[..., 1], axis=-1) / ops.maximum(total, 1e-12)
    size = high - low
    sigma = gaussian_sigma(size[..., 1], size[..., 0])[..., None] * np.asarray(keypoint_std, "float32")
    certain = ops.exp(-squares / ops.square(sigma)[..., None])  # (B, M, K, columns), along one axis, squared
    own = 2 * ops.sum(certain * squares, axis=-1) / ops.sum(certain, axis=-1)
    return ops.sqrt(ops.maximum(variance - own, 0.0))
