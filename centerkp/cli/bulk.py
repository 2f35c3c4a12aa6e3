"""`centerkp bulk`."""

import argparse

from centerkp.cli.runtime_argument import add_runtime_argument, choose_for_use

HELP = "find objects and keypoints in millions of images, on one machine or many, into Parquet files"
NEEDS_KERAS = False  # but the workers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `centerkp bulk`."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder, on a disk or as s3://bucket/folder or gs://bucket/folder, with pictures and with tar (WebDataset), "
        "Parquet and TFRecord files of them, or one such file",
    )
    model = parser.add_argument_group("model")
    model.add_argument(
        "--weights",
        metavar="MODEL",
        help="a .keras file, a run's folder or an exported model, found by every machine (default: the newest run in runs/)",
    )
    add_runtime_argument(model)
    model.add_argument("--batch-size", type=int, default=8, metavar="N", help="images per step (default: 8)")
    objects = parser.add_argument_group("objects")
    objects.add_argument(
        "--score", type=float, metavar="X", help="least score of an object (default: those stored with the model, else 0.3)"
    )
    objects.add_argument("--max-objects", type=int, metavar="N", help="only the best so many of each image")
    outputs = parser.add_argument_group("outputs")
    outputs.add_argument(
        "--out", default="predictions", metavar="DIR", help="folder or address for the Parquet files (default: predictions)"
    )
    outputs.add_argument(
        "--part-size",
        type=int,
        default=1000,
        metavar="N",
        help="pictures in one of them, which is done anew if it was interrupted; a file of many pictures is one by itself "
        "(default: 1000)",
    )
    outputs.add_argument("--overwrite", action="store_true", help="replace what another run, or nobody's, left in it")
    machines = parser.add_argument_group("machines")
    machines.add_argument("--address", help="of a Ray cluster (default: one is started on this machine for this run)")
    machines.add_argument(
        "--workers", type=int, metavar="N", help="processes with the model (default: one for each GPU, else for each machine)"
    )


def run(options: argparse.Namespace) -> int | None:
    """The command `centerkp bulk`: finds the objects in all images of a source."""
    from centerkp.bulk.parts import Job
    from centerkp.bulk.run import predict_bulk
    from centerkp.console import make_console
    from centerkp.inference.model_loading import find_newest_model

    console = make_console()
    weights = options.weights or find_newest_model()
    if not options.address or options.runtime != "auto":  # on a cluster other machines compute, perhaps on GPUs
        weights = choose_for_use(options, weights, None, console)
    job = Job(options.source, str(weights), options.out, options.score, options.max_objects, options.batch_size)
    try:
        predict_bulk(
            job,
            part_size=options.part_size,
            workers=options.workers,
            address=options.address,
            overwrite=options.overwrite,
            console=console,
        )
    except KeyboardInterrupt as error:
        console.print("interrupted; the same command goes on with the parts that are missing", style="yellow")
        return getattr(error, "exit_code", 130)
    return None
