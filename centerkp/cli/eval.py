"""`centerkp eval`."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from centerkp.cli.repeated import Join
from centerkp.cli.size_argument import add_size_argument
from centerkp.cli.tile_arguments import add_tile_arguments
from centerkp.console import make_console
from centerkp.labels.content import Paths, list_paths
from centerkp.labels.records import Dataset
from centerkp.writing import WriteGuard, mark, says

if TYPE_CHECKING:
    from centerkp.evaluation.compared_models import ModelResult

HELP = "score models, or files of predictions, on annotated images"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `centerkp eval`."""
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help=".keras files, folders of runs, exported models, coco for the model zoo's, or .json files of predictions (of "
        "infer, of a run, or COCO results), which are scored as they are: objects that infer left out below its --score count "
        "as not found",
    )
    parser.add_argument(
        "--coco",
        required=True,
        action="append",
        metavar="JSON",
        help="annotated images that were not trained on; several times",
    )
    parser.add_argument(
        "--images",
        action="append",
        metavar="DIR",
        help="folder of the images, for all JSONs or once for each (default: beside the JSON, or its images folder)",
    )
    parser.add_argument(
        "--out", default="evaluation", metavar="DIR", help="folder for metrics.json and the rest (default: evaluation)"
    )
    parser.add_argument(
        "--html", action=argparse.BooleanOptionalAction, default=True, help="write report.html, one page for a browser"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files in it that no earlier eval wrote")
    parser.add_argument(
        "--tta", action=Join, metavar="flip,scale", help="detect in mirrored or scaled copies, too, and join what is found"
    )
    add_tile_arguments(parser)
    parser.add_argument(
        "--score",
        type=float,
        metavar="X",
        help="least score in the confusion and in the pictures (default: that with the best F1); average precision takes all",
    )
    add_size_argument(parser)
    parser.add_argument("--batch-size", type=int, default=8, metavar="N", help="images per step (default: 8)")
    parser.add_argument(
        "--oks-sigmas",
        action=Join,
        metavar="X|NAME=X,...",
        help="one number, or by keypoint (default: those the model was trained with)",
    )
    parser.add_argument(
        "--check-images", action=argparse.BooleanOptionalAction, default=True, help="decode every image before the start"
    )


def run(options: argparse.Namespace) -> None:
    """The command `centerkp eval`: measures models on a labelled dataset."""
    from centerkp.settings.values import read_sigmas

    evaluate_models(
        options.models,
        options.coco,
        options.out,
        html=options.html,
        overwrite=options.overwrite,
        images_dir=options.images,
        tta=options.tta,
        tile=options.tile,
        overlap=options.overlap,
        min_score=options.score,
        batch_size=options.batch_size,
        image_size=options.image_size,
        oks_sigmas=read_sigmas(options.oks_sigmas),
        check_images=options.check_images,
    )


def evaluate_models(
    models: Sequence[str | Path],
    coco: Paths,
    out: str | Path,
    *,
    html: bool = True,
    overwrite: bool = False,
    console: Console | None = None,
    **options: Any,
) -> list["ModelResult"]:
    """What `centerkp eval` does: measures models on one dataset, writes the files into folder `out`, prints all side by side.

    Args:
        html: writes report.html beside metrics.json and curves.csv.
        overwrite: replaces files of these names that no earlier evaluation wrote.
        options: those of `evaluation.compared_models.measure_models`.

    Raises:
        ValueError, FileNotFoundError: as `measure_models`.
        OSError: `out` cannot be written to, or holds such files, see `WriteGuard`.
    """
    from centerkp.evaluation.compared_models import CURVE_COLUMNS, measure_models, print_results, write_curves, write_metrics
    from centerkp.report.evaluation_page import write_evaluation_page

    console, out = console or make_console(), Path(out)
    names = ("metrics.json", "curves.csv", *(["report.html"] if html else []))

    def check_outputs(dataset: Dataset | None = None) -> None:
        guard = WriteGuard([*list_paths(coco), *models, *(dataset.reads if dataset else ())], overwrite)
        guard.check([out / name for name in names], lambda path: says(path, mark("eval"), ",".join(CURVE_COLUMNS)))

    check_outputs()
    results = measure_models(models, coco, console=console, allow=check_outputs, **options)
    # Written before they are printed, since "| head" ends the printing; printed also when the disk is full.
    try:
        paths = [write_metrics(results, coco, out), write_curves(results, out)]
        if html:
            paths.append(write_evaluation_page(results, coco, out / "report.html"))
    finally:
        print_results(results, console)
    for path in paths:
        console.print(f"written: {path}", soft_wrap=True)
    return results
