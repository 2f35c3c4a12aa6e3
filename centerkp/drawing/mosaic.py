"""Pictures of a dataset for looking at it before training: as labelled, as augmented, and as the network's targets."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from centerkp.drawing.grid import make_grid
from centerkp.drawing.legend import add_legend
from centerkp.drawing.pictures import draw_record, draw_training_sample
from centerkp.heads import STRIDE
from centerkp.images.reading import read_image
from centerkp.labels.records import Record
from centerkp.samples.augment import Augmentation
from centerkp.samples.sample import Sampler
from centerkp.schema import Schema

CELL = 480  # pixels across one picture of a mosaic
WIDEST = 1920


def choose_records(records: Sequence[Record], count: int, seed: int = 0) -> list[Record]:
    """Draws records for a mosaic at random, none twice; all, in a random order, when there are no more."""
    order = np.random.default_rng(seed).permutation(len(records))[:count]
    return [records[i] for i in order]


def draw_records(records: Sequence[Record], schema: Schema, width: int | None = None) -> np.ndarray:
    """A mosaic of images with their labelled objects, at least one; titles are the file names, `width` is in pixels.

    At its right stand the names of many keypoints.
    """
    pictures = []
    for record in records:
        image = read_image(record.path, record.levels)
        labels = record.boxes_xyxy, record.class_ids, record.keypoints_xy, record.visibility
        pictures.append(draw_record(image, *labels, schema, close_up=True))
    return _arrange_square(
        pictures, [r.path.name for r in records], np.concatenate([r.class_ids for r in records]), schema, width
    )


def draw_samples(
    records: Sequence[Record],
    schema: Schema,
    size: tuple[int, int],
    augmentation: Augmentation | None = None,
    seed: int = 0,
    *,
    targets: bool = False,
    width: int | None = None,
) -> np.ndarray:
    """A mosaic of training samples: images and objects as they enter the network.

    Args:
        records: at least one; one that stands several times gives as many samples.
        size: (width, height) of the network input.
        augmentation: None for none.
        seed: with the same seed the same samples.
        targets: draw beside each sample its center maps and keypoint maps (this needs Keras).
        width: of the picture in pixels.
    """
    sampler = Sampler(schema, size, max(max(len(r.class_ids) for r in records), 1), augmentation)
    generators = np.random.default_rng(seed).spawn(len(records))
    samples = [sampler(record, rng) for record, rng in zip(records, generators, strict=True)]
    truth = {name: np.stack([t[name] for _, t in samples]) for name in samples[0][1]}
    if targets:
        return draw_targets_of_batch([image for image, _ in samples], truth, schema, width)
    return draw_batch([image for image, _ in samples], truth, [record.path.name for record in records], schema, width)


def draw_batch(
    images: Sequence[np.ndarray] | np.ndarray,
    truth: Mapping[str, np.ndarray],
    titles: Sequence[str],
    schema: Schema,
    width: int | None = None,
) -> np.ndarray:
    """A mosaic of the samples of a batch and their objects; arguments as of `draw_targets_of_batch`."""
    pictures = []
    for i, image in enumerate(images):
        real = truth["object_weights"][i] > 0
        names = ("boxes_xyxy", "class_ids", "keypoints_xy", "visibility")
        boxes_xyxy, class_ids, keypoints_xy, visibility = (truth[name][i][real] for name in names)
        pictures.append(draw_record(image, boxes_xyxy, class_ids, keypoints_xy, visibility, schema, close_up=True))
    return _arrange_square(pictures, titles, truth["class_ids"][truth["object_weights"] > 0], schema, width)


def draw_targets_of_batch(
    images: Sequence[np.ndarray] | np.ndarray, truth: Mapping[str, np.ndarray], schema: Schema, width: int | None = None
) -> np.ndarray:
    """A mosaic with a row for each sample of a batch: its objects, center maps and keypoint maps.

    Args:
        images: (B, height, width, 3) uint8 network inputs.
        truth: the padded objects, (B, M, ...), as `Sampler` makes them.
        width: of the picture in pixels.
    """
    from keras import ops

    from centerkp.codec.targets import render_targets

    map_size = images[0].shape[0] // STRIDE, images[0].shape[1] // STRIDE
    rendered = render_targets(dict(truth), schema, map_size)
    maps = {k: ops.convert_to_numpy(rendered[k]) for k in ("center_heatmap", "keypoint_heatmap") if k in rendered}
    rows = [
        draw_training_sample(image, {k: v[i] for k, v in truth.items()}, {k: v[i] for k, v in maps.items()}, schema)
        for i, image in enumerate(images)
    ]
    return make_grid(rows, columns=1, width=width or min(rows[0].shape[1], WIDEST))


def _arrange_square(
    pictures: Sequence[np.ndarray], titles: Sequence[str], class_ids: Iterable[int], schema: Schema, width: int | None
) -> np.ndarray:
    """Pictures of a dataset in a mosaic as wide as high, with titles and the names of their keypoints."""
    columns = int(np.ceil(np.sqrt(len(pictures))))
    grid = make_grid(pictures, columns, titles, width or min(columns * CELL, WIDEST))
    return add_legend(grid, schema, class_ids)
