"""`centerkp infer`."""

import argparse
from collections.abc import Sequence
from typing import Any

from centerkp.cli.repeated import Join
from centerkp.cli.runtime_argument import add_runtime_argument, choose_for_use
from centerkp.cli.size_argument import add_size_argument
from centerkp.cli.tile_arguments import add_tile_arguments

HELP = "find objects and keypoints in images and videos"
NEEDS_KERAS = False  # where an exported model computes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `centerkp infer`."""
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="images, videos, folders, zip archives, patterns, lists (.txt), http or rtsp addresses, the number of a camera",
    )
    model = parser.add_argument_group("model")
    model.add_argument(
        "--weights",
        metavar="MODEL",
        help="a .keras file, a run's folder, an exported model, or coco for the model zoo's (default: the newest run in runs/)",
    )
    model.add_argument(
        "--backbone",
        metavar="NAME",
        help="which of the model zoo's --weights coco is: hourglass_104 (the default), resnet50_v1_fpn, resnet50_v2, or "
        "mobilenetv2_fpn, which is fast and knows people only",
    )
    add_size_argument(model)
    model.add_argument("--stacks", type=int, metavar="N", help="use the first so many hourglasses alone, which is faster")
    model.add_argument(
        "--tta",
        action=Join,
        metavar="flip,scale",
        help="look at every image mirrored, at three sizes, or both: slower, mostly better",
    )
    add_tile_arguments(model)
    add_runtime_argument(model)
    model.add_argument("--device", help="cpu, gpu, gpu:1, ... (default: the backend's choice)")
    model.add_argument(
        "--precision",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
        help="number format of the network; bfloat16 is for GPUs and processors with matrix units",
    )
    model.add_argument(
        "--stretch",
        nargs="?",
        const="auto",
        metavar="LOW,HIGH",
        help="which numbers are black and white in pictures of more than 8 bits; without them the range that the pictures use "
        "(default: as in the model's training)",
    )
    model.add_argument("--batch-size", type=int, default=8, metavar="N", help="images per step (default: 8)")
    model.add_argument("--stride", type=int, default=1, metavar="N", help="of videos only every Nth frame (default: 1, all)")
    objects = parser.add_argument_group("objects")
    objects.add_argument(
        "--score",
        type=float,
        metavar="X",
        help="least score of an object (default: that of its class with the best F1 on the validation images, which training "
        "stores with the model; else 0.3). What scores lower is not in predictions.json either, whose average precision is "
        "lower for it than metrics.json says; --score 0 keeps all",
    )
    objects.add_argument("--classes", action="append", metavar="NAME,...", help="only objects of these classes")
    objects.add_argument(
        "--max-objects",
        type=int,
        metavar="N",
        help="only the best so many of each image; a .keras file makes room for more than it gives by default (100 or more)",
    )
    objects.add_argument("--track", action="store_true", help="number the objects of a video, the same one alike in all frames")
    objects.add_argument(
        "--smooth", action="store_true", help="calm the boxes and keypoints of tracked objects; the files hold the calmed ones"
    )
    outputs = parser.add_argument_group("outputs")
    outputs.add_argument(
        "--out", default="predictions", metavar="DIR", help="folder for predictions.json and the rest (default: predictions)"
    )
    outputs.add_argument("--overwrite", action="store_true", help="replace files in it that no earlier infer wrote")
    choice: dict[str, Any] = {"action": argparse.BooleanOptionalAction, "default": None}
    outputs.add_argument("--save-images", **choice, help="annotated pictures (default: of images, not of videos)")
    outputs.add_argument("--save-video", **choice, help="annotated videos (default: of videos, cameras and streams)")
    outputs.add_argument("--csv", action="store_true", help="predictions.csv with a row per object and keypoint")
    outputs.add_argument("--crops", action="store_true", help="every object cut out as a picture")
    outputs.add_argument("--show", action="store_true", help="show the pictures in a browser as they come")
    outputs.add_argument("--keypoint-score", type=float, default=0.1, help="least score of a drawn keypoint (default: 0.1)")


def run(options: argparse.Namespace) -> int | None:
    """The command `centerkp infer`: finds the objects in images and videos."""
    from centerkp.console import make_console
    from centerkp.images.reading import choose_levels
    from centerkp.inference.model_loading import find_newest_model, load_for_use
    from centerkp.inference.outputs import OutputChoice, OutputNames
    from centerkp.inference.sources import Picture, find_sources
    from centerkp.inference.stream import Selection, predict_sources

    console = make_console()
    try:
        sources = find_sources(options.sources, lambda note: console.print(note, style="yellow", soft_wrap=True))
        choice = OutputChoice(
            pictures=options.save_images,
            video=options.save_video,
            csv=options.csv,
            crops=options.crops,
            show=options.show,
            min_keypoint_score=options.keypoint_score,
        )
        OutputNames(options.out, sources, choice, options.overwrite)  # refuses what must not be, before the network loads
        endless = any(not isinstance(source, Picture) for source in sources)
        model = options.weights or find_newest_model()
        detector: Any = load_for_use(
            choose_for_use(options, model, None if endless else len(sources), console),
            image_size=options.image_size,
            stacks=options.stacks,
            backbone=options.backbone,
            max_objects=options.max_objects,
            tta=options.tta,
            tile=options.tile,
            overlap=options.overlap,
            device=options.device,
            precision=options.precision,
            console=console,
        )
        if options.stretch:
            files = [s.address for s in sources if isinstance(s, Picture) and not isinstance(s.address, str)]
            detector.levels = choose_levels(options.stretch, files)
        if levels := getattr(detector, "levels", None):
            console.print(f"in pictures of more than 8 bits {levels.black:.7g} is black and {levels.white:.7g} white")
        if tiling := getattr(detector, "tiling", None):
            console.print(f"pictures are looked at in {tiling} (--tile 0 shows them whole)")
        selection = Selection(
            min_score=options.score,
            classes=_split_names(options.classes or (), detector.schema.class_names),
            max_objects=options.max_objects,
            track=options.track,
            smooth=options.smooth,
        )
        predict_sources(
            detector,
            sources,
            options.out,
            selection=selection,
            choice=choice,
            batch_size=options.batch_size,
            stride=options.stride,
            overwrite=options.overwrite,
            console=console,
        )
    except KeyboardInterrupt as error:
        return getattr(error, "exit_code", 130)  # the files are whole, and predict_sources has said so
    return None


def _split_names(given: Sequence[str], known: Sequence[str]) -> list[str]:
    """The names of classes in `--classes cup,lid`; one with a comma in it is a value of its own."""
    return [name for names in given for name in ([names] if names in known else map(str.strip, names.split(",")))]
