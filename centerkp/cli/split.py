"""`centerkp split`."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from centerkp.labels.splitting import Split

HELP = "split a COCO JSON into training, validation and test files"
NEEDS_KERAS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `centerkp split`."""
    parser.add_argument("coco", metavar="JSON", help="COCO JSON to split; it stays as it is")
    parser.add_argument("--val", type=float, default=0.2, metavar="SHARE", help="share for validation (default: 0.2)")
    parser.add_argument("--test", type=float, default=0.0, metavar="SHARE", help="share for a test file (default: 0, none)")
    parser.add_argument(
        "--group-by",
        metavar="RULE",
        help="keep images together that belong together: 'folder', 'phash' (they look alike, as neighbouring frames do), or a "
        "regular expression whose match in the file name says which, as 'video(\\d+)'",
    )
    parser.add_argument(
        "--distance", type=int, default=8, metavar="BITS", help="bits of 64 in which pictures alike may differ (default: 8)"
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed gives another split (default: 0)")
    parser.add_argument("--images", metavar="DIR", help="folder of the images (default: found beside the JSON)")
    parser.add_argument("--out", metavar="DIR", help="where NAME_train.json and NAME_val.json go (default: beside the JSON)")
    parser.add_argument("--overwrite", action="store_true", help="replace files of an earlier split")


def run(options: argparse.Namespace) -> None:
    """The command `centerkp split`: splits a COCO file into parts."""
    from centerkp.cli.commands import print_notes
    from centerkp.console import make_console
    from centerkp.labels.splitting import split_coco

    split = split_coco(
        options.coco,
        val=options.val,
        test=options.test,
        group_by=options.group_by,
        phash_distance=options.distance,
        seed=options.seed,
        images_dir=options.images,
        out_dir=options.out,
        overwrite=options.overwrite,
    )
    console = make_console()
    console.print(_make_split_table(split))
    print_notes(console, split.notes)
    for name, file in split.files.items():
        console.print(f"{name:>5}: {file}", soft_wrap=True)


def _make_split_table(split: "Split") -> "Table":
    """Images and objects of each part of a split, the table that `centerkp split` prints."""
    from rich.table import Table

    table = Table("class", box=None, header_style="dim")
    for name in split.files:
        table.add_column(f"{name}\nimages", justify="right")
        table.add_column("\nobjects", justify="right")
    for class_id, name in enumerate(split.class_names):
        pairs = zip(split.images[:, class_id], split.objects[:, class_id], strict=True)
        table.add_row(name, *(str(number) for pair in pairs for number in pair))
    if split.negatives.any():
        table.add_row("(no object)", *(text for number in split.negatives for text in (str(number), "")))
    pairs = zip(split.totals, split.objects.sum(1), strict=True)
    table.add_row("all", *(str(number) for pair in pairs for number in pair), style="bold")
    share = split.totals / split.totals.sum()
    table.add_row("share of images", *(text for number in share for text in (f"{number:.1%}", "")), style="dim")
    return table
