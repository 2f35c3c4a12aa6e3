"""`centerkp merge`."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from centerkp.labels.merging import Merged

HELP = "join COCO JSONs into one"
NEEDS_KERAS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `centerkp merge`."""
    parser.add_argument("coco", nargs="+", metavar="JSON", help="two or more COCO JSONs; they stay as they are")
    parser.add_argument("--out", required=True, metavar="JSON", help="file to write")
    parser.add_argument(
        "--images",
        action="append",
        default=[],
        metavar="DIR",
        help="folder of the images of all files, or given once for each file (default: found beside each JSON)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the file to write if it is there")


def run(options: argparse.Namespace) -> None:
    """The command `centerkp merge`: joins COCO files into one."""
    from centerkp.labels.merging import merge_coco

    print_merged(merge_coco(options.coco, options.out, images_dirs=options.images, overwrite=options.overwrite))


def print_merged(merged: "Merged") -> None:
    """What `centerkp merge` says of the file that it has written."""
    from rich.table import Table

    from centerkp.cli.commands import print_notes
    from centerkp.console import make_console
    from centerkp.wording import count_of

    console = make_console()
    table = Table("class", box=None, header_style="dim")
    table.add_column("objects", justify="right")
    for name, number in merged.objects.items():
        table.add_row(name, str(number))
    console.print(table)
    print_notes(console, merged.notes)
    console.print(f"{count_of(merged.images, 'image')}: {merged.file}", soft_wrap=True)
