"""`centerkp eval`."""

import argparse

HELP = "score models on annotated images"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", nargs="+", metavar="MODEL", help=".keras files, exported models, or coco for the model zoo's")
    parser.add_argument("--coco", required=True, metavar="JSON", help="annotated images that were not trained on")
    parser.add_argument("--images", metavar="DIR", help="folder of the images (default: beside the JSON, or its images folder)")
    parser.add_argument(
        "--out", default="evaluation", metavar="DIR", help="folder for metrics.json and the rest (default: evaluation)"
    )
    parser.add_argument(
        "--html", action=argparse.BooleanOptionalAction, default=True, help="write report.html, one page for a browser"
    )
    parser.add_argument("--tta", metavar="flip,scale", help="detect in mirrored or scaled copies, too, and join what is found")
    parser.add_argument(
        "--score",
        type=float,
        metavar="X",
        help="least score in the confusion and in the pictures (default: that with the best F1)",
    )
    parser.add_argument("--image-size", type=int, metavar="PIXELS", help="side of the network input (default: the model's own)")
    parser.add_argument("--batch-size", type=int, default=8, metavar="N", help="images per step (default: 8)")
    parser.add_argument(
        "--oks-sigmas", metavar="X|NAME=X,...", help="one number, or by keypoint (default: those the model was trained with)"
    )
    parser.add_argument(
        "--check-images", action=argparse.BooleanOptionalAction, default=True, help="decode every image before the start"
    )


def run(options: argparse.Namespace) -> None:
    from centerkp.config import read_sigmas
    from centerkp.evaluating import evaluate_models

    evaluate_models(
        options.models,
        options.coco,
        options.out,
        images_dir=options.images,
        html=options.html,
        tta=options.tta,
        min_score=options.score,
        batch_size=options.batch_size,
        image_size=options.image_size,
        oks_sigmas=read_sigmas(options.oks_sigmas),
        check_images=options.check_images,
    )
