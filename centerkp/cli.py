"""The commands: `centerkp train`, `centerkp infer`, `centerkp convert`, `centerkp demo`."""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import get_args

from centerkp import __version__
from centerkp.config import TrainSettings, suggest


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0, 2 for wrong input, 130 when interrupted."""
    parser = build_parser()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        flags = [flag for action in options.parser._actions for flag in action.option_strings]
        hints = [f"{u.split('=')[0]}{suggest(u.split('=')[0], flags)}" for u in unknown if u.startswith("-")] or unknown
        options.parser.error(f"unknown argument {'; '.join(hints)}" + ("" if "did you mean" in hints[0] else "; see --help"))
    try:
        _import_quietly()
        options.run_command(options)
    except (ValueError, FileNotFoundError, FileExistsError) as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; a training run continues with --resume RUN", file=sys.stderr)
        return 130
    return 0


def _import_quietly() -> None:
    """Imports Keras and its backend without the native libraries' greetings, which would bury what matters."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as heard:
        os.dup2(heard.fileno(), 2)
        try:
            import keras  # noqa: F401
        except BaseException:
            heard.seek(0)
            os.write(kept, heard.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("centerkp", description="Keypoint detection for your own objects.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = _add_command(commands, "train", run_train, "train a detector on a COCO JSON")
    train.add_argument("--resume", metavar="RUN", help="continue the interrupted run in this folder (its settings hold)")
    train.add_argument("--settings", metavar="FILE", help="settings.json of another run to start from; flags win over it")
    _add_settings(train, TrainSettings)

    infer = _add_command(commands, "infer", run_infer, "find objects and keypoints in images")
    infer.add_argument("sources", nargs="+", metavar="PATH", help="image files, folders, or glob patterns")
    infer.add_argument(
        "--weights", required=True, metavar="FILE", help="model to use, e.g. runs/NAME/best.keras, or coco for the model zoo's"
    )
    infer.add_argument(
        "--out", default="predictions", metavar="DIR", help="folder for pictures and JSON (default: predictions)"
    )
    infer.add_argument("--score", type=float, default=0.3, help="least score of an object (default: 0.3)")
    infer.add_argument("--keypoint-score", type=float, default=0.1, help="least score of a drawn keypoint (default: 0.1)")
    infer.add_argument("--batch-size", type=int, default=8, help="images per step (default: 8)")

    infer.add_argument("--image-size", type=int, metavar="PIXELS", help="side of the network input (default: the model's own)")
    infer.add_argument(
        "--stacks", type=int, metavar="N", help="use the model's first so many hourglasses alone, which is faster"
    )

    convert = _add_command(commands, "convert", run_convert, "port an Object Detection API CenterNet-Hourglass checkpoint")
    convert.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="archive, extracted folder, checkpoint prefix, or SavedModel folder"
    )
    convert.add_argument("out", metavar="OUT.keras", help="file to write")
    convert.add_argument("--coco", metavar="JSON", help="COCO JSON it was trained on, for the names")
    convert.add_argument("--label-map", metavar="PBTXT", help="label map it was trained with, for the names")
    convert.add_argument("--pipeline", metavar="CONFIG", help="pipeline.config (default: the one beside the checkpoint)")
    convert.add_argument(
        "--image-size", type=int, metavar="PIXELS", help="side of the input (default: the pipeline's, else 512)"
    )
    convert.add_argument("--stacks", type=int, metavar="N", help="keep the first so many hourglasses alone")

    demo = _add_command(commands, "demo", run_demo, "draw a dataset, train on it, evaluate and predict")
    demo.add_argument("--data", default="data/demo", metavar="DIR", help="where the dataset is drawn (default: data/demo)")
    demo.add_argument("--run", default=None, metavar="DIR", help="run folder (default: runs/demo, numbered)")
    demo.add_argument("--epochs", type=int, default=30, help="times to go through the images (default: 30)")
    return parser


def _add_command(commands, name: str, run, text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text.capitalize() + ".", allow_abbrev=False)
    command.set_defaults(run_command=run, parser=command)
    return command


def _add_settings(parser: argparse.ArgumentParser, settings: type) -> None:
    """One flag per field of a settings dataclass. A flag not given stays out, so that a file's value can hold."""
    for one in fields(settings):
        flag = "--" + one.name.replace("_", "-")
        default = ",".join(map(str, one.default)) if isinstance(one.default, tuple) else one.default
        text = one.metadata["help"].replace("%", "%%") + ("" if default in (None, "") else f" (default: {default})")
        common = {"dest": one.name, "default": argparse.SUPPRESS, "help": text}
        if one.type is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, **common)
            continue
        kind = get_args(one.type)[0] if isinstance(one.type, UnionType) else one.type
        convert = _read_range if isinstance(one.default, tuple) else kind
        choices = one.metadata["choices"] or None
        metavar = None if choices else one.metadata["name"] or ("N" if kind is int else "X")
        if one.metadata["repeat"]:
            common["action"] = _Join
        parser.add_argument(flag, type=convert, choices=choices, metavar=metavar, **common)


class _Join(argparse.Action):
    """A flag given several times is the list of its values."""

    def __call__(self, parser, namespace, value, option_string=None):
        before = getattr(namespace, self.dest, None)
        setattr(namespace, self.dest, f"{before},{value}" if before else value)


def _read_range(text: str) -> tuple[float, float]:
    low, high = (float(part) for part in text.split(","))
    return low, high


def run_train(options: argparse.Namespace) -> None:
    from centerkp.run_folder import RunFolder
    from centerkp.training import train

    given = {f.name: getattr(options, f.name) for f in fields(TrainSettings) if hasattr(options, f.name)}
    if options.resume:
        saved = RunFolder(options.resume).read_settings()
        ignored = sorted(set(given) - {"threads"})
        if ignored:
            raise ValueError(f"--resume: found {ignored} beside it; a resumed run keeps its settings, leave them out.")
        train(TrainSettings.from_dict(saved.to_dict() | given), resume=options.resume)
        return
    if options.settings:
        given = TrainSettings.read(options.settings).to_dict() | {"run": None} | given
    if not given.get("coco"):
        raise ValueError("train: found no --coco; give the COCO JSON of your annotations, as in --coco ann.json.")
    train(TrainSettings.from_dict(given))


def run_infer(options: argparse.Namespace) -> None:
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


def run_convert(options: argparse.Namespace) -> None:
    from centerkp.model.convert import convert

    convert(
        options.checkpoint,
        options.out,
        coco=options.coco,
        label_map=options.label_map,
        pipeline=options.pipeline,
        image_size=options.image_size,
        stacks=options.stacks,
    )


def run_demo(options: argparse.Namespace) -> None:
    from centerkp.demo import run

    run(Path(options.data), options.run, options.epochs)
