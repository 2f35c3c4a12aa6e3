"""Files in, annotated pictures and `predictions.json` out."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from centerkp.drawing import IMAGE_SUFFIXES, draw_detections, write_image
from centerkp.inference import detect, find_images
from centerkp.model.convert import keep_stacks
from centerkp.model.weights import load_weights
from centerkp.results import coco_dataset, write_json


def predict_files(
    sources: Sequence[str | Path],
    weights: str | Path,
    out: Path,
    *,
    min_score: float = 0.3,
    min_keypoint_score: float = 0.1,
    batch_size: int = 8,
    image_size: int | None = None,
    stacks: int | None = None,
    console: Console | None = None,
) -> Path:
    """Draws what the model finds in image files, folders and patterns, and writes it as a COCO dataset.

    Pictures keep their file names inside `out/images`, and sub-folders where the images have the same name. `predictions.json`
    holds the objects in source pixels; pycocotools scores its annotations, and labelling tools open it as pre-labels.

    Args:
        weights: a `.keras` file, "coco" for the model zoo's, or what else `load_weights` takes.
        image_size: side of the network's input; by default the model's own.
        stacks: uses only so many of the model's hourglasses, with their own heads.

    Returns:
        The path of `predictions.json`.

    Raises:
        FileNotFoundError: a source or the weights are not there.
        ValueError: not one of the images could be read.
    """
    console = console or Console()
    paths = find_images(sources)
    model = load_weights(weights, image_size, console)
    if stacks is not None and stacks != model.backbone.stacks:
        model = keep_stacks(model, stacks)
    root = _common_folder(paths)
    images, detections, failed = [], [], []
    results = detect(model, paths, batch_size=batch_size, min_score=min_score)
    for result in track(results, description="images", total=len(paths), console=console, transient=True):
        if result.error:
            failed.append(result.error)
            console.print(f"left out: {result.error}", style="yellow", markup=False)
            continue
        name = result.path.resolve().relative_to(root)
        height, width = result.image.shape[:2]
        images.append({"id": len(images) + 1, "file_name": name.as_posix(), "width": width, "height": height})
        detections.append(result.detections)
        picture = draw_detections(result.image, result.detections, model.schema, min_keypoint_score=min_keypoint_score)
        # A format that is read but not written gets a second ending, so that no picture replaces that of a namesake.
        write_image(out / "images" / (name if name.suffix.lower() in IMAGE_SUFFIXES else f"{name}.jpg"), picture)
    if not images:
        raise ValueError(
            f"{sources[0]}: found {len(failed)} images and none readable, expected at least one; see the lines above."
        )
    path = write_json(out / "predictions.json", coco_dataset(images, detections, model.schema))
    found = sum(map(len, detections))
    console.print(
        f"{found} objects with score {min_score:g} or more in {len(images)} images ({len(failed)} left out)", highlight=False
    )
    console.print(f"pictures: {out / 'images'}\n  objects: {path}", highlight=False)
    return path


def _common_folder(paths: Sequence[Path]) -> Path:
    """The deepest folder that holds all files, so that names below it stay different."""
    folders = [p.resolve().parent for p in paths]
    common = folders[0]
    while not all(folder.is_relative_to(common) for folder in folders):
        common = common.parent
    return common
