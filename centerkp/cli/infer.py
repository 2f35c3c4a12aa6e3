"""`centerkp infer`."""

import argparse
from pathlib import Path

HELP = "find objects and keypoints in images"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", nargs="+", metavar="PATH", help="image files, folders, or glob patterns")
    parser.add_argument(
        "--weights", required=True, metavar="FILE", help="model to use, e.g. runs/NAME/best.keras, or coco for the model zoo's"
    )
    parser.add_argument(
        "--out", default="predictions", metavar="DIR", help="folder for pictures and JSON (default: predictions)"
    )
    parser.add_argument("--score", type=float, default=0.3, help="least score of an object (default: 0.3)")
    parser.add_argument("--keypoint-score", type=float, default=0.1, help="least score of a drawn keypoint (default: 0.1)")
    parser.add_argument("--batch-size", type=int, default=8, help="images per step (default: 8)")

    parser.add_argument("--image-size", type=int, metavar="PIXELS", help="side of the network input (default: the model's own)")
    parser.add_argument(
        "--stacks", type=int, metavar="N", help="use the model's first so many hourglasses alone, which is faster"
    )


def run(options: argparse.Namespace) -> None:
    from centerkp.predicting import predict_files

    predict_files(
        options.sources,
        options.weights,
        Path(options.out),
        min_score=options.score,
        min_keypoint_score=options.keypoint_score,
        batch_size=options.batch_size,
        image_size=options.image_size,
        stacks=options.stacks,
    )
