"""`centerkp export`."""

import argparse
import sys

from centerkp.cli.size_argument import add_size_argument

HELP = "write a trained model as SavedModel, ONNX, OpenVINO or LiteRT, compared with Keras"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `centerkp export`."""
    parser.add_argument("model", metavar="MODEL", help="a .keras file, a run's folder, or coco for the model zoo's")
    parser.add_argument("--format", required=True, choices=("saved_model", "onnx", "openvino", "litert"), help="what to write")
    parser.add_argument(
        "--precision",
        default="fp32",
        choices=("fp32", "fp16", "bf16", "int8"),
        help="type of the numbers (default: fp32); not every format has all of them",
    )
    add_size_argument(parser)
    parser.add_argument(
        "--batch",
        default="",
        choices=("1", "dynamic"),
        help="images per call (default: any number where the format can, else 1)",
    )
    parser.add_argument("--stacks", type=int, metavar="N", help="use the model's first so many hourglasses alone")
    parser.add_argument(
        "--max-objects", type=int, metavar="N", help="make room for so many objects of an image, if it has less"
    )
    parser.add_argument(
        "--calibrate",
        nargs="+",
        action="extend",
        default=[],
        metavar="IMAGES",
        help="images, folders or patterns: int8 measures its ranges on them (default: the run's training images), and without "
        "--coco the comparison runs on them",
    )
    parser.add_argument("--coco", metavar="JSON", help="annotated images on which the loss of average precision is measured")
    parser.add_argument(
        "--out", metavar="PATH", help="file, or folder of a SavedModel (default: beside the model, named after it)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a file of that name that no earlier export wrote")


def run(options: argparse.Namespace) -> int:
    """The command `centerkp export`: writes models in other formats, compared with Keras."""
    from centerkp.console import make_console
    from centerkp.export.formats import REPORT, export
    from centerkp.wording import printable

    console = make_console()
    made = export(
        options.model,
        options.format,
        precision=options.precision,
        image_size=options.image_size,
        batch=options.batch,
        stacks=options.stacks,
        max_objects=options.max_objects,
        calibrate=options.calibrate,
        coco=options.coco,
        out=options.out,
        overwrite=options.overwrite,
        console=console,
    )
    if made.passed:
        console.print(f"verified: {made.path}", soft_wrap=True)
        return 0
    reasons = "; ".join(made.verification.failures)
    sentence = (
        f"{made.path.name}: found differences from Keras over the tolerance ({reasons}), expected none; do not use the files "
        f"in {made.path.parent}, and see {REPORT} there."
    )
    print(f"\nerror: {printable(sentence)}", file=sys.stderr)
    return 2
