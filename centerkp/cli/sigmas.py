"""`centerkp sigmas`."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from centerkp.labels.sigmas import Sigmas

HELP = "measure OKS sigmas from images that several people annotated"
NEEDS_KERAS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `centerkp sigmas`."""
    parser.add_argument(
        "coco", nargs="+", metavar="JSON", help="two or more COCO JSONs of the same images, one from each annotator"
    )
    parser.add_argument("--images", metavar="DIR", help="folder of the images (default: found beside each JSON)")
    parser.add_argument("--out", metavar="JSON", help="write a copy of the first file with 'oks_sigmas' in its categories")
    parser.add_argument("--overwrite", action="store_true", help="replace the file to write if it is there")


def run(options: argparse.Namespace) -> None:
    """The command `centerkp sigmas`: estimates OKS sigmas from images labelled twice."""
    from centerkp.cli.commands import print_notes
    from centerkp.console import make_console
    from centerkp.labels.sigmas import estimate_sigmas, read_annotators, write_sigmas
    from centerkp.writing import WriteGuard

    if options.out:
        WriteGuard(options.coco, options.overwrite).check([options.out])
    sigmas = estimate_sigmas(read_annotators(options.coco, options.images))
    console = make_console()
    console.print(f"{sigmas.images} images annotated by more than one of {len(options.coco)}")
    console.print(_make_sigma_table(sigmas))
    print_notes(console, sigmas.notes)
    if options.out:
        file = write_sigmas(options.coco[0], sigmas, options.out, images_dir=options.images, overwrite=options.overwrite)
        console.print(f"written: {file}", soft_wrap=True)


def _make_sigma_table(sigmas: "Sigmas") -> "Table":
    """Estimated sigmas beside those until now, the table that `centerkp sigmas` prints."""
    import numpy as np
    from rich.table import Table

    table = Table("keypoint", "sigma", "+-", "objects", "until now", box=None, header_style="dim")
    for column in table.columns[1:]:
        column.justify = "right"
    before, order = sigmas.schema.oks_sigmas, sigmas.schema.flip_permutation
    for k, name in enumerate(sigmas.schema.keypoint_names):
        value, number = sigmas.values[k], sigmas.differences[k]
        pair = "" if order[k] == k else " (pair)"
        measured = ("-", "") if np.isnan(value) else (f"{value:.4f}", f"{value / (2 * number**0.5):.4f}")
        table.add_row(name, *measured, f"{sigmas.objects[k]}{pair}", f"{before[k]:.4f}")
    return table
