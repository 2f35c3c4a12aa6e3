"""Letterboxed images for artefacts that letterbox by themselves."""

import numpy as np

from centerkp.export.artefact import ArtefactDetector, in_batches


def run_cropped(detector: ArtefactDetector, image: np.ndarray, valid_size: np.ndarray) -> dict[str, np.ndarray]:
    """`run_canvas` by `run_images`: without its padding, a canvas is an image that the artefact leaves as large as it is.

    Neighbours with pictures of one size go together.
    """
    # One side of a letterboxed picture is as long as the canvas, so that no scaling is left to do.
    sizes = np.clip(np.rint(valid_size), 1, image.shape[2:0:-1]).astype(int)
    starts = [0, *(np.flatnonzero((sizes[1:] != sizes[:-1]).any(axis=1)) + 1), len(sizes)]
    parts = []
    for start, end in zip(starts[:-1], starts[1:], strict=True):
        width, height = sizes[start]
        pictures = np.ascontiguousarray(image[start:end, :height, :width])
        parts.append(in_batches(detector.run_images, detector.description.batch, pictures))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
