"""`centerkp import`."""

import argparse

HELP = "make a COCO JSON of another tool's labels"
NEEDS_KERAS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `centerkp import`."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="labels of YOLO (data.yaml, or the folder of labels), labelme or X-AnyLabeling (folder), Label Studio (JSON), "
        "CVAT (XML for images), VIA (JSON or CSV), DeepLabCut (project, CSV or HDF5) or SLEAP (.slp)",
    )
    parser.add_argument("out", metavar="OUT.json", help="COCO JSON to write; frames of SLEAP's videos go to OUT_frames")
    parser.add_argument("--images", metavar="DIR", help="folder of the images (default: found by the names in the labels)")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace the file to write if it is there, and other pictures of the frames' names",
    )


def run(options: argparse.Namespace) -> None:
    """The command `centerkp import`: writes another tool's labels as a COCO JSON."""
    from centerkp.cli.merge import print_merged
    from centerkp.labels.merging import import_labels

    print_merged(import_labels(options.source, options.out, images_dir=options.images, overwrite=options.overwrite))
