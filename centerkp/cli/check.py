"""`centerkp check`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from centerkp.cli.size_argument import add_size_argument
from centerkp.writing import WriteGuard, mark, says

HELP = "examine a dataset, and mend what can be mended"
NEEDS_KERAS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `centerkp check`."""
    parser.add_argument(
        "coco", nargs="+", metavar="ANN.json", help="COCO-format JSON with the annotations; several are examined as one dataset"
    )
    parser.add_argument(
        "--images",
        action="append",
        metavar="DIR",
        help="folder of the images, for all files or once for each (default: found beside the JSON)",
    )
    parser.add_argument(
        "--val", action="append", metavar="VAL.json", help="COCO JSON for validation, examined too and compared; several times"
    )
    parser.add_argument(
        "--val-images", action="append", metavar="DIR", help="folder of the validation images (default: as --images)"
    )
    add_size_argument(parser, 512, " to judge by")
    parser.add_argument("--html", metavar="REPORT.html", help="write the report as one page with pictures")
    parser.add_argument("--fix", metavar="OUT.json", help="write a mended copy")
    parser.add_argument(
        "--boxes-from-keypoints", action="store_true", help="with --fix: write boxes around the keypoints where there are none"
    )
    parser.add_argument(
        "--point-box",
        type=float,
        metavar="SIZE",
        help="side of the box made around objects of one keypoint that have neither box nor mask, in pixels, or below 1 as a "
        "share of the image's longer side (default: they are left out)",
    )
    parser.add_argument("--drop", action="store_true", help="with --fix: leave out what cannot be mended or used")
    parser.add_argument("--overwrite", action="store_true", help="replace files of these names that no earlier check wrote")
    parser.add_argument(
        "--stretch",
        nargs="?",
        const="auto",
        metavar="LOW,HIGH",
        help="which numbers are black and white in pictures of more than 8 bits; without them the range that the pictures use "
        "(default: all of it, 0,65535 for 16 bits)",
    )
    parser.add_argument("--no-images", action="store_true", help="examine the JSON alone; images may be elsewhere")


def run(options: argparse.Namespace) -> int:
    """The command `centerkp check`; returns 0: all is right, 1: something is to be mended or looked at, 2: not trainable."""
    from centerkp.console import make_console
    from centerkp.doctor.check import check_dataset, write_mended
    from centerkp.doctor.verdict import verdict
    from centerkp.report.dataset_text import print_checkup, print_mended

    if options.point_box is not None and not options.point_box > 0:
        raise ValueError(f"--point-box: found {options.point_box}, expected a number above 0; try 32.")
    for flag in ("boxes_from_keypoints", "drop"):
        if getattr(options, flag) and not options.fix:
            raise ValueError(f"--{flag.replace('_', '-')}: found without --fix OUT.json, which it belongs to; give both.")
    _check_outputs(options, [])
    checkup = check_dataset(
        options.coco,
        images_dir=options.images,
        val=options.val,
        val_images_dir=options.val_images,
        image_size=options.image_size,
        open_images=not options.no_images,
        stretch=options.stretch,
        point_box=options.point_box,
    )
    console = make_console()
    print_checkup(console, checkup)
    sources = [c.source.files for c in (checkup, checkup.val) if c and c.source]
    images = [path for c in (checkup, checkup.val) if c for path in c.images.paths if path]
    _check_outputs(options, [*(path for files in sources for path in files), *images])
    if options.fix and checkup.reading is not None:
        changes = write_mended(checkup, options.fix, boxes_from_keypoints=options.boxes_from_keypoints, drop=options.drop)
        print_mended(console, options.fix, changes)
        # Images are not decoded twice: what is wrong with them is said above.
        if checkup.exit_code == 2 and not any(f.level == "unusable" and f.noun == "image" for f in checkup.findings):
            left = check_dataset(options.fix, open_images=False, is_split=not options.val, point_box=options.point_box)
            console.print(f"of the copy: {verdict(left.findings)}", soft_wrap=True)
    if options.html:
        from centerkp.report.dataset_page import write_dataset_page

        write_dataset_page(checkup, options.html)
        console.print(f"wrote {options.html}")
    return checkup.exit_code


def _check_outputs(options: argparse.Namespace, found: Sequence[Path]) -> None:
    """Refuses files that `centerkp check` may not write: reports are replaced, a mended file may have been worked on."""
    reads = [*options.coco, *(options.val or ()), *found]
    outputs = [path for path in (options.fix, options.html) if path]
    WriteGuard(reads, options.overwrite).check(outputs, lambda path: str(path) != options.fix and says(path, mark("check")))
