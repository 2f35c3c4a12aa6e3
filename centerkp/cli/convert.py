"""`centerkp convert`."""

import argparse

HELP = "port an Object Detection API CenterNet-Hourglass checkpoint"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `centerkp convert`."""
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="archive, extracted folder, checkpoint prefix, or SavedModel folder"
    )
    parser.add_argument("out", metavar="OUT.keras", help="file to write")
    parser.add_argument("--coco", metavar="JSON", help="COCO JSON it was trained on, for the names")
    parser.add_argument("--label-map", metavar="PBTXT", help="label map it was trained with, for the names")
    parser.add_argument("--pipeline", metavar="CONFIG", help="pipeline.config (default: the one beside the checkpoint)")
    parser.add_argument(
        "--image-size", type=int, metavar="PIXELS", help="side of the input (default: the pipeline's, else 512)"
    )
    parser.add_argument("--stacks", type=int, metavar="N", help="keep the first so many hourglasses alone")
    parser.add_argument("--overwrite", action="store_true", help="replace a file of that name that no earlier convert wrote")


def run(options: argparse.Namespace) -> None:
    """The command `centerkp convert`: a zoo checkpoint becomes a .keras file."""
    from centerkp.weights.convert import convert

    convert(
        options.checkpoint,
        options.out,
        coco=options.coco,
        label_map=options.label_map,
        pipeline=options.pipeline,
        image_size=options.image_size,
        stacks=options.stacks,
        overwrite=options.overwrite,
    )
